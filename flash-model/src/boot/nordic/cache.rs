//! Where an update goes, and what is given up for it (nrf5 sdk 17.1: `nrf_dfu_utils.c`, `nrf_dfu_cache_prepare`).
//!
//! | pass | place | taken when it fits, and no single bank is asked for; otherwise the next pass, if |
//! |---|---|---|
//! | 0 | behind the application | the application may go: there is none, or dual bank is not forced |
//! | 1 | where the application begins | the SoftDevice may go: the bootloader does not need it, nor the update |
//! | 2 | where the SoftDevice begins | - |
//!
//! So with the default options a dual bank becomes a single bank where room is short. When pass 1 is taken there is no
//! application any more from this moment on, although no byte of it has been erased.
//!
//! An application that ends above the region (only a debugger can put it there) makes the size of the room wrap: pass 0
//! then takes any update, and it goes where the application ends. Assertions are off in release builds.

use super::dfu::fault;
use super::softdevice::INFO_OFFSET;
use super::versions::fw_type;
use super::{BankCode, Dfu, FlashStep, MBR_SIZE, Nordic, Profile, Refusal, ResultCode, Settings, SoftdeviceInfo};
use crate::flash::{Flash, FlashError};
use crate::image::nordic::{FwType, InitCommand};

impl Nordic {
    /// Where the application begins (`nrf_dfu_bank0_start_addr`).
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn bank_0_start(&self, flash: &Flash) -> Result<u32, FlashError> {
        let installed = SoftdeviceInfo::installed(&self.map, flash)?;
        Ok(installed.map_or(MBR_SIZE, |info| self.map.align(info.size)))
    }

    /// Where an update begins that is put behind the application (`nrf_dfu_bank1_start_addr`).
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn bank_1_start(&self, settings: &Settings, flash: &Flash) -> Result<u32, FlashError> {
        Ok(self.map.align(self.bank_0_start(flash)?.wrapping_add(settings.bank_0.image_size)))
    }

    /// Finds room for the update; the address (`update_data_addr_get`).
    pub(super) fn make_room(&self, init: &InitCommand, dfu: &mut Dfu, flash: &Flash) -> Result<u32, Refusal> {
        let options = &self.options;
        let single = options.single_bank && matches!(fw_type(init), FwType::Application | FwType::Softdevice);
        let keep_softdevice = options.ble || needs_softdevice(init);
        let bank_0 = self.bank_0_start(flash).map_err(fault)?;
        let present = SoftdeviceInfo::installed(&self.map, flash).map_err(fault)?.is_some();
        let keeps_app = options.force_dual_bank && dfu.settings.bank_0.code == BankCode::App;
        let passes = [
            (self.bank_1_start(&dfu.settings, flash).map_err(fault)?, keeps_app),
            (bank_0, keep_softdevice || !present),
            (MBR_SIZE, true),
        ];
        let mut taken = (0, false);
        for (pass, (address, keep)) in passes.into_iter().enumerate() {
            let fits = dfu.firmware_size <= self.region_end().wrapping_sub(address);
            taken = (pass, fits);
            if fits && !single || keep {
                break;
            }
        }
        let (pass, fits) = taken;
        if !fits {
            return Err(ResultCode::InsufficientResources.into());
        }
        if pass >= 1 {
            dfu.settings.invalidate_bank_0();
        }
        if options.profile <= Profile::V15_0 {
            // Later a size is only taken from the init packet.
            dfu.settings.invalidate_bank_1();
            dfu.settings.bank_1.image_size = dfu.firmware_size;
            dfu.settings.bank_current = 1;
        }
        if pass == 2 {
            dfu.steps.push(softdevice_invalidate());
            return Ok(MBR_SIZE);
        }
        self.bank_1_start(&dfu.settings, flash).map_err(fault)
    }
}

/// The magic of the SoftDevice is overwritten, in builds that do not need it (`nrf_dfu_softdevice_invalidate`).
pub(super) fn softdevice_invalidate() -> FlashStep {
    FlashStep::Store { address: MBR_SIZE + INFO_OFFSET + 4, bytes: vec![0; 4] }
}

/// `update_requires_softdevice`.
pub(super) fn needs_softdevice(init: &InitCommand) -> bool {
    init.sd_req.first().is_some_and(|first| *first != 0)
}
