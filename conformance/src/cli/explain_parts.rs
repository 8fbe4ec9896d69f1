//! The explanation of a flash with a bootloader of Nordic's or of Silicon Labs' as a person reads it.

use std::fmt::Write;

use brickproof_flash_model::boot::explanation::Explanation;
use brickproof_flash_model::boot::gecko::Options;
use brickproof_flash_model::boot::nordic_legacy::Kind;

use super::explain_text::Of;
use crate::report::terminal::Style;

/// The bootloader of an SDK with Secure DFU.
pub(super) fn secure(sdk: &str) -> String {
    format!("Secure DFU of nRF5 SDK {sdk}")
}

/// A bootloader with Legacy DFU.
pub(super) fn legacy(kind: Kind) -> &'static str {
    match kind {
        Kind::Sdk11 => "Legacy DFU of nRF5 SDK 11",
        Kind::Adafruit => "Legacy DFU of Adafruit's bootloader",
    }
}

/// A Gecko bootloader.
pub(super) fn gecko(options: &Options) -> String {
    let kind = if options.storage { "storage" } else { "AppLoader" };
    format!("Gecko bootloader, {kind}, Series {}", if options.series_2 { 2 } else { 1 })
}

/// The explanation as text.
pub(super) fn explain(target: &str, bootloader: &str, explanation: &Explanation, of: Of<'_>, style: Style) -> String {
    let mut text = String::new();
    let what = match of {
        Of::Dump => "this dump".to_owned(),
        Of::State(state) => state.to_owned(),
        Of::Cut { interruption, operations } => {
            format!("{interruption} after {operations} flash operations; this is left")
        }
    };
    let _ = writeln!(text, "{target}, {bootloader}: {what}\n");
    let width = explanation.parts.iter().map(|part| part.part.len()).max().unwrap_or(0);
    for part in &explanation.parts {
        let name = style.bold(&format!("{:<width$}", part.part));
        let _ = writeln!(text, "{name}  {}", part.range);
        for line in part.contents.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    for (index, boot) in explanation.next_boots.iter().enumerate() {
        let title = if index == 0 { "the next boot" } else { "then it boots again" };
        let _ = writeln!(text, "\n{}", style.bold(title));
        for step in &boot.steps {
            let _ = writeln!(text, "  {step}");
        }
        let after =
            if boot.operations == 0 { String::new() } else { format!(" after {} flash operations", boot.operations) };
        let _ = writeln!(text, "  {}{after}", style.bold(&boot.end));
    }
    let _ = writeln!(text, "\n{}", style.bold("what does not fit"));
    if explanation.wrong.is_empty() {
        let _ = writeln!(text, "  nothing");
    }
    for oddity in &explanation.wrong {
        let _ = writeln!(text, "  {} [{}]", oddity.what, oddity.id);
    }
    if !explanation.remedies.is_empty() {
        let _ = writeln!(text, "\n{}", style.bold("what can be done"));
    }
    for remedy in &explanation.remedies {
        let _ = writeln!(text, "  {}", remedy.what);
        if let Some(then) = &remedy.then {
            let _ = writeln!(text, "    then {then} (tried on a copy)");
        }
    }
    text
}
