//! `brickproof sweep`.

mod answer;
mod given;
mod limits;
mod mcuboot;
mod nordic;
mod nordic_legacy;
mod options;
mod path;
mod picture;
mod silabs;
mod text;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::sweep::{
    self, Depth, End, Finding, Machine, Settings, Tears, explore_until, gecko, replay,
};

use super::explain_text::Of;
use super::options::{keys, style};
use super::{Failure, print, print_json, write_file};
use crate::library;
use crate::report::terminal::Style;
use crate::runner::case::quote;
use crate::sweep::Known;
use crate::target::Target;

use answer::{Answer, Heading, Made, StoryAnswer};
use limits::{Limits, Watch};
pub(super) use options::{AFTER_HELP, Arguments};
use options::{Cuts, Family, ImageSize, Place, StoryName, Told};
use picture::Picture;

/// A person has stopped it: as a shell reports it.
const EXIT_STOPPED: u8 = 130;

/// The target, and what is on it.
enum Setup {
    Mcuboot(Box<mcuboot::Setup>),
    Nordic(Box<nordic::Setup>),
    NordicLegacy(Box<nordic_legacy::Setup>),
    Silabs(Box<silabs::Setup>),
}

impl Setup {
    fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let target = keys(&arguments.keys)?
            .into_iter()
            .fold(library::target(&arguments.target)?, |target, key| target.trusting(key));
        if target.of_silabs().is_some() {
            return silabs::Setup::new(arguments, target).map(|setup| Self::Silabs(Box::new(setup)));
        }
        if target.of_nordic_legacy().is_some() {
            return nordic_legacy::Setup::new(arguments, target).map(|setup| Self::NordicLegacy(Box::new(setup)));
        }
        if target.of_nordic().is_some() {
            return nordic::Setup::new(arguments, target).map(|setup| Self::Nordic(Box::new(setup)));
        }
        mcuboot::Setup::new(arguments, target).map(|setup| Self::Mcuboot(Box::new(setup)))
    }

    fn target(&self) -> &Target {
        match self {
            Self::Mcuboot(setup) => &setup.target,
            Self::Nordic(setup) => &setup.target,
            Self::NordicLegacy(setup) => &setup.target,
            Self::Silabs(setup) => &setup.target,
        }
    }

    /// Does something with the machine of a story.
    fn with<T>(&self, story: Told, work: impl Work<T>) -> Result<T, Failure> {
        match self {
            Self::Mcuboot(setup) => setup.with(story, work),
            Self::Nordic(setup) => setup.with(story, work),
            Self::NordicLegacy(setup) => setup.with(story, work),
            Self::Silabs(setup) => setup.with(story, work),
        }
    }

    fn heading(&self, stories: &[Told]) -> Result<Heading, Failure> {
        match self {
            Self::Mcuboot(setup) => setup.heading(),
            Self::Nordic(setup) => setup.heading(stories),
            Self::NordicLegacy(setup) => setup.heading(stories),
            Self::Silabs(setup) => setup.heading(stories),
        }
    }

    /// The stories that were asked for, each once.
    fn stories(&self, arguments: &Arguments) -> Result<Vec<Told>, Failure> {
        // A package is told whole.
        let (family, sent) = match self {
            Self::Mcuboot(_) => (Family::Mcuboot, None),
            Self::Nordic(setup) => (Family::Nordic, setup.given.package_stories()),
            Self::NordicLegacy(setup) => (Family::Nordic, setup.given.package_stories()),
            Self::Silabs(setup) => (Family::Silabs, setup.package_stories()),
        };
        let mut stories: Vec<Told> = Vec::new();
        let named = arguments.stories.iter().flat_map(|name| name.stories(family));
        let mut asked: Vec<Told> = named.collect();
        let all = arguments.stories.is_empty() || arguments.stories.contains(&StoryName::All);
        if let Some(sent) = sent.filter(|_| all) {
            asked = sent;
        }
        if asked.is_empty() {
            asked.push(Told::usual(family));
        }
        for story in asked {
            if story.family() != family {
                let fitting = Told::names(family);
                return Err(Failure::Usage(format!(
                    "--story {}: no story of {}\n  remedy: one of: {fitting}",
                    story.name(),
                    self.target().name
                )));
            }
            if !stories.contains(&story) {
                stories.push(story);
            }
        }
        Ok(stories)
    }

    /// Known properties that only show to who wants more than the design promises, and break it all the same: without help from
    /// outside nothing goes on.
    fn needs_help(&self) -> &'static [&'static str] {
        match self {
            Self::Mcuboot(_) | Self::Nordic(_) | Self::NordicLegacy(_) => &[],
            Self::Silabs(_) => gecko::known::NEED_A_BUTTON,
        }
    }

    /// A flash, explained.
    fn explain(&self, flash: &Flash, of: Of<'_>, style: Style) -> String {
        match self {
            Self::Mcuboot(setup) => setup.explain(flash, of, style),
            Self::Nordic(setup) => setup.explain(flash, of, style),
            Self::NordicLegacy(setup) => setup.explain(flash, of, style),
            Self::Silabs(setup) => setup.explain(flash, of, style),
        }
    }
}

/// An option that this target has no use for.
fn quiet_about(option: &str, target: &Target, what: &str) -> Failure {
    Failure::Usage(format!("{option}: {} {what}\n  remedy: leave it out, or another --target", target.name))
}

/// The property that a finding with these tears shows.
type Knows<'a> = &'a dyn Fn(&Finding, Tears) -> Option<Known>;

/// What is done with any machine.
trait Work<T> {
    fn on<M: Machine>(self, machine: &M, known: Knows<'_>) -> Result<T, Failure>;
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let setup = Setup::new(arguments)?;
    match &arguments.cuts {
        Cuts::Path(path) => path::run(arguments, &setup, path),
        Cuts::Explore(depth) => explore_all(arguments, &setup, *depth),
    }
}

fn explore_all(arguments: &Arguments, setup: &Setup, depth: Depth) -> Result<u8, Failure> {
    if !arguments.flash_out.is_empty() {
        return Err(Failure::Usage(
            "--flash-out is for one path: a sweep ends in many states\n  remedy: --cuts id:PATH".into(),
        ));
    }
    if arguments.strict {
        return Err(Failure::Usage(
            "--strict is for one path: a sweep tells of both\n  remedy: --cuts id:PATH, or leave it out".into(),
        ));
    }
    let asked = setup.stories(arguments)?;
    let Heading { bootloader, mode, words, images } = setup.heading(&asked)?;
    let mut answer = Answer {
        schema: 1,
        target: setup.target().name.clone(),
        bootloader,
        mode,
        words,
        flaw: arguments.flaw.map(|flaw| flaw.name()),
        flaw_needs: arguments.flaw.map(|flaw| flaw.needs()),
        tears: arguments.tears.name(),
        images,
        stories: Vec::new(),
        not_begun: Vec::new(),
    };
    if let Some(file) = &arguments.svg {
        // Before a long sweep, and not behind it, it shows that it cannot be written.
        write_file(file, b"")?;
    }
    let interrupted = limits::on_interrupt();
    let allowed = arguments.max_time.map(|time| Duration::from_micros(time.us));
    let limits = Limits {
        max_memory: arguments.max_memory,
        deadline: allowed.map(|allowed| (Instant::now() + allowed, allowed)),
        interrupted: Arc::clone(&interrupted),
    };
    let (words, output) = (style(&std::io::stdout()), !arguments.json);
    if output {
        print(&text::heading(&answer, arguments.tears, words))?;
    }
    let mut pictures = Vec::new();
    for name in asked {
        if interrupted.load(Ordering::Relaxed) {
            answer.not_begun.push(name.name());
            continue;
        }
        let sweep = Sweep { arguments, story: name, depth, limits: &limits };
        let (mut story, picture) = setup.with(name, sweep)?;
        if let Some(strict) = name.strict() {
            let sweep = Sweep { arguments, story: strict, depth, limits: &limits };
            story.add_strict(setup.with(strict, sweep)?.0, setup.needs_help());
        }
        if output {
            print(&text::story(bootloader, &story, words))?;
        }
        pictures.extend(picture);
        answer.stories.push(story);
    }
    if let Some(file) = &arguments.svg {
        write_file(file, picture::document(&answer, &pictures).as_bytes())?;
    }
    if output {
        print(&text::verdict(&answer, words))?;
    } else {
        print_json(&answer)?;
    }
    if interrupted.load(Ordering::Relaxed) {
        return Ok(EXIT_STOPPED);
    }
    let fine = |story: &StoryAnswer| story.violations.is_empty() && story.complete;
    Ok(u8::from(!answer.stories.iter().all(fine)))
}

/// The sweep of one story: what was found, and its picture where one is wanted.
struct Sweep<'a> {
    arguments: &'a Arguments,
    story: Told,
    depth: Depth,
    limits: &'a Limits,
}

impl Work<(StoryAnswer, Option<Picture>)> for Sweep<'_> {
    fn on<M: Machine>(self, machine: &M, known: Knows<'_>) -> Result<(StoryAnswer, Option<Picture>), Failure> {
        let Self { arguments, story, depth, limits } = self;
        let threads = arguments.threads.map_or(Settings::default().limits.threads, usize::from);
        let cost = sweep::Limits { nodes: arguments.max_states as usize, threads };
        let settings = Settings { depth, tears: arguments.tears, limits: cost, ..Settings::default() };
        let mut watch = Watch::new(story.name(), limits.clone());
        let stop = Arc::clone(&watch.stop);
        let sweep = explore_until(machine, settings, &stop, |progress| {
            watch.tell(progress);
            true
        });
        let (took, reached) = watch.finish();
        // What was found with a part of the flash forgotten is told only when it is found with nothing forgotten, too.
        for finding in &sweep.findings {
            let replayed = replay(machine, &finding.path).map_err(Failure::Harness)?;
            if replayed.end != End::Violation(finding.violation.clone()) {
                let what = &finding.violation.what;
                return Err(Failure::Harness(format!(
                    "{}: `{}` is said to end so: {what}",
                    story.name(),
                    finding.path
                )));
            }
        }
        let pass = if story.is_strict() { ", strict" } else { "" };
        eprintln!("{}{pass}: {:.1} s", story.name(), took.as_secs_f64());
        let stopped = reached.or_else(|| {
            (sweep.left_out > 0).then(|| format!("the {} states of --max-states are reached", arguments.max_states))
        });
        let answer = StoryAnswer::new(&Made {
            story: story.name(),
            depth,
            tears: arguments.tears,
            known,
            sweep: &sweep,
            stopped,
            replay: &|path| replay_line(arguments, story, path),
        });
        let picture = match arguments.svg {
            Some(_) if !story.is_strict() => Some(Picture::new(machine, &sweep, &answer).map_err(Failure::Harness)?),
            _ => None,
        };
        Ok((answer, picture))
    }
}

/// The line that tells a path step by step.
fn replay_line(arguments: &Arguments, story: Told, path: &str) -> String {
    let mut words = vec!["brickproof".to_owned(), "sweep".into(), "--target".into(), arguments.target.clone()];
    let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
    let sent = arguments.slots.iter().any(|slot| slot.place == Place::Package);
    if sent || story.name() != Told::usual(story.family()).name() {
        add("--story", story.name().into());
    }
    let made = |size: ImageSize| match size {
        ImageSize::Bytes(bytes) => bytes.to_string(),
        ImageSize::Max => "max".into(),
    };
    for slot in &arguments.slots {
        add("--slot", slot.text.clone());
    }
    if !arguments.slots.iter().any(|slot| slot.place.is_installed()) {
        add("--installed", made(arguments.installed));
    }
    let update = arguments.update.or(story.update_size());
    if let Some(size) = update.filter(|_| arguments.slots.iter().all(|slot| slot.place.is_installed())) {
        add("--update", made(size));
    }
    for key in &arguments.keys {
        add("--key", key.display().to_string());
    }
    if let Some(flaw) = arguments.flaw {
        add("--flaw", flaw.name().into());
    }
    if arguments.tears != Settings::default().tears {
        add("--tears", arguments.tears.name().into());
    }
    add("--cuts", format!("id:{path}"));
    if arguments.single_bank {
        words.push("--single-bank".into());
    }
    if story.is_strict() {
        words.push("--strict".into());
    }
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}
