//! One boot, step by step (simplicity sdk: `btl_main.c`, `btl_reset.c`).
//!
//! | step | AppLoader | storage |
//! |---|---|---|
//! | before the bootloader | a new bootloader that was put aside is copied | the same |
//! | asked for by the reset reason `BOOTLOAD`, `FORCE`, `UPGRADE`, `BADAPP`, or a button | it advertises | it installs |
//! | the application has no program counter, or is not valid | it advertises | it installs |
//! | otherwise | the application | the application |
//! | installed | | reset `GO` |
//! | nothing to install | | reset `BADIMAGE`; the third time in a row it halts |

use super::storage::Installed;
use super::{Code, Gecko, Stop, Unbootable};
use crate::flash::{Controller, Interruption};

/// Reset reasons (`btl_reset_info.h`).
pub mod reason {
    /// Unknown.
    pub const UNKNOWN: u16 = 0x0200;
    /// Into the application.
    pub const GO: u16 = 0x0201;
    /// Into the bootloader.
    pub const BOOTLOAD: u16 = 0x0202;
    /// The image was bad.
    pub const BADIMAGE: u16 = 0x0203;
    /// Something is very wrong.
    pub const FATAL: u16 = 0x0204;
    /// Into the bootloader, by a button.
    pub const FORCE: u16 = 0x0205;
    /// The application is bad.
    pub const BADAPP: u16 = 0x0208;
    /// The first stage is to put a new bootloader into its place.
    pub const UPGRADE: u16 = 0x0209;
}

/// One that does not.
const INVALID: u16 = 0xc33c;
/// The upper 12 bits while resets are counted; the lower 4 are the count.
const COUNTER: u16 = 0xabc0;
/// Resets in a row after which a storage bootloader halts.
pub(super) const RESETS_MAX: u16 = 2;
/// The reason that an old Bluetooth stack leaves, with a signature of 0.
const OLD_STACK: u16 = 0x0001;

/// The first word of the RAM, which survives a reset (`BootloaderResetCause_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ResetInfo {
    /// One of [`reason`].
    pub reason: u16,
    /// Whether it counts.
    pub signature: u16,
}

impl ResetInfo {
    /// Signature of a reason that counts.
    pub const VALID: u16 = 0xf00f;

    /// A reason that counts.
    #[must_use]
    pub fn new(reason: u16) -> Self {
        Self { reason, signature: Self::VALID }
    }

    fn counts_resets(self) -> bool {
        self.signature & 0xfff0 == COUNTER
    }

    /// `reset_setResetReason`.
    fn set(&mut self, reason: u16) {
        self.reason = reason;
        if !self.counts_resets() {
            self.signature = Self::VALID;
        }
    }

    /// `reset_classifyReset`.
    fn classify(self) -> u16 {
        match (self.signature, self.reason) {
            (Self::VALID, reason) => reason,
            (0, OLD_STACK) => reason::BOOTLOAD,
            _ => reason::UNKNOWN,
        }
    }
}

/// Why the device starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Cause {
    /// Power, a pin, a watchdog.
    #[default]
    Power,
    /// The software asked for it.
    Software,
}

/// What a boot begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Entry {
    /// Why the device starts.
    pub cause: Cause,
    /// What the RAM says.
    pub info: ResetInfo,
    /// The button for the bootloader is held.
    pub button: bool,
}

impl Entry {
    /// Resets by software (`reset_resetWithReason`).
    pub fn reset(&mut self, reason: u16) -> Outcome {
        self.info.set(reason);
        self.cause = Cause::Software;
        Outcome::Reset { reason }
    }

    /// For the state of an exploration.
    #[must_use]
    pub fn code(&self) -> u32 {
        u32::from(self.info.reason) << 16 | u32::from(self.info.signature)
    }
}

/// What a boot ends in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The application is started.
    Application,
    /// An AppLoader waits for an initiator.
    AppLoader,
    /// The device resets, and boots again.
    Reset {
        /// One of [`reason`].
        reason: u16,
    },
    /// It does nothing until someone resets it.
    Halted {
        /// Why.
        reason: String,
    },
    /// A fault: it resets, and comes here again.
    Fault {
        /// Why.
        reason: String,
    },
    /// There is no bootloader.
    Brick {
        /// Why.
        reason: String,
    },
}

/// A decision on the way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Decision {
    /// A new bootloader is copied to its place.
    CopiesBootloader {
        /// Its size in bytes.
        size: u32,
    },
    /// The bootloader is entered, because the reset reason or the button says so.
    Asked {
        /// One of [`reason`].
        reason: u16,
    },
    /// The application cannot be started.
    Unbootable(Unbootable),
    /// A slot was verified.
    Verified {
        /// Which.
        slot: usize,
        /// Whether it is good.
        good: bool,
        /// Why not.
        code: Option<Code>,
    },
    /// The bootloader of a slot was put aside.
    PutAside {
        /// Which.
        slot: usize,
        /// Why not.
        result: Result<(), Code>,
    },
    /// The application of a slot was programmed.
    Installed {
        /// Which.
        slot: usize,
        /// Why not, when the old application is gone.
        result: Result<(), Code>,
    },
}

/// A complete boot.
pub type Boot = crate::boot::report::Boot<Outcome, Decision>;

impl Gecko {
    /// One boot from reset.
    ///
    /// # Errors
    /// The [`Interruption`] that ended it.
    pub fn boot(&self, flash: &mut Controller<'_>, entry: &mut Entry) -> Result<Boot, Interruption> {
        let mut decisions = Vec::new();
        let outcome = match self.run(flash, entry, &mut decisions) {
            Ok(outcome) => outcome,
            Err(Stop::Interrupted(interruption)) => return Err(interruption),
            Err(Stop::Fault(reason)) => {
                entry.reset(reason::FATAL);
                Outcome::Fault { reason }
            }
            Err(Stop::Hang(reason)) => Outcome::Halted { reason: reason.into() },
        };
        Ok(Boot { outcome, decisions, operations: flash.operations() })
    }

    fn run(
        &self,
        flash: &mut Controller<'_>,
        entry: &mut Entry,
        decisions: &mut Vec<Decision>,
    ) -> Result<Outcome, Stop> {
        let reason = if entry.cause == Cause::Software { entry.info.classify() } else { reason::UNKNOWN };
        if !self.before_bootloader(flash, reason == reason::UPGRADE, decisions)? {
            return Ok(Outcome::Brick { reason: "there is no bootloader".into() });
        }
        flash.checkpoint("boot: the bootloader starts", [entry.code(), 0, 0, 0])?;
        let asked = matches!(reason, reason::BOOTLOAD | reason::FORCE | reason::UPGRADE | reason::BADAPP);
        let reason = if asked { reason } else { reason::FORCE };
        let mut enters = !(asked || entry.button);
        if !enters {
            decisions.push(Decision::Asked { reason });
        }
        let start = self.map().application_start();
        if self.map().word(flash.flash(), start.wrapping_add(4))? == u32::MAX {
            entry.info.set(reason::BADAPP);
            if enters {
                decisions.push(Decision::Unbootable(Unbootable::NoProgramCounter));
            }
            enters = false;
        }
        if enters && let Some(why) = self.unbootable(flash.flash())? {
            entry.info.set(reason::BADAPP);
            decisions.push(Decision::Unbootable(why));
            enters = false;
        }
        if self.options().rollback_protection {
            self.forget_versions(flash)?;
            if enters && !self.remember_version(flash)? {
                let version = self.application_version(flash.flash())?.unwrap_or(0);
                decisions.push(Decision::Unbootable(Unbootable::Version(version)));
                enters = false;
            }
        }
        if enters {
            if self.options().storage && entry.info.counts_resets() {
                entry.info.signature = ResetInfo::VALID;
            }
            return Ok(Outcome::Application);
        }
        if !self.options().storage {
            entry.info.signature = INVALID;
            return Ok(Outcome::AppLoader);
        }
        if !entry.info.counts_resets() {
            entry.info.signature = INVALID;
        }
        match self.install(flash, entry, decisions)? {
            Installed::Reset(outcome) => Ok(outcome),
            Installed::Application => {
                if entry.info.counts_resets() {
                    entry.info.signature = ResetInfo::VALID;
                }
                Ok(entry.reset(reason::GO))
            }
            Installed::Nothing => {
                if !entry.info.counts_resets() {
                    entry.info.signature = COUNTER;
                }
                if entry.info.signature & 0xf >= RESETS_MAX {
                    entry.info.signature = INVALID;
                    return Ok(Outcome::Halted {
                        reason: "it was reset in a circle, and found nothing to install".into(),
                    });
                }
                entry.info.signature += 1;
                Ok(entry.reset(reason::BADIMAGE))
            }
        }
    }
}
