//! What an interrupted operation leaves.
//!
//! | operation | what is tried |
//! |---|---|
//! | program of one flag or swap info | one value for each meaning that bits on their way can have |
//! | program of one magic | half of the bits of each byte: a wrong magic |
//! | program of one number | one half of the bits of each byte, and the other |
//! | program of one pointer | likewise, and its upper half: an address elsewhere, or one nearby |
//! | program of a status record | nothing more: a record is read as written or not, and both are there without a tear |
//! | program of bulk | half of it, which stands for any part; where it covers fields, up to each, half of each, behind each |
//! | erase | garbage, which stands for any part; where it covers fields, the low half or the high half as well |
//!
//! What *stands for any part* is forgotten after the tear, so that nothing can depend on it (`sweep`, "Why that is
//! enough"). `adversarial` splits erases at every field. `units` tries every program unit of every operation and forgets
//! nothing: for the smallest layouts, as the proof that the others leave out nothing there.

use std::collections::BTreeSet;

use crate::flash::{Operation, OperationKind, Tear};

/// A tear model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Tears {
    /// Power is lost between operations only.
    None,
    /// The table above.
    #[default]
    Fields,
    /// Likewise, and erases are split at every field.
    Adversarial,
    /// Every program unit of every operation.
    Units,
}

impl Tears {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Fields, Self::Adversarial, Self::Units];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Fields => "fields",
            Self::Adversarial => "adversarial",
            Self::Units => "units",
        }
    }
}

/// How a field is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// Right, erased, or wrong.
    Magic,
    /// One byte: set, erased, or wrong.
    Flag,
    /// One byte: a swap type of 1 to 4 and the number of an image, erased, or wrong.
    SwapInfo {
        /// The number is looked at: there are several images.
        images: bool,
    },
    /// A number.
    Number,
    /// An address: right, erased, out of range, or another one in range.
    Pointer,
    /// Status records, each read as written or not.
    Records,
    /// The header of an image.
    Header,
    /// The magic and length of a TLV area.
    TlvInfo,
    /// A part of a larger record, which is programmed as a whole.
    Part,
}

/// A field in flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldSpan {
    /// Index of the device.
    pub device: u8,
    /// Offset of its first byte on the device.
    pub start: u32,
    /// Offset behind its last byte.
    pub end: u32,
    /// How it is read.
    pub kind: FieldKind,
    /// What it is called: "primary copy_done".
    pub name: &'static str,
}

/// Half of the bits: what is torn so is neither old nor new.
const HALF_OF_THE_BITS: u8 = 0xf0;

impl Tears {
    /// All tears of an operation, without those that leave it undone or whole.
    ///
    /// `exact`: what is torn will be read, so every unit counts.
    #[must_use]
    pub fn of(self, operation: &Operation<'_>, fields: &[FieldSpan], unit: u32, exact: bool) -> Vec<Tear> {
        let len = operation.len();
        let (start, end) = (operation.offset, operation.offset + len);
        let here: Vec<FieldSpan> = fields
            .iter()
            .filter(|field| field.device == operation.device && field.start < end && start < field.end)
            .copied()
            .collect();
        match (self, operation.kind) {
            (Self::None, _) => Vec::new(),
            (Self::Fields | Self::Adversarial, OperationKind::Program { data }) if !exact => {
                program(data, start, &here, unit)
            }
            (Self::Fields, OperationKind::Erase { .. }) if !exact => {
                if here.is_empty() {
                    return vec![Tear::Garbage];
                }
                vec![Tear::Prefix(len / 2), Tear::Suffix(len / 2), Tear::Garbage]
            }
            (Self::Adversarial, OperationKind::Erase { .. }) if !exact => erase(start, len, &here),
            (_, OperationKind::Program { data }) => {
                let units = (1..len).filter(|n| (2 * n).is_multiple_of(unit)).map(Tear::Prefix);
                units.chain(program(data, start, &here, unit)).collect()
            }
            (_, OperationKind::Erase { .. }) => {
                let units = || (1..len / unit).map(|n| n * unit);
                let all = units().map(Tear::Prefix).chain(units().map(Tear::Suffix));
                all.chain(erase(start, len, &here)).collect()
            }
        }
    }
}

fn program(data: &[u8], start: u32, here: &[FieldSpan], unit: u32) -> Vec<Tear> {
    let len = data.len() as u32;
    let inside = |field: &&FieldSpan| field.start <= start && start + len <= field.end;
    if let Some(field) = here.iter().find(inside) {
        return match field.kind {
            FieldKind::Records => Vec::new(),
            FieldKind::Magic => vec![Tear::Bits(HALF_OF_THE_BITS)],
            FieldKind::Number => vec![Tear::Bits(HALF_OF_THE_BITS), Tear::Bits(!HALF_OF_THE_BITS)],
            // The upper half of an address says which memory it is in.
            FieldKind::Pointer => {
                vec![Tear::Bits(HALF_OF_THE_BITS), Tear::Bits(!HALF_OF_THE_BITS), Tear::Suffix(len / 2)]
            }
            FieldKind::Flag => meanings(data[0], |byte| u32::from(byte == 0x01)),
            FieldKind::SwapInfo { images } => meanings(data[0], |byte| match (byte & 0x0f, byte >> 4) {
                (swap @ 1..=4, image) => u32::from(swap) | if images { u32::from(image) << 4 } else { 0 },
                _ => 0,
            }),
            FieldKind::Header | FieldKind::TlvInfo | FieldKind::Part => bulk(start, len, here, unit),
        };
    }
    bulk(start, len, here, unit)
}

/// One tear for each meaning of a byte on its way from erased to `new`, but for those at both ends.
fn meanings(new: u8, meaning: impl Fn(u8) -> u32) -> Vec<Tear> {
    let mut seen = BTreeSet::from([meaning(new)]);
    let torn = |mask: u8| new | !mask;
    let masks = (1..=u8::MAX).filter(|mask| torn(*mask) != u8::MAX && torn(*mask) != new);
    masks.filter(|mask| seen.insert(meaning(torn(*mask)))).map(Tear::Bits).collect()
}

fn bulk(start: u32, len: u32, here: &[FieldSpan], unit: u32) -> Vec<Tear> {
    let mut ends = BTreeSet::from([len / 2 / unit * unit]);
    for field in here {
        let (from, to) = (field.start.saturating_sub(start), field.end.min(start + len) - start);
        ends.extend([from, from.midpoint(to), to]);
    }
    ends.into_iter().filter(|end| *end > 0 && *end < len).map(Tear::Prefix).collect()
}

fn erase(start: u32, len: u32, here: &[FieldSpan]) -> Vec<Tear> {
    let mut splits = BTreeSet::from([len / 2]);
    for field in here {
        splits.extend([field.start.saturating_sub(start), field.end.min(start + len) - start]);
    }
    let splits: Vec<u32> = splits.into_iter().filter(|at| *at > 0 && *at < len).collect();
    let low = splits.iter().map(|at| Tear::Prefix(*at));
    let high = splits.iter().map(|at| Tear::Suffix(len - at));
    low.chain(high).chain([Tear::Garbage]).collect()
}
