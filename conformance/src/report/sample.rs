//! Results with every status, for tests of reports.

use std::path::PathBuf;

use super::group::Heading;
use crate::judge::{CheckOutcome, Violation};
use crate::runner::case::CaseResult;
use crate::runner::verdict::{Finding, Status, Weight};

pub(super) const HEADING: Heading<'static> = Heading { initiator: "my.tool", air: "udp", seed: 7, shard: Some("1/2") };

pub(super) fn result(scenario: &str, status: Status) -> CaseResult {
    CaseResult {
        scenario: scenario.into(),
        target: "nrf52840-mcuboot-swap-move".into(),
        run: 1,
        seed: 7,
        why: "A swap that loses power halfway must finish".into(),
        status,
        reason: None,
        findings: Vec::new(),
        known: Vec::new(),
        checks: Vec::new(),
        duration_us: 1_250_000,
        transfer: None,
        trace: Vec::new(),
        output: Vec::new(),
        evidence: None,
        repeat: format!("brickproof run {scenario} --air udp --seed 7"),
        not_started: false,
    }
}

fn finding(id: &str, weight: Weight) -> Finding {
    Finding {
        id: id.into(),
        weight,
        expected: "The update is reported as failed".into(),
        happened: "it says \"done\" & <b>exits</b> with 0 | always".into(),
        at_us: Some(967_000),
        record: Some(607),
    }
}

/// One of each status, and a flaky scenario of three runs.
pub(super) fn results() -> Vec<CaseResult> {
    let met = || CheckOutcome::Met { evidence: vec![3] };
    let violated =
        || CheckOutcome::Violated { findings: vec![Violation { happened: "so".into(), record: 607, at_us: 967_000 }] };
    let mut passed = result("update/test-confirm", Status::Passed);
    passed.checks = vec![("STA-08", met()), ("UPL-01", met()), ("UPL-10", CheckOutcome::NotExercised)];
    passed.findings = vec![finding("UPL-10", Weight::Should)];
    let mut failed = result("rollback/crashes", Status::Failed);
    failed.checks = vec![("STA-08", violated()), ("UPL-01", met())];
    failed.findings = vec![finding("STA-08", Weight::Must), finding("UPL-10", Weight::Should)];
    failed.evidence = Some(PathBuf::from("report/my.tool/rollback.crashes"));
    failed.output = vec!["uploading...".into(), "\u{1b}[31mdone\u{1b}[0m ```".into()];
    failed.repeat = "brickproof run rollback/crashes --air udp --seed 7 -- ./up 'a b' {image}".into();
    let mut expected = result("rollback/never", Status::ExpectedFailure);
    expected.findings = vec![finding("STA-08", Weight::Must)];
    expected.checks = vec![("STA-08", violated())];
    expected.known = vec!["it does not look back".into()];
    let mut unexpected = result("security/bad-hash", Status::UnexpectedPass);
    unexpected.known = vec!["it never checked".into()];
    let mut inconclusive = result("mine", Status::Inconclusive);
    inconclusive.reason = Some("what should go wrong never did: loss was armed and its moment did not come".into());
    let mut error = result("link/loss", Status::Error);
    error.reason = Some("the answer took 812 ms".into());
    let mut skipped = result("link/phy", Status::Skipped);
    skipped.reason = Some("the air `udp` cannot show `phy`".into());
    let mut unsupported = result("update/resume", Status::Unsupported);
    unsupported.reason = Some("exit code 127".into());
    let mut runs: Vec<CaseResult> = (1..=3)
        .map(|run| {
            let mut result = result("power-loss/mid-swap", Status::Passed);
            (result.run, result.seed) = (run, 6 + u64::from(run));
            result
        })
        .collect();
    runs[1].status = Status::Failed;
    runs[1].findings = vec![finding("expect/running", Weight::Must)];
    runs[1].repeat = "brickproof run power-loss/mid-swap --air udp --seed 8".into();
    let mut all = vec![passed, failed, expected, unexpected, inconclusive, error, skipped, unsupported];
    all.extend(runs);
    all
}
