//! The queue of the flash driver, as the SoftDevice works it off (nrf5 sdk 17.1: `nrf_fstorage_sd.c`).
//!
//! A write is given to the SoftDevice in pieces of 20 bytes, each of them whole words. What is no whole number of words
//! loses its end, unless the piece is shorter than a word; a write that does not begin at a word is refused again and
//! again, and then given up. Nobody is told of either: the hash of the whole image shows it.

use std::collections::VecDeque;

use brickproof_flash_model::boot::nordic::FlashStep;

/// Bytes of one call of the SoftDevice (`NRF_FSTORAGE_SD_MAX_WRITE_SIZE`).
const PIECE: usize = 20;
/// Bytes of a word.
const WORD: usize = 4;

/// What follows when a job is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum After {
    /// Nothing.
    Nothing,
    /// The buffer of a packet is free again.
    FreeBuffer,
    /// The update is over: its outcome is in flash.
    Completed,
    /// The device resets.
    Reset,
    /// The application's answer.
    Answer,
}

/// A job of the flash driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    /// What the flash is made to do; `None` where the driver gives up.
    pub(crate) step: Option<FlashStep>,
    pub(super) after: After,
}

/// Jobs in the order in which they are done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FlashQueue {
    jobs: VecDeque<Job>,
}

impl FlashQueue {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// The job that is done now.
    pub(super) fn first(&self) -> Option<&Job> {
        self.jobs.front()
    }

    /// The first job is done.
    pub(super) fn done(&mut self) -> Option<After> {
        self.jobs.pop_front().map(|job| job.after)
    }

    /// Adds a step as it is.
    pub(super) fn push(&mut self, step: FlashStep, after: After) {
        self.jobs.push_back(Job { step: Some(step), after });
    }

    /// The settings of this step are to be written. All writes of a page are from one buffer of the code, which now has
    /// these bytes, also for writes that are queued (nrf5 sdk 17.1: `nrf_dfu_settings.c`, `settings_write`).
    pub(super) fn buffer_settings(&mut self, step: &FlashStep) {
        if let FlashStep::Store { address, bytes } = step {
            for job in &mut self.jobs {
                if let Some(FlashStep::Store { address: other, bytes: buffer }) = &mut job.step
                    && other == address
                {
                    buffer.clone_from(bytes);
                }
            }
        }
    }

    /// Adds steps, the last of which is followed by something.
    pub(super) fn push_all(&mut self, steps: Vec<FlashStep>, after: After) {
        let last = steps.len().saturating_sub(1);
        for (index, step) in steps.into_iter().enumerate() {
            self.push(step, if index == last { after } else { After::Nothing });
        }
    }

    /// Adds a job that the driver will refuse.
    pub(super) fn push_refused(&mut self, after: After) {
        self.jobs.push_back(Job { step: None, after });
    }

    /// Adds a packet as the driver writes it.
    pub(super) fn push_packet(&mut self, step: FlashStep, gathers: bool, after: After) {
        let step = if gathers { Some(step) } else { driven(step) };
        self.jobs.push_back(Job { step, after });
    }
}

/// What the driver makes of a packet.
fn driven(step: FlashStep) -> Option<FlashStep> {
    let FlashStep::Store { address, mut bytes } = step else { return Some(step) };
    if !(address as usize).is_multiple_of(WORD) {
        return None;
    }
    let last = bytes.len() % PIECE;
    if last > WORD {
        bytes.truncate(bytes.len() - last % WORD);
    }
    Some(FlashStep::Store { address, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_whole_word_is_lost_or_filled_up() {
        let written = |address: u32, len: usize| match driven(FlashStep::Store { address, bytes: vec![7; len] }) {
            Some(FlashStep::Store { bytes, .. }) => Some(bytes.len()),
            Some(FlashStep::Erase { .. }) | None => None,
        };
        assert_eq!([4, 20, 244, 8].map(|len| written(0, len)), [4, 20, 244, 8].map(Some));
        // A piece shorter than a word is filled up to one, and one that is longer loses its end.
        assert_eq!([1, 3, 21, 5, 26, 39].map(|len| written(0, len)), [1, 3, 21, 4, 24, 36].map(Some));
        assert_eq!(written(2, 20), None);
    }
}
