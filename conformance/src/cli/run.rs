//! `brickproof run`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use brickproof_simulator::bluez::OpenError;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::doctor::adapters_here;
use super::options::{find_program, keys, role_and_file, style};
use super::{Failure, print_json};
use crate::air::Air;
use crate::initiator::personality::{Mode, Personality};
use crate::library;
use crate::profile::Profile;
use crate::report::group::Heading;
use crate::report::{json, junit, markdown, terminal};
use crate::runner::case::CaseResult;
use crate::runner::person::console::Console;
use crate::runner::person::{self, Person};
use crate::runner::shard::Shard;
use crate::runner::site::Site;
use crate::runner::verdict::Status;
use crate::runner::{self, InitiatorChoice, Plan};
use crate::scenario::Scenario;

/// Where evidence goes by default.
const REPORT: &str = "brickproof-report";
/// A person has stopped the run: as a shell reports it.
const EXIT_STOPPED: u8 = 130;
/// Default deadline of a case in seconds.
const TIMEOUT_S: u64 = 300;
/// Where a person finds the target unless told otherwise.
const PERSON_AIR: Air = Air::VirtualBluez;
/// Runs of one case.
const REPEAT_MAX: i64 = 10_000;
/// External tools mostly wait.
const JOBS_EXTERNAL: usize = 8;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Scenarios: ids, their leading words (power-loss, power-loss/mid), or paths to .toml files; all
    /// bundled ones if none is given
    scenarios: Vec<String>,
    /// Who is tested: `builtin`, `builtin-...` (it acts as another client), `person` (you, with a phone or any program), a
    /// profile, or a path to a .toml file
    #[arg(long, default_value = "builtin", conflicts_with = "command")]
    initiator: String,
    /// The target instead of the scenarios' own: a profile or a path to a .toml file
    #[arg(long)]
    target: Option<String>,
    /// What the initiator `person` works with: device-manager, nrf-connect, program (any other), or a path to a .toml file
    #[arg(long)]
    app: Option<String>,
    /// What the initiator `person` has the app do after the upload, where the scenario leaves that open [default:
    /// test-and-confirm]
    #[arg(long)]
    mode: Option<Mode>,
    /// What carries the bytes: in-process (default for builtin), in-process-ble, virtual-bluez (default for tools that
    /// can be reached there), udp or serial
    #[arg(long)]
    air: Option<Air>,
    /// Cases at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Deadline of a case in seconds [default: 300; for a person 1800]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: Option<u64>,
    /// Factor on the durations of flash operations; 1 on virtual time, 0 on real time
    #[arg(long, value_name = "X", value_parser = factor)]
    time_scale: Option<f64>,
    /// Seed of everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Run each case N times, with the seeds S, S+1, ... (S: --seed); the worst run is the verdict
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=REPEAT_MAX))]
    repeat: u32,
    /// Run only part K of N of the chosen scenarios: several machines share a run
    #[arg(long, value_name = "K/N")]
    shard: Option<Shard>,
    /// An image file instead of the scenarios' own: installed=FILE or update=FILE
    #[arg(long = "image", value_name = "ROLE=FILE", value_parser = role_and_file)]
    images: Vec<(String, PathBuf)>,
    /// A PEM file with a key that the target trusts besides its own
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Folder for junit.xml, summary.md, results.json and evidence, which is then also kept for cases that
    /// passed
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Results as JSON on standard output
    #[arg(long)]
    json: bool,
    /// A command that does the whole update: {address}, {port} (on udp), {path} (of the serial port), {bus} (of
    /// virtual-bluez), {image}, {hash} and {name} are filled in
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if (0.0..=1000.0).contains(&factor) => Ok(factor),
        _ => Err("expected a number from 0 to 1000".into()),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let plan = plan(arguments)?;
    let chosen = library::scenarios(&arguments.scenarios)?;
    check_known(&plan, &chosen)?;
    let scenarios = match arguments.shard {
        Some(shard) => shard.of(chosen),
        None => chosen,
    };
    if let Some(folder) = &arguments.report {
        std::fs::create_dir_all(folder).map_err(|error| Failure::Usage(format!("{}: {error}", folder.display())))?;
    }
    let cases = scenarios.len() as u64 * u64::from(plan.runs);
    // A dialogue has the terminal for itself.
    let target = match plan.initiator {
        InitiatorChoice::Person(_) => ProgressDrawTarget::hidden(),
        InitiatorChoice::Builtin(_) | InitiatorChoice::External(_) => ProgressDrawTarget::stderr(),
    };
    let bar = ProgressBar::with_draw_target(Some(cases), target);
    if let Ok(template) = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg} {elapsed}") {
        bar.set_style(template);
    }
    bar.set_message(format!("{} on {}", plan.initiator.name(), plan.air));
    bar.enable_steady_tick(Duration::from_millis(120));
    let hidden = bar.is_hidden();
    let progress = |result: &CaseResult| {
        bar.inc(1);
        bar.set_message(format!("{} {}", result.status, result.scenario));
        // Without a terminal there is no bar: slow runs say what they have done, line by line.
        if hidden && !plan.air.is_virtual() {
            let run = if plan.runs > 1 { format!(" (run {})", result.run) } else { String::new() };
            eprintln!("{:<16}  {}{run}", result.status.word(), result.scenario);
        }
    };
    let results = runner::run(&scenarios, &plan, &progress)?;
    bar.finish_and_clear();

    let shard = arguments.shard.map(|shard| shard.to_string());
    let heading =
        Heading { initiator: plan.initiator.name(), air: plan.air.name(), seed: plan.seed, shard: shard.as_deref() };
    // The table is the result, unless JSON is.
    if arguments.json {
        eprint!("{}", terminal::report(&results, &heading, style(&std::io::stderr())));
    } else {
        super::print(&terminal::report(&results, &heading, style(&std::io::stdout())))?;
    }
    let worst = results.iter().map(|result| result.status).max().unwrap_or(Status::Passed);
    let run = json::run(&heading, plan.runs, &results);
    if let Some(folder) = &arguments.report {
        let mut text = serde_json::to_vec_pretty(&run).map_err(|error| Failure::Harness(error.to_string()))?;
        text.push(b'\n');
        super::write_file(&folder.join("results.json"), &text)?;
        let xml = junit::report(&results, &heading).map_err(Failure::Harness)?;
        super::write_file(&folder.join("junit.xml"), xml.as_bytes())?;
        super::write_file(&folder.join("summary.md"), markdown::report(&results, &heading).as_bytes())?;
    }
    if arguments.json {
        print_json(&run)?;
    }
    if runner::stopped() {
        return Ok(EXIT_STOPPED);
    }
    if results.iter().any(|result| result.not_started) {
        return Ok(super::EXIT_USAGE);
    }
    Ok(worst.exit_code())
}

/// A known failure of a scenario that does not exist would never be reported as gone.
fn check_known(plan: &Plan, scenarios: &[Scenario]) -> Result<(), Failure> {
    let InitiatorChoice::External(profile) = &plan.initiator else { return Ok(()) };
    let bundled = library::scenarios(&[])?;
    for known in &profile.known {
        if let Some(id) =
            known.scenarios.iter().find(|id| !scenarios.iter().chain(&bundled).any(|scenario| scenario.id == **id))
        {
            return Err(Failure::Usage(format!(
                "initiator `{}`: a failure is known for `{}`, and there is no such scenario\n  remedy: `brickproof list scenarios` shows them",
                profile.name, id
            )));
        }
    }
    Ok(())
}

fn plan(arguments: &Arguments) -> Result<Plan, Failure> {
    let initiator = if !arguments.command.is_empty() {
        InitiatorChoice::External(Profile::of_command(arguments.command.clone())?)
    } else if arguments.initiator == person::NAME {
        InitiatorChoice::Person(a_person(arguments)?)
    } else if let Some(personality) = Personality::named(&arguments.initiator) {
        InitiatorChoice::Builtin(personality)
    } else {
        InitiatorChoice::External(library::initiator(&arguments.initiator)?)
    };
    if let InitiatorChoice::External(profile) = &initiator {
        for command in profile.commands.values() {
            let program = &command[0];
            if find_program(program).is_none() {
                let remedy =
                    if profile.needs.is_empty() { String::new() } else { format!("\n  remedy: {}", profile.needs) };
                return Err(Failure::Usage(format!(
                    "`{program}` cannot be started: there is no such program, or it may not be executed{remedy}"
                )));
            }
        }
    }
    let builtin = matches!(initiator, InitiatorChoice::Builtin(_));
    let a_person = matches!(initiator, InitiatorChoice::Person(_));
    if !a_person && (arguments.app.is_some() || arguments.mode.is_some()) {
        return Err(Failure::Usage("--app and --mode are for a person\n  remedy: --initiator person".into()));
    }
    let air = arguments.air.unwrap_or(match &initiator {
        InitiatorChoice::Builtin(_) => Air::InProcess,
        InitiatorChoice::Person(_) => PERSON_AIR,
        InitiatorChoice::External(profile) if profile.airs.contains(&Air::VirtualBluez) => Air::VirtualBluez,
        InitiatorChoice::External(profile) => profile.airs.first().copied().unwrap_or(Air::VirtualBluez),
    });
    if !builtin && air.is_virtual() {
        return Err(Failure::Usage(format!(
            "the air `{air}` is for the built-in initiator\n  remedy: --air virtual-bluez, udp or serial for a tool of your own"
        )));
    }
    if let InitiatorChoice::External(profile) = &initiator
        && profile.reaches(air)
        && let Err(message) = profile.commands_on(air)
    {
        return Err(Failure::Usage(format!("initiator `{}`: {message}", profile.name)));
    }
    if let (Some(adapter), Some(2..)) = (air.adapter(), arguments.jobs) {
        return Err(Failure::Usage(format!("one case at a time has {adapter}: no --jobs on the air `{air}`")));
    }
    if builtin && air.adapter().is_some() {
        return Err(Failure::Usage(format!(
            "the built-in initiator does not use adapters\n  remedy: a tool or a person on `{air}`, or --air virtual-bluez"
        )));
    }
    if let Some(adapter) = air.adapter() {
        let found: Vec<_> = adapters_here()?.into_iter().map(|found| found.name).collect();
        if !found.contains(&adapter) {
            return Err(Failure::adapter(&OpenError::NoAdapter { wanted: adapter, found }));
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let site = if air.is_virtual() {
        None
    } else {
        let guarded = Site::guarded();
        Some(Arc::new(
            guarded.map_err(|error| Failure::Harness(format!("no place for the files of the run: {error}")))?,
        ))
    };
    Ok(Plan {
        air,
        site,
        target: arguments.target.clone(),
        images: arguments.images.clone(),
        keys: keys(&arguments.keys)?,
        time_scale: arguments.time_scale,
        timeout_s: arguments.timeout.unwrap_or(if a_person { person::TIMEOUT_S } else { TIMEOUT_S }),
        seed: arguments.seed,
        run: 1,
        runs: arguments.repeat,
        jobs: arguments.jobs.map(usize::from).unwrap_or(match (&initiator, air) {
            // There is one of each.
            (InitiatorChoice::Person(_), _) | (_, Air::Bluez(_)) => 1,
            _ if air.is_virtual() => cores,
            _ => JOBS_EXTERNAL,
        }),
        report: arguments.report.clone().unwrap_or_else(|| PathBuf::from(REPORT)),
        keep_all: arguments.report.is_some(),
        repeat_with: repeat_with(arguments, air),
        command: arguments.command.clone(),
        initiator,
    })
}

/// The person who is guided, and the app: by default the one that reaches the target on this air.
fn a_person(arguments: &Arguments) -> Result<Person, Failure> {
    if arguments.jobs.is_some_and(|jobs| jobs > 1) {
        return Err(Failure::Usage("a person does one case after the other\n  remedy: leave out --jobs".into()));
    }
    let radio = arguments.air.unwrap_or(PERSON_AIR).is_radio();
    let app = library::app(match &arguments.app {
        Some(name) => name,
        None if radio => "device-manager",
        None => "program",
    })?;
    if app.radio && !radio {
        eprintln!("No phone reaches this air: take what follows as an example, and act with a program.");
    }
    Ok(Person { app, mode: arguments.mode, console: Arc::new(Console::new(style(&std::io::stderr()).colour)) })
}

/// The arguments that repeat a case.
fn repeat_with(arguments: &Arguments, air: Air) -> Vec<String> {
    let mut words = Vec::new();
    if arguments.command.is_empty() && arguments.initiator != Personality::DEFAULT.name {
        words.extend(["--initiator".into(), arguments.initiator.clone()]);
    }
    if let Some(app) = &arguments.app {
        words.extend(["--app".into(), app.clone()]);
    }
    if let Some(mode) = arguments.mode.and_then(|mode| mode.to_possible_value()) {
        words.extend(["--mode".into(), mode.get_name().to_owned()]);
    }
    words.extend(["--air".into(), air.to_string()]);
    if let Some(target) = &arguments.target {
        words.extend(["--target".into(), target.clone()]);
    }
    if let Some(scale) = arguments.time_scale {
        words.extend(["--time-scale".into(), scale.to_string()]);
    }
    for (role, path) in &arguments.images {
        words.extend(["--image".into(), format!("{role}={}", path.display())]);
    }
    for path in &arguments.keys {
        words.extend(["--key".into(), path.display().to_string()]);
    }
    if let Some(timeout) = arguments.timeout {
        words.extend(["--timeout".into(), timeout.to_string()]);
    }
    words
}
