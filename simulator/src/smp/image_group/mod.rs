//! The image group (zephyr: `grp/img_mgmt`).
//!
//! | module | what it holds |
//! |---|---|
//! | `slots` | slots by absolute number, and what a list says of the image in one |
//! | `next_boot` | what will boot next, by trailers or by version |
//! | `state` | list, test, confirm |
//! | `upload` | the upload: which chunk is taken, and where it goes |
//! | `writer` | gathered bytes on their way to flash |

mod next_boot;
mod slots;
mod state;
mod upload;
mod writer;

use brickproof_flash_model::flash::FlashError;

use super::cbor::{MapReader, Type};
use super::codes::{ImageError, SmpError, group};
use super::config::{ServerConfig, TooLarge};
use super::dispatch::{Entry, Exchange, Failure, Group, always};
use super::server::{Environment, Server};
use slots::Slots;

pub(super) use upload::Upload;

type Result<T = ()> = std::result::Result<T, Failure>;

/// What the group keeps in RAM. It survives a disconnect and is shared by all transports.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct ImageGroup {
    pub(super) upload: Option<Upload>,
}

/// `img_mgmt_erase`.
fn erase(server: &mut Server, exchange: &mut Exchange<'_>, device: &mut Environment<'_, '_>) -> Result {
    let request = MapReader::read(exchange.body, [("slot", Type::Unsigned)]).map_err(|_| SmpError::Invalid)?;
    let Server { config, images, .. } = server;
    let slots = Slots::new(config, device);
    let slot = request.unsigned(0).unwrap_or(slots::opposite(slots.active_slot(slots.active_image())));
    // A slot without a readable image may always be erased.
    if slots.version(device, slot).is_ok() && next_boot::in_use(&slots, device, slot)? {
        return Err(ImageError::NoFreeSlot.into());
    }
    images.upload = None;
    let area = slots.area(device, slot).ok_or(ImageError::FlashOpen)?;
    if !slots::is_erased(device, area) {
        slots::erase(device.flash, area, 0, area.len)?;
    } else if !config.zephyr.erases_erased_slots() {
        return Err(ImageError::Unknown.into());
    }
    exchange.success(config);
    Ok(())
}

/// `img_mgmt_slot_info`.
fn slot_info(server: &mut Server, exchange: &mut Exchange<'_>, device: &mut Environment<'_, '_>) -> Result {
    let config = &server.config;
    let slots = Slots::new(config, device);
    let map = exchange.map.text("images").begin_list();
    for image in 0..u32::from(config.image_count) {
        let mut sizes = [0; 2];
        map.begin_map().text("image").unsigned(image.into()).text("slots").begin_list();
        for (index, size) in (0u32..).zip(&mut sizes) {
            let slot = image * 2 + index;
            map.begin_map().text("slot").unsigned(index.into());
            // A slot that cannot be opened is said to be unknown (`-ENOENT`).
            let Some(area) = slots.area(device, slot) else {
                map.text("rc").signed(-2).end();
                continue;
            };
            *size = area.len;
            map.text("size").unsigned(area.len.into());
            if config.direct_upload {
                map.text("upload_image_id").unsigned(u64::from(slot) + 1);
            } else if slots.active_slot(image) != slot {
                map.text("upload_image_id").unsigned(image.into());
            }
            map.end();
        }
        map.end();
        if let Some(max) = max_image_size(config, sizes) {
            map.text("max_image_size").unsigned(max.into());
        }
        map.end();
    }
    map.end();
    Ok(())
}

/// What slot info says of the largest image, in bytes.
fn max_image_size(config: &ServerConfig, [primary, secondary]: [u32; 2]) -> Option<u32> {
    match config.too_large {
        TooLarge::Slot => None,
        TooLarge::Sysbuild { footer } => (primary > 0 && secondary > 0 && footer >= primary.abs_diff(secondary))
            .then(|| primary.saturating_sub(footer)),
        TooLarge::BootloaderInfo { max } => Some(max),
    }
}

/// A flash failure in the words of the group.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn flash_failure(error: FlashError, refused: ImageError) -> Failure {
    match error {
        FlashError::Interrupted(interruption) => Failure::Interrupted(interruption),
        FlashError::Refused(_) => refused.into(),
        FlashError::ReadFault { .. } => ImageError::FlashRead.into(),
    }
}

pub(super) const GROUP: Group = Group {
    number: group::IMAGE,
    name: "img mgmt",
    built: always,
    commands: &[
        Entry {
            number: 0,
            built: |config| config.bootloader.takes_requests(),
            read: Some(state::read),
            write: Some(state::write),
        },
        Entry { number: 0, built: |config| !config.bootloader.takes_requests(), read: Some(state::read), write: None },
        Entry { number: 1, built: always, read: None, write: Some(upload::write) },
        Entry { number: 5, built: always, read: None, write: Some(erase) },
        Entry {
            number: 6,
            built: |config| config.slot_info && config.zephyr.has_slot_info(),
            read: Some(slot_info),
            write: None,
        },
    ],
};
