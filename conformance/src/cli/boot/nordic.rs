//! A bootloader with Secure DFU; the answer is that of Legacy DFU, too.

use std::fmt::Write;

use brickproof_flash_model::boot::nordic::explain::Explanation;
use brickproof_flash_model::boot::nordic::{
    BankCode, Boot, BootValidation, MBR_SIZE, Nordic, Outcome, Profile, Settings, SoftdeviceInfo,
};
use brickproof_flash_model::flash::{Controller, Flash, Interruption};
use brickproof_simulator::trace::hex;
use serde::Serialize;

use super::super::explain_nordic;
use super::super::explain_text::Of;
use super::super::options::style;
use super::super::{Failure, print, print_json};
use super::{Arguments, Hashes, Recorder, check_cut, device_hashes, hash_lines, of, write_files};
use crate::target::Target;

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// Of this one boot: `boot`, `dfu-mode`, `reset` or `brick`; `interrupted` with `--cut`.
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
    pub(super) hash: String,
}

/// An image where it lies, as the settings say.
#[derive(Debug, Serialize)]
pub(super) struct Image {
    /// `bank-0`, `bank-1`, `softdevice` or `bootloader`.
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

pub(super) fn run(arguments: &Arguments, target: &Target, mut flash: Flash) -> Result<u8, Failure> {
    let nordic = target.nordic()?;
    let entry = arguments.entry.entry();
    let dumped = arguments.cut.is_none().then(|| nordic.explain_with(&flash, entry));

    let mut recorder = Recorder::new(arguments, &target.layout);
    let mut controller = Controller::new(&mut flash, &mut recorder);
    let boot = nordic.boot(&mut controller, &mut entry.clone());
    let operations = controller.operations();
    check_cut(arguments, &boot, operations)?;
    write_files(arguments, &target.layout, &recorder, &flash)?;
    // Of a boot that was cut the question is what that leaves. Registers keep nothing over a power loss.
    let explanation = dumped.unwrap_or_else(|| nordic.explain(&flash));
    let answer = answer(&boot, target, &nordic, explanation, operations, &flash);
    let bootloader = explain_nordic::secure(answer.explanation.profile);
    tell(arguments, target, &bootloader, &answer)
}

/// Prints the answer; the exit code.
pub(super) fn tell(arguments: &Arguments, target: &Target, bootloader: &str, answer: &Answer) -> Result<u8, Failure> {
    if arguments.json {
        print_json(answer)?;
    } else {
        let of = of(arguments, answer.reason.as_deref(), answer.operations);
        let style = style(&std::io::stdout());
        let mut text = explain_nordic::explain(&target.name, bootloader, &answer.explanation, of, style);
        match of {
            Of::Dump if answer.operations > 0 => after(&mut text, answer),
            Of::Dump | Of::Cut { .. } | Of::State(_) => hash_lines(&mut text, "", &answer.flash_sha256_by_device),
        }
        print(&text)?;
    }
    Ok(u8::from(arguments.cut.is_none() && answer.in_the_end == "brick"))
}

fn answer(
    boot: &Result<Boot, Interruption>,
    target: &Target,
    nordic: &Nordic,
    explanation: Explanation,
    operations: u64,
    flash: &Flash,
) -> Answer {
    let (outcome, reason, started) = match boot {
        Err(interruption) => ("interrupted", Some(interruption.to_string()), None),
        Ok(boot) => match &boot.outcome {
            Outcome::Application { start, hash, version, .. } => {
                ("boot", None, Some(Started { offset: *start, version: Some(version.to_string()), hash: hex(hash) }))
            }
            Outcome::DfuMode { reason, .. } => ("dfu-mode", Some(reason.to_string()), None),
            Outcome::Reset => ("reset", None, None),
            Outcome::Fault { .. } => ("brick", Some(boot.outcome.to_string()), None),
            Outcome::Brick { reason } => ("brick", Some(reason.clone()), None),
        },
    };
    let hashes = device_hashes(&target.layout, flash);
    Answer {
        outcome,
        reason,
        in_the_end: in_the_end(&explanation),
        started,
        images: images(nordic, flash),
        decisions: boot.as_ref().map_or(Vec::new(), |boot| boot.decisions.iter().map(ToString::to_string).collect()),
        explanation,
        operations,
        flash_sha256: flash.devices().first().map(|device| hex(&device.sha256())).unwrap_or_default(),
        flash_sha256_by_device: hashes,
    }
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

/// What is in flash, from the lowest address.
fn images(nordic: &Nordic, flash: &Flash) -> Vec<Image> {
    let loaded = nordic.load(flash).map(|(settings, _)| settings);
    let settings = loaded.unwrap_or_else(|_| Settings::blank(nordic.options().profile));
    let map = nordic.map();
    let bank_0 = nordic.bank_0_start(flash).unwrap_or(MBR_SIZE);
    let hash = |start: u32, size: u32| map.sha256(flash, start, size).ok().map(|hash| hex(&hash));
    let mut images = Vec::new();
    if let Ok(Some(info)) = SoftdeviceInfo::installed(map, flash) {
        let validation = &settings.boot_validation_softdevice;
        let problem = problem(nordic, flash, validation, MBR_SIZE, settings.sd_size);
        images.push(Image {
            slot: "softdevice",
            holds: format!("S{}, firmware id {:#x}", info.id, info.fwid),
            offset: MBR_SIZE,
            size: settings.sd_size,
            version: Some(info.version_text()),
            hash: hash(MBR_SIZE, settings.sd_size).filter(|_| settings.sd_size > 0),
            valid: problem.is_none(),
            problem,
            flags: Vec::new(),
        });
    }
    let bank = settings.bank_0;
    let early = BootValidation::crc(bank.image_crc);
    let has_validation = nordic.options().profile > Profile::V15_0;
    let validation = if has_validation { &settings.boot_validation_app } else { &early };
    let is_application = bank.code == BankCode::App;
    let wrong = match bank.code {
        BankCode::App => problem(nordic, flash, validation, bank_0, bank.image_size),
        code => Some(format!("the settings say that it holds {code}")),
    };
    images.push(Image {
        slot: "bank-0",
        holds: bank.code.to_string(),
        offset: bank_0,
        size: bank.image_size,
        version: is_application.then(|| settings.app_version.to_string()),
        hash: hash(bank_0, bank.image_size).filter(|_| is_application),
        valid: wrong.is_none(),
        problem: wrong,
        flags: Vec::new(),
    });
    let bank = settings.bank_1;
    let start = settings.progress.update_start_address();
    let waits = bank.code != BankCode::Invalid;
    let wrong = match (waits, map.crc32(flash, start, bank.image_size)) {
        (false, _) => Some("the settings say that nothing valid is there".to_owned()),
        (true, Ok(crc)) if crc == bank.image_crc => None,
        (true, Ok(crc)) => Some(format!("its CRC is {crc:#010x}, the settings say {:#010x}", bank.image_crc)),
        (true, Err(error)) => Some(error.to_string()),
    };
    images.push(Image {
        slot: "bank-1",
        holds: bank.code.to_string(),
        offset: if waits { start } else { nordic.bank_1_start(&settings, flash).unwrap_or(bank_0) },
        size: bank.image_size,
        version: None,
        hash: hash(start, bank.image_size).filter(|_| waits),
        valid: wrong.is_none(),
        problem: wrong,
        flags: if waits { vec!["to-be-activated"] } else { Vec::new() },
    });
    let area = map.bootloader();
    let has_vectors = map.word(flash, area.offset).is_ok_and(|word| word != u32::MAX);
    images.push(Image {
        slot: "bootloader",
        holds: if has_vectors { "a bootloader" } else { "no bootloader" }.into(),
        offset: area.offset,
        size: area.len,
        version: has_vectors.then(|| settings.bootloader_version.to_string()),
        hash: hash(area.offset, area.len).filter(|_| has_vectors),
        valid: has_vectors,
        problem: (!has_vectors).then(|| "it has no vectors".into()),
        flags: Vec::new(),
    });
    images
}

/// Why an image is not what its boot validation says.
fn problem(nordic: &Nordic, flash: &Flash, validation: &BootValidation, start: u32, size: u32) -> Option<String> {
    match nordic.boot_validate(validation, start, size, flash) {
        Ok(true) => None,
        Ok(false) => Some("it is not what its boot validation says".into()),
        Err(error) => Some(error.to_string()),
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
