//! What runs on an EFR32 board.

use brickproof_flash_model::boot::gecko::ResetInfo;
use brickproof_flash_model::flash::{Controller, Flash, Interruption};

use super::apploader::AppLoaderMode;
use super::config::{Scheme, SilabsBoard};
use super::gatt::Control;
use super::in_place::InPlace;
use super::slot::SlotUpdate;
use crate::device::Endpoint;
use crate::device::program::{Input, Output, Surroundings};
use crate::nordic::DfuMessage;

/// A program of such a board.
#[derive(Debug, Clone)]
pub enum Program {
    /// The AppLoader.
    AppLoader(Box<AppLoaderMode>),
    /// An application that hands over to it.
    InPlace(InPlace),
    /// An application that takes updates itself.
    Slot(Box<SlotUpdate>),
}

impl Program {
    /// The AppLoader, which runs for this reason.
    #[must_use]
    pub fn apploader(reason: String) -> Self {
        Self::AppLoader(Box::new(AppLoaderMode::new(reason)))
    }

    /// An application that starts with this flash.
    #[must_use]
    pub fn application(board: &SilabsBoard, flash: &Flash) -> Self {
        match board.scheme {
            Scheme::InPlace => Self::InPlace(InPlace::default()),
            Scheme::Slot => Self::Slot(Box::new(SlotUpdate::new(board, flash))),
        }
    }

    /// Why the AppLoader runs, if it does.
    #[must_use]
    pub fn apploader_reason(&self) -> Option<&str> {
        self.mode().map(|mode| mode.reason.as_str())
    }

    /// The AppLoader, where that runs.
    #[must_use]
    pub fn mode(&self) -> Option<&AppLoaderMode> {
        match self {
            Self::AppLoader(mode) => Some(mode),
            Self::InPlace(_) | Self::Slot(_) => None,
        }
    }

    /// Something happens; `low` says whether the battery is lower than updates are to begin at.
    pub fn input(&mut self, board: &SilabsBoard, input: Input<'_>, around: &mut Surroundings<'_>, low: bool) {
        match self {
            Self::AppLoader(mode) => mode.input(board, input, around),
            Self::InPlace(application) => application.input(board, input, around, low),
            Self::Slot(application) => application.input(board, input, around, low),
        }
    }

    /// What it does next.
    pub fn take_output(&mut self) -> Option<Output> {
        match self {
            Self::AppLoader(mode) => mode.take_output(),
            Self::InPlace(application) => application.take_output(),
            Self::Slot(application) => application.take_output(),
        }
    }

    /// When it wants to be told that its time has come, in microseconds.
    #[must_use]
    pub fn next_timer(&self) -> Option<u64> {
        match self {
            Self::AppLoader(_) => None,
            Self::InPlace(application) => application.next_timer(),
            Self::Slot(application) => application.next_timer(),
        }
    }

    /// Whether the flash is needed now.
    #[must_use]
    pub fn has_flash_work(&self, board: &SilabsBoard) -> bool {
        match self {
            Self::AppLoader(mode) => mode.has_flash_work(),
            Self::InPlace(_) => false,
            Self::Slot(application) => application.has_flash_work(board),
        }
    }

    /// Does what the flash is needed for. What comes of it is known when it is told that its time is over.
    ///
    /// # Errors
    /// The [`Interruption`] that ended it.
    pub fn do_flash_work(
        &mut self,
        board: &SilabsBoard,
        flash: &mut Controller<'_>,
        info: ResetInfo,
    ) -> Result<(), Interruption> {
        match self {
            Self::AppLoader(mode) => mode.do_flash_work(board, flash, info),
            Self::InPlace(_) => Ok(()),
            Self::Slot(application) => application.do_flash_work(board, flash),
        }
    }

    /// Characteristics that it serves.
    #[must_use]
    pub fn serves(&self) -> &'static [Endpoint] {
        match self {
            Self::AppLoader(_) | Self::Slot(_) => &[Endpoint::OtaControl, Endpoint::OtaData],
            Self::InPlace(_) => &[Endpoint::OtaControl],
        }
    }

    /// Bytes of a file received.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Self::AppLoader(mode) => Some(mode.bytes()),
            Self::InPlace(_) => None,
            Self::Slot(application) => Some(application.bytes()),
        }
    }

    /// What is written to a characteristic, taken apart, and the name of the call.
    #[must_use]
    pub fn describe(&self, to: Endpoint, value: &[u8]) -> (DfuMessage, &'static str) {
        if to == Endpoint::OtaData {
            return (DfuMessage::packet(to, "ota-data", value.len()), "ota-data");
        }
        let call = match (self, value.first()) {
            (Self::InPlace(_), _) => "ota-enter",
            (_, Some(byte)) => Control::of(*byte).call(),
            (_, None) => crate::nordic::calls::MALFORMED,
        };
        (DfuMessage::new(to, call), call)
    }
}
