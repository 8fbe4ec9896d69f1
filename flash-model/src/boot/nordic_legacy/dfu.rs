//! DFU mode: what an uploader's steps come to (nrf5 sdk 11: `dfu_dual_bank.c`, `dfu_single_bank.c`).
//!
//! | state | entered by | what is taken |
//! |---|---|---|
//! | idle | DFU mode | sizes |
//! | preparing | sizes | nothing |
//! | ready | the end of the erase | init packet |
//! | receiving init | the first bytes of an init packet | init packet, its end |
//! | receiving data | an init packet that is accepted | data, validate |
//! | validate | an image that is not accepted | nothing: only a reset helps |
//! | waiting for activation | an image that is accepted | activate |
//!
//! All of that is in RAM: it survives a disconnection, and no reset. Sizes that come when they are not taken are noted all
//! the same, as in the code: the next check of the number of bytes goes by them.

use super::init::{InitError, MODE_APPLICATION, MODE_BOOTLOADER, MODE_SOFTDEVICE};
use super::{BankCode, FlashStep, Kind, NordicLegacy, Settings};
use crate::flash::{Flash, FlashError};

/// Where an upload stands (`dfu_state_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing was announced.
    Idle,
    /// Flash is being erased.
    Preparing,
    /// The init packet may come.
    Ready,
    /// It comes.
    ReceivingInit,
    /// Data comes.
    ReceivingData,
    /// The image was not accepted.
    Validate,
    /// It was.
    WaitingForActivation,
}

/// What an uploader is told (nrf5 sdk 11: `ble_dfu.h`, `ble_dfu_resp_val_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Success.
    Success,
    /// Not now.
    InvalidState,
    /// The bootloader does not know that.
    NotSupported,
    /// Too many bytes.
    DataSize,
    /// The image has another CRC.
    CrcError,
    /// It did not work.
    OperationFailed,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Success, Self::InvalidState, Self::NotSupported, Self::DataSize, Self::CrcError, Self::OperationFailed];

    /// Its number in an answer.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Success => 1,
            Self::InvalidState => 2,
            Self::NotSupported => 3,
            Self::DataSize => 4,
            Self::CrcError => 5,
            Self::OperationFailed => 6,
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Success => "success",
            Self::InvalidState => "invalid state",
            Self::NotSupported => "not supported",
            Self::DataSize => "data size exceeds limit",
            Self::CrcError => "CRC error",
            Self::OperationFailed => "operation failed",
        })
    }
}

/// What is to be done with data that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// Where it goes.
    pub step: FlashStep,
    /// The image is complete with it.
    pub complete: bool,
}

/// How an image is to be activated (`m_functions.activate`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Activation {
    Application,
    Softdevice,
    Bootloader,
}

/// An upload: all that DFU mode knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dfu {
    state: State,
    mode: u8,
    /// SoftDevice, bootloader, application.
    sizes: [u32; 3],
    image_size: u32,
    activation: Activation,
    /// The bank that data goes to.
    target: u32,
    init: Vec<u8>,
    extension: Vec<u8>,
    received: u32,
}

/// A count of bytes from which nothing is taken any more.
const LOCKED: u32 = u32::MAX;

impl Default for Dfu {
    fn default() -> Self {
        Self {
            state: State::Idle,
            mode: 0,
            sizes: [0; 3],
            image_size: 0,
            activation: Activation::Application,
            target: 0,
            init: Vec::new(),
            extension: Vec::new(),
            received: 0,
        }
    }
}

impl Dfu {
    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Bytes of the image received: all ones when there were too many.
    #[must_use]
    pub fn received(&self) -> u32 {
        self.received
    }

    /// Bytes of the image that were announced.
    #[must_use]
    pub fn image_size(&self) -> u32 {
        self.image_size
    }

    /// Sizes of SoftDevice, bootloader and application.
    #[must_use]
    pub fn sizes(&self) -> [u32; 3] {
        self.sizes
    }

    /// Whether an image is on its way and not complete: then Adafruit's bootloader comes back to DFU mode when it is reset
    /// (`dfu_reset`).
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.state == State::ReceivingData && self.received != self.image_size
    }
}

/// What a read beyond flash is answered with; nothing that was accepted leads there.
fn fault(_: FlashError) -> Status {
    Status::OperationFailed
}

impl NordicLegacy {
    /// Sizes were announced (`dfu_start_pkt_handle`): what is to be erased. [`NordicLegacy::erased`] follows.
    ///
    /// # Errors
    /// What the uploader is told.
    pub fn start(&self, dfu: &mut Dfu, mode: u8, sizes: [u32; 3], flash: &Flash) -> Result<FlashStep, Status> {
        (dfu.mode, dfu.sizes) = (mode, sizes);
        let is_for = |kind: u8| mode & kind != 0;
        if is_for(MODE_APPLICATION) && is_for(MODE_SOFTDEVICE | MODE_BOOTLOADER) {
            return Err(Status::NotSupported);
        }
        if sizes.iter().any(|size| !size.is_multiple_of(4)) {
            return Err(Status::NotSupported);
        }
        dfu.image_size = sizes.iter().fold(0, |sum: u32, size| sum.wrapping_add(*size));
        if sizes[1] > self.bootloader_max() {
            return Err(Status::DataSize);
        }
        let whole = self.options.single_bank || is_for(MODE_SOFTDEVICE);
        let max = if whole { self.image_max_full(flash) } else { self.image_max_banked(flash) }.map_err(fault)?;
        if dfu.image_size > max {
            return Err(Status::DataSize);
        }
        dfu.activation = if is_for(MODE_SOFTDEVICE) {
            Activation::Softdevice
        } else if is_for(MODE_BOOTLOADER) {
            Activation::Bootloader
        } else {
            Activation::Application
        };
        if dfu.state != State::Idle {
            return Err(Status::InvalidState);
        }
        dfu.state = State::Preparing;
        dfu.target = if whole { self.bank_0_start(flash) } else { self.bank_1_start(flash) }.map_err(fault)?;
        // SDK 11 erases all of bank 1, whatever the size of the image.
        let erased = if whole || self.options.kind == Kind::Adafruit { dfu.image_size } else { max };
        Ok(self.erase(dfu.target, erased))
    }

    /// `pstorage_clear`: one page at least.
    fn erase(&self, address: u32, len: u32) -> FlashStep {
        FlashStep::Erase { address, pages: len.div_ceil(self.map.page()).max(1) }
    }

    /// What [`NordicLegacy::start`] asked for is erased: what is to be written then, after the uploader was told
    /// (`pstorage_callback_handler`).
    pub fn erased(&self, dfu: &mut Dfu, flash: &Flash) -> Vec<FlashStep> {
        if dfu.state != State::Preparing {
            return Vec::new();
        }
        dfu.state = State::Ready;
        if !self.options.single_bank && dfu.activation != Activation::Softdevice {
            return Vec::new();
        }
        let bank_1 = self.settings(flash).map_or(BankCode::Invalid, |settings| settings.bank_1);
        self.settings_save(&Settings { bank_1, ..Settings::none() })
    }

    /// Bytes of the init packet (`dfu_init_pkt_handle`); filled up with zeros to whole words.
    ///
    /// # Errors
    /// What the uploader is told.
    pub fn init_packet(&self, dfu: &mut Dfu, bytes: &[u8]) -> Result<(), Status> {
        if dfu.state == State::Ready {
            dfu.state = State::ReceivingInit;
        }
        if dfu.state != State::ReceivingInit || dfu.received > 0 {
            return Err(Status::InvalidState);
        }
        let padded = bytes.len().next_multiple_of(4);
        if dfu.init.len().saturating_add(padded) > usize::from(self.options.init_packet_max) {
            return Err(Status::OperationFailed);
        }
        dfu.init.extend_from_slice(bytes);
        dfu.init.resize(dfu.init.len() + padded - bytes.len(), 0);
        Ok(())
    }

    /// The init packet is complete (`dfu_init_pkt_complete`). One that is refused is forgotten, and another may come.
    ///
    /// # Errors
    /// What the uploader is told, and why an init packet was refused.
    pub fn init_complete(&self, dfu: &mut Dfu, flash: &Flash) -> Result<(), (Status, Option<InitError>)> {
        if dfu.received > 0 || dfu.state != State::ReceivingInit {
            return Err((Status::InvalidState, None));
        }
        match self.prevalidate(&dfu.init, dfu.mode, flash) {
            Ok(extension) => {
                dfu.extension = extension;
                dfu.state = State::ReceivingData;
                Ok(())
            }
            Err(error) => {
                dfu.init.clear();
                Err((Status::OperationFailed, Some(error)))
            }
        }
    }

    /// Bytes of the image, whole words (`dfu_data_pkt_handle`). More than were announced lock the receiver.
    ///
    /// # Errors
    /// What the uploader is told.
    pub fn data(&self, dfu: &mut Dfu, bytes: &[u8]) -> Result<Data, Status> {
        if dfu.state != State::ReceivingData {
            return Err(Status::InvalidState);
        }
        // The sum overflows once the receiver is locked, and the flash driver refuses the address.
        let end = u32::try_from(bytes.len()).map_err(|_| Status::DataSize)?.wrapping_add(dfu.received);
        if end > dfu.image_size {
            dfu.received = LOCKED;
            return Err(Status::DataSize);
        }
        if dfu.received == LOCKED {
            return Err(Status::OperationFailed);
        }
        let step = FlashStep::Store { address: dfu.target.wrapping_add(dfu.received), bytes: bytes.to_vec() };
        dfu.received = end;
        Ok(Data { step, complete: end == dfu.image_size })
    }

    /// The image is to be checked as it is in flash now (`dfu_image_validate`).
    ///
    /// # Errors
    /// What the uploader is told. After a wrong CRC only a reset helps.
    pub fn validate(&self, dfu: &mut Dfu, flash: &Flash) -> Result<(), Status> {
        if dfu.state != State::ReceivingData || dfu.received != dfu.image_size {
            return Err(Status::InvalidState);
        }
        dfu.state = State::Validate;
        if !self.postvalidate(&dfu.extension, dfu.target, dfu.image_size, flash).map_err(fault)? {
            return Err(Status::CrcError);
        }
        dfu.state = State::WaitingForActivation;
        Ok(())
    }

    /// The image is to be activated (`dfu_image_activate`): the steps, behind which the device resets.
    ///
    /// # Errors
    /// There is nothing to activate: the device resets at once.
    pub fn activate(&self, dfu: &Dfu, flash: &Flash) -> Result<Vec<FlashStep>, Status> {
        if dfu.state != State::WaitingForActivation {
            return Err(Status::InvalidState);
        }
        let [softdevice, bootloader, application] = dfu.sizes;
        let there = self.settings(flash).map_err(fault)?;
        let bank_0 = self.bank_0_start(flash).map_err(fault)?;
        let received = Settings {
            sd_image_size: softdevice,
            bl_image_size: bootloader,
            app_image_size: application,
            ..Settings::none()
        };
        let mut steps = Vec::new();
        let settings = match dfu.activation {
            Activation::Application => {
                if !self.options.single_bank {
                    // What cannot be read is not there to be copied.
                    let len = application.min(self.map.whole().len.saturating_sub(dfu.target));
                    let mut bytes = Vec::with_capacity(len as usize);
                    let copied = self.map.visit(flash, dfu.target, len, |piece| bytes.extend_from_slice(piece));
                    copied.map_err(fault)?;
                    steps.extend([self.erase(bank_0, application), FlashStep::Store { address: bank_0, bytes }]);
                }
                Settings::application(application, 0)
            }
            Activation::Softdevice => Settings {
                bank_0: BankCode::Softdevice,
                bank_0_size: softdevice.wrapping_add(bootloader).wrapping_add(application),
                sd_image_start: bank_0,
                ..received
            },
            Activation::Bootloader => Settings {
                bank_0: there.bank_0,
                bank_0_crc: there.bank_0_crc,
                bank_0_size: there.bank_0_size,
                bank_1: BankCode::Bootloader,
                ..received
            },
        };
        steps.extend(self.settings_save(&settings));
        Ok(steps)
    }
}
