//! Reading and writing the image state (zephyr: `img_mgmt_state.c`).

use brickproof_flash_model::boot::mcuboot::RequestError;

use super::super::cbor::{MapReader, Type, Writer};
use super::super::codes::{ImageError, SmpError};
use super::super::config::BootloaderMode;
use super::super::dispatch::{Exchange, Failure};
use super::super::server::{Environment, Server};
use super::next_boot::{Kind, next_boot};
use super::slots::{self, Slots, opposite};
use super::{Result, flash_failure};

/// Flags of one list entry.
#[derive(Default)]
struct Flags {
    pending: bool,
    confirmed: bool,
    active: bool,
    permanent: bool,
}

/// Lists the images, flags as the next boot will treat them:
///
/// | next boot | active slot | other slot |
/// |---|---|---|
/// | same | active, confirmed | |
/// | other, test | active, confirmed | pending |
/// | other, for good | active, confirmed | pending, permanent |
/// | revert | active | confirmed |
pub(super) fn read(server: &mut Server, exchange: &mut Exchange<'_>, device: &mut Environment<'_, '_>) -> Result {
    let slots = Slots::new(&server.config, device);
    exchange.map.text("images").begin_list();
    for image in 0..u32::from(server.config.image_count) {
        let (next, kind) = next_boot(&slots, device, image)?;
        let active = slots.active_slot(image);
        let flags_of = |slot: u32| {
            if slot == active {
                return Flags { active: true, confirmed: kind != Kind::Revert, ..Flags::default() };
            }
            match kind {
                _ if next == Some(active) => Flags::default(),
                Kind::Normal => Flags { pending: true, permanent: true, ..Flags::default() },
                Kind::Test => Flags { pending: true, ..Flags::default() },
                Kind::Revert => Flags { confirmed: true, ..Flags::default() },
            }
        };
        let first = active.min(opposite(active));
        for slot in [first, first + 1] {
            put(&mut exchange.map, &slots, device, slot, &flags_of(slot));
        }
    }
    exchange.map.end();
    if !server.config.frugal_list {
        exchange.map.text("splitStatus").unsigned(0);
    }
    Ok(())
}

/// Writes a list entry; a slot without a readable image has none.
fn put(map: &mut Writer, slots: &Slots<'_>, device: &Environment<'_, '_>, slot: u32, flags: &Flags) {
    let Ok(info) = slots.info(device, slot) else { return };
    map.begin_map();
    if slots.config.image_count > 1 {
        map.text("image").unsigned(u64::from(slot) / 2);
    }
    map.text("slot").unsigned(u64::from(slot) % 2);
    map.text("version").text(&info.header.version.smp_text());
    map.text("hash").bytes(&info.hash);
    for (name, value) in [
        ("bootable", slots::bootable(&info.header)),
        ("pending", flags.pending),
        ("confirmed", flags.confirmed),
        ("active", flags.active),
        ("permanent", flags.permanent),
    ] {
        if value || !slots.config.frugal_list {
            map.text(name).boolean(value);
        }
    }
    map.end();
}

/// Tests or confirms an image; answers with the list.
pub(super) fn write(server: &mut Server, exchange: &mut Exchange<'_>, device: &mut Environment<'_, '_>) -> Result {
    let request = MapReader::read(exchange.body, [("hash", Type::Bytes), ("confirm", Type::Boolean)])
        .map_err(|_| SmpError::Invalid)?;
    let slots = Slots::new(&server.config, device);
    let confirm = request.boolean(1).unwrap_or(false);
    let slot = match request.bytes(0).unwrap_or_default() {
        [] if confirm => slots.active_slot(slots.active_image()),
        [] => return Err(ImageError::InvalidHash.into()),
        hash if hash.len() != 32 => return Err(ImageError::InvalidHash.into()),
        hash => (0..slots.count())
            .find(|slot| slots.info(device, *slot).is_ok_and(|info| info.hash == hash))
            .ok_or(ImageError::HashNotFound)?,
    };
    let changes = if slots.config.bootloader == BootloaderMode::DirectXipWithRevert {
        let active = slots.active_slot(slots.active_image());
        if slot == active && !confirm {
            return Err(ImageError::SettingTestToActiveDenied.into());
        }
        true
    } else {
        allowed(&slots, device, slot, confirm)?
    };
    if changes {
        set_next_boot(&slots, device, slot, confirm)?;
    }
    read(server, exchange, device)
}

/// Which requests are allowed when (`img_mgmt_set_next_boot_slot`); `false` where there is nothing to do:
///
/// | next boot | test other | confirm other | confirm active |
/// |---|---|---|---|
/// | same | written | written | nothing to do |
/// | other, test | nothing to do | 28 | 28 |
/// | other, for good | 28 | nothing to do | 28 |
/// | revert | 28 | nothing to do | written |
///
/// Testing the active slot is refused with 33 in every state, and confirming an image that does not run
/// with 32 where the build does not allow it.
fn allowed(slots: &Slots<'_>, device: &Environment<'_, '_>, slot: u32, confirm: bool) -> Result<bool> {
    let config = slots.config;
    let image = slot / 2;
    let active = slots.active_slot(image);
    let (next, kind) = next_boot(slots, device, image)?;
    if confirm && image != slots.active_image() {
        let secondary = config.allow_confirm_non_active_image_secondary && slot != active;
        if !config.allow_confirm_non_active_image_any && !secondary {
            return Err(ImageError::ConfirmationDenied.into());
        }
    }
    if confirm && slot != active && !config.allow_confirm_non_active_slot {
        return Err(ImageError::ConfirmationDenied.into());
    }
    if !confirm && slot == active {
        return Err(ImageError::SettingTestToActiveDenied.into());
    }
    let next_is_slot = next == Some(slot);
    match kind {
        Kind::Test if !confirm && next_is_slot => Ok(false),
        Kind::Test => Err(ImageError::AlreadyPending.into()),
        Kind::Normal | Kind::Revert if confirm && next_is_slot => Ok(false),
        Kind::Normal if slot == active && next != Some(active) => Err(ImageError::AlreadyPending.into()),
        Kind::Normal if !confirm && next_is_slot => Err(ImageError::AlreadyPending.into()),
        Kind::Revert if !confirm => Err(ImageError::AlreadyPending.into()),
        Kind::Normal | Kind::Revert => Ok(true),
    }
}

fn set_next_boot(slots: &Slots<'_>, device: &mut Environment<'_, '_>, slot: u32, confirm: bool) -> Result {
    let active = slot == slots.active_slot(slot / 2);
    if let Some(refused) = device.refuse_confirm.as_ref().filter(|_| active) {
        return Err(Failure::Smp(refused.rc));
    }
    let (pair, which) = slots.pair(device, slot).ok_or(ImageError::FlashOpen)?;
    let written = if slots.config.bootloader == BootloaderMode::DirectXipWithRevert {
        pair.set_next_direct_xip(device.flash, which, active || confirm)
    } else {
        pair.set_next(device.flash, which, active, confirm)
    };
    written.map_err(|error| match error {
        RequestError::Flash(error) => flash_failure(error, ImageError::FlashWrite),
        RequestError::BadVector => ImageError::InvalidVectorTable.into(),
        RequestError::BadImage => ImageError::InvalidImageHeaderMagic.into(),
    })
}
