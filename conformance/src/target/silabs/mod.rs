//! Target profiles of Silicon Labs' EFR32 with a Gecko bootloader.
//!
//! ```toml
//! schema = 1
//! name = "my-board"
//! about = "what it is"
//! layout = "efr32xg22-apploader"  # or efr32xg24-storage, efr32xg13-apploader, efr32xg13-storage, or a path to a layout file
//!
//! [bootloader]                 # how it was built; the names in btl_core_cfg.h and btl_config.h
//! kind = "gecko-apploader"     # programs in place; or "gecko-storage": installs from a slot that the application fills
//! series = 2                   # or 1
//! version = "2.5.0"            # of the bootloader itself: major, minor, customer
//! key = "development"          # checks signatures, ECDSA P-256: `development`, `production`, the path of a PEM file, or "none"
//! signed = false               # BOOTLOADER_ENFORCE_SIGNED_UPGRADE
//! encryption = true            # it can decrypt
//! encrypted = false            # BOOTLOADER_ENFORCE_ENCRYPTED_UPGRADE
//! encryption-key = "000102030405060708090a0b0c0d0e0f"  # left out: none, as erased flash has it
//! secure-boot = false          # BOOTLOADER_ENFORCE_SECURE_BOOT
//! certificate = 1              # version of its certificate, which is for `key`; left out: none (BOOTLOADER_SUPPORT_CERTIFICATES)
//! reject-direct-signed = false # BOOTLOADER_REJECT_DIRECT_SIGNED_IMG
//! lz4 = false                  # BTL_PARSER_SUPPORT_LZ4
//! lzma = false                 # BTL_PARSER_SUPPORT_LZMA
//! version-dependency = false   # BTL_PARSER_SUPPORT_VERSION_DEPENDENCY_TAG
//! version-check = false        # btl_parser_app_version_check.c: only a higher version for the same product
//! rollback-protection = false  # BOOTLOADER_ROLLBACK_PROTECTION
//! minimum-version = 0          # BOOTLOADER_ROLLBACK_PROTECTION_MINIMUM_VERSION
//! upgrade-offset = "96 KiB"    # BTL_UPGRADE_LOCATION_BASE; a storage bootloader 32 KiB
//! upgrade-size = "96 KiB"      # MINIMUM_REQUIRED_UPGRADE_SIZE
//! starts-in = "application"    # or "bootloader": the button is held at the first start
//!
//! [ota]                        # the OTA server; what the vendor leaves open has the default here
//! service = "1d14d6ee-fd63-4fa1-bfa4-8f47b42119f0"
//! mtu = 247
//! name = "OTA"                 # of an AppLoader: "AppLoader" on Series 1
//! address = "same"             # of an AppLoader: that of the application, or "static-random"
//! kind-first = false           # AD type 0x1b: the kind of the address comes before the address
//! apploader-version = [2, 0, 0, 0]
//! ota-version = 3
//! application-versions = false # the application has the four version characteristics, too
//! queue = 16                   # values without a response that wait for the flash (open)
//! after-end = "padding"        # what an AppLoader takes behind the end of a file: up to 3 bytes 0xff, "anything", "nothing" (open)
//! erase-on-start = false       # 0x00 erases the first page of the application (open; the published code does not)
//! results = { 0x1005 = 0x80 }  # ATT error for an error of the parser (open)
//! reserved = 0x13              # ATT error for another control byte (open)
//! bonding-required = false     # SL_BT_IN_PLACE_OTA_DFU_CONFIG_BONDING_REQUIRED
//! reboot-delay = "1 s"         # SL_BT_IN_PLACE_OTA_DFU_CONFIG_MIN_DELAY
//! reboot-intervals = 5         # SL_BT_IN_PLACE_OTA_DFU_CONFIG_MULT
//! erasing = "blocks"           # what is written while a slot is erased is answered behind it; "beside": at once, and comes to
//!                              # nothing; "deaf": never
//! answers-strangers = false    # data of someone who has not begun is answered, as by SDKs of 2022
//! verify = "0 s"               # time to verify 128 bytes of a slot
//!
//! [application]
//! access = "open"              # or "encrypted", "authenticated": what its OTA characteristics ask of a link
//!
//! [battery]
//! threshold = 20               # percent
//! refuses = "nothing"          # or "start": an application answers 0x00, or the wish for its AppLoader, with `error`
//! error = 0xfc                 # of an application with a slot 0x80
//! service = true
//! ```
//!
//! `[link]`, `[advertisement]`, `[device-information]`, `[[service]]` and `[timing]` are as in [`super::nordic`].

mod file;

use brickproof_flash_model::boot::gecko::{Gecko, Options};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::gbl::device::DeviceCertificate;
use brickproof_flash_model::image::gbl::{BootRules, Device, EncryptionKey, FirmwareBuilder, Trust};
use brickproof_flash_model::image::mcuboot::{PublicKey, SigningKey};
use brickproof_flash_model::image::nordic::crc32;
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::source::Mistake;
use brickproof_simulator::gatt::Security;
use brickproof_simulator::silabs::{OtaConfig, SilabsBoard};

use crate::air::{
    APPLOADER, Air, DOWNGRADE, MARKS, NO_DOWNGRADE, REVERT, SERIAL_DFU, SERIAL_RECOVERY, SERIES_2, STORAGE_SLOT,
};

pub(in crate::target) use file::read;

/// Kinds of bootloaders that are read here.
pub(super) const KINDS: [&str; 2] = ["gecko-apploader", "gecko-storage"];
/// Bytes of the bootloader that is installed.
const BOOTLOADER_LEN: usize = 0x2000;

/// A target with a Gecko bootloader.
#[derive(Debug, Clone)]
pub struct SilabsTarget {
    options: Options,
    key: Option<PublicKey>,
    /// It trusts the key of a product, and its files are signed with that.
    product: bool,
    version: u32,
    ota: OtaConfig,
    access: Security,
    starts_in_bootloader: bool,
}

impl SilabsTarget {
    /// How the bootloader was built.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Version of the bootloader that is installed.
    #[must_use]
    pub fn bootloader_version(&self) -> u32 {
        self.version
    }

    /// What decrypts its files, if it has a key.
    #[must_use]
    pub fn encryption_key(&self) -> Option<EncryptionKey> {
        self.options.encryption_key.map(EncryptionKey::new)
    }

    /// The key that checks signatures, if it has one.
    #[must_use]
    pub fn public_key(&self) -> Option<&PublicKey> {
        self.key.as_ref()
    }

    /// What it lacks of something that a scenario needs of a target, in words.
    pub(super) fn lacks(&self, need: &str) -> Option<&'static str> {
        let older = self.options.version_check || self.options.rollback_protection;
        match need {
            REVERT => Some("has no way back to the old image"),
            MARKS => Some("has images that are valid or not: nothing is marked"),
            SERIAL_RECOVERY => Some("has no serial recovery"),
            SERIAL_DFU => Some("has a bootloader without a serial line"),
            APPLOADER if self.options.storage => Some("has no AppLoader: its application stores what comes in a slot"),
            STORAGE_SLOT if !self.options.storage => Some("has an AppLoader, and no storage slot"),
            SERIES_2 if !self.options.series_2 => Some("is of Series 1"),
            DOWNGRADE if older => Some("takes no older images"),
            NO_DOWNGRADE if !older => Some("takes older images"),
            _ => None,
        }
    }

    /// Why it cannot be reached on this air, if it cannot.
    #[must_use]
    pub fn unreachable_on(&self, air: Air) -> Option<&'static str> {
        super::nordic::unreachable(false, air)
    }

    /// Trusts this key: a bootloader has but one.
    pub(super) fn trust(&mut self, key: PublicKey) {
        if let Ok(point) = key.p256_point() {
            match &mut self.options.certificate {
                Some(own) => own.key = point,
                None => self.options.public_key = Some(point),
            }
        }
        self.key = Some(key);
    }

    /// The key that its files are signed with: that of a product, or the development key.
    ///
    /// # Errors
    /// Why the bundled key does not read.
    pub fn signing_key(&self, product: Option<bool>) -> Result<SigningKey, Mistake> {
        let product = product.unwrap_or(self.product);
        let pem = if product { brickproof_scenarios::PRODUCTION_KEY } else { brickproof_scenarios::DEVELOPMENT_KEY };
        SigningKey::from_pem(pem).map_err(|error| Mistake::new("bundled key", error.to_string()))
    }

    /// What runs on the board.
    pub(super) fn board(&self, layout: &Layout) -> Result<SilabsBoard, Mistake> {
        let mut board = SilabsBoard::new(self.gecko(layout)?);
        board.ota = self.ota.clone();
        board.access = self.access;
        board.starts_in_bootloader = self.starts_in_bootloader;
        Ok(board)
    }

    /// Its bootloader.
    ///
    /// # Errors
    /// That the layout does not suit it.
    pub fn gecko(&self, layout: &Layout) -> Result<Gecko, Mistake> {
        Gecko::new(layout, self.options.clone())
    }

    /// A bootloader for it, with its CRC-32 behind it, `size` bytes in all.
    #[must_use]
    pub fn bootloader(&self, gecko: &Gecko, version: u32, size: usize) -> Vec<u8> {
        let image = FirmwareBuilder::bootloader(gecko.map().main_stage(), version).size(size.saturating_sub(4)).build();
        [image.as_slice(), &crc32(&image, 0).to_le_bytes()].concat()
    }

    /// The bootloader that is installed, with its CRC-32 behind it.
    #[must_use]
    pub fn installed_bootloader(&self, gecko: &Gecko) -> Vec<u8> {
        self.bootloader(gecko, self.version, BOOTLOADER_LEN.min(gecko.map().bootloader().1 as usize))
    }

    /// What a file for it is checked for; which versions run is not known.
    ///
    /// # Errors
    /// That bootloader and layout do not go together.
    pub fn device(&self, layout: &Layout) -> Result<Device, Mistake> {
        let gecko = self.gecko(layout)?;
        let (map, options) = (gecko.map(), &self.options);
        Ok(Device {
            series_2: options.series_2,
            communication: !options.storage,
            encryption: options.encryption,
            lz4: options.lz4,
            lzma: options.lzma,
            dependencies: options.version_dependency,
            require_signature: options.require_signed,
            require_encryption: options.require_encrypted,
            trust: self.key.clone().map_or(Trust::Nothing, Trust::from),
            certificate: options
                .certificate
                .and_then(|own| Some(DeviceCertificate { key: self.key.clone()?, version: own.version })),
            decryption: self.encryption_key(),
            lacks_decryption_key: self.options.encryption_key.is_none(),
            application_area: Some(map.application_start()..map.application_end()),
            bootloader_address: Some(map.main_stage()),
            slot_size: map.slots().first().map(|slot| slot.len).filter(|_| options.storage),
            ..Device::default()
        })
    }

    /// What its bootloader asks of an application before it starts it.
    ///
    /// # Errors
    /// As [`SilabsTarget::device`].
    pub fn boot_rules(&self, layout: &Layout) -> Result<BootRules, Mistake> {
        let gecko = self.gecko(layout)?;
        let Device { trust, certificate, .. } = self.device(layout)?;
        Ok(BootRules {
            flash: gecko.map().flash_base()..gecko.map().flash_end(),
            ram: self.options.ram.clone(),
            application_start: gecko.map().application_start(),
            secure_boot: self.options.secure_boot,
            trust,
            certificate,
            crc32: true,
        })
    }

    /// The flash as it leaves the factory with this application, and with a file that is in slot 0.
    ///
    /// # Errors
    /// That something does not fit.
    pub fn factory_flash(&self, layout: &Layout, application: &[u8], stored: Option<&[u8]>) -> Result<Flash, Mistake> {
        let gecko = self.gecko(layout)?;
        let map = gecko.map();
        let mut flash = layout.blank_flash();
        let wrong = |what: &str, message: String| Mistake::new(format!("{what} of layout `{}`", layout.name), message);
        let mut load = |what: &str, address: u32, bytes: &[u8]| {
            let mut words = bytes.to_vec();
            words.resize(words.len().next_multiple_of(4), 0xff);
            let place = map.place(address, u32::try_from(words.len()).unwrap_or(u32::MAX));
            let (area, offset) =
                place.ok_or_else(|| wrong(what, format!("{} bytes do not fit at {address:#x}", bytes.len())))?;
            flash.load(area, offset, &words).map_err(|error| wrong(what, error.to_string()))
        };
        load("the bootloader", map.main_stage(), &self.installed_bootloader(&gecko))?;
        if application.len() > map.application_len() as usize {
            return Err(Mistake::new("the installed application", format!("{} bytes do not fit", application.len()))
                .remedy(format!("at most {} bytes", map.application_len())));
        }
        load("the application", map.application_start(), application)?;
        if let Some(stored) = stored {
            let slot = map.slots().first().ok_or_else(|| {
                Mistake::new("image `other`", format!("layout `{}` has no slot", layout.name)).remedy("leave it out")
            })?;
            load("the file in slot 0", slot.address, stored)?;
        }
        Ok(flash)
    }
}
