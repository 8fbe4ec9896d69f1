//! A small DFU mode that writes straight to flash, and an uploader that does what all of them do.
//!
//! The radio, the queue and the timers are left out: what matters here is the order in which flash changes.

use super::Package;
use super::monitor::{Stage, State};
use crate::boot::nordic_legacy::{Dfu, FlashStep, NordicLegacy, Status};
use crate::flash::{Controller, Flash, FlashError};
use crate::sweep::Cutter;

/// Why an upload ended.
pub(super) enum Ended {
    /// Power was lost, or the run was merged.
    Interrupted,
    /// Something was refused.
    Refused(Status),
    /// Flash was.
    Flash(FlashError),
}

impl From<FlashError> for Ended {
    fn from(error: FlashError) -> Self {
        match error {
            FlashError::Interrupted(_) => Self::Interrupted,
            other => Self::Flash(other),
        }
    }
}

impl From<Status> for Ended {
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
    fn run_steps(&self, steps: &[FlashStep], controller: &mut Controller<'_>) -> Result<(), FlashError> {
        let map = self.legacy.map();
        steps.iter().try_for_each(|step| step.run(map.whole(), map.page(), controller))
    }

    /// From DFU mode to the reset.
    pub(super) fn run(
        &self,
        flash: &mut Flash,
        state: &mut State,
        cutter: &mut Cutter<'_, State>,
    ) -> Result<(), Ended> {
        let Package { mode, sizes, init, image } = self.package;
        let legacy = self.legacy;
        let mut dfu = Dfu::default();
        state.stage = Stage::Erase;
        state.activated = false;
        cutter.enter(*state);
        let erase = legacy.start(&mut dfu, mode, sizes, flash)?;
        self.run_steps(&[erase], &mut Controller::new(flash, cutter))?;
        let settings = legacy.erased(&mut dfu, flash);
        self.run_steps(&settings, &mut Controller::new(flash, cutter))?;
        state.stage = Stage::Data;
        cutter.enter(*state);
        cutter.tell(|| "the uploader sends init packet and image".into());
        legacy.init_packet(&mut dfu, init)?;
        legacy.init_complete(&mut dfu, flash).map_err(|(status, _)| status)?;
        for piece in image.chunks(legacy.map().page() as usize) {
            let mut controller = Controller::new(flash, cutter);
            controller.checkpoint("dfu: data", [dfu.received(), dfu.image_size(), mode.into(), 0])?;
            let data = legacy.data(&mut dfu, piece)?;
            self.run_steps(&[data.step], &mut controller)?;
        }
        legacy.validate(&mut dfu, flash)?;
        cutter.tell(|| "the image is valid, the uploader is told so and asks for its activation".into());
        let steps = legacy.activate(&dfu, flash)?;
        state.stage = Stage::Activation;
        state.activated = true;
        cutter.answer(flash, *state).map_err(|_| Ended::Interrupted)?;
        Ok(self.run_steps(&steps, &mut Controller::new(flash, cutter))?)
    }
}
