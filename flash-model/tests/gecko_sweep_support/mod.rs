//! Small devices with a Gecko bootloader, and files for them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use brickproof_flash_model::boot::gecko::{Gecko, Options, PublicKey};
use brickproof_flash_model::image::gbl::{
    Certificate, Comparison, Compression, Dependency, FirmwareBuilder, GblBuilder, ImageType, Sabotage, SabotageKeys,
};
use brickproof_flash_model::image::mcuboot::SigningKey;
use brickproof_flash_model::image::nordic::crc32;
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::sweep::gecko::{Installed, Package, Update};
use brickproof_flash_model::sweep::{Settings, Sweep, Tears, explore};

/// Pages of 1 KiB; what is put aside comes 3 pages behind the start of the application, as on a chip.
const APPLOADER: &str = r#"
schema = 1
name = "small-apploader"

[[device]]
name = "internal"
base = 0x8000000
sectors = [[80, 1024]]
program-unit = 4

[[partition]]
name = "bootloader"
device = "internal"
offset = 0x0
size = 0x800

[[partition]]
name = "application"
device = "internal"
offset = 0x800
size = 0x2000

[[partition]]
name = "lock-bits"
device = "internal"
offset = 0x13c00
size = 0x400
"#;

/// What is put aside comes 1 page behind the start of the application, as on a chip.
const STORAGE: &str = r#"
schema = 1
name = "small-storage"

[[device]]
name = "internal"
base = 0x8000000
sectors = [[80, 1024]]
program-unit = 4

[[partition]]
name = "bootloader"
device = "internal"
offset = 0x0
size = 0x800

[[partition]]
name = "application"
device = "internal"
offset = 0x800
size = 0x1800

[[partition]]
name = "slot-0"
device = "internal"
offset = 0x2000
size = 0x1400

[[partition]]
name = "lock-bits"
device = "internal"
offset = 0x13c00
size = 0x400
"#;

const SERIES_1: &str = r#"
schema = 1
name = "small-series-1"

[[device]]
name = "internal"
sectors = [[80, 1024]]
program-unit = 4

[[partition]]
name = "first-stage"
device = "internal"
offset = 0x0
size = 0x400

[[partition]]
name = "bootloader"
device = "internal"
offset = 0x400
size = 0x800

[[partition]]
name = "application"
device = "internal"
offset = 0xc00
size = 0x1800

[[partition]]
name = "slot-0"
device = "internal"
offset = 0x2400
size = 0x1400
"#;

/// Sizes of the applications.
pub const OLD: usize = 0x700;
pub const NEW: usize = 0x900;
/// The smallest that there are: one page, and two.
pub const SMALLEST: [usize; 2] = [0x2c0, 0x440];

pub fn key() -> SigningKey {
    SigningKey::from_seed(b"gecko").unwrap()
}

/// The key as a bootloader has it.
fn public_key() -> PublicKey {
    let certificate = Certificate::new(key().public(), 1, &key()).unwrap().emit();
    certificate[4..68].try_into().unwrap()
}

/// What a device is, and what its applications are.
#[derive(Debug, Clone)]
pub struct Kind {
    pub options: Options,
    layout: String,
    crc: bool,
}

impl Kind {
    fn small(text: &str, options: Options) -> Self {
        let options = Options { upgrade_size: 0x800, ..options };
        Self { options, layout: text.into(), crc: false }
    }

    pub fn apploader() -> Self {
        Self::small(APPLOADER, Options { upgrade_offset: 0x1400, lzma: true, ..Options::apploader() })
    }

    pub fn storage() -> Self {
        Self::small(STORAGE, Options { upgrade_offset: 0xc00, lzma: true, ..Options::storage() })
    }

    pub fn series_1() -> Self {
        let options = Options { upgrade_offset: 0x1000, series_2: false, ..Options::storage() };
        Self::small(SERIES_1, options)
    }

    /// A bundled layout.
    pub fn preset(name: &str, options: Options) -> Self {
        Self { options, layout: name.into(), crc: false }
    }

    /// Applications end with a CRC.
    pub fn crc(mut self) -> Self {
        self.crc = true;
        self
    }

    pub fn secure_boot(mut self) -> Self {
        self.options = Options { secure_boot: true, public_key: Some(public_key()), ..self.options };
        self
    }

    pub fn rollback_protection(mut self) -> Self {
        self = self.secure_boot();
        self.options.rollback_protection = true;
        self
    }

    pub fn version_check(mut self) -> Self {
        self.options.version_check = true;
        self
    }

    pub fn layout(&self) -> Layout {
        Layout::preset(&self.layout).unwrap_or_else(|_| Layout::parse("small", &self.layout).unwrap())
    }

    pub fn gecko(&self) -> Gecko {
        Gecko::new(&self.layout(), self.options.clone()).unwrap()
    }

    fn application(&self, version: u32, size: usize) -> Vec<u8> {
        let builder = FirmwareBuilder::new(self.gecko().map().application_start()).version(version).size(size);
        match (self.options.secure_boot, self.crc) {
            (true, _) => builder.sign(&key()).unwrap(),
            (false, true) => builder.crc32().build(),
            (false, false) => builder.build(),
        }
    }

    /// Without the CRC behind it. The properties have the size.
    fn bootloader(&self, version: u32) -> Vec<u8> {
        // More than half a page.
        let gecko = self.gecko();
        let size = 0x600.max(gecko.map().page() as usize / 2);
        FirmwareBuilder::bootloader(gecko.map().main_stage(), version).size(size).build()
    }
}

fn with_crc(image: &[u8]) -> Vec<u8> {
    [image, &crc32(image, 0).to_le_bytes()].concat()
}

/// What a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Application,
    Bootloader,
    Both,
    /// An application whose compressed data is wrong.
    Corrupt,
    /// An application for devices with version 1 or a later one.
    Dependent,
}

/// An update.
pub struct Case {
    pub name: &'static str,
    pub kind: Kind,
    pub gecko: Gecko,
    pub chunk: usize,
    bootloader: Vec<u8>,
    application: Vec<u8>,
    slot: Vec<u8>,
    new_bootloader: Vec<u8>,
    new_application: Vec<u8>,
    file: Vec<u8>,
}

impl Case {
    pub fn new(name: &'static str, kind: Kind, content: Content) -> Self {
        Self::sized(name, kind, content, [OLD, NEW])
    }

    pub fn sized(name: &'static str, kind: Kind, content: Content, sizes: [usize; 2]) -> Self {
        let gecko = kind.gecko();
        let [start, main_stage] = [gecko.map().application_start(), gecko.map().main_stage()];
        let [bootloader, new_bootloader] = [1, 2].map(|version| kind.bootloader(version << 24));
        let [application, new_application] = [0, 1].map(|n| kind.application(n as u32 + 1, sizes[n]));
        let [has_bootloader, has_application] =
            [matches!(content, Content::Bootloader | Content::Both), content != Content::Bootloader];
        let mut builder = GblBuilder::new();
        if content == Content::Dependent {
            builder = builder.dependency(Dependency::new(ImageType::Application, Comparison::AtLeast, 1));
        }
        if has_bootloader {
            builder = builder.bootloader(2 << 24, main_stage, &new_bootloader);
        }
        if has_application {
            builder = builder.firmware(start, &new_application);
        }
        let mut file = builder.unsigned().unwrap();
        if content == Content::Corrupt {
            let data = FirmwareBuilder::new(start).version(2).size(sizes[1]).data();
            let builder = GblBuilder::new().application(&data);
            let builder = builder.compressed_program(Compression::Lzma, start, &new_application).unwrap();
            let keys = SabotageKeys { signing: None, encryption: None };
            file = Sabotage::CorruptLzma.apply(&builder.unsigned().unwrap(), keys).unwrap();
        }
        // The slot still has the file that the old application came in.
        let slot = GblBuilder::new().firmware(start, &application).unsigned().unwrap();
        Self {
            name,
            slot: if kind.options.storage { slot } else { Vec::new() },
            kind,
            gecko,
            chunk: 244,
            bootloader: with_crc(&bootloader),
            application,
            new_bootloader: if has_bootloader { with_crc(&new_bootloader) } else { Vec::new() },
            new_application: if has_application { new_application } else { Vec::new() },
            file,
        }
    }

    pub fn chunk(mut self, chunk: usize) -> Self {
        self.chunk = chunk;
        self
    }

    pub fn update(&self) -> Update<'_> {
        let layout = self.kind.layout();
        let mut flash = layout.blank_flash();
        if self.kind.options.rollback_protection {
            // The old application has been started before.
            let bootloader = layout.area("bootloader").unwrap();
            flash.load(bootloader, bootloader.len - 4, &1u32.to_le_bytes()).unwrap();
        }
        let installed = Installed { bootloader: &self.bootloader, application: &self.application, slot: &self.slot };
        let package = Package {
            file: &self.file,
            bootloader: &self.new_bootloader,
            application: &self.new_application,
            chunk: self.chunk,
        };
        Update::new(&self.gecko, flash, &installed, package).unwrap()
    }

    /// How it is swept. Where the bootloader trusts a CRC, erases are split at every field, as that hangs on single words.
    pub fn settings(&self) -> Settings {
        let tears = if self.kind.crc { Tears::Adversarial } else { Tears::Fields };
        Settings { tears, ..Settings::default() }
    }

    pub fn sweep(&self, strict: bool, settings: Settings) -> Sweep {
        explore(&self.update().strict(strict), settings, |_| true)
    }
}

/// All that is swept: the columns of the table, and what they are called there.
pub fn cases() -> Vec<Case> {
    sized([OLD, NEW])
}

/// The same with applications of other sizes.
pub fn sized(sizes: [usize; 2]) -> Vec<Case> {
    use Content::{Application, Bootloader, Both, Corrupt, Dependent};
    let (apploader, storage, series_1) = (Kind::apploader, Kind::storage, Kind::series_1);
    let of = |name, kind, content| Case::sized(name, kind, content, sizes);
    vec![
        of("AL", apploader(), Application),
        Case::sized("AL shrinks", apploader(), Application, [sizes[1], sizes[0]]),
        Case::sized("AL crc", apploader().crc(), Application, SMALLEST),
        of("AL secure", apploader().secure_boot(), Application),
        of("AL version", apploader().version_check(), Application),
        of("AL rollback", apploader().rollback_protection(), Application),
        of("AL depends", depends(apploader()), Dependent),
        of("AL BL", apploader(), Bootloader),
        of("AL BL+app", apploader(), Both),
        Case::sized("AL BL+app over", apploader(), Both, [sizes[0], 0xf00]),
        of("AL corrupt", apploader(), Corrupt),
        of("slot", storage(), Application),
        Case::sized("slot shrinks", storage(), Application, [sizes[1], sizes[0]]),
        Case::sized("slot crc", storage().crc(), Application, SMALLEST),
        of("slot secure", storage().secure_boot(), Application),
        of("slot version", storage().version_check(), Application),
        of("slot rollback", storage().rollback_protection(), Application),
        of("slot depends", depends(storage()), Dependent),
        of("slot BL", storage(), Bootloader),
        of("slot BL+app", storage(), Both),
        of("slot corrupt", storage(), Corrupt),
        of("S1", series_1(), Application),
        of("S1 BL", series_1(), Bootloader),
        of("S1 BL+app", series_1(), Both),
    ]
}

fn depends(mut kind: Kind) -> Kind {
    kind.options.version_dependency = true;
    kind
}
