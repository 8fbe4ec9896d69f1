//! A Gecko bootloader.

use brickproof_flash_model::boot::explanation::Explanation;
use brickproof_flash_model::boot::gecko::explain::Stored;
use brickproof_flash_model::boot::gecko::{Boot, Entry, Gecko, Outcome};
use brickproof_flash_model::flash::{Controller, Flash, Interruption};
use brickproof_flash_model::image::gbl::ApplicationProperties;
use brickproof_flash_model::image::gbl::application::signature_type;
use brickproof_flash_model::image::gbl::content::bootloader_version_words;
use brickproof_simulator::trace::hex;
use sha2::{Digest, Sha256};

use super::super::{Failure, explain_parts};
use super::answer::{Answer, Image, Started, in_the_end, tell};
use super::{Arguments, Recorder, check_cut, device_hashes, write_files};
use crate::target::{SilabsTarget, Target};

/// What slots are called.
const SLOTS: [&str; 3] = ["slot-0", "slot-1", "slot-2"];

pub(super) fn run(arguments: &Arguments, target: &Target, own: &SilabsTarget, mut flash: Flash) -> Result<u8, Failure> {
    if let Some(option) = arguments.entry.of_nordic() {
        return Err(Failure::Usage(format!(
            "{option}: {} has a Gecko bootloader, which looks at the reset reason and the button alone\n  remedy: leave it out; --reset-reason bootload is how an application asks for the bootloader",
            target.name
        )));
    }
    let gecko = own.gecko(&target.layout)?;
    let entry = arguments.entry.gecko();
    let dumped = arguments.cut.is_none().then(|| gecko.explain(&flash, entry));

    let mut recorder = Recorder::new(arguments, &target.layout);
    let mut controller = Controller::new(&mut flash, &mut recorder);
    let boot = gecko.boot(&mut controller, &mut entry.clone());
    let operations = controller.operations();
    check_cut(arguments, &boot, operations)?;
    write_files(arguments, &target.layout, &recorder, &flash)?;
    // Of a boot that was cut the question is what that leaves. RAM keeps nothing over a power loss.
    let explanation = dumped.unwrap_or_else(|| gecko.explain(&flash, Entry::default()));
    let answer = answer(&boot, target, &gecko, explanation, operations, &flash);
    tell(arguments, target, &explain_parts::gecko(gecko.options()), &answer)
}

fn answer(
    boot: &Result<Boot, Interruption>,
    target: &Target,
    gecko: &Gecko,
    explanation: Explanation,
    operations: u64,
    flash: &Flash,
) -> Answer {
    let images = images(gecko, flash);
    let (outcome, reason, started) = match boot {
        Err(interruption) => ("interrupted", Some(interruption.to_string()), None),
        Ok(boot) => match &boot.outcome {
            Outcome::Application => {
                let application = images.iter().find(|image| image.slot == "application");
                let started = Started {
                    offset: gecko.map().application_start(),
                    version: application.and_then(|image| image.version.clone()),
                    hash: application.and_then(|image| image.hash.clone()),
                };
                ("boot", None, Some(started))
            }
            Outcome::AppLoader => ("dfu-mode", Some(boot.outcome.to_string()), None),
            Outcome::Reset { .. } => ("reset", Some(boot.outcome.to_string()), None),
            Outcome::Halted { .. } | Outcome::Fault { .. } => ("brick", Some(boot.outcome.to_string()), None),
            Outcome::Brick { reason } => ("brick", Some(reason.clone()), None),
        },
    };
    Answer {
        outcome,
        reason,
        in_the_end: in_the_end(&explanation),
        started,
        images,
        decisions: boot.as_ref().map_or(Vec::new(), |boot| boot.decisions.iter().map(ToString::to_string).collect()),
        explanation,
        operations,
        flash_sha256: flash.devices().first().map(|device| hex(&device.sha256())).unwrap_or_default(),
        flash_sha256_by_device: device_hashes(&target.layout, flash),
    }
}

/// What is in flash: bootloader, application, slots.
fn images(gecko: &Gecko, flash: &Flash) -> Vec<Image> {
    let map = gecko.map();
    let hash = |start: u32, size: u32| {
        let mut hash = Sha256::new();
        let visited = map.visit(flash, start, size, |piece| hash.update(piece));
        visited.ok().map(|()| hex(&hash.finalize()))
    };
    let version = |vectors: u32| {
        let properties = gecko.properties(flash, vectors).ok().flatten();
        properties.map(|properties| properties.application.version)
    };
    let (bootloader, room) = map.bootloader();
    let whole = gecko.bootloader_size(flash, bootloader).ok().flatten();
    let bootloader_version = version(bootloader).map(bootloader_version_words);
    let mut images = vec![Image {
        slot: "bootloader",
        holds: if bootloader_version.is_some() { "a bootloader" } else { "no bootloader" }.into(),
        offset: bootloader,
        size: whole.unwrap_or(room),
        version: bootloader_version,
        hash: whole.and_then(|size| hash(bootloader, size)),
        valid: whole.is_some(),
        problem: whole.is_none().then(|| "its CRC-32 is wrong".into()),
        flags: Vec::new(),
    }];
    let start = map.application_start();
    let size = application_size(gecko, flash);
    let problem = match gecko.unbootable(flash) {
        Ok(why) => why.map(|why| why.to_string()),
        Err(error) => Some(error.to_string()),
    };
    images.push(Image {
        slot: "application",
        holds: if size > 0 { "an application" } else { "nothing" }.into(),
        offset: start,
        size,
        version: version(start).map(|version| version.to_string()),
        hash: if size > 0 { hash(start, size) } else { None },
        valid: problem.is_none(),
        problem,
        flags: Vec::new(),
    });
    for ((n, name), slot) in SLOTS.into_iter().enumerate().zip(map.slots()) {
        let (holds, version, problem) = match gecko.stored(flash, n) {
            Stored::Erased => ("nothing".to_owned(), None, Some("it is erased".into())),
            Stored::Bad(why) => ("no file that is installed".into(), None, Some(why)),
            Stored::Good(file) => {
                let version = file.contents.application.then(|| file.application.version.to_string());
                let parts = [
                    (file.contents.se, "secure engine firmware"),
                    (file.contents.bootloader, "a bootloader"),
                    (file.contents.application, "an application"),
                ];
                let parts: Vec<&str> = parts.into_iter().filter(|(has, _)| *has).map(|(_, name)| name).collect();
                (format!("a file with {}", parts.join(" and ")), version, None)
            }
        };
        images.push(Image {
            slot: name,
            holds,
            offset: slot.address,
            size: slot.len,
            version,
            hash: None,
            valid: problem.is_none(),
            problem,
            flags: Vec::new(),
        });
    }
    images
}

/// Bytes of the application: up to its signature or CRC-32 where it says that it has one, otherwise without the erased bytes
/// at the end of its partition.
fn application_size(gecko: &Gecko, flash: &Flash) -> u32 {
    let map = gecko.map();
    let start = map.application_start();
    let ends = |properties: ApplicationProperties| {
        let behind = match properties.signature_type {
            signature_type::ECDSA_P256 => 64,
            signature_type::CRC32 => 4,
            _ => return None,
        };
        let size = properties.signature_location.checked_sub(start)?.checked_add(behind)?;
        (size <= map.application_len()).then_some(size)
    };
    if let Some(size) = gecko.properties(flash, start).ok().flatten().and_then(ends) {
        return size;
    }
    let (mut at, mut size) = (0u32, 0);
    let _ = map.visit(flash, start, map.application_len(), |piece| {
        if let Some(last) = piece.iter().rposition(|byte| *byte != 0xff) {
            size = at.saturating_add(u32::try_from(last).unwrap_or(0)).saturating_add(1);
        }
        at = at.saturating_add(u32::try_from(piece.len()).unwrap_or(0));
    });
    size
}
