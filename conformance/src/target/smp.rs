//! The `[smp]` section of a target profile: how the server in the application was built.
//!
//! Every key may be left out; what it is then stands behind it.
//!
//! ```toml
//! [smp]
//! zephyr = "4.2"               # release whose answers are given
//! buffer-size = 2475           # MCUMGR_TRANSPORT_NETBUF_SIZE
//! buffer-count = 4             # MCUMGR_TRANSPORT_NETBUF_COUNT
//! reset-delay = "250 ms"       # MCUMGR_GRP_OS_RESET_MS
//! original-protocol = true     # MCUMGR_SMP_SUPPORT_ORIGINAL_PROTOCOL
//! legacy-rc = false            # MCUMGR_SMP_LEGACY_RC_BEHAVIOUR
//! verbose-errors = false       # MCUMGR_SMP_VERBOSE_ERR_RESPONSE, MCUMGR_GRP_IMG_VERBOSE_ERR
//! map-encoding = "indefinite"  # or "definite": ZCBOR_CANONICAL
//!
//! params = true                # MCUMGR_GRP_OS_MCUMGR_PARAMS
//! bootloader-info = false      # MCUMGR_GRP_OS_BOOTLOADER_INFO
//! active-b0-slot = 0           # absent: the query is not known
//! datetime = false             # MCUMGR_GRP_OS_DATETIME
//! datetime-ms = false          # MCUMGR_GRP_OS_DATETIME_MS
//! refuse-reset = 10            # absent: no reset hook; else the rc of a reset without `force`
//! reset-boot-mode = false      # MCUMGR_GRP_OS_RESET_BOOT_MODE
//!
//! mode = "swap-move"           # MCUBOOT_BOOTLOADER_MODE_*, absent: that of the bootloader
//! no-downgrade = false         # MCUBOOT_BOOTLOADER_NO_DOWNGRADE
//! images = 1                   # MCUMGR_GRP_IMG_UPDATABLE_IMAGE_NUMBER, absent: as many as the layout has
//! image-check = false          # IMG_ENABLE_IMAGE_CHECK
//! write-block = 512            # IMG_BLOCK_BUF_SIZE
//! progressive-erase = false    # IMG_ERASE_PROGRESSIVELY
//! frugal-list = false          # MCUMGR_GRP_IMG_FRUGAL_LIST
//! allow-erase-pending = false  # MCUMGR_GRP_IMG_ALLOW_ERASE_PENDING
//! version-compare-build = false                     # MCUMGR_GRP_IMG_VERSION_CMP_USE_BUILD_NUMBER
//! allow-confirm-non-active-image-secondary = true   # MCUMGR_GRP_IMG_ALLOW_CONFIRM_NON_ACTIVE_IMAGE_SECONDARY
//! allow-confirm-non-active-image-any = false        # MCUMGR_GRP_IMG_ALLOW_CONFIRM_NON_ACTIVE_IMAGE_ANY
//! allow-confirm-non-active-slot = true              # MCUMGR_GRP_IMG_ALLOW_CONFIRM_NON_ACTIVE_SLOT
//! too-large = { footer = 2048 }                     # MCUMGR_GRP_IMG_TOO_LARGE_SYSBUILD; absent: the slot decides
//! # too-large = { max = 389120 }                    # MCUMGR_GRP_IMG_TOO_LARGE_BOOTLOADER_INFO
//! slot-info = false            # MCUMGR_GRP_IMG_SLOT_INFO, from Zephyr 3.6; absent: with several images
//! direct-upload = false        # MCUMGR_GRP_IMG_DIRECT_UPLOAD
//! reject-mismatched-slot = false                    # MCUMGR_GRP_IMG_REJECT_DIRECT_XIP_MISMATCHED_SLOT
//!
//! enumeration = false          # group 10; enumeration-details = true adds its details command
//! storage-erase = false        # group 63; needs a partition `storage`
//!
//! [smp.info]                   # OS info command; absent: none
//! node = "Zephyr"
//! release = "v4.2.0"
//! version = "4.2.0"
//! build-date = "..."           # absent: the letter b is not known
//! machine = "arm"
//! processor = "cortex-m4"
//! platform = "nrf52840dk/nrf52840"
//! os = "Zephyr"
//!
//! [smp.task-statistics]        # OS task statistics command; absent: none
//! only-supported = true        # MCUMGR_GRP_OS_TASKSTAT_ONLY_SUPPORTED_STATS
//! tasks = [{ name = "main", priority = 0, state = 2, stack = [1024, 300], runtime = 12345 }]
//!
//! [smp.settings]               # group 3; absent: none
//! name-len = 32
//! value-len = 36
//! values = { "app/name" = "brick", "app/key" = { bytes-hex = "00ff" } }
//!
//! [smp.files]                  # group 8; absent: none
//! mount = "/lfs1"
//! read-only = false
//! path-len = 64
//! content = { "/lfs1/notes.txt" = "text", "/lfs1/blob" = { bytes-hex = "00ff" } }
//!
//! [[smp.statistics]]           # group 2
//! name = "smp_bt"
//! fields = { received = 12, sent = 7 }
//!
//! [[smp.shell]]                # group 9
//! line = "kernel version"
//! output = "Zephyr version 4.2.0\n"
//! ret = 0
//!
//! [[smp.vendor]]               # any group; goes before what is built in
//! group = 64
//! command = 1
//! op = "read"                  # or "write"
//! answer = { serial = 1234, key = { bytes-hex = "00ff" }, list = [1, true, "x"] }
//! # rc = 8                     # or a failure of the protocol
//! # err = 2                    # or a failure of the group
//! ```

use std::collections::BTreeMap;

use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::source::Mistake;
use brickproof_simulator::smp::cbor::MapEncoding;
use brickproof_simulator::smp::config::{
    CannedAnswer, CannedValue, Counters, Enumeration, Files, InfoTexts, Settings, ShellCommand, Task, TaskStatistics,
    TooLarge, VendorCommand,
};
use brickproof_simulator::smp::{BootloaderMode, Op, ServerConfig, ZephyrRelease};
use serde::Deserialize;
use toml::Spanned;

use crate::units::Duration;

/// Most images a server is built for.
const IMAGES_MAX: u8 = 16;
/// Most bytes of all settings and files together.
const CONTENT_MAX: usize = 1 << 20;

/// The section as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Smp {
    zephyr: Option<Spanned<String>>,
    buffer_size: Option<Spanned<u16>>,
    buffer_count: Option<Spanned<u8>>,
    reset_delay: Option<Duration>,
    original_protocol: Option<bool>,
    legacy_rc: bool,
    verbose_errors: bool,
    map_encoding: Option<Encoding>,
    params: Option<bool>,
    bootloader_info: bool,
    active_b0_slot: Option<u32>,
    datetime: bool,
    datetime_ms: bool,
    refuse_reset: Option<Spanned<u16>>,
    reset_boot_mode: bool,
    mode: Option<Spanned<String>>,
    no_downgrade: bool,
    images: Option<Spanned<u8>>,
    image_check: bool,
    write_block: Option<Spanned<u32>>,
    progressive_erase: bool,
    frugal_list: bool,
    allow_erase_pending: bool,
    version_compare_build: bool,
    allow_confirm_non_active_image_secondary: Option<bool>,
    allow_confirm_non_active_image_any: bool,
    allow_confirm_non_active_slot: Option<bool>,
    too_large: Option<Largest>,
    slot_info: Option<bool>,
    direct_upload: bool,
    reject_mismatched_slot: bool,
    enumeration: bool,
    enumeration_details: bool,
    storage_erase: Option<Spanned<bool>>,
    info: Option<Info>,
    task_statistics: Option<Statistics>,
    settings: Option<SettingsEntry>,
    files: Option<FilesEntry>,
    statistics: Option<Vec<CountersEntry>>,
    shell: Option<Vec<ShellEntry>>,
    vendor: Vec<VendorEntry>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Encoding {
    Indefinite,
    Definite,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Largest {
    Footer(u32),
    Max(u32),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Info {
    node: String,
    release: String,
    version: String,
    build_date: Option<String>,
    machine: String,
    processor: String,
    platform: String,
    os: String,
}

impl Default for Info {
    fn default() -> Self {
        let InfoTexts { node, release, version, build_date, machine, processor, platform, os } = InfoTexts::default();
        Self { node, release, version, build_date, machine, processor, platform, os }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Statistics {
    #[serde(default)]
    only_supported: bool,
    tasks: Vec<TaskEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskEntry {
    name: String,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    state: u32,
    stack: Option<(u64, u64)>,
    runtime: Option<u64>,
}

/// Content of a setting or a file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Bytes(HexBytes),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct HexBytes {
    bytes_hex: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SettingsEntry {
    name_len: Option<usize>,
    value_len: Option<u32>,
    #[serde(default)]
    values: BTreeMap<String, Spanned<Content>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FilesEntry {
    mount: Option<Spanned<String>>,
    #[serde(default)]
    read_only: bool,
    path_len: Option<usize>,
    #[serde(default)]
    content: BTreeMap<String, Spanned<Content>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CountersEntry {
    name: String,
    #[serde(default)]
    fields: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShellEntry {
    line: String,
    #[serde(default)]
    output: String,
    #[serde(default)]
    ret: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VendorEntry {
    group: Spanned<u16>,
    command: u8,
    op: Operation,
    answer: Option<Spanned<toml::Table>>,
    rc: Option<u16>,
    err: Option<u16>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Operation {
    Read,
    Write,
}

/// The profile around the section, for what it must fit and for mistakes.
pub(super) struct Profile<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    pub(super) layout: &'a Layout,
    /// Mode of the bootloader, by its name.
    pub(super) mode: &'a str,
}

impl Profile<'_> {
    fn mistake(&self, offset: usize, message: impl Into<String>) -> Mistake {
        Mistake::new(self.file, message).at(self.text, offset)
    }

    fn images(&self) -> u8 {
        let more = (1..IMAGES_MAX).take_while(|image| self.layout.area(&format!("primary-{image}")).is_some());
        1 + more.count() as u8
    }

    /// The bytes of a content; `left` is how many there may still be.
    fn bytes(&self, content: &Spanned<Content>, left: &mut usize) -> Result<Vec<u8>, Mistake> {
        let bytes = match content.get_ref() {
            Content::Text(text) => text.clone().into_bytes(),
            Content::Bytes(HexBytes { bytes_hex }) => hex::decode(bytes_hex).map_err(|_| {
                self.mistake(content.span().start, format!("`{bytes_hex}` is not hexadecimal"))
                    .remedy("pairs of digits, like { bytes-hex = \"00ff\" }")
            })?,
        };
        *left = left.checked_sub(bytes.len()).ok_or_else(|| {
            self.mistake(content.span().start, format!("settings and files of more than {CONTENT_MAX} bytes"))
        })?;
        Ok(bytes)
    }

    fn contents(
        &self,
        contents: BTreeMap<String, Spanned<Content>>,
        left: &mut usize,
    ) -> Result<BTreeMap<String, Vec<u8>>, Mistake> {
        contents.into_iter().map(|(key, content)| Ok((key, self.bytes(&content, left)?))).collect()
    }
}

impl Smp {
    /// The options of the server.
    pub(super) fn config(self, profile: &Profile<'_>) -> Result<ServerConfig, Mistake> {
        let default = ServerConfig::default();
        let image_count = self.image_count(profile)?;
        let bootloader = self.bootloader(profile)?;
        let mut left = CONTENT_MAX;
        let config = ServerConfig {
            zephyr: self.zephyr(profile)?,
            buffer_size: self.buffer_size(profile)?,
            buffer_count: self.buffer_count(profile)?,
            reset_delay_us: self.reset_delay.map_or(default.reset_delay_us, |delay| delay.us),
            original_protocol: self.original_protocol.unwrap_or(default.original_protocol),
            legacy_rc: self.legacy_rc,
            verbose_errors: self.verbose_errors,
            map_encoding: match self.map_encoding {
                Some(Encoding::Definite) => MapEncoding::Definite,
                Some(Encoding::Indefinite) | None => MapEncoding::Indefinite,
            },
            params: self.params.unwrap_or(default.params),
            task_statistics: self.task_statistics.map(Statistics::config),
            info: self.info.map(Info::config),
            bootloader_info: self.bootloader_info,
            active_b0_slot: self.active_b0_slot,
            datetime: self.datetime || self.datetime_ms,
            datetime_ms: self.datetime_ms,
            reset_hook: refusal(self.refuse_reset, profile)?,
            reset_boot_mode: self.reset_boot_mode,
            bootloader,
            no_downgrade: self.no_downgrade,
            image_count,
            image_check: self.image_check,
            write_block: write_block(self.write_block, profile)?.unwrap_or(default.write_block),
            progressive_erase: self.progressive_erase,
            frugal_list: self.frugal_list,
            allow_erase_pending: self.allow_erase_pending,
            version_compare_build: self.version_compare_build,
            allow_confirm_non_active_image_secondary: self
                .allow_confirm_non_active_image_secondary
                .unwrap_or(default.allow_confirm_non_active_image_secondary),
            allow_confirm_non_active_image_any: self.allow_confirm_non_active_image_any,
            allow_confirm_non_active_slot: self
                .allow_confirm_non_active_slot
                .unwrap_or(default.allow_confirm_non_active_slot),
            too_large: match self.too_large {
                None => TooLarge::Slot,
                Some(Largest::Footer(footer)) => TooLarge::Sysbuild { footer },
                Some(Largest::Max(max)) => TooLarge::BootloaderInfo { max },
            },
            slot_info: self.slot_info.unwrap_or(image_count > 1),
            direct_upload: self.direct_upload,
            reject_mismatched_slot: self.reject_mismatched_slot,
            other_slots: Vec::new(),
            enumeration: (self.enumeration || self.enumeration_details)
                .then_some(Enumeration { details: self.enumeration_details }),
            settings: self.settings.map(|settings| settings.config(profile, &mut left)).transpose()?,
            statistics: self.statistics.map(|groups| groups.into_iter().map(CountersEntry::config).collect()),
            files: self.files.map(|files| files.config(profile, &mut left)).transpose()?,
            shell: self.shell.map(|commands| commands.into_iter().map(ShellEntry::config).collect()),
            storage_erase: storage_erase(self.storage_erase, profile)?,
            vendor: self.vendor.into_iter().map(|entry| entry.config(profile)).collect::<Result<_, _>>()?,
        };
        Ok(config)
    }

    fn zephyr(&self, profile: &Profile<'_>) -> Result<ZephyrRelease, Mistake> {
        let Some(release) = &self.zephyr else { return Ok(ZephyrRelease::default()) };
        let parse = |text: &str| {
            let (major, minor) = text.split_once('.')?;
            Some(ZephyrRelease { major: major.parse().ok()?, minor: minor.parse().ok()? })
        };
        parse(release.get_ref()).ok_or_else(|| {
            profile
                .mistake(release.span().start, format!("`{}` is no Zephyr release", release.get_ref()))
                .remedy("like \"4.2\"")
        })
    }

    fn buffer_size(&self, profile: &Profile<'_>) -> Result<u16, Mistake> {
        let Some(size) = &self.buffer_size else { return Ok(ServerConfig::default().buffer_size) };
        if *size.get_ref() < 64 {
            return Err(profile.mistake(size.span().start, "a buffer has at least 64 bytes"));
        }
        Ok(*size.get_ref())
    }

    fn buffer_count(&self, profile: &Profile<'_>) -> Result<u8, Mistake> {
        let Some(count) = &self.buffer_count else { return Ok(ServerConfig::default().buffer_count) };
        if *count.get_ref() < 2 {
            return Err(
                profile.mistake(count.span().start, "at least 2 buffers: one for the request, one for its answer")
            );
        }
        Ok(*count.get_ref())
    }

    fn image_count(&self, profile: &Profile<'_>) -> Result<u8, Mistake> {
        let Some(images) = &self.images else { return Ok(profile.images()) };
        let count = *images.get_ref();
        if !(1..=profile.images()).contains(&count) {
            return Err(profile
                .mistake(images.span().start, format!("the layout has slots for {} images", profile.images()))
                .remedy("from 1 to as many; image 1 has the partitions `primary-1` and `secondary-1`"));
        }
        Ok(count)
    }

    /// What the application believes: what is said, or else the truth.
    fn bootloader(&self, profile: &Profile<'_>) -> Result<BootloaderMode, Mistake> {
        let Some(mode) = &self.mode else {
            let plain = profile.mode.strip_suffix("-fast").unwrap_or(profile.mode);
            return Ok(BootloaderMode::from_name(plain).unwrap_or_default());
        };
        BootloaderMode::from_name(mode.get_ref()).ok_or_else(|| {
            profile
                .mistake(mode.span().start, format!("`{}` is no mode of a bootloader", mode.get_ref()))
                .remedy(format!("one of {}", BootloaderMode::names().join(", ")))
        })
    }
}

fn refusal(rc: Option<Spanned<u16>>, profile: &Profile<'_>) -> Result<Option<u16>, Mistake> {
    match rc {
        Some(rc) if *rc.get_ref() == 0 => {
            Err(profile.mistake(rc.span().start, "rc 0 is a success: it cannot refuse a reset"))
        }
        rc => Ok(rc.map(Spanned::into_inner)),
    }
}

fn write_block(size: Option<Spanned<u32>>, profile: &Profile<'_>) -> Result<Option<u32>, Mistake> {
    match size {
        Some(size) if !(32..=65_536).contains(size.get_ref()) || !size.get_ref().is_multiple_of(32) => {
            Err(profile
                .mistake(size.span().start, "bytes are gathered in blocks of 32 to 65536 bytes, a multiple of 32"))
        }
        size => Ok(size.map(Spanned::into_inner)),
    }
}

fn storage_erase(wanted: Option<Spanned<bool>>, profile: &Profile<'_>) -> Result<bool, Mistake> {
    match wanted {
        Some(wanted) if *wanted.get_ref() && profile.layout.area("storage").is_none() => Err(profile
            .mistake(wanted.span().start, "the layout has no partition `storage` to erase")
            .remedy("a layout with one, or storage-erase = false")),
        wanted => Ok(wanted.is_some_and(Spanned::into_inner)),
    }
}

impl Info {
    fn config(self) -> InfoTexts {
        let Self { node, release, version, build_date, machine, processor, platform, os } = self;
        InfoTexts { node, release, version, build_date, machine, processor, platform, os }
    }
}

impl Statistics {
    fn config(self) -> TaskStatistics {
        let tasks = self.tasks.into_iter().map(|TaskEntry { name, priority, state, stack, runtime }| Task {
            name,
            priority,
            state,
            stack,
            runtime,
        });
        TaskStatistics { tasks: tasks.collect(), only_supported: self.only_supported }
    }
}

impl SettingsEntry {
    fn config(self, profile: &Profile<'_>, left: &mut usize) -> Result<Settings, Mistake> {
        let default = Settings::default();
        Ok(Settings {
            values: profile.contents(self.values, left)?,
            name_len: self.name_len.unwrap_or(default.name_len),
            value_len: self.value_len.unwrap_or(default.value_len),
        })
    }
}

impl FilesEntry {
    fn config(self, profile: &Profile<'_>, left: &mut usize) -> Result<Files, Mistake> {
        let default = Files::default();
        let mount = match self.mount {
            Some(mount) if !mount.get_ref().starts_with('/') || mount.get_ref().ends_with('/') => {
                return Err(profile
                    .mistake(mount.span().start, format!("`{}` is no mount point", mount.get_ref()))
                    .remedy("like \"/lfs1\""));
            }
            mount => mount.map_or(default.mount, Spanned::into_inner),
        };
        for (path, content) in &self.content {
            if !path.strip_prefix(&mount).is_some_and(|rest| rest.starts_with('/') && !rest.ends_with('/')) {
                return Err(profile
                    .mistake(content.span().start, format!("the file `{path}` is not in `{mount}`"))
                    .remedy(format!("like \"{mount}/{path}\"")));
            }
        }
        Ok(Files {
            files: profile.contents(self.content, left)?,
            mount,
            read_only: self.read_only,
            path_len: self.path_len.unwrap_or(default.path_len),
        })
    }
}

impl CountersEntry {
    fn config(self) -> Counters {
        Counters { name: self.name, fields: self.fields.into_iter().collect() }
    }
}

impl ShellEntry {
    fn config(self) -> ShellCommand {
        ShellCommand { line: self.line, output: self.output, ret: self.ret }
    }
}

impl VendorEntry {
    fn config(self, profile: &Profile<'_>) -> Result<VendorCommand, Mistake> {
        let answer = match (self.answer, self.rc, self.err) {
            (Some(answer), None, None) => {
                let span = answer.span();
                let pairs = pairs(answer.into_inner()).map_err(|message| profile.mistake(span.start, message))?;
                CannedAnswer::Map(pairs)
            }
            (None, Some(rc), None) => CannedAnswer::Rc(rc),
            (None, None, Some(err)) => CannedAnswer::Error(err),
            _ => {
                return Err(profile
                    .mistake(self.group.span().start, "a vendor command has one answer")
                    .remedy("answer = { ... }, or rc = N, or err = N"));
            }
        };
        let op = match self.op {
            Operation::Read => Op::Read,
            Operation::Write => Op::Write,
        };
        Ok(VendorCommand { group: self.group.into_inner(), command: self.command, op, answer })
    }
}

fn pairs(table: toml::Table) -> Result<Vec<(String, CannedValue)>, String> {
    table.into_iter().map(|(key, value)| Ok((key, canned(value)?))).collect()
}

/// A value of TOML as one of CBOR; a table with the only key `bytes-hex` is a byte string.
fn canned(value: toml::Value) -> Result<CannedValue, String> {
    Ok(match value {
        toml::Value::String(text) => CannedValue::Text(text),
        toml::Value::Integer(number) => CannedValue::Number(number),
        toml::Value::Boolean(value) => CannedValue::Boolean(value),
        toml::Value::Array(values) => CannedValue::List(values.into_iter().map(canned).collect::<Result<_, String>>()?),
        toml::Value::Table(table) => match (table.len(), table.get("bytes-hex")) {
            (1, Some(toml::Value::String(text))) => {
                CannedValue::Bytes(hex::decode(text).map_err(|_| format!("`{text}` is not hexadecimal"))?)
            }
            _ => CannedValue::Map(pairs(table)?),
        },
        toml::Value::Float(_) | toml::Value::Datetime(_) => {
            return Err("an answer holds numbers, booleans, texts, bytes, lists and maps".into());
        }
    })
}

#[cfg(test)]
#[path = "smp_tests.rs"]
mod tests;
