//! Processes of this machine, as `/proc` shows them: who belongs to a run, and the end of those who do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long processes are killed before they are given up.
const SWEEP_MAX: Duration = Duration::from_secs(10);
/// Between two looks at processes that are dying.
const SWEEP_PAUSE: Duration = Duration::from_millis(2);
/// Lists of processes, each with somebody new but nobody marked, after which that is taken for the bustle of others.
const LISTS_MAX: u32 = 32;
/// Fields of `/proc/PID/stat` behind the name, from 0: state, parent, end of the environment.
const STATE: usize = 0;
const PARENT: usize = 1;
const ENVIRONMENT_END: usize = 48;

/// What marks a process: a variable in the environment it was started with or, where that was dropped on the way, what
/// its standard streams are.
#[derive(Debug, Clone)]
pub struct Mark {
    variable: Vec<u8>,
    folder: PathBuf,
    pipes: BTreeSet<PathBuf>,
}

impl Mark {
    /// The variable `name` is `folder`, or a standard stream is a file in that folder or one of these pipes, named like
    /// `pipe:[4711]`.
    #[must_use]
    pub fn new(name: &str, folder: &Path, pipes: &BTreeSet<String>) -> Self {
        Self {
            variable: [name.as_bytes(), b"=", folder.as_os_str().as_bytes()].concat(),
            folder: folder.to_owned(),
            pipes: pipes.iter().map(PathBuf::from).collect(),
        }
    }

    fn on(&self, process: i32) -> Marked {
        let stream = |number: u8| {
            let link = fs::read_link(format!("/proc/{process}/fd/{number}"));
            link.is_ok_and(|stream| stream.starts_with(&self.folder) || self.pipes.contains(&stream))
        };
        match environment(process) {
            Ok(environment) if environment.split(|byte| *byte == 0).any(|entry| entry == self.variable) => Marked::Yes,
            _ if (0..=2).any(stream) => Marked::Yes,
            // It is becoming another program.
            Ok(environment) if environment.is_empty() && !is_kernel(process) => {
                if stat(process).is_some_and(|process| !process.settled()) { Marked::NotYet } else { Marked::No }
            }
            _ => Marked::No,
        }
    }
}

/// Whether a process carries a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marked {
    Yes,
    No,
    /// That will be seen in a moment.
    NotYet,
}

fn is_kernel(process: i32) -> bool {
    fs::read_link(format!("/proc/{process}/exe")).is_err()
}

/// Kills every process with this mark, and whoever they start meanwhile, until none is left; how many were killed.
pub fn sweep(mark: &Mark) -> usize {
    let own = std::process::id();
    let deadline = Instant::now() + SWEEP_MAX;
    let mut killed = 0;
    // Those that were found without the mark. One that ends before it is looked at may have started another that is not
    // on the same list: only a list without anybody new is the end.
    let mut cleared = BTreeSet::new();
    let mut lists = 0;
    loop {
        let others = all().filter(|process| u32::try_from(*process) != Ok(own));
        let new: Vec<_> = others.filter(|process| !cleared.contains(process)).collect();
        if new.is_empty() || lists == LISTS_MAX || Instant::now() > deadline {
            return killed;
        }
        lists += 1;
        let mut marked = false;
        for process in new {
            match mark.on(process) {
                Marked::Yes => {
                    killed += usize::from(kill(Pid::from_raw(process), Signal::SIGKILL).is_ok());
                    marked = true;
                }
                Marked::NotYet => marked = true,
                Marked::No => {
                    cleared.insert(process);
                }
            }
        }
        if marked {
            // A number may be somebody else's by now.
            cleared.clear();
            lists = 0;
            std::thread::sleep(SWEEP_PAUSE);
        }
    }
}

/// Numbers of all processes.
fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The environment that a process was started with.
///
/// # Errors
/// From the operating system: gone, or of another user.
pub(super) fn environment(process: i32) -> io::Result<Vec<u8>> {
    fs::read(format!("/proc/{process}/environ"))
}

/// A process that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// Its number.
    pub(super) id: i32,
    /// The number of its parent.
    pub(super) parent: i32,
    /// The first 15 bytes of the name of its program.
    pub(super) name: String,
    /// Where its environment ends in its memory; another place in nearly every program. 0 while it is becoming another
    /// program, and when it may not be seen.
    pub(super) environment_end: u64,
}

impl Process {
    /// It has the environment it was started with, however little that is, and it may be seen.
    pub(super) fn settled(&self) -> bool {
        self.environment_end != 0
    }
}

/// A process, unless it is gone or dead.
pub(super) fn stat(process: i32) -> Option<Process> {
    parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{process}/stat")).ok()?))
}

/// Reads `/proc/PID/stat`; a name may hold blanks and brackets.
fn parse(text: &str) -> Option<Process> {
    let (id, rest) = text.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    if matches!(*fields.get(STATE)?, "Z" | "X") {
        return None;
    }
    Some(Process {
        id: id.parse().ok()?,
        parent: fields.get(PARENT)?.parse().ok()?,
        name: name.to_owned(),
        environment_end: fields.get(ENVIRONMENT_END)?.parse().ok()?,
    })
}

/// Some processes and all that they have started, as far as their parents still run.
pub(super) fn descendants(roots: impl IntoIterator<Item = i32>) -> Vec<Process> {
    let table: BTreeMap<i32, Process> = all().filter_map(stat).map(|process| (process.id, process)).collect();
    let mut found: Vec<i32> = roots.into_iter().collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = table.values().filter(|process| process.parent == parent).map(|process| process.id);
        let children: Vec<i32> = children.filter(|child| !found.contains(child)).collect();
        found.extend(children);
        next += 1;
    }
    found.iter().filter_map(|id| table.get(id).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_are_read() {
        let mut fields = vec!["0"; 50];
        (fields[STATE], fields[PARENT], fields[ENVIRONMENT_END]) = ("S", "7", "140000");
        let process = Process { id: 12, parent: 7, name: "a) (b".into(), environment_end: 140_000 };
        assert_eq!(parse(&format!("12 (a) (b) {}", fields.join(" "))), Some(process));
        fields[STATE] = "Z";
        assert_eq!(parse(&format!("12 (sh) {}", fields.join(" "))), None);
        assert_eq!(parse("12 (sh"), None);
    }

    #[test]
    fn this_process_is_among_its_parents_children() {
        let own = i32::try_from(std::process::id()).unwrap();
        let found = descendants([std::os::unix::process::parent_id().cast_signed()]);
        assert!(found.iter().any(|process| process.id == own && process.settled()));
    }
}
