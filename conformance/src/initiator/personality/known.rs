//! What is known to fail with a personality, because it fails with the client.
//!
//! ```toml
//! schema = 1
//!
//! [[known]]                                # strict: reported when it does not happen any more
//! scenarios = ["security/bad-hash"]
//! findings = ["STA-08", "expect/initiator"]
//! reason = "why"
//! source = "file of the client's repository, function"
//!
//! [[habit]]                                # what the client does wherever it comes so far
//! findings = ["STA-07"]
//! reason = "why"
//! source = "file of the client's repository, function"
//!
//! [[unsupported]]                          # cannot happen with this client
//! scenarios = ["state/confirm-refused-denied"]
//! reason = "why"
//! ```

use std::sync::OnceLock;

use serde::Deserialize;

use crate::profile::Known;
use crate::runner::verdict::Finding;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: u32,
    #[serde(default)]
    known: Vec<Entry>,
    #[serde(default)]
    habit: Vec<Habit>,
    #[serde(default)]
    unsupported: Vec<Unsupported>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    scenarios: Vec<String>,
    findings: Vec<String>,
    reason: String,
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Habit {
    findings: Vec<String>,
    reason: String,
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsupported {
    scenarios: Vec<String>,
    reason: String,
}

fn files() -> &'static [(&'static str, File)] {
    static FILES: OnceLock<Vec<(&'static str, File)>> = OnceLock::new();
    FILES.get_or_init(|| {
        // That the bundled files read is a test.
        let read = |bundled: brickproof_scenarios::Bundled| Some((bundled.name, toml::from_str(bundled.text).ok()?));
        brickproof_scenarios::known().into_iter().filter_map(read).collect()
    })
}

fn file(personality: &str) -> Option<&'static File> {
    files().iter().find(|(name, file)| *name == personality && file.schema == 1).map(|(_, file)| file)
}

/// Findings that are known of a personality in a scenario, with reason and source: those that the scenario
/// must have, and what it has of the client's habits.
pub(super) fn known_for(personality: &str, scenario: &str, findings: &[Finding]) -> Vec<Known> {
    let Some(file) = file(personality) else { return Vec::new() };
    let found = |id: &&String| findings.iter().any(|finding| finding.id == **id);
    let habits = file.habit.iter().map(|habit| Known {
        scenarios: vec![scenario.to_owned()],
        findings: habit.findings.iter().filter(found).cloned().collect(),
        reason: format!("{} ({})", habit.reason, habit.source),
        sometimes: Vec::new(),
        airs: Vec::new(),
    });
    let here = file.known.iter().filter(|entry| entry.scenarios.iter().any(|id| id == scenario));
    here.map(|entry| Known {
        scenarios: vec![scenario.to_owned()],
        findings: entry.findings.clone(),
        reason: format!("{} ({})", entry.reason, entry.source),
        sometimes: Vec::new(),
        airs: Vec::new(),
    })
    .chain(habits.filter(|known| !known.findings.is_empty()))
    .collect()
}

/// Findings that are habits of a personality.
pub(super) fn habits(personality: &str) -> impl Iterator<Item = &'static str> {
    let habits = file(personality).map(|file| file.habit.as_slice()).unwrap_or_default();
    habits.iter().flat_map(|habit| &habit.findings).map(String::as_str)
}

/// Why a personality cannot do a scenario, if it cannot.
pub(super) fn unsupported(personality: &str, scenario: &str) -> Option<&'static str> {
    let entries = file(personality).map(|file| file.unsupported.as_slice()).unwrap_or_default();
    entries.iter().find(|entry| entry.scenarios.iter().any(|id| id == scenario)).map(|entry| entry.reason.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initiator::personality::Personality;

    #[test]
    fn the_files_name_what_there_is() {
        let scenarios = crate::library::scenarios(&[]).unwrap();
        for bundled in brickproof_scenarios::known() {
            assert!(Personality::named(bundled.name).is_some(), "{}", bundled.name);
            let file: File = toml::from_str(bundled.text).unwrap_or_else(|error| panic!("{}: {error}", bundled.name));
            assert_eq!(file.schema, 1);
            let named = file.known.iter().flat_map(|entry| &entry.scenarios);
            for id in named.chain(file.unsupported.iter().flat_map(|entry| &entry.scenarios)) {
                assert!(scenarios.iter().any(|scenario| scenario.id == *id), "{} names {id}", bundled.name);
            }
            let findings = file.known.iter().flat_map(|entry| &entry.findings);
            for finding in findings.chain(file.habit.iter().flat_map(|habit| &habit.findings)) {
                assert!(crate::judge::findings().any(|id| id == finding), "{} names {finding}", bundled.name);
            }
            assert!(file.known.iter().all(|entry| !entry.reason.is_empty() && !entry.source.is_empty()));
        }
    }
}
