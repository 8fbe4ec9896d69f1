//! Transcripts against those of bluetoothd, and the differences that are known.
//!
//! A transcript lies beside its script, `NAME.transcript`, and is what bluetoothd has said. Where the virtual BlueZ is
//! another one, `differences.txt` says so, and why:
//!
//! ```text
//! script connection/twice
//! because the reason, in as many lines as it takes
//! - lines that only bluetoothd says
//! + lines that only the virtual BlueZ says
//! ```
//!
//! A difference that is not listed fails, and so does one that is listed and is none any more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::script::Script;

/// One place where two transcripts differ: lines with `- ` and `+ `.
pub(crate) type Difference = Vec<String>;

/// Where scripts, transcripts and differences are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/scripts")
}

/// All scripts, by their names.
pub(crate) fn scripts() -> Result<Vec<Script>, String> {
    let (mut found, mut recorded) = (Vec::new(), Vec::new());
    let mut folders = vec![folder()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| error.to_string())? {
            let path = entry.map_err(|error| error.to_string())?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "txt") {
                found.push(path);
            } else {
                recorded.push(path);
            }
        }
    }
    found.sort();
    let stray = recorded.iter().find(|path| !found.contains(&path.with_extension("txt")));
    if let Some(stray) = stray {
        return Err(format!("{}: there is no script of this name", stray.display()));
    }
    let scripts: Result<Vec<_>, _> = found.iter().map(|path| Script::parse(&name(path), &read(path)?)).collect();
    scripts.map(|mut scripts| {
        scripts.sort_by_key(|script| script.is_last);
        scripts
    })
}

fn name(path: &Path) -> String {
    let below = path.strip_prefix(folder()).unwrap_or(path);
    below.with_extension("").to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// What bluetoothd has said.
pub(crate) fn recorded(script: &Script) -> Result<String, String> {
    read(&folder().join(format!("{}.transcript", script.name)))
}

/// The differences that are listed, by script.
pub(crate) fn known() -> Result<BTreeMap<String, Vec<Difference>>, String> {
    let text = read(&folder().join("../differences.txt"))?;
    let mut known: BTreeMap<String, Vec<Difference>> = BTreeMap::new();
    let (mut script, mut reasoned) = (None, false);
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: &str| Err(format!("differences.txt:{}: {what}", number + 1));
        if line.starts_with("- ") || line.starts_with("+ ") {
            let Some(script) = script.as_ref().filter(|_| reasoned) else { return wrong("of which script, and why?") };
            let differences = known.entry(String::clone(script)).or_default();
            if !open {
                differences.push(Vec::new());
            }
            differences.last_mut().into_iter().for_each(|last| last.push(line.to_owned()));
            open = true;
            continue;
        }
        open = false;
        if let Some(name) = line.strip_prefix("script ") {
            (script, reasoned) = (Some(name.to_owned()), false);
        } else if line.starts_with("because ") {
            reasoned = true;
        } else if !(line.is_empty() || line.starts_with('#') || line.starts_with("  ")) {
            return wrong("neither `script`, `because`, `- ` nor `+ `");
        }
    }
    Ok(known)
}

/// Where two texts differ.
pub(crate) fn differences(real: &str, other: &str) -> Vec<Difference> {
    let (real, other): (Vec<_>, Vec<_>) = (real.lines().collect(), other.lines().collect());
    // Length of the longest common rest from each pair of lines on.
    let mut rest = vec![vec![0_usize; other.len() + 1]; real.len() + 1];
    for at in (0..real.len()).rev() {
        for with in (0..other.len()).rev() {
            rest[at][with] = if real[at] == other[with] {
                rest[at + 1][with + 1] + 1
            } else {
                rest[at + 1][with].max(rest[at][with + 1])
            };
        }
    }
    let (mut at, mut with, mut found) = (0, 0, vec![Vec::new()]);
    while at < real.len() || with < other.len() {
        let mut push = |line: String| found.last_mut().into_iter().for_each(|last| last.push(line.clone()));
        if at < real.len() && with < other.len() && real[at] == other[with] {
            found.push(Vec::new());
            (at, with) = (at + 1, with + 1);
        } else if with == other.len() || (at < real.len() && rest[at + 1][with] >= rest[at][with + 1]) {
            push(format!("- {}", real[at].trim_start()));
            at += 1;
        } else {
            push(format!("+ {}", other[with].trim_start()));
            with += 1;
        }
    }
    found.into_iter().filter(|difference| !difference.is_empty()).collect()
}

/// Holds a transcript of the virtual BlueZ against the one of bluetoothd.
pub(crate) fn judge(real: &str, other: &str, known: &[Difference]) -> Result<(), String> {
    let found = differences(real, other);
    let unknown: Vec<_> = found.iter().filter(|difference| !known.contains(difference)).collect();
    let gone: Vec<_> = known.iter().filter(|difference| !found.contains(difference)).collect();
    if found == known {
        return Ok(());
    }
    let show =
        |differences: &[&Difference]| differences.iter().map(|lines| lines.join("\n")).collect::<Vec<_>>().join("\n\n");
    let mut text = String::new();
    if unknown.is_empty() && gone.is_empty() {
        text.push_str("listed in another order, or more often, than found\n");
    }
    if !unknown.is_empty() {
        text.push_str(&format!("not listed:\n{}\n", show(&unknown)));
    }
    if !gone.is_empty() {
        text.push_str(&format!("listed, and not there any more:\n{}\n", show(&gone)));
    }
    Err(text)
}

#[test]
fn differences_are_found_line_by_line() {
    assert_eq!(differences("a\nb\nc", "a\nx\nc\nd"), [vec!["- b", "+ x"], vec!["+ d"]]);
    assert_eq!(differences("same", "same"), Vec::<Difference>::new());
}

#[test]
fn only_what_is_listed_may_differ_and_what_is_listed_must() {
    let listed = vec![vec!["- b".to_owned(), "+ x".to_owned()]];
    assert_eq!(judge("a\nb", "a\nx", &listed), Ok(()));
    assert!(judge("a\nb", "a\ny", &listed).is_err());
    assert!(judge("a\nb", "a\nb", &listed).is_err());
}
