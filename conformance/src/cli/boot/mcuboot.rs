//! A bootloader of MCUboot's.

use std::fmt::Write;

use brickproof_flash_model::boot::mcuboot::explain::{Explanation, Names};
use brickproof_flash_model::boot::mcuboot::{Boot, Mcuboot, Mode, Outcome, Slot, SwapType};
use brickproof_flash_model::flash::{Controller, Flash, Interruption};
use brickproof_flash_model::image::mcuboot::{header::flags, inspect};
use brickproof_simulator::trace::hex;
use serde::Serialize;

use super::super::explain_text::{self, Of};
use super::super::options::style;
use super::super::{Failure, print, print_json};
use super::{Arguments, Hashes, Recorder, check_cut, device_hashes, hash_lines, of, write_files};
use crate::target::Target;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Answer {
    /// `boot`, `recovery` or `brick`; `interrupted` with `--cut`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The image that was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<Started>,
    /// What is in the slots afterwards.
    images: Vec<Image>,
    /// What the trailers asked for before; with `--cut`, before the boot that was cut.
    swap_type: SwapType,
    /// Why it did what it did.
    decisions: Vec<String>,
    /// What was in the flash before the boot, in words; with `--cut`, what the cut left.
    explanation: Explanation,
    /// Flash operations.
    operations: u64,
    /// SHA-256 of the first flash device afterwards; of all, by name, in `flash_sha256_by_device`.
    flash_sha256: String,
    flash_sha256_by_device: Hashes,
}

#[derive(Debug, Serialize)]
struct Started {
    offset: u32,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
}

#[derive(Debug, Serialize)]
struct Image {
    slot: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    flags: Vec<&'static str>,
    trailer: Trailer,
}

#[derive(Debug, Serialize)]
struct Trailer {
    magic: String,
    swap_type: SwapType,
    copy_done: String,
    image_ok: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    swap_size: Option<u32>,
}

pub(super) fn run(arguments: &Arguments, target: &Target, mut flash: Flash) -> Result<u8, Failure> {
    let mcuboot = target.mcuboot()?;
    let asked = match mcuboot.options().mode {
        // Nothing is ever swapped.
        Mode::DirectXip { .. } => SwapType::None,
        _ => mcuboot.swap_type(&flash).map_err(|error| Failure::Usage(error.to_string()))?,
    };
    let names = Names { layout: &target.layout, recovers: target.recovers() };
    let dumped = arguments.cut.is_none().then(|| mcuboot.explain(&flash, &names));

    let mut recorder = Recorder::new(arguments, &target.layout);
    let mut controller = Controller::new(&mut flash, &mut recorder);
    let boot = mcuboot.boot(&mut controller);
    let operations = controller.operations();
    check_cut(arguments, &boot, operations)?;
    write_files(arguments, &target.layout, &recorder, &flash)?;
    // Of a boot that was cut the question is what that leaves.
    let explanation = dumped.unwrap_or_else(|| mcuboot.explain(&flash, &names));
    let answer = answer(&boot, target, images(&mcuboot, &flash), asked, explanation, operations, &flash);
    if arguments.json {
        print_json(&answer)?;
    } else {
        let of = of(arguments, answer.reason.as_deref(), operations);
        let mut text = explain_text::explain(&target.name, &answer.explanation, of, style(&std::io::stdout()));
        match of {
            Of::Dump if operations > 0 => after(&mut text, &answer),
            Of::Dump | Of::Cut { .. } | Of::State(_) => hash_lines(&mut text, "", &answer.flash_sha256_by_device),
        }
        print(&text)?;
    }
    Ok(u8::from(answer.outcome == "brick"))
}

fn answer(
    boot: &Result<Boot, Interruption>,
    target: &Target,
    images: Vec<Image>,
    swap_type: SwapType,
    explanation: Explanation,
    operations: u64,
    flash: &Flash,
) -> Answer {
    let recovers = target.recovers();
    let (outcome, reason, started) = match boot {
        Err(interruption) => ("interrupted", Some(interruption.to_string()), None),
        Ok(boot) => match &boot.outcome {
            Outcome::Boot { offset, header, hash } => (
                "boot",
                None,
                Some(Started {
                    offset: *offset,
                    version: header.version.to_string(),
                    hash: hash.map(|hash| hex(&hash)),
                }),
            ),
            Outcome::NoBootableImage { reason } if recovers => ("recovery", Some(reason.clone()), None),
            Outcome::NoBootableImage { reason } | Outcome::Halt { reason } => ("brick", Some(reason.clone()), None),
        },
    };
    Answer {
        outcome,
        reason,
        started,
        images,
        swap_type,
        decisions: boot.as_ref().map_or(Vec::new(), |boot| boot.decisions.iter().map(ToString::to_string).collect()),
        explanation,
        operations,
        flash_sha256: flash.devices().first().map(|device| hex(&device.sha256())).unwrap_or_default(),
        flash_sha256_by_device: device_hashes(&target.layout, flash),
    }
}

fn images(mcuboot: &Mcuboot, flash: &Flash) -> Vec<Image> {
    [(Slot::Primary, "primary"), (Slot::Secondary, "secondary")]
        .into_iter()
        .map(|(slot, name)| {
            let info = mcuboot.pair(0).and_then(|pair| inspect(&pair.image_source(flash, slot)).ok());
            let verified = mcuboot.verify(flash, slot);
            let trailer = mcuboot.trailer(slot).read(flash).ok();
            let mut set = Vec::new();
            if info.as_ref().is_some_and(|info| info.header.flags & flags::NON_BOOTABLE != 0) {
                set.push("non-bootable");
            }
            let words = |flag: Option<String>| flag.unwrap_or_else(|| "unreadable".into());
            Image {
                slot: name,
                version: info.as_ref().map(|info| info.header.version.to_string()),
                hash: info.and_then(|info| info.hash).map(|hash| hex(&hash)),
                valid: verified.is_ok(),
                problem: verified.err().map(|error| error.to_string()),
                flags: set,
                trailer: Trailer {
                    magic: words(trailer.map(|trailer| trailer.magic.to_string())),
                    swap_type: trailer.map_or(SwapType::None, |trailer| trailer.swap_type),
                    copy_done: words(trailer.map(|trailer| trailer.copy_done.to_string())),
                    image_ok: words(trailer.map(|trailer| trailer.image_ok.to_string())),
                    swap_size: trailer.map(|trailer| trailer.swap_size).filter(|size| *size != u32::MAX),
                },
            }
        })
        .collect()
}

/// What is in the slots after the boot.
fn after(text: &mut String, answer: &Answer) {
    let _ = writeln!(text, "\nafter it");
    for image in &answer.images {
        explain_image(text, image);
    }
    hash_lines(text, "  ", &answer.flash_sha256_by_device);
}

fn explain_image(text: &mut String, image: &Image) {
    let name = match (&image.version, &image.hash) {
        (Some(version), Some(hash)) => format!("version {version}, hash {}...", &hash[..16]),
        (Some(version), None) => format!("version {version}, no hash"),
        (None, _) => "no image".to_owned(),
    };
    let verdict = match (&image.version, &image.problem) {
        (None, _) => "",
        (_, None) => "; valid",
        (_, Some(_)) => "; NOT VALID",
    };
    let _ = writeln!(text, "  {:<10} {name}{verdict}", image.slot);
    let trailer = &image.trailer;
    let size = trailer.swap_size.map_or(String::new(), |size| format!(", swap size {size}"));
    let _ = writeln!(
        text,
        "  {:<10} trailer: magic {}, swap type {}, copy_done {}, image_ok {}{size}",
        "", trailer.magic, trailer.swap_type, trailer.copy_done, trailer.image_ok
    );
}
