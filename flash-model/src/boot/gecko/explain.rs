//! What is in flash, what the next boots make of it, what is wrong with it and what would help, in words.

use super::run::{RESETS_MAX, reason};
use super::{Boot, Code, Decision, Entry, Gecko, ImageProperties, Options, Outcome, Slot, Unbootable};
use crate::boot::explanation::{self, Explanation, NextBoot, Oddity, PartText, Remedy, end_of};
use crate::flash::{Controller, Flash, Uncut};
use crate::image::gbl::ApplicationData;
use crate::image::gbl::application::signature_type;
use crate::image::gbl::content::bootloader_version_words;

/// Boots that are tried: a bootloader and an application take three, resets in a circle as many and one more.
const BOOTS_MAX: usize = RESETS_MAX as usize + 6;
/// What slots are called.
const SLOTS: [&str; 3] = ["slot 0", "slot 1", "slot 2"];

/// What a slot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Nothing.
    Erased,
    /// A file that is verified.
    Good(Box<ImageProperties>),
    /// Something that is not: why.
    Bad(String),
}

impl Gecko {
    /// Explains a flash, and what the next boot makes of it and of what it finds beside it.
    #[must_use]
    pub fn explain(&self, flash: &Flash, entry: Entry) -> Explanation {
        let boots = self.next_boots(flash, entry);
        let stored: Vec<Stored> = (0..self.map().slots().len()).map(|slot| self.stored(flash, slot)).collect();
        Explanation {
            profile: self.options().kind_name(),
            parts: self.parts(flash, &stored),
            wrong: self.wrong(flash, &stored, &boots),
            remedies: self.remedies(flash, &stored, &boots),
            next_boots: boots.iter().map(NextBoot::of).collect(),
        }
    }

    fn next_boots(&self, flash: &Flash, mut entry: Entry) -> Vec<Boot> {
        explanation::next_boots(flash, BOOTS_MAX, |controller| {
            let boot = self.boot(controller, &mut entry);
            // A button is let go of.
            entry.button = false;
            boot
        })
    }

    /// The boots when the application has asked for the bootloader.
    fn asked(&self, flash: &Flash) -> Vec<Boot> {
        let mut entry = Entry::default();
        entry.reset(reason::BOOTLOAD);
        self.next_boots(flash, entry)
    }

    /// What a slot holds, as the bootloader verifies it; nothing where there is no such slot.
    #[must_use]
    pub fn stored(&self, flash: &Flash, slot: usize) -> Stored {
        let Some(place) = self.map().slots().get(slot).copied() else { return Stored::Erased };
        if !self.slot_is_dirty(flash, place).unwrap_or(true) {
            return Stored::Erased;
        }
        let mut copy = flash.clone();
        let mut hook = Uncut;
        let mut controller = Controller::new(&mut copy, &mut hook);
        let Ok(mut verification) = self.verify_slot(slot) else { return Stored::Erased };
        loop {
            match verification.step(self, &mut controller) {
                Ok(None) => {}
                Ok(Some(true)) => return Stored::Good(Box::new(verification.properties().clone())),
                Ok(Some(false)) => {
                    let code = verification.code().filter(|code| *code != Code::Eof);
                    return Stored::Bad(code.map_or("it has no end".into(), |code| code.to_string()));
                }
                Err(_) => return Stored::Bad("reading it makes the processor take a fault".into()),
            }
        }
    }

    fn parts(&self, flash: &Flash, stored: &[Stored]) -> Vec<PartText> {
        let map = self.map();
        let mut parts = Vec::new();
        let mut add = |part: &'static str, from: u32, len: u32, contents: String| {
            parts.push((from, PartText::new(part, from, from.saturating_add(len), contents)));
        };
        let (bootloader, bootloader_len) = map.bootloader();
        add("bootloader", bootloader, bootloader_len, self.bootloader_text(flash));
        add("application", map.application_start(), map.application_len(), self.application_text(flash));
        if let Ok(Some(size)) = self.bootloader_size(flash, self.upgrade_location()) {
            let text = format!("a whole bootloader of {size:#x} bytes, with its CRC-32");
            add("put aside", self.upgrade_location(), self.options().upgrade_size, text);
        }
        for ((name, Slot { address, len }), stored) in SLOTS.into_iter().zip(map.slots()).zip(stored) {
            add(name, *address, *len, stored_text(stored));
        }
        parts.sort_by_key(|(from, _)| *from);
        parts.into_iter().map(|(_, part)| part).collect()
    }

    fn bootloader_text(&self, flash: &Flash) -> String {
        let map = self.map();
        let version = self.properties(flash, map.main_stage()).ok().flatten();
        let version = version.map(|properties| bootloader_version_words(properties.application.version));
        let mut text = match (self.bootloader_size(flash, map.main_stage()), version) {
            (Ok(Some(size)), version) => {
                let version = version.unwrap_or_else(|| "?".into());
                format!("a bootloader, version {version}, {size:#x} bytes, whole by its CRC-32")
            }
            (Ok(None), Some(version)) => format!("a bootloader, version {version}, NOT whole: its CRC-32 is wrong"),
            (Ok(None), None) => "NO bootloader".into(),
            (Err(error), _) => error.to_string(),
        };
        if self.options().rollback_protection {
            let highest = self.highest_version(flash).unwrap_or(0);
            let left = self.remaining_upgrades(flash).unwrap_or(0);
            text +=
                &format!("\nthe highest version of an application that was started is {highest}; room for {left} more");
        }
        text
    }

    fn is_erased(&self, flash: &Flash, start: u32, len: u32) -> bool {
        let mut erased = true;
        let visited = self.map().visit(flash, start, len, |piece| erased &= piece.iter().all(|byte| *byte == 0xff));
        visited.is_ok() && erased
    }

    fn application_text(&self, flash: &Flash) -> String {
        let (start, page) = (self.map().application_start(), self.map().page());
        let properties = match self.properties(flash, start) {
            Ok(properties) => properties,
            Err(error) => return format!("its properties are out of the flash: {error}"),
        };
        let what = match properties {
            Some(properties) => {
                let protection = match properties.signature_type {
                    signature_type::NONE => "nothing at its end".to_owned(),
                    signature_type::ECDSA_P256 => format!("signed at {:#x}", properties.signature_location),
                    signature_type::CRC32 => format!("a CRC-32 at {:#x}", properties.signature_location),
                    other => format!("signature type {other}"),
                };
                format!("an application, {}, {protection}", application_words(&properties.application))
            }
            None if self.is_erased(flash, start, page) => return "begins with an erased page".into(),
            None => "no properties".into(),
        };
        match self.unbootable(flash) {
            Ok(None) => format!("{what}\nit is started: {}", self.ground(flash)),
            Ok(Some(why)) => format!("{what}\nit is NOT started: {why}"),
            Err(error) => format!("{what}\nlooking at it makes the processor take a fault: {error}"),
        }
    }

    /// What the start of the application rests on.
    fn ground(&self, flash: &Flash) -> &'static str {
        let properties = self.properties(flash, self.map().application_start()).ok().flatten();
        match properties.map(|properties| properties.signature_type) {
            _ if self.options().secure_boot => "secure boot has checked its signature",
            Some(signature_type::ECDSA_P256) => "its signature was checked",
            Some(signature_type::CRC32) => "its CRC-32 was checked",
            _ => "nothing was checked but its stack pointer and its program counter",
        }
    }

    fn wrong(&self, flash: &Flash, stored: &[Stored], boots: &[Boot]) -> Vec<Oddity> {
        let mut wrong = Vec::new();
        let mut add = |id, what: String| wrong.push(Oddity { id, what });
        let (map, start) = (self.map(), self.map().application_start());
        match self.unbootable(flash) {
            Ok(Some(Unbootable::NoProgramCounter)) => {
                let behind = map.application_len().saturating_sub(32);
                if !self.is_erased(flash, start.saturating_add(32), behind) {
                    let what = "the application has no program counter, and is not erased: an update was interrupted";
                    add("application-torn", what.into());
                }
            }
            Ok(Some(why)) => add("application-damaged", format!("the application cannot be started: {why}")),
            Ok(None) if self.properties(flash, start).is_ok_and(|properties| properties.is_none()) => {
                let what = "the application has no properties where its vectors point: torn or not, it is started";
                add("application-unknown", what.into());
            }
            Ok(None) => {}
            Err(error) => add("application-fault", format!("looking at the application ends in a fault: {error}")),
        }
        for (name, stored) in SLOTS.into_iter().zip(stored) {
            match stored {
                Stored::Erased => {}
                Stored::Bad(why) => add("slot-refused", format!("what is in {name} is refused: {why}")),
                Stored::Good(file) if self.options().storage => {
                    self.stored_oddities(flash, name, file, boots, &mut add);
                }
                Stored::Good(_) => add("slot-unused", format!("an AppLoader does not look at {name}")),
            }
        }
        if self.options().rollback_protection && self.remaining_upgrades(flash) == Ok(0) {
            add("versions-full", "there is no room to remember the version of a newer application".into());
        }
        match boots.last().map(|boot| &boot.outcome) {
            Some(Outcome::Halted { reason }) => add("halts", format!("the bootloader halts: {reason}")),
            Some(Outcome::Fault { reason }) => add("fault", format!("the bootloader resets for ever: {reason}")),
            Some(Outcome::Brick { reason }) => add("brick", reason.clone()),
            Some(Outcome::Reset { .. }) => add("resets", "each boot resets, for ever".into()),
            Some(Outcome::Application | Outcome::AppLoader) | None => {}
        }
        wrong
    }

    /// What is odd about a file that is verified.
    fn stored_oddities(
        &self,
        flash: &Flash,
        name: &str,
        file: &ImageProperties,
        boots: &[Boot],
        add: &mut impl FnMut(&'static str, String),
    ) {
        let contents = file.contents;
        let is_newer = |version: u32| self.bootloader_version(flash).is_ok_and(|own| version > own);
        if contents.bootloader && !contents.application && is_newer(file.bootloader_version) {
            let comes = if self.options().series_2 {
                "putting it aside erases the first page of the application, and nothing brings that back"
            } else {
                "on Series 1 that is never installed, and nobody is told"
            };
            add("bootloader-alone", format!("{name} has a bootloader and no application: {comes}"));
        }
        let starts = boots.last().is_some_and(|boot| boot.outcome == Outcome::Application);
        let asked = self.asked(flash);
        let fails = |boot: &Boot| {
            boot.decisions.iter().any(|decision| matches!(decision, Decision::Installed { result: Err(_), .. }))
        };
        if asked.iter().any(fails) {
            let what = format!(
                "{name} is verified, and cannot be installed: what is compressed or left out is found too late"
            );
            add("installation-fails", what);
        } else if starts
            && !boots.iter().any(installs)
            && contents.application
            && self.application_version(flash).is_ok_and(|version| version != Some(file.application.version))
        {
            let what = format!(
                "{name} has a whole file with version {}, and nothing asks for it: an upload whose request was lost with \
                 the power, or a way back",
                file.application.version
            );
            add("slot-waits", what);
        }
    }

    fn remedies(&self, flash: &Flash, stored: &[Stored], boots: &[Boot]) -> Vec<Remedy> {
        let remedy = |what: &str, boots: &[Boot]| Remedy { what: what.into(), then: end_of(boots) };
        let good = stored.iter().any(|stored| matches!(stored, Stored::Good(_)));
        match boots.last().map(|boot| &boot.outcome) {
            Some(Outcome::Application) => {
                let asked = self.asked(flash);
                let mut remedies = Vec::new();
                match (self.options().storage, good) {
                    (false, _) => {
                        let what =
                            "for an update: the application resets with the reason BOOTLOAD, and the file comes in";
                        remedies.push(remedy(what, &asked));
                    }
                    (true, true) if helps(&asked) && !boots.iter().any(installs) => {
                        let what = "to install the file in the slot: the application resets with the reason BOOTLOAD";
                        remedies.push(remedy(what, &asked));
                    }
                    (true, _) => {
                        let what = "for an update: the application erases the slot, and stores a file in it";
                        remedies.push(Remedy { what: what.into(), then: None });
                    }
                }
                if self.ground(flash).starts_with("nothing") {
                    let pressed = self.next_boots(flash, Entry { button: true, ..Entry::default() });
                    if helps(&pressed) {
                        let what =
                            "should it be torn, which nobody checks: hold the button at a reset, if there is one";
                        remedies.push(remedy(what, &pressed));
                    }
                }
                remedies
            }
            Some(Outcome::AppLoader) => vec![Remedy { what: "upload an application".into(), then: None }],
            Some(Outcome::Brick { .. }) | None => {
                vec![Remedy { what: "with a programmer: bootloader and application anew".into(), then: None }]
            }
            Some(Outcome::Halted { .. } | Outcome::Fault { .. } | Outcome::Reset { .. }) => self.rescue(flash),
        }
    }

    /// What helps a device that starts nothing.
    fn rescue(&self, flash: &Flash) -> Vec<Remedy> {
        let pressed = self.next_boots(flash, Entry { button: true, ..Entry::default() });
        if helps(&pressed) {
            let what = "hold the button for the bootloader at a reset, if there is one".into();
            return vec![Remedy { what, then: end_of(&pressed) }];
        }
        let mut copy = flash.clone();
        let (start, page) = (self.map().application_start(), self.map().page());
        if let Some((area, offset)) = self.map().place(start, page) {
            let _ = Controller::new(&mut copy, &mut Uncut).erase(area, offset, page);
        }
        let erased = self.next_boots(&copy, Entry::default());
        if helps(&erased) {
            let what = "with a programmer: erase the first page of the application".into();
            return vec![Remedy { what, then: end_of(&erased) }];
        }
        vec![Remedy { what: "with a programmer: an application anew".into(), then: None }]
    }
}

impl Options {
    /// `apploader` or `storage`.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        if self.storage { "storage" } else { "apploader" }
    }
}

fn application_words(data: &ApplicationData) -> String {
    let ApplicationData { version, product_id, .. } = data;
    let product = if product_id.iter().all(|byte| *byte == 0) {
        String::new()
    } else {
        let digits: String = product_id.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(", product {digits}")
    };
    format!("version {version}, type {}{product}", data.type_words())
}

fn stored_text(stored: &Stored) -> String {
    match stored {
        Stored::Erased => "erased".into(),
        Stored::Bad(why) => format!("no file that is installed: {why}"),
        Stored::Good(file) => {
            let mut has = Vec::new();
            if file.contents.se {
                has.push(format!("secure engine firmware, version {:#x}", file.se_version));
            }
            if file.contents.bootloader {
                has.push(format!("a bootloader, version {}", bootloader_version_words(file.bootloader_version)));
            }
            if file.contents.application {
                has.push(format!("an application, {}", application_words(&file.application)));
            }
            let has = if has.is_empty() { "nothing to install".into() } else { has.join("; ") };
            format!("a whole file, verified: {has}")
        }
    }
}

/// Whether something is installed from a slot.
fn installs(boot: &Boot) -> bool {
    boot.decisions.iter().any(|decision| matches!(decision, Decision::Installed { result: Ok(()), .. }))
}

/// Whether something can run, or come in.
fn helps(boots: &[Boot]) -> bool {
    boots.last().is_some_and(|boot| matches!(boot.outcome, Outcome::Application | Outcome::AppLoader))
}

impl explanation::Ending for Outcome {
    fn name(&self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::AppLoader => "dfu",
            Self::Reset { .. } => "reset",
            Self::Halted { .. } => "halted",
            Self::Fault { .. } => "fault",
            Self::Brick { .. } => "brick",
        }
    }

    fn resets(&self) -> bool {
        matches!(self, Self::Reset { .. })
    }
}
