//! The decisions of the built-in initiator.

use brickproof_simulator::smp::{SmpMessage, Version};

use super::update::{Entry, Job, Report};

/// Fields of a first chunk besides `off` and `data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstChunk {
    /// Announce the size.
    pub len: bool,
    /// Name the upload by its SHA-256.
    pub sha: bool,
}

impl FirstChunk {
    /// Everything.
    pub const WHOLE: Self = Self { len: true, sha: true };
}

/// How an image is marked before the reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// For test: the boot after the next goes back, unless it is confirmed.
    Test,
    /// For good.
    Confirm,
    /// Not at all.
    Nothing,
}

/// What the built-in initiator decides. The defaults are right; a mutant overrides one.
pub trait Policy: Sync {
    /// Header version of requests.
    fn version(&self) -> Version {
        Version::V1
    }

    /// Sequence number of the first request.
    fn first_sequence(&self) -> u8 {
        0
    }

    /// Whether maps have indefinite length.
    fn indefinite_maps(&self) -> bool {
        false
    }

    /// Largest number of image bytes in a chunk.
    fn chunk_max(&self) -> usize {
        usize::MAX
    }

    /// Fields of the very first chunk.
    fn first_chunk(&self) -> FirstChunk {
        FirstChunk::WHOLE
    }

    /// Fields of a first chunk that is sent because the device answered offset 0 later.
    fn restarted_chunk(&self) -> FirstChunk {
        FirstChunk::WHOLE
    }

    /// Fields of a first chunk that is sent after the link was lost.
    fn resumed_chunk(&self) -> FirstChunk {
        FirstChunk::WHOLE
    }

    /// Where the next chunk starts, after the device has answered `returned` to one that ended at `sent`.
    fn next_offset(&self, sent: usize, returned: usize) -> usize {
        let _ = sent;
        returned
    }

    /// Part of the image in thousandths after which it goes on to the next step.
    fn uploads_permille(&self) -> usize {
        1000
    }

    /// Whether an answer means that the request failed.
    fn is_failure(&self, answer: &SmpMessage) -> bool {
        answer.failure().is_some()
    }

    /// Hash by which the image is marked.
    fn hash(&self, job: &Job) -> Vec<u8> {
        job.tlv_hash.to_vec()
    }

    /// Whether it asks what the device has before it uploads.
    fn looks_before_uploading(&self) -> bool {
        true
    }

    /// Whether an image that the device has already is not uploaded again.
    fn skips_what_is_there(&self) -> bool {
        true
    }

    /// Whether it resets the device while another image is pending or in its test.
    fn clears_the_way(&self) -> bool {
        true
    }

    /// Why a list of images cannot be made sense of; never, by default.
    fn finds_fault_with(&self, list: &SmpMessage) -> Option<&'static str> {
        let _ = list;
        None
    }

    /// Which entry of a list is the running image.
    fn running<'l>(&self, images: &'l [Entry]) -> Option<&'l Entry> {
        images.iter().find(|image| image.is(Entry::ACTIVE))
    }

    /// How the image is marked before the reset.
    fn marks(&self) -> Mark {
        Mark::Test
    }

    /// Whether the confirmation names the hash of the image; without one the running image is meant.
    fn confirms_by_hash(&self) -> bool {
        false
    }

    /// Whether it stops when the device refuses to mark the image.
    fn heeds_a_refused_mark(&self) -> bool {
        true
    }

    /// Whether it looks for the mark in the list that answers it.
    fn verifies_the_mark(&self) -> bool {
        true
    }

    /// Whether the reset fails without an answer.
    fn needs_reset_answer(&self) -> bool {
        false
    }

    /// How long the device may stay away after the reset, in microseconds.
    fn patience_us(&self) -> u64 {
        180_000_000
    }

    /// Whether the list is read, and the new image seen running, before it is confirmed.
    fn looks_before_confirming(&self) -> bool {
        true
    }
}

/// A well-behaved initiator.
#[derive(Debug, Clone, Copy, Default)]
pub struct WellBehaved;

impl Policy for WellBehaved {}

/// What the built-in initiator says of its own work.
pub trait Reporter: Sync {
    /// The report that is given, from the one that is true.
    fn report(&self, truth: Report) -> Report {
        truth
    }
}

/// Says what happened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Truthful;

impl Reporter for Truthful {}
