//! The explanation of a flash with a bootloader of Nordic's as a person reads it.

use std::fmt::Write;

use brickproof_flash_model::boot::nordic::explain::Explanation;

use super::explain_text::Of;
use crate::report::terminal::Style;

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
    let _ = writeln!(text, "{target}, Secure DFU of nRF5 SDK {}: {what}\n", explanation.profile);
    let width = explanation.parts.iter().map(|part| part.part.len()).max().unwrap_or(0);
    for part in &explanation.parts {
        let name = style.bold(&format!("{:<width$}", part.part));
        let _ = writeln!(text, "{name}  {}", part.range);
        let _ = writeln!(text, "  {}", part.contents);
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
