//! Text that tests write and check.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod updates;

/// A table whose columns are as wide as they must be.
pub fn table(rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> =
        (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap()).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines.insert(1, format!("|-{}-|\n", rule.join("-|-")));
    lines.concat()
}

/// A paragraph in lines of at most 120 columns; all but the first are indented as deep as the text of that.
pub fn wrapped(before: &str, text: &str) -> String {
    let indent = before.trim_start_matches('\n').len();
    let mut lines = String::from(before);
    let mut at = indent;
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 && at + 1 + word.len() > 120 {
            lines += &format!("\n{}", " ".repeat(indent));
            at = indent;
        } else if index > 0 {
            lines.push(' ');
            at += 1;
        }
        lines += word;
        at += word.len();
    }
    lines + "\n"
}

/// What is said of a property that is called `name` in a table.
pub fn property(name: &str, [id, title, evidence, remedy]: [&str; 4]) -> String {
    wrapped("\n* ", &format!("**{name}** `{id}`: {title}."))
        + &wrapped("  * ", &format!("Evidence: {evidence}."))
        + &wrapped("  * ", &format!("Remedy: {remedy}."))
}

/// Checks a file whose part behind `mark` is generated, or writes it when `BRICKPROOF_WRITE_TABLE` is set.
pub fn check(path: &str, mark: &str, generated: &str) {
    let stored = std::fs::read_to_string(path).unwrap();
    let by_hand = stored.split(mark).next().unwrap();
    let current = format!("{by_hand}{mark}{generated}");
    if std::env::var_os("BRICKPROOF_WRITE_TABLE").is_some() {
        std::fs::write(path, &current).unwrap();
    } else {
        assert!(stored == current, "{path} differs from what the sweeps find: write it anew and look at the change");
    }
}
