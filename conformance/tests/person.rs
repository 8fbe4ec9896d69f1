//! A person as initiator, played by a script: it reads what it is told, acts with a program, and answers.

mod binary;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::time::Instant;

use brickproof::initiator::bluez::BluezWire;
use brickproof::initiator::personality::Personality;
use brickproof::initiator::update::Job;
use brickproof::scenario::Task;
use brickproof_flash_model::image::mcuboot::inspect;
use sha2::{Digest, Sha256};

use binary::{brickproof, folder, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const QUESTION: &str = "What does the app say?";

fn uploader() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_brickproof"));
    binary.parent().expect("a folder").join("examples/minimal-uploader")
}

/// A run with somebody at its terminal.
struct Session {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStderr>,
    read: String,
}

impl Session {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_on("udp", folder, arguments)
    }

    fn start_on(air: &str, folder: &Path, arguments: &[&str]) -> Self {
        // A test that waits for what never comes ends, too.
        let timeout: &[&str] = if arguments.contains(&"--timeout") { &[] } else { &["--timeout", "300"] };
        let mut process = Command::new(env!("CARGO_BIN_EXE_brickproof"))
            .arg("run")
            .args(arguments)
            .args(timeout)
            .args(["--initiator", "person", "--air", air])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("brickproof starts");
        let input = process.stdin.take();
        let output = BufReader::new(process.stderr.take().expect("a pipe"));
        Self { process, input, output, read: String::new() }
    }

    /// Reads up to a line with these words, and gives it.
    fn until(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            let len = self.output.read_line(&mut line).expect("text");
            assert!(len > 0, "`{words}` never came:\n{}", self.read);
            self.read.push_str(&line);
            if line.contains(words) {
                return line.trim_end().to_owned();
            }
        }
    }

    /// The value of a line of the briefing.
    fn value(&mut self, what: &str) -> String {
        let line = self.until(&format!("  {what} "));
        line.trim_start().trim_start_matches(what).trim().to_owned()
    }

    /// Does what the briefing asks for, with a program; whether that succeeds.
    fn act(&mut self, flags: &[&str]) -> bool {
        let (address, image) = (self.value("address"), self.value("image"));
        self.until("Type when you know");
        let status = Command::new(uploader()).args([&address, &image]).args(flags).stderr(Stdio::null()).status();
        status.expect("the uploader starts").success()
    }

    fn types(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("open"), "{line}").expect("it listens");
    }

    /// Exit code, results, and all that was said.
    fn end(mut self) -> (Option<i32>, String, String) {
        self.output.read_to_string(&mut self.read).expect("text");
        drop(self.input);
        let output = self.process.wait_with_output().expect("it ends");
        (output.status.code(), text(&output.stdout), self.read)
    }
}

#[test]
fn an_update_that_a_person_carries_out_passes() {
    let folder = folder();
    let mut session = Session::start(folder.path(), &["update/test-confirm", "--report", "report"]);
    assert!(session.act(&[]));
    session.until(QUESTION);
    session.types("well");
    session.until("`well` is none of the answers");
    session.until(QUESTION);
    session.types("s it says done");
    let (code, results, said) = session.end();
    assert_eq!(code, Some(0), "{results}{said}");
    for part in [
        "[x] 1. connected",
        "[x] 2. the upload has started",
        "[x] the upload is complete",
        "[x] the image is marked for test: the next reset starts it",
        "[x] the new image runs 1.1.0",
        "[x] the new image is confirmed: it stays",
    ] {
        assert!(said.contains(part), "`{part}` is missing in:\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "no colours and no bar without a terminal:\n{said}");
    let evidence = folder.path().join("report/person/update.test-confirm");
    let trace = std::fs::read_to_string(evidence.join("trace.jsonl")).unwrap();
    let events =
        |event: &str| trace.lines().filter(|line| line.contains(&format!("\"event\":\"{event}\""))).collect::<Vec<_>>();
    assert_eq!(events("asked").len(), 2, "{trace}");
    assert_eq!(events("answered").len(), 2);
    assert!(events("answered")[1].contains("s it says done"));
    assert!(events("reported")[0].contains("\"success\":true"));
    assert!(std::fs::read_to_string(evidence.join("output.txt")).unwrap().contains("well\n"));
}

#[test]
fn the_same_device_is_judged_by_what_the_person_says() {
    // The new image crashes and is swapped back; the uploader of the first run sees that, the one of the second does not.
    for (flags, answer, code, status) in [(&[][..], "f", 0, "passed"), (&["--careless"], "s", 1, "failed")] {
        let folder = folder();
        let mut session = Session::start(folder.path(), &["rollback/crashes"]);
        assert_eq!(session.act(flags), !flags.is_empty());
        session.until("the old image runs 1.0.0");
        session.until(QUESTION);
        session.types(answer);
        let (exit, results, said) = session.end();
        assert_eq!(exit, Some(code), "{results}{said}");
        assert!(said.contains(status), "{said}");
        assert_eq!(results.contains("STA-08"), code == 1, "{results}");
        assert_eq!(results.contains("it says that it succeeded: the person answers `s`"), code == 1, "{results}");
    }
}

/// Acts as an app does, at the device on this bus.
fn acts(app: &str, bus: &str, image: Vec<u8>) -> bool {
    let info = inspect(&image.as_slice()).expect("an image");
    let job = Job {
        sha256: Sha256::digest(&image).into(),
        tlv_hash: info.hash.expect("a hash"),
        version: Some(info.header.version),
        task: Task::Update,
        number: None,
        further: Vec::new(),
        image,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let app = Personality::named(app).expect("it is one of them");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (notes, _noted) = tokio::sync::mpsc::unbounded_channel();
        let mut wire = BluezWire::open(bus, 0, Instant::now(), notes).await.expect("the bus");
        app.run(&mut wire, &job, 1).await.success
    })
}

#[test]
fn over_bluetooth_an_app_is_watched() {
    let folder = folder();
    // The Android app never looks which image runs before it confirms: that is found whoever works it.
    for (app, code) in [("builtin", 0), ("builtin-android", 1)] {
        let mut session = Session::start_on("virtual-bluez", folder.path(), &["update/test-confirm"]);
        let bus = session.value("bus");
        let image = std::fs::read(session.value("image")).expect("the image is there");
        session.until("Type when you know");
        assert!(acts(app, bus.trim_start_matches("DBUS_SYSTEM_BUS_ADDRESS="), image));
        session.until(QUESTION);
        session.types("s");
        let (exit, results, said) = session.end();
        assert!(said.contains("[x] 1. connected") && said.contains("the connection has ended"), "{said}");
        assert!(said.contains("[x] the new image is confirmed"), "{said}");
        assert_eq!(exit, Some(code), "{results}");
        assert_eq!(results.contains("STA-07"), code == 1, "{results}");
    }
    let mut session = Session::start_on("virtual-bluez", folder.path(), &["ble/passkey-entry"]);
    assert_eq!(session.value("passkey").len(), 6);
    session.types("a");
    session.end();
}

#[test]
fn a_person_who_has_done_nothing_and_says_success_is_not_believed() {
    let folder = folder();
    let mut session = Session::start(folder.path(), &["update/test-confirm"]);
    session.until("Type when you know");
    session.types("s");
    let (code, results, _) = session.end();
    assert_eq!(code, Some(1), "{results}");
    assert!(results.contains("expect/running") && results.contains("the initiator never sent a request"), "{results}");
}

#[test]
fn whoever_goes_away_leaves_a_clear_end() {
    let folder = folder();
    let inconclusive = |(code, results, said): (Option<i32>, String, String), reason: &str| {
        assert_eq!(code, Some(1), "{results}{said}");
        assert!(results.contains("inconclusive") && results.contains(reason), "{results}");
    };
    let mut session = Session::start(folder.path(), &["update/test-confirm"]);
    session.until("Type when you know");
    session.types("a");
    inconclusive(session.end(), "the person has aborted the case");
    let mut session = Session::start(folder.path(), &["update/test-confirm"]);
    session.until("Type when you know");
    session.input = None;
    inconclusive(session.end(), "standard input is closed");
    let session = Session::start(folder.path(), &["update/test-confirm", "--timeout", "1"]);
    inconclusive(session.end(), "nobody has said in time");
    let mut session = Session::start(folder.path(), &["update/test-confirm"]);
    session.until("Type when you know");
    kill(Pid::from_raw(i32::try_from(session.process.id()).unwrap()), Signal::SIGINT).unwrap();
    let (code, _, _) = session.end();
    assert_eq!(code, Some(130));
}

#[test]
fn usage_is_checked_and_the_person_is_listed() {
    let folder = folder();
    let refused = |arguments: &[&str], words: &str| {
        let output = brickproof(folder.path(), &[&["run", "update/test-confirm"], arguments].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    };
    refused(&["--app", "program"], "--initiator person");
    refused(&["--mode", "test-only", "--initiator", "smpmgr.toml"], "smpmgr.toml");
    refused(&["--initiator", "person", "--app", "efr-connect"], "one of: device-manager, nrf-connect, program");
    refused(&["--initiator", "person", "--jobs", "2"], "one case after the other");
    refused(&["--initiator", "person", "--air", "in-process"], "--air virtual-bluez");
    let listed = text(&brickproof(folder.path(), &["list", "initiators"]).stdout);
    assert!(listed.lines().any(|line| line.starts_with("person ")), "{listed}");
    let apps = text(&brickproof(folder.path(), &["list", "apps"]).stdout);
    assert!(apps.starts_with("device-manager  nRF Connect Device Manager"), "{apps}");
}
