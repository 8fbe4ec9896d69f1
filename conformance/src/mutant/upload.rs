//! Mutants that break the rules of uploads.

use brickproof_simulator::smp::{Command, SmpMessage};

use super::{Mutant, policy, wire};
use crate::initiator::policy::{FirstChunk, Policy, Reporter};
use crate::initiator::update::{Job, Report};
use crate::initiator::wire::{Tamper, Untouched};

pub(super) fn all() -> Vec<Mutant> {
    vec![
        policy("announces no size", "UPL-01", &[], &NoLength),
        policy("names no upload", "UPL-02", &["UPL-10"], &NoName),
        policy("names the upload by half a hash", "UPL-02", &[], &HalfName),
        policy("names the upload by the hash of the image", "UPL-02", &[], &WrongName),
        policy("repeats the first fields", "UPL-03", &[], &Repeats),
        policy("counts its own offset", "UPL-04", &["RST-01", "UPL-05"], &OwnOffset),
        // Three chunks ahead are too many for three buffers.
        policy(
            "counts its own offset, several chunks ahead",
            "UPL-04",
            &["RST-01", "UPL-05", "BLE-08"],
            &OwnOffsetAhead,
        ),
        policy("starts again without the first fields", "UPL-05", &["UPL-01"], &BareRestart),
        wire("changes a byte on the way", "UPL-06", &["STA-08"], &FlipsAByte),
        policy("waits five seconds for the first chunk", "UPL-07", &[], &ShortFirst),
        policy("waits five seconds for the last chunk", "UPL-07", &[], &ShortLast),
        policy("does not mind a mismatch", "UPL-08", &[], &Careless),
        policy("sends a refused chunk again", "UPL-09", &["STA-12"], &Insistent),
        policy("forgets the upload with the link", "UPL-10", &["UPL-05"], &NewUpload),
        policy("waits for an upload that is stuck", "UPL-11", &[], &Stuck),
        policy("sends chunks of any length", "UPL-12", &[], &AnyLength),
        policy("waits ten seconds for an erase", "UPL-13", &[], &ShortErase),
        Mutant {
            name: "takes a lost link for the end",
            breaks: "RST-05",
            also: &[],
            policy: &GivesUp,
            tamper: &Untouched,
            reporter: &Silent,
        },
    ]
}

struct NoLength;

impl Policy for NoLength {
    fn first_chunk(&self) -> FirstChunk {
        FirstChunk { len: false, ..FirstChunk::WHOLE }
    }

    fn restarted_chunk(&self) -> FirstChunk {
        self.first_chunk()
    }

    fn resumed_chunk(&self) -> FirstChunk {
        self.first_chunk()
    }
}

struct OwnOffset;

impl Policy for OwnOffset {
    fn next_offset(&self, sent: usize, _: usize) -> usize {
        sent
    }
}

struct OwnOffsetAhead;

impl Policy for OwnOffsetAhead {
    fn next_offset(&self, sent: usize, _: usize) -> usize {
        sent
    }

    fn window(&self, _: Option<usize>) -> usize {
        3
    }
}

struct NoName;

impl Policy for NoName {
    fn first_chunk(&self) -> FirstChunk {
        FirstChunk { sha: false, ..FirstChunk::WHOLE }
    }

    fn restarted_chunk(&self) -> FirstChunk {
        self.first_chunk()
    }

    fn resumed_chunk(&self) -> FirstChunk {
        self.first_chunk()
    }
}

struct HalfName;

impl Policy for HalfName {
    fn sha(&self, job: &Job) -> Vec<u8> {
        job.sha256[..16].to_vec()
    }
}

struct WrongName;

impl Policy for WrongName {
    fn sha(&self, job: &Job) -> Vec<u8> {
        job.tlv_hash.to_vec()
    }
}

struct Repeats;

impl Policy for Repeats {
    fn later_chunk(&self) -> FirstChunk {
        FirstChunk::WHOLE
    }
}

struct ShortFirst;

impl Policy for ShortFirst {
    fn first_chunk_us(&self) -> u64 {
        5_000_000
    }
}

struct ShortLast;

impl Policy for ShortLast {
    fn last_chunk_us(&self) -> u64 {
        5_000_000
    }
}

struct Careless;

impl Policy for Careless {
    fn minds_mismatch(&self) -> bool {
        false
    }
}

struct Insistent;

impl Policy for Insistent {
    fn refused_retries(&self) -> u32 {
        3
    }
}

struct Stuck;

impl Policy for Stuck {
    fn stalled_max(&self) -> u32 {
        60
    }
}

struct AnyLength;

impl Policy for AnyLength {
    fn chunk_align(&self) -> usize {
        1
    }

    fn chunk_max(&self) -> usize {
        // Less than the buffers of the recovery hold, and no multiple of any write unit.
        257
    }
}

struct ShortErase;

impl Policy for ShortErase {
    fn erase_us(&self) -> u64 {
        10_000_000
    }
}

struct GivesUp;

impl Policy for GivesUp {
    fn unanswered_max(&self) -> u32 {
        2
    }
}

struct Silent;

impl Reporter for Silent {
    fn report(&self, truth: Report) -> Report {
        let silence = truth.message.contains("stopped answering");
        Report { success: truth.success || silence, ..truth }
    }
}

struct BareRestart;

impl Policy for BareRestart {
    fn restarted_chunk(&self) -> FirstChunk {
        FirstChunk { len: false, sha: false }
    }
}

struct NewUpload;

impl Policy for NewUpload {
    fn resumed_chunk(&self) -> FirstChunk {
        FirstChunk { sha: false, ..FirstChunk::WHOLE }
    }
}

struct FlipsAByte;

impl Tamper for FlipsAByte {
    fn sent(&self, mut packet: Vec<u8>) -> Vec<u8> {
        let message = SmpMessage::parse(&packet);
        let full = packet.len() > 1000;
        if full
            && message.known() == Some(Command::ImageUpload)
            && let Some(last) = packet.last_mut()
        {
            *last ^= 0x40;
        }
        packet
    }
}
