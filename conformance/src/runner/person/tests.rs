//! Whole dialogues, and what the trace of a real update shows.

use brickproof_simulator::trace::{InitiatorEvent, Kind};

use super::briefing::{Briefing, Facts};
use super::dialogue::{Dialogue, End, Heard, Out, Tone};
use super::shown::{Reading, Runs, Shown};
use crate::air::Air;
use crate::app::Milestone;
use crate::initiator::personality::{Mode, Personality};
use crate::library;
use crate::runner::Plan;
use crate::runner::case::Case;
use crate::scenario::Task;

const SIZE: u64 = 98304;

fn facts() -> Facts {
    Facts {
        scenario: "update/test-confirm".into(),
        why: "The ordinary update: upload, test, reset, and confirm once the new image runs".into(),
        target: "nrf52840-mcuboot-swap-move".into(),
        device: vec![("name", "Zephyr".into()), ("address", "C0:FF:EE:00:00:01".into())],
        image: "/tmp/brickproof/0/update-test-confirm-1.1.0.bin".into(),
        file: "update-test-confirm-1.1.0.bin".into(),
        version: "1.1.0".into(),
        size: SIZE,
        sha256: "5a".repeat(32),
        hash: "a5".repeat(32),
    }
}

fn briefing(app: &str, task: Task, mode: Mode) -> Briefing {
    Briefing::new(&facts(), &library::app(app).unwrap(), task, mode)
}

/// A dialogue, written down: what is heard with `<`, what is said as it is, what is recorded and done in brackets.
struct Talk {
    dialogue: Dialogue,
    text: String,
    notes: Vec<InitiatorEvent>,
    end: Option<End>,
}

impl Talk {
    fn with(briefing: Briefing) -> Self {
        let (dialogue, out) = Dialogue::new(briefing);
        let mut talk = Self { dialogue, text: String::new(), notes: Vec::new(), end: None };
        talk.write(out);
        talk
    }

    fn new() -> Self {
        Self::with(briefing("device-manager", Task::Update, Mode::TestAndConfirm))
    }

    fn write(&mut self, out: Vec<Out>) {
        for out in out {
            assert_eq!(self.end, None, "nothing follows the end");
            match out {
                Out::Say(_, text) => self.text.push_str(&format!("{text}\n")),
                Out::Progress { done, total } => self.text.push_str(&format!("[bar {done} of {total}]\n")),
                Out::Note(event) => {
                    self.text.push_str(&match &event {
                        InitiatorEvent::Asked { .. } => "[recorded: asked]\n".to_owned(),
                        InitiatorEvent::Answered { line } => format!("[recorded: answered `{line}`]\n"),
                        InitiatorEvent::Reported { success, message } => {
                            format!("[recorded: reported success = {success}, {message}]\n")
                        }
                        other => format!("[recorded: {other:?}]\n"),
                    });
                    self.notes.push(event);
                }
                Out::End(end) => {
                    self.text.push_str(&format!("[end: {end:?}]\n"));
                    self.end = Some(end);
                }
            }
        }
    }

    fn hear(mut self, heard: Heard) -> Self {
        self.text.push_str(&match &heard {
            Heard::Line(line) => format!("< {line}\n"),
            Heard::Shown(_) => String::new(),
            other => format!("< ({other:?})\n"),
        });
        let out = self.dialogue.hear(heard);
        self.write(out);
        self
    }

    fn sees(self, shown: impl IntoIterator<Item = Shown>) -> Self {
        shown.into_iter().fold(self, |talk, shown| talk.hear(Heard::Shown(shown)))
    }

    fn types(self, line: &str) -> Self {
        self.hear(Heard::Line(format!("{line}\n")))
    }

    /// What was asked so far.
    fn questions(&self) -> usize {
        self.notes.iter().filter(|note| matches!(note, InitiatorEvent::Asked { .. })).count()
    }

    /// Without the briefing, which is the same in many.
    fn rest(&self) -> &str {
        self.text.split_once("f Disconnected\n").unwrap().1
    }
}

fn upload(done: u64) -> Shown {
    Shown::Upload { done, total: SIZE }
}

fn runs(runs: Runs, version: &str) -> Shown {
    Shown::Runs(runs, Some(version.into()))
}

fn up_to_the_reset() -> [Shown; 6] {
    [
        Shown::Connected,
        upload(2048),
        upload(SIZE / 2),
        upload(SIZE),
        Shown::Marked { for_good: false },
        Shown::Disconnected,
    ]
}

fn updated() -> Talk {
    Talk::new().sees(up_to_the_reset()).sees([
        Shown::Starts,
        runs(Runs::New, "1.1.0"),
        Shown::Connected,
        Shown::Confirmed,
    ])
}

#[test]
fn an_update_that_succeeds() {
    let talk = updated().types("s UPLOAD COMPLETE");
    insta::assert_snapshot!(talk.text);
    assert_eq!(talk.end, Some(End::Reported));
}

#[test]
fn power_is_lost_in_the_middle() {
    let talk = Talk::new()
        .sees([Shown::Connected, upload(2048), upload(SIZE / 2), Shown::Off, Shown::Disconnected])
        .sees([Shown::Starts, runs(Runs::Old, "1.0.0"), Shown::Connected, upload(2048)])
        .types("f Disconnected");
    insta::assert_snapshot!(talk.rest());
}

#[test]
fn the_app_says_failure_and_the_old_image_runs() {
    let talk = Talk::new()
        .sees(up_to_the_reset())
        .sees([Shown::Starts, runs(Runs::New, "1.1.0"), Shown::Starts, runs(Runs::Old, "1.0.0")])
        .types("n")
        .hear(Heard::Quiet)
        .sees([Shown::Connected])
        .types("failure");
    insta::assert_snapshot!(talk.rest());
}

#[test]
fn a_lie_is_noted_like_the_truth() {
    let talk = Talk::new().types("s");
    insta::assert_snapshot!(talk.rest());
    let lie = InitiatorEvent::Reported { success: true, message: "the person answers `s`".into() };
    assert_eq!(talk.notes.last(), Some(&lie));
}

#[test]
fn nonsense_is_asked_again_and_nothing_follows_from_it() {
    let talk = updated().types("yes").types("").types("so what").types("\u{1b}[2Jf\u{7}oo").types("?");
    assert_eq!(talk.end, None);
    insta::assert_snapshot!(talk.rest());
}

#[test]
fn nothing_before_the_app_has_begun_is_a_reminder() {
    let talk = Talk::new().hear(Heard::Quiet).types("").sees([Shown::Connected]).hear(Heard::Quiet);
    insta::assert_snapshot!(talk.rest());
    assert_eq!(talk.questions(), 1);
}

#[test]
fn ways_to_end_without_a_report() {
    let undecided = |talk: Talk| match talk.end {
        Some(End::Undecided(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(undecided(Talk::new().types("abort")), "the person has aborted the case");
    assert_eq!(undecided(updated().hear(Heard::Closed)), "standard input is closed: nobody can say what the app says");
    assert_eq!(undecided(updated().hear(Heard::Deadline)), "nobody has said in time what the app says");
    // Whoever says that the app says nothing has said that it does not end.
    assert_eq!(updated().types("n").hear(Heard::Deadline).end, Some(End::Hung));
    assert_eq!(
        undecided(updated().types("n").types("hm").hear(Heard::Deadline)),
        "nobody has said in time what the app says"
    );
    for talk in [Talk::new().types("a"), updated().hear(Heard::Closed), updated().types("n").hear(Heard::Deadline)] {
        assert!(!talk.notes.iter().any(|note| matches!(note, InitiatorEvent::Reported { .. })));
    }
}

#[test]
fn the_question_comes_when_the_target_has_shown_the_last_of_its_mode() {
    let asked = |mode, shown: &[Shown]| {
        Talk::with(briefing("program", Task::Update, mode)).sees(shown.iter().cloned()).questions()
    };
    let all = [
        Shown::Connected,
        upload(SIZE),
        Shown::Marked { for_good: true },
        Shown::Starts,
        runs(Runs::New, "1.1.0"),
        Shown::Confirmed,
    ];
    let first = |mode| (0..=all.len()).find(|count| asked(mode, &all[..*count]) > 0);
    assert_eq!(first(Mode::UploadOnly), Some(4));
    assert_eq!(first(Mode::ConfirmOnly), Some(5));
    assert_eq!(first(Mode::TestOnly), Some(5));
    assert_eq!(first(Mode::TestAndConfirm), Some(6));
    // A reset in the middle of an upload is none that the app has asked for.
    assert_eq!(asked(Mode::UploadOnly, &[Shown::Connected, upload(2048), Shown::Starts, runs(Runs::Old, "1.0.0")]), 0);
    // An open question is repeated on the screen, and asked once.
    assert_eq!(asked(Mode::UploadOnly, &all), 1);
    assert_eq!(asked(Mode::TestAndConfirm, &[Shown::Dead]), 1);
}

#[test]
fn every_app_in_every_mode_is_filled_in() {
    let mut all = String::new();
    for bundled in brickproof_scenarios::apps() {
        let app = library::app(bundled.name).unwrap();
        for mode in app.modes.keys() {
            for task in [Task::Update, Task::EraseAndUpdate] {
                let briefing = briefing(bundled.name, task, *mode);
                let steps: Vec<_> = briefing.steps.iter().map(|step| step.text.as_str()).collect();
                assert!(!steps.concat().contains('{'), "{steps:?}");
                if *mode == Mode::TestAndConfirm {
                    all.push_str(&format!("{}, {task:?}\n  {}\n", bundled.name, steps.join("\n  ")));
                }
            }
        }
    }
    insta::assert_snapshot!(all);
}

#[test]
fn tones_mark_what_is_wanted_and_what_is_not() {
    let tones = |shown| {
        let (mut dialogue, _) = Dialogue::new(briefing("program", Task::Update, Mode::TestAndConfirm));
        let said = dialogue.hear(Heard::Shown(shown));
        said.into_iter()
            .filter_map(|out| if let Out::Say(tone, _) = out { Some(tone) } else { None })
            .collect::<Vec<_>>()
    };
    assert_eq!(tones(Shown::Connected), [Tone::Done]);
    assert_eq!(tones(Shown::Off), [Tone::Alert]);
    assert_eq!(tones(Shown::Starts), [Tone::Alert]);
    assert_eq!(tones(runs(Runs::Old, "1.0.0")), [Tone::Alert]);
    assert_eq!(tones(Shown::Dead), [Tone::Alert, Tone::Question]);
}

/// What the trace of the built-in initiator shows in a scenario, without the progress of the upload.
fn shown_in(scenario: &str) -> Vec<Shown> {
    shown_on(Air::InProcess, Personality::DEFAULT, scenario)
}

fn shown_on(air: Air, client: Personality, scenario: &str) -> Vec<Shown> {
    let scenario = library::scenarios(&[scenario.to_owned()]).unwrap().remove(0);
    let report = std::env::temp_dir().join("brickproof-person-tests");
    let plan = Plan { air, ..Plan::builtin(client, report) };
    let case = Case::prepare(&scenario, &plan).unwrap();
    let trace = case.run(&plan, 0).trace;
    assert!(trace.iter().any(|record| matches!(record.kind, Kind::Message { .. })));
    let mut reading = Reading::new(&case.images);
    let mut shown: Vec<_> = trace.iter().flat_map(|record| reading.of(record)).collect();
    let size = case.images.update.bytes.len() as u64;
    let complete = Shown::Upload { done: size, total: size };
    let firsts: Vec<_> = shown.iter().filter(|shown| matches!(shown, Shown::Upload { .. })).cloned().collect();
    assert!(
        firsts
            .windows(2)
            .any(|pair| matches!(pair, [Shown::Upload { done: a, .. }, Shown::Upload { done: b, .. }] if a < b))
    );
    shown.retain(|shown| !matches!(shown, Shown::Upload { .. }) || *shown == complete);
    shown
}

#[test]
fn a_trace_shows_an_update_and_a_rollback() {
    let old = || runs(Runs::Old, "1.0.0");
    let new = || runs(Runs::New, "1.1.0");
    let marked = Shown::Marked { for_good: false };
    let shown = shown_in("update/test-confirm");
    let Some(Shown::Upload { done, total }) = shown.iter().find(|shown| matches!(shown, Shown::Upload { .. })) else {
        panic!("{shown:?}");
    };
    assert_eq!(done, total);
    let complete = Shown::Upload { done: *done, total: *total };
    let until_reset = |tail: &[Shown]| {
        let mut all = vec![Shown::Starts, old(), Shown::Connected, complete.clone(), marked.clone(), Shown::Starts];
        all.extend(tail.iter().cloned());
        all
    };
    assert_eq!(shown, until_reset(&[new(), Shown::Confirmed]));
    assert_eq!(shown_in("rollback/crashes-before-confirming"), until_reset(&[new(), Shown::Starts, old()]));
    assert_eq!(shown_in("rollback/confirms-itself")[6..8], [new(), Shown::Confirmed]);
    let confirms_only = shown_on(Air::InProcess, Personality::named("builtin-ios").unwrap(), "update/test-confirm");
    assert_eq!(confirms_only[4..], [Shown::Marked { for_good: true }, Shown::Starts, new()]);
    assert!(shown_in("power-loss/mid-swap-half").windows(2).any(|pair| pair == [Shown::Off, Shown::Starts]));
    assert!(shown_in("power-loss/never-comes-back").contains(&Shown::Off));
    assert!(!shown_in("rollback/self-test-fails").contains(&Shown::Confirmed), "it refuses to be confirmed");
}

#[test]
fn over_bluetooth_connections_come_and_go() {
    let shown = shown_on(Air::InProcessBle, Personality::DEFAULT, "update/test-confirm");
    let ends = shown.iter().position(|shown| *shown == Shown::Disconnected).unwrap();
    let connects = |shown: &[Shown]| shown.iter().filter(|shown| **shown == Shown::Connected).count();
    assert_eq!(connects(&shown[..ends]), 1, "a request does not count as a second connection: {shown:?}");
    assert!(connects(&shown[ends..]) > 0 && shown.contains(&Shown::Confirmed), "{shown:?}");
}

#[test]
fn what_an_app_cannot_do_is_said() {
    let person = |app: &str, mode| super::Person {
        app: library::app(app).unwrap(),
        mode,
        console: std::sync::Arc::new(super::console::Console::new(false)),
    };
    let reason = |app, mode, scenario: &str| {
        person(app, mode).unsupported(&library::scenarios(&[scenario.to_owned()]).unwrap()[0])
    };
    assert_eq!(reason("device-manager", None, "update/test-confirm"), None);
    assert!(reason("device-manager", None, "state/two-images").unwrap().contains("two images"));
    assert!(reason("nrf-connect", Some(Mode::UploadOnly), "update/test-confirm").unwrap().contains("no mode"));
    assert_eq!(person("program", Some(Mode::ConfirmOnly)).mode_of(Task::TestOnly), Mode::TestOnly);
    assert_eq!(person("program", Some(Mode::ConfirmOnly)).mode_of(Task::Update), Mode::ConfirmOnly);
    assert_eq!(briefing("program", Task::Update, Mode::ConfirmOnly).last, Milestone::NewImageRuns);
    let erases = library::scenarios(&[]).unwrap().into_iter().find(|scenario| scenario.task == Task::EraseAndUpdate);
    assert!(person("nrf-connect", None).unsupported(&erases.unwrap()).unwrap().contains("erases"));
}
