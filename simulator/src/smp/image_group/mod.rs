//! The image group (zephyr: `grp/img_mgmt`).

mod slots;
mod state;
mod upload;

use brickproof_flash_model::flash::FlashError;

use super::cbor::{MapReader, Type};
use super::codes::{ImageError, SmpError};
use super::server::{Environment, Failure, ServerConfig};

pub(super) use upload::Upload;

/// What the group keeps in RAM. It survives a disconnect and is shared by all transports.
#[derive(Debug, Clone, Default)]
pub(super) struct ImageGroup {
    pub(super) upload: Option<Upload>,
}

impl ImageGroup {
    /// `img_mgmt_erase`.
    pub(super) fn erase(
        &mut self,
        config: &ServerConfig,
        body: &[u8],
        device: &mut Environment<'_, '_>,
    ) -> Result<(), Failure> {
        let request = MapReader::read(body, [("slot", Type::Unsigned)]).map_err(|_| SmpError::Invalid)?;
        let slot = request.unsigned(0).unwrap_or(slots::SECONDARY);
        // A slot without a readable image may always be erased.
        let area = slots::area(config, device.mcuboot, slot);
        if area.is_some_and(|area| slots::read_info(device.flash.flash(), area).is_ok()) && slots::in_use(device, slot)?
        {
            return Err(ImageError::NoFreeSlot.into());
        }
        self.upload = None;
        let area = area.ok_or(ImageError::FlashOpen)?;
        if slots::is_erased(device, area) {
            return if config.zephyr.erases_erased_slots() { Ok(()) } else { Err(ImageError::Unknown.into()) };
        }
        slots::erase(device.flash, area, 0, area.len)
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
