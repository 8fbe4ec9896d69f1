//! A bootloader with Legacy DFU.

use brickproof_flash_model::boot::explanation::Explanation;
use brickproof_flash_model::boot::nordic_legacy::{BankCode, Boot, MBR_SIZE, NordicLegacy, Outcome, SoftdeviceInfo};
use brickproof_flash_model::flash::{Controller, Flash, Interruption};
use brickproof_simulator::trace::hex;

use super::super::{Failure, explain_parts};
use super::answer::{Answer, Image, Started, in_the_end, tell};
use super::{Arguments, Recorder, check_cut, device_hashes, write_files};
use crate::target::Target;

pub(super) fn run(arguments: &Arguments, target: &Target, mut flash: Flash) -> Result<u8, Failure> {
    check(arguments, target)?;
    let own = target.of_nordic_legacy().ok_or_else(|| Failure::Harness(format!("{}: no Legacy DFU", target.name)))?;
    let legacy = NordicLegacy::new(&target.layout, *own.options(), None)?;
    let entry = arguments.entry.entry();
    let dumped = arguments.cut.is_none().then(|| legacy.explain(&flash, entry));

    let mut recorder = Recorder::new(arguments, &target.layout);
    let mut controller = Controller::new(&mut flash, &mut recorder);
    let boot = legacy.boot(&mut controller, &mut { entry });
    let operations = controller.operations();
    check_cut(arguments, &boot, operations)?;
    write_files(arguments, &target.layout, &recorder, &flash)?;
    // Of a boot that was cut the question is what that leaves. Registers keep nothing over a power loss.
    let explanation = dumped.unwrap_or_else(|| legacy.explain(&flash, super::Entry::default()));
    let answer = answer(&boot, target, &legacy, explanation, operations, &flash);
    tell(arguments, target, explain_parts::legacy(own.options().kind), &answer)
}

/// What this bootloader does not look at is not asked of it.
fn check(arguments: &Arguments, target: &Target) -> Result<(), Failure> {
    let refused = |option: &str, what: &str| {
        Err(Failure::Usage(format!(
            "{option}: {} has a Legacy DFU bootloader, which {what}\n  remedy: leave it out, or a target with Secure DFU",
            target.name
        )))
    };
    if !arguments.keys.is_empty() {
        return refused("--key", "checks no signatures");
    }
    let entry = &arguments.entry;
    let others = [
        (entry.gpregret2.is_some(), "--gpregret2"),
        (entry.pin_reset, "--pin-reset"),
        (entry.from_system_off, "--from-system-off"),
    ];
    match others.into_iter().find(|(given, _)| *given) {
        Some((_, option)) => refused(option, "looks at GPREGRET and the button alone"),
        None => Ok(()),
    }
}

fn answer(
    boot: &Result<Boot, Interruption>,
    target: &Target,
    legacy: &NordicLegacy,
    explanation: Explanation,
    operations: u64,
    flash: &Flash,
) -> Answer {
    let (outcome, reason, started) = match boot {
        Err(interruption) => ("interrupted", Some(interruption.to_string()), None),
        Ok(boot) => match &boot.outcome {
            Outcome::Application { start, hash, .. } => {
                ("boot", None, Some(Started { offset: *start, version: None, hash: Some(hex(hash)) }))
            }
            Outcome::DfuMode { reason, .. } => ("dfu-mode", Some(reason.to_string()), None),
            Outcome::Reset => ("reset", None, None),
            Outcome::Fault { .. } => ("brick", Some(boot.outcome.to_string()), None),
            Outcome::Brick { reason } => ("brick", Some(reason.clone()), None),
        },
    };
    Answer {
        outcome,
        reason,
        in_the_end: in_the_end(&explanation),
        started,
        images: images(legacy, flash),
        decisions: boot.as_ref().map_or(Vec::new(), |boot| boot.decisions.iter().map(ToString::to_string).collect()),
        explanation,
        operations,
        flash_sha256: flash.devices().first().map(|device| hex(&device.sha256())).unwrap_or_default(),
        flash_sha256_by_device: device_hashes(&target.layout, flash),
    }
}

/// What is in flash, from the lowest address. Nothing has a version but the SoftDevice.
fn images(legacy: &NordicLegacy, flash: &Flash) -> Vec<Image> {
    let map = legacy.map();
    let hash = |start: u32, size: u32| map.sha256(flash, start, size).ok().map(|hash| hex(&hash));
    let bank_0 = legacy.bank_0_start(flash).unwrap_or(MBR_SIZE);
    let mut images = Vec::new();
    if let Ok(Some(info)) = SoftdeviceInfo::installed(map, flash) {
        let size = info.size.saturating_sub(MBR_SIZE);
        images.push(Image {
            slot: "softdevice",
            holds: format!("S{}, firmware id {:#x}", info.id, info.fwid),
            offset: MBR_SIZE,
            size,
            version: Some(info.version_text()),
            hash: hash(MBR_SIZE, size),
            // It is never checked.
            valid: true,
            problem: None,
            flags: Vec::new(),
        });
    }
    let settings = match legacy.settings(flash) {
        Ok(settings) => settings,
        Err(_) => return images,
    };
    let problem = match (settings.bank_0, legacy.unbootable(flash)) {
        (BankCode::App, Ok(None)) => None,
        (BankCode::App, Ok(Some(why))) => Some(why.to_string()),
        (BankCode::App, Err(error)) => Some(error.to_string()),
        (code, _) => Some(format!("the settings say that it holds {code}")),
    };
    images.push(Image {
        slot: "bank-0",
        holds: settings.bank_0.to_string(),
        offset: bank_0,
        size: settings.bank_0_size,
        version: None,
        hash: hash(bank_0, settings.bank_0_size).filter(|_| settings.bank_0 == BankCode::App),
        valid: problem.is_none(),
        problem,
        flags: if settings.bank_0 == BankCode::Softdevice { vec!["to-be-activated"] } else { Vec::new() },
    });
    if !legacy.options().single_bank {
        let waits = settings.bank_1 == BankCode::Bootloader;
        images.push(Image {
            slot: "bank-1",
            holds: settings.bank_1.to_string(),
            offset: legacy.bank_1_start(flash).unwrap_or(bank_0),
            size: if waits { settings.bl_image_size } else { 0 },
            version: None,
            hash: None,
            valid: false,
            problem: Some("nothing in the settings says that it is whole".into()),
            flags: if waits { vec!["to-be-activated"] } else { Vec::new() },
        });
    }
    let area = map.bootloader();
    let has_vectors = map.word(flash, area.offset).is_ok_and(|word| word != u32::MAX);
    images.push(Image {
        slot: "bootloader",
        holds: if has_vectors { "a bootloader" } else { "no bootloader" }.into(),
        offset: area.offset,
        size: area.len,
        version: None,
        hash: hash(area.offset, area.len).filter(|_| has_vectors),
        valid: has_vectors,
        problem: (!has_vectors).then(|| "it has no vectors".into()),
        flags: Vec::new(),
    });
    images
}
