//! Agreement with the real MCUboot: every record of the recordings, operation by operation.
//!
//! Reads the folder named by `BRICKPROOF_GOLDEN_MCUBOOT`, or the recordings in `tests/golden`.

mod golden_support;

use golden_support::{Golden, Kind};

fn check(kind: Kind) {
    let golden = Golden::load();
    let mut agree = 0;
    let mut records = 0;
    let mut disagreements = Vec::new();
    for record in golden.records(kind) {
        records += 1;
        match golden.replay(record) {
            Ok(()) => agree += 1,
            Err(difference) => disagreements.push(format!("{}: {difference}", record.id())),
        }
    }
    println!("golden_mcuboot {kind:?}: agree: {agree} of {records}");
    for (mode, count) in golden.not_built(kind) {
        println!("golden_mcuboot {kind:?}: {count} records of {mode}, which is not built yet");
    }
    assert!(records > 0, "no records of a mode that is built in {}", golden.folder().display());
    assert!(disagreements.is_empty(), "{} records disagree:\n{}", disagreements.len(), disagreements.join("\n"));
}

#[test]
fn golden_mcuboot_cases() {
    check(Kind::Cases);
}

#[test]
fn golden_mcuboot_single_cuts() {
    check(Kind::SingleCuts);
}

#[test]
fn golden_mcuboot_double_cuts() {
    check(Kind::DoubleCuts);
}
