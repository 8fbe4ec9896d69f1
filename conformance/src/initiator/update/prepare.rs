//! What the device has already, and what is in the way.
//!
//! | the list shows | what is done |
//! |---|---|
//! | the new image, running and confirmed | nothing: it is done |
//! | the new image, running in its test | confirm |
//! | the new image, pending | no upload, no mark: reset |
//! | the new image in the other slot, no flag | no upload: mark, reset |
//! | another image pending, or another one running in its test | reset, until it is out of the way |
//! | anything else | upload |

use super::super::wire::Wire;
use super::Update;
use super::list::Entry;

/// Resets that clear the way: a pending image needs one to be tried and one to be swapped back.
const CLEARING_RESETS_MAX: u32 = 3;

/// What is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum There {
    /// The image is not on the device.
    Absent,
    /// It lies in the other slot.
    Uploaded,
    /// The next boot swaps it in.
    Pending,
    /// It runs in its test.
    Testing,
    /// It runs and stays.
    Confirmed,
}

impl<W: Wire> Update<'_, W> {
    /// Looks what is there, and resets until nothing is in the way of an upload.
    pub(super) async fn prepare(&mut self) -> Result<There, String> {
        if !self.policy.looks_before_uploading() {
            return Ok(There::Absent);
        }
        for _ in 0..=CLEARING_RESETS_MAX {
            let images = self.list().await?;
            let ours = images.iter().find(|image| image.hash == self.hash);
            match ours.map(Entry::there) {
                Some(There::Uploaded) if !self.policy.skips_what_is_there() => return Ok(There::Absent),
                Some(there) => return Ok(there),
                None => {}
            }
            let Some(what) = in_the_way(&images).filter(|_| self.policy.clears_the_way()) else {
                return Ok(There::Absent);
            };
            self.step("reset");
            self.reset().await.map_err(|error| format!("{what}: {error}"))?;
            self.step("wait");
            self.wait().await?;
            self.step("list");
        }
        Err(format!("another image is still in the way after {} resets", CLEARING_RESETS_MAX + 1))
    }
}

impl Entry {
    fn there(&self) -> There {
        match (self.is(Self::ACTIVE), self.is(Self::CONFIRMED)) {
            (true, true) => There::Confirmed,
            (true, false) => There::Testing,
            // A confirmed image that does not run is the one that the next boot goes back to.
            (false, true) => There::Pending,
            (false, false) if self.is_marked() => There::Pending,
            (false, false) => There::Uploaded,
        }
    }
}

/// What keeps the other slot from being written.
fn in_the_way(images: &[Entry]) -> Option<&'static str> {
    if images.iter().any(Entry::is_marked) {
        Some("another image is pending")
    } else if images.iter().any(|image| image.is(Entry::ACTIVE) && !image.is(Entry::CONFIRMED)) {
        Some("another image is in its test")
    } else {
        None
    }
}
