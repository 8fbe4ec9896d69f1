//! The answer for bootloaders of Nordic's and of Silicon Labs'.

use std::fmt::Write;

use brickproof_flash_model::boot::explanation::Explanation;
use serde::Serialize;

use super::super::explain_text::Of;
use super::super::options::style;
use super::super::{Failure, explain_parts, print, print_json};
use super::{Arguments, Hashes, hash_lines, of};
use crate::target::Target;

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// Of this one boot: `boot`, `dfu-mode` (an AppLoader, too), `reset` or `brick`; `interrupted` with `--cut`.
    pub(super) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// How the boots behind a reset end: `boot`, `dfu-mode` or `brick`.
    pub(super) in_the_end: &'static str,
    /// The application that was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) started: Option<Started>,
    /// What is in flash afterwards.
    pub(super) images: Vec<Image>,
    /// Why it did what it did.
    pub(super) decisions: Vec<String>,
    /// What was in the flash before the boot, in words; with `--cut`, what the cut left.
    pub(super) explanation: Explanation,
    /// Flash operations.
    pub(super) operations: u64,
    /// SHA-256 of the first flash device afterwards; of all, by name, in `flash_sha256_by_device`.
    pub(super) flash_sha256: String,
    pub(super) flash_sha256_by_device: Hashes,
}

#[derive(Debug, Serialize)]
pub(super) struct Started {
    pub(super) offset: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<String>,
}

/// An image where it lies, as the settings of Nordic's bootloaders say.
#[derive(Debug, Serialize)]
pub(super) struct Image {
    /// `bank-0`, `bank-1`, `softdevice` or `bootloader`; with a Gecko bootloader `application`, `slot-0`, ...
    pub(super) slot: &'static str,
    /// What it is: an application, a SoftDevice, ...; or nothing valid.
    pub(super) holds: String,
    pub(super) offset: u32,
    /// Bytes; of a bootloader the whole area.
    pub(super) size: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    /// SHA-256 of all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<String>,
    pub(super) valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
    /// `to-be-activated` of bank 1.
    pub(super) flags: Vec<&'static str>,
}

/// Prints the answer; the exit code.
pub(super) fn tell(arguments: &Arguments, target: &Target, bootloader: &str, answer: &Answer) -> Result<u8, Failure> {
    if arguments.json {
        print_json(answer)?;
    } else {
        let of = of(arguments, answer.reason.as_deref(), answer.operations);
        let style = style(&std::io::stdout());
        let mut text = explain_parts::explain(&target.name, bootloader, &answer.explanation, of, style);
        match of {
            Of::Dump if answer.operations > 0 => after(&mut text, answer),
            Of::Dump | Of::Cut { .. } | Of::State(_) => hash_lines(&mut text, "", &answer.flash_sha256_by_device),
        }
        print(&text)?;
    }
    Ok(u8::from(arguments.cut.is_none() && answer.in_the_end == "brick"))
}

/// How the boots behind a reset end.
pub(super) fn in_the_end(explanation: &Explanation) -> &'static str {
    match explanation.next_boots.last().map(|boot| boot.outcome) {
        Some("application") => "boot",
        Some("dfu") => "dfu-mode",
        // A fault resets for ever, and so does what never ends.
        _ => "brick",
    }
}

/// What is in flash after the boot.
fn after(text: &mut String, answer: &Answer) {
    let _ = writeln!(text, "\nafter it");
    for image in &answer.images {
        let version = image.version.as_ref().map_or(String::new(), |version| format!(", version {version}"));
        let hash = image.hash.as_ref().and_then(|hash| hash.get(..16));
        let hash = hash.map_or(String::new(), |hash| format!(", hash {hash}..."));
        let verdict = match (&image.problem, image.flags.is_empty()) {
            (None, true) => "; valid",
            (None, false) => "; valid, waits to be activated",
            (Some(_), _) if image.hash.is_none() => "",
            (Some(_), _) => "; NOT VALID",
        };
        let _ = writeln!(text, "  {:<10} {}{version}{hash}{verdict}", image.slot, image.holds);
    }
    hash_lines(text, "  ", &answer.flash_sha256_by_device);
}
