//! Why a tool never opened the bus it was given, as far as its processes show it.
//!
//! Tools are looked at while nobody has opened the bus: whether the environment has got as far as each of their
//! processes, and whether they reach for Bluetooth past BlueZ. What they write about it is for the judge to read.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use super::processes::{Process, descendants, environment, stat};

/// The variable by which a tool finds the bus.
pub const BUS: &str = "DBUS_SYSTEM_BUS_ADDRESS";
/// Programs that start others where this environment does not reach.
const ELSEWHERE: [&str; 6] = ["systemd-run", "docker", "podman", "flatpak", "snap", "ssh"];
/// Programs that become somebody else first.
const SOMEBODY_ELSE: [&str; 5] = ["sudo", "su", "doas", "pkexec", "runuser"];
/// Programs that speak to the controller itself.
const RAW: [&str; 9] =
    ["gatttool", "hcitool", "hciconfig", "hcidump", "btmgmt", "btmon", "btgatt-client", "l2ping", "bluetoothd"];
/// Libraries that do.
const RAW_LIBRARIES: [&str; 3] = ["bluetooth_hci_socket", "bluetooth-hci-socket", "libbluetooth.so"];
/// Sockets of the kernel's Bluetooth, on kernels that have it.
const RAW_SOCKETS: [&str; 3] = ["/proc/net/hci", "/proc/net/l2cap", "/proc/net/rfcomm"];

/// How often a look begins again because a process became another program under it.
const LOOK_AGAIN_MAX: u32 = 10;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    /// A process runs without the variable; who started it.
    Dropped { process: String, by: String },
    /// It was started by a program that becomes another user.
    SomebodyElse(String),
    /// It was started by a program that starts others elsewhere.
    Elsewhere(String),
    /// It uses Bluetooth past BlueZ: what shows it.
    Raw(String),
}

impl Reason {
    /// The likeliest first.
    fn rank(&self) -> u8 {
        match self {
            Self::Dropped { .. } => 0,
            Self::SomebodyElse(_) => 1,
            Self::Elsewhere(_) => 2,
            Self::Raw(_) => 3,
        }
    }
}

/// A process became another program, or ended, while it was looked at: what was seen is half the one, half the other,
/// and what it has started would be blamed in its place.
#[derive(Debug)]
struct Changed;

/// Looks at a tool while it runs.
#[derive(Debug)]
pub struct Watch {
    /// Processes that have been seen, each with the program that started it; the tool itself, with what it was started
    /// as.
    seen: BTreeMap<i32, String>,
    reason: Option<Reason>,
    looks: u32,
}

impl Watch {
    /// For the process with this number, which was started as `program`.
    #[must_use]
    pub fn new(process: Option<u32>, program: &str) -> Self {
        let process = process.and_then(|process| i32::try_from(process).ok());
        let name = program.rsplit('/').next().unwrap_or(program).to_owned();
        Self { seen: process.map(|process| (process, name)).into_iter().collect(), reason: None, looks: 0 }
    }

    /// How long to wait before the next look: short-lived tools are looked at more often.
    #[must_use]
    pub fn pause(&self) -> Duration {
        Duration::from_millis(match self.looks {
            ..20 => 5,
            20..60 => 50,
            _ => 250,
        })
    }

    /// Looks at all processes of the tool.
    pub fn look(&mut self) {
        self.looks += 1;
        for _ in 0..LOOK_AGAIN_MAX {
            if self.look_once().is_ok() {
                return;
            }
        }
    }

    fn look_once(&mut self) -> Result<(), Changed> {
        let processes = descendants(self.seen.keys().copied().collect::<Vec<_>>());
        let mut reasons: Vec<Reason> = self.reason.clone().into_iter().collect();
        for process in &processes {
            self.seen.entry(process.id).or_insert_with(|| {
                let parent = processes.iter().find(|other| other.id == process.parent);
                parent.unwrap_or(process).name.clone()
            });
            reasons.extend(self.judge(process)?);
        }
        // Of equals the first: whoever comes first has started those after it.
        self.reason = reasons.into_iter().min_by_key(Reason::rank);
        Ok(())
    }

    /// Why the bus was not opened, in words; `None` when nothing shows it.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        Some(match self.reason.as_ref()? {
            Reason::Dropped { process, by } if process == by => {
                format!("`{process}` runs without {BUS}: the environment was dropped")
            }
            Reason::Dropped { process, by } => {
                format!("`{process}` runs without {BUS}: the environment was dropped by `{by}`")
            }
            Reason::SomebodyElse(by) => format!("`{by}` starts programs as another user, and drops the environment"),
            Reason::Elsewhere(by) => format!("`{by}` starts programs elsewhere, where {BUS} does not reach"),
            Reason::Raw(what) => format!(
                "{what}: it speaks to the controller itself and not to BlueZ, which only a kernel with Bluetooth allows"
            ),
        })
    }

    /// What speaks against one process.
    fn judge(&self, process: &Process) -> Result<Option<Reason>, Changed> {
        let name = process.name.as_str();
        if SOMEBODY_ELSE.contains(&name) {
            return Ok(Some(Reason::SomebodyElse(name.to_owned())));
        }
        if ELSEWHERE.contains(&name) {
            return Ok(Some(Reason::Elsewhere(name.to_owned())));
        }
        if process.settled()
            && let Ok(environment) = environment(process.id)
        {
            // With name and memory still the same, this was its own.
            if stat(process.id).as_ref() != Some(process) {
                return Err(Changed);
            }
            if !environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(BUS.as_bytes())) {
                let by = self.seen.get(&process.id).map_or(name, String::as_str);
                return Ok(Some(Reason::Dropped { process: name.to_owned(), by: by.to_owned() }));
            }
        }
        Ok(raw(process).map(Reason::Raw))
    }
}

/// What shows that a process uses Bluetooth past BlueZ.
fn raw(process: &Process) -> Option<String> {
    let name = &process.name;
    if RAW.contains(&name.as_str()) {
        return Some(format!("`{name}` uses raw HCI or L2CAP sockets"));
    }
    let maps = fs::read(format!("/proc/{}/maps", process.id)).unwrap_or_default();
    let maps = String::from_utf8_lossy(&maps);
    if let Some(library) = RAW_LIBRARIES.iter().find(|library| maps.contains(**library)) {
        return Some(format!("`{name}` has loaded {library}"));
    }
    let mut sockets = Vec::new();
    for file in fs::read_dir(format!("/proc/{}/fd", process.id)).into_iter().flatten().flatten() {
        let link = fs::read_link(file.path()).unwrap_or_default();
        let inode = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned));
        sockets.extend(inode);
    }
    let kernel: Vec<String> = RAW_SOCKETS.iter().filter_map(|table| fs::read_to_string(table).ok()).collect();
    let held = |socket: &String| kernel.iter().any(|table| table.split_ascii_whitespace().any(|word| word == socket));
    sockets.iter().any(held).then(|| format!("`{name}` holds a Bluetooth socket of the kernel"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    use super::*;

    struct Killed(Child);

    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Somebody who looks at a command that runs until it is killed.
    fn looking_at(command: &mut Command, program: &str) -> (Killed, Watch) {
        let child = Killed(command.env(BUS, "unix:path=/nowhere").stdin(Stdio::piped()).spawn().unwrap());
        let watch = Watch::new(Some(child.0.id()), program);
        (child, watch)
    }

    /// What is said of a command, as soon as something is.
    fn said_of(command: &mut Command, program: &str) -> String {
        let (_child, mut watch) = looking_at(command, program);
        let end = Instant::now() + Duration::from_secs(60);
        while watch.reason().is_none() && Instant::now() < end {
            watch.look();
            std::thread::sleep(watch.pause());
        }
        watch.reason().expect("something is said")
    }

    #[test]
    fn a_tool_with_its_environment_is_not_blamed() {
        let (_child, mut watch) = looking_at(Command::new("sh").args(["-c", "cat; true"]), "sh");
        while watch.looks < 40 {
            watch.look();
            std::thread::sleep(watch.pause());
        }
        assert_eq!(watch.reason(), None);
    }

    #[test]
    fn who_dropped_the_environment_is_said() {
        let of =
            |process: &str, by: &str| format!("`{process}` runs without {BUS}: the environment was dropped by `{by}`");
        let said = |program: &str, arguments: &[&str]| said_of(Command::new(program).args(arguments), program);
        assert_eq!(said("env", &["-i", "sh", "-c", "cat; true"]), of("sh", "env"));
        assert_eq!(said("env", &["-u", BUS, "cat"]), of("cat", "env"));
        // The program that drops it is not the one that was started.
        assert_eq!(said("sh", &["-c", "env -i cat; true"]), of("cat", "sh"));
    }

    #[test]
    fn tools_that_go_past_bluez_are_known_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let named = |name: &str| {
            let path = folder.path().join(name);
            std::os::unix::fs::symlink("/bin/sleep", &path).unwrap();
            // Where one program is many, it goes by this.
            said_of(Command::new(&path).arg0("sleep").arg("600"), name)
        };
        assert!(named("gatttool").starts_with("`gatttool` uses raw HCI or L2CAP sockets"));
        assert!(named("sudo").contains("as another user"));
        assert!(named("systemd-run").contains("elsewhere"));
    }
}
