//! A device with a Legacy DFU bootloader, and packages for it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use brickproof_flash_model::boot::nordic::softdevice::{synthetic_image, synthetic_softdevice};
use brickproof_flash_model::boot::nordic_legacy::init::{MODE_APPLICATION, MODE_BOOTLOADER, MODE_SOFTDEVICE};
use brickproof_flash_model::boot::nordic_legacy::options::{ADAFRUIT_DEVICE_TYPE, ADAFRUIT_NRF52840};
use brickproof_flash_model::boot::nordic_legacy::{
    Boot, Dfu, Entry, FlashStep, Kind, NordicLegacy, Options, Settings, Status,
};
use brickproof_flash_model::flash::{Controller, Flash, FlashError, Hook, Interruption, Uncut};
use brickproof_flash_model::image::nordic::LegacyInitPacket;
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::sweep::nordic_legacy::{Installed, Package, factory};

pub const FWID: u16 = 0x0081;
pub const PAGE: u32 = 0x1000;

/// What an uploader sends.
#[derive(Debug, Clone)]
pub struct Sent {
    pub mode: u8,
    pub sizes: [u32; 3],
    pub init: Vec<u8>,
    pub image: Vec<u8>,
}

impl Sent {
    pub fn package(&self) -> Package<'_> {
        Package { mode: self.mode, sizes: self.sizes, init: &self.init, image: &self.image }
    }
}

/// What is installed before the update.
#[derive(Debug, Clone)]
pub struct Device {
    pub layout: Layout,
    pub legacy: NordicLegacy,
    pub softdevice: Vec<u8>,
    pub application: Vec<u8>,
    pub bootloader: Vec<u8>,
    pub checked: bool,
}

/// An application image.
pub fn app(seed: u64, len: u32) -> Vec<u8> {
    synthetic_image(seed, len)
}

/// A SoftDevice image of so many pages, but for its last 256 bytes.
pub fn softdevice(pages: u32, version: u32) -> Vec<u8> {
    synthetic_softdevice(pages * PAGE - 0x100, FWID, 132, version)
}

/// The init packet that this bootloader takes for an image.
pub fn init(options: &Options, image: &[u8]) -> Vec<u8> {
    let mut packet = LegacyInitPacket::new(image);
    if options.kind == Kind::Adafruit {
        (packet.device_type, packet.device_revision) = (ADAFRUIT_DEVICE_TYPE, ADAFRUIT_NRF52840);
    }
    packet.emit()
}

pub fn sent(options: &Options, mode: u8, parts: [&[u8]; 3]) -> Sent {
    let image = parts.concat();
    Sent { mode, sizes: parts.map(|part| part.len() as u32), init: init(options, &image), image }
}

pub fn application_update(options: &Options, len: u32) -> Sent {
    sent(options, MODE_APPLICATION, [&[], &[], &app(2, len)])
}

pub fn softdevice_update(options: &Options, pages: u32) -> Sent {
    sent(options, MODE_SOFTDEVICE, [&softdevice(pages, 3_000_000), &[], &[]])
}

pub fn bootloader_update(options: &Options) -> Sent {
    sent(options, MODE_BOOTLOADER, [&[], &app(101, 0x1e00), &[]])
}

pub fn system_update(options: &Options, pages: u32) -> Sent {
    sent(options, MODE_SOFTDEVICE | MODE_BOOTLOADER, [&softdevice(pages, 3_000_000), &app(101, 0x1e00), &[]])
}

impl Device {
    /// SoftDevice of so many pages, application of `app_len` bytes, bootloader of 2 pages.
    pub fn new(options: Options, softdevice_pages: u32, app_len: u32) -> Self {
        let layout = Layout::preset("nordic-legacy17").unwrap();
        let legacy = NordicLegacy::new(&layout, options, None).unwrap();
        Self {
            layout,
            legacy,
            softdevice: softdevice(softdevice_pages, 2_000_000),
            application: app(1, app_len),
            bootloader: app(100, 0x1f00),
            checked: false,
        }
    }

    pub fn checked(mut self) -> Self {
        self.checked = true;
        self
    }

    pub fn installed(&self) -> Installed<'_> {
        Installed {
            softdevice: &self.softdevice,
            application: &self.application,
            checked: self.checked,
            bootloader: &self.bootloader,
        }
    }

    pub fn flash(&self) -> Flash {
        factory(&self.legacy, self.layout.blank_flash(), &self.installed()).unwrap()
    }

    pub fn boot_with(&self, flash: &mut Flash, entry: &mut Entry, hook: &mut dyn Hook) -> Result<Boot, Interruption> {
        self.legacy.boot(&mut Controller::new(flash, hook), entry)
    }

    /// One boot that is not cut.
    pub fn boot(&self, flash: &mut Flash) -> Boot {
        self.boot_with(flash, &mut Entry::default(), &mut Uncut).unwrap()
    }

    pub fn run(&self, flash: &mut Flash, steps: &[FlashStep], hook: &mut dyn Hook) -> Result<(), Interruption> {
        let map = self.legacy.map();
        let mut controller = Controller::new(flash, hook);
        for step in steps {
            match step.run(map.whole(), map.page(), &mut controller) {
                Ok(()) => {}
                Err(FlashError::Interrupted(interruption)) => return Err(interruption),
                Err(error) => panic!("{error}"),
            }
        }
        Ok(())
    }

    /// An upload up to the answer to validate, written to flash.
    pub fn upload(&self, flash: &mut Flash, sent: &Sent) -> Result<Dfu, Status> {
        let (legacy, mut dfu) = (&self.legacy, Dfu::default());
        let erase = legacy.start(&mut dfu, sent.mode, sent.sizes, flash)?;
        self.run(flash, &[erase], &mut Uncut).unwrap();
        let settings = legacy.erased(&mut dfu, flash);
        self.run(flash, &settings, &mut Uncut).unwrap();
        legacy.init_packet(&mut dfu, &sent.init)?;
        legacy.init_complete(&mut dfu, flash).map_err(|(status, _)| status)?;
        for piece in sent.image.chunks(20) {
            let data = legacy.data(&mut dfu, piece)?;
            self.run(flash, &[data.step], &mut Uncut).unwrap();
        }
        legacy.validate(&mut dfu, flash)?;
        Ok(dfu)
    }

    /// The same, and its activation.
    pub fn update(&self, flash: &mut Flash, sent: &Sent) -> Result<(), Status> {
        let dfu = self.upload(flash, sent)?;
        let steps = self.legacy.activate(&dfu, flash)?;
        self.run(flash, &steps, &mut Uncut).unwrap();
        Ok(())
    }

    pub fn settings(&self, flash: &Flash) -> Settings {
        self.legacy.settings(flash).unwrap()
    }
}
