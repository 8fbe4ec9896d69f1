//! What runs on a board with a Legacy DFU bootloader.

use super::application::LegacyApplication;
use super::config::LegacyBoard;
use super::hci::{SerialPacket, check};
use super::mode::{Entered, LegacyMode};
use super::server::PacketKind;
use super::wire::{Malformed, Request, parse_sizes};
use crate::device::program::{Input, Output, Surroundings};
use crate::gatt::Uuid;
use crate::nordic::gatt::LEGACY_SERVICE;
use crate::nordic::queue::Job;
use crate::nordic::{DfuMessage, Endpoint, SharedBond, calls};

/// A program of such a board.
#[derive(Debug, Clone)]
pub enum LegacyProgram {
    /// DFU mode of the bootloader.
    Dfu(Box<LegacyMode>),
    /// An application.
    Application(LegacyApplication),
}

impl LegacyProgram {
    /// DFU mode, from `now_us` on; `shared` is what an application has told of a central.
    #[must_use]
    pub fn dfu(entered: Entered, shared: Option<SharedBond>, now_us: u64) -> Self {
        Self::Dfu(Box::new(LegacyMode::start(entered, shared, now_us)))
    }

    /// An application.
    #[must_use]
    pub fn application() -> Self {
        Self::Application(LegacyApplication::default())
    }

    /// DFU mode, where that runs.
    #[must_use]
    pub fn mode(&self) -> Option<&LegacyMode> {
        match self {
            Self::Dfu(mode) => Some(mode),
            Self::Application(_) => None,
        }
    }

    /// Why the bootloader stays in DFU mode, if it does.
    #[must_use]
    pub fn dfu_reason(&self) -> Option<&str> {
        self.mode().map(|mode| mode.reason.as_str())
    }

    /// Bytes of an update received, and its size.
    #[must_use]
    pub fn progress(&self) -> Option<(u32, u32)> {
        self.mode()?.progress()
    }

    /// Something happens; `low` says whether the battery is lower than updates are to begin at.
    pub fn input(&mut self, board: &LegacyBoard, input: Input<'_>, around: &mut Surroundings<'_>, low: bool) {
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
        self.mode()?.job()
    }

    /// Services with their characteristics.
    #[must_use]
    pub fn serves(&self, board: &LegacyBoard) -> Vec<(Uuid, Vec<Endpoint>)> {
        let (mut endpoints, version) = match self {
            Self::Dfu(_) => (vec![Endpoint::LegacyPacket, Endpoint::LegacyControlPoint], board.dfu.version),
            Self::Application(_) if !board.buttonless => return Vec::new(),
            Self::Application(_) => {
                (vec![Endpoint::LegacyPacket, Endpoint::LegacyControlPoint], board.dfu.application_version)
            }
        };
        endpoints.extend(version.map(|_| Endpoint::LegacyVersion));
        vec![(LEGACY_SERVICE, endpoints)]
    }

    /// What is written to a characteristic, taken apart, and the name of the call.
    #[must_use]
    pub fn describe(&self, to: Endpoint, value: &[u8]) -> (DfuMessage, &'static str) {
        match to {
            Endpoint::LegacyPacket => {
                let kind = self.mode().map_or(PacketKind::Invalid, |mode| mode.server().packet_kind());
                let call = match kind {
                    PacketKind::Invalid => calls::MALFORMED,
                    PacketKind::Sizes => "legacy-sizes",
                    PacketKind::Init => "legacy-init-packet",
                    PacketKind::Image => "legacy-packet",
                };
                let mut message = DfuMessage::legacy(call);
                message.len = Some(value.len() as u64);
                if kind == PacketKind::Sizes {
                    message.sizes = parse_sizes(value);
                }
                (message, call)
            }
            Endpoint::Serial => of_frame(value),
            _ => of_request(value),
        }
    }
}

/// A request to the control point.
pub(in crate::nordic) fn of_request(value: &[u8]) -> (DfuMessage, &'static str) {
    match Request::parse(value) {
        Err(malformed) => {
            let mut message = DfuMessage::legacy(calls::MALFORMED);
            message.error = Some(malformed.to_string());
            (message, calls::MALFORMED)
        }
        Ok(request) => {
            let mut message = DfuMessage::legacy(request.call());
            match request {
                Request::Start { mode } => message.mode = Some(mode),
                Request::Prn(packets) => message.prn = Some(packets),
                _ => {}
            }
            (message, request.call())
        }
    }
}

/// A frame of a serial line.
fn of_frame(frame: &[u8]) -> (DfuMessage, &'static str) {
    let payload = match check(frame) {
        Ok((_, payload)) => payload,
        Err(error) => {
            let mut message = DfuMessage::legacy(calls::MALFORMED);
            message.error = Some(error.to_string());
            return (message, calls::MALFORMED);
        }
    };
    let packet = SerialPacket::parse(payload);
    let mut message = DfuMessage::legacy(packet.call());
    match &packet {
        SerialPacket::Start { mode, sizes } => (message.mode, message.sizes) = (Some(*mode), Some(*sizes)),
        SerialPacket::Init(bytes) | SerialPacket::Data(bytes) => message.len = Some(bytes.len() as u64),
        SerialPacket::Other(kind) => message.error = Some(Malformed::Unknown(*kind).to_string()),
        SerialPacket::Stop => {}
    }
    (message, packet.call())
}
