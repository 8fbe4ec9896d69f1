//! The runs of one scenario, together: the worst of them is the verdict.

use crate::runner::case::CaseResult;
use crate::runner::verdict::Status;

/// What is the same for all results of a report.
#[derive(Debug, Clone, Copy)]
pub struct Heading<'a> {
    /// Who was tested.
    pub initiator: &'a str,
    /// On which air.
    pub air: &'a str,
    /// Seed of the first run of each case.
    pub seed: u64,
    /// Which part of the scenarios this is, `K/N`.
    pub shard: Option<&'a str>,
}

/// All runs of one scenario; there is at least one.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// In order.
    pub runs: &'a [CaseResult],
}

/// The results by scenario; the runs of each follow each other.
#[must_use]
pub fn by_scenario(results: &[CaseResult]) -> Vec<Group<'_>> {
    results.chunk_by(|one, other| one.scenario == other.scenario).map(|runs| Group { runs }).collect()
}

impl<'a> Group<'a> {
    /// Id of the scenario.
    #[must_use]
    pub fn scenario(&self) -> &'a str {
        self.runs.first().map_or("", |result| &result.scenario)
    }

    /// The worst status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.runs.iter().map(|result| result.status).max().unwrap_or(Status::Passed)
    }

    /// The first run with the worst status.
    #[must_use]
    pub fn worst(&self) -> &'a CaseResult {
        let status = self.status();
        self.runs.iter().find(|result| result.status == status).unwrap_or(&self.runs[0])
    }

    /// The first run of each kind of outcome, the worst first: status and what did not hold.
    #[must_use]
    pub fn different(&self) -> Vec<&'a CaseResult> {
        let ids =
            |result: &CaseResult| -> Vec<String> { result.findings.iter().map(|finding| finding.id.clone()).collect() };
        let mut seen = Vec::new();
        let mut different = Vec::new();
        for result in self.runs {
            let kind = (result.status, ids(result));
            if !seen.contains(&kind) {
                seen.push(kind);
                different.push(result);
            }
        }
        different.sort_by_key(|result| std::cmp::Reverse(result.status));
        different
    }

    /// Whether its runs did not all end alike.
    #[must_use]
    pub fn is_flaky(&self) -> bool {
        self.runs.windows(2).any(|pair| pair[0].status != pair[1].status)
    }

    /// How many of the runs ended how, and with which seeds the bad ones; nothing for a single run.
    #[must_use]
    pub fn counts(&self) -> Option<String> {
        /// Seeds that are named.
        const SEEDS: usize = 8;
        if self.runs.len() < 2 {
            return None;
        }
        let worst = self.status();
        let with = |status: Status| self.runs.iter().filter(move |result| result.status == status);
        if !self.is_flaky() {
            return Some(format!("all {} runs {worst}", self.runs.len()));
        }
        let mut statuses: Vec<Status> = self.runs.iter().map(|result| result.status).collect();
        statuses.sort_unstable();
        statuses.dedup();
        let parts: Vec<String> = statuses
            .iter()
            .rev()
            .map(|status| format!("{} of {} runs {status}", with(*status).count(), self.runs.len()))
            .collect();
        let seeds: Vec<String> = with(worst).take(SEEDS).map(|result| result.seed.to_string()).collect();
        let more = if with(worst).count() > SEEDS { ", ..." } else { "" };
        let seed = if seeds.len() == 1 { "seed" } else { "seeds" };
        Some(format!("flaky: {}; {worst} with {seed} {}{more}", parts.join(", "), seeds.join(", ")))
    }
}

/// How many scenarios ended how, the good ones first.
#[must_use]
pub fn summary(groups: &[Group<'_>]) -> String {
    let order = [
        Status::Passed,
        Status::ExpectedFailure,
        Status::UnexpectedPass,
        Status::Failed,
        Status::Inconclusive,
        Status::Error,
        Status::Skipped,
        Status::Unsupported,
    ];
    let mut parts: Vec<String> = order
        .into_iter()
        .filter_map(|status| {
            let count = groups.iter().filter(|group| group.status() == status).count();
            (count > 0).then(|| format!("{count} {status}"))
        })
        .collect();
    let flaky = groups.iter().filter(|group| group.is_flaky()).count();
    if flaky > 0 {
        parts.push(format!("{flaky} of them flaky"));
    }
    let runs: usize = groups.iter().map(|group| group.runs.len()).sum();
    if runs > groups.len() {
        parts.push(format!("{runs} runs"));
    }
    if parts.is_empty() { "nothing ran".to_owned() } else { parts.join(", ") }
}
