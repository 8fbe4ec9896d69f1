//! The catalogue of requirements.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::runner::verdict::Weight;

/// A requirement on an initiator.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Its id.
    pub id: String,
    /// How heavy a violation is.
    #[serde(deserialize_with = "level")]
    pub level: Weight,
    /// What is required, in one sentence.
    pub text: String,
    /// Where that comes from.
    pub source: String,
    /// Scenarios that exercise it.
    pub scenarios: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: u32,
    requirement: Vec<Requirement>,
}

fn level<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Weight, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "MUST" => Ok(Weight::Must),
        "SHOULD" => Ok(Weight::Should),
        other => Err(serde::de::Error::custom(format!("`{other}` is neither MUST nor SHOULD"))),
    }
}

/// All requirements, by id as in the files.
///
/// # Panics
/// Never: that the bundled files read is a test.
pub fn all() -> &'static [Requirement] {
    static ALL: OnceLock<Vec<Requirement>> = OnceLock::new();
    ALL.get_or_init(|| {
        brickproof_scenarios::requirements()
            .iter()
            .flat_map(|bundled| match toml::from_str::<File>(bundled.text) {
                Ok(file) if file.schema == 1 => file.requirement,
                Ok(_) | Err(_) => Vec::new(),
            })
            .collect()
    })
}

/// The requirement with this id.
#[must_use]
pub fn get(id: &str) -> Option<&'static Requirement> {
    all().iter().find(|requirement| requirement.id == id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_catalogue_and_the_checks_are_the_same() {
        for bundled in brickproof_scenarios::requirements() {
            toml::from_str::<File>(bundled.text).unwrap_or_else(|error| panic!("{}: {error}", bundled.name));
        }
        let listed: BTreeSet<_> = all().iter().map(|requirement| requirement.id.as_str()).collect();
        let checked: BTreeSet<_> = crate::judge::checked().collect();
        assert_eq!(listed, checked);
    }

    #[test]
    fn every_requirement_names_scenarios_that_exist() {
        let scenarios = crate::library::scenarios(&[]).unwrap();
        for requirement in all() {
            assert!(!requirement.scenarios.is_empty(), "{}", requirement.id);
            for id in &requirement.scenarios {
                assert!(scenarios.iter().any(|scenario| scenario.id == *id), "{} names {id}", requirement.id);
            }
        }
    }
}
