//! A board with a Legacy DFU bootloader: from that to what runs.

use brickproof_flash_model::boot::nordic_legacy::{Boot, Decision, Entry, Outcome};
use brickproof_flash_model::flash::{Controller, Hook};

use super::attributes::Attributes;
use super::nordic::NOT_DISCOVERABLE;
use super::{Board, BootSummary, Booted, Device, Persistent, Program, RunningImage, Started};
use crate::gatt::Advertisement;
use crate::nordic::gatt::LEGACY_SERVICE;
use crate::nordic::legacy::mode::Entered;
use crate::nordic::legacy::{LegacyBoard, LegacyMode, LegacyProgram};
use crate::trace::{Cause, hex};

/// Bytes of the hash of an application that stand for its version: it has none.
const VERSION_LEN: usize = 4;

/// The bootloader runs, and then what it has chosen.
pub(super) fn power_on(
    board: &Board,
    own: &LegacyBoard,
    mut persistent: Persistent,
    cause: Cause,
    now_us: u64,
    hook: &mut dyn Hook,
) -> Started {
    let mut entry = Entry {
        gpregret: persistent.retained.gpregret,
        gpregret2: persistent.retained.gpregret2,
        button: own.starts_in_dfu && persistent.boots == 1,
        pin_reset: cause == Cause::PinReset,
        ..Entry::default()
    };
    let boot = own.bootloader.boot(&mut Controller::new(&mut persistent.flash, hook), &mut entry);
    persistent.retained.gpregret = entry.gpregret;
    let boot = match boot {
        Err(interruption) => return Started::Interrupted(persistent, interruption),
        Ok(boot) => boot,
    };
    let (image, program) = match &boot.outcome {
        Outcome::Application { hash, .. } => {
            let behaviour = board.behaviour(Some(*hash));
            let version = hex(&hash[..VERSION_LEN]);
            (Some(RunningImage { hash: Some(*hash), version, behaviour }), LegacyProgram::application())
        }
        Outcome::DfuMode { reason, transport, timeout_us } => {
            let entered = Entered { reason: reason.to_string(), transport: *transport, timeout_us: *timeout_us };
            // It is good for one start.
            let shared = persistent.retained.shared.take();
            (None, LegacyProgram::dfu(entered, shared, now_us.saturating_add(board.start_us)))
        }
        Outcome::Reset => return Started::Resets(persistent, Booted::NordicLegacy(boot)),
        Outcome::Fault { .. } | Outcome::Brick { .. } => return Started::Dead(persistent, Booted::NordicLegacy(boot)),
    };
    let program = Program::NordicLegacy { image, program: Box::new(program) };
    Started::Running(Device { persistent, program }, Booted::NordicLegacy(boot))
}

/// What a boot did, for people.
pub(super) fn summary(boot: &Boot) -> BootSummary {
    BootSummary {
        decisions: boot.decisions.iter().map(ToString::to_string).collect(),
        swapped: boot.decisions.iter().find_map(|decision| match decision {
            Decision::Install { .. } => Some(decision.to_string()),
            _ => None,
        }),
        reason: match &boot.outcome {
            Outcome::DfuMode { reason, .. } => Some(reason.to_string()),
            Outcome::Fault { reason } | Outcome::Brick { reason } => Some(reason.clone()),
            Outcome::Application { .. } | Outcome::Reset => None,
        },
    }
}

impl Device {
    pub(super) fn legacy(&self) -> Option<&LegacyProgram> {
        match &self.program {
            Program::NordicLegacy { program, .. } => Some(program),
            _ => None,
        }
    }

    pub(super) fn legacy_mut(&mut self) -> Option<&mut LegacyProgram> {
        match &mut self.program {
            Program::NordicLegacy { program, .. } => Some(program),
            _ => None,
        }
    }

    /// What DFU mode shows on the air.
    pub(super) fn legacy_advertisement(&self, board: &Board) -> Option<Advertisement> {
        let (mode, own) = (self.legacy()?.mode()?, board.as_legacy()?);
        let usual = &board.peripheral.advertisement;
        let peer = mode.peer();
        let address = if peer.is_some() { usual.address } else { usual.address.next_in_last_byte() };
        let shown = Advertisement { rssi: usual.rssi, ..Advertisement::new(address, usual.address_kind) };
        Some(match peer {
            // Directed: its packets have no data.
            Some(peer) if !peer.is_identified() => shown,
            peer => Advertisement {
                name: Some(own.dfu.name.clone()),
                services: vec![LEGACY_SERVICE],
                flags: if peer.is_some() { NOT_DISCOVERABLE } else { Advertisement::FLAGS },
                ..shown
            },
        })
    }

    /// The attributes of such a program.
    pub(super) fn legacy_attributes(&self, board: &Board) -> Option<Attributes> {
        let (program, own) = (self.legacy()?, board.as_legacy()?);
        let version = self.image().map(|image| image.version.as_str());
        Some(Attributes::legacy(board, own, &program.serves(own), version))
    }

    /// DFU mode of a Legacy DFU bootloader, where that runs.
    #[must_use]
    pub fn legacy_mode(&self) -> Option<&LegacyMode> {
        self.legacy()?.mode()
    }
}
