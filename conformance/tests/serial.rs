//! Serial ports: the built-in initiator over a pty, a played target, the recovery of the bootloader.

mod binary;

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use brickproof::air::Air;
use brickproof::profile::Profile;
use brickproof::runner::verdict::{Finding, Weight};

use binary::{brickproof, folder, text};

const TARGET: &str = "nrf52840-mcuboot-swap-move";
const RECOVERS: &str = "nrf52840-mcuboot-swap-move-serial-recovery";

#[test]
fn the_builtin_initiator_does_the_same_over_a_serial_port() {
    let folder = folder();
    let run = ["run", "update", "security", "battery", "recovery", "--air", "serial", "--report", "report"];
    let output = brickproof(folder.path(), &run);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let trace = folder.path().join("report/builtin/update.test-confirm/trace.jsonl");
    let trace = std::fs::read_to_string(trace).unwrap();
    let kinds = |kind: &str| trace.lines().filter(|line| line.contains(&format!("\"kind\":\"{kind}\""))).count();
    assert!(kinds("serial-frame") > kinds("datagram"), "packets are cut into frames");
    assert!(!trace.contains("\"error\":"), "the built-in initiator's frames are all right");
}

#[test]
fn the_port_of_a_usb_device_comes_and_goes() {
    let folder = folder();
    brickproof(folder.path(), &["new", "target", "usb.toml"]);
    let path = folder.path().join("usb.toml");
    let profile = std::fs::read_to_string(&path).unwrap() + "\n[serial]\nusb = true\n";
    std::fs::write(&path, profile).unwrap();
    let output = brickproof(folder.path(), &["run", "update", "--air", "serial", "--target", "usb.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn a_network_does_not_reach_the_recovery() {
    let output = brickproof(folder().path(), &["run", "recovery", "--air", "udp"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("the air `udp` cannot show `serial-recovery`"), "{}", text(&output.stdout));
    let output = brickproof(folder().path(), &["run", "recovery", "--target", TARGET]);
    assert!(text(&output.stdout).contains("has no serial recovery"), "{}", text(&output.stdout));
}

#[test]
fn a_played_target_answers_on_its_port() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_brickproof"))
        .args(["simulate", "--target", TARGET, "--air", "serial", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("brickproof starts");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((ready["event"].as_str(), ready["air"].as_str()), (Some("ready"), Some("serial")));
    assert!(ready["address"].is_null() && ready["port"].is_null());
    for line in lines.by_ref() {
        let record: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        if record["kind"] == "state" && record["when"] == "boot" {
            break;
        }
    }
    let mut port = OpenOptions::new().read(true).write(true).open(ready["path"].as_str().unwrap()).unwrap();
    // {"d": "b"} and {"r": "b"}, framed by Python's smp 4.2.0.
    port.write_all(b"\r\nnoise of a terminal\r\n\x06\x09AA8KAAAFAAAHAKFhZGFixq8=\n").unwrap();
    let mut answer = [0; 31];
    let expected = b"\x06\x09ABALAAAGAAAHAL9hcmFi/634\n";
    port.read_exact(&mut answer[..expected.len()]).unwrap();
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(text(&answer[..expected.len()]), text(expected));
}

#[test]
fn a_boot_that_ends_in_the_recovery_says_so() {
    let folder = folder();
    std::fs::write(folder.path().join("empty.bin"), vec![0xff; 1 << 20]).unwrap();
    let boot = ["boot", "--target", RECOVERS, "--flash", "empty.bin"];
    let output = brickproof(folder.path(), &[&boot[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["outcome"], "recovery");
    assert!(answer["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    let output = brickproof(folder.path(), &boot);
    assert!(text(&output.stdout).contains("the serial recovery runs"), "{}", text(&output.stdout));
}

#[test]
fn words_that_an_air_does_not_have_are_refused() {
    let folder = folder();
    let run = |air: &str, word: &str| brickproof(folder.path(), &["run", "update", "--air", air, "--", "true", word]);
    for (air, word, said) in [
        ("serial", "{address}", "`update` says {address}, which the air `serial` does not have"),
        ("udp", "{path}", "`update` says {path}, which the air `udp` does not have"),
        ("udp", "{air}", "there is no table [air.udp]"),
    ] {
        let output = run(air, word);
        assert_eq!(output.status.code(), Some(2), "{word}");
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
}

const PROFILE: &str = "schema = 1\nname = \"tool\"\nabout = \"a tool\"\n\n\
    [air.udp]\narguments = [\"--ip\", \"{address}\"]\n[air.serial]\narguments = [\"--port\", \"{path}\"]\n\n\
    [commands]\nupdate = [\"tool\", \"{air}\", \"update\", \"{image}\"]\n";

#[test]
fn profiles_have_their_words_for_each_air() {
    let profile = Profile::parse("tool.toml", PROFILE).unwrap();
    let words = |air| profile.commands_on(air).unwrap()["update"].join(" ");
    assert_eq!(words(Air::Udp), "tool --ip {address} update {image}");
    assert_eq!(words(Air::Serial), "tool --port {path} update {image}");
    assert_eq!(profile.airs, [Air::Serial, Air::Udp]);

    let known = "\n[[known]]\nscenario = \"update/test-confirm\"\nfindings = [\"STA-08\"]\nreason = \"x\"\n";
    let with = |airs: &str| Profile::parse("tool.toml", &format!("{PROFILE}{known}{airs}"));
    let everywhere = with("").unwrap();
    let only_udp = with("airs = [\"udp\"]\n").unwrap();
    for (profile, air, count) in [
        (&everywhere, Air::Udp, 1),
        (&everywhere, Air::Serial, 1),
        (&only_udp, Air::Udp, 1),
        (&only_udp, Air::Serial, 0),
    ] {
        assert_eq!(profile.known_for("update/test-confirm", air).len(), count);
    }
    assert!(with("airs = [\"smoke\"]\n").is_err());
}

#[test]
fn what_is_known_says_what_fails_always_or_sometimes() {
    let with = |fails: &str| {
        let known = format!("\n[[known]]\nscenario = \"update/test-confirm\"\nreason = \"x\"\n{fails}\n");
        Profile::parse("tool.toml", &format!("{PROFILE}{known}"))
    };
    let raced = with("sometimes = [\"STA-08\"]").unwrap();
    let known = raced.known_for("update/test-confirm", Air::Udp);
    assert_eq!((known[0].findings.len(), known[0].sometimes.as_slice()), (0, &["STA-08".to_owned()][..]));
    // The reason of a race that was won is not told.
    let found = |id: &str| Finding {
        id: id.into(),
        weight: Weight::Must,
        expected: String::new(),
        happened: String::new(),
        at_us: None,
        record: None,
    };
    assert!(known[0].concerns(&[found("STA-08")]) && !known[0].concerns(&[found("STA-07")]));
    let always = with("findings = [\"STA-08\"]").unwrap();
    assert!(always.known_for("update/test-confirm", Air::Udp)[0].concerns(&[]));
    for (fails, said) in [
        ("", "nothing is known of update/test-confirm"),
        ("findings = []", "nothing is known of update/test-confirm"),
        ("sometimes = [\"STA-99\"]", "nothing that can be found is called `STA-99`"),
    ] {
        let mistake = with(fails).expect_err(fails).to_string();
        assert!(mistake.contains(said), "{fails}: {mistake}");
    }
}

#[test]
fn mistakes_in_the_words_of_an_air_are_explained() {
    let refuse =
        |from: &str, to: &str| Profile::parse("tool.toml", &PROFILE.replacen(from, to, 1)).expect_err(to).to_string();
    for (from, to, said) in [
        ("[air.udp]", "[air.smoke]", "no air is called `smoke`"),
        ("{path}", "{address}", "`update` says {address}, which the air `serial` does not have"),
        ("\"--port\", \"{path}\"", "\"{air}\"", "{air} cannot stand for itself"),
        ("\"{air}\"", "\"--at={air}\"", "{air} stands for whole words"),
        ("\"tool\", \"{air}\"", "\"{air}\"", "a command needs a program"),
        (
            "about = \"a tool\"\n",
            "about = \"a tool\"\nairs = [\"udp\"]\n",
            "`serial` has arguments and is not among the airs",
        ),
        (
            "about = \"a tool\"\n",
            "about = \"a tool\"\nairs = [\"udp\", \"serial\", \"in-process\"]\n",
            "there is no table [air.in-process]",
        ),
    ] {
        let mistake = refuse(from, to);
        assert!(mistake.contains(said), "{to}: {mistake}");
    }
}
