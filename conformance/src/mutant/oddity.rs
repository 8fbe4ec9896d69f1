//! Unusual initiators that do nothing wrong.

use brickproof_simulator::smp::Version;

use crate::initiator::policy::Policy;

pub(super) fn all() -> Vec<(&'static str, &'static dyn Policy)> {
    vec![
        ("small chunks", &SmallChunks),
        ("sequence numbers that start high", &HighSequence),
        ("maps of indefinite length", &IndefiniteMaps),
        ("headers of version 0", &Original),
        ("a confirmation with the hash", &ConfirmsByHash),
    ]
}

struct SmallChunks;

impl Policy for SmallChunks {
    fn chunk_max(&self) -> usize {
        160
    }
}

struct HighSequence;

impl Policy for HighSequence {
    fn first_sequence(&self) -> u8 {
        250
    }
}

struct IndefiniteMaps;

impl Policy for IndefiniteMaps {
    fn indefinite_maps(&self) -> bool {
        true
    }
}

struct Original;

impl Policy for Original {
    fn version(&self) -> Version {
        Version::V0
    }
}

struct ConfirmsByHash;

impl Policy for ConfirmsByHash {
    fn confirms_by_hash(&self) -> bool {
        true
    }
}
