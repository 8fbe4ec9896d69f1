//! The virtual BlueZ as tools and test suites meet it: the built-in initiator as a program that speaks D-Bus, other
//! people's tools, a played target, several on one bus.

mod binary;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use brickproof::initiator::bluez::BluezWire;
use brickproof::initiator::wire::Wire;
use zbus::{OwnedObjectPath, OwnedVariant};

use binary::{brickproof, folder, text};

const TARGET: &str = "nrf52840-mcuboot-swap-move";

#[test]
fn the_builtin_initiator_does_the_same_over_bluez() {
    let folder = folder();
    let run = [
        "run",
        "update/test-confirm",
        "ble/mtu-23",
        "ble/split-answers",
        "ble/encryption-demanded-0x05",
        "ble/encryption-demanded-0x0f",
        "ble/authentication-demanded",
        "ble/kept-keys",
        "ble/passkey-legacy",
        "ble/passkey-entry",
        "ble/numeric-comparison",
        "ble/pairing-refused",
        "ble/new-address",
        "ble/new-attributes",
        "ble/service-changed",
        "ble/buffer-overrun",
        "power-loss/mid-swap-half",
        "rollback/never-confirmed",
        "security/bad-signature",
        "--air",
        "virtual-bluez",
        "--report",
        "report",
    ];
    let output = brickproof(folder.path(), &run);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let results: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("report/results.json")).unwrap()).unwrap();
    let passed = text(&output.stdout).matches("passed").count();
    assert!(passed > 18, "nothing was skipped: {results}");
    let trace = folder.path().join("report/builtin/update.test-confirm/trace.jsonl");
    let trace = std::fs::read_to_string(trace).unwrap();
    for member in ["Adapter1.StartDiscovery", "Device1.Connect", "GattCharacteristic1.StartNotify", "WriteValue"] {
        assert!(trace.contains(member), "{member}");
    }
}

#[test]
fn a_tool_that_never_opens_the_bus_is_told_why() {
    let folder = folder();
    for (command, why) in [
        (
            &["env", "-i", "sleep", "3"][..],
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

type Objects = HashMap<OwnedObjectPath, HashMap<String, HashMap<String, OwnedVariant>>>;

/// Played targets, killed when they are dropped.
struct Played {
    child: Child,
    ready: serde_json::Value,
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
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        // Whoever reads the first line only does not stop the target.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, ready }
    }

    fn bus(&self) -> &str {
        self.ready["bus"].as_str().unwrap()
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
        Path::new(self.bus().strip_prefix("unix:path=").unwrap().split(',').next().unwrap())
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_played_target_is_found_by_its_address_and_answers() {
    let played = Played::start(&[]);
    assert_eq!(played.ready["air"], "virtual-bluez");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (notes, _) = tokio::sync::mpsc::unbounded_channel();
        let mut wire = BluezWire::open(played.bus(), 123_456, Instant::now(), notes).await.unwrap();
        // An echo: {"d": "b"} and {"r": "b"}.
        wire.send(b"\x0a\x00\x00\x05\x00\x00\x07\x00\xa1adab".to_vec()).await;
        let answer = wire.receive(10_000_000).await.unwrap();
        assert_eq!(answer[8..], *b"\xbfarab\xff");
    });
}

#[test]
fn many_targets_share_a_bus() {
    let played = Played::start(&["--count", "12", "--adapters", "2"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = tokio::task::LocalSet::new().block_on(&runtime, async {
        let connection = zbus::connection::Builder::address(played.bus()).build().await.unwrap();
        let call = async |path: &str, interface: &str, member: &str| {
            connection.call_method(Some("org.bluez"), path, Some(interface), member, &()).await.unwrap()
        };
        call("/org/bluez/hci1", "org.bluez.Adapter1", "StartDiscovery").await;
        loop {
            let reply = call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects").await;
            let objects: Objects = reply.body().deserialize().unwrap();
            let found = objects.values().filter(|interfaces| interfaces.contains_key("org.bluez.Device1")).count();
            if found == 12 {
                return found;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(found, 12);
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
