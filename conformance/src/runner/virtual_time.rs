//! The built-in initiator in-process, on virtual time: a 90-second transfer takes milliseconds.

use brickproof_simulator::trace::{InitiatorEvent, Kind, Record};
use brickproof_simulator::world::World;

use super::case::{Case, Ended, SETTLE_STARTS};
use crate::air::Air;
use crate::initiator::ble::BleWire;
use crate::initiator::in_process::{Console, InProcess, block_on};
use crate::initiator::policy::{Policy, Reporter, Truthful, WellBehaved};
use crate::initiator::update::{self, Report};
use crate::initiator::wire::{Tamper, Tampered, Untouched};

/// Longest time that a target is given to settle after the initiator is done, in microseconds: virtual
/// time costs nothing.
const SETTLE_US: u64 = 300_000_000;
/// Longest start of a target before the initiator begins, in microseconds.
const START_US: u64 = 60_000_000;

pub(super) fn run(case: &Case, world: &mut World, trace: &mut Vec<Record>) -> Ended {
    run_with(case, world, &WellBehaved, &Untouched, &Truthful);
    trace.append(&mut world.take_records());
    Ended::Done
}

/// Runs a case with another policy, wire or reporter: how mutants are run.
pub fn run_with(case: &Case, world: &mut World, policy: &dyn Policy, tamper: &dyn Tamper, reporter: &dyn Reporter) {
    if case.air == Air::InProcessBle {
        return run_over(case, world, reporter, |world| {
            let mut wire = Tampered::new(BleWire::new(world, policy.link()), tamper);
            block_on(update::run(&mut wire, &case.job(), policy))
        });
    }
    run_over(case, world, reporter, |world| {
        let mut wire = Tampered::new(InProcess::new(world), tamper);
        block_on(update::run(&mut wire, &case.job(), policy))
    });
}

/// Runs a case over the lines of a serial port.
pub fn run_over_console(
    case: &Case,
    world: &mut World,
    policy: &dyn Policy,
    tamper: &dyn Tamper,
    reporter: &dyn Reporter,
) {
    run_over(case, world, reporter, |world| {
        let mut wire = Tampered::new(Console::new(world, tamper), tamper);
        block_on(update::run(&mut wire, &case.job(), policy))
    });
}

fn run_over(case: &Case, world: &mut World, reporter: &dyn Reporter, run: impl FnOnce(&mut World) -> Report) {
    run_until(world, START_US, World::serving);
    world.record(Kind::Initiator(InitiatorEvent::Started { what: "the built-in initiator".into() }));
    let truth = run(world);
    let report = reporter.report(truth);
    world.record(Kind::Initiator(InitiatorEvent::Reported { success: report.success, message: report.message }));
    settle(world);
    case.finally(world);
    settle(world);
    world.record_state("end");
}

/// Until the target has nothing more to do by itself.
fn settle(world: &mut World) {
    let (end, starts) = (world.now() + SETTLE_US, world.starts() + SETTLE_STARTS);
    while let Some(due) = world.next_wake().filter(|due| *due <= end && world.starts() <= starts) {
        world.advance(due);
    }
}

fn run_until(world: &mut World, us: u64, done: impl Fn(&World) -> bool) {
    let end = world.now() + us;
    while !done(world) {
        let Some(due) = world.next_wake().filter(|due| *due <= end) else { return };
        world.advance(due);
    }
}
