//! A device with a Secure DFU bootloader, and packages for it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use brickproof_flash_model::boot::nordic::softdevice::{synthetic_image, synthetic_softdevice};
use brickproof_flash_model::boot::nordic::{Boot, Dfu, Entry, FlashStep, Nordic, Options, Refusal};
use brickproof_flash_model::flash::{Controller, Flash, Hook, Interruption, Uncut};
use brickproof_flash_model::image::mcuboot::SigningKey;
use brickproof_flash_model::image::nordic::{
    FwType, Hash, HashType, InitCommand, InitPacket, Signature, SignatureType, sign,
};
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::sweep::nordic::{Installed, factory};

pub const FWID: u16 = 0x0101;
pub const PAGE: u32 = 0x1000;

/// An init packet and its image.
#[derive(Debug, Clone)]
pub struct Sent {
    pub init: Vec<u8>,
    pub image: Vec<u8>,
}

/// What is installed before the update.
#[derive(Debug, Clone)]
pub struct Device {
    pub layout: Layout,
    pub nordic: Nordic,
    pub softdevice: Vec<u8>,
    pub application: Vec<u8>,
    pub bootloader: Vec<u8>,
}

pub fn key() -> SigningKey {
    SigningKey::from_seed(b"nordic").unwrap()
}

/// An application image.
pub fn app(seed: u64, len: u32) -> Vec<u8> {
    synthetic_image(seed, len)
}

/// A SoftDevice image of so many pages, but for its last 256 bytes.
pub fn softdevice(pages: u32, version: u32) -> Vec<u8> {
    synthetic_softdevice(pages * PAGE - 0x100, FWID, 132, version)
}

impl Device {
    /// SoftDevice of 3 pages, application of `app_len` bytes in version 1, bootloader of 2 pages in version 1.
    pub fn new(options: Options, app_len: u32) -> Self {
        Self::on("nordic24", options, app_len)
    }

    pub fn on(layout: &str, options: Options, app_len: u32) -> Self {
        Self::in_layout(Layout::preset(layout).unwrap(), options, app_len)
    }

    pub fn in_layout(layout: Layout, options: Options, app_len: u32) -> Self {
        let nordic = Nordic::new(&layout, options, Some(key().public().clone())).unwrap();
        Self {
            layout,
            nordic,
            softdevice: if options.ble { softdevice(3, 7_000_000) } else { Vec::new() },
            application: app(1, app_len),
            bootloader: app(100, 0x1f00),
        }
    }

    pub fn installed(&self) -> Installed<'_> {
        Installed {
            softdevice: &self.softdevice,
            application: &self.application,
            application_version: 1,
            bootloader: &self.bootloader,
            bootloader_version: 1,
        }
    }

    pub fn flash(&self) -> Flash {
        factory(&self.nordic, self.layout.blank_flash(), &self.installed()).unwrap()
    }

    pub fn boot_with(&self, flash: &mut Flash, entry: &mut Entry, hook: &mut dyn Hook) -> Result<Boot, Interruption> {
        self.nordic.boot(&mut Controller::new(flash, hook), entry)
    }

    /// One boot that is not cut.
    pub fn boot(&self, flash: &mut Flash) -> Boot {
        self.boot_with(flash, &mut Entry::default(), &mut Uncut).unwrap()
    }

    pub fn run(&self, flash: &mut Flash, steps: &[FlashStep], hook: &mut dyn Hook) -> Result<(), Interruption> {
        let map = self.nordic.map();
        let mut controller = Controller::new(flash, hook);
        for step in steps {
            match step.run(map.whole(), map.page(), &mut controller) {
                Ok(()) => {}
                Err(brickproof_flash_model::flash::FlashError::Interrupted(interruption)) => return Err(interruption),
                Err(error) => panic!("{error}"),
            }
        }
        Ok(())
    }

    /// DFU mode gets an init packet and says what it thinks of it; what was accepted is written.
    pub fn send_init(&self, flash: &mut Flash, init: &[u8]) -> Result<Dfu, Refusal> {
        let mut dfu = self.nordic.start(flash).unwrap();
        self.nordic.init_command_create(&mut dfu, init.len() as u32)?;
        self.nordic.init_command_append(&mut dfu, init)?;
        self.nordic.init_command_execute(&mut dfu, flash)?;
        let steps = std::mem::take(&mut dfu.steps);
        self.run(flash, &steps, &mut Uncut).unwrap();
        let steps = self.nordic.settings_write_and_backup(&mut dfu.settings, flash);
        self.run(flash, &steps, &mut Uncut).unwrap();
        Ok(dfu)
    }

    /// The image from where it is, up to the last Execute, whose answer is given.
    pub fn send_image(&self, flash: &mut Flash, dfu: &mut Dfu, image: &[u8]) -> Result<(), Refusal> {
        self.send_data(flash, dfu, image)?;
        self.nordic.activation_prepare(dfu, flash)
    }

    /// The same up to before the last Execute.
    pub fn send_data(&self, flash: &mut Flash, dfu: &mut Dfu, image: &[u8]) -> Result<(), Refusal> {
        loop {
            let offset = dfu.settings.progress.image_offset_last as usize;
            let object = &image[offset..image.len().min(offset + PAGE as usize)];
            let erase = self.nordic.data_create(dfu, object.len() as u32)?;
            let store = self.nordic.data_write(dfu, object)?;
            self.run(flash, &[erase, store], &mut Uncut).unwrap();
            self.nordic.data_written(dfu, object);
            if self.nordic.data_execute(dfu)? {
                return Ok(());
            }
        }
    }

    /// A whole upload, settings written.
    pub fn upload(&self, flash: &mut Flash, sent: &Sent) -> Result<(), Refusal> {
        let mut dfu = self.send_init(flash, &sent.init)?;
        let answer = self.send_image(flash, &mut dfu, &sent.image);
        let mut steps = std::mem::take(&mut dfu.steps);
        steps.extend(self.nordic.settings_write_and_backup(&mut dfu.settings, flash));
        self.run(flash, &steps, &mut Uncut).unwrap();
        answer
    }
}

/// What nrfutil says of an image, but for what `change` does to it.
pub fn package(kind: FwType, parts: [&[u8]; 2], version: u32, change: impl FnOnce(&mut InitCommand)) -> Sent {
    let image = parts.concat();
    let [first, second] = parts.map(|part| part.len() as u32);
    let (sd, bl, app) = match kind {
        FwType::Softdevice => (first, 0, 0),
        FwType::Bootloader => (0, first, 0),
        FwType::SoftdeviceBootloader => (first, second, 0),
        _ => (0, 0, first),
    };
    let mut command = InitCommand {
        fw_version: Some(version),
        hw_version: Some(52),
        sd_req: vec![FWID.into()],
        fw_type: Some(kind),
        sd_size: Some(sd),
        bl_size: Some(bl),
        app_size: Some(app),
        hash: Some(Hash { kind: HashType::Sha256, bytes: sign::image_hash(&image).to_vec() }),
        is_debug: Some(false),
        boot_validation: Vec::new(),
    };
    change(&mut command);
    let bytes = sign::sign(&key(), &command.emit()).unwrap().to_vec();
    let signature = Signature { kind: SignatureType::EcdsaP256Sha256, bytes };
    Sent { init: InitPacket::new(command, Some(signature)).emit(), image }
}

/// An application in version 2.
pub fn app_update(len: u32) -> Sent {
    package(FwType::Application, [&app(2, len), &[]], 2, |_| {})
}
