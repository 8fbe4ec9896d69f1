//! Who decides what happens to an operation.

use super::{Flash, Interruption, Refusal};

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind<'a> {
    /// Sets whole sectors to the erased value.
    Erase {
        /// Length in bytes.
        len: u32,
    },
    /// Programs these bytes.
    Program {
        /// The bytes, a whole number of program units.
        data: &'a [u8],
    },
}

/// One erase or program call, before it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation<'a> {
    /// Position among the operations of this [`Controller`](super::Controller), from 0.
    pub n: u64,
    /// Index of the device.
    pub device: u8,
    /// Byte offset from the start of the device.
    pub offset: u32,
    /// Erase or program.
    pub kind: OperationKind<'a>,
}

impl Operation<'_> {
    /// Length in bytes.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a program is inside a device of at most 256 MiB")]
    pub fn len(&self) -> u32 {
        match self.kind {
            OperationKind::Erase { len } => len,
            OperationKind::Program { data } => data.len() as u32,
        }
    }

    /// Whether nothing would be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which bytes an interrupted operation reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tear {
    /// The first `n` bytes.
    Prefix(u32),
    /// The last `n` bytes.
    Suffix(u32),
    /// Of every byte, these bits. An erase that is torn so leaves the others as they were.
    Bits(u8),
    /// What was there is gone and nothing sensible has come: the same bytes whatever was there. A program that is torn so
    /// programs a part of the bits of its bytes.
    Garbage,
    /// Any bytes: pseudo-random, reproducible from the seed. Of a program some units are reached
    /// and others partly; an erase leaves bytes that are neither old nor erased.
    Noise(u64),
}

/// A rule that gives a [`Tear`] for an operation of any length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TearModel {
    /// The interrupted operation has no effect.
    #[default]
    Nothing,
    /// The first half of the bytes is reached.
    FirstHalf,
    /// Of a program all bytes but the last; of an erase the second half.
    AllButLast,
    /// Any bytes, drawn from this seed.
    Noise(u64),
}

impl TearModel {
    /// The tear of this operation; `None` when it has no effect.
    #[must_use]
    pub fn tear(self, operation: &Operation<'_>) -> Option<Tear> {
        let len = operation.len();
        match (self, operation.kind) {
            (Self::Nothing, _) => None,
            (Self::FirstHalf, _) => Some(Tear::Prefix(len / 2)),
            (Self::AllButLast, OperationKind::Program { .. }) => Some(Tear::Prefix(len.saturating_sub(1))),
            (Self::AllButLast, OperationKind::Erase { .. }) => Some(Tear::Suffix(len / 2)),
            (Self::Noise(seed), _) => Some(Tear::Noise(seed)),
        }
    }
}

/// What a [`Hook`] decides before an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It happens.
    Proceed,
    /// It does not happen, and nothing after it.
    Interrupt(Interruption),
    /// A part of it happens, and nothing after it.
    Tear(Tear, Interruption),
}

/// A place in straight-line code at which an exploration may recognise a state it has been in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// Name of the loop.
    pub name: &'static str,
    /// What the code keeps in RAM there, enough to go on from the flash contents alone.
    pub status: [u32; 4],
}

/// Watches operations and decides about them.
///
/// Every method has a default that lets everything happen.
pub trait Hook {
    /// Asked before each operation, with the flash as it is then.
    fn before(&mut self, operation: &Operation<'_>, flash: &Flash) -> Verdict {
        let _ = (operation, flash);
        Verdict::Proceed
    }

    /// Told after each operation that happened, wholly or in part.
    fn after(&mut self, operation: &Operation<'_>, tear: Option<Tear>) {
        let _ = (operation, tear);
    }

    /// Told of each operation that the device refused.
    fn refused(&mut self, operation: &Operation<'_>, refusal: &Refusal) {
        let _ = (operation, refusal);
    }

    /// Asked at the head of each loop of a bootloader.
    fn checkpoint(&mut self, step: &Step, flash: &Flash) -> Option<Interruption> {
        let _ = (step, flash);
        None
    }
}

/// Lets everything happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uncut;

impl Hook for Uncut {}

/// Counts operations and checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Operations that happened.
    pub operations: u64,
    /// Loop heads passed.
    pub checkpoints: u64,
}

impl Hook for Count {
    fn after(&mut self, _: &Operation<'_>, _: Option<Tear>) {
        self.operations += 1;
    }

    fn checkpoint(&mut self, _: &Step, _: &Flash) -> Option<Interruption> {
        self.checkpoints += 1;
        None
    }
}

/// Loses power at one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The operation that is interrupted, from 0.
    pub at: u64,
    /// What it leaves behind.
    pub tear: TearModel,
}

impl Hook for Cut {
    fn before(&mut self, operation: &Operation<'_>, _: &Flash) -> Verdict {
        if operation.n != self.at {
            return Verdict::Proceed;
        }
        match self.tear.tear(operation) {
            None => Verdict::Interrupt(Interruption::PowerLoss),
            Some(tear) => Verdict::Tear(tear, Interruption::PowerLoss),
        }
    }
}
