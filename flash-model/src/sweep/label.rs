//! Cuts in words that do not depend on sizes and counts: `torn program of primary copy_done, during the swap`.

use std::fmt;

use super::{FieldKind, FieldSpan, Region};
use crate::flash::{Operation, OperationKind};

/// What a cut interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// What the story is at: "during the swap".
    pub phase: &'static str,
    /// The operation.
    pub cut: Cut,
}

/// Where in or between operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cut {
    /// Before an operation.
    Before(Action),
    /// Inside it.
    Torn(Action),
    /// Behind the last one of a boot.
    Behind,
    /// Behind the last one of a request, before it is acknowledged.
    Unanswered,
}

/// An operation, and what it is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Action {
    /// An erase, or a program.
    pub erase: bool,
    /// A field with its place, or a region.
    pub target: &'static str,
    /// Which part of the region.
    pub part: Part,
}

/// A part of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// One field of it.
    Field,
    /// A sector with a part of the trailer.
    Trailer,
    /// The sector with the header.
    Header,
    /// Any other sector.
    Sector,
}

impl Action {
    pub(super) fn of(operation: &Operation<'_>, fields: &[FieldSpan], regions: &[Region]) -> Self {
        let erase = matches!(operation.kind, OperationKind::Erase { .. });
        let (start, end) = (operation.offset, operation.offset + operation.len());
        let here = || {
            let on_device = fields.iter().filter(|field| field.device == operation.device);
            on_device.filter(|field| field.start < end && start < field.end)
        };
        let of_image = |field: &FieldSpan| {
            matches!(field.kind, FieldKind::Header | FieldKind::TlvInfo | FieldKind::Part | FieldKind::Pointer)
        };
        if let Some(field) = here().find(|field| field.start <= start && end <= field.end && !of_image(field)) {
            return Self { erase, target: field.name, part: Part::Field };
        }
        let part = if here().any(|field| !of_image(field)) {
            Part::Trailer
        } else if here().any(|field| field.kind == FieldKind::Header) {
            Part::Header
        } else {
            Part::Sector
        };
        let inside = |region: &&Region| {
            region.area.device == operation.device && region.area.offset <= start && start < region.area.end()
        };
        Self { erase, target: regions.iter().find(inside).map_or("other flash", |region| region.name), part }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operation, target) = (if self.erase { "erase" } else { "program" }, self.target);
        match self.part {
            Part::Field => write!(f, "{operation} of {target}"),
            Part::Trailer => write!(f, "{operation} of the trailer of {target}"),
            Part::Header => write!(f, "{operation} of the header of {target}"),
            Part::Sector => write!(f, "{operation} in {target}"),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cut {
            Cut::Before(action) => write!(f, "before the {action}, {}", self.phase),
            Cut::Torn(action) => write!(f, "torn {action}, {}", self.phase),
            Cut::Behind => write!(f, "behind the last operation of a boot, {}", self.phase),
            Cut::Unanswered => write!(f, "before what was done is acknowledged, {}", self.phase),
        }
    }
}
