//! How far a sweep may go, and how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use brickproof_flash_model::sweep::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Without a terminal, how often progress is told.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How many reports pass before the memory is looked at once more.
const MEMORY_EVERY: u64 = 16;

/// Watches a sweep: tells its progress on standard error, and ends it at a limit.
pub(super) struct Watch {
    bar: ProgressBar,
    story: &'static str,
    began: Instant,
    told: Instant,
    reports: u64,
    max_memory: u64,
    max_time: Option<Duration>,
    interrupted: Arc<AtomicBool>,
    /// Which limit was reached.
    pub(super) stopped: Option<String>,
}

impl Watch {
    pub(super) fn new(
        story: &'static str,
        max_memory: u64,
        max_time: Option<Duration>,
        interrupted: Arc<AtomicBool>,
    ) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(template) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(template);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        let now = Instant::now();
        Self { bar, story, began: now, told: now, reports: 0, max_memory, max_time, interrupted, stopped: None }
    }

    /// Tells how far it is; whether it may go on.
    pub(super) fn report(&mut self, progress: &Progress) -> bool {
        self.tell(progress);
        self.reports += 1;
        if self.interrupted.load(Ordering::Relaxed) {
            self.stopped = Some("Ctrl-C".into());
        } else if let Some(max) = self.max_time.filter(|max| self.began.elapsed() >= *max) {
            self.stopped = Some(format!("it has taken the {max:?} of --max-time"));
        } else if self.reports % MEMORY_EVERY == 1
            && let Some(used) = memory().filter(|used| *used >= self.max_memory)
        {
            self.stopped = Some(format!("it has {} MiB, and --max-memory is reached", used >> 20));
        }
        self.stopped.is_none()
    }

    fn tell(&mut self, progress: &Progress) {
        let Progress { depth, nodes, edges, merged, remaining, restarts, .. } = progress;
        let again = if *restarts > 0 { format!(", begun again {restarts} times") } else { String::new() };
        let line = || {
            format!(
                "{}: {depth} power losses, {nodes} states, {edges} edges, {merged} merged, {remaining} remaining{again}",
                self.story
            )
        };
        if !self.bar.is_hidden() {
            self.bar.set_message(line());
        } else if self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            eprintln!("{}", line());
        }
    }

    /// Takes the progress away; how long it took.
    pub(super) fn finish(&self) -> Duration {
        self.bar.finish_and_clear();
        self.began.elapsed()
    }
}

/// Memory of this process in bytes.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// Set by Ctrl-C from now on, which does not end the process any more.
pub(super) fn on_interrupt() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime
            && runtime.block_on(tokio::signal::ctrl_c()).is_ok()
        {
            set.store(true, Ordering::Relaxed);
            // A second one ends it at once.
            if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                std::process::exit(130);
            }
        }
    });
    flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory() {
        assert!(memory().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn limits_end_it() {
        let watch = |max_memory, max_time| Watch::new("x", max_memory, max_time, Arc::default());
        assert!(watch(u64::MAX, None).report(&Progress::default()));
        let mut small = watch(1, None);
        assert!(!small.report(&Progress::default()) && small.stopped.unwrap().contains("--max-memory"));
        let mut short = watch(u64::MAX, Some(Duration::ZERO));
        assert!(!short.report(&Progress::default()) && short.stopped.unwrap().contains("--max-time"));
    }
}
