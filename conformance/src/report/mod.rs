//! Reports: the same results for people, for programs and for CI services.
//!
//! | module | what it makes |
//! |---|---|
//! | [`terminal`] | a table of verdicts, and what is behind those that are not good |
//! | [`json`] | `--json` and `results.json` |
//! | [`junit`] | `junit.xml` |
//! | [`markdown`] | `summary.md`, for the page of a CI run |
//! | [`group`] | the runs of one scenario, together |

pub(crate) mod clean;
pub mod group;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod terminal;

#[cfg(test)]
mod sample;
