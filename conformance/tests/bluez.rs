//! The virtual BlueZ: the built-in initiator as a program that speaks D-Bus, a played target, several on one bus.

mod binary;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
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

type Objects = HashMap<OwnedObjectPath, HashMap<String, HashMap<String, OwnedVariant>>>;

/// A played target, killed when it is dropped.
struct Played {
    child: std::process::Child,
    ready: serde_json::Value,
}

impl Played {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_brickproof"))
            .args(["simulate", "--target", TARGET, "--json"])
            .args(arguments)
            .stdout(Stdio::piped())
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
