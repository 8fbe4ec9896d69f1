//! One scenario, prepared to run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Slot, SwapType};
use brickproof_flash_model::flash::{Controller, Flash, Uncut};
use brickproof_flash_model::source::Mistake;
use brickproof_simulator::device::{Battery, Board, Persistent};
use brickproof_simulator::gatt::IoCapability;
use brickproof_simulator::trace::{Kind, Record, RunRecord, SCHEMA, Wants};
use brickproof_simulator::world::{Action, Control, Fault, Trigger, World};

use super::verdict::{Finding, Status, status};
use super::{InitiatorChoice, Plan, evidence, real_time, suited, virtual_time};
use crate::air::Air;
use crate::initiator::update::Job;
use crate::judge::nordic::measure::{Transfer, transfer};
use crate::judge::{self, CheckOutcome};
use crate::library;
use crate::scenario::{Finally, Image, ImageOrigin, ImageSet, ImageState, Measure, Scenario, Version, gbl};
use crate::target::{Protocol, Target};

/// Starts after which a target does not settle any more.
pub(super) const SETTLE_STARTS: u64 = 50;
/// How long a power cycle at the end lasts, in microseconds.
const POWER_CYCLE_US: u64 = 1_000_000;
/// Lines of the tool's output that are kept in the result.
const OUTPUT_LINES: usize = 20;

/// A scenario with everything it needs.
#[derive(Debug)]
pub struct Case {
    /// The scenario.
    pub scenario: Scenario,
    /// Its images.
    pub images: ImageSet,
    /// What carries the bytes: the air of the plan, or the one that suits the scenario.
    pub air: Air,
    target: Target,
    /// Why the scenario has nothing to do with the target that is wanted.
    unsuited: Option<String>,
    board: Arc<Board>,
    flash: Flash,
}

/// What came of a case.
#[derive(Debug)]
pub struct CaseResult {
    /// Id of the scenario.
    pub scenario: String,
    /// Name of the target.
    pub target: String,
    /// Which run of the scenario this is, from 1.
    pub run: u32,
    /// Seed of this run.
    pub seed: u64,
    /// Why the scenario exists.
    pub why: String,
    /// Its status.
    pub status: Status,
    /// Why, where findings do not say it: skipped, inconclusive, error.
    pub reason: Option<String>,
    /// What did not hold.
    pub findings: Vec<Finding>,
    /// Reasons of known failures.
    pub known: Vec<String>,
    /// Every requirement and what came of its check.
    pub checks: Vec<(&'static str, CheckOutcome)>,
    /// Duration on the clock of the run, in microseconds.
    pub duration_us: u64,
    /// What the transfer came to, where the scenario measures that.
    pub transfer: Option<Transfer>,
    /// Everything that happened.
    pub trace: Vec<Record>,
    /// The last lines that the tool wrote.
    pub output: Vec<String>,
    /// The folder with the evidence, if one was left.
    pub evidence: Option<PathBuf>,
    /// The line that repeats it.
    pub repeat: String,
    /// The tool could not be started at all.
    pub not_started: bool,
}

/// How the initiator's part ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It reported, or its commands ended.
    Done,
    /// It declared that it cannot do this.
    Unsupported(String),
    /// Nobody knows what came of it, and why.
    Undecided(String),
    /// The deadline passed; it was killed.
    Hung,
    /// As with the two above, but this machine was so slow that whatever did not hold may be its own fault.
    Late { late: Duration, hung: bool },
    /// The tool cannot be started: bad usage.
    NotStarted(String),
    /// The harness cannot go on.
    Error(String),
}

impl Case {
    /// Makes images, board and flash of a scenario.
    ///
    /// # Errors
    /// A [`Mistake`] that names what cannot be made.
    pub fn prepare(scenario: &Scenario, plan: &Plan) -> Result<Self, Mistake> {
        let mut scenario = scenario.clone();
        let mut unsuited = match &plan.target {
            Some(name) => suited::target(&scenario, &library::target(name)?),
            None => None,
        };
        for (role, path) in &plan.images {
            let spec = match role.as_str() {
                "installed" => &mut scenario.installed,
                "update" => &mut scenario.update,
                _ => {
                    return Err(Mistake::new(format!("--image {role}"), "no image has this role")
                        .remedy("`installed` or `update`"));
                }
            };
            if unsuited.is_none() {
                spec.origin = ImageOrigin::File(path.clone());
            }
        }
        // Images and overrides of a scenario are for targets of its own family.
        let name = plan.target.as_ref().filter(|_| unsuited.is_none()).unwrap_or(&scenario.target);
        let target = library::target_with(name, &scenario.overrides, &scenario.id)?;
        let target = plan.trusted_by(target);
        let own_update = unsuited.is_none() && plan.images.iter().any(|(role, _)| role == "update");
        let images = match ImageSet::prepare(&scenario, &target) {
            // A file of one's own that has nothing to break there: that is no mistake in it.
            Err(mistake) if own_update && scenario.update.broken.take().is_some() => {
                let images = ImageSet::prepare(&scenario, &target)?;
                unsuited = Some(mistake.to_string());
                images
            }
            images => images?,
        };
        if own_update && unsuited.is_none() {
            unsuited = suited::update(&scenario, &images.update, &target, plan)?;
        }
        let behaviours = [(&images.installed, &scenario.installed), (&images.update, &scenario.update)]
            .into_iter()
            .chain(images.other.as_ref().zip(scenario.other.as_ref()))
            .filter_map(|(image, spec)| image.tlv_hash.map(|hash| (hash, spec.behaviour)))
            .collect();
        let air = plan.air.suited_to(&scenario.needs, target.is_serial());
        let time_scale = plan.time_scale.unwrap_or(if air.is_virtual() { 1.0 } else { 0.0 });
        let mut board = target.board(scenario.timing, time_scale, behaviours)?;
        let file_len = u32::try_from(images.update.bytes.len()).unwrap_or(u32::MAX);
        board.expect(gbl::known(images.all()), file_len);
        let board = Arc::new(board);
        if let (ImageOrigin::File(path), None, Some(mcuboot)) =
            (&scenario.update.origin, scenario.update.broken, board.mcuboot())
        {
            let mut slot = images.update.bytes.clone();
            slot.push(0xff);
            if let Err(error) = mcuboot.verifier().verify(&slot.as_slice(), mcuboot.max_image_size()) {
                return Err(Mistake::new(
                    path.display().to_string(),
                    format!("{} would not accept it: {error}", target.name),
                )
                .remedy("sign it with a key that the target trusts, or add the key with --key"));
            }
        }
        for fault in &scenario.faults {
            if let Trigger::Write { to, .. } = &fault.trigger
                && !board.peripheral.can_be_written(to)
            {
                return Err(Mistake::new(
                    format!("fault `{}` of {}", fault.id, scenario.id),
                    format!("{} has no vendor characteristic `{to}` that can be written", target.name),
                )
                .remedy("its UUID, or the name in its `trigger`, in a [[service]] of the target or of [override]"));
            }
            if let Some(partition) = fault.action.partition()
                && board.layout.area(partition).is_none()
            {
                let names: Vec<_> = board.layout.partitions.iter().map(|partition| partition.name.as_str()).collect();
                return Err(Mistake::new(
                    format!("fault `{}` of {}", fault.id, scenario.id),
                    format!("{} has no partition `{partition}`", target.name),
                )
                .remedy(format!("one of: {}", names.join(", "))));
            }
        }
        let flash = factory_flash(&scenario, &images, &target, &board)?;
        Ok(Self { scenario, images, air, target, unsuited, board, flash })
    }

    /// Runs it; never fails: what goes wrong is in the result.
    #[must_use]
    pub fn run(&self, plan: &Plan, index: usize) -> CaseResult {
        let missing = self.scenario.needs.iter().find(|need| !self.air.can(need));
        if let Some(missing) = missing {
            let reason = format!("the air `{}` cannot show `{missing}`", self.air);
            return self.without_run(plan, Status::Skipped, reason);
        }
        if let InitiatorChoice::External(profile) = &plan.initiator
            && !profile.reaches(plan.air)
        {
            let reason = format!("{} cannot be reached on the air `{}`", profile.name, plan.air);
            return self.without_run(plan, Status::Skipped, reason);
        }
        let protocol = self.target.protocol();
        if let Some(reason) = &self.unsuited {
            return self.without_run(plan, Status::Skipped, reason.clone());
        }
        if let Some(spoken) = plan.initiator.protocol().filter(|spoken| *spoken != protocol) {
            let reason = format!(
                "{} speaks {}, and {} is spoken to with {}",
                plan.initiator.name(),
                spoken.words(),
                self.target.name,
                protocol.words()
            );
            return self.without_run(plan, Status::Unsupported, reason);
        }
        let secure = self.target.of_nordic().and_then(|own| own.unreachable_on(self.air));
        let legacy = self.target.of_nordic_legacy().and_then(|own| own.unreachable_on(self.air));
        let silabs = self.target.of_silabs().and_then(|own| own.unreachable_on(self.air));
        if let Some(lack) = secure.or(legacy).or(silabs) {
            return self.without_run(plan, Status::Skipped, format!("{} {lack}", self.target.name));
        }
        if let Some(lack) = self.scenario.needs.iter().find_map(|need| self.target.lacks(need)) {
            return self.without_run(plan, Status::Skipped, format!("{} {lack}", self.target.name));
        }
        if self.images.update_1.is_some() {
            let of_mcuboot = self.board.mcuboot().is_some_and(|mcuboot| mcuboot.image_count() > 1);
            if !of_mcuboot && self.target.of_silabs().is_none() {
                let reason = format!("{} has one image, and the scenario updates two", self.target.name);
                return self.without_run(plan, Status::Skipped, reason);
            }
            if let InitiatorChoice::External(profile) = &plan.initiator {
                let reason = format!("the scenario updates two images, and the commands of {} name one", profile.name);
                return self.without_run(plan, Status::Unsupported, reason);
            }
        }
        if let InitiatorChoice::Person(person) = &plan.initiator
            && let Some(reason) = person.unsupported(&self.scenario)
        {
            return self.without_run(plan, Status::Unsupported, reason);
        }
        let unsupported = match &plan.initiator {
            InitiatorChoice::Builtin(personality) => personality.unsupported(&self.scenario.id, &self.scenario.needs),
            InitiatorChoice::External(profile) => profile.unsupported(&self.scenario.id),
            InitiatorChoice::Person(_) => None,
        };
        if let Some(reason) = unsupported {
            return self.without_run(plan, Status::Unsupported, reason.to_owned());
        }
        let mut world = self.world(plan);
        let mut trace = Vec::new();
        let ended = match &plan.initiator {
            InitiatorChoice::Builtin(personality) if self.air.is_virtual() => {
                virtual_time::run(self, &mut world, &mut trace, *personality, plan.seed)
            }
            _ => real_time::run(self, plan, index, &mut world, &mut trace),
        };
        trace.append(&mut world.take_records());
        self.judge(plan, &world, trace, ended)
    }

    /// The world of this case, powered and with its faults armed.
    #[must_use]
    pub fn world(&self, plan: &Plan) -> World {
        let persistent = Persistent::new(self.flash.clone());
        let mut world = World::new(Arc::clone(&self.board), persistent, Wants::default());
        world.record(Kind::Run(RunRecord {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").into(),
            seed: plan.seed,
            scenario: self.scenario.id.clone(),
            target: self.target.name.clone(),
            initiator: plan.initiator.name().into(),
            air: self.air.name().into(),
            clock: if self.air.is_virtual() { "virtual" } else { "real" }.into(),
            artifacts: std::iter::once(&self.images.installed)
                .chain(self.images.updates())
                .chain(&self.images.other)
                .map(Image::artifact)
                .collect(),
        }));
        let waits = self.scenario.other.as_ref().and_then(|other| other.state);
        let in_the_middle = self.scenario.installed.state == Some(ImageState::Testing)
            || matches!(waits, Some(ImageState::Pending | ImageState::Permanent));
        if in_the_middle {
            world.found_running();
        }
        world.record_state("start");
        if self.scenario.battery < 100 {
            world.control(Control::Battery(Battery { percent: self.scenario.battery }));
        }
        for fault in &self.scenario.faults {
            world.control(Control::Fault(fault.clone().seeded(plan.seed)));
        }
        if !in_the_middle {
            world.control(Control::Power(true));
        }
        world
    }

    /// What the built-in initiator is given.
    #[must_use]
    pub fn job(&self) -> Job {
        let several = self.images.update_1.is_some();
        let job = |update: &Image, number| Job {
            image: update.bytes.clone(),
            sha256: update.sha256,
            // Too broken to have a hash: the file is offered all the same.
            tlv_hash: update.tlv_hash.unwrap_or(update.sha256),
            version: match update.version {
                Some(Version::Semantic(version)) => Some(version),
                Some(Version::Number(_)) | None => None,
            },
            task: self.scenario.task,
            number,
            further: Vec::new(),
        };
        Job {
            further: self.images.update_1.iter().map(|update| job(update, Some(1))).collect(),
            ..job(&self.images.update, several.then_some(0))
        }
    }

    /// The same, where the target has a display or a keyboard for it.
    pub(super) fn shown_passkey(&self) -> Option<u32> {
        let shows = self.board.gatt.pairing.capability.is_some_and(|can| can != IoCapability::NoInputNoOutput);
        shows.then(|| self.passkey())
    }

    /// What the target speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.target.protocol()
    }

    /// The name of the target.
    pub(super) fn target_name(&self) -> &str {
        &self.target.name
    }

    /// What the target shows when it is paired with.
    pub(super) fn passkey(&self) -> u32 {
        self.board.gatt.pairing.passkey
    }

    /// The flash before the run.
    #[must_use]
    pub fn flash(&self) -> &Flash {
        &self.flash
    }

    /// What is done to the target after the initiator is done.
    pub(super) fn finally(&self, world: &mut World) {
        for action in &self.scenario.finally {
            match action {
                Finally::PowerCycle => world.control(Control::Fault(Fault {
                    id: "finally".into(),
                    trigger: Trigger::After { us: 0 },
                    action: Action::PowerLoss { for_us: Some(POWER_CYCLE_US) },
                })),
            }
        }
    }

    fn judge(&self, plan: &Plan, world: &World, trace: Vec<Record>, ended: Ended) -> CaseResult {
        let mut result = CaseResult {
            duration_us: trace.last().map_or(0, |record| record.at_us),
            output: evidence::last_output(&trace, OUTPUT_LINES),
            trace,
            ..self.without_run(plan, Status::Passed, String::new())
        };
        result.reason = None;
        let never_fired: Vec<&str> = world
            .faults()
            .iter()
            .filter(|(_, state)| state.never_struck())
            .map(|(fault, _)| fault.id.as_str())
            .collect();
        match ended {
            Ended::Unsupported(reason) => {
                result.status = Status::Unsupported;
                result.reason = Some(reason);
                return result;
            }
            Ended::Undecided(reason) => {
                result.status = Status::Inconclusive;
                result.reason = Some(reason);
            }
            Ended::NotStarted(reason) => {
                result.status = Status::Error;
                result.not_started = true;
                result.reason = Some(reason);
            }
            Ended::Error(reason) => {
                result.status = Status::Error;
                result.reason = Some(reason);
            }
            Ended::Done | Ended::Hung | Ended::Late { .. } => {
                let hung = matches!(ended, Ended::Hung | Ended::Late { hung: true, .. });
                let verdict = judge::judge(&self.scenario, &self.images, &result.trace, hung);
                result.findings = verdict.findings;
                result.checks = verdict.checks;
                if self.scenario.measures == Some(Measure::Transfer) {
                    result.transfer = transfer(&result.trace, &self.images);
                }
                let known = match &plan.initiator {
                    InitiatorChoice::External(profile) => {
                        profile.known_for(&self.scenario.id, plan.air).into_iter().cloned().collect()
                    }
                    InitiatorChoice::Builtin(personality) => personality.known_for(&self.scenario.id, &result.findings),
                    InitiatorChoice::Person(_) => Vec::new(),
                };
                let always: Vec<&str> =
                    known.iter().flat_map(|known| known.findings.iter().map(String::as_str)).collect();
                let sometimes: Vec<&str> =
                    known.iter().flat_map(|known| known.sometimes.iter().map(String::as_str)).collect();
                result.status = status(&result.findings, &always, &sometimes);
                let told = known.iter().filter(|known| known.concerns(&result.findings));
                result.known = told.map(|known| known.reason.clone()).collect();
                if result.status == Status::Passed && !never_fired.is_empty() {
                    result.status = Status::Inconclusive;
                    result.reason = Some(format!(
                        "what should go wrong never did: {} was armed and its moment did not come",
                        never_fired.join(", ")
                    ));
                }
                if let Ended::Late { late, .. } = ended
                    && result.status > Status::ExpectedFailure
                {
                    result.status = Status::Error;
                    result.reason = Some(format!("this machine was too busy: the target was {late:?} late"));
                }
            }
        }
        if result.status > Status::ExpectedFailure || plan.keep_all {
            match evidence::leave(self, plan, world, &result) {
                Ok(folder) => result.evidence = Some(folder),
                Err(error) => {
                    result.status = result.status.max(Status::Error);
                    result.reason = Some(format!("the evidence cannot be written: {error}"));
                }
            }
        }
        result
    }

    /// What is said when the evidence of an earlier run is in the way.
    pub(super) fn old_evidence_stays(&self, plan: &Plan, error: &str) -> CaseResult {
        self.without_run(plan, Status::Error, format!("old evidence cannot be removed: {error}"))
    }

    fn without_run(&self, plan: &Plan, status: Status, reason: String) -> CaseResult {
        let mut repeat = vec!["brickproof".to_owned(), "run".to_owned(), self.scenario.name.clone()];
        repeat.extend(plan.repeat_with.iter().cloned());
        repeat.extend(["--seed".to_owned(), plan.seed.to_string()]);
        if !plan.command.is_empty() {
            repeat.push("--".to_owned());
            repeat.extend(plan.command.iter().cloned());
        }
        CaseResult {
            scenario: self.scenario.id.clone(),
            target: self.target.name.clone(),
            run: plan.run,
            seed: plan.seed,
            why: self.scenario.why.clone(),
            status,
            reason: Some(reason),
            findings: Vec::new(),
            known: Vec::new(),
            checks: Vec::new(),
            duration_us: 0,
            transfer: None,
            trace: Vec::new(),
            output: Vec::new(),
            evidence: None,
            not_started: false,
            repeat: repeat.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "),
        }
    }
}

/// The flash of a target at the start.
fn factory_flash(scenario: &Scenario, images: &ImageSet, target: &Target, board: &Board) -> Result<Flash, Mistake> {
    let installed = &images.installed;
    if let Some(mcuboot) = board.mcuboot() {
        return initial_flash(scenario, images, target, mcuboot);
    }
    if let Some(own) = target.of_nordic() {
        let version = match installed.version {
            Some(Version::Number(version)) => version,
            Some(Version::Semantic(_)) | None => 0,
        };
        return own.factory_flash(&target.layout, &installed.bytes, version);
    }
    if let Some(own) = target.of_nordic_legacy() {
        return own.factory_flash(&target.layout, &installed.bytes);
    }
    match target.of_silabs() {
        Some(own) => own.factory_flash(
            &target.layout,
            &installed.bytes,
            images.other.as_ref().map(|other| other.bytes.as_slice()),
        ),
        None => Ok(target.layout.blank_flash()),
    }
}

/// A flash with the installed image, the one in the secondary slot, and their trailers.
fn initial_flash(scenario: &Scenario, images: &ImageSet, target: &Target, mcuboot: &Mcuboot) -> Result<Flash, Mistake> {
    let mut flash = target.layout.blank_flash();
    target.fill_other_images(&mut flash, mcuboot)?;
    place(&mut flash, &images.installed, Slot::Primary, scenario, target, mcuboot)?;
    let what = || format!("image `installed` of {}", scenario.id);
    if scenario.installed.broken.is_none()
        && let Err(error) = mcuboot.verify(&flash, Slot::Primary)
    {
        return Err(Mistake::new(what(), format!("{} would not start it: {error}", target.name))
            .remedy("sign it with a key that the target trusts, or add the key with --key"));
    }
    let mut hook = Uncut;
    let swapped = match (scenario.installed.confirmed, scenario.installed.state) {
        (true, _) => Some(SwapType::Permanent),
        (false, Some(ImageState::Testing)) => Some(SwapType::Test),
        (false, _) => None,
    };
    target
        .mark_installed(&mut Controller::new(&mut flash, &mut hook), mcuboot, swapped)
        .map_err(|error| Mistake::new(what(), error.to_string()))?;
    if let (Some(image), Some(spec)) = (&images.other, &scenario.other) {
        place(&mut flash, image, Slot::Secondary, scenario, target, mcuboot)?;
        let permanent = match spec.state {
            Some(ImageState::Pending) => Some(false),
            Some(ImageState::Permanent) => Some(true),
            // The way back of a test was confirmed once, and direct-XIP erases what was not.
            _ if scenario.installed.state == Some(ImageState::Testing) && target.is_direct_xip() => Some(true),
            _ => None,
        };
        if let Some(permanent) = permanent {
            let mut controller = Controller::new(&mut flash, &mut hook);
            mcuboot
                .set_pending(&mut controller, permanent)
                .map_err(|error| Mistake::new(format!("image `other` of {}", scenario.id), error.to_string()))?;
        }
    }
    Ok(flash)
}

fn place(
    flash: &mut Flash,
    image: &Image,
    slot: Slot,
    scenario: &Scenario,
    target: &Target,
    mcuboot: &Mcuboot,
) -> Result<(), Mistake> {
    let what = || format!("image `{}` of {}", image.role, scenario.id);
    if image.bytes.len() > mcuboot.max_image_size() as usize {
        return Err(Mistake::new(what(), format!("{} bytes do not fit", image.bytes.len())).remedy(format!(
            "{} takes at most {} bytes",
            target.name,
            mcuboot.max_image_size()
        )));
    }
    let area = mcuboot.area(slot);
    let start = mcuboot.pair(0).map_or(0, |pair| pair.image_offset(flash, slot));
    let unit = target.layout.devices[usize::from(area.device)].geometry.program_unit() as usize;
    let mut bytes = image.bytes.clone();
    bytes.resize(bytes.len().next_multiple_of(unit), 0xff);
    flash.load(area, start, &bytes).map_err(|error| Mistake::new(what(), error.to_string()))
}

pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@{}".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
