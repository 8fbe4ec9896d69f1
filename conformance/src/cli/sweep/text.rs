//! What a sweep has found, for people.

use std::fmt::Write;

use brickproof_flash_model::sweep::Tears;

use super::answer::{Answer, Covered, Property, StoryAnswer, Way};
use crate::report::terminal::Style;

/// What is swept.
pub(super) fn heading(answer: &Answer, tears: Tears, style: Style) -> String {
    let Answer { target, words, flaw, images, .. } = answer;
    let mut text = format!("{}, {words}\n", style.bold(target));
    if let Some(flaw) = flaw {
        let _ = writeln!(
            text,
            "  flaw       {flaw}, put back on purpose; it shows with {}",
            answer.flaw_needs.unwrap_or("any story")
        );
    }
    for image in images {
        let sectors = if image.sectors == 1 { "sector" } else { "sectors" };
        let holds = image.holds.map_or(String::new(), |holds| format!("{holds} "));
        let _ = writeln!(
            text,
            "  {:<10} {holds}{}, {} bytes, {} {sectors}",
            image.role, image.version, image.size, image.sectors
        );
    }
    let leaves = match tears {
        Tears::None => "power is lost between flash operations only",
        Tears::Fields => "a torn program leaves each value that code can tell apart, a torn erase a half or garbage",
        Tears::Adversarial => "as `fields`, and a torn erase ends at every field",
        Tears::Units => "a torn operation ends at every program unit",
    };
    let _ = writeln!(text, "  tears      {}: {leaves}", tears.name());
    text
}

/// What was found in a story of this bootloader.
pub(super) fn story(bootloader: &str, answer: &StoryAnswer, style: Style) -> String {
    let mut text = format!("\n{}\n", style.bold(answer.story));
    let _ = writeln!(
        text,
        "  covered    {}: {} states, {} power losses tried, {} runs merged",
        covered(answer.covered),
        number(answer.states as u64),
        number(answer.edges),
        number(answer.merged)
    );
    if let Some(because) = &answer.left_out_because {
        let states = number(answer.left_out as u64);
        let _ = writeln!(text, "  {}   {states} states that were found and not run: {because}", style.bold("LEFT OUT"));
    }
    if let Some(strict) = &answer.strict {
        let _ = writeln!(
            text,
            "  design     what it does not promise was wanted, too: {} states, {} power losses tried",
            number(strict.states as u64),
            number(strict.edges)
        );
        let assumed = match bootloader {
            "nordic-secure" => "the uploader sends again what is not acknowledged",
            "gecko-apploader" | "gecko-storage" => {
                "the initiator looks which version runs, and sends the file again from its first byte; the button where an application is torn"
            }
            _ => {
                "the uploader begins again from the start, by cable where Bluetooth LE does not reach, by the button where an application is torn"
            }
        };
        let _ = writeln!(text, "  assumed    {assumed}; the radio, timers and queues are left out");
    }
    if answer.story.starts_with("upload") {
        let _ =
            writeln!(text, "  assumed    a torn erase of an erased sector leaves it erased, but for the tears `units`");
    }
    if answer.read_torn > 0 {
        let _ = writeln!(
            text,
            "  torn       {} sectors are read although an operation on them was torn: every unit of it was tried, once",
            answer.read_torn
        );
    }
    let most = answer.ends.values().copied().max().map_or(0, |most| number(most).len());
    for (index, (end, states)) in answer.ends.iter().enumerate() {
        let title = if index == 0 { "ends" } else { "" };
        let _ = writeln!(text, "  {title:<10} {:>most$}  {end}", number(*states));
    }
    for property in &answer.known {
        let title = if property.by_design { "by design" } else { "known" };
        let _ = writeln!(text, "  {title:<10} {}: {}", style.bold(property.id), property.title);
        // One way is enough to see it; the others are in the JSON.
        if let Some(shortest) = property.ways.first() {
            way(&mut text, shortest);
        }
        let _ = writeln!(text, "    evidence   {}", property.evidence);
        let _ = writeln!(text, "    remedy     {}", property.remedy);
    }
    for violation in &answer.violations {
        let _ = writeln!(text, "  {}  {}: {}", style.bold("VIOLATION"), violation.invariant, violation.way.what);
        way(&mut text, &violation.way);
    }
    text
}

fn way(text: &mut String, way: &Way) {
    if way.interrupted.is_empty() {
        let _ = writeln!(text, "    happens    without any power loss");
    }
    for (index, interrupted) in way.interrupted.iter().enumerate() {
        let title = if index == 0 { "power lost" } else { "then" };
        let _ = writeln!(text, "    {title:<10} {interrupted}");
    }
    let _ = writeln!(text, "    replay     {}", way.replay);
}

/// What must not come of it.
fn harms(answer: &Answer) -> &'static str {
    match answer.bootloader {
        "mcuboot" => "bricks this, boots a wrong image or loses the way back",
        _ => "bricks this, starts a wrong image or loses an installed update",
    }
}

/// The answer to the question.
pub(super) fn verdict(answer: &Answer, style: Style) -> String {
    let violations: usize = answer.stories.iter().map(|story| story.violations.len()).sum();
    let complete = answer.not_begun.is_empty() && answer.stories.iter().all(|story| story.complete);
    let least = answer.stories.iter().map(|story| story.covered).min().unwrap_or(Covered::Nothing);
    let least = if answer.not_begun.is_empty() { least } else { Covered::Nothing };
    // What needs more power losses than were covered is found by chance, and no exception to what is said.
    let within = |way: &Way| match least {
        Covered::Everything => true,
        Covered::UpTo(cuts) => way.cuts <= cuts,
        Covered::Nothing => false,
    };
    let harms = harms(answer);
    let shown = answer.stories.iter().flat_map(|story| &story.known);
    let shown = shown.filter(|property| property.ways.iter().any(within));
    let (designed, known): (Vec<_>, Vec<_>) = shown.partition(|property| property.by_design);
    let ids = |all: &[&Property]| all.iter().map(|property| property.id).collect::<std::collections::BTreeSet<&str>>();
    let (designed, known) = (ids(&designed), ids(&known));
    let verdict = if violations > 0 {
        let s = if violations == 1 {
            "violation that is no known property"
        } else {
            "violations that are no known property"
        };
        format!("{violations} {s} of this bootloader")
    } else {
        let whatever = match least {
            Covered::Everything => format!("no sequence of power losses {harms}"),
            Covered::UpTo(0) => "the story holds without a power loss".to_owned(),
            Covered::UpTo(1) => format!("no single power loss {harms}"),
            Covered::UpTo(cuts) => {
                format!("no sequence of up to {cuts} power losses {harms}")
            }
            Covered::Nothing => "nothing was covered".to_owned(),
        };
        match known.len() {
            0 => whatever,
            1 => format!("{whatever}, but for 1 known property of its bootloader"),
            count => format!("{whatever}, but for {count} known properties of its bootloader"),
        }
    };
    let begun = if answer.not_begun.is_empty() {
        String::new()
    } else {
        format!("; not begun: {}", answer.not_begun.join(", "))
    };
    let designed = if designed.is_empty() {
        String::new()
    } else {
        format!("; its design does not promise more: {}", designed.into_iter().collect::<Vec<_>>().join(", "))
    };
    let partly = if complete { "" } else { "; not everything was covered" };
    format!("\n{}\n", style.bold(&format!("{verdict}{designed}{partly}{begun}")))
}

fn covered(covered: Covered) -> String {
    match covered {
        Covered::Nothing => "nothing".into(),
        Covered::UpTo(0) => "the story without a power loss".into(),
        Covered::UpTo(1) => "every single power loss".into(),
        Covered::UpTo(cuts) => format!("every sequence of up to {cuts} power losses"),
        Covered::Everything => "every sequence of power losses".into(),
    }
}

/// A number with its thousands apart.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        assert_eq!([0, 999, 1000, 27_228, 1_234_567].map(number), ["0", "999", "1,000", "27,228", "1,234,567"]);
    }

    #[test]
    fn less_is_covered_the_earlier_it_stops() {
        assert!(Covered::Nothing < Covered::UpTo(0) && Covered::UpTo(3) < Covered::Everything);
    }
}
