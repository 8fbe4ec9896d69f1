//! Mutants that break the rules of uploads.

use brickproof_simulator::smp::{Command, SmpMessage};

use super::{Mutant, policy, wire};
use crate::initiator::policy::{FirstChunk, Policy};
use crate::initiator::wire::Tamper;

pub(super) fn all() -> Vec<Mutant> {
    vec![
        policy("announces no size", "UPL-01", &[], &NoLength),
        policy("counts its own offset", "UPL-04", &["STA-02", "UPL-05"], &OwnOffset),
        policy("starts again without the first fields", "UPL-05", &["UPL-01"], &BareRestart),
        wire("changes a byte on the way", "UPL-06", &["STA-08"], &FlipsAByte),
        policy("forgets the upload with the link", "UPL-10", &[], &NewUpload),
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
