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
        ("a window of three chunks", &Window),
        ("a window of small chunks, from a high sequence number", &SmallWindow),
        ("parameters are never asked for", &ParamsUnasked),
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

struct Window;

impl Policy for Window {
    fn window(&self, buffers: Option<usize>) -> usize {
        buffers.map_or(1, |buffers| buffers.saturating_sub(1)).min(3)
    }
}

struct SmallWindow;

impl Policy for SmallWindow {
    fn window(&self, _: Option<usize>) -> usize {
        2
    }

    fn chunk_max(&self) -> usize {
        512
    }

    fn first_sequence(&self) -> u8 {
        201
    }
}

struct ParamsUnasked;

impl Policy for ParamsUnasked {
    fn asks_params(&self) -> bool {
        false
    }
}
