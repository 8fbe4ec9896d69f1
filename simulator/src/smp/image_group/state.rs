//! Reading and writing the image state (zephyr: `img_mgmt_state.c`).

use brickproof_flash_model::boot::mcuboot::{RequestError, Slot, SwapType};

use super::super::cbor::{MapReader, Type, Writer};
use super::super::codes::{ImageError, SmpError};
use super::super::server::{Environment, Failure};
use super::{ImageGroup, flash_failure, slots};

/// Flags of one list entry.
#[derive(Default)]
struct Flags {
    pending: bool,
    confirmed: bool,
    active: bool,
    permanent: bool,
}

impl ImageGroup {
    /// Lists the images, flags as the next boot will treat them:
    ///
    /// | next boot | running image | other image |
    /// |---|---|---|
    /// | none | active, confirmed | |
    /// | test | active, confirmed | pending |
    /// | permanent | active, confirmed | pending, permanent |
    /// | revert | active | confirmed |
    pub(in super::super) fn read_state(&self, device: &Environment<'_, '_>, map: &mut Writer) -> Result<(), Failure> {
        let next = slots::next_boot(device)?;
        let running = Flags { active: true, confirmed: next != SwapType::Revert, ..Flags::default() };
        let other = match next {
            SwapType::None | SwapType::Fail => Flags::default(),
            SwapType::Test => Flags { pending: true, ..Flags::default() },
            SwapType::Permanent => Flags { pending: true, permanent: true, ..Flags::default() },
            SwapType::Revert => Flags { confirmed: true, ..Flags::default() },
        };
        map.text("images").begin_list();
        for (number, slot, flags) in [(0u32, Slot::Primary, running), (1, Slot::Secondary, other)] {
            // A slot without a readable image is left out.
            let Ok(info) = slots::read_info(device.flash.flash(), device.mcuboot.area(slot)) else { continue };
            map.begin_map();
            map.text("slot").unsigned(number.into());
            map.text("version").text(&info.header.version.smp_text());
            map.text("hash").bytes(&info.hash);
            map.text("bootable").boolean(slots::bootable(&info.header));
            map.text("pending").boolean(flags.pending);
            map.text("confirmed").boolean(flags.confirmed);
            map.text("active").boolean(flags.active);
            map.text("permanent").boolean(flags.permanent);
            map.end();
        }
        map.end();
        map.text("splitStatus").unsigned(0);
        Ok(())
    }

    /// Tests or confirms an image; answers with the list.
    pub(in super::super) fn write_state(
        &mut self,
        body: &[u8],
        device: &mut Environment<'_, '_>,
        map: &mut Writer,
    ) -> Result<(), Failure> {
        let request = MapReader::read(body, [("hash", Type::Bytes), ("confirm", Type::Boolean)])
            .map_err(|_| SmpError::Invalid)?;
        let confirm = request.boolean(1).unwrap_or(false);
        let slot = match request.bytes(0).unwrap_or_default() {
            [] if confirm => Slot::Primary,
            [] => return Err(ImageError::InvalidHash.into()),
            hash if hash.len() != 32 => return Err(ImageError::InvalidHash.into()),
            hash => find_by_hash(device, hash).ok_or(ImageError::HashNotFound)?,
        };
        set_next_boot(device, slot, confirm)?;
        self.read_state(device, map)
    }
}

fn find_by_hash(device: &Environment<'_, '_>, hash: &[u8]) -> Option<Slot> {
    [Slot::Primary, Slot::Secondary].into_iter().find(|slot| {
        slots::read_info(device.flash.flash(), device.mcuboot.area(*slot)).is_ok_and(|info| info.hash == hash)
    })
}

/// Which requests are allowed when (`img_mgmt_set_next_boot_slot`):
///
/// | next boot | test secondary | confirm secondary | confirm primary |
/// |---|---|---|---|
/// | none | written | written | nothing to do |
/// | test | nothing to do | 28 | 28 |
/// | permanent | 28 | nothing to do | 28 |
/// | revert | 28 | nothing to do | written |
///
/// Testing the primary image is refused with 33 in every state.
fn set_next_boot(device: &mut Environment<'_, '_>, slot: Slot, confirm: bool) -> Result<(), Failure> {
    if !confirm && slot == Slot::Primary {
        return Err(ImageError::SettingTestToActiveDenied.into());
    }
    match (slots::next_boot(device)?, slot, confirm) {
        (SwapType::None | SwapType::Fail, Slot::Primary, _)
        | (SwapType::Test, Slot::Secondary, false)
        | (SwapType::Permanent | SwapType::Revert, Slot::Secondary, true) => return Ok(()),
        (SwapType::None | SwapType::Fail, Slot::Secondary, _) | (SwapType::Revert, Slot::Primary, _) => {}
        (SwapType::Test | SwapType::Permanent | SwapType::Revert, ..) => {
            return Err(ImageError::AlreadyPending.into());
        }
    }
    let written = if slot == Slot::Primary {
        if let Some(refused) = &device.refuse_confirm {
            return Err(Failure::Smp(refused.rc));
        }
        device.mcuboot.set_confirmed(device.flash)
    } else {
        device.mcuboot.set_pending(device.flash, confirm)
    };
    written.map_err(|error| match error {
        RequestError::Flash(error) => flash_failure(error, ImageError::FlashWrite),
        RequestError::BadVector => ImageError::InvalidVectorTable.into(),
        RequestError::BadImage => ImageError::InvalidImageHeaderMagic.into(),
    })
}
