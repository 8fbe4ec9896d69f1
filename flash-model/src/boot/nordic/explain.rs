//! What is in flash, what the next boots make of it, what is wrong with it and what would help, in words.
//!
//! Nothing here decides anything: the next boots are the bootloader itself on a copy of the flash, and each remedy is tried
//! on a copy before it is named.

use super::options::DFU_START;
use super::settings::{SETTINGS_SIZE, Settings};
use super::{
    BankCode, BootValidation, Entry, MBR_SIZE, Nordic, Outcome, Profile, SettingsSource, SoftdeviceInfo, Unbootable,
    ValidationKind,
};
use super::{Boot, DfuReason};
use crate::boot::explanation::{self, end_of};
pub use crate::boot::explanation::{Explanation, NextBoot, Oddity, PartText, Remedy};
use crate::flash::{Area, Controller, Flash, Uncut};

/// Boots that are tried: an update has two resets, and a third is one too many.
const BOOTS_MAX: usize = 5;

impl Nordic {
    /// Explains a flash.
    #[must_use]
    pub fn explain(&self, flash: &Flash) -> Explanation {
        self.explain_with(flash, Entry::default())
    }

    /// Explains a flash, and what the next boot makes of it and of what it finds beside it.
    #[must_use]
    pub fn explain_with(&self, flash: &Flash, entry: Entry) -> Explanation {
        let boots = self.next_boots(flash, entry);
        let loaded = self.load(flash).unwrap_or((Settings::blank(self.options.profile), SettingsSource::Nothing));
        Explanation {
            profile: self.options.profile.name(),
            parts: self.parts(flash, &loaded.0),
            wrong: self.wrong(flash, &loaded, &boots),
            remedies: self.remedies(flash, &loaded.0, &boots),
            next_boots: boots.iter().map(NextBoot::of).collect(),
        }
    }

    fn next_boots(&self, flash: &Flash, mut entry: Entry) -> Vec<Boot> {
        explanation::next_boots(flash, BOOTS_MAX, |controller| self.boot(controller, &mut entry))
    }

    fn parts(&self, flash: &Flash, settings: &Settings) -> Vec<PartText> {
        let map = &self.map;
        let part = PartText::new;
        let bank_0 = self.bank_0_start(flash).unwrap_or(MBR_SIZE);
        let bank_1 = self.bank_1_start(settings, flash).unwrap_or(bank_0);
        let area = |name, area: Area, contents| part(name, area.offset, area.end(), contents);
        vec![
            part("SoftDevice", MBR_SIZE, bank_0, self.softdevice_text(flash, settings)),
            part("bank 0", bank_0, bank_1.max(bank_0), self.bank_0_text(flash, settings, bank_0)),
            part("bank 1", bank_1, self.region_end().max(bank_1), self.bank_1_text(settings)),
            area("bootloader", map.bootloader(), self.bootloader_text(flash, settings)),
            area(
                if self.options.profile.has_backup() { "backup of the settings" } else { "MBR parameters" },
                map.params(),
                self.page_text(flash, map.params(), true),
            ),
            area("settings", map.settings(), self.page_text(flash, map.settings(), false)),
        ]
    }

    /// How an image stands to its boot validation.
    fn validity(&self, flash: &Flash, validation: &BootValidation, start: u32, size: u32) -> String {
        let Some(kind) = ValidationKind::of(validation.kind) else {
            return format!("its boot validation is of the unknown kind {}: never valid", validation.kind);
        };
        match (kind, self.boot_validate(validation, start, size, flash)) {
            (ValidationKind::None, _) => "not validated at boot".into(),
            (_, Ok(true)) => format!("valid by its {kind}"),
            (_, Ok(false)) => format!("NOT what its {kind} says"),
            (_, Err(error)) => error.to_string(),
        }
    }

    fn softdevice_text(&self, flash: &Flash, settings: &Settings) -> String {
        match SoftdeviceInfo::installed(&self.map, flash) {
            Ok(Some(info)) => format!(
                "S{} version {}, firmware id {:#x}, {}",
                info.id,
                info.version_text(),
                info.fwid,
                self.validity(flash, &settings.boot_validation_softdevice, MBR_SIZE, settings.sd_size)
            ),
            Ok(None) => "none".into(),
            Err(error) => error.to_string(),
        }
    }

    fn bank_0_text(&self, flash: &Flash, settings: &Settings, start: u32) -> String {
        let bank = settings.bank_0;
        if bank.code != BankCode::App {
            let left = if bank.image_size > 0 { format!(", {:#x} bytes", bank.image_size) } else { String::new() };
            return format!("{}{left}", bank.code);
        }
        let early = BootValidation::crc(bank.image_crc);
        let validation = if self.options.profile > Profile::V15_0 { &settings.boot_validation_app } else { &early };
        let valid = self.validity(flash, validation, start, bank.image_size);
        format!("an application, version {}, {:#x} bytes, {valid}", settings.app_version, bank.image_size)
    }

    fn bank_1_text(&self, settings: &Settings) -> String {
        let (bank, progress) = (settings.bank_1, settings.progress);
        if bank.code != BankCode::Invalid {
            return format!(
                "{} of {:#x} bytes at {:#x} waits to be activated; {:#x} bytes are in place",
                bank.code,
                bank.image_size,
                progress.update_start_address(),
                settings.write_offset
            );
        }
        if progress.command_size == 0 {
            return "nothing".into();
        }
        match self.stored_packet(settings) {
            Some(packet) => {
                let kind = packet.command.fw_type.map_or("no type".into(), |kind| kind.to_string());
                let (size, version) = (packet.command.image_size().unwrap_or(0), packet.command.fw_version);
                let version = version.map_or("without version".into(), |version| format!("version {version}"));
                let there = progress.image_offset_last;
                format!("{there:#x} of {size:#x} bytes of an upload: {kind}, {version}; its init packet is accepted")
            }
            None => format!("an init packet of {} bytes that cannot be decoded", progress.command_size),
        }
    }

    fn bootloader_text(&self, flash: &Flash, settings: &Settings) -> String {
        let area = self.map.bootloader();
        let mut vectors = [0; 8];
        match flash.read(area, 0, &mut vectors) {
            Ok(()) if vectors[..4] == [0xff; 4] || vectors[4..] == [0xff; 4] => "NO bootloader: no vectors".into(),
            Ok(()) => format!("a bootloader, version {} as the settings say", settings.bootloader_version),
            Err(error) => error.to_string(),
        }
    }

    fn page_text(&self, flash: &Flash, page: Area, backup: bool) -> String {
        let mut bytes = [0; SETTINGS_SIZE];
        if let Err(error) = flash.read(page, 0, &mut bytes) {
            return error.to_string();
        }
        if let (true, Ok(Some(command))) = (backup, self.copy_command(flash)) {
            return format!(
                "the MBR is to copy a bootloader of {:#x} bytes from {:#x}",
                command.words.saturating_mul(4),
                command.source
            );
        }
        let read = Settings::parse(&bytes);
        let valid = if backup { read.backup_ok() } else { read.crc_ok() };
        match (valid, bytes.iter().all(|byte| *byte == 0xff)) {
            (true, _) => format!("valid, settings version {}", read.settings_version),
            (false, true) => "erased".into(),
            (false, false) if read.crc_ok() => "NOT valid: the CRC of the boot validations is wrong".into(),
            (false, false) => format!("NOT valid: CRC {:#010x}, expected {:#010x}", read.crc, read.expected_crc()),
        }
    }

    fn wrong(&self, flash: &Flash, (settings, source): &(Settings, SettingsSource), boots: &[Boot]) -> Vec<Oddity> {
        let mut wrong = Vec::new();
        let mut add = |id, what: String| wrong.push(Oddity { id, what });
        let backup = self.options.profile.has_backup();
        match source {
            SettingsSource::Nothing => {
                add("settings-lost", "no settings page is valid: there is no application".into());
            }
            SettingsSource::Backup => {
                add("settings-torn", "the settings page is not valid, as after a power loss: the backup counts".into());
            }
            SettingsSource::Page if backup && !matches!(self.copy_command(flash), Ok(Some(_))) => {
                add("backup-torn", "the backup is not valid, as after a power loss: the settings page counts".into());
            }
            SettingsSource::Both => {
                let page =
                    |area: Area| flash.read_area(area).ok().and_then(|page| page.get(..SETTINGS_SIZE).map(Vec::from));
                if page(self.map.settings()) != page(self.map.params()) {
                    let what = "settings and backup are valid and differ, as after a power loss between the two writes: \
                                the backup counts";
                    add("settings-differ", what.into());
                }
            }
            SettingsSource::Page => {}
        }
        let start = self.bank_0_start(flash).unwrap_or(MBR_SIZE);
        if start.saturating_add(settings.bank_0.image_size) > self.region_end() {
            let what =
                "the application reaches into the application data: the room for an update wraps, and any update fits";
            add("application-too-long", what.into());
        }
        let (bank, words) = (settings.bank_1, settings.bank_1.image_size.is_multiple_of(4));
        if matches!(bank.code, BankCode::Bootloader | BankCode::SoftdeviceBootloader) && !words {
            add(
                "bootloader-not-of-words",
                "the bootloader that waits is not of whole words: it is copied for ever".into(),
            );
        }
        let source = settings.progress.update_start_address();
        if matches!(bank.code, BankCode::Softdevice | BankCode::SoftdeviceBootloader)
            && !matches!(SoftdeviceInfo::read(&self.map, flash, source), Ok(Some(_)))
        {
            let what =
                format!("a SoftDevice is to be activated, and its copy at {source:#x} has no magic: it is given up");
            add("source-gone", what);
        }
        match boots.last().map(|boot| &boot.outcome) {
            Some(Outcome::Fault { reason }) => add("fault", format!("the bootloader resets for ever: {reason}")),
            Some(Outcome::Brick { reason }) => add("brick", reason.clone()),
            Some(Outcome::Reset) => add("resets", "each boot changes flash and resets, for ever".into()),
            Some(Outcome::DfuMode { reason: DfuReason::NoApplication(why), .. })
                if !matches!(why, Unbootable::Bank(_)) =>
            {
                add("application-damaged", format!("the application cannot be started: {why}"));
            }
            _ => {}
        }
        wrong
    }

    fn remedies(&self, flash: &Flash, settings: &Settings, boots: &[Boot]) -> Vec<Remedy> {
        let last = boots.last().map(|boot| &boot.outcome);
        match last {
            Some(Outcome::Application { .. }) => {
                let options = &self.options;
                let asked = Entry { gpregret: DFU_START, ..Entry::default() };
                let (what, entry) = if options.enter_by_gpregret && options.profile.gpregret_asks(DFU_START) {
                    ("for an update: the application writes 0xb1 to GPREGRET and resets", asked)
                } else if options.enter_by_button {
                    ("for an update: hold the button at a reset", Entry { button: true, ..Entry::default() })
                } else {
                    return Vec::new();
                };
                vec![Remedy { what: what.into(), then: end_of(&self.next_boots(flash, entry)) }]
            }
            Some(Outcome::DfuMode { .. }) => {
                let what = if self.stored_packet(settings).is_some() {
                    "upload the package whose init packet is stored, or another one"
                } else {
                    "upload an application"
                };
                vec![Remedy { what: what.into(), then: None }]
            }
            Some(Outcome::Fault { .. }) if settings.progress.command_size > 0 => {
                let mut copy = flash.clone();
                let mut cleared = settings.clone();
                cleared.progress_reset();
                let steps = self.settings_write_and_backup(&mut cleared, &copy);
                let mut uncut = Uncut;
                let mut controller = Controller::new(&mut copy, &mut uncut);
                let done =
                    steps.iter().try_for_each(|step| step.run(self.map.whole(), self.map.page(), &mut controller));
                let then = done.ok().and_then(|()| end_of(&self.next_boots(&copy, Entry::default())));
                vec![Remedy { what: "with a programmer: settings without the stored init packet".into(), then }]
            }
            _ => {
                vec![Remedy { what: "with a programmer: SoftDevice, bootloader and settings anew".into(), then: None }]
            }
        }
    }
}

impl explanation::Ending for Outcome {
    fn name(&self) -> &'static str {
        match self {
            Self::Application { .. } => "application",
            Self::DfuMode { .. } => "dfu",
            Self::Reset => "reset",
            Self::Fault { .. } => "fault",
            Self::Brick { .. } => "brick",
        }
    }

    fn resets(&self) -> bool {
        *self == Self::Reset
    }
}
