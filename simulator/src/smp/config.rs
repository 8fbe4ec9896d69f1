//! How the server was built: what Kconfig decides in Zephyr.

use std::collections::BTreeMap;

use brickproof_flash_model::flash::Area;

use super::cbor::MapEncoding;
use super::frame::Op;

/// The release of Zephyr whose answers are given, where releases differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZephyrRelease {
    /// Major number.
    pub major: u8,
    /// Minor number.
    pub minor: u8,
}

impl ZephyrRelease {
    const fn since(self, major: u8, minor: u8) -> bool {
        self.major > major || (self.major == major && self.minor >= minor)
    }

    /// Erasing an erased slot succeeds; before, it was answered with error 1.
    pub(super) const fn erases_erased_slots(self) -> bool {
        self.since(3, 5)
    }

    /// There is a slot info command.
    pub(super) const fn has_slot_info(self) -> bool {
        self.since(3, 6)
    }

    /// The bootloader info command knows the modes beyond direct-xip and says `no-downgrade`; before, a
    /// misspelt option name left it out.
    pub(super) const fn names_all_modes(self) -> bool {
        self.since(3, 7)
    }

    /// Of two images of the same version, the one in the lower slot boots.
    pub(super) const fn prefers_the_lower_slot(self) -> bool {
        self.since(4, 2)
    }
}

impl Default for ZephyrRelease {
    fn default() -> Self {
        Self { major: 4, minor: 2 }
    }
}

/// The bootloader as the application was told it would be (`CONFIG_MCUBOOT_BOOTLOADER_MODE_*`).
///
/// Nothing makes it agree with the bootloader that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BootloaderMode {
    /// One slot, no update.
    SingleSlot,
    /// Swap through a scratch area.
    SwapScratch,
    /// The new image is copied over the old one.
    OverwriteOnly,
    /// Swap with one spare sector.
    #[default]
    SwapMove,
    /// The newer of two images runs where it lies.
    DirectXip,
    /// The same, and an image that is not confirmed is given up.
    DirectXipWithRevert,
    /// The newer of two images is copied to RAM.
    RamLoad,
    /// A loader in the second slot updates the first.
    FirmwareLoader,
    /// One slot, copied to RAM.
    SingleSlotRamLoad,
    /// Swap with the update one sector further into its slot.
    SwapOffset,
}

impl BootloaderMode {
    /// The number in the answer to a query (mcuboot: `boot_status.h`), and the name in profiles.
    const TABLE: [(Self, i64, &'static str); 10] = [
        (Self::SingleSlot, 0, "single-slot"),
        (Self::SwapScratch, 1, "swap-scratch"),
        (Self::OverwriteOnly, 2, "overwrite-only"),
        (Self::SwapMove, 3, "swap-move"),
        (Self::DirectXip, 4, "direct-xip"),
        (Self::DirectXipWithRevert, 5, "direct-xip-with-revert"),
        (Self::RamLoad, 6, "ram-load"),
        (Self::FirmwareLoader, 7, "firmware-loader"),
        (Self::SingleSlotRamLoad, 8, "single-slot-ram-load"),
        (Self::SwapOffset, 9, "swap-offset"),
    ];

    /// Its number; -1 where the release does not know it.
    pub(super) fn number(self, zephyr: ZephyrRelease) -> i64 {
        let number = Self::TABLE.iter().find(|(mode, ..)| *mode == self).map_or(-1, |(_, number, _)| *number);
        if number > 5 && !zephyr.names_all_modes() { -1 } else { number }
    }

    /// The mode with this name in a target profile.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|(.., known)| *known == name).map(|(mode, ..)| *mode)
    }

    /// The names of all of them.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        Self::TABLE.iter().map(|(.., name)| *name).collect()
    }

    /// Which image boots is decided by version alone.
    pub(super) fn by_version(self) -> bool {
        matches!(self, Self::DirectXip | Self::RamLoad)
    }

    /// There is nothing to choose from: what runs will run again.
    pub(super) fn fixed(self) -> bool {
        matches!(self, Self::SingleSlot | Self::SingleSlotRamLoad | Self::FirmwareLoader)
    }

    /// Whether images can be tested and confirmed.
    pub(super) fn takes_requests(self) -> bool {
        !self.by_version() && !self.fixed()
    }
}

/// How the largest image is found (`CONFIG_MCUMGR_GRP_IMG_TOO_LARGE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TooLarge {
    /// Everything that fits the slot is taken, also over its trailer.
    #[default]
    Slot,
    /// The slot without this many bytes, which sysbuild took from the bootloader.
    Sysbuild {
        /// `CONFIG_MCUBOOT_UPDATE_FOOTER_SIZE`.
        footer: u32,
    },
    /// What the bootloader said when it started the application.
    BootloaderInfo {
        /// Largest image in bytes.
        max: u32,
    },
}

/// One thread in the task statistics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Task {
    /// Its name, cut after [`Task::NAME_MAX`] bytes.
    pub name: String,
    /// Its priority.
    pub priority: i32,
    /// Its state (`_THREAD_*`).
    pub state: u32,
    /// Size and used part of its stack, in words of 4 bytes.
    pub stack: Option<(u64, u64)>,
    /// Cycles it has run.
    pub runtime: Option<u64>,
}

impl Task {
    /// `CONFIG_MCUMGR_GRP_OS_TASKSTAT_THREAD_NAME_LEN`.
    pub const NAME_MAX: usize = 32;
}

/// The task statistics command (`CONFIG_MCUMGR_GRP_OS_TASKSTAT`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskStatistics {
    /// The threads.
    pub tasks: Vec<Task>,
    /// Leaves out what Zephyr does not know, instead of sending zeros
    /// (`CONFIG_MCUMGR_GRP_OS_TASKSTAT_ONLY_SUPPORTED_STATS`).
    pub only_supported: bool,
}

/// Texts of the info command (`CONFIG_MCUMGR_GRP_OS_INFO`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfoTexts {
    /// Host name or Bluetooth name.
    pub node: String,
    /// Version of the sources.
    pub release: String,
    /// Version of the kernel.
    pub version: String,
    /// When it was built (`CONFIG_MCUMGR_GRP_OS_INFO_BUILD_DATE_TIME`).
    pub build_date: Option<String>,
    /// Architecture.
    pub machine: String,
    /// Processor.
    pub processor: String,
    /// Board.
    pub platform: String,
    /// Operating system.
    pub os: String,
}

impl Default for InfoTexts {
    fn default() -> Self {
        Self {
            node: "Zephyr".into(),
            release: "v4.2.0".into(),
            version: "4.2.0".into(),
            build_date: None,
            machine: "arm".into(),
            processor: "cortex-m4".into(),
            platform: "nrf52840dk/nrf52840".into(),
            os: "Zephyr".into(),
        }
    }
}

/// The enumeration group (`CONFIG_MCUMGR_GRP_ENUM`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Enumeration {
    /// There is a details command, with names and numbers of handlers.
    pub details: bool,
}

/// The settings group (`CONFIG_MCUMGR_GRP_SETTINGS`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The keys there are and their values on a new device. No others can be made.
    pub values: BTreeMap<String, Vec<u8>>,
    /// Longest name in bytes, with a byte for its end (`CONFIG_MCUMGR_GRP_SETTINGS_NAME_LEN`).
    pub name_len: usize,
    /// Longest value in bytes (`CONFIG_MCUMGR_GRP_SETTINGS_VALUE_LEN`).
    pub value_len: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { values: BTreeMap::new(), name_len: 32, value_len: 36 }
    }
}

/// A named group of counters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Name of the group.
    pub name: String,
    /// Name and value of each counter.
    pub fields: Vec<(String, u32)>,
}

/// The file group (`CONFIG_MCUMGR_GRP_FS`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Where the one file system is mounted.
    pub mount: String,
    /// The files on a new device, by full path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Nothing can be written.
    pub read_only: bool,
    /// Longest path in bytes (`CONFIG_MCUMGR_GRP_FS_PATH_LEN`).
    pub path_len: usize,
}

impl Default for Files {
    fn default() -> Self {
        Self { mount: "/lfs1".into(), files: BTreeMap::new(), read_only: false, path_len: 64 }
    }
}

/// What a shell command prints and returns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShellCommand {
    /// The whole command line.
    pub line: String,
    /// What it prints.
    pub output: String,
    /// What it returns.
    pub ret: i32,
}

/// A value in the canned answer of a vendor command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CannedValue {
    /// A number.
    Number(i64),
    /// A boolean.
    Boolean(bool),
    /// A text.
    Text(String),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<CannedValue>),
    /// A map.
    Map(Vec<(String, CannedValue)>),
}

/// What a vendor command answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CannedAnswer {
    /// This map.
    Map(Vec<(String, CannedValue)>),
    /// A failure of the protocol.
    Rc(u16),
    /// A failure of the group.
    Error(u16),
}

/// A command of a vendor, or any other that is not built in; it goes before what is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorCommand {
    /// Group.
    pub group: u16,
    /// Command.
    pub command: u8,
    /// [`Op::Read`] or [`Op::Write`].
    pub op: Op,
    /// What it answers, whatever the request holds.
    pub answer: CannedAnswer,
}

/// How the server was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Size of a packet buffer in bytes (`CONFIG_MCUMGR_TRANSPORT_NETBUF_SIZE`).
    pub buffer_size: u16,
    /// Number of packet buffers (`CONFIG_MCUMGR_TRANSPORT_NETBUF_COUNT`).
    pub buffer_count: u8,
    /// Which release answers.
    pub zephyr: ZephyrRelease,
    /// From the answer to a reset request to the reset, in microseconds
    /// (`CONFIG_MCUMGR_GRP_OS_RESET_MS`).
    pub reset_delay_us: u64,
    /// Version 0 headers are served (`CONFIG_MCUMGR_SMP_SUPPORT_ORIGINAL_PROTOCOL`).
    pub original_protocol: bool,
    /// Successful answers hold `rc: 0` (`CONFIG_MCUMGR_SMP_LEGACY_RC_BEHAVIOUR`).
    pub legacy_rc: bool,
    /// Plain `rc` answers give a reason in words (`CONFIG_MCUMGR_SMP_VERBOSE_ERR_RESPONSE` and
    /// `CONFIG_MCUMGR_GRP_IMG_VERBOSE_ERR`).
    pub verbose_errors: bool,
    /// How maps and lists are written.
    pub map_encoding: MapEncoding,

    /// Parameters command (`CONFIG_MCUMGR_GRP_OS_MCUMGR_PARAMS`).
    pub params: bool,
    /// Task statistics command.
    pub task_statistics: Option<TaskStatistics>,
    /// Info command.
    pub info: Option<InfoTexts>,
    /// Bootloader info command (`CONFIG_MCUMGR_GRP_OS_BOOTLOADER_INFO`).
    pub bootloader_info: bool,
    /// What nRF Connect SDK answers to the query `active_b0_slot`.
    pub active_b0_slot: Option<u32>,
    /// Date and time command (`CONFIG_MCUMGR_GRP_OS_DATETIME`).
    pub datetime: bool,
    /// With milliseconds (`CONFIG_MCUMGR_GRP_OS_DATETIME_MS`).
    pub datetime_ms: bool,
    /// The application refuses a reset with this `rc` unless `force` is set
    /// (`CONFIG_MCUMGR_GRP_OS_RESET_HOOK`).
    pub reset_hook: Option<u16>,
    /// A reset may name the boot mode (`CONFIG_MCUMGR_GRP_OS_RESET_BOOT_MODE`).
    pub reset_boot_mode: bool,

    /// The bootloader as the application believes it to be.
    pub bootloader: BootloaderMode,
    /// It was told of downgrade prevention (`CONFIG_MCUBOOT_BOOTLOADER_NO_DOWNGRADE`).
    pub no_downgrade: bool,
    /// Number of images it updates, each with two slots
    /// (`CONFIG_MCUMGR_GRP_IMG_UPDATABLE_IMAGE_NUMBER`).
    pub image_count: u8,
    /// The last answer of an upload says whether the hash agrees (`CONFIG_IMG_ENABLE_IMAGE_CHECK`).
    pub image_check: bool,
    /// Bytes gathered before they are written to flash (`CONFIG_IMG_BLOCK_BUF_SIZE`).
    pub write_block: u32,
    /// Sectors are erased when the upload reaches them (`CONFIG_IMG_ERASE_PROGRESSIVELY`).
    pub progressive_erase: bool,
    /// Lists leave out flags that are not set (`CONFIG_MCUMGR_GRP_IMG_FRUGAL_LIST`).
    pub frugal_list: bool,
    /// A pending image may be erased and uploaded over (`CONFIG_MCUMGR_GRP_IMG_ALLOW_ERASE_PENDING`).
    pub allow_erase_pending: bool,
    /// The build number counts when versions are compared
    /// (`CONFIG_MCUMGR_GRP_IMG_VERSION_CMP_USE_BUILD_NUMBER`).
    pub version_compare_build: bool,
    /// Updates of other images than the running one may be confirmed
    /// (`CONFIG_MCUMGR_GRP_IMG_ALLOW_CONFIRM_NON_ACTIVE_IMAGE_SECONDARY`).
    pub allow_confirm_non_active_image_secondary: bool,
    /// So may what is in their primary slots (`.._NON_ACTIVE_IMAGE_ANY`).
    pub allow_confirm_non_active_image_any: bool,
    /// An update may be confirmed before it has run (`.._NON_ACTIVE_SLOT`).
    pub allow_confirm_non_active_slot: bool,
    /// What is too large to be uploaded.
    pub too_large: TooLarge,
    /// Slot info command (`CONFIG_MCUMGR_GRP_IMG_SLOT_INFO`), where the release has one.
    pub slot_info: bool,
    /// `image` of an upload names a slot, from 1 (`CONFIG_MCUMGR_GRP_IMG_DIRECT_UPLOAD`).
    pub direct_upload: bool,
    /// An image that was linked for another address is refused
    /// (`CONFIG_MCUMGR_GRP_IMG_REJECT_DIRECT_XIP_MISMATCHED_SLOT`).
    pub reject_mismatched_slot: bool,
    /// Slots beyond those of the images, by absolute number behind them.
    pub other_slots: Vec<Area>,

    /// Enumeration group.
    pub enumeration: Option<Enumeration>,
    /// Settings group.
    pub settings: Option<Settings>,
    /// Statistics group (`CONFIG_MCUMGR_GRP_STAT`).
    pub statistics: Option<Vec<Counters>>,
    /// File group.
    pub files: Option<Files>,
    /// Shell group (`CONFIG_MCUMGR_GRP_SHELL`).
    pub shell: Option<Vec<ShellCommand>>,
    /// Zephyr basic group (`CONFIG_MCUMGR_GRP_ZBASIC`), where the layout has a partition `storage`.
    pub storage_erase: bool,
    /// Commands with canned answers.
    pub vendor: Vec<VendorCommand>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            buffer_size: 2475,
            buffer_count: 4,
            zephyr: ZephyrRelease::default(),
            reset_delay_us: 250_000,
            original_protocol: true,
            legacy_rc: false,
            verbose_errors: false,
            map_encoding: MapEncoding::default(),
            params: true,
            task_statistics: None,
            info: None,
            bootloader_info: false,
            active_b0_slot: None,
            datetime: false,
            datetime_ms: false,
            reset_hook: None,
            reset_boot_mode: false,
            bootloader: BootloaderMode::default(),
            no_downgrade: false,
            image_count: 1,
            image_check: false,
            write_block: 512,
            progressive_erase: false,
            frugal_list: false,
            allow_erase_pending: false,
            version_compare_build: false,
            allow_confirm_non_active_image_secondary: true,
            allow_confirm_non_active_image_any: false,
            allow_confirm_non_active_slot: true,
            too_large: TooLarge::default(),
            slot_info: false,
            direct_upload: false,
            reject_mismatched_slot: false,
            other_slots: Vec::new(),
            enumeration: None,
            settings: None,
            statistics: None,
            files: None,
            shell: None,
            storage_erase: false,
            vendor: Vec::new(),
        }
    }
}
