//! One boot, step by step (nrf5 sdk 11: `main.c`, `bootloader.c`; Adafruit's bootloader: `main.c`, `check_dfu_mode`).
//!
//! | step | SDK 11 | Adafruit |
//! |---|---|---|
//! | MBR | a bootloader that was received is put in place | the same |
//! | settings say `a5` or `aa` | SoftDevice and bootloader come into their places | the same |
//! | asked for DFU mode | GPREGRET `b1`, or the button | GPREGRET `b1` and `a8`: Bluetooth LE, `4e` and `57`: serial; the button |
//! | no valid application | DFU mode | DFU mode on the serial line, or on Bluetooth LE by option |
//! | otherwise | the application | the application |
//!
//! What leaves DFU mode without a reset, in the code, is a reset here: it ends at the same place.
//! Left out: the second of two resets in a row, and applications that ask for a single one (Adafruit's `DFU_DBL_RESET`),
//! and the second that an nRF52832 waits on its serial line at each start.

use super::options::gpregret;
use super::{
    BankCode, Boot, Decision, DfuReason, Entry, Kind, NordicLegacy, Outcome, Settings, SoftdeviceInfo, Transport,
    Unbootable,
};
use crate::flash::{Controller, Flash, FlashError, Interruption};
use crate::image::nordic::crc::CRC16_START;
use crate::image::nordic::crc16;

/// Why straight-line bootloader code stops.
#[derive(Debug)]
pub(super) enum Stop {
    Interrupted(Interruption),
    /// An error that the C code hands to its error handler.
    Fault(String),
}

impl From<FlashError> for Stop {
    fn from(error: FlashError) -> Self {
        match error {
            FlashError::Interrupted(interruption) => Self::Interrupted(interruption),
            other => Self::Fault(other.to_string()),
        }
    }
}

/// What an installation comes to.
pub(super) enum Installed {
    /// All is in place.
    InPlace,
    /// The MBR is to go on.
    CopyAsked,
}

impl NordicLegacy {
    /// One boot from reset: the MBR, the bootloader, and what it starts.
    ///
    /// # Errors
    /// The [`Interruption`] that ended it. Refused operations end in [`Outcome::Fault`].
    pub fn boot(&self, flash: &mut Controller<'_>, entry: &mut Entry) -> Result<Boot, Interruption> {
        let mut decisions = Vec::new();
        let outcome = match self.run(flash, entry, &mut decisions) {
            Ok(outcome) => outcome,
            Err(Stop::Interrupted(interruption)) => return Err(interruption),
            Err(Stop::Fault(reason)) => Outcome::Fault { reason },
        };
        Ok(Boot { outcome, decisions, operations: flash.operations() })
    }

    fn run(
        &self,
        flash: &mut Controller<'_>,
        entry: &mut Entry,
        decisions: &mut Vec<Decision>,
    ) -> Result<Outcome, Stop> {
        if !self.run_mbr(flash, decisions)? {
            return Ok(Outcome::Brick { reason: "the bootloader area has no vectors".into() });
        }
        flash.checkpoint("boot: the bootloader starts", [entry.code(), 0, 0, 0])?;
        let asked = entry.gpregret;
        if self.options.kind == Kind::Sdk11 && asked == gpregret::DFU_START {
            entry.gpregret = 0;
        }
        let settings = self.settings(flash.flash())?;
        if settings.installs() {
            decisions.push(Decision::Install { bank_0: settings.bank_0, bank_1: settings.bank_1 });
            match self.install(flash, &settings, decisions)? {
                Installed::CopyAsked => return Ok(Outcome::Reset),
                Installed::InPlace => {}
            }
            self.need_softdevice(flash.flash(), Kind::Sdk11)?;
            self.finalize(flash, &settings)?;
            decisions.push(Decision::Finalized);
        } else {
            self.need_softdevice(flash.flash(), Kind::Sdk11)?;
        }
        let valid = self.unbootable(flash.flash())?;
        let transport = match self.options.kind {
            Kind::Sdk11 => {
                let reason = (asked == gpregret::DFU_START).then_some(DfuReason::Gpregret(asked));
                reason.or(entry.button.then_some(DfuReason::Button)).map(|reason| (reason, Transport::Ble))
            }
            Kind::Adafruit => self.asked_adafruit(entry, decisions),
        };
        match (transport, valid) {
            (Some((reason, transport)), _) => self.dfu_mode(flash.flash(), reason, transport),
            (None, None) => self.start_application(flash.flash(), decisions),
            (None, Some(_)) if decisions.contains(&Decision::Skipped) => Ok(Outcome::Reset),
            (None, Some(why)) => {
                let transport = if self.options.default_to_ota { Transport::Ble } else { Transport::Serial };
                self.dfu_mode(flash.flash(), DfuReason::NoApplication(why), transport)
            }
        }
    }

    /// Who asks for DFU mode, and where (`check_dfu_mode`).
    fn asked_adafruit(&self, entry: &mut Entry, decisions: &mut Vec<Decision>) -> Option<(DfuReason, Transport)> {
        let asked = entry.gpregret;
        let transport = match asked {
            gpregret::DFU_START | gpregret::OTA => Some(Transport::Ble),
            // A serial line that asks for it gets it, whatever the option says of the rest.
            gpregret::SERIAL | gpregret::UF2 if self.options.default_to_ota => Some(Transport::Ble),
            gpregret::SERIAL | gpregret::UF2 => Some(Transport::Serial),
            gpregret::SKIP => {
                entry.gpregret = 0;
                decisions.push(Decision::Skipped);
                return None;
            }
            _ => None,
        };
        if let Some(transport) = transport {
            entry.gpregret = 0;
            return Some((DfuReason::Gpregret(asked), transport));
        }
        let transport = if self.options.default_to_ota { Transport::Ble } else { Transport::Serial };
        entry.button.then_some((DfuReason::Button, transport))
    }

    /// What needs a SoftDevice and finds none ends in the error handler. SDK 11 enables it at every start.
    fn need_softdevice(&self, flash: &Flash, kind: Kind) -> Result<(), Stop> {
        if self.options.kind == kind && SoftdeviceInfo::installed(&self.map, flash)?.is_none() {
            return Err(Stop::Fault("there is no SoftDevice, and the bootloader needs its radio".into()));
        }
        Ok(())
    }

    fn dfu_mode(&self, flash: &Flash, reason: DfuReason, transport: Transport) -> Result<Outcome, Stop> {
        if transport == Transport::Ble {
            self.need_softdevice(flash, Kind::Adafruit)?;
        }
        let timeout_us = u64::from(self.options.inactivity_timeout_ms) * 1000;
        Ok(Outcome::DfuMode { reason, transport, timeout_us })
    }

    /// Why the application cannot be started (`bootloader_app_is_valid`).
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn unbootable(&self, flash: &Flash) -> Result<Option<Unbootable>, FlashError> {
        let start = self.bank_0_start(flash)?;
        let first = self.map.word(flash, start)?;
        let second = self.map.word(flash, start.saturating_add(4))?;
        let empty = first == u32::MAX && (self.options.kind == Kind::Sdk11 || second == u32::MAX);
        if empty {
            return Ok(Some(Unbootable::Erased));
        }
        let settings = self.settings(flash)?;
        if settings.bank_0 != BankCode::App {
            return Ok(Some(Unbootable::Bank(settings.bank_0)));
        }
        let expected = settings.bank_0_crc;
        if expected == 0 {
            return Ok(None);
        }
        let found = self.crc16(flash, start, settings.bank_0_size)?;
        Ok((found != expected).then_some(Unbootable::Crc { expected, found }))
    }

    /// CRC-16 of a range.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn crc16(&self, flash: &Flash, address: u32, len: u32) -> Result<u16, FlashError> {
        let mut crc = CRC16_START;
        self.map.visit(flash, address, len, |piece| crc = crc16(piece, crc))?;
        Ok(crc)
    }

    fn start_application(&self, flash: &Flash, decisions: &mut Vec<Decision>) -> Result<Outcome, Stop> {
        let settings = self.settings(flash)?;
        let start = self.bank_0_start(flash)?;
        let checked = settings.bank_0_crc != 0;
        if !checked {
            decisions.push(Decision::NotChecked);
        }
        let size = settings.bank_0_size.min(self.image_max_full(flash)?);
        let hash = self.map.sha256(flash, start, size)?;
        Ok(Outcome::Application { start, size, hash, checked })
    }

    /// The settings say that nothing is to be installed any more (`DFU_UPDATE_SD_SWAPPED`).
    fn finalize(&self, flash: &mut Controller<'_>, settings: &Settings) -> Result<(), Stop> {
        let done = if settings.bank_0 == BankCode::Softdevice {
            Settings::none()
        } else {
            let Settings { bank_0, bank_0_crc, bank_0_size, .. } = *settings;
            Settings { bank_0, bank_0_crc, bank_0_size, ..Settings::none() }
        };
        for step in self.settings_save(&done) {
            step.run(self.map.whole(), self.map.page(), flash)?;
        }
        Ok(())
    }
}
