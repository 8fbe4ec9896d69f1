//! Initiators that are broken on purpose, and some that are merely unusual.
//!
//! A check proves nothing until it has caught something. Each [`Mutant`] breaks one requirement at one of
//! three seams (policy, wire, report) and names what else falls with it; the test compares exactly. The
//! [`legal_oddities`] must pass everything: they are the control against false verdicts.

use brickproof_simulator::smp::{Command, SmpMessage, Version};

use crate::initiator::policy::{FirstChunk, Policy, Reporter, Truthful, WellBehaved};
use crate::initiator::update::{Job, Report};
use crate::initiator::wire::{Tamper, Untouched};

/// A changed initiator.
pub struct Mutant {
    /// Its name.
    pub name: &'static str,
    /// The requirement it breaks.
    pub breaks: &'static str,
    /// Requirements that fall with it.
    pub also: &'static [&'static str],
    /// What it decides.
    pub policy: &'static dyn Policy,
    /// What it does to packets.
    pub tamper: &'static dyn Tamper,
    /// What it says.
    pub reporter: &'static dyn Reporter,
}

const fn policy(
    name: &'static str,
    breaks: &'static str,
    also: &'static [&'static str],
    policy: &'static dyn Policy,
) -> Mutant {
    Mutant { name, breaks, also, policy, tamper: &Untouched, reporter: &Truthful }
}

/// All mutants: at least one for each requirement.
#[must_use]
pub fn all() -> Vec<Mutant> {
    vec![
        policy("takes a refusal for a success", "SMP-08", &[], &DeafToErrors),
        policy("announces no size", "UPL-01", &[], &NoLength),
        policy("counts its own offset", "UPL-04", &["RST-01", "STA-02", "UPL-05"], &OwnOffset),
        policy("starts again without the first fields", "UPL-05", &["UPL-01"], &BareRestart),
        Mutant {
            name: "changes a byte on the way",
            breaks: "UPL-06",
            also: &["STA-08"],
            policy: &WellBehaved,
            tamper: &FlipsAByte,
            reporter: &Truthful,
        },
        policy("forgets the upload with the link", "UPL-10", &[], &NewUpload),
        policy("marks by the hash of the file", "STA-02", &[], &FileHash),
        policy("resets without marking", "STA-03", &["STA-08"], &NeverMarks),
        policy("confirms without looking", "STA-07", &[], &Blind),
        Mutant {
            name: "reports success whatever happened",
            breaks: "STA-08",
            also: &["SMP-08"],
            policy: &WellBehaved,
            tamper: &Untouched,
            reporter: &Liar,
        },
        policy("resets halfway through the upload", "RST-01", &["STA-08"], &Hasty),
        policy("fails without an answer to the reset", "RST-02", &[], &Formal),
        policy("waits five seconds for a swap", "RST-03", &["RST-02"], &Impatient),
    ]
}

struct DeafToErrors;

impl Policy for DeafToErrors {
    fn is_failure(&self, answer: &SmpMessage) -> bool {
        // Only the form of version 1 is looked for.
        answer.body.contains_key("err")
    }
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

struct FileHash;

impl Policy for FileHash {
    fn hash(&self, job: &Job) -> Vec<u8> {
        job.sha256.to_vec()
    }
}

struct NeverMarks;

impl Policy for NeverMarks {
    fn marks_for_test(&self) -> bool {
        false
    }
}

struct Blind;

impl Policy for Blind {
    fn looks_before_confirming(&self) -> bool {
        false
    }
}

struct Hasty;

impl Policy for Hasty {
    fn uploads_permille(&self) -> usize {
        500
    }

    fn marks_for_test(&self) -> bool {
        false
    }
}

struct Formal;

impl Policy for Formal {
    fn needs_reset_answer(&self) -> bool {
        true
    }
}

struct Impatient;

impl Policy for Impatient {
    fn patience_us(&self) -> u64 {
        5_000_000
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

struct Liar;

impl Reporter for Liar {
    fn report(&self, _: Report) -> Report {
        Report { success: true, message: "done".into() }
    }
}

/// Unusual initiators that do nothing wrong.
#[must_use]
pub fn legal_oddities() -> Vec<(&'static str, &'static dyn Policy)> {
    vec![
        ("small chunks", &SmallChunks),
        ("sequence numbers that start high", &HighSequence),
        ("maps of indefinite length", &IndefiniteMaps),
        ("headers of version 0", &Original),
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
