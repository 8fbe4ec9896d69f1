//! Activation: an update that was accepted comes into its place (nrf5 sdk 17.1: `nrf_bootloader_fw_activation.c`).
//!
//! An image is copied downwards in steps of `copy_step` pages, or less: no step is longer than the way it goes, so that
//! the source of a step stays whole until the step is done. Behind each step the settings and their backup are written
//! with the new write offset. A step that was cut is repeated.
//!
//! What fails is not tried again: bank 1 is given up, and the device resets as after a success.

use super::mbr::CopyCommand;
use super::run::{Run, Stop};
use super::{BankCode, Decision, MBR_SIZE, SoftdeviceInfo};
use crate::flash::{Controller, FlashError};

/// `nrf_bootloader_fw_activation_result_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activated {
    /// There was nothing to do.
    Nothing,
    /// It is done, or given up.
    Done,
    /// A SoftDevice is in place, and an application is valid.
    MoreExpected,
    /// The MBR is to go on.
    CopyAsked,
}

/// Why an activation does not go on.
enum Failed {
    Stop(Stop),
    /// It is given up.
    Reason(String),
}

impl From<Stop> for Failed {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<FlashError> for Failed {
    fn from(error: FlashError) -> Self {
        match error {
            FlashError::Interrupted(_) | FlashError::ReadFault { .. } => Self::Stop(error.into()),
            FlashError::Refused(refusal) => Self::Reason(refusal.to_string()),
        }
    }
}

impl Run<'_> {
    /// `nrf_bootloader_fw_activate`.
    pub(super) fn activate(&mut self, flash: &mut Controller<'_>) -> Result<Activated, Stop> {
        let code = self.settings.bank_1.code;
        let (source, done) = (self.settings.progress.update_start_address(), self.settings.write_offset);
        if let BankCode::Invalid | BankCode::ExternalApp | BankCode::Other(_) = code {
            return Ok(Activated::Nothing);
        }
        self.decisions.push(Decision::Activate { code, source, done });
        let result = match code {
            BankCode::App => self.activate_app(flash).map(|()| false),
            BankCode::Softdevice => self.activate_softdevice(flash).map(|()| false),
            BankCode::Bootloader => self.activate_bootloader(flash),
            _ => self.activate_softdevice(flash).and_then(|()| self.activate_bootloader(flash)),
        };
        match result {
            Ok(true) => return Ok(Activated::CopyAsked),
            Ok(false) => {}
            Err(Failed::Stop(stop)) => return Err(stop),
            Err(Failed::Reason(reason)) => self.decisions.push(Decision::GivenUp(reason)),
        }
        self.settings.invalidate_bank_1();
        self.write_and_backup(flash)?;
        let softdevice = matches!(code, BankCode::Softdevice | BankCode::SoftdeviceBootloader);
        let more = softdevice && self.settings.bank_0.code == BankCode::App;
        Ok(if more { Activated::MoreExpected } else { Activated::Done })
    }

    /// `app_activate`.
    fn activate_app(&mut self, flash: &mut Controller<'_>) -> Result<(), Failed> {
        let map = *self.nordic.map();
        let target = self.nordic.bank_0_start(flash.flash())?;
        let (size, done) = (self.settings.bank_1.image_size, self.settings.write_offset);
        let source = self.settings.progress.update_start_address();
        let left = if source == target { 0 } else { size.wrapping_sub(done) };
        self.copy_image(flash, target.wrapping_add(done), source.wrapping_add(done), left)?;
        let (expected, found) = (self.settings.bank_1.image_crc, map.crc32(flash.flash(), target, size)?);
        if found == expected {
            self.settings.bank_0.code = BankCode::App;
            self.settings.bank_0.image_crc = found;
            self.settings.bank_0.image_size = size;
            self.decisions.push(Decision::Activated { size });
        } else {
            self.decisions.push(Decision::CrcMismatch { expected, found });
        }
        Ok(())
    }

    /// `sd_activate`.
    fn activate_softdevice(&mut self, flash: &mut Controller<'_>) -> Result<(), Failed> {
        let map = *self.nordic.map();
        let (size, done) = (self.settings.sd_size, self.settings.write_offset);
        let source = self.settings.progress.update_start_address();
        if SoftdeviceInfo::read(&map, flash.flash(), source)?.is_none() {
            return Err(Failed::Reason(format!("there is no SoftDevice at {source:#x}")));
        }
        if done == size {
            return Ok(());
        }
        let left = map.align(size.wrapping_sub(done));
        self.copy_image(flash, MBR_SIZE.wrapping_add(done), source.wrapping_add(done), left)?;
        Ok(self.write_and_backup(flash)?)
    }

    /// `bl_activate`; whether the MBR is to copy.
    fn activate_bootloader(&mut self, flash: &mut Controller<'_>) -> Result<bool, Failed> {
        let map = *self.nordic.map();
        let mut len = self.settings.bank_1.image_size;
        let mut source = self.settings.progress.update_start_address();
        if self.settings.bank_1.code == BankCode::SoftdeviceBootloader {
            source = source.wrapping_add(self.settings.sd_size);
            len = len.wrapping_sub(self.settings.sd_size);
        } else if source == 0 {
            source = self.nordic.bank_1_start(&self.settings, flash.flash())?;
        }
        if map.equal(flash.flash(), map.bootloader().offset, source, len)? {
            self.decisions.push(Decision::BootloaderInPlace);
            return Ok(false);
        }
        if !self.nordic.ask_for_copy(flash, CopyCommand { source, words: len / 4 })? {
            return Err(Failed::Reason(format!("the MBR refuses to copy {len:#x} bytes from {source:#x}")));
        }
        self.decisions.push(Decision::CopyAsked { source, bytes: len });
        Ok(true)
    }

    /// `image_copy`.
    fn copy_image(
        &mut self,
        flash: &mut Controller<'_>,
        mut target: u32,
        mut source: u32,
        mut size: u32,
    ) -> Result<(), Failed> {
        if source == target {
            self.decisions.push(Decision::InPlace);
            return Ok(());
        }
        let (from, to, bytes) = (source, target, size);
        let map = *self.nordic.map();
        let page = map.page();
        let step = self.nordic.options().copy_step.min(source.wrapping_sub(target) / page);
        while size > 0 {
            if step == 0 {
                // Nothing is copied and nothing counted: the C loop never ends.
                return Err(Failed::Stop(Stop::Fault("the way is shorter than a page: the copy never ends".into())));
            }
            flash.checkpoint("activation: copy", [target, source, size, self.settings.write_offset])?;
            let now = size.min(step.saturating_mul(page));
            for index in 0..now.div_ceil(page) {
                flash.erase(map.whole(), target.wrapping_add(index * page), page)?;
            }
            for at in (0..now).step_by(page as usize) {
                let words = page.min(now - at).next_multiple_of(4);
                let mut buffer = vec![0; words as usize];
                let (from, to) = (source.wrapping_add(at), target.wrapping_add(at));
                flash.copy((map.whole(), from), (map.whole(), to), &mut buffer)?;
            }
            size -= now;
            target = target.wrapping_add(now);
            source = source.wrapping_add(now);
            self.settings.write_offset = self.settings.write_offset.wrapping_add(now);
            self.write_and_backup(flash)?;
        }
        if bytes > 0 {
            self.decisions.push(Decision::Copied { from, to, bytes });
        }
        Ok(())
    }
}
