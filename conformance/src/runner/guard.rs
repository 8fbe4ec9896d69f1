//! The guard of a run: a process that cleans up when the run is over, however that came about.
//!
//! A harness that is killed cannot kill its tools or remove its files. So before it makes any, it starts a guard:
//! itself once more, in a process group of its own, with a pipe as its standard input. The guard makes the folder of
//! the run, says where it is, and waits for the end of the pipe, which the kernel brings about when the harness is
//! gone. Then it kills every process that carries the mark of the run, until none is left, and removes the folder.
//!
//! | line from the harness | meaning |
//! |---|---|
//! | `+GROUP` | a process group was started |
//! | `-GROUP` | it is over |
//! | `pipe PIPE` | it writes to this pipe, named like `pipe:[4711]` |
//! | `adapter NAME` | the target is on this adapter: what is still connected to it then is disconnected |
//! | `file PATH` | a file outside of the folder that is to be removed too |

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use brickproof_simulator::bluez::release;
use brickproof_simulator::virtual_bluez::bus::socket::check_path;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;

use super::processes::{Mark, sweep};

/// The variable that marks the processes of a run; its value is the folder of the run.
pub const RUN: &str = "BRICKPROOF_RUN";
/// Longest path of a temporary folder that leaves room for the path of a socket, which has 107 bytes.
const TEMPORARY_MAX: usize = 64;
/// Longest time for the adapter.
const RELEASE: Duration = Duration::from_secs(5);
/// Where the folder is when a socket cannot be in the one for temporary files.
const SHORT: &str = "/tmp";

/// Is the guard of whoever has the other ends of standard input and output.
///
/// # Errors
/// When the folder cannot be made or removed.
pub fn main() -> io::Result<()> {
    // Whoever stops the harness does not mean its guard, which ends when the harness has.
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let folder = make_folder()?;
    let told = writeln!(io::stdout(), "{}", folder.display()).and_then(|()| io::stdout().flush());
    let mut groups = BTreeSet::new();
    let mut files = Vec::new();
    let mut pipes = BTreeSet::new();
    let mut adapter = None;
    if told.is_ok() {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if let Some(path) = line.strip_prefix("file ") {
                files.push(PathBuf::from(path));
            } else if let Some(pipe) = line.strip_prefix("pipe ") {
                pipes.insert(pipe.to_owned());
            } else if let Some(name) = line.strip_prefix("adapter ") {
                adapter = Some(name.to_owned());
            } else if let Some(group) = line.strip_prefix('+').and_then(|group| group.parse::<i32>().ok()) {
                groups.insert(group);
            } else if let Some(group) = line.strip_prefix('-').and_then(|group| group.parse::<i32>().ok()) {
                groups.remove(&group);
            }
        }
    }
    for group in groups {
        // It may be over already.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    clean(&folder, &files, &pipes, adapter.as_deref())
}

/// Kills whoever carries the mark of the run, gives its adapter back, and removes its files.
pub(super) fn clean(
    folder: &Path,
    files: &[PathBuf],
    pipes: &BTreeSet<String>,
    adapter: Option<&str>,
) -> io::Result<()> {
    sweep(&Mark::new(RUN, folder, pipes));
    if let Some(adapter) = adapter {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // bluetoothd may be gone, too, and with it all links.
        let _ = tokio::task::LocalSet::new()
            .block_on(&runtime, async { tokio::time::timeout(RELEASE, release(adapter)).await });
    }
    for file in files {
        // The harness may have done it.
        let _ = fs::remove_file(file);
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io::Error::new(error.kind(), format!("{}: {error}", folder.display())))
        }
        _ => Ok(()),
    }
}

/// The folder of a run, for its owner only.
pub(super) fn make_folder() -> io::Result<PathBuf> {
    let temporary = std::env::temp_dir();
    let fits = temporary.as_os_str().len() <= TEMPORARY_MAX && check_path(&temporary).is_ok();
    let place = if fits { &temporary } else { Path::new(SHORT) };
    let folder = tempfile::Builder::new().prefix("brickproof-").tempdir_in(place);
    let folder = folder.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", place.display())))?;
    Ok(folder.keep())
}
