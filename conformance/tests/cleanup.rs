//! Nothing is left behind, whatever ends a run: no process, no folder, no socket.

#[expect(dead_code, reason = "the other tests use the rest of it")]
mod binary;

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use binary::folder;

const TARGET: &str = "nrf52840-mcuboot-swap-move";

/// A number by which the processes of one test are found: they sleep so long.
fn token() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("77{}{:03}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Command lines of processes that sleep that long.
fn alive(token: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.starts_with("sleep") && line.contains(token)).collect()
}

fn empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

/// Starts brickproof with a folder of its own for temporary files.
fn start(work: &Path, temporary: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_brickproof"))
        .args(arguments)
        .current_dir(work)
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("brickproof starts")
}

/// Waits for the end of whoever could still write to standard error: brickproof and its guard.
fn wait_for_all(child: &mut Child) {
    child.wait().unwrap();
    let mut rest = Vec::new();
    child.stderr.take().unwrap().read_to_end(&mut rest).unwrap();
}

fn until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A tool with children that leave its process group, its session and its environment.
fn clinging(token: &str) -> String {
    format!(
        "setsid sleep {token} & setsid -f env -i sleep {token} & env -i setsid sleep {token} & sleep {token} & \
         touch started; wait"
    )
}

#[test]
fn nothing_is_left_of_a_killed_harness() {
    let (work, temporary, token) = (folder(), folder(), token());
    let tool = clinging(&token);
    let run = ["run", "update/test-confirm", "--air", "udp", "--", "sh", "-c", &tool];
    let mut harness = start(work.path(), temporary.path(), &run);
    until("the tool starts", || work.path().join("started").exists() && alive(&token).len() >= 4);
    assert!(!empty(temporary.path()));
    harness.kill().unwrap();
    wait_for_all(&mut harness);
    assert_eq!(alive(&token), Vec::<String>::new());
    assert!(empty(temporary.path()));
}

#[test]
fn nothing_is_left_whenever_it_is_killed() {
    let (work, temporary, token) = (folder(), folder(), token());
    let tool = clinging(&token);
    let started = work.path().join("started");
    // The target of this one is up at once.
    let run = ["run", "update/device-with-test-image", "--repeat", "8", "--jobs", "4", "--air", "udp"];
    let run = [&run[..], &["--", "sh", "-c", &tool]].concat();
    for moment in 0..20 {
        let mut harness = start(work.path(), temporary.path(), &run);
        // Before there are tools, and while they start and multiply.
        let moment = match moment {
            ..8 => Duration::from_millis(moment * 5),
            _ => {
                until("the tool starts", || started.exists());
                Duration::from_millis((moment - 8) * 2)
            }
        };
        std::thread::sleep(moment);
        harness.kill().unwrap();
        wait_for_all(&mut harness);
        assert_eq!(alive(&token), Vec::<String>::new(), "killed after {moment:?}");
        assert!(empty(temporary.path()), "killed after {moment:?}");
        // It may not have come as far.
        let _ = std::fs::remove_file(&started);
    }
}

#[test]
fn nothing_is_left_of_an_initiator_that_is_killed_or_ends() {
    let (work, temporary, token) = (folder(), folder(), token());
    for end in ["kill -9 $$", "exit 0"] {
        let tool = clinging(&token).replace("wait", end);
        let run = ["run", "update/test-confirm", "--air", "udp", "--", "sh", "-c", &tool];
        let mut harness = start(work.path(), temporary.path(), &run);
        wait_for_all(&mut harness);
        assert_eq!(alive(&token), Vec::<String>::new(), "{end}");
        assert!(empty(temporary.path()), "{end}");
    }
}

#[test]
fn the_guard_is_not_needed_for_an_orderly_end() {
    let (work, temporary, token) = (folder(), folder(), token());
    let tool = clinging(&token).replace("wait", "until [ -e go ]; do sleep 0.01; done");
    let run = ["run", "update/test-confirm", "--air", "udp", "--", "sh", "-c", &tool];
    let mut harness = start(work.path(), temporary.path(), &run);
    until("the tool starts", || alive(&token).len() >= 4);
    let guards = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|process| {
        let status = std::fs::read_to_string(process.path().join("stat")).ok()?;
        let line = std::fs::read(process.path().join("cmdline")).ok()?;
        let of_harness = status.rsplit_once(") ")?.1.split(' ').nth(1)? == harness.id().to_string();
        (of_harness && line.ends_with(b"__guard\0")).then(|| process.file_name().into_string().unwrap())
    });
    let guards: Vec<String> = guards.collect();
    assert_eq!(guards.len(), 1, "{guards:?}");
    Command::new("sh").args(["-c", &format!("kill -9 {}", guards[0])]).status().unwrap();
    std::fs::write(work.path().join("go"), "").unwrap();
    assert_eq!(harness.wait().unwrap().code(), Some(1));
    wait_for_all(&mut harness);
    assert_eq!(alive(&token), Vec::<String>::new());
    assert!(empty(temporary.path()));
}

#[test]
fn nothing_is_left_of_a_played_target() {
    let (work, temporary) = (folder(), folder());
    for signal in ["KILL", "TERM", "INT"] {
        let play = ["simulate", "--target", TARGET, "--air", "udp", "--listen", "127.0.0.1:0", "--json"];
        let mut played = start(work.path(), temporary.path(), &play);
        let mut byte = [0];
        played.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        assert!(!empty(temporary.path()), "a folder of its own");
        Command::new("sh").args(["-c", &format!("kill -{signal} {}", played.id())]).status().unwrap();
        wait_for_all(&mut played);
        assert!(empty(temporary.path()), "{signal}");
    }
}
