//! A trailer byte by byte, and how far a swap has come.

use serde::Serialize;

use super::{Names, bytes, count, erased_value, raw};
use crate::boot::mcuboot::trailer::MAGIC_LEN;
use crate::boot::mcuboot::{
    Flag, Magic, Mode, Pair, Phase, Slot, StatusSource, SwapStatus, SwapType, Trailer, TrailerState, swap_scratch,
};
use crate::flash::Flash;

/// A trailer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrailerText {
    /// Where it is.
    pub range: String,
    /// Nothing was ever written to it.
    pub erased: bool,
    /// Its fields by address; the status records as one.
    pub fields: Vec<Field>,
}

/// A field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its address, as in HEX files.
    pub address: u32,
    /// Its bytes.
    pub raw: String,
    /// What they mean.
    pub meaning: String,
    /// A value that nobody writes: a torn write, or something else wrote here.
    pub torn: bool,
}

/// Whose trailer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// That of a slot.
    Slot(Slot),
    /// That of the scratch area, which belongs to the swap of the sectors beside the primary trailer.
    Scratch,
}

/// The offset from which on a trailer may be written. An image that is overwritten may lie where others have
/// status records.
pub(super) fn start(pair: &Pair, trailer: &Trailer) -> u32 {
    match pair.options.mode {
        Mode::OverwriteOnly { .. } | Mode::DirectXip { .. } => trailer.swap_info_offset(),
        Mode::SwapMove | Mode::SwapScratch | Mode::SwapOffset => trailer.area().len - trailer.len(),
    }
}

/// Offsets at which bytes mean something, as `(offset, bytes)`.
fn meaningful(trailer: &Trailer) -> Vec<(u32, u32)> {
    let mut places: Vec<(u32, u32)> =
        (0..trailer.status_records()).map(|record| (trailer.status_offset(record), 1)).collect();
    places.extend([
        (trailer.swap_size_offset(), 4),
        (trailer.swap_info_offset(), 1),
        (trailer.copy_done_offset(), 1),
        (trailer.image_ok_offset(), 1),
        (trailer.magic_offset(), MAGIC_LEN),
    ]);
    places.extend(trailer.tlv_sizes_offset().map(|offset| (offset, 4)));
    places
}

/// Bytes that are not erased where nothing is ever written: how many, and the offset of the first.
pub(super) fn stray(pair: &Pair, trailer: &Trailer, flash: &Flash) -> Option<(u32, u32)> {
    let area = trailer.area();
    let start = start(pair, trailer);
    let erased = erased_value(flash, area);
    let mut contents = bytes(flash, area, start, area.len - start);
    for (offset, len) in meaningful(trailer) {
        let Some(from) = offset.checked_sub(start) else { continue };
        let from = from as usize;
        contents[from..from + len as usize].fill(erased);
    }
    let count = contents.iter().filter(|byte| **byte != erased).count() as u32;
    let first = contents.iter().position(|byte| *byte != erased)? as u32;
    Some((count, start + first))
}

/// Numbers of the status records that are written, with their first bytes.
pub(super) fn written(trailer: &Trailer, flash: &Flash) -> Vec<(u32, u8)> {
    let erased = erased_value(flash, trailer.area());
    (0..trailer.status_records())
        .filter_map(|record| {
            let byte = bytes(flash, trailer.area(), trailer.status_offset(record), 1)[0];
            (byte != erased).then_some((record, byte))
        })
        .collect()
}

/// Sectors of the primary slot that hold `size` bytes.
pub(super) fn sectors(pair: &Pair, size: u32) -> u32 {
    let sectors = &pair.sectors[Slot::Primary.index()];
    sectors.iter().take_while(|sector| sector.offset < size).count().max(1) as u32
}

pub(super) fn explain(pair: &Pair, holder: Holder, flash: &Flash, names: &Names<'_>) -> TrailerText {
    let trailer = match (holder, pair.scratch()) {
        (Holder::Scratch, Some(scratch)) => scratch,
        (Holder::Scratch, None) => pair.trailer(Slot::Primary),
        (Holder::Slot(slot), _) => pair.trailer(slot),
    };
    let area = trailer.area();
    let start = start(pair, trailer);
    let erased = erased_value(flash, area);
    let state = trailer.read(flash).ok();
    let mut fields = Vec::new();
    let contents = bytes(flash, area, start, area.len - start);
    // The scratch area is a part of an image as often as not.
    let counts = holder != Holder::Scratch || state.is_some_and(|state| state.magic == Magic::Good);
    if let Some(state) = state.filter(|_| counts) {
        if has_records(pair.options.mode) {
            records(&mut fields, pair, trailer, flash, names);
        }
        plain_fields(&mut fields, pair, holder, trailer, &state, flash, names);
    }
    TrailerText {
        range: names.range(area, start, area.len),
        erased: contents.iter().all(|byte| *byte == erased),
        fields,
    }
}

/// Whether trailers have status records and sizes.
pub(super) fn has_records(mode: Mode) -> bool {
    !matches!(mode, Mode::OverwriteOnly { .. } | Mode::DirectXip { .. })
}

fn plain_fields(
    fields: &mut Vec<Field>,
    pair: &Pair,
    holder: Holder,
    trailer: &Trailer,
    state: &TrailerState,
    flash: &Flash,
    names: &Names<'_>,
) {
    let area = trailer.area();
    let erased = erased_value(flash, area);
    let distance = trailer.image_ok_offset() - trailer.copy_done_offset();
    let mut add = |name, offset: u32, len: u32, (meaning, torn): (String, bool)| {
        let address = names.address(area, offset);
        fields.push(Field { name, address, raw: raw(&bytes(flash, area, offset, len)), meaning, torn });
    };
    if has_records(pair.options.mode) {
        let size = trailer.swap_size_offset();
        add("swap_size", size, distance, swap_size(pair, state, &bytes(flash, area, size, 4), erased));
        if let Some(sizes) = trailer.tlv_sizes_offset() {
            add("tlv_sizes", sizes, distance, tlv_sizes(&bytes(flash, area, sizes, 4), erased));
        }
    }
    let info = trailer.swap_info_offset();
    add("swap_info", info, distance, swap_info(bytes(flash, area, info, 1)[0], erased, pair.image()));
    let overwrite = matches!(pair.options.mode, Mode::OverwriteOnly { .. } | Mode::DirectXip { revert: false });
    let tried = pair.options.mode == Mode::DirectXip { revert: true };
    let meaning = match (state.copy_done, holder) {
        (Flag::Set, _) if tried => "set: the image was tried",
        (Flag::Unset, _) if tried => "erased: the image was not tried yet",
        (Flag::Set, Holder::Slot(Slot::Primary)) if !overwrite => "set: the swap is complete",
        (Flag::Set, Holder::Slot(Slot::Secondary))
            if pair.options.mode == Mode::SwapOffset && state.image_ok == Flag::Unset =>
        {
            "set: with image_ok erased it asks for a revert"
        }
        (Flag::Set, _) => "set: nothing reads it here",
        (Flag::Unset, _) => "erased",
        (Flag::Bad, _) => "BAD: neither set nor erased, a torn write",
    };
    add("copy_done", trailer.copy_done_offset(), distance, (meaning.into(), state.copy_done == Flag::Bad));
    let meaning = match (state.image_ok, holder) {
        (Flag::Set, _) if overwrite => "set: nothing reads it here",
        (Flag::Set, _) if tried => "set: the image is confirmed",
        (Flag::Unset, _) if tried => "erased: the image is not confirmed",
        (Flag::Set, Holder::Slot(Slot::Primary)) => "set: the image is confirmed",
        (Flag::Set, Holder::Slot(Slot::Secondary)) => "set: the request is for good",
        (Flag::Set, Holder::Scratch) => "set: goes to the primary trailer with the rest",
        (Flag::Unset, Holder::Slot(Slot::Primary)) if !overwrite => "erased: the image is not confirmed",
        (Flag::Unset, _) => "erased",
        (Flag::Bad, _) => "BAD: neither set nor erased, a torn write",
    };
    add("image_ok", trailer.image_ok_offset(), distance, (meaning.into(), state.image_ok == Flag::Bad));
    let good = trailer.magic();
    let found = bytes(flash, area, trailer.magic_offset(), MAGIC_LEN);
    let meaning = match state.magic {
        Magic::Good => "good: the trailer counts".to_owned(),
        Magic::Unset => "erased: the trailer does not count".to_owned(),
        Magic::Bad => {
            let right = found.iter().zip(good).take_while(|(found, good)| **found == *good).count();
            match right {
                0 => "BAD: something else was written here".to_owned(),
                right => format!("BAD: {right} of 16 bytes are right, a torn write"),
            }
        }
    };
    add("magic", trailer.magic_offset(), MAGIC_LEN, (meaning, state.magic == Magic::Bad));
}

fn swap_size(pair: &Pair, state: &TrailerState, found: &[u8], erased: u8) -> (String, bool) {
    let size = state.swap_size;
    if found.iter().all(|byte| *byte == erased) {
        ("erased".into(), false)
    } else if size == 0 || size > pair.area(Slot::Primary).len {
        (format!("BAD: {size} bytes do not fit the slot, a torn write"), true)
    } else {
        (format!("{size} bytes, {}", count(sectors(pair, size), "sector")), false)
    }
}

fn tlv_sizes(found: &[u8], erased: u8) -> (String, bool) {
    match found {
        [a, b, c, d] if found.iter().any(|byte| *byte != erased) => {
            let (primary, secondary) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
            (format!("TLVs of {primary} bytes in the primary slot, of {secondary} in the secondary"), false)
        }
        _ => ("erased".into(), false),
    }
}

fn swap_info(byte: u8, erased: u8, image: usize) -> (String, bool) {
    let (number, nibble) = (usize::from(byte >> 4), byte & 0x0f);
    if byte == erased {
        return ("erased".into(), false);
    }
    match SwapType::from_nibble(nibble) {
        None => (format!("BAD: {nibble} is no swap type; it is read as none"), true),
        Some(swap) if number != image => {
            (format!("low half {nibble}: {swap} swap; BAD: high half {number}, and this is image {image}"), true)
        }
        Some(swap) => (format!("low half {nibble}: {swap} swap; high half: image {number}"), false),
    }
}

fn records(fields: &mut Vec<Field>, pair: &Pair, trailer: &Trailer, flash: &Flash, names: &Names<'_>) {
    let area = trailer.area();
    let written = written(trailer, flash);
    let mut field = |first: u32, raw: String, meaning: String, torn: bool| {
        let address = names.address(area, trailer.status_offset(first));
        fields.push(Field { name: "records", address, raw, meaning, torn });
    };
    if written.is_empty() {
        let erased = raw(&[erased_value(flash, area); 2]);
        let erased = erased.split(' ').next().unwrap_or_default().to_owned();
        field(0, erased, format!("all {} status records are erased", trailer.status_records()), false);
        return;
    }
    // Runs of neighbours.
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for (record, _) in &written {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *record => *last = *record,
            _ => runs.push((*record, *record)),
        }
    }
    /// Runs that are listed.
    const RUNS: usize = 6;
    for (first, last) in runs.iter().take(RUNS).copied() {
        let values: Vec<u8> =
            written.iter().filter(|(record, _)| (first..=last).contains(record)).map(|(_, byte)| *byte).collect();
        let (what, odd) = run_meaning(pair, first, &values);
        let range = if first == last { format!("record {first}") } else { format!("records {first} to {last}") };
        let torn = odd.is_some();
        let odd = odd.map_or(String::new(), |odd| format!("; {odd}"));
        let more = if values.len() > 16 { " .." } else { "" };
        field(first, raw(&values[..values.len().min(16)]) + more, format!("{range}: {what}{odd}"), torn);
    }
    if runs.len() > RUNS {
        let (first, _) = runs[RUNS];
        field(first, String::new(), format!("and {} more runs of records", runs.len() - RUNS), true);
    }
}

/// What a run of records stands for, and what is odd about its values.
fn run_meaning(pair: &Pair, first: u32, values: &[u8]) -> (String, Option<String>) {
    let written = values.len() as u32;
    let max = pair.options.max_sectors;
    let mode = pair.options.mode;
    let what = match mode {
        Mode::SwapMove if first < max && first + written <= max => {
            format!("{} moved up", count(written, "sector"))
        }
        Mode::SwapMove if first < max => {
            let halves = count(first + written - max, "half step");
            format!("{} moved up, then {halves} of the exchange", count(max - first, "sector"))
        }
        Mode::SwapMove => match ((first + written - max) / 2, (first + written - max) % 2) {
            (whole, 0) => format!("{} exchanged", count(whole, "sector")),
            (whole, _) => format!("{} exchanged, and half of the next", count(whole, "sector")),
        },
        Mode::SwapScratch => match ((first + written) / 3, (first + written) % 3) {
            (whole, 0) => format!("{} through the scratch area done", count(whole, "step")),
            (whole, third) => {
                format!("{} through the scratch area done, and {third} of 3 parts of the next", count(whole, "step"))
            }
        },
        Mode::SwapOffset => match ((first + written) / 2, (first + written) % 2) {
            (whole, 0) => format!("{} exchanged", count(whole, "sector")),
            (whole, _) => format!("{} exchanged, and half of the next", count(whole, "sector")),
        },
        Mode::OverwriteOnly { .. } | Mode::DirectXip { .. } => "this mode writes none".to_owned(),
    };
    let odd = values.iter().enumerate().find_map(|(index, value)| {
        let record = first + index as u32;
        let expected = match mode {
            Mode::SwapMove if record < max => 1,
            Mode::SwapMove => ((record - max) % 2 + 1) as u8,
            Mode::SwapScratch => (record % 3 + 1) as u8,
            Mode::SwapOffset => (record % 2 + 1) as u8,
            Mode::OverwriteOnly { .. } | Mode::DirectXip { .. } => return None,
        };
        (*value != expected)
            .then(|| format!("record {record} is {value:#04x} instead of {expected:#04x}: torn, it counts as written"))
    });
    (what, odd)
}

/// How far an interrupted swap has come; `None` when there is none.
pub(super) fn progress(pair: &Pair, flash: &Flash) -> Option<String> {
    // Without status records nothing can be half done.
    let status = pair.interrupted_swap(flash).ok().flatten().filter(|_| has_records(pair.options.mode))?;
    let name = match status.swap_type {
        SwapType::None => "a swap of unknown type".to_owned(),
        swap => format!("a {swap} swap"),
    };
    let size = status.swap_size;
    if size == u32::MAX {
        return Some(format!("{name} was interrupted, and its size is erased"));
    }
    if size == 0 || size > pair.area(Slot::Primary).len {
        return Some(format!("{name} was interrupted, and its size in the trailer makes no sense: {size} bytes"));
    }
    let all = sectors(pair, size);
    let steps = steps(pair, &status, all);
    Some(format!("{name} of {size} bytes ({}) was interrupted: {steps}", count(all, "sector")))
}

fn steps(pair: &Pair, status: &SwapStatus, all: u32) -> String {
    let percent = |done: u32, of: u32| done.min(of) * 100 / of.max(1);
    if status.is_reset() {
        return "its trailer is written, and no sector has moved yet".into();
    }
    match (pair.options.mode, status.phase) {
        (Mode::SwapMove, Phase::Move) => {
            let moved = status.index - 1;
            format!("{moved} of {all} sectors have moved up, none is exchanged, {} % done", percent(moved, 3 * all))
        }
        (Mode::SwapMove, Phase::Swap) => {
            let (exchanged, half) = (status.index - 1, status.state - 1);
            let done = percent(all.saturating_add(2 * exchanged + half), 3 * all);
            let halfway = if half > 0 {
                format!("; of sector {exchanged} the new half has come, the old one has not gone yet")
            } else {
                String::new()
            };
            format!("all sectors have moved up, {exchanged} of {all} are exchanged{halfway}, {done} % done")
        }
        (Mode::SwapOffset, _) => {
            let (exchanged, half) = (status.index - 1, status.state - 1);
            let done = percent((2 * exchanged).saturating_add(half), 2 * all);
            let halfway =
                if half > 0 { "; of the next the old half has gone, the new one has not come yet" } else { "" };
            format!("{exchanged} of {all} sectors are exchanged{halfway}, {done} % done")
        }
        (Mode::SwapScratch, _) => {
            let (done, part) = (status.index - 1, status.state - 1);
            let Ok(all) = swap_scratch::step_count(pair, status.swap_size) else {
                return format!("{done} steps are done");
            };
            let part_words = match part {
                0 => "",
                1 => "; of the next, the new part is in the scratch area",
                _ => "; of the next, the new part is in the scratch area and the old part in the secondary slot",
            };
            let percent = percent(3 * done + part, 3 * all);
            let place = match status.source {
                StatusSource::Scratch => ", by the records in the scratch area",
                StatusSource::Primary | StatusSource::None => "",
            };
            format!("{done} of {all} steps through the scratch area are done{part_words}, {percent} % done{place}")
        }
        (Mode::OverwriteOnly { .. } | Mode::DirectXip { .. }, _) => {
            format!("step {}, part {}", status.index, status.state)
        }
    }
}
