//! `brickproof sweep`.

mod answer;
mod limits;
mod options;
mod path;
mod picture;
mod text;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use brickproof_flash_model::boot::mcuboot::Mcuboot;
use brickproof_flash_model::boot::mcuboot::explain::mode_name;
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::mcuboot::{ImageVersion, inspect};
use brickproof_flash_model::sweep::mcuboot::{Factory, Facts, Story, Update};
use brickproof_flash_model::sweep::{self, Depth, End, Machine, Settings, explore_until, replay};

use super::options::{keys, style};
use super::{Failure, print, print_json, read_file, write_file};
use crate::library;
use crate::runner::case::quote;
use crate::sweep::{Initiator, Upload};
use crate::target::Target;

use answer::{Answer, Image, Made, StoryAnswer};
use limits::{Limits, Watch};
pub(super) use options::{AFTER_HELP, Arguments};
use options::{Cuts, ImageSize, SlotImage, StoryName, Told};
use picture::Picture;

/// A person has stopped it: as a shell reports it.
const EXIT_STOPPED: u8 = 130;

/// The target, and what is in its slots.
struct Setup {
    target: Target,
    mcuboot: Mcuboot,
    /// Everything but the slots of image 0.
    flash: Flash,
    installed: Vec<u8>,
    update: Vec<u8>,
    factory: Factory,
    /// Where the images come from, as lines behind an error; empty when they are made.
    files: String,
}

impl Setup {
    fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let target = keys(&arguments.keys)?
            .into_iter()
            .fold(library::target(&arguments.target)?, |target, key| target.trusting(key))
            .with_flaw(arguments.flaw);
        let mcuboot = target.mcuboot()?;
        if let Some(flaw) = arguments.flaw.filter(|flaw| flaw.mode() != mcuboot.options().mode) {
            return Err(Failure::Usage(format!(
                "--flaw {}: a mistake of {}, and {} has {}\n  remedy: another --target; it shows with {}",
                flaw.name(),
                mode_name(flaw.mode()),
                target.name,
                mode_name(mcuboot.options().mode),
                flaw.needs()
            )));
        }
        let mut flash = target.layout.blank_flash();
        target.fill_other_images(&mut flash, &mcuboot)?;
        let image = |installed: bool, minor: u8, size: ImageSize| {
            let mut files = arguments.slots.iter().filter(|slot| slot.installed == installed);
            match (files.next(), files.next()) {
                (Some(slot), None) => image_file(&slot.path),
                (Some(_), Some(_)) => {
                    Err(Failure::Usage("a slot is given two images\n  remedy: one --slot for each".into()))
                }
                (None, _) => {
                    let version = ImageVersion { major: 1, minor, ..ImageVersion::default() };
                    let size = match size {
                        ImageSize::Bytes(bytes) => bytes,
                        ImageSize::Max => mcuboot.max_image_size(),
                    };
                    target.maker()?.image_of_size(version, size).map_err(Failure::Harness)
                }
            }
        };
        let (installed, update) = (image(true, 0, arguments.installed)?, image(false, 1, arguments.update)?);
        let confirmed = arguments.slots.iter().any(|slot| slot.confirmed);
        let factory = if confirmed { Factory::Confirmed } else { Factory::Bare };
        let line = |slot: &SlotImage| format!("\n  the {} image is {}", slot.name(), slot.path.display());
        let files = arguments.slots.iter().map(line).collect();
        Ok(Self { target, mcuboot, flash, installed, update, factory, files })
    }

    /// Does something with the machine of a story.
    fn with<T>(&self, story: Told, work: impl Work<T>) -> Result<T, Failure> {
        match story {
            Told::Boot(story) => {
                let update = self.update(story)?;
                work.on(&update, &update.facts())
            }
            Told::Upload(again) => {
                let initiator = Initiator { again, ..Initiator::default() };
                let upload = Upload::new(&self.target, &self.installed, &self.update, initiator);
                let upload = upload.map_err(|error| self.refused(&error))?;
                work.on(&upload, &upload.facts())
            }
        }
    }

    fn update(&self, story: Story) -> Result<Update<'_>, Failure> {
        let update = Update::new(&self.mcuboot, self.flash.clone(), &self.installed, &self.update, story, self.factory);
        let update = update.map_err(|error| self.refused(&error))?;
        Ok(update.with_recovery(self.target.recovers()))
    }

    /// This target, or one of these images, cannot be swept.
    fn refused(&self, error: &str) -> Failure {
        Failure::Usage(format!("{}: {error}{}", self.target.name, self.files))
    }

    fn images(&self) -> Result<[Image; 2], Failure> {
        let sectors = self.update(Story::default())?.facts().sectors;
        let version = |bytes: &Vec<u8>| {
            inspect(&bytes.as_slice()).map_or_else(|_| "?".into(), |info| info.header.version.to_string())
        };
        let image =
            |role, bytes: &Vec<u8>, sectors| Image { role, version: version(bytes), size: bytes.len(), sectors };
        Ok([image("installed", &self.installed, sectors[0]), image("update", &self.update, sectors[1])])
    }
}

/// An image from a file, of which a mistake names the file.
fn image_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read_file(path)?;
    match inspect(&bytes.as_slice()) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::Usage(format!(
            "{}: no MCUboot image: {error}\n  remedy: sign it with imgtool or `brickproof image sign`",
            path.display()
        ))),
    }
}

/// What is done with any machine.
trait Work<T> {
    fn on<M: Machine>(self, machine: &M, facts: &Facts) -> Result<T, Failure>;
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
    let mut answer = Answer {
        schema: 1,
        target: setup.target.name.clone(),
        mode: mode_name(setup.mcuboot.options().mode),
        flaw: arguments.flaw.map(|flaw| flaw.name()),
        flaw_needs: arguments.flaw.map(|flaw| flaw.needs()),
        tears: arguments.tears.name(),
        images: setup.images()?,
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
    for name in stories(arguments) {
        if interrupted.load(Ordering::Relaxed) {
            answer.not_begun.push(name.name());
            continue;
        }
        let sweep = Sweep { arguments, story: name, depth, limits: &limits };
        let (story, picture) = setup.with(name, sweep)?;
        if output {
            print(&text::story(&story, words))?;
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
    fn on<M: Machine>(self, machine: &M, facts: &Facts) -> Result<(StoryAnswer, Option<Picture>), Failure> {
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
        eprintln!("{}: {:.1} s", story.name(), took.as_secs_f64());
        let stopped = reached.or_else(|| {
            (sweep.left_out > 0).then(|| format!("the {} states of --max-states are reached", arguments.max_states))
        });
        let answer = StoryAnswer::new(&Made {
            story: story.name(),
            depth,
            tears: arguments.tears,
            facts,
            sweep: &sweep,
            stopped,
            replay: &|path| replay_line(arguments, story, path),
        });
        let picture = match arguments.svg {
            Some(_) => Some(Picture::new(machine, &sweep, &answer).map_err(Failure::Harness)?),
            None => None,
        };
        Ok((answer, picture))
    }
}

/// The stories that were asked for, each once.
fn stories(arguments: &Arguments) -> Vec<Told> {
    let mut stories: Vec<Told> = Vec::new();
    for story in arguments.stories.iter().copied().flat_map(StoryName::stories) {
        if !stories.contains(&story) {
            stories.push(story);
        }
    }
    stories
}

/// The line that tells a path step by step.
fn replay_line(arguments: &Arguments, story: Told, path: &str) -> String {
    let mut words = vec!["brickproof".to_owned(), "sweep".into(), "--target".into(), arguments.target.clone()];
    let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
    if story != Told::Boot(Story::default()) {
        add("--story", story.name().into());
    }
    let made = |size: ImageSize| match size {
        ImageSize::Bytes(bytes) => bytes.to_string(),
        ImageSize::Max => "max".into(),
    };
    for slot in &arguments.slots {
        add("--slot", slot.text.clone());
    }
    if !arguments.slots.iter().any(|slot| slot.installed) {
        add("--installed", made(arguments.installed));
    }
    if arguments.slots.iter().all(|slot| slot.installed) {
        add("--update", made(arguments.update));
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
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}
