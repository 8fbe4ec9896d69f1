//! What is in the slots, in words.

use brickproof_flash_model::boot::mcuboot::{Mode, Pair, Slot, SwapType};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::mcuboot::inspect;
use sha2::{Digest, Sha256};

use super::World;
use crate::device::Device;
use crate::trace::{ImageState, Kind, SlotState, StateRecord, Trailer, hex};

impl World {
    /// What is in the slots now, and what runs.
    #[must_use]
    pub fn state(&self, when: &str) -> Option<StateRecord> {
        let flash = &self.persistent()?.flash;
        let mcuboot = &self.board.mcuboot;
        let next = match mcuboot.options().mode {
            // Nothing is ever swapped: which image boots, versions and trailers say together.
            Mode::DirectXip { .. } => SwapType::None,
            _ => mcuboot.swap_type(flash).unwrap_or(SwapType::None),
        };
        let running = self.device().and_then(|device| device.image());
        let slot = self.device().map_or(Slot::Primary, Device::running_slot);
        let in_test = mcuboot.pair(0).is_some_and(|pair| pair.in_test(flash, slot).unwrap_or(false));
        let mut all = Sha256::new();
        for device in flash.devices() {
            all.update(device.sha256());
        }
        Some(StateRecord {
            when: when.to_owned(),
            slots: mcuboot
                .pairs()
                .iter()
                .flat_map(|pair| [Slot::Primary, Slot::Secondary].map(|slot| slot_state(pair, flash, slot)))
                .collect(),
            next_boot: next.to_string(),
            running: running.and_then(|image| image.hash).map(|hash| hex(&hash)),
            state: running.map(|_| if in_test { ImageState::Testing } else { ImageState::Confirmed }),
            flash_sha256: hex(&all.finalize()),
        })
    }

    /// Records the state.
    pub fn record_state(&mut self, when: &str) {
        if let Some(state) = self.state(when) {
            self.record(Kind::State(state));
        }
    }
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
    SlotState { slot: name, hash, version, invalid, trailer }
}
