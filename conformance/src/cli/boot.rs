//! `brickproof boot`.

use std::fmt::Write;
use std::path::PathBuf;

use brickproof_flash_model::boot::mcuboot::explain::{Explanation, Names};
use brickproof_flash_model::boot::mcuboot::{Boot, Mcuboot, Mode, Outcome, Slot, SwapType};
use brickproof_flash_model::flash::{
    Controller, Cut, Flash, Hook, Interruption, Operation, OperationKind, Tear, TearModel, Verdict,
};
use brickproof_flash_model::image::mcuboot::{header::flags, inspect};
use brickproof_flash_model::layout::Layout;
use brickproof_simulator::trace::hex;
use clap::Args;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::dump::{self, DeviceFile, device_file};
use super::explain_text::{self, Of};
use super::options::{keys, style};
use super::{Failure, print, print_json};
use crate::library;
use crate::target::Target;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The board and its bootloader: a profile or a path to a .toml file
    #[arg(long)]
    target: String,
    /// A dump: raw from offset 0 of the device, or Intel HEX by extension
    #[arg(long, value_name = "[DEVICE=]FILE", required = true, value_parser = device_file)]
    flash: Vec<DeviceFile>,
    /// Lose power at operation N (from 0), and say what that leaves: N, N:first-half or N:all-but-last
    #[arg(long, value_name = "ID", value_parser = cut)]
    cut: Option<Cut>,
    /// A PEM file with a key that the bootloader trusts besides its own
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Write each flash operation as a line of JSON
    #[arg(long, value_name = "FILE")]
    ops: Option<PathBuf>,
    /// Write the flash afterwards, raw or Intel HEX by extension
    #[arg(long, value_name = "[DEVICE=]FILE", value_parser = device_file)]
    flash_out: Vec<DeviceFile>,
    /// The answer as JSON on standard output
    #[arg(long)]
    json: bool,
}

fn cut(text: &str) -> Result<Cut, String> {
    let (at, tear) = text.split_once(':').unwrap_or((text, "nothing"));
    let tear = match tear {
        "nothing" => TearModel::Nothing,
        "first-half" => TearModel::FirstHalf,
        "all-but-last" => TearModel::AllButLast,
        other => return Err(format!("no tear is called `{other}`: first-half, all-but-last or nothing")),
    };
    let at = at.parse().map_err(|_| format!("`{at}` is no number of an operation"))?;
    Ok(Cut { at, tear })
}

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
    flash_sha256_by_device: std::collections::BTreeMap<String, String>,
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

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let target = keys(&arguments.keys)?
        .into_iter()
        .fold(library::target(&arguments.target)?, |target, key| target.trusting(key));
    let mcuboot = target.mcuboot()?;
    let mut flash = target.layout.blank_flash();
    for note in dump::load(&arguments.flash, &target.layout, &mut flash)? {
        eprintln!("brickproof: {note}");
    }
    let asked = match mcuboot.options().mode {
        // Nothing is ever swapped.
        Mode::DirectXip { .. } => SwapType::None,
        _ => mcuboot.swap_type(&flash).map_err(|error| Failure::Usage(error.to_string()))?,
    };
    let names = Names { layout: &target.layout, recovers: target.recovers() };
    let dumped = arguments.cut.is_none().then(|| mcuboot.explain(&flash, &names));

    let mut recorder =
        Recorder { layout: &target.layout, cut: arguments.cut, lines: String::new(), keep: arguments.ops.is_some() };
    let mut controller = Controller::new(&mut flash, &mut recorder);
    let boot = mcuboot.boot(&mut controller);
    let operations = controller.operations();
    if let (Some(cut), Ok(_)) = (arguments.cut, &boot) {
        return Err(Failure::Usage(format!(
            "--cut {}: this boot has only {operations} flash operations\n  remedy: a number below {operations}",
            cut.at
        )));
    }
    if let Some(path) = &arguments.ops {
        super::write_file(path, recorder.lines.as_bytes())?;
    }
    dump::save(&arguments.flash_out, &target.layout, &flash)?;
    // Of a boot that was cut the question is what that leaves.
    let explanation = dumped.unwrap_or_else(|| mcuboot.explain(&flash, &names));
    let answer = answer(&boot, &target, images(&mcuboot, &flash), asked, explanation, operations, &flash);
    if arguments.json {
        print_json(&answer)?;
    } else {
        let of = match arguments.cut {
            Some(_) => Of::Cut { interruption: answer.reason.as_deref().unwrap_or_default(), operations },
            None => Of::Dump,
        };
        let mut text = explain_text::explain(&target.name, &answer.explanation, of, style(&std::io::stdout()));
        match of {
            Of::Dump if operations > 0 => after(&mut text, &answer),
            Of::Dump | Of::Cut { .. } | Of::State(_) => hashes(&mut text, "", &answer),
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
    let (recovers, layout) = (target.recovers(), &target.layout);
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
    let hashes: std::collections::BTreeMap<String, String> = layout
        .devices
        .iter()
        .zip(flash.devices())
        .map(|(spec, device)| (spec.name.clone(), hex(&device.sha256())))
        .collect();
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
        flash_sha256_by_device: hashes,
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
    hashes(text, "  ", answer);
}

fn hashes(text: &mut String, indent: &str, answer: &Answer) {
    if indent.is_empty() {
        text.push('\n');
    }
    for (device, hash) in &answer.flash_sha256_by_device {
        let device = if answer.flash_sha256_by_device.len() > 1 { format!(" of {device}") } else { String::new() };
        let _ = writeln!(text, "{indent}flash sha256{device} {hash}");
    }
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

/// A line of `--ops`.
#[derive(Debug, Serialize)]
struct OperationLine<'a> {
    n: u64,
    device: &'a str,
    op: &'static str,
    offset: u32,
    len: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    torn: bool,
}

/// Writes operations as lines and cuts one of them.
struct Recorder<'a> {
    layout: &'a Layout,
    cut: Option<Cut>,
    lines: String,
    keep: bool,
}

impl Hook for Recorder<'_> {
    fn before(&mut self, operation: &Operation<'_>, flash: &Flash) -> Verdict {
        self.cut.as_mut().map_or(Verdict::Proceed, |cut| cut.before(operation, flash))
    }

    fn after(&mut self, operation: &Operation<'_>, tear: Option<Tear>) {
        if !self.keep {
            return;
        }
        let device = &self.layout.devices[usize::from(operation.device)].name;
        let (op, sha256) = match operation.kind {
            OperationKind::Erase { .. } => ("erase", None),
            OperationKind::Program { data } => ("program", Some(hex(&Sha256::digest(data)))),
        };
        let line = OperationLine {
            n: operation.n,
            device,
            op,
            offset: operation.offset,
            len: operation.len(),
            sha256,
            torn: tear.is_some(),
        };
        let line = serde_json::to_string(&line).unwrap_or_default();
        let _ = writeln!(self.lines, "{line}");
    }
}
