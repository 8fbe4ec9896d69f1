//! The built-in initiator in-process, on virtual time: a 90-second transfer takes milliseconds.

use brickproof_simulator::trace::{InitiatorEvent, Kind, Record};
use brickproof_simulator::world::World;

use super::case::{Case, Ended, SETTLE_STARTS};
use crate::air::Air;
use crate::initiator::ble::BleWire;
use crate::initiator::in_process::{Console, InProcess, block_on};
use crate::initiator::nordic;
use crate::initiator::nordic::legacy;
use crate::initiator::nordic::legacy::policy::{GoodLegacy, LegacyPolicy};
use crate::initiator::nordic::policy::{DfuPolicy, GoodDfu};
use crate::initiator::nordic::serial::WorldLine;
use crate::initiator::personality::Personality;
use crate::initiator::policy::{Policy, Reporter, Truthful, WellBehaved};
use crate::initiator::silabs;
use crate::initiator::silabs::policy::{GoodSilabs, SilabsPolicy};
use crate::initiator::update::{self, Report};
use crate::initiator::wire::{Tamper, Tampered};
use crate::initiator::world_link::WorldLink;
use crate::target::Protocol;

/// Longest time that a target is given to settle after the initiator is done, in microseconds: virtual
/// time costs nothing.
const SETTLE_US: u64 = 300_000_000;
/// Longest start of a target before the initiator begins, in microseconds.
const START_US: u64 = 60_000_000;

pub(super) fn run(
    case: &Case,
    world: &mut World,
    trace: &mut Vec<Record>,
    personality: Personality,
    seed: u64,
) -> Ended {
    match case.protocol() {
        Protocol::Smp => run_job(world, case, &Truthful, async |world| {
            if case.air == Air::InProcessBle {
                personality.run(&mut BleWire::new(world, WellBehaved.link()), &case.job(), seed).await
            } else {
                personality.run(&mut InProcess::new(world), &case.job(), seed).await
            }
        }),
        Protocol::SecureDfu => run_nordic(case, world, &GoodDfu, &Truthful),
        Protocol::LegacyDfu => run_legacy(case, world, &GoodLegacy, &Truthful),
        Protocol::SilabsOta => run_silabs(case, world, &GoodSilabs, &Truthful),
    }
    trace.append(&mut world.take_records());
    Ended::Done
}

/// Runs a case with another policy, wire or reporter: how mutants are run.
pub fn run_with(case: &Case, world: &mut World, policy: &dyn Policy, tamper: &dyn Tamper, reporter: &dyn Reporter) {
    run_job(world, case, reporter, async |world| {
        let job = case.job();
        if case.air == Air::InProcessBle {
            let mut wire = Tampered::new(BleWire::new(world, policy.link()), tamper);
            update::run(&mut wire, &job, policy).await
        } else {
            let mut wire = Tampered::new(InProcess::new(world), tamper);
            update::run(&mut wire, &job, policy).await
        }
    });
}

/// Runs a case of Nordic's with these decisions.
pub fn run_nordic(case: &Case, world: &mut World, policy: &dyn DfuPolicy, reporter: &dyn Reporter) {
    if case.air != Air::InProcessBle {
        return run_job(world, case, reporter, async |world| {
            nordic::serial::run(&mut WorldLine::new(world), &case.images.update.bytes, policy).await
        });
    }
    run_job(world, case, reporter, async |world| {
        nordic::update::run(&mut WorldLink::new(world), &case.images.update.bytes, policy).await
    });
}

/// Runs a case of Legacy DFU with these decisions; over a serial line there are none.
pub fn run_legacy(case: &Case, world: &mut World, policy: &dyn LegacyPolicy, reporter: &dyn Reporter) {
    if case.air != Air::InProcessBle {
        return run_job(world, case, reporter, async |world| {
            legacy::serial::run(&mut WorldLine::new(world), &case.images.update.bytes).await
        });
    }
    run_job(world, case, reporter, async |world| {
        legacy::update::run(&mut WorldLink::new(world), &case.images.update.bytes, policy).await
    });
}

/// Runs a case of Silicon Labs' OTA with these decisions.
pub fn run_silabs(case: &Case, world: &mut World, policy: &dyn SilabsPolicy, reporter: &dyn Reporter) {
    let files: Vec<&[u8]> = case.images.updates().map(|image| image.bytes.as_slice()).collect();
    run_job(world, case, reporter, async |world| silabs::update::run(&mut WorldLink::new(world), &files, policy).await);
}

/// Runs a case over the lines of a serial port.
pub fn run_over_console(
    case: &Case,
    world: &mut World,
    policy: &dyn Policy,
    tamper: &dyn Tamper,
    reporter: &dyn Reporter,
) {
    run_job(world, case, reporter, async |world| {
        let mut wire = Tampered::new(Console::new(world, tamper), tamper);
        update::run(&mut wire, &case.job(), policy).await
    });
}

fn run_job(world: &mut World, case: &Case, reporter: &dyn Reporter, job: impl AsyncFnOnce(&mut World) -> Report) {
    run_until(world, START_US, World::serving);
    world.record(Kind::Initiator(InitiatorEvent::Started { what: "the built-in initiator".into() }));
    let truth = block_on(job(world));
    let report = reporter.report(truth);
    world.record(Kind::Initiator(InitiatorEvent::Reported { success: report.success, message: report.message }));
    settle(world);
    case.finally(world);
    settle(world);
    world.record_state("end");
}

/// Until the target has nothing more to do by itself. Nobody waits for it any more, so its time passes at once.
pub(super) fn settle(world: &mut World) {
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
