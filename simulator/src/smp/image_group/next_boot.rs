//! What will boot next (zephyr: `img_mgmt_get_next_boot_slot`), and what follows from it.

use brickproof_flash_model::boot::mcuboot::{Flag, Magic, SwapType};
use brickproof_flash_model::image::mcuboot::ImageVersion;

use super::super::codes::ImageError;
use super::super::config::{BootloaderMode, ServerConfig};
use super::super::server::Environment;
use super::slots::{Slots, opposite};
use super::{Result, flash_failure};

/// How the next boot ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// For good.
    Normal,
    /// Until it is confirmed.
    Test,
    /// Back to the image before.
    Revert,
}

/// The slot that will boot, and how; `None` when it cannot be found out.
pub(super) type NextBoot = (Option<u32>, Kind);

/// Compares versions as the server does: the build number only counts in some builds.
pub(super) fn compare(config: &ServerConfig, a: ImageVersion, b: ImageVersion) -> std::cmp::Ordering {
    let builds = if config.version_compare_build { a.build.cmp(&b.build) } else { std::cmp::Ordering::Equal };
    a.release().cmp(&b.release()).then(builds)
}

/// `img_mgmt_get_next_boot_slot`.
pub(super) fn next_boot(slots: &Slots<'_>, device: &Environment<'_, '_>, image: u32) -> Result<NextBoot> {
    let active = slots.active_slot(image);
    let mode = slots.config.bootloader;
    if mode.fixed() {
        return Ok((Some(active), Kind::Normal));
    }
    if mode.by_version() {
        return Ok((Some(by_version(slots, device, active)), Kind::Normal));
    }
    if mode == BootloaderMode::DirectXipWithRevert {
        return by_trailer_and_version(slots, device, active);
    }
    // The bootloader knows images by number, whatever slot the server takes for active.
    let Some((pair, _)) = slots.pair(device, image.wrapping_mul(2)) else {
        // The server looks behind the end of its table of slots, where anything may be. In the recorded
        // build that was no flash area for the first image that is not there, and an empty one further on.
        let beyond = image > u32::from(slots.config.image_count);
        return Ok((beyond.then_some(active), Kind::Normal));
    };
    let swap = pair.swap_type(device.flash.flash()).map_err(|error| flash_failure(error, ImageError::FlashRead))?;
    Ok(match swap {
        SwapType::None => (Some(active), Kind::Normal),
        SwapType::Permanent => (Some(opposite(active)), Kind::Normal),
        SwapType::Test => (Some(opposite(active)), Kind::Test),
        SwapType::Revert => (Some(opposite(active)), Kind::Revert),
        SwapType::Fail => (None, Kind::Normal),
    })
}

/// Direct-xip and RAM load: the image with the higher version.
fn by_version(slots: &Slots<'_>, device: &Environment<'_, '_>, active: u32) -> u32 {
    let other = opposite(active);
    let (Ok(running), Ok(candidate)) = (slots.version(device, active), slots.version(device, other)) else {
        return active;
    };
    let order = compare(slots.config, running, candidate);
    let lower = slots.config.zephyr.prefers_the_lower_slot() && order.is_eq() && other < active;
    if order.is_lt() || lower { other } else { active }
}

/// What the trailer of a slot says to direct-xip with revert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Xip {
    Unset,
    Once,
    Revert,
    Forever,
}

fn xip_state(slots: &Slots<'_>, device: &Environment<'_, '_>, slot: u32) -> Result<Option<Xip>> {
    let Some(trailer) = slots.trailer(device, slot) else { return Ok(None) };
    let state = trailer.read(device.flash.flash()).map_err(|error| flash_failure(error, ImageError::FlashRead))?;
    Ok(Some(match (state.magic, state.image_ok, state.copy_done) {
        (Magic::Good, Flag::Set, _) => Xip::Forever,
        (Magic::Good, _, Flag::Set) => Xip::Revert,
        (Magic::Good, ..) => Xip::Once,
        (Magic::Unset | Magic::Bad, ..) => Xip::Unset,
    }))
}

/// Direct-xip with revert. Where anything cannot be read, the running image is taken to run again.
fn by_trailer_and_version(slots: &Slots<'_>, device: &Environment<'_, '_>, active: u32) -> Result<NextBoot> {
    let other = opposite(active);
    let stays = (Some(active), Kind::Normal);
    let (Ok(running), Ok(candidate)) = (slots.version(device, active), slots.version(device, other)) else {
        return Ok(stays);
    };
    let (Some(active_state), Some(other_state)) = (xip_state(slots, device, active)?, xip_state(slots, device, other)?)
    else {
        return Ok(stays);
    };
    Ok(match (active_state, other_state) {
        (Xip::Revert, _) => (Some(other), Kind::Revert),
        (Xip::Once, Xip::Unset) => (Some(active), Kind::Test),
        (_, Xip::Unset) => stays,
        (_, state) if compare(slots.config, running, candidate).is_lt() => match state {
            Xip::Forever => (Some(other), Kind::Normal),
            Xip::Once => (Some(other), Kind::Test),
            Xip::Revert | Xip::Unset => stays,
        },
        _ => stays,
    })
}

/// Whether a slot may be neither erased nor uploaded to (`img_mgmt_slot_in_use`).
pub(super) fn in_use(slots: &Slots<'_>, device: &Environment<'_, '_>, slot: u32) -> Result<bool> {
    let image = slot / 2;
    let active = slots.active_slot(image);
    if !slots.config.bootloader.by_version() {
        let (next, kind) = next_boot(slots, device, image)?;
        let next_is_slot = next == Some(slot);
        if next_is_slot && kind == Kind::Revert {
            return Ok(true);
        }
        let pending = (next_is_slot && kind == Kind::Test) || (next != Some(active) && kind == Kind::Normal);
        if pending && !slots.config.allow_erase_pending {
            return Ok(true);
        }
    }
    Ok(slot == active)
}
