//! The site of a run: the one folder with all its files and sockets, and the mark that its processes carry.
//!
//! With a guard ([`Site::guarded`]) nothing is left of it, whatever ends the run. Each case has a folder in it and a
//! mark of its own ([`CaseSite`]), so that nothing outlives its case.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::guard::{self, RUN};
use super::processes::{Mark, sweep};

/// The variable that marks the processes of a case.
pub const CASE: &str = "BRICKPROOF_CASE";
/// This program, even when its file has been replaced since.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// The name of the command that makes this program a guard.
pub const GUARD: &str = "__guard";
/// What the standard input of tools is: an empty file, by which a tool is known that has dropped its environment.
const INPUT: &str = "input";

/// The site of a run; what is left of it goes when it is dropped.
#[derive(Debug)]
pub struct Site {
    folder: PathBuf,
    guard: Option<Guard>,
}

#[derive(Debug)]
struct Guard {
    process: Child,
    input: Mutex<Option<ChildStdin>>,
}

impl Site {
    /// A site that is cleaned up even when this process is killed. Only for programs that are a guard when they are
    /// started as [`GUARD`].
    ///
    /// # Errors
    /// From the operating system: no process or no folder can be made.
    pub fn guarded() -> io::Result<Self> {
        let mut process = Command::new(OWN_PROGRAM)
            .arg0("brickproof")
            .arg(GUARD)
            .env_remove(RUN)
            .env_remove(CASE)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let input = Mutex::new(process.stdin.take());
        let mut folder = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output).read_line(&mut folder)?;
        }
        let folder = folder.trim_end_matches('\n');
        if folder.is_empty() {
            drop(input);
            process.wait()?;
            return Err(io::Error::other("the process that would clean up behind this one could not make a folder"));
        }
        Ok(Self { folder: folder.into(), guard: Some(Guard { process, input }) })
    }

    /// A site that is cleaned up when it is dropped.
    ///
    /// # Errors
    /// From the operating system.
    pub fn plain() -> io::Result<Self> {
        Ok(Self { folder: guard::make_folder()?, guard: None })
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file elsewhere is also to be removed.
    pub fn also_remove(&self, file: &Path) {
        if file.to_str().is_some_and(|path| !path.contains('\n')) {
            self.tell(&format!("file {}", file.display()));
        }
    }

    /// An adapter is to be given back, named like `hci0`.
    pub fn adapter(&self, name: &str) {
        self.tell(&format!("adapter {name}"));
    }

    /// The site of a case.
    ///
    /// # Errors
    /// From the operating system: its folder cannot be made.
    pub fn case(&self, number: usize) -> io::Result<CaseSite<'_>> {
        let folder = self.folder.join(number.to_string());
        fs::create_dir(&folder)?;
        fs::write(folder.join(INPUT), "")?;
        Ok(CaseSite { site: self, folder, pipes: RefCell::default() })
    }

    fn tell(&self, line: &str) {
        let Some(guard) = &self.guard else { return };
        let mut input = guard.input.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(input) = input.as_mut() {
            // A guard that is gone is replaced by what `drop` does.
            let _ = input.write_all(format!("{line}\n").as_bytes());
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(guard) = &mut self.guard {
            // The end of the pipe is its signal.
            *guard.input.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
            if guard.process.wait().is_ok_and(|status| status.success()) {
                return;
            }
        }
        if let Err(error) = guard::clean(&self.folder, &[], &BTreeSet::new(), None) {
            eprintln!("brickproof: this is left behind: {error}");
        }
    }
}

/// The site of a case; when it is dropped, its processes are killed and its folder is removed.
#[derive(Debug)]
pub struct CaseSite<'a> {
    site: &'a Site,
    folder: PathBuf,
    /// What its processes write to.
    pipes: RefCell<BTreeSet<String>>,
}

impl CaseSite<'_> {
    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What goes into the environment of its processes.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        [(RUN, text(&self.site.folder)), (CASE, text(&self.folder))]
    }

    /// What their standard input is.
    ///
    /// # Errors
    /// From the operating system.
    pub fn input(&self) -> io::Result<Stdio> {
        fs::File::open(self.folder.join(INPUT)).map(Stdio::from)
    }

    /// One of its processes writes to this.
    pub fn pipe(&self, pipe: impl AsFd) {
        let link = fs::read_link(format!("/proc/self/fd/{}", pipe.as_fd().as_raw_fd()));
        if let Some(name) = link.ok().as_deref().and_then(Path::to_str).filter(|name| name.starts_with("pipe:[")) {
            self.site.tell(&format!("pipe {name}"));
            self.pipes.borrow_mut().insert(name.to_owned());
        }
    }

    /// A process group has been started, or is over.
    pub fn group(&self, group: i32, started: bool) {
        self.site.tell(&format!("{}{group}", if started { '+' } else { '-' }));
    }
}

impl Drop for CaseSite<'_> {
    fn drop(&mut self) {
        sweep(&Mark::new(CASE, &self.folder, &self.pipes.borrow()));
        // What cannot be removed goes with the folder of the run.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
