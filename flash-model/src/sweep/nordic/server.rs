//! A small DFU mode that writes straight to flash, and an uploader that does what Nordic's own do.
//!
//! The radio, the queue and the timers are left out: what matters here is the order in which flash changes, and what the
//! uploader has been told by then.

use std::fmt::Display;

use super::monitor::{Stage, State};
use crate::boot::nordic::{Dfu, FlashStep, MemoryMap, Nordic, Refusal};
use crate::flash::{Controller, Flash, FlashError, Interruption};
use crate::image::nordic::crc32;
use crate::sweep::{Cutter, End, Violation};

/// Why an upload ended.
pub(in crate::sweep) enum Ended<R> {
    /// Power was lost, or the run was merged.
    Interrupted,
    /// Something was refused.
    Refused(R),
    /// Flash was.
    Flash(FlashError),
}

impl<R> From<Interruption> for Ended<R> {
    fn from(_: Interruption) -> Self {
        Self::Interrupted
    }
}

impl<R> From<FlashError> for Ended<R> {
    fn from(error: FlashError) -> Self {
        match error {
            FlashError::Interrupted(_) => Self::Interrupted,
            other => Self::Flash(other),
        }
    }
}

impl From<Refusal> for Ended<Refusal> {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<R: Display> From<Ended<R>> for End {
    fn from(ended: Ended<R>) -> Self {
        match ended {
            Ended::Interrupted => Self::Interrupted,
            Ended::Refused(refusal) => Violation::new("upload", format!("refused: {refusal}")).into(),
            Ended::Flash(error) => Violation::new("upload", format!("flash: {error}")).into(),
        }
    }
}

/// Performs what a DFU mode asks of its flash.
pub(in crate::sweep) fn run_steps(
    map: &MemoryMap,
    steps: &[FlashStep],
    controller: &mut Controller<'_>,
) -> Result<(), FlashError> {
    steps.iter().try_for_each(|step| step.run(map.whole(), map.page(), controller))
}

/// One upload.
pub(super) struct Upload<'a> {
    pub(super) nordic: &'a Nordic,
    pub(super) init: &'a [u8],
    pub(super) image: &'a [u8],
}

impl Upload<'_> {
    fn write_settings(
        &self,
        dfu: &mut Dfu,
        flash: &mut Flash,
        cutter: &mut Cutter<'_, State>,
    ) -> Result<(), FlashError> {
        let mut steps = std::mem::take(&mut dfu.steps);
        steps.extend(self.nordic.settings_write_and_backup(&mut dfu.settings, flash));
        run_steps(self.nordic.map(), &steps, &mut Controller::new(flash, cutter))
    }

    /// From an init packet that may be there already to the reset; `fresh`: it is sent in any case.
    pub(super) fn run(
        &self,
        flash: &mut Flash,
        fresh: bool,
        state: &mut State,
        cutter: &mut Cutter<'_, State>,
    ) -> Result<(), Ended<Refusal>> {
        let nordic = self.nordic;
        let mut dfu = nordic.start(flash)?;
        let progress = dfu.settings.progress;
        let there = progress.command_offset as usize == self.init.len() && progress.command_crc == crc32(self.init, 0);
        if fresh || !there {
            cutter.tell(|| "the uploader sends the init packet".into());
            nordic.init_command_create(&mut dfu, self.init.len() as u32)?;
            nordic.init_command_append(&mut dfu, self.init)?;
        }
        state.stage = Stage::Init;
        cutter.enter(*state);
        nordic.init_command_execute(&mut dfu, flash)?;
        // The answer comes first, and the settings behind it.
        state.accepted = true;
        cutter.answer(flash, *state)?;
        self.write_settings(&mut dfu, flash, cutter)?;
        state.stage = Stage::Data;
        cutter.enter(*state);
        loop {
            let offset = dfu.settings.progress.image_offset_last;
            let mut controller = Controller::new(flash, cutter);
            let start = dfu.firmware_start;
            controller
                .checkpoint("dfu: object", [offset, start, dfu.firmware_size, dfu.settings.progress.image_crc_last])?;
            let rest = self.image.get(offset as usize..).unwrap_or_default();
            let object = rest.get(..nordic.data_object_max() as usize).unwrap_or(rest);
            let erase = nordic.data_create(&mut dfu, object.len() as u32)?;
            run_steps(nordic.map(), &[erase], &mut controller)?;
            let store = nordic.data_write(&dfu, object)?;
            run_steps(nordic.map(), &[store], &mut controller)?;
            nordic.data_written(&mut dfu, object);
            if nordic.data_execute(&mut dfu)? {
                break;
            }
            if nordic.options().saves_progress() {
                self.write_settings(&mut dfu, flash, cutter)?;
            }
        }
        nordic.activation_prepare(&mut dfu, flash)?;
        cutter.tell(|| "the image is accepted, and the uploader is told so".into());
        state.stage = Stage::Commit;
        state.acknowledged = true;
        cutter.answer(flash, *state)?;
        Ok(self.write_settings(&mut dfu, flash, cutter)?)
    }
}
