//! Target profiles: from a file to a [`Board`].
//!
//! ```toml
//! schema = 1
//! name = "my-board"
//! about = "what it is"
//! layout = "nrf52840"          # a bundled layout or a path to a layout file
//!
//! [bootloader]
//! kind = "mcuboot"
//! mode = "swap-move"           # or "swap-scratch", "swap-offset", "overwrite-only", "direct-xip",
//!                              # "direct-xip-with-revert"
//! fast = false                 # overwrite-only: copy no more than the image, MCUBOOT_OVERWRITE_ONLY_FAST
//! keep-backup = false          # overwrite-only: MCUBOOT_OVERWRITE_ONLY_KEEP_BACKUP
//! max-sectors = 128            # MCUBOOT_MAX_IMG_SECTORS
//! max-align = 8                # MCUBOOT_BOOT_MAX_ALIGN
//! validate-primary = true      # MCUBOOT_VALIDATE_PRIMARY_SLOT
//! bootstrap = false            # MCUBOOT_BOOTSTRAP
//! minimal-scramble = false     # MCUBOOT_MINIMAL_SCRAMBLE
//! downgrade-prevention = "version"  # MCUBOOT_DOWNGRADE_PREVENTION; default none. "security-counter" is
//!                              # MCUBOOT_HW_ROLLBACK_PROT, with a counter in the device;
//!                              # "image-security-counter" compares those of two images
//! compare-build-number = false # MCUBOOT_VERSION_CMP_USE_BUILD_NUMBER
//! signature = "ecdsa-p256"     # or "rsa-2048", "rsa-3072", "ed25519": the one type that is taken
//! keys = ["development"]       # trusted public keys of that type: `development`, `production` or paths to PEM files
//! recovery = "none"            # or "serial": MCUboot's serial recovery, when no image can be started
//!
//! [recovery]                   # how that was built; the defaults are those of a Nordic chip
//! receive-size = 1024          # BOOT_SERIAL_MAX_RECEIVE_SIZE
//! echo = false                 # BOOT_MGMT_ECHO
//! params = false               # BOOT_MGMT_MCUMGR_PARAMS
//! hashes = true                # BOOT_SERIAL_IMG_GRP_HASH
//! image-state = false          # BOOT_SERIAL_IMG_GRP_IMAGE_STATE
//! slot-info = false            # BOOT_SERIAL_IMG_GRP_SLOT_INFO
//! erase-progressively = true   # BOOT_ERASE_PROGRESSIVELY
//! direct-upload = false        # MCUBOOT_SERIAL_DIRECT_IMAGE_UPLOAD
//!
//! [serial]
//! usb = false                  # the port goes away with the device, and comes back behind the same path
//!
//! [smp]                        # how the SMP server was built: see `target/smp.rs`
//! zephyr = "4.2"
//! buffer-size = 2475
//!
//! [gatt]                       # SMP over Bluetooth LE; left out: as here
//! reassembly = true            # fragments are put together
//! mtu = 498                    # largest ATT MTU that is agreed to, 23 to 517
//! access = "open"              # or "encrypted", "authenticated", "secure-connections": what a link needs before it may
//!                              # write SMP (CONFIG_MCUMGR_TRANSPORT_BT_PERM_RW*); other services are open
//! refusal = "0x05"             # or "0x0f", for every refusal; left out: 0x0f where only encryption is missing
//! pairing = "just-works"       # or "passkey" (it shows one), "passkey-entry" (it has a keyboard), "numeric-comparison",
//!                              # "none"; left out with authenticated access or more: "passkey"
//! passkey = 123456             # always the same (CONFIG_BT_FIXED_PASSKEY), and the number that is compared
//! secure-connections = true    # knows LE Secure Connections
//! replaces-bonds = false       # Just Works may replace keys of the same central (CONFIG_BT_SMP_ALLOW_UNAUTH_OVERWRITE)
//! bonding = true               # keys and notifications are kept for the next connection
//! connect-delay = "0 s"        # from the wish to connect to the connection
//! connections = 1              # at the same time
//! supervision-timeout = "420 ms"
//! parameter-update = false     # asks for 7.5 to 11.25 ms with the first write, for the usual after 5 s
//! goodbye = false              # a reset by command ends connections politely
//! keeps-fragments = false      # half a packet outlives its connection even when nobody else is subscribed
//! moving-handles = false       # every image has its attributes at other handles
//!
//! [advertisement]              # left out: as here, with an address that follows from the name
//! name = "my-board"            # at most 29 bytes; also the Device Name
//! address = "C0:FF:EE:00:00:01"
//! address-kind = "random"      # or "public"
//! changes-address = false      # every start has an address of its own: this one, and so many further on
//! services = ["8d53dc1d-1db7-4cd3-868b-8a527460aa84"]
//! manufacturer-data = { 0x0059 = "0102" }  # by company, in hexadecimal; left out: none
//! service-data = { 180f = "64" }           # the same by service
//! appearance = 0               # left out: not advertised, and 0 as characteristic
//! tx-power = 0                 # dBm; left out: not advertised
//! rssi = -50                   # dBm, as it is received
//!
//! [device-information]         # the service 0x180a; its firmware revision is the version of the image that runs
//! service = true
//! model = "my-board"           # left out: the name of the target
//! manufacturer = "brickproof"
//! serial = ""                  # an empty text has no characteristic: so are these three, left out
//! hardware = ""
//! software = ""
//!
//! [[service]]                  # a service of the board's own
//! uuid = "0000fff0-0000-1000-8000-00805f9b34fb"   # or short: "fff0"
//! [[service.characteristic]]
//! uuid = "fff1"
//! properties = ["read", "write"]   # also "write-without-response", "notify", "indicate"
//! value = "text"               # or { hex = "0102" }; left out: empty
//! trigger = "bootloader"       # a write is an event: `when = { write = "bootloader" }` in a scenario
//!
//! [timing]
//! erase = "85 ms"
//! program-unit = "41 us"
//! start = "300 ms"
//!
//! [battery]
//! threshold = 20               # percent below which uploads are refused
//! rc = 11                      # with this rc
//! service = true               # the service 0x180f, with notifications
//! ```

mod bootloader;
mod common;
mod gatt;
mod maker;
pub mod nordic;
pub mod nordic_legacy;
mod peripheral;
mod recovery;
pub mod silabs;
mod smp;

use std::path::{Path, PathBuf};

use brickproof_flash_model::boot::mcuboot::{Downgrade, Flaw, Mcuboot, Mode, Options, Slot, SwapType};
use brickproof_flash_model::boot::nordic::Nordic;
use brickproof_flash_model::flash::{Controller, Flash, FlashError};
use brickproof_flash_model::image::mcuboot::{ImageVersion, PublicKey, SignatureType, SigningKey, Verifier};
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::source::Mistake;
use brickproof_simulator::device::{BatteryPolicy, Behaviour, Board, FlashTiming, Peripheral};
use brickproof_simulator::smp::gatt::GattConfig;
use brickproof_simulator::smp::{RecoveryConfig, ServerConfig};
use serde::Deserialize;
use toml::Spanned;

use crate::air::{DOWNGRADE, MARKS, MOVES_IMAGES, NO_DOWNGRADE, REVERT, SERIAL_RECOVERY};
use crate::scenario::TimingSpec;

use bootloader::Bootloader;
pub use maker::ImageMaker;
pub use nordic::NordicTarget;
pub use nordic_legacy::LegacyTarget;
pub use silabs::SilabsTarget;

/// Size in bytes of the images that fill the other slots of a bootloader for several.
const OTHER_IMAGE: u32 = 16 << 10;

/// What a target is spoken to with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// SMP.
    Smp,
    /// Nordic's Secure DFU.
    SecureDfu,
    /// Nordic's Legacy DFU.
    LegacyDfu,
    /// Silicon Labs' OTA.
    SilabsOta,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Smp, Self::SecureDfu, Self::LegacyDfu, Self::SilabsOta];

    /// Its name, in profiles of initiators.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Smp => "smp",
            Self::SecureDfu => "secure-dfu",
            Self::LegacyDfu => "legacy-dfu",
            Self::SilabsOta => "silabs-ota",
        }
    }

    /// In a sentence.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Smp => "SMP",
            Self::SecureDfu => "Nordic's Secure DFU",
            Self::LegacyDfu => "Nordic's Legacy DFU",
            Self::SilabsOta => "Silicon Labs' OTA",
        }
    }
}

/// A target profile.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// Flash devices and partitions.
    pub layout: Layout,
    family: Family,
    gatt: GattConfig,
    peripheral: Peripheral,
    usb: bool,
    timing: FlashTiming,
    start_us: u64,
    battery: BatteryPolicy,
}

/// Which bootloader it has, and what goes with that.
#[derive(Debug, Clone)]
enum Family {
    Mcuboot(Box<McubootTarget>),
    Nordic(Box<NordicTarget>),
    NordicLegacy(Box<LegacyTarget>),
    Silabs(Box<SilabsTarget>),
}

#[derive(Debug, Clone)]
struct McubootTarget {
    options: Options,
    signature: SignatureType,
    /// It trusts the key of a product first, and its images are signed with that.
    product: bool,
    keys: Vec<PublicKey>,
    smp: ServerConfig,
    recovery: Option<RecoveryConfig>,
}

/// As much of a target profile as says which family it is of.
#[derive(Deserialize)]
struct Peek {
    bootloader: Option<PeekBootloader>,
}

#[derive(Deserialize)]
struct PeekBootloader {
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    schema: Spanned<u32>,
    name: String,
    about: String,
    layout: Spanned<String>,
    bootloader: Bootloader,
    #[serde(default)]
    smp: smp::Smp,
    #[serde(default)]
    gatt: gatt::Gatt,
    #[serde(default)]
    advertisement: peripheral::AdvertisementTable,
    #[serde(default)]
    device_information: peripheral::InformationTable,
    #[serde(default)]
    service: Vec<Spanned<peripheral::ServiceTable>>,
    recovery: Option<Spanned<recovery::Recovery>>,
    #[serde(default)]
    serial: Serial,
    #[serde(default)]
    timing: common::Timing,
    #[serde(default)]
    battery: Battery,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Serial {
    #[serde(default)]
    usb: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Battery {
    threshold: Option<u8>,
    rc: Option<u16>,
    service: Option<bool>,
}

impl Target {
    /// Reads a target profile; `file` names it in mistakes, `folder` is where relative paths start.
    ///
    /// # Errors
    /// A [`Mistake`] with line, column and remedy.
    pub fn parse(file: &str, folder: Option<&Path>, text: &str) -> Result<Self, Mistake> {
        let peek = toml::from_str::<Peek>(text).ok().and_then(|peek| peek.bootloader).and_then(|table| table.kind);
        match peek.as_deref() {
            Some(kind) if nordic::KINDS.contains(&kind) => return nordic::read(file, folder, text),
            Some(kind) if nordic_legacy::KINDS.contains(&kind) => return nordic_legacy::read(file, folder, text),
            Some(kind) if silabs::KINDS.contains(&kind) => return silabs::read(file, folder, text),
            _ => {}
        }
        let read: File = toml::from_str(text).map_err(|error| Mistake::from_toml(file, text, &error))?;
        let mistake = |offset: usize, message: String| Mistake::new(file, message).at(text, offset);
        common::check_schema(&read.schema, &mistake)?;
        let resolve = |name: &str| folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name));
        let layout = layout(read.layout.get_ref(), &resolve)?;
        let mode = read.bootloader.mode_name().to_owned();
        let product = read.bootloader.is_product();
        let bootloader = read.bootloader.read(&mistake, &resolve)?;
        let profile = smp::Profile { file, text, layout: &layout, mode: &mode };
        let smp = read.smp.config(&profile)?;
        let gatt = read.gatt.config().map_err(|(at, message, remedy)| mistake(at, message).remedy(remedy))?;
        let peripheral = peripheral::read(
            Peripheral::new(&read.name),
            &read.name,
            &read.advertisement,
            &read.device_information,
            &read.service,
            read.battery.service.unwrap_or(true),
            &mistake,
        )?;
        let recovery = recovery::read(read.bootloader.recovery(), read.recovery.as_ref(), &mistake)?;
        if read.battery.threshold.is_some_and(|threshold| threshold > 100) {
            return Err(Mistake::new(file, "the threshold of the battery is between 0 and 100 percent"));
        }
        if read.battery.rc == Some(0) {
            return Err(Mistake::new(file, "rc 0 is a success: it cannot refuse an upload"));
        }
        let target = Self {
            name: read.name,
            about: read.about,
            layout,
            family: Family::Mcuboot(Box::new(McubootTarget {
                options: bootloader.options,
                signature: bootloader.signature,
                product,
                keys: bootloader.keys,
                smp,
                recovery,
            })),
            gatt,
            peripheral,
            usb: read.serial.usb,
            timing: read.timing.flash(FlashTiming::default()),
            start_us: read.timing.start_us(),
            battery: BatteryPolicy {
                threshold: read.battery.threshold.unwrap_or(BatteryPolicy::default().threshold),
                rc: read.battery.rc.unwrap_or(BatteryPolicy::default().rc),
            },
        };
        target.mcuboot()?;
        Ok(target)
    }

    fn of_mcuboot(&self) -> Option<&McubootTarget> {
        match &self.family {
            Family::Mcuboot(own) => Some(own),
            Family::Nordic(_) | Family::NordicLegacy(_) | Family::Silabs(_) => None,
        }
    }

    /// What it is of Nordic's, where it is.
    #[must_use]
    pub fn of_nordic(&self) -> Option<&NordicTarget> {
        match &self.family {
            Family::Nordic(own) => Some(own),
            Family::Mcuboot(_) | Family::NordicLegacy(_) | Family::Silabs(_) => None,
        }
    }

    /// What it is with a Legacy DFU bootloader, where it has one.
    #[must_use]
    pub fn of_nordic_legacy(&self) -> Option<&LegacyTarget> {
        match &self.family {
            Family::NordicLegacy(own) => Some(own),
            Family::Mcuboot(_) | Family::Nordic(_) | Family::Silabs(_) => None,
        }
    }

    /// What it is with a Gecko bootloader, where it has one.
    #[must_use]
    pub fn of_silabs(&self) -> Option<&SilabsTarget> {
        match &self.family {
            Family::Silabs(own) => Some(own),
            Family::Mcuboot(_) | Family::Nordic(_) | Family::NordicLegacy(_) => None,
        }
    }

    /// What it is spoken to with.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match &self.family {
            Family::Mcuboot(_) => Protocol::Smp,
            Family::Nordic(own) => own.protocol(),
            Family::NordicLegacy(_) => Protocol::LegacyDfu,
            Family::Silabs(_) => Protocol::SilabsOta,
        }
    }

    /// Whether its bootloader is one of Nordic's on a serial line.
    #[must_use]
    pub fn is_serial(&self) -> bool {
        match &self.family {
            Family::Mcuboot(_) | Family::Silabs(_) => false,
            Family::Nordic(own) => own.is_serial(),
            Family::NordicLegacy(own) => own.is_serial(),
        }
    }

    /// The bootloader of MCUboot's that it has.
    fn mcuboot_family(&self) -> Result<&McubootTarget, Mistake> {
        self.of_mcuboot().ok_or_else(|| {
            Mistake::new(&self.name, "this is about MCUboot, and the target has another bootloader")
                .remedy("choose a target with `mcuboot` in its name: `brickproof list targets`")
        })
    }

    /// Trusts another key.
    #[must_use]
    pub fn trusting(mut self, key: PublicKey) -> Self {
        match &mut self.family {
            Family::Mcuboot(own) => own.keys.push(key),
            Family::Nordic(own) => own.trust(key),
            // It has no key.
            Family::NordicLegacy(_) => {}
            Family::Silabs(own) => own.trust(key),
        }
        self
    }

    /// Puts a mistake of the past back into the bootloader.
    #[must_use]
    pub fn with_flaw(mut self, flaw: Option<Flaw>) -> Self {
        if let Family::Mcuboot(own) = &mut self.family {
            own.options.flaw = flaw;
        }
        self
    }

    /// The type of signature its bootloader takes.
    #[must_use]
    pub fn signature_type(&self) -> SignatureType {
        self.of_mcuboot().map_or(SignatureType::EcdsaP256, |own| own.signature)
    }

    /// What the target lacks of something that a scenario needs of it, in words.
    #[must_use]
    pub fn lacks(&self, need: &str) -> Option<&'static str> {
        let own = match &self.family {
            Family::Mcuboot(own) => own,
            Family::Nordic(own) => return own.lacks(need),
            Family::NordicLegacy(own) => return own.lacks(need),
            Family::Silabs(own) => return own.lacks(need),
        };
        let direct_xip = matches!(own.options.mode, Mode::DirectXip { .. });
        let prevents =
            own.options.downgrade != Downgrade::Allowed || own.options.hardware_rollback_protection || direct_xip;
        match need {
            SERIAL_RECOVERY if own.recovery.is_none() => Some("has no serial recovery"),
            REVERT if matches!(own.options.mode, Mode::OverwriteOnly { .. } | Mode::DirectXip { revert: false }) => {
                Some("has no way back to the old image")
            }
            MOVES_IMAGES if direct_xip => Some("runs images where they lie: no boot moves them"),
            MARKS if own.options.mode == (Mode::DirectXip { revert: false }) => {
                Some("chooses by version: no image is marked")
            }
            DOWNGRADE if prevents => Some("takes no older images"),
            NO_DOWNGRADE if !prevents => Some("takes older images"),
            _ => None,
        }
    }

    /// Whether images run where they lie.
    #[must_use]
    pub fn is_direct_xip(&self) -> bool {
        self.of_mcuboot().is_some_and(|own| matches!(own.options.mode, Mode::DirectXip { .. }))
    }

    /// Whether a device without a bootable image runs a recovery.
    #[must_use]
    pub fn recovers(&self) -> bool {
        self.of_mcuboot().is_some_and(|own| own.recovery.is_some())
    }

    /// The bootloader.
    ///
    /// # Errors
    /// A [`Mistake`] when the layout does not suit it, or a key is not of its type.
    pub fn mcuboot(&self) -> Result<Mcuboot, Mistake> {
        let own = self.mcuboot_family()?;
        if let Some(key) = own.keys.iter().find(|key| key.signature_type() != own.signature) {
            return Err(Mistake::new(
                &self.name,
                format!("its bootloader takes {} and one key is for {}", own.signature, key.signature_type()),
            )
            .remedy("give it keys of its own type"));
        }
        Mcuboot::new(&self.layout, own.options, Verifier::new(own.keys.clone()))
    }

    /// The bootloader of Nordic's that it has.
    ///
    /// # Errors
    /// A [`Mistake`] when it has another one, or the layout does not suit it.
    pub fn nordic(&self) -> Result<Nordic, Mistake> {
        let own = self.of_nordic().ok_or_else(|| {
            Mistake::new(&self.name, "this is about Nordic's DFU, and the target has another bootloader")
                .remedy("choose a target with `nordic` in its name: `brickproof list targets`")
        })?;
        Ok(own.board(&self.layout)?.bootloader)
    }

    /// What makes images for this target, with the development key of its type or the key of a product.
    ///
    /// # Errors
    /// A [`Mistake`] when there is no such key.
    pub fn maker(&self) -> Result<ImageMaker, Mistake> {
        self.maker_with(self.mcuboot_family()?.product)
    }

    /// The same with the key of a product, or with the development key whatever it trusts.
    ///
    /// # Errors
    /// A [`Mistake`] when there is no such key.
    pub fn maker_with(&self, product: bool) -> Result<ImageMaker, Mistake> {
        let own = self.mcuboot_family()?;
        let pem = if product {
            Some(brickproof_scenarios::PRODUCTION_KEY)
        } else {
            bootloader::development_key(own.signature)
        };
        let pem = pem.ok_or_else(|| {
            Mistake::new(&self.name, format!("brickproof has no key of its own for {}", own.signature))
                .remedy("give each image as a file that is signed with your key")
        })?;
        let key =
            SigningKey::from_pem(pem).map_err(|error| Mistake::new("bundled development key", error.to_string()))?;
        let counted = own.options.hardware_rollback_protection || own.options.downgrade == Downgrade::BySecurityCounter;
        Ok(ImageMaker { key, counted })
    }

    /// Puts a small image of our own into the primary slot of each image but the first:
    /// without it the bootloader would not start the first one either.
    ///
    /// # Errors
    /// A [`Mistake`] when it cannot be made.
    pub fn fill_other_images(&self, flash: &mut Flash, mcuboot: &Mcuboot) -> Result<(), Mistake> {
        for pair in mcuboot.pairs().iter().skip(1) {
            let version = ImageVersion { major: 1, ..ImageVersion::default() };
            let what = || format!("image {} of {}", pair.image(), self.name);
            let image =
                self.maker()?.image_of_size(version, OTHER_IMAGE).map_err(|error| Mistake::new(what(), error))?;
            flash
                .load(pair.area(Slot::Primary), 0, &image)
                .map_err(|error| Mistake::new(what(), format!("it does not fit: {error}")))?;
        }
        Ok(())
    }

    /// Writes the trailer of the image in the primary slot: as an update leaves it that was installed for good or for
    /// a test, or without one as a factory does.
    ///
    /// # Errors
    /// What the flash refuses.
    pub fn mark_installed(
        &self,
        flash: &mut Controller<'_>,
        mcuboot: &Mcuboot,
        installed: Option<SwapType>,
    ) -> Result<(), FlashError> {
        let trailer = mcuboot.trailer(Slot::Primary);
        let confirmed = match (mcuboot.options().mode, installed) {
            // There are no trailers.
            (Mode::DirectXip { revert: false }, _) => return Ok(()),
            // An image without a trailer would be erased: a factory confirms it.
            (Mode::DirectXip { revert: true }, installed) => installed != Some(SwapType::Test),
            (_, None) => return Ok(()),
            (_, Some(swap)) => {
                trailer.write_swap_info(flash, swap)?;
                swap == SwapType::Permanent
            }
        };
        trailer.write_copy_done(flash)?;
        if confirmed {
            trailer.write_image_ok(flash)?;
        }
        trailer.write_magic(flash)
    }

    /// The board, with the timing of a scenario and what the applications in its images do.
    ///
    /// `time_scale` is a factor on flash durations that are not fixed.
    ///
    /// # Errors
    /// A [`Mistake`] when the layout does not suit the bootloader.
    pub fn board(
        &self,
        timing: TimingSpec,
        time_scale: f64,
        behaviours: Vec<([u8; 32], Behaviour)>,
    ) -> Result<Board, Mistake> {
        let scale = if timing.fixed { 1.0 } else { time_scale };
        let own = FlashTiming {
            erase_us: timing.erase_ns.map_or(self.timing.erase_us, |ns| ns / 1000),
            program_unit_ns: timing.program_unit_ns.unwrap_or(self.timing.program_unit_ns),
        };
        let boot = FlashTiming { erase_us: timing.swap_erase_ns.map_or(own.erase_us, |ns| ns / 1000), ..own };
        // A scenario that fixes only the swap leaves everything else to be scaled.
        let only_swap = timing.fixed && timing.erase_ns.is_none() && timing.swap_erase_ns.is_some();
        let mut board = match &self.family {
            Family::Mcuboot(family) => Board {
                smp: family.smp.clone(),
                recovery: family.recovery.clone(),
                ..Board::new(&self.name, self.layout.clone(), self.mcuboot()?)
            },
            Family::Nordic(family) => Board::nordic(&self.name, self.layout.clone(), family.board(&self.layout)?),
            Family::NordicLegacy(family) => {
                Board::nordic_legacy(&self.name, self.layout.clone(), family.board(&self.layout)?)
            }
            Family::Silabs(family) => Board::silabs(&self.name, self.layout.clone(), family.board(&self.layout)?),
        };
        board.gatt = self.gatt.clone();
        // Where flash takes no time, neither does the air.
        let pace = board.gatt.pace.map(|pace| pace.scaled(scale));
        board.gatt.pace = pace.filter(|pace| pace.packet_us > 0);
        board.peripheral = self.peripheral.clone();
        board.usb = self.usb;
        board.timing = own.scaled(if only_swap { time_scale } else { scale });
        board.boot_timing = boot.scaled(scale);
        board.start_us = self.start_us;
        board.battery = self.battery;
        board.behaviours = behaviours;
        Ok(board)
    }
}

fn layout(name: &str, resolve: &dyn Fn(&str) -> PathBuf) -> Result<Layout, Mistake> {
    if !name.ends_with(".toml") {
        return Layout::preset(name);
    }
    let path = resolve(name);
    let file = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|error| Mistake::new(&file, error.to_string()))?;
    Layout::parse(&file, &text)
}
