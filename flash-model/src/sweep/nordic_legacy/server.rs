//! A small DFU mode that writes straight to flash, and an uploader that does what all of them do.
//!
//! The radio, the queue and the timers are left out: what matters here is the order in which flash changes.

use super::Package;
use super::monitor::{Stage, State};
use crate::boot::nordic_legacy::{Dfu, NordicLegacy, Status};
use crate::flash::{Controller, Flash};
use crate::sweep::Cutter;
use crate::sweep::nordic::{Ended, run_steps};

impl From<Status> for Ended<Status> {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

/// One upload.
pub(super) struct Upload<'a> {
    pub(super) legacy: &'a NordicLegacy,
    pub(super) package: Package<'a>,
}

impl Upload<'_> {
    /// From DFU mode to the reset.
    pub(super) fn run(
        &self,
        flash: &mut Flash,
        state: &mut State,
        cutter: &mut Cutter<'_, State>,
    ) -> Result<(), Ended<Status>> {
        let Package { mode, sizes, init, image } = self.package;
        let legacy = self.legacy;
        let mut dfu = Dfu::default();
        state.stage = Stage::Erase;
        state.activated = false;
        cutter.enter(*state);
        let erase = legacy.start(&mut dfu, mode, sizes, flash)?;
        run_steps(legacy.map(), &[erase], &mut Controller::new(flash, cutter))?;
        let settings = legacy.erased(&mut dfu, flash);
        run_steps(legacy.map(), &settings, &mut Controller::new(flash, cutter))?;
        state.stage = Stage::Data;
        cutter.enter(*state);
        cutter.tell(|| "the uploader sends init packet and image".into());
        legacy.init_packet(&mut dfu, init)?;
        legacy.init_complete(&mut dfu, flash).map_err(|(status, _)| status)?;
        for piece in image.chunks(legacy.map().page() as usize) {
            let mut controller = Controller::new(flash, cutter);
            controller.checkpoint("dfu: data", [dfu.received(), dfu.image_size(), mode.into(), 0])?;
            let data = legacy.data(&mut dfu, piece)?;
            run_steps(legacy.map(), &[data.step], &mut controller)?;
        }
        legacy.validate(&mut dfu, flash)?;
        cutter.tell(|| "the image is valid, the uploader is told so and asks for its activation".into());
        let steps = legacy.activate(&dfu, flash)?;
        state.stage = Stage::Activation;
        state.activated = true;
        cutter.answer(flash, *state)?;
        Ok(run_steps(legacy.map(), &steps, &mut Controller::new(flash, cutter))?)
    }
}
