//! An initiator that does what all of them do, and the two that it may meet: an AppLoader, and an application that fills the
//! slot (simplicity sdk: `btl_apploader_common.c`; `sl_bt_app_ota_dfu.c`).
//!
//! The radio and the timers are left out: what matters here is the order in which flash changes.

use super::Package;
use super::monitor::{Stage, State};
use crate::boot::gecko::{AppLoader, Code, Entry, Gecko, Slot, SlotError, Stop, reason};
use crate::flash::{Controller, Flash, FlashError, Interruption};
use crate::sweep::Cutter;

/// Why an upload ended.
pub(super) enum Ended {
    /// Power was lost, or the run was merged.
    Interrupted,
    /// The file was refused.
    Refused(String),
    /// The device takes a fault, or hangs.
    Stuck(String),
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Interrupted(_) => Self::Interrupted,
            Stop::Fault(why) => Self::Stuck(why),
            Stop::Hang(why) => Self::Stuck(why.into()),
        }
    }
}

impl From<Interruption> for Ended {
    fn from(_: Interruption) -> Self {
        Self::Interrupted
    }
}

impl From<FlashError> for Ended {
    fn from(error: FlashError) -> Self {
        Stop::from(error).into()
    }
}

impl From<Code> for Ended {
    fn from(code: Code) -> Self {
        Self::Refused(code.to_string())
    }
}

impl From<SlotError> for Ended {
    fn from(error: SlotError) -> Self {
        Self::Refused(format!("{:#06x}", error.number()))
    }
}

/// One upload.
pub(super) struct Upload<'a> {
    pub(super) gecko: &'a Gecko,
    pub(super) package: Package<'a>,
}

impl Upload<'_> {
    /// Pieces of the file, and where each begins.
    fn pieces(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let pieces = self.package.file.chunks(self.package.chunk.max(1));
        pieces.scan(0u32, |sent, piece| {
            let from = *sent;
            *sent = sent.saturating_add(u32::try_from(piece.len()).unwrap_or(u32::MAX));
            Some((from, piece))
        })
    }

    /// To an AppLoader, from 0x00 to the reset.
    pub(super) fn in_place(
        &self,
        flash: &mut Flash,
        entry: &mut Entry,
        state: &mut State,
        cutter: &mut Cutter<'_, State>,
    ) -> Result<(), Ended> {
        let mut loader = AppLoader::default();
        state.stage = Stage::Data;
        state.acknowledged = false;
        cutter.enter(*state);
        cutter.tell(|| "the initiator sends 0x00 and the file".into());
        loader.start();
        for (sent, piece) in self.pieces() {
            let mut controller = Controller::new(flash, cutter);
            // What the AppLoader knows is what it was sent.
            controller.checkpoint("apploader: data", [sent, 0, 0, 0])?;
            loader.data(self.gecko, &mut controller, piece)??;
        }
        loader.finish()?;
        cutter.tell(|| "the answer to 0x03 is that the file is good".into());
        state.stage = Stage::Commit;
        state.acknowledged = true;
        cutter.answer(flash, *state)?;
        loader.disconnect(self.gecko, &mut Controller::new(flash, cutter), entry)?;
        Ok(())
    }

    /// What an application does first: a slot that is not erased is, all of it.
    pub(super) fn erase(
        &self,
        flash: &mut Flash,
        slot: Slot,
        state: &mut State,
        cutter: &mut Cutter<'_, State>,
    ) -> Result<(), Ended> {
        if !self.gecko.slot_is_dirty(flash, slot)? {
            return Ok(());
        }
        state.stage = Stage::Erase;
        cutter.enter(*state);
        cutter.tell(|| "the application erases the slot".into());
        let mut controller = Controller::new(flash, cutter);
        for page in 0.. {
            controller.checkpoint("application: a page of the slot", [page, 0, 0, 0])?;
            if !self.gecko.erase_slot_page(&mut controller, slot, page)? {
                break;
            }
        }
        Ok(())
    }

    /// To an application that has erased its slot, up to the reset into the bootloader.
    pub(super) fn fill_slot(
        &self,
        flash: &mut Flash,
        entry: &mut Entry,
        state: &mut State,
        cutter: &mut Cutter<'_, State>,
    ) -> Result<(), Ended> {
        state.stage = Stage::Data;
        cutter.enter(*state);
        cutter.tell(|| "the initiator sends the file, and the application writes it into the slot".into());
        let mut controller = Controller::new(flash, cutter);
        for (sent, piece) in self.pieces() {
            controller.checkpoint("application: data", [sent, 0, 0, 0])?;
            self.gecko.write_slot(&mut controller, 0, sent, piece)??;
        }
        let mut verification = self.gecko.verify_slot(0)?;
        let good = loop {
            if let Some(good) = verification.step(self.gecko, &mut controller)? {
                break good;
            }
        };
        if !good {
            return Err(verification.code().unwrap_or(Code::ImageError).into());
        }
        state.requested = true;
        cutter.answer(flash, *state)?;
        cutter.tell(|| "the slot is good: the application resets into the bootloader".into());
        *entry = Entry::default();
        entry.reset(reason::BOOTLOAD);
        Ok(())
    }
}
