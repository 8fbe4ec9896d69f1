//! The dialogue with a person as a value: what is heard goes in, what is said and what came of it comes out.

use brickproof_simulator::trace::InitiatorEvent;

use super::briefing::Briefing;
use super::shown::{Runs, Shown};
use crate::app::Milestone;
use crate::report::clean::one_line;

/// What is asked.
const QUESTION: &str = "What does the app say? [s]uccess / [f]ailure / [n]othing yet / [a]bort";
/// What can be typed, said once.
const HELP: &str = "Type when you know: s the app says success, f it says failure, a abort this case, ? these steps again; \
                    the app's own words may follow: f Disconnected";
/// Why nobody knows when nobody can answer.
pub(crate) const CLOSED: &str = "standard input is closed: nobody can say what the app says";
/// Characters of a line that are kept.
const LINE_MAX: usize = 200;

/// Something that the dialogue hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// From the target.
    Shown(Shown),
    /// From the person.
    Line(String),
    /// The person cannot answer any more.
    Closed,
    /// Nothing has been heard for some time.
    Quiet,
    /// The time for the case is over.
    Deadline,
}

/// How something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Heading,
    Plain,
    /// A step is done.
    Done,
    /// Something that nobody has asked for.
    Alert,
    Question,
}

/// What the dialogue does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Out {
    /// Says something.
    Say(Tone, String),
    /// Shows how far the upload is.
    Progress { done: u64, total: u64 },
    /// Has it recorded.
    Note(InitiatorEvent),
    /// Is over.
    End(End),
}

/// How a dialogue ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The app has said how the update ended; that is noted.
    Reported,
    /// Nobody knows, and why.
    Undecided(String),
    /// The person has said that the app does not end.
    Hung,
}

/// A dialogue about one case.
#[derive(Debug)]
pub(crate) struct Dialogue {
    briefing: Briefing,
    /// Steps that are done.
    done: usize,
    /// What the target has shown so far.
    reached: Vec<Milestone>,
    /// Bytes of the upload.
    uploaded: u64,
    /// Something has come from the app.
    begun: bool,
    marked: bool,
    off: bool,
    /// The question is open.
    asked: bool,
    /// The last answer was that the app says nothing yet.
    waiting: bool,
    out: Vec<Out>,
}

impl Dialogue {
    /// A dialogue, and what is said first.
    pub(crate) fn new(briefing: Briefing) -> (Self, Vec<Out>) {
        let mut dialogue = Self {
            briefing,
            done: 0,
            reached: Vec::new(),
            uploaded: 0,
            begun: false,
            marked: false,
            off: false,
            asked: false,
            waiting: false,
            out: Vec::new(),
        };
        dialogue.say(Tone::Heading, format!("\n{}", dialogue.briefing.heading));
        dialogue.say(Tone::Plain, format!("{}\n", dialogue.briefing.text));
        dialogue.steps();
        let out = std::mem::take(&mut dialogue.out);
        (dialogue, out)
    }

    /// Hears something.
    pub(crate) fn hear(&mut self, heard: Heard) -> Vec<Out> {
        match heard {
            Heard::Shown(shown) => {
                let asked = self.asked;
                self.shown(&shown);
                let talks = self.out.iter().any(|out| matches!(out, Out::Say(..)));
                // An open question stays the last thing on the screen.
                if asked && self.asked && talks {
                    self.say(Tone::Question, QUESTION);
                }
            }
            Heard::Line(line) => self.line(&line),
            Heard::Closed => {
                self.end(End::Undecided(CLOSED.into()));
            }
            Heard::Quiet if self.begun => self.ask(),
            Heard::Quiet => self.remind(),
            Heard::Deadline if self.waiting => self.end(End::Hung),
            Heard::Deadline => self.end(End::Undecided("nobody has said in time what the app says".into())),
        }
        std::mem::take(&mut self.out)
    }

    fn shown(&mut self, shown: &Shown) {
        match shown {
            Shown::Connected => {
                self.begun = true;
                self.reached(Milestone::Connected, "connected");
            }
            Shown::Disconnected => self.say(Tone::Plain, "      the connection has ended"),
            Shown::Upload { done, total } => self.upload(*done, *total),
            Shown::Marked { for_good } => {
                self.marked = true;
                let how = if *for_good { "for good" } else { "for test" };
                self.reached(Milestone::Marked, &format!("the image is marked {how}: the next reset starts it"));
            }
            Shown::Confirmed => self.reached(Milestone::Confirmed, "the new image is confirmed: it stays"),
            Shown::Off => {
                self.off = true;
                self.say(Tone::Alert, "  [!] the device has lost its power");
            }
            Shown::Starts if std::mem::take(&mut self.off) => {
                self.say(Tone::Alert, "  [!] the device has its power back, and starts");
            }
            Shown::Starts if self.reached.contains(&Milestone::Uploaded) => {
                self.reached(Milestone::Restarted, "the device restarts");
            }
            Shown::Starts => self.say(Tone::Alert, "  [!] the device restarts"),
            Shown::Runs(runs, version) => self.runs(runs, version.as_deref()),
            Shown::Adapter(what) => self.say(Tone::Alert, format!("  [!] {what}")),
            Shown::Dead => {
                self.say(Tone::Alert, "  [!] the device does not start any more");
                self.ask();
            }
        }
    }

    fn upload(&mut self, done: u64, total: u64) {
        let before = std::mem::replace(&mut self.uploaded, done);
        if done == 0 {
            if before > 0 {
                self.say(Tone::Alert, "  [!] the upload starts again");
            }
            return;
        }
        if before == 0 {
            self.reached(Milestone::UploadStarted, &format!("the upload has started: {total} bytes"));
        }
        if total > 0 {
            self.out.push(Out::Progress { done, total });
        }
        if done == total && before != done {
            self.reached(Milestone::Uploaded, "the upload is complete");
        }
    }

    fn runs(&mut self, runs: &Runs, version: Option<&str>) {
        // What was not finished is forgotten with the reset.
        self.uploaded = 0;
        let version = version.map_or_else(String::new, |version| format!(" {version}"));
        match runs {
            Runs::New => self.reached(Milestone::NewImageRuns, &format!("the new image runs{version}")),
            Runs::Old | Runs::Other => {
                let which = if *runs == Runs::Old { "old image" } else { "image that is neither old nor new" };
                self.say(Tone::Alert, format!("  [!] the {which} runs{version}"));
                if self.marked {
                    self.ask();
                }
            }
            Runs::Nothing => {
                self.say(Tone::Alert, "  [!] no image runs: the bootloader waits for one");
                if self.marked {
                    self.ask();
                }
            }
        }
    }

    /// Ticks off the steps up to the one that this shows, and asks when it was the last thing to be seen.
    fn reached(&mut self, milestone: Milestone, words: &str) {
        let first = !self.reached.contains(&milestone);
        if first {
            self.reached.push(milestone);
        }
        let step = self.briefing.steps.iter().skip(self.done).position(|step| step.seen == Some(milestone));
        match step.map(|ahead| self.done + ahead + 1) {
            Some(step) => {
                let steps = if step - self.done > 1 { format!("{}-{step}", self.done + 1) } else { step.to_string() };
                self.done = step;
                self.say(Tone::Done, format!("  [x] {steps}. {words}"));
            }
            None if first => self.say(Tone::Done, format!("  [x] {words}")),
            // Once more, after something went wrong.
            None => self.say(Tone::Plain, format!("      {words}")),
        }
        if milestone == self.briefing.last && self.begun {
            self.ask();
        }
    }

    fn line(&mut self, line: &str) {
        let line = one_line(line.trim(), LINE_MAX);
        self.out.push(Out::Note(InitiatorEvent::Answered { line: line.clone() }));
        let word = line.split_whitespace().next().unwrap_or_default().to_lowercase();
        self.waiting = false;
        match word.as_str() {
            "s" | "success" => self.report(true, &line),
            "f" | "failure" => self.report(false, &line),
            "n" | "nothing" => {
                self.asked = false;
                self.waiting = true;
                self.say(Tone::Plain, "Then we wait. Type s or f when it says something.");
            }
            "a" | "abort" => self.end(End::Undecided("the person has aborted the case".into())),
            "?" | "h" | "help" => {
                self.steps();
                if self.asked {
                    self.ask_again();
                }
            }
            "" if !self.asked => self.remind(),
            "" => self.ask_again(),
            _ => {
                self.say(Tone::Plain, format!("`{line}` is none of the answers."));
                self.ask_again();
            }
        }
    }

    fn report(&mut self, success: bool, line: &str) {
        let says = if success { "success" } else { "failure" };
        self.say(Tone::Plain, format!("Noted: the app says {says}. The verdict follows when the device is at rest."));
        self.out.push(Out::Note(InitiatorEvent::Reported { success, message: format!("the person answers `{line}`") }));
        self.end(End::Reported);
    }

    fn steps(&mut self) {
        let mut text = String::new();
        for (number, step) in self.briefing.steps.iter().enumerate() {
            let mark = if number < self.done { "x" } else { " " };
            text.push_str(&format!("  [{mark}] {}. {}\n", number + 1, step.text));
        }
        text.push('\n');
        text.push_str(HELP);
        self.say(Tone::Plain, text);
    }

    /// What is waited for before anything has come.
    fn remind(&mut self) {
        let seen = self.briefing.steps.iter().skip(self.done).position(|step| step.seen.is_some());
        match seen.map(|ahead| self.done + ahead) {
            Some(step) => {
                self.say(Tone::Plain, format!("Waiting for step {}: {}", step + 1, self.briefing.steps[step].text));
            }
            None => self.ask(),
        }
    }

    fn ask(&mut self) {
        if !self.asked {
            self.asked = true;
            self.ask_again();
        }
    }

    /// Asks, also when the question is open.
    fn ask_again(&mut self) {
        self.asked = true;
        self.out.push(Out::Note(InitiatorEvent::Asked { question: QUESTION.into() }));
        self.say(Tone::Question, QUESTION);
    }

    fn say(&mut self, tone: Tone, text: impl Into<String>) {
        self.out.push(Out::Say(tone, text.into()));
    }

    fn end(&mut self, end: End) {
        self.asked = false;
        self.out.push(Out::End(end));
    }
}
