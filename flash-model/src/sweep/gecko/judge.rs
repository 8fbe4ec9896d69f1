//! What each boot must leave.

use super::monitor::{State, holds};
use super::{Boot, Outcome, Update, Violation};
use crate::flash::Flash;

/// Which application is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    Old,
    New,
    /// Neither, or none.
    Torn,
}

impl Update<'_> {
    /// A number for what must stay as it is: all pages that nothing of the update is for.
    pub(super) fn untouched_print(&self, flash: &Flash) -> u128 {
        let map = self.gecko.map();
        let mut used = vec![map.bootloader(), (map.application_start(), map.application_len())];
        used.extend(map.slots().iter().map(|slot| (slot.address, slot.len)));
        if self.facts.bootloader {
            used.push((self.gecko.upgrade_location(), map.bootloader().1));
        }
        let places: Vec<(u8, u32, u32)> = used
            .into_iter()
            .filter_map(|(address, len)| {
                map.place(address, len).map(|(area, offset)| (area.device, area.offset + offset, len))
            })
            .collect();
        let mut print = 0;
        for (number, device) in (0u8..).zip(flash.devices()) {
            let pages = device.geometry().sectors();
            let is_used = |offset: u32| {
                let in_it = |(device, start, len): &(u8, u32, u32)| {
                    *device == number && *start <= offset && offset - start < *len
                };
                places.iter().any(in_it)
            };
            for page in pages.iter().filter(|page| !is_used(page.offset)) {
                print ^= device.fingerprint(page.index..page.index + 1);
            }
        }
        print
    }

    pub(super) fn holds(&self, flash: &Flash, address: u32, image: &[u8]) -> bool {
        holds(self.gecko.map(), flash, address, image)
    }

    /// Whether an application is in its place. What has no program counter is not read any further: a run that does not
    /// start it does not depend on it.
    pub(super) fn has(&self, flash: &Flash, application: &[u8]) -> bool {
        let start = self.gecko.map().application_start();
        let counter = application.get(4..).and_then(|rest| rest.first_chunk()).map(|word| u32::from_le_bytes(*word));
        counter.is_some_and(|counter| self.gecko.map().word(flash, start + 4) == Ok(counter))
            && self.holds(flash, start, application)
    }

    /// Which of the two applications is in its place.
    pub(super) fn application(&self, flash: &Flash) -> Runs {
        match self.applications {
            [_, new] if self.has(flash, new) => Runs::New,
            [old, _] if self.has(flash, old) => Runs::Old,
            _ => Runs::Torn,
        }
    }

    /// Whether the update is in its place.
    pub(super) fn is_installed(&self, flash: &Flash) -> bool {
        let application = !self.facts.application || self.has(flash, self.package.application);
        application && self.holds(flash, self.gecko.map().main_stage(), self.package.bootloader)
    }

    /// Whether the initiator is content with an application that runs: it looks at its version.
    pub(super) fn is_done(&self, runs: Runs, state: &State) -> bool {
        state.installed || state.acknowledged && runs == Runs::New
    }

    /// Whether the application would be started.
    pub(super) fn starts(&self, flash: &Flash) -> bool {
        self.gecko.unbootable(flash).is_ok_and(|why| why.is_none())
    }

    /// What a boot must leave.
    pub(super) fn judge(&self, boot: &Boot, runs: Runs, flash: &Flash, state: &mut State) -> Result<(), Violation> {
        let broken = |invariant, what: &str| Err(Violation::new(invariant, what));
        let main_stage = self.gecko.map().main_stage();
        let mut bootloaders = self.bootloaders.iter().filter(|image| !image.is_empty());
        if !bootloaders.any(|image| self.holds(flash, main_stage, image)) {
            return broken("bootloader", "the bootloader area holds neither the old nor the new bootloader");
        }
        if self.untouched_print(flash) != self.untouched {
            return broken("untouched", "lock bits or first stage have changed");
        }
        match &boot.outcome {
            Outcome::Reset { .. } => return Ok(()),
            // Which fault, and with what numbers, is in the replay.
            Outcome::Fault { .. } => return broken("faults", "the bootloader takes a fault, at every start"),
            Outcome::Halted { .. } => {
                return broken("starts", "the bootloader halts, at every start: nothing can be installed or started");
            }
            Outcome::Brick { reason } => return broken("starts", reason),
            Outcome::Application if self.strict && runs == Runs::Torn => {
                return broken("known-application", "what runs is neither the old nor the new application");
            }
            Outcome::Application | Outcome::AppLoader => {}
        }
        let installed = self.is_installed(flash);
        if state.installed && !installed {
            return broken("stays", "the update is gone");
        }
        state.installed |= installed;
        if state.requested && !installed {
            if self.strict {
                return broken("resumes", "the application has asked for the installation, and it does not come");
            }
            state.requested = false;
        }
        if !self.strict {
            return Ok(());
        }
        if state.acknowledged && !installed {
            return broken("acknowledged", "the initiator was told that the file is good, and it is not in its place");
        }
        if boot.outcome == Outcome::AppLoader && !self.starts(flash) {
            return broken("application", "no application can be started");
        }
        Ok(())
    }
}
