//! A bootloader with Secure DFU.

use brickproof_flash_model::boot::explanation::Explanation;
use brickproof_flash_model::boot::nordic::{
    BankCode, Boot, BootValidation, MBR_SIZE, Nordic, Outcome, Profile, Settings, SoftdeviceInfo,
};
use brickproof_flash_model::flash::{Controller, Flash, Interruption};
use brickproof_simulator::trace::hex;

use super::super::{Failure, explain_parts};
use super::answer::{Answer, Image, Started, in_the_end, tell};
use super::{Arguments, Recorder, check_cut, device_hashes, write_files};
use crate::target::Target;

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
    let bootloader = explain_parts::secure(answer.explanation.profile);
    tell(arguments, target, &bootloader, &answer)
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
            Outcome::Application { start, hash, version, .. } => (
                "boot",
                None,
                Some(Started { offset: *start, version: Some(version.to_string()), hash: Some(hex(hash)) }),
            ),
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
