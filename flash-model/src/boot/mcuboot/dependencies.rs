//! Images that need a version of another one (mcuboot: `boot_verify_dependencies` in `loader.c`).
//!
//! A dependency TLV (0x40, protected) has 12 bytes: the number of the other image, three bytes of
//! padding, and the least version of it. It is compared with the version that the other image
//! will have after the updates that are asked for. One dependency that is not met, or one
//! image whose TLVs cannot be read, and no image is updated at this boot; the requests stay.

use super::run::{Run, Stop};
use super::{Decision, Slot, SwapType};
use crate::flash::Controller;
use crate::image::mcuboot::{Dependency, SlotSource, tlv};

pub(super) fn check(runs: &mut [Run<'_>], flash: &Controller<'_>, decisions: &mut Vec<Decision>) -> Result<(), Stop> {
    let Some(reason) = (0..runs.len()).find_map(|image| unmet(runs, image, flash)) else { return Ok(()) };
    decisions.push(reason);
    for run in runs {
        run.swap = SwapType::None;
    }
    Ok(())
}

fn unmet(runs: &[Run<'_>], image: usize, flash: &Controller<'_>) -> Option<Decision> {
    let slot = if runs[image].swap.is_upgrade() { Slot::Secondary } else { Slot::Primary };
    let source = SlotSource { flash: flash.flash(), area: runs[image].image_area(slot) };
    let header = &runs[image].headers[slot.index()];
    let unreadable = || Some(Decision::DependenciesUnreadable { image });
    let Ok(mut walk) = tlv::TlvWalk::begin(&source, header) else { return unreadable() };
    loop {
        let entry = match walk.next_protected(&source) {
            Ok(Some(entry)) if entry.kind == tlv::DEPENDENCY => entry,
            Ok(Some(_)) => continue,
            Ok(None) => return None,
            Err(_) => return unreadable(),
        };
        let Some(dependency) = Dependency::read(&source, &entry) else { return unreadable() };
        let Some(other) = runs.get(usize::from(dependency.image)) else { return unreadable() };
        let place = if other.swap.is_upgrade() { Slot::Secondary } else { Slot::Primary };
        let found = other.headers[place.index()].version;
        if runs[image].config.options.compare(found, dependency.min_version).is_lt() {
            return Some(Decision::DependencyUnmet {
                image,
                other: usize::from(dependency.image),
                needed: dependency.min_version,
                found,
            });
        }
    }
}
