//! Expectations of the scenario, and what must hold after every scenario.

use brickproof_flash_model::image::gbl::{Content, Gbl, TagKind};
use brickproof_flash_model::image::nordic::{ImageKind, InitPacket, Package};
use brickproof_simulator::gatt::AttError;
use brickproof_simulator::trace::{ImageState, SlotState, StateRecord, StepBy, hex};
use brickproof_simulator::world::{ACCEPTED, REFUSED, trimmed_sha256};
use sha2::{Digest, Sha256};

use super::view::{Event, View};
use super::{Family, silabs, silence};
use crate::runner::verdict::{Finding, Weight};
use crate::scenario::{ExpectInitiator, ExpectInjected, ExpectPart, ExpectRunning, ExpectState, Scenario};

/// Ids of what can be found here.
pub(super) const IDS: [&str; 10] = [
    "expect/running",
    "expect/softdevice",
    "expect/bootloader",
    "expect/state",
    "expect/initiator",
    "expect/injected",
    "device/bricked",
    "device/protected-region",
    "initiator/hung",
    "initiator/silent",
];

/// What did not hold.
pub(super) fn findings(scenario: &Scenario, view: &View<'_>, hung: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |id: &str, expected: String, happened: String, at: super::view::Place| {
        findings.push(Finding {
            id: id.to_owned(),
            weight: Weight::Must,
            expected,
            happened,
            at_us: Some(at.at_us),
            record: Some(at.n),
        });
    };
    if let Some((place, reason)) = view.dead {
        add("device/bricked", "the device starts an image after every reset".into(), reason.to_owned(), place);
    }
    if let Some(wanted) = scenario.expect.injected {
        let (words, word) = match wanted {
            ExpectInjected::Accepted => (ACCEPTED, "carries out"),
            ExpectInjected::Refused => (REFUSED, "refuses"),
        };
        for (place, state, what) in view.injected.iter().filter(|(_, state, _)| *state != words) {
            add(
                "expect/injected",
                format!("the device {word} what the scenario does to it"),
                format!("{state}: {what}"),
                *place,
            );
        }
        if view.injected.is_empty() {
            add(
                "expect/injected",
                format!("the device {word} what the scenario does to it"),
                "nothing was done, or it was never answered".into(),
                view.last,
            );
        }
    } else if let Some((place, refusal)) = view.refused.iter().find(|(_, refusal)| refusal.contains("protected region"))
    {
        add("device/protected-region", "nothing changes a protected region".into(), refusal.clone(), *place);
    }
    let expect = &scenario.expect;
    if let Some(end) = view.end {
        let (installed, update) = (view.installed_hash(), view.update_hash());
        let running = end.running.clone();
        let name = |hash: &Option<String>| match hash {
            None => "no image".to_owned(),
            Some(hash) if Some(hash) == installed.as_ref() => "the installed image".to_owned(),
            Some(hash) if Some(hash) == update.as_ref() => "the update".to_owned(),
            Some(hash) => format!("an image with the hash {hash}"),
        };
        let (right, wanted) = match expect.running {
            ExpectRunning::Installed => (running.is_some() && running == installed, "the installed image"),
            ExpectRunning::Update => (running.is_some() && running == update, "the update"),
            ExpectRunning::Nothing => (running.is_none(), "nothing"),
            ExpectRunning::Any => {
                (running.is_some() && (running == installed || running == update), "one of the two images")
            }
        };
        if !right && view.dead.is_none() {
            add("expect/running", format!("{wanted} runs at the end"), format!("{} runs", name(&running)), view.last);
        }
        let state = end.state;
        let (right, wanted) = match expect.state {
            None => (true, ""),
            Some(ExpectState::Confirmed) => (state == Some(ImageState::Confirmed), "confirmed"),
            Some(ExpectState::Testing) => (state == Some(ImageState::Testing), "testing"),
        };
        if right || view.dead.is_some() || expect.running == ExpectRunning::Nothing {
            // As expected, or said already.
        } else {
            let is = match state {
                Some(ImageState::Confirmed) => "it is confirmed",
                Some(ImageState::Testing) => "it is in its test: the next reset swaps back",
                None => "nothing runs",
            };
            add("expect/state", format!("the running image is {wanted} at the end"), is.to_owned(), view.last);
        }
    }
    for (id, slot, wanted) in
        [("expect/softdevice", "softdevice", expect.softdevice), ("expect/bootloader", "bootloader", expect.bootloader)]
    {
        let Some(wanted) = wanted else { continue };
        let hash =
            |state: &StateRecord| state.slots.iter().find(|own| own.slot == slot).and_then(|own| own.hash.clone());
        let (words, right) = match wanted {
            ExpectPart::Installed => ("the one from before", view.start.and_then(hash)),
            ExpectPart::Update => ("that of the package", of_package(&view.images.update.bytes, slot)),
        };
        if right.is_none() || view.end.and_then(hash) != right {
            let expected = format!("the {slot} at the end is {words}");
            add(id, expected, format!("another {slot} is in its place"), view.last);
        }
    }
    for (number, update) in view.images.updates().enumerate().skip(1) {
        let slot = |slot: &&SlotState| slot.slot == format!("primary-{number}");
        let Some(primary) = view.end.and_then(|end| end.slots.iter().find(slot)) else { continue };
        let runs = primary.hash.is_some() && primary.hash == update.tlv_hash.map(|hash| hex(&hash));
        if expect.running != ExpectRunning::Update || view.dead.is_some() {
            continue;
        }
        if !runs {
            let wanted = format!("the update of image {number} is in its primary slot at the end");
            add("expect/running", wanted, "another image is there".into(), view.last);
            continue;
        }
        let trailer = primary.trailer.as_ref();
        let in_test = trailer.is_some_and(|trailer| trailer.copy_done == "set" && trailer.image_ok != "set");
        let (wanted, is) = match expect.state {
            Some(ExpectState::Confirmed) if in_test => ("confirmed", "it is in its test: the next reset swaps back"),
            Some(ExpectState::Testing) if !in_test => ("testing", "it is confirmed"),
            _ => continue,
        };
        add("expect/state", format!("image {number} is {wanted} at the end"), is.to_owned(), view.last);
    }
    if hung {
        add("initiator/hung", "the initiator ends within the deadline".into(), "it had to be killed".into(), view.last);
        return findings;
    }
    // Whoever was not let in has said nothing because it could not.
    let shut_out = view.entries.iter().any(|entry| match &entry.event {
        Event::Att(att) => att.error.is_some_and(|error| AttError(error).is_security()),
        _ => false,
    });
    // And a file that can be seen to be no good is rightly not sent.
    let kept_back = Family::of(view.trace, view.images) == Family::SilabsOta && silabs::is_unfit(view.images);
    if view.sent == 0 && !shut_out && !kept_back {
        add(
            "initiator/silent",
            "the initiator talks to the target".into(),
            match silence::why(view.trace) {
                Some(why) => format!("the initiator never sent a request: {why}"),
                None => "the initiator never sent a request".into(),
            },
            view.last,
        );
    }
    let runs = view.end.and_then(|end| end.running.clone());
    let updated = runs.is_some() && runs == view.update_hash();
    let reported = view.entries.iter().rev().find_map(|entry| match entry.event {
        Event::Reported { success, message } => Some((entry.place, entry.by, success, message)),
        _ => None,
    });
    if let Some((place, by, success, message)) = reported {
        let says = format!("it says that it {}: {message}", if success { "succeeded" } else { "failed" });
        match expect.initiator {
            ExpectInitiator::Succeeds if !success => {
                add("expect/initiator", "the initiator succeeds".into(), says, place);
            }
            ExpectInitiator::Truthful if success && by == StepBy::Tool && !updated => {
                add("expect/initiator", "a success is only told where the update runs".into(), says, place);
            }
            // A tool that only carries out single steps cannot know how the whole ended.
            ExpectInitiator::Fails if success && by == StepBy::Tool => {
                add("expect/initiator", "the initiator says that the update failed".into(), says, place);
            }
            _ => {}
        }
    }
    findings
}

/// The hash of the SoftDevice or the bootloader of a package or a GBL file, as the state of a device has it.
fn of_package(package: &[u8], slot: &str) -> Option<String> {
    if let Ok(gbl) = Gbl::read(package) {
        let Ok(Content::Bootloader { image, .. }) = gbl.content(gbl.tag(TagKind::Bootloader)?) else { return None };
        return Some(hex(&trimmed_sha256(image)));
    }
    let package = Package::read("the update", package).ok()?;
    let both = package.image(ImageKind::SoftdeviceBootloader);
    let kind = if slot == "softdevice" { ImageKind::Softdevice } else { ImageKind::Bootloader };
    let bytes = match (package.image(kind), both) {
        (Some(image), _) => &image.firmware,
        (None, Some(image)) => {
            let size = usize::try_from(InitPacket::parse(&image.init).ok()?.command.sd_size?).ok()?;
            let (softdevice, bootloader) = image.firmware.split_at_checked(size)?;
            if slot == "softdevice" { softdevice } else { bootloader }
        }
        (None, None) => return None,
    };
    let hash = if slot == "softdevice" { Sha256::digest(bytes).into() } else { trimmed_sha256(bytes) };
    Some(hex(&hash))
}
