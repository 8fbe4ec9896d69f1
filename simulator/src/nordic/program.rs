//! What runs on a board of Nordic's.

use brickproof_flash_model::boot::nordic::Refusal;

use super::application::Application;
use super::dfu_mode::DfuMode;
use super::gatt::{EXPERIMENTAL_SERVICE, LEGACY_SERVICE, SECURE_SERVICE};
use super::message::{DfuMessage, packet_call};
use super::queue::Job;
use super::{Buttonless, Endpoint, NordicBoard};
use crate::device::program::{Input, Output, Surroundings};
use crate::gatt::Uuid;

/// A program of a board of Nordic's.
#[derive(Debug, Clone)]
pub enum Program {
    /// DFU mode of the Secure DFU bootloader.
    Dfu(Box<DfuMode>),
    /// An application.
    Application(Application),
}

impl Program {
    /// DFU mode, which ends after `timeout_us` without activity.
    ///
    /// # Errors
    /// A stored init packet is refused: the bootloader ends in its error handler.
    pub fn dfu(
        board: &NordicBoard,
        reason: String,
        timeout_us: Option<u64>,
        around: &Surroundings<'_>,
    ) -> Result<Self, Refusal> {
        Ok(Self::Dfu(Box::new(DfuMode::start(board, reason, timeout_us, around)?)))
    }

    /// An application.
    #[must_use]
    pub fn application() -> Self {
        Self::Application(Application::start())
    }

    /// DFU mode, where that runs.
    #[must_use]
    pub fn mode(&self) -> Option<&DfuMode> {
        match self {
            Self::Dfu(mode) => Some(mode),
            Self::Application(_) => None,
        }
    }

    /// Why the bootloader stays in DFU mode, if it does.
    #[must_use]
    pub fn dfu_reason(&self) -> Option<&str> {
        match self {
            Self::Dfu(mode) => Some(&mode.reason),
            Self::Application(_) => None,
        }
    }

    /// Bytes of an update received, and its size.
    #[must_use]
    pub fn progress(&self) -> Option<(u32, u32)> {
        match self {
            Self::Dfu(mode) => mode.server().progress(),
            Self::Application(_) => None,
        }
    }

    /// Something happens; `low` says whether the battery is lower than updates are to begin at.
    pub fn input(&mut self, board: &NordicBoard, input: Input<'_>, around: &mut Surroundings<'_>, low: bool) {
        match self {
            Self::Dfu(mode) => mode.input(board, input, around, board.dfu.low_battery.filter(|_| low)),
            Self::Application(application) => {
                application.input(board, input, around, low && board.entry_heeds_battery);
            }
        }
    }

    /// What it does next.
    pub fn take_output(&mut self) -> Option<Output> {
        match self {
            Self::Dfu(mode) => mode.take_output(),
            Self::Application(application) => application.take_output(),
        }
    }

    /// When it wants to be told that its time has come, in microseconds.
    #[must_use]
    pub fn next_timer(&self) -> Option<u64> {
        match self {
            Self::Dfu(mode) => mode.next_timer(),
            Self::Application(application) => application.next_timer(),
        }
    }

    /// The flash work that is to be done now.
    pub(crate) fn job(&self) -> Option<&Job> {
        match self {
            Self::Dfu(mode) => mode.job(),
            Self::Application(application) => application.job(),
        }
    }

    /// Services with their characteristics.
    #[must_use]
    pub fn serves(&self, board: &NordicBoard) -> Vec<(Uuid, Vec<Endpoint>)> {
        match (self, board.buttonless) {
            (Self::Dfu(_), _) => vec![(SECURE_SERVICE, vec![Endpoint::Packet, Endpoint::ControlPoint])],
            (Self::Application(_), Buttonless::None) => Vec::new(),
            (Self::Application(_), Buttonless::Unbonded) => vec![(SECURE_SERVICE, vec![Endpoint::Buttonless])],
            (Self::Application(_), Buttonless::Bonded) => vec![(SECURE_SERVICE, vec![Endpoint::BondedButtonless])],
            (Self::Application(_), Buttonless::Experimental) => {
                vec![(EXPERIMENTAL_SERVICE, vec![Endpoint::ExperimentalButtonless])]
            }
            (Self::Application(_), Buttonless::Legacy) => {
                let endpoints = [Endpoint::LegacyPacket, Endpoint::LegacyControlPoint, Endpoint::LegacyVersion];
                vec![(LEGACY_SERVICE, endpoints.to_vec())]
            }
        }
    }

    /// What is written to a characteristic, taken apart, and the name of the call.
    #[must_use]
    pub fn describe(&self, to: Endpoint, value: &[u8]) -> (DfuMessage, &'static str) {
        let current = match self {
            Self::Dfu(mode) => mode.server().current(),
            Self::Application(_) => 0,
        };
        match to {
            Endpoint::ControlPoint | Endpoint::Serial => DfuMessage::of_request(value, current),
            Endpoint::Packet => {
                let call = packet_call(current);
                (DfuMessage::packet(to, call, value.len()), call)
            }
            Endpoint::LegacyControlPoint | Endpoint::LegacyPacket => super::legacy::of_request(value),
            _ => DfuMessage::of_buttonless(to, value),
        }
    }
}
