//! The explanation of a flash as a person reads it.

use std::fmt::Write;

use brickproof_flash_model::boot::mcuboot::explain::image::ImageText;
use brickproof_flash_model::boot::mcuboot::explain::{Contents, Explanation, PairText, SlotText, TrailerText};

use crate::report::terminal::Style;

/// Which flash is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of<'a> {
    /// The dump.
    Dump,
    /// What a power loss left.
    Cut {
        /// What it was.
        interruption: &'a str,
        /// Operations before it.
        operations: u64,
    },
    /// Something else, in words.
    State(&'a str),
}

/// Characters of raw bytes beside a meaning.
const RAW: usize = 24;

/// The explanation as text.
pub(super) fn explain(target: &str, explanation: &Explanation, of: Of<'_>, style: Style) -> String {
    let mut text = String::new();
    let what = match of {
        Of::Dump => "this dump".to_owned(),
        Of::State(state) => state.to_owned(),
        Of::Cut { interruption, operations } => {
            format!("{interruption} after {operations} flash operations; this is left")
        }
    };
    let _ = writeln!(text, "{target}, MCUboot {}: {what}", explanation.mode);
    for pair in &explanation.images {
        for slot in &pair.slots {
            explain_slot(&mut text, slot, pair.swap.is_some(), style);
        }
        if let Some(scratch) = &pair.scratch {
            explain_scratch(&mut text, scratch, style);
        }
        asked(&mut text, pair, explanation.images.len() > 1, style);
    }
    let next = &explanation.next_boot;
    let _ = writeln!(text, "\n{}", style.bold("the next boot"));
    for step in &next.steps {
        let _ = writeln!(text, "  {step}");
    }
    let after =
        if next.operations == 0 { String::new() } else { format!(" after {} flash operations", next.operations) };
    let _ = writeln!(text, "  {}{after}", style.bold(&next.end));
    if let Some(then) = &next.after_it {
        let _ = writeln!(text, "  {then}");
    }
    let _ = writeln!(text, "\n{}", style.bold("what does not fit"));
    if explanation.wrong.is_empty() {
        let _ = writeln!(text, "  nothing");
    }
    for oddity in &explanation.wrong {
        let _ = writeln!(text, "  {}: {} [{}]", oddity.slot, oddity.words, oddity.id);
    }
    if !explanation.remedies.is_empty() {
        let _ = writeln!(text, "\n{}", style.bold("what can be done"));
    }
    for remedy in &explanation.remedies {
        let _ = writeln!(text, "  to {}", remedy.purpose);
        for step in &remedy.steps {
            let _ = writeln!(text, "    - {step}");
        }
        if let Some(then) = &remedy.then {
            let _ = writeln!(text, "    then {then} (tried on a copy)");
        }
    }
    text
}

/// A part of an image, or nothing; a trailer only while the sectors beside the primary one change places.
fn explain_scratch(text: &mut String, scratch: &SlotText, style: Style) {
    let _ = writeln!(text, "\n{}  {}, {} KiB", style.bold(&scratch.slot), scratch.range, scratch.size / 1024);
    match &scratch.contents {
        Contents::Empty => {
            let _ = writeln!(text, "  erased");
            return;
        }
        _ if scratch.trailer.fields.is_empty() => {
            let _ = writeln!(text, "  parts of an image, no trailer");
            return;
        }
        _ => {}
    }
    explain_trailer(text, &scratch.trailer);
}

fn explain_slot(text: &mut String, slot: &SlotText, swapping: bool, style: Style) {
    let _ = writeln!(text, "\n{}  {}, {} KiB", style.bold(&slot.slot), slot.range, slot.size / 1024);
    match &slot.contents {
        Contents::Empty => {
            let _ = writeln!(text, "  empty");
        }
        Contents::Unknown { begins } => {
            let _ = writeln!(text, "  no image; it begins with {begins}");
        }
        Contents::Image(image) => explain_image(text, image, swapping, style),
    }
    explain_trailer(text, &slot.trailer);
}

fn explain_image(text: &mut String, image: &ImageText, swapping: bool, style: Style) {
    let verdict = match (image.valid, swapping) {
        (true, _) => "valid",
        (false, true) => "not valid here, a part of it is elsewhere",
        (false, false) => "NOT VALID",
    };
    let _ = writeln!(text, "  version {}, {} bytes, {}", style.bold(&image.version), image.size, style.bold(verdict));
    if let Some(problem) = image.problem.as_ref().filter(|_| !swapping) {
        let _ = writeln!(text, "    problem    {problem}");
    }
    if image.begins != 0 {
        let _ = writeln!(text, "    begins     {:#x} behind the start of the slot", image.begins);
    }
    if let Some(hash) = &image.hash {
        let _ = writeln!(text, "    hash       {hash}");
    }
    if image.valid || !swapping {
        let _ = writeln!(text, "    signature  {}", image.signature);
    }
    if !image.flags.is_empty() {
        let _ = writeln!(text, "    flags      {}", image.flags.join(", "));
    }
    if image.load_address != 0 {
        let _ = writeln!(text, "    linked for {:#x}", image.load_address);
    }
    if !image.tlvs.is_empty() {
        let tlvs: Vec<String> = image
            .tlvs
            .iter()
            .map(|tlv| {
                let area = if tlv.protected { "protected " } else { "" };
                let says = tlv.says.as_ref().map_or(String::new(), |says| format!(" = {says}"));
                format!("{area}{} ({} bytes){says}", tlv.name, tlv.value.len() / 2)
            })
            .collect();
        let _ = writeln!(text, "    TLVs       {}", tlvs.join(", "));
    }
}

fn explain_trailer(text: &mut String, trailer: &TrailerText) {
    if trailer.erased {
        let _ = writeln!(text, "  trailer {}: erased", trailer.range);
        return;
    }
    let _ = writeln!(text, "  trailer {}", trailer.range);
    for field in &trailer.fields {
        let mark = if field.torn { "!" } else { " " };
        let address = format!("{:#x}", field.address);
        if field.raw.len() > RAW {
            let _ = writeln!(text, "  {mark} {address:<10}  {:<9}  {}", field.name, field.raw);
            let _ = writeln!(text, "    {:<10}  {:<9}  {:<RAW$}  {}", "", "", "", field.meaning);
        } else {
            let _ = writeln!(text, "  {mark} {address:<10}  {:<9}  {:<RAW$}  {}", field.name, field.raw, field.meaning);
        }
    }
}

fn asked(text: &mut String, pair: &PairText, several: bool, style: Style) {
    if pair.swap.is_none() && pair.rows.is_empty() {
        return;
    }
    let of = if several { format!(" of image {}", pair.image) } else { String::new() };
    let _ = writeln!(text, "\n{}", style.bold(&format!("what the trailers{of} ask for")));
    if let Some(swap) = &pair.swap {
        let _ = writeln!(text, "  {swap}");
        return;
    }
    for row in &pair.rows {
        let mark = if row.chosen { ">" } else { " " };
        let why_not = row.why_not.as_ref().map_or(String::new(), |why| format!("no: {why}"));
        let line = format!("  {mark} {:<50} {:<10} {why_not}", row.when, row.swap);
        let _ = writeln!(text, "{}", line.trim_end());
    }
}
