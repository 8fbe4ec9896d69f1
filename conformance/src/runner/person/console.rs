//! The terminal of the person: lines from standard input, text on standard error.

use std::io::{BufRead, IsTerminal, Write};
use std::sync::Mutex as BlockingMutex;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::{Mutex, mpsc};

use super::dialogue::Tone;

/// Where a person is spoken to. One for all cases of a run.
#[derive(Debug)]
pub struct Console {
    colour: bool,
    /// A line that was typed before a case began belongs to the one before it.
    typed: bool,
    lines: Mutex<Option<mpsc::UnboundedReceiver<String>>>,
    /// It has been noticed that there will be no more lines.
    closed: AtomicBool,
    bar: BlockingMutex<Option<ProgressBar>>,
}

impl Console {
    /// The terminal of this process; with colours if `colour`.
    #[must_use]
    pub fn new(colour: bool) -> Self {
        Self {
            colour,
            typed: std::io::stdin().is_terminal(),
            lines: Mutex::default(),
            closed: AtomicBool::new(false),
            bar: BlockingMutex::default(),
        }
    }

    /// A case begins: what has been typed before is not for it. Whether anybody may be there.
    pub(super) async fn begin(&self) -> bool {
        let mut lines = self.lines.lock().await;
        let lines = lines.get_or_insert_with(read_lines);
        while self.typed && lines.try_recv().is_ok() {}
        !self.closed.load(Ordering::Relaxed)
    }

    /// The next line; `None` when there will be none. Dropping the future loses nothing.
    pub(super) async fn line(&self) -> Option<String> {
        let line = self.lines.lock().await.get_or_insert_with(read_lines).recv().await;
        self.closed.fetch_or(line.is_none(), Ordering::Relaxed);
        line
    }

    /// Says something, above the bar if there is one.
    pub(super) fn say(&self, tone: Tone, text: &str) {
        let code = match tone {
            Tone::Plain => "",
            Tone::Heading | Tone::Question => "1",
            Tone::Done => "32",
            Tone::Alert => "33",
        };
        let text = match (self.colour, code) {
            (true, code) if !code.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        };
        // Whoever has closed standard error does not want to read this.
        let write = || drop(writeln!(std::io::stderr(), "{text}"));
        match &*self.bar() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Shows how far the upload is, on a terminal.
    pub(super) fn progress(&self, done: u64, total: u64) {
        let mut bar = self.bar();
        let shown = bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style =
                ProgressStyle::with_template("      upload {bar:30} {percent:>3} %  {bytes}/{total_bytes}  {eta}");
            style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
        });
        shown.set_length(total);
        shown.set_position(done);
        if done >= total
            && let Some(bar) = bar.take()
        {
            bar.finish_and_clear();
        }
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
        }
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Reads lines on a thread of its own, which ends with the process: nothing can interrupt a read of a terminal.
fn read_lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    lines
}
