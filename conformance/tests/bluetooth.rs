//! Targets on the virtual BlueZ, as tools and test suites meet them.

mod binary;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use binary::{brickproof, folder, text};

const TARGET: &str = "nrf52840-mcuboot-swap-move";

#[test]
fn a_tool_that_never_opens_the_bus_is_told_why() {
    let folder = folder();
    for (command, why) in [
        (
            &["env", "-i", "sleep", "1"][..],
            "`sleep` runs without DBUS_SYSTEM_BUS_ADDRESS: the environment was dropped by `env`",
        ),
        (&["sh", "-c", "echo 'Error: EAFNOSUPPORT' >&2; exit 1"], "which only a kernel with Bluetooth allows"),
        (&["true"], "nothing shows why"),
    ] {
        let output = brickproof(folder.path(), &[&["run", "update/test-confirm", "--"], command].concat());
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("the initiator never sent a request: it never opened the bus: "), "{said}");
        assert!(said.contains(why), "{said}");
        assert!(said.contains("--air virtual-bluez"), "the default air: {said}");
    }
}

#[test]
fn a_tool_is_told_where_the_device_is() {
    let folder = folder();
    let tool = "test \"$DBUS_SYSTEM_BUS_ADDRESS\" = \"$3\" && echo at $1 called $2 && exit 127";
    let run = ["run", "update/test-confirm", "--report", "report", "--"];
    let output =
        brickproof(folder.path(), &[&run[..], &["sh", "-c", tool, "sh", "{address}", "{name}", "{bus}"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let missing = brickproof(folder.path(), &["run", "update/test-confirm", "--", "true", "{port}"]);
    assert_eq!(missing.status.code(), Some(2));
    let said = text(&missing.stderr);
    assert!(said.contains("`update` says {port}, which the air `virtual-bluez` does not have"), "{said}");
}

/// Played targets, ended when dropped.
struct Played {
    child: Child,
    ready: serde_json::Value,
}

impl Drop for Played {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Played {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_brickproof"))
            .args(["simulate", "--target", TARGET, "--json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("brickproof starts");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { child, ready: serde_json::from_str(&line).unwrap() }
    }

    fn http(&self, method: &str, path: &str, body: &str) -> serde_json::Value {
        let mut stream = TcpStream::connect(self.ready["control"].as_str().unwrap().replace("http://", "")).unwrap();
        let head = "Host: x\r\nConnection: close";
        write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
    }

    fn socket(&self) -> &Path {
        let address = self.ready["bus"].as_str().unwrap();
        Path::new(address.strip_prefix("unix:path=").unwrap().split(',').next().unwrap())
    }
}

#[test]
fn several_targets_are_played_on_one_bus() {
    let played = Played::start(&["--count", "3"]);
    let ready = &played.ready;
    assert_eq!((ready["event"].as_str(), ready["air"].as_str()), (Some("ready"), Some("virtual-bluez")));
    let targets = ready["targets"].as_array().unwrap();
    let number = |target: &serde_json::Value| {
        u64::from_str_radix(&target["address"].as_str().unwrap().replace(':', ""), 16).unwrap()
    };
    let first = number(&targets[0]);
    assert_eq!(targets.iter().map(number).collect::<Vec<_>>(), [first, first + 1, first + 2]);
    assert_eq!(ready["address"], targets[0]["address"]);
    assert!(played.socket().exists());
    played.http("POST", "/targets/2/power", "{\"on\": false}");
    let powered = |path: &str| played.http("GET", path, "")["powered"].as_bool().unwrap();
    assert!(powered("/state") && powered("/targets/1/state") && powered("/targets/3/state"));
    assert!(!powered("/targets/2/state"));
    assert!(played.http("GET", "/targets/4/state", "")["error"].is_string());
}

#[test]
fn the_socket_of_a_killed_target_is_gone() {
    let folder = folder();
    let mut played = Played::start(&["--bus-folder", folder.path().to_str().unwrap()]);
    assert!(played.socket().exists() && played.socket().starts_with(folder.path().canonicalize().unwrap()));
    assert!(played.ready["name"].is_string());
    played.child.kill().unwrap();
    played.child.stderr.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
}
