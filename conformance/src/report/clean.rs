//! Text from tools, made safe to show elsewhere.

/// Characters of a text that are shown.
pub(super) const SHOWN: usize = 600;

/// The text on one line: no colours, no control characters, nothing that turns the direction of writing, no character
/// that XML does not allow, at most `max` characters.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    let mut line = String::new();
    let mut chars = text.chars().peekable();
    let mut count = 0;
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.peek() == Some(&'[') {
            // An escape sequence of a terminal ends with a letter or one of @[\]^_`{|}~.
            chars.next();
            while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            continue;
        }
        if count == max {
            line.push_str("...");
            break;
        }
        line.push(harmless(c));
        count += 1;
    }
    line
}

fn harmless(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        c if c.is_control() => '\u{fffd}',
        // Marks, embeddings, overrides and isolates of the writing direction; characters without a width.
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {
            '\u{fffd}'
        }
        '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        c => c,
    }
}
