//! How far a sweep may go, and how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use brickproof_flash_model::sweep::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Without a terminal, how often progress is told.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How often the limits are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Where a sweep of all stories together ends.
#[derive(Clone)]
pub(super) struct Limits {
    /// Memory of this process in bytes.
    pub(super) max_memory: u64,
    /// With what was allowed.
    pub(super) deadline: Option<(Instant, Duration)>,
    pub(super) interrupted: Arc<AtomicBool>,
}

impl Limits {
    /// Which limit is reached.
    fn reached(&self) -> Option<String> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Some("Ctrl-C".into());
        }
        if let Some((_, allowed)) = self.deadline.filter(|(end, _)| Instant::now() >= *end) {
            return Some(format!("the {allowed:?} of --max-time are over"));
        }
        let used = memory().filter(|used| *used >= self.max_memory)?;
        Some(format!("--max-memory is reached: {} MiB", used >> 20))
    }
}

/// Watches the sweep of a story: tells its progress on standard error, and ends it at a limit.
pub(super) struct Watch {
    bar: ProgressBar,
    story: &'static str,
    began: Instant,
    told: Instant,
    /// Set at a limit.
    pub(super) stop: Arc<AtomicBool>,
    done: Arc<AtomicBool>,
    /// Looks at the limits all the time: one run alone may need much; gives which one was reached.
    guard: Option<JoinHandle<Option<String>>>,
}

impl Watch {
    pub(super) fn new(story: &'static str, limits: Limits) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(template) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(template);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        let now = Instant::now();
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (stops, is_done) = (Arc::clone(&stop), Arc::clone(&done));
        let guard = std::thread::spawn(move || {
            while !is_done.load(Ordering::Relaxed) {
                if let Some(reached) = limits.reached() {
                    stops.store(true, Ordering::Relaxed);
                    return Some(reached);
                }
                std::thread::sleep(LOOK_EVERY);
            }
            None
        });
        Self { bar, story, began: now, told: now, stop, done, guard: Some(guard) }
    }

    /// Tells how far it is.
    pub(super) fn tell(&mut self, progress: &Progress) {
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

    /// Takes the progress away; how long it took, and which limit was reached.
    pub(super) fn finish(mut self) -> (Duration, Option<String>) {
        self.bar.finish_and_clear();
        self.done.store(true, Ordering::Relaxed);
        let reached = self.guard.take().and_then(|guard| guard.join().ok()).flatten();
        (self.began.elapsed(), reached)
    }
}

/// Memory of this process in bytes; nobody knows on a system without /proc.
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
    fn limits_are_noticed() {
        let limits = |max_memory, deadline| Limits { max_memory, deadline, interrupted: Arc::default() };
        let now = Instant::now();
        assert_eq!(limits(u64::MAX, Some((now + Duration::from_secs(1000), Duration::ZERO))).reached(), None);
        assert!(limits(1, None).reached().unwrap().contains("--max-memory"));
        assert!(limits(u64::MAX, Some((now, Duration::ZERO))).reached().unwrap().contains("--max-time"));
        let interrupted = Limits { interrupted: Arc::new(AtomicBool::new(true)), ..limits(u64::MAX, None) };
        assert_eq!(interrupted.reached().unwrap(), "Ctrl-C");
    }
}
