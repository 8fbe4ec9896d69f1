//! The decisions of the built-in initiator.

use brickproof_simulator::smp::{SmpMessage, Version};

use super::link_policy::{GoodCentral, LinkPolicy};
use super::update::{Entry, Job, Report};

/// Packet buffer of a device that does not tell its size, in bytes.
pub const DEFAULT_BUFFER: usize = 384;
/// Room that a first chunk needs at least, in bytes.
const FIRST_CHUNK: usize = 136;

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
    /// Nothing: for chunks that are not the first.
    pub const NONE: Self = Self { len: false, sha: false };
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

    /// Sequence number after this one.
    fn next_sequence(&self, sequence: u8) -> u8 {
        sequence.wrapping_add(1)
    }

    /// Whether an answer with the number `received` is the one to the request with the number `sent`.
    fn takes_answer(&self, sent: u8, received: u8) -> bool {
        sent == received
    }

    /// Whether the version of the header follows what the device speaks.
    fn falls_back(&self) -> bool {
        true
    }

    /// How often a busy device is asked again.
    fn busy_retries(&self) -> u32 {
        5
    }

    /// Pause before a busy device is asked again, in microseconds.
    fn busy_pause_us(&self) -> u64 {
        200_000
    }

    /// Unanswered requests in a row at which it gives up.
    fn unanswered_max(&self) -> u32 {
        4
    }

    /// Whether the device is asked for its parameters.
    fn asks_params(&self) -> bool {
        true
    }

    /// Whether a device that does not tell its parameters is given up.
    fn needs_params(&self) -> bool {
        false
    }

    /// Whether maps have indefinite length.
    fn indefinite_maps(&self) -> bool {
        false
    }

    /// Largest packet in bytes that is sent: the device has told the size of its packet buffers, or not;
    /// `one_write` is what fits one write, where more has to be put together by the device. A device that
    /// does not tell may not be able to.
    fn packet_max(&self, told: Option<usize>, one_write: Option<usize>) -> usize {
        match (told, one_write) {
            (Some(told), _) => told,
            (None, Some(one_write)) if one_write >= FIRST_CHUNK => one_write.min(DEFAULT_BUFFER),
            (None, _) => DEFAULT_BUFFER,
        }
    }

    /// Its decisions about a Bluetooth LE link.
    fn link(&self) -> &dyn LinkPolicy {
        &GoodCentral
    }

    /// Largest number of image bytes in a chunk.
    fn chunk_max(&self) -> usize {
        usize::MAX
    }

    /// Number that the length of every chunk but the last is a multiple of, at most 32: a device may only
    /// take whole write units.
    fn chunk_align(&self) -> usize {
        16
    }

    /// Chunks that may be under way at once, of a device with so many packet buffers, if it has told.
    fn window(&self, buffers: Option<usize>) -> usize {
        let _ = buffers;
        1
    }

    /// Name of the upload: the SHA-256 of the file.
    fn sha(&self, job: &Job) -> Vec<u8> {
        job.sha256.to_vec()
    }

    /// Number of the image that a first chunk names, where there are several.
    fn image_number(&self, job: &Job) -> Option<u32> {
        job.number
    }

    /// Whether each of several images is marked and swapped in before the next one is uploaded.
    fn resets_between_images(&self) -> bool {
        false
    }

    /// Image bytes of a chunk.
    fn data(&self, job: &Job, offset: usize, end: usize) -> Vec<u8> {
        job.image[offset..end].to_vec()
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

    /// Fields of chunks that are not the first.
    fn later_chunk(&self) -> FirstChunk {
        FirstChunk::NONE
    }

    /// How long the device may take over a first chunk, in microseconds: it may erase a whole slot.
    fn first_chunk_us(&self) -> u64 {
        40_000_000
    }

    /// How long the device may take over the last chunk, in microseconds: it may read the whole image.
    fn last_chunk_us(&self) -> u64 {
        20_000_000
    }

    /// How long the device may take to erase a slot, in microseconds.
    fn erase_us(&self) -> u64 {
        90_000_000
    }

    /// Answers in a row without progress that are put up with.
    fn stalled_max(&self) -> u32 {
        10
    }

    /// How often a chunk that was refused is sent again.
    fn refused_retries(&self) -> u32 {
        0
    }

    /// Whether `match: false` in the answer to the last chunk is a failure.
    fn minds_mismatch(&self) -> bool {
        true
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

    /// Whether the bootloader is asked for its mode, and whether it refuses older images.
    fn asks_bootloader(&self) -> bool {
        true
    }

    /// Whether nothing is marked where the bootloader chooses images by their version.
    fn heeds_the_mode(&self) -> bool {
        true
    }

    /// Whether an older image is kept from a bootloader that refuses those.
    fn heeds_no_downgrade(&self) -> bool {
        true
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
