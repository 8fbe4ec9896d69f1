//! What is in flash, what the next boots make of it, what is wrong with it and what would help, in words; as
//! [of Secure DFU](crate::boot::nordic::explain), and in its form.

use super::options::gpregret::DFU_START;
use super::settings::SETTINGS_SIZE;
use super::{
    BankCode, Boot, DfuReason, Entry, Kind, MBR_SIZE, NordicLegacy, Outcome, Settings, SoftdeviceInfo, Transport,
    Unbootable,
};
use crate::boot::explanation::{self, Explanation, NextBoot, Oddity, PartText, Remedy, end_of};
use crate::flash::{Area, Controller, Flash, Uncut};

/// Boots that are tried: an installation has two resets.
const BOOTS_MAX: usize = 5;
/// A SoftDevice that is no longer than that has no information struct.
const SOFTDEVICE_MIN: u32 = super::SD_SIZE_OFFSET;

impl NordicLegacy {
    /// Explains a flash, and what the next boot makes of it and of what it finds beside it.
    #[must_use]
    pub fn explain(&self, flash: &Flash, entry: Entry) -> Explanation {
        let boots = self.next_boots(flash, entry);
        let settings = self.settings(flash).unwrap_or(Settings::none());
        Explanation {
            profile: match self.options.kind {
                Kind::Sdk11 => "11",
                Kind::Adafruit => "adafruit",
            },
            parts: self.parts(flash, &settings),
            wrong: self.wrong(flash, &settings, &boots),
            remedies: self.remedies(flash, &settings, &boots),
            next_boots: boots.iter().map(NextBoot::of).collect(),
        }
    }

    fn next_boots(&self, flash: &Flash, mut entry: Entry) -> Vec<Boot> {
        explanation::next_boots(flash, BOOTS_MAX, |controller| self.boot(controller, &mut entry))
    }

    fn parts(&self, flash: &Flash, settings: &Settings) -> Vec<PartText> {
        let map = &self.map;
        let part = PartText::new;
        let area = |name, area: Area, contents| part(name, area.offset, area.end(), contents);
        let end = self.region_end();
        let bank_0 = self.bank_0_start(flash).unwrap_or(MBR_SIZE).min(end);
        let bank_1 = if self.options.single_bank { end } else { self.bank_1_start(flash).unwrap_or(end).min(end) };
        let mut parts = vec![
            part("SoftDevice", MBR_SIZE, bank_0, self.softdevice_text(flash)),
            part("bank 0", bank_0, bank_1, self.bank_0_text(flash, settings, bank_0)),
        ];
        if !self.options.single_bank {
            parts.push(part("bank 1", bank_1, end, self.bank_1_text(flash, settings, bank_1)));
        }
        parts.extend([
            area("bootloader", map.bootloader(), self.bootloader_text(flash)),
            area("MBR parameters", map.params(), self.record_text(flash)),
            area("settings", map.settings(), self.settings_text(flash, settings)),
        ]);
        parts
    }

    fn softdevice_text(&self, flash: &Flash) -> String {
        match SoftdeviceInfo::installed(&self.map, flash) {
            Ok(Some(info)) => {
                format!("S{} version {}, firmware id {:#x}, never checked", info.id, info.version_text(), info.fwid)
            }
            Ok(None) => "none".into(),
            Err(error) => error.to_string(),
        }
    }

    fn is_erased(&self, flash: &Flash, start: u32) -> bool {
        self.map.word(flash, start).is_ok_and(|word| word == u32::MAX)
    }

    fn bank_0_text(&self, flash: &Flash, settings: &Settings, start: u32) -> String {
        let size = settings.bank_0_size;
        if settings.bank_0 != BankCode::App {
            let begins = if self.is_erased(flash, start) { "begins with erased flash" } else { "begins with data" };
            return format!("{}; {begins}", settings.bank_0);
        }
        let verdict = match self.unbootable(flash) {
            Ok(None) if settings.bank_0_crc == 0 => "not checked: no CRC is stored".into(),
            Ok(None) => "valid by its CRC".into(),
            Ok(Some(why)) => format!("NOT valid: {why}"),
            Err(error) => format!("NOT valid: {error}"),
        };
        format!("an application, {size:#x} bytes, {verdict}")
    }

    fn bank_1_text(&self, flash: &Flash, settings: &Settings, start: u32) -> String {
        let begins = if self.is_erased(flash, start) { "begins with erased flash" } else { "begins with data" };
        match settings.bank_1 {
            BankCode::Invalid => format!("nothing that the settings know of; {begins}"),
            code => format!("{code}, {:#x} bytes; {begins}", settings.bl_image_size),
        }
    }

    fn has_bootloader(&self, flash: &Flash) -> bool {
        let start = self.map.bootloader().offset;
        !self.is_erased(flash, start) && !self.is_erased(flash, start.saturating_add(4))
    }

    fn bootloader_text(&self, flash: &Flash) -> String {
        if self.has_bootloader(flash) { "a bootloader" } else { "NO bootloader: no vectors" }.into()
    }

    fn record_text(&self, flash: &Flash) -> String {
        match self.copy_command(flash) {
            Ok(Some(command)) => format!(
                "the MBR is to copy a bootloader of {:#x} bytes from {:#x}",
                command.words.saturating_mul(4),
                command.source
            ),
            Ok(None) if self.is_erased(flash, self.map.params().offset) => "erased".into(),
            Ok(None) => "nothing that the MBR can do".into(),
            Err(error) => error.to_string(),
        }
    }

    /// A field a line.
    fn settings_text(&self, flash: &Flash, settings: &Settings) -> String {
        if self.settings_erased(flash) {
            return "erased".into();
        }
        let Settings { bank_0, bank_0_crc, bank_1, .. } = *settings;
        let crc = if bank_0_crc == 0 { ", so bank 0 is not checked" } else { "" };
        let mut text = format!(
            "bank_0          {:#04x}, {bank_0}\nbank_0_crc      {bank_0_crc:#06x}{crc}\nbank_1          {:#04x}, {bank_1}",
            bank_0.number(),
            bank_1.number()
        );
        for (name, word) in [
            ("bank_0_size", settings.bank_0_size),
            ("sd_image_size", settings.sd_image_size),
            ("bl_image_size", settings.bl_image_size),
            ("app_image_size", settings.app_image_size),
            ("sd_image_start", settings.sd_image_start),
        ] {
            text += &format!("\n{name:<15} {word:#x}");
        }
        text
    }

    fn settings_erased(&self, flash: &Flash) -> bool {
        let mut bytes = [0; SETTINGS_SIZE];
        flash.read(self.map.settings(), 0, &mut bytes).is_ok() && bytes.iter().all(|byte| *byte == 0xff)
    }

    /// What the settings want installed and cannot be there.
    fn nonsense(&self, settings: &Settings) -> Option<String> {
        let Settings { sd_image_size, bl_image_size, sd_image_start, .. } = *settings;
        if !settings.installs() {
            return None;
        }
        let fits = |start: u32, size: u32| start.checked_add(size).is_some_and(|end| end <= self.region_end());
        let softdevice = match settings.bank_0 {
            BankCode::Softdevice => sd_image_size > SOFTDEVICE_MIN && fits(sd_image_start, sd_image_size),
            _ => sd_image_size == 0,
        };
        let bootloader = bl_image_size <= self.bootloader_max();
        (!softdevice || !bootloader).then(|| {
            format!(
                "the settings ask for the installation of a SoftDevice of {sd_image_size:#x} bytes at \
                 {sd_image_start:#x} and a bootloader of {bl_image_size:#x} bytes, as after a power loss while they \
                 were written"
            )
        })
    }

    fn wrong(&self, flash: &Flash, settings: &Settings, boots: &[Boot]) -> Vec<Oddity> {
        let mut wrong = Vec::new();
        let mut add = |id, what: String| wrong.push(Oddity { id, what });
        let start = self.bank_0_start(flash).unwrap_or(MBR_SIZE);
        if self.settings_erased(flash) && !self.is_erased(flash, start) {
            let what = "the settings page is erased, as after a power loss before it was written: what is in bank 0 \
                        does not count";
            add("settings-lost", what.into());
        }
        for (bank, code) in [("bank_0", settings.bank_0), ("bank_1", settings.bank_1)] {
            if let BankCode::Other(number) = code {
                add("bank-code", format!("{bank} is {number:#04x}, which no bootloader writes: taken for nothing"));
            }
        }
        if let Some(what) = self.nonsense(settings) {
            add("settings-nonsense", what);
        }
        let end = self.region_end();
        let too_long = start < end && start.saturating_add(settings.bank_0_size) > end;
        if settings.bank_0 == BankCode::App && too_long {
            add("application-too-long", "the application reaches beyond its region".into());
        }
        match boots.last().map(|boot| &boot.outcome) {
            Some(Outcome::Fault { reason }) => add("fault", format!("the bootloader resets for ever: {reason}")),
            Some(Outcome::Brick { reason }) => add("brick", reason.clone()),
            Some(Outcome::Reset) => add("resets", "each boot resets, for ever".into()),
            Some(Outcome::DfuMode { reason: DfuReason::NoApplication(why), transport, .. }) => {
                if !matches!(why, Unbootable::Bank(_)) {
                    add("application-damaged", format!("the application cannot be started: {why}"));
                }
                if *transport == Transport::Serial {
                    let what = "without an application DFU mode waits on a serial line, out of reach of Bluetooth LE";
                    add("out-of-reach", what.into());
                }
            }
            _ => {}
        }
        wrong
    }

    fn remedies(&self, flash: &Flash, settings: &Settings, boots: &[Boot]) -> Vec<Remedy> {
        let with = |what: &str, entry| Remedy { what: what.into(), then: end_of(&self.next_boots(flash, entry)) };
        match boots.last().map(|boot| &boot.outcome) {
            Some(Outcome::Application { checked, .. }) => {
                let asked = Entry { gpregret: DFU_START, ..Entry::default() };
                let mut remedies =
                    vec![with("for an update: the application writes 0xb1 to GPREGRET and resets", asked)];
                if !checked {
                    let what = "should it be torn, which nobody checks: hold the button at a reset";
                    remedies.push(with(what, Entry { button: true, ..Entry::default() }));
                }
                remedies
            }
            Some(Outcome::DfuMode { transport: Transport::Ble, .. }) => {
                vec![Remedy { what: "upload an application".into(), then: None }]
            }
            Some(Outcome::DfuMode { transport: Transport::Serial, .. }) => {
                vec![Remedy { what: "upload an application over the serial line".into(), then: None }]
            }
            Some(Outcome::Fault { .. }) if settings.installs() || settings.bank_0 == BankCode::App => {
                let mut copy = flash.clone();
                let page = self.map.settings();
                let erased = Controller::new(&mut copy, &mut Uncut).erase(page, 0, page.len);
                let boots = erased.map_or(Vec::new(), |()| self.next_boots(&copy, Entry::default()));
                match boots.last().map(|boot| &boot.outcome) {
                    Some(Outcome::DfuMode { .. }) => {
                        let what = "with a programmer: erase the settings page".into();
                        vec![Remedy { what, then: end_of(&boots) }]
                    }
                    _ => vec![anew()],
                }
            }
            _ => vec![anew()],
        }
    }
}

fn anew() -> Remedy {
    Remedy { what: "with a programmer: SoftDevice, bootloader and settings anew".into(), then: None }
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
