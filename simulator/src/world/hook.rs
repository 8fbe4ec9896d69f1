//! The hook of a running world: times operations, records them and cuts them.

use brickproof_flash_model::flash::{
    Flash, Hook, Interruption, Operation, OperationKind, Refusal, Tear, TearModel, Verdict,
};
use sha2::{Digest, Sha256};

use crate::device::{Board, FlashTiming};
use crate::trace::{FlashOp, FlashResult, Kind, hex};

/// Where a piece of work is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CutAt {
    /// At this operation.
    Operation { n: u64, tear: TearModel },
    /// At this time in microseconds; the operation under way has been done in proportion.
    Time(u64),
}

/// Times, records and cuts the operations of one piece of work.
pub(super) struct Timed<'a> {
    board: &'a Board,
    timing: FlashTiming,
    cut: Option<CutAt>,
    keep: bool,
    /// Time at which the next operation begins, in microseconds.
    pub(super) now: u64,
    /// Records with the times at which they are due.
    pub(super) records: Vec<(u64, Kind)>,
    pub(super) operations: u64,
}

impl<'a> Timed<'a> {
    /// Work that starts at `start`, with the durations of the bootloader or of the application.
    pub(super) fn new(board: &'a Board, timing: FlashTiming, start: u64, cut: Option<CutAt>, keep: bool) -> Self {
        Self { board, timing, cut, keep, now: start, records: Vec::new(), operations: 0 }
    }

    fn duration_us(&self, operation: &Operation<'_>) -> u64 {
        let geometry = &self.board.layout.devices[usize::from(operation.device)].geometry;
        self.timing.duration_us(geometry, operation)
    }

    fn note(&mut self, operation: &Operation<'_>, duration_us: u64, result: FlashResult) {
        if !self.keep && result == FlashResult::Done {
            return;
        }
        let (op, sha) = match operation.kind {
            OperationKind::Erase { .. } => ("erase", None),
            OperationKind::Program { data } => ("program", Some(hex(&Sha256::digest(data)[..8]))),
        };
        let record = FlashOp {
            device: self.board.layout.devices[usize::from(operation.device)].name.clone(),
            op: op.into(),
            offset: operation.offset.into(),
            len: operation.len().into(),
            sha,
            duration_us,
            result,
        };
        self.records.push((self.now, Kind::Flash(record)));
    }
}

impl Hook for Timed<'_> {
    fn before(&mut self, operation: &Operation<'_>, _: &Flash) -> Verdict {
        let verdict = match self.cut {
            Some(CutAt::Operation { n, tear }) if n == operation.n => match tear.tear(operation) {
                None => Verdict::Interrupt(Interruption::PowerLoss),
                Some(tear) => Verdict::Tear(tear, Interruption::PowerLoss),
            },
            Some(CutAt::Time(at)) => {
                let duration = self.duration_us(operation);
                if self.now >= at {
                    Verdict::Interrupt(Interruption::PowerLoss)
                } else if self.now + duration > at {
                    let reached = u64::from(operation.len()) * (at - self.now) / duration.max(1);
                    Verdict::Tear(Tear::Prefix(u32::try_from(reached).unwrap_or(0)), Interruption::PowerLoss)
                } else {
                    Verdict::Proceed
                }
            }
            _ => Verdict::Proceed,
        };
        if let Verdict::Interrupt(_) = verdict {
            self.note(operation, 0, FlashResult::Cut);
        }
        verdict
    }

    fn after(&mut self, operation: &Operation<'_>, tear: Option<Tear>) {
        let duration = self.duration_us(operation);
        if tear.is_some() {
            let done = if let Some(CutAt::Time(at)) = self.cut { at - self.now } else { duration / 2 };
            self.now += done;
            self.note(operation, done, FlashResult::Torn);
        } else {
            self.now += duration;
            self.operations += 1;
            self.note(operation, duration, FlashResult::Done);
        }
    }

    fn refused(&mut self, operation: &Operation<'_>, refusal: &Refusal) {
        self.note(operation, 0, FlashResult::Refused(refusal.to_string()));
    }
}
