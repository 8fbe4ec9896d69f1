//! A part of the chosen scenarios, so that several machines share a run.
//!
//! The scenarios are sorted by id and dealt out in turn, so the parts depend on which scenarios were
//! chosen, and not on the order in which they were named. Every scenario is in exactly one part.

use std::fmt;
use std::str::FromStr;

use crate::scenario::Scenario;

/// Parts that a run can have.
pub const COUNT_MAX: u32 = 10_000;

/// Part `number` of `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    number: u32,
    count: u32,
}

impl Shard {
    /// Which of `ids` belong to this part, in their order.
    #[must_use]
    pub fn select(self, ids: &[&str]) -> Vec<bool> {
        let mut sorted: Vec<(&str, usize)> = ids.iter().enumerate().map(|(index, id)| (*id, index)).collect();
        sorted.sort_unstable();
        let mut chosen = vec![false; ids.len()];
        let (first, step) = ((self.number - 1) as usize, self.count as usize);
        for (_, index) in sorted.into_iter().skip(first).step_by(step) {
            chosen[index] = true;
        }
        chosen
    }

    /// The scenarios of this part, in their order.
    #[must_use]
    pub fn of(self, scenarios: Vec<Scenario>) -> Vec<Scenario> {
        let ids: Vec<&str> = scenarios.iter().map(|scenario| scenario.id.as_str()).collect();
        let chosen = self.select(&ids);
        scenarios.into_iter().zip(chosen).filter_map(|(scenario, chosen)| chosen.then_some(scenario)).collect()
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u32>().ok();
        let parts = text.split_once('/').and_then(|(k, n)| Some((number(k)?, number(n)?)));
        match parts {
            None => Err("expected K/N, like 2/3 for the second of three parts".into()),
            Some((0, _)) => Err("parts are counted from 1: the first is 1/N".into()),
            Some((_, 0)) => Err("there is at least one part".into()),
            Some((_, count)) if count > COUNT_MAX => Err(format!("at most {COUNT_MAX} parts")),
            Some((number, count)) if number > count => {
                Err(format!("there is no part {number} of {count}: the last is {count}/{count}"))
            }
            Some((number, count)) => Ok(Self { number, count }),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mistakes_are_explained() {
        for (text, said) in [
            ("2", "expected K/N"),
            ("a/b", "expected K/N"),
            ("-1/3", "expected K/N"),
            ("1/2/3", "expected K/N"),
            ("0/3", "counted from 1"),
            ("1/0", "at least one"),
            ("4/3", "the last is 3/3"),
            ("1/99999", "at most 10000"),
        ] {
            let error = text.parse::<Shard>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert_eq!("2/3".parse::<Shard>().map(|shard| shard.to_string()), Ok("2/3".to_owned()));
    }

    proptest! {
        #[test]
        fn shards_partition(
            ids in proptest::collection::btree_set("[a-c]{1,3}/[a-z]{1,4}", 0..40),
            count in 1u32..50,
            turn in any::<prop::sample::Index>(),
        ) {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let parts: Vec<Vec<bool>> = (1..=count).map(|number| Shard { number, count }.select(&ids)).collect();
            for index in 0..ids.len() {
                prop_assert_eq!(parts.iter().filter(|part| part[index]).count(), 1, "in exactly one part");
            }
            let sizes: Vec<usize> = parts.iter().map(|part| part.iter().filter(|chosen| **chosen).count()).collect();
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            prop_assert!(most - least <= 1, "of equal size");

            // Named in another order, the same scenarios are in the same parts.
            let mut turned = ids.clone();
            if !turned.is_empty() {
                turned.rotate_left(turn.index(ids.len()));
            }
            let shard = Shard { number: count, count };
            let pick = |ids: &[&str]| -> std::collections::BTreeSet<String> {
                let chosen = shard.select(ids);
                ids.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(id, _)| (*id).to_owned()).collect()
            };
            prop_assert_eq!(pick(&ids), pick(&turned));
        }
    }
}
