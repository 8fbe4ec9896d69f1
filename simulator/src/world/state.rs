//! What is in the slots, in words.

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Mode, Pair, Slot, SwapType};
use brickproof_flash_model::boot::nordic::{BankCode, MBR_SIZE, SoftdeviceInfo};
use brickproof_flash_model::boot::nordic_legacy::BankCode as LegacyBank;
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::gbl::content::bootloader_version_words;
use brickproof_flash_model::image::mcuboot::inspect;
use sha2::{Digest, Sha256};

use super::World;
use crate::device::{Bootloader, Device};
use crate::nordic::{LegacyBoard, NordicBoard};
use crate::silabs::SilabsBoard;
use crate::trace::{ImageState, Kind, SlotState, StateRecord, Trailer, hex};

impl World {
    /// What is in the slots now, and what runs.
    #[must_use]
    pub fn state(&self, when: &str) -> Option<StateRecord> {
        let flash = &self.persistent()?.flash;
        let running = self.device().and_then(|device| device.image());
        let mut all = Sha256::new();
        for device in flash.devices() {
            all.update(device.sha256());
        }
        let state = StateRecord {
            when: when.to_owned(),
            slots: Vec::new(),
            next_boot: String::new(),
            running: running.and_then(|image| image.hash).map(|hash| hex(&hash)),
            state: running.map(|_| ImageState::Confirmed),
            flash_sha256: hex(&all.finalize()),
        };
        Some(match &self.board.bootloader {
            Bootloader::Mcuboot(mcuboot) => self.of_mcuboot(mcuboot, flash, state),
            Bootloader::Nordic(own) => of_nordic(own, flash, state),
            Bootloader::NordicLegacy(own) => of_legacy(own, flash, state),
            Bootloader::Silabs(own) => of_silabs(own, flash, state),
        })
    }

    fn of_mcuboot(&self, mcuboot: &Mcuboot, flash: &Flash, state: StateRecord) -> StateRecord {
        let next = match mcuboot.options().mode {
            // Nothing is ever swapped: which image boots, versions and trailers say together.
            Mode::DirectXip { .. } => SwapType::None,
            _ => mcuboot.swap_type(flash).unwrap_or(SwapType::None),
        };
        let slot = self.device().map_or(Slot::Primary, Device::running_slot);
        let in_test = mcuboot.pair(0).is_some_and(|pair| pair.in_test(flash, slot).unwrap_or(false));
        StateRecord {
            slots: mcuboot
                .pairs()
                .iter()
                .flat_map(|pair| [Slot::Primary, Slot::Secondary].map(|slot| slot_state(pair, flash, slot)))
                .collect(),
            next_boot: next.to_string(),
            state: state.state.map(|_| if in_test { ImageState::Testing } else { ImageState::Confirmed }),
            ..state
        }
    }

    /// Records the state.
    pub fn record_state(&mut self, when: &str) {
        if let Some(state) = self.state(when) {
            self.record(Kind::State(state));
        }
    }
}

/// Banks have no trailers: what is valid, and what the next boot activates, is in the settings.
fn of_nordic(own: &NordicBoard, flash: &Flash, state: StateRecord) -> StateRecord {
    let bootloader = &own.bootloader;
    let slot = |slot: &str, hash: Option<String>, version: Option<String>, invalid: Option<String>| SlotState {
        slot: slot.into(),
        hash,
        version,
        invalid,
        trailer: None,
    };
    let Ok((settings, _)) = bootloader.load(flash) else { return state };
    let bank = |code: BankCode, start: u32, size: u32| match code {
        BankCode::Invalid => (None, Some("the settings say that nothing valid is there".to_owned())),
        _ => match bootloader.map().sha256(flash, start, size) {
            Ok(hash) => (Some(hex(&hash)), None),
            Err(error) => (None, Some(error.to_string())),
        },
    };
    let start = bootloader.bank_0_start(flash).unwrap_or_default();
    let (hash, invalid) = bank(settings.bank_0.code, start, settings.bank_0.image_size);
    let version = hash.as_ref().map(|_| settings.app_version.to_string());
    let bank_0 = slot("bank-0", hash, version, invalid);
    let update = settings.progress.update_start_address();
    let (hash, invalid) = bank(settings.bank_1.code, update, settings.bank_1.image_size);
    let bank_1 = slot("bank-1", hash, None, invalid);
    let softdevice = SoftdeviceInfo::installed(bootloader.map(), flash).ok().flatten();
    let (hash, version) = match softdevice {
        Some(info) => {
            let hash = bootloader.map().sha256(flash, MBR_SIZE, info.size.saturating_sub(MBR_SIZE)).ok();
            (hash.map(|hash| hex(&hash)), Some(info.version.to_string()))
        }
        None => (None, None),
    };
    let softdevice = slot("softdevice", hash, version, None);
    // How long it is, nobody has written down: the erased end is none of it.
    let place = bootloader.map().bootloader();
    let mut bytes = vec![0; place.len as usize];
    let hash = bootloader.map().read(flash, place.offset, &mut bytes).ok().map(|()| trimmed_sha256(&bytes));
    let version = Some(settings.bootloader_version.to_string());
    let own = slot("bootloader", hash.map(|hash| hex(&hash)), version, None);
    let next_boot = match settings.bank_1.code {
        BankCode::Invalid => "none".to_owned(),
        code => format!("activate {code}"),
    };
    StateRecord { slots: vec![bank_0, bank_1, softdevice, own], next_boot, ..state }
}

/// What may be started, what is stored to be installed, and the bootloader.
fn of_silabs(own: &SilabsBoard, flash: &Flash, state: StateRecord) -> StateRecord {
    let bootloader = &own.bootloader;
    let map = bootloader.map();
    let hash = |address: u32, len: u32| {
        let mut bytes = Vec::new();
        map.visit(flash, address, len, |piece| bytes.extend_from_slice(piece)).ok()?;
        bytes.iter().any(|byte| *byte != 0xff).then(|| hex(&trimmed_sha256(&bytes)))
    };
    let invalid = match bootloader.unbootable(flash) {
        Ok(why) => why.map(|why| why.to_string()),
        Err(error) => Some(error.to_string()),
    };
    let version = bootloader.application_version(flash).ok().flatten().map(|version| version.to_string());
    let (start, len) = map.bootloader();
    let slot = |slot: String, hash, version, invalid| SlotState { slot, hash, version, invalid, trailer: None };
    let application = own.application_hash(flash).map(|hash| hex(&hash));
    let own_version = bootloader.bootloader_version(flash).map(bootloader_version_words).ok();
    let mut slots = vec![
        slot("application".into(), application, version, invalid),
        slot("bootloader".into(), hash(start, len), own_version, None),
    ];
    for (n, stored) in map.slots().iter().enumerate() {
        slots.push(slot(format!("slot-{n}"), hash(stored.address, stored.len), None, None));
    }
    StateRecord { slots, next_boot: "none".into(), ..state }
}

/// The hash of bytes without the erased ones at their end.
#[must_use]
pub fn trimmed_sha256(bytes: &[u8]) -> [u8; 32] {
    let len = bytes.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1);
    Sha256::digest(bytes.get(..len).unwrap_or_default()).into()
}

/// The same of Legacy DFU, whose settings have no versions.
fn of_legacy(own: &LegacyBoard, flash: &Flash, state: StateRecord) -> StateRecord {
    let bootloader = &own.bootloader;
    let Ok(settings) = bootloader.settings(flash) else { return state };
    let slot = |slot: &str, hash: Option<String>, invalid: Option<String>| SlotState {
        slot: slot.into(),
        hash,
        version: None,
        invalid,
        trailer: None,
    };
    let (hash, invalid) = match bootloader.unbootable(flash) {
        Ok(Some(why)) => (None, Some(why.to_string())),
        Err(error) => (None, Some(error.to_string())),
        Ok(None) => {
            let start = bootloader.bank_0_start(flash).unwrap_or_default();
            let size = settings.bank_0_size.min(bootloader.image_max_full(flash).unwrap_or_default());
            (bootloader.map().sha256(flash, start, size).ok().map(|hash| hex(&hash)), None)
        }
    };
    let mut slots = vec![slot("bank-0", hash, invalid)];
    if !bootloader.options().single_bank {
        slots.push(slot("bank-1", None, Some(format!("the settings say that it holds {}", settings.bank_1))));
    }
    let next_boot = match (settings.installs(), settings.bank_1) {
        (false, _) => "none".to_owned(),
        (true, bank_1 @ LegacyBank::Bootloader) => bank_1.to_string(),
        (true, _) => settings.bank_0.to_string(),
    };
    StateRecord { slots, next_boot, ..state }
}

fn slot_state(pair: &Pair, flash: &Flash, slot: Slot) -> SlotState {
    let name = match slot {
        Slot::Primary => "primary",
        Slot::Secondary => "secondary",
    };
    let trailer = pair.trailer(slot).read(flash).map_or_else(
        |error| Trailer {
            magic: error.to_string(),
            swap_type: String::new(),
            copy_done: String::new(),
            image_ok: String::new(),
        },
        |state| Trailer {
            magic: state.magic.to_string(),
            swap_type: state.swap_type.to_string(),
            copy_done: state.copy_done.to_string(),
            image_ok: state.image_ok.to_string(),
        },
    );
    let version = inspect(&pair.image_source(flash, slot)).ok().map(|info| info.header.version.to_string());
    let (hash, invalid) = match pair.verify(flash, slot) {
        Ok(verified) => (Some(hex(&verified.hash)), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let name = match pair.image() {
        0 => name.to_owned(),
        image => format!("{name}-{image}"),
    };
    SlotState { slot: name, hash, version, invalid, trailer: Some(trailer) }
}
