//! `brickproof boot`.

mod answer;
mod mcuboot;
mod nordic;
mod nordic_legacy;
mod silabs;

use std::fmt::Write;
use std::path::PathBuf;

use brickproof_flash_model::boot::gecko;
use brickproof_flash_model::boot::nordic::Entry;
use brickproof_flash_model::flash::{
    Cut, Flash, Hook, Interruption, Operation, OperationKind, Tear, TearModel, Verdict,
};
use brickproof_flash_model::layout::Layout;
use brickproof_simulator::trace::hex;
use clap::Args;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::dump::{self, DeviceFile, device_file};
use super::explain_text::Of;
use super::options::{keys, number, number_u8};
use super::{Failure, write_file};
use crate::library;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The board and its bootloader: a profile or a path to a .toml file
    #[arg(long)]
    target: String,
    /// A dump: raw from offset 0 of the device; Intel HEX (.hex) or S-records (.s37) by extension
    #[arg(long, value_name = "[DEVICE=]FILE", required = true, value_parser = device_file)]
    flash: Vec<DeviceFile>,
    /// Lose power at operation N (from 0), and say what that leaves: N, N:first-half or N:all-but-last
    #[arg(long, value_name = "ID", value_parser = cut)]
    cut: Option<Cut>,
    /// What this boot finds beside the flash
    #[command(flatten)]
    entry: EntryArguments,
    /// A PEM file with a key that the bootloader trusts: besides its own, or instead of it where it has room for one
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Write each flash operation as a line of JSON
    #[arg(long, value_name = "FILE")]
    ops: Option<PathBuf>,
    /// Write the flash afterwards: raw; Intel HEX (.hex) or S-records (.s37) by extension
    #[arg(long, value_name = "[DEVICE=]FILE", value_parser = device_file)]
    flash_out: Vec<DeviceFile>,
    /// The answer as JSON on standard output
    #[arg(long)]
    json: bool,
}

/// What a bootloader of Nordic's or of Silicon Labs' finds in what survives a reset, and on its pins.
#[derive(Debug, Args)]
struct EntryArguments {
    /// Nordic: GPREGRET at this boot; an application asks for DFU mode with 0xb1
    #[arg(long, value_name = "BYTE", value_parser = number_u8)]
    gpregret: Option<u8>,
    /// Nordic: GPREGRET2 at this boot; 0xa9 skips the check of CRCs
    #[arg(long, value_name = "BYTE", value_parser = number_u8)]
    gpregret2: Option<u8>,
    /// Nordic, Silicon Labs: the button for DFU mode or the bootloader is held
    #[arg(long)]
    button: bool,
    /// Nordic: the device was reset by its pin
    #[arg(long)]
    pin_reset: bool,
    /// Nordic: the device wakes from System OFF
    #[arg(long)]
    from_system_off: bool,
    /// Silicon Labs: the software has reset the device for this reason: bootload (an application asks for the bootloader), go,
    /// badimage, fatal, force, badapp, upgrade, or a number like 0x0202
    #[arg(long, value_name = "REASON", value_parser = reset_reason)]
    reset_reason: Option<u16>,
}

/// A reset reason by its name in `btl_reset_info.h`, or by its number.
fn reset_reason(text: &str) -> Result<u16, String> {
    use gecko::reason::{BADAPP, BADIMAGE, BOOTLOAD, FATAL, FORCE, GO, UPGRADE};
    let named = [GO, BOOTLOAD, BADIMAGE, FATAL, FORCE, BADAPP, UPGRADE];
    let found = named.into_iter().find(|reason| gecko::reason_name(*reason).eq_ignore_ascii_case(text));
    let number = || number(text).ok().and_then(|number| u16::try_from(number).ok());
    found
        .or_else(number)
        .ok_or_else(|| "expected bootload, go, badimage, fatal, force, badapp, upgrade, or a number like 0x0202".into())
}

impl EntryArguments {
    fn entry(&self) -> Entry {
        Entry {
            gpregret: self.gpregret.unwrap_or(0),
            gpregret2: self.gpregret2.unwrap_or(0),
            button: self.button,
            pin_reset: self.pin_reset,
            from_system_off: self.from_system_off,
        }
    }

    /// The same for a Gecko bootloader.
    fn gecko(&self) -> gecko::Entry {
        let mut entry = gecko::Entry { button: self.button, ..gecko::Entry::default() };
        if let Some(reason) = self.reset_reason {
            entry.reset(reason);
        }
        entry
    }

    /// The first option that was given.
    fn given(&self) -> Option<&'static str> {
        let button = self.button.then_some("--button");
        button.or_else(|| self.of_nordic()).or_else(|| self.of_gecko())
    }

    /// The first that is for bootloaders of Nordic's alone.
    fn of_nordic(&self) -> Option<&'static str> {
        let given = [
            (self.gpregret.is_some(), "--gpregret"),
            (self.gpregret2.is_some(), "--gpregret2"),
            (self.pin_reset, "--pin-reset"),
            (self.from_system_off, "--from-system-off"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, name)| name)
    }

    /// What is for a Gecko bootloader alone.
    fn of_gecko(&self) -> Option<&'static str> {
        self.reset_reason.map(|_| "--reset-reason")
    }
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

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let target = keys(&arguments.keys)?
        .into_iter()
        .fold(library::target(&arguments.target)?, |target, key| target.trusting(key));
    let mut flash = target.layout.blank_flash();
    for note in dump::load(&arguments.flash, &target.layout, &mut flash)? {
        eprintln!("brickproof: {note}");
    }
    if let Some(own) = target.of_silabs() {
        return silabs::run(arguments, &target, own, flash);
    }
    let of_nordic = target.of_nordic().is_some() || target.of_nordic_legacy().is_some();
    if let Some(option) = arguments.entry.of_gecko().filter(|_| of_nordic) {
        return Err(Failure::Usage(format!(
            "{option}: {} has a bootloader of Nordic's, which looks at GPREGRET instead\n  remedy: --gpregret 0xb1",
            target.name
        )));
    }
    if target.of_nordic().is_some() {
        return nordic::run(arguments, &target, flash);
    }
    if target.of_nordic_legacy().is_some() {
        return nordic_legacy::run(arguments, &target, flash);
    }
    if let Some(option) = arguments.entry.given() {
        return Err(Failure::Usage(format!(
            "{option}: {} has MCUboot, which looks at no such thing\n  remedy: leave it out, or a target with another bootloader: `brickproof list targets`",
            target.name
        )));
    }
    mcuboot::run(arguments, &target, flash)
}

/// SHA-256 of each flash device, by name.
type Hashes = std::collections::BTreeMap<String, String>;

fn device_hashes(layout: &Layout, flash: &Flash) -> Hashes {
    layout
        .devices
        .iter()
        .zip(flash.devices())
        .map(|(spec, device)| (spec.name.clone(), hex(&device.sha256())))
        .collect()
}

/// A cut that this boot never comes to is a mistake.
fn check_cut<T>(arguments: &Arguments, boot: &Result<T, Interruption>, operations: u64) -> Result<(), Failure> {
    match (arguments.cut, boot) {
        (Some(cut), Ok(_)) if operations == 0 => {
            Err(Failure::Usage(format!("--cut {}: this boot has no flash operations\n  remedy: leave it out", cut.at)))
        }
        (Some(cut), Ok(_)) => Err(Failure::Usage(format!(
            "--cut {}: this boot has only {operations} flash operations\n  remedy: a number below {operations}",
            cut.at
        ))),
        _ => Ok(()),
    }
}

/// Writes what `--ops` and `--flash-out` ask for.
fn write_files(arguments: &Arguments, layout: &Layout, recorder: &Recorder<'_>, flash: &Flash) -> Result<(), Failure> {
    if let Some(path) = &arguments.ops {
        write_file(path, recorder.lines.as_bytes())?;
    }
    dump::save(&arguments.flash_out, layout, flash)
}

/// What is explained.
fn of<'a>(arguments: &Arguments, reason: Option<&'a str>, operations: u64) -> Of<'a> {
    match arguments.cut {
        Some(_) => Of::Cut { interruption: reason.unwrap_or_default(), operations },
        None => Of::Dump,
    }
}

fn hash_lines(text: &mut String, indent: &str, hashes: &Hashes) {
    if indent.is_empty() {
        text.push('\n');
    }
    for (device, hash) in hashes {
        let device = if hashes.len() > 1 { format!(" of {device}") } else { String::new() };
        let _ = writeln!(text, "{indent}flash sha256{device} {hash}");
    }
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

impl<'a> Recorder<'a> {
    fn new(arguments: &Arguments, layout: &'a Layout) -> Self {
        Self { layout, cut: arguments.cut, lines: String::new(), keep: arguments.ops.is_some() }
    }
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
