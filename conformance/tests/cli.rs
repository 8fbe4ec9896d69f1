//! The command line as its users see it.

mod binary;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use binary::{brickproof, folder, text};

const BUS: &str = "DBUS_SYSTEM_BUS_ADDRESS";
const TARGET: &str = "nrf52840-mcuboot-swap-move";

/// The example, which cargo builds beside the tests.
fn uploader() -> PathBuf {
    let tests = std::env::current_exe().expect("a test");
    tests.parent().and_then(Path::parent).expect("target folder").join("examples/minimal-uploader")
}

#[test]
fn the_main_job() {
    let folder = folder();
    let output = brickproof(folder.path(), &["run"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "", "no progress without a terminal");
    insta::assert_snapshot!("main_job", text(&output.stdout));
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is left behind");
}

#[test]
fn the_same_run_gives_the_same_trace() {
    let folder = folder();
    let trace = |name: &str| {
        let output = brickproof(folder.path(), &["run", "power-loss/mid-upload", "--report", name]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
        std::fs::read_to_string(folder.path().join(name).join("builtin/power-loss.mid-upload/trace.jsonl")).unwrap()
    };
    let first = trace("first");
    assert_eq!(first, trace("second"));
    let header: serde_json::Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!(
        (header["kind"].as_str(), header["schema"].as_u64(), header["seed"].as_u64()),
        (Some("run"), Some(1), Some(1))
    );
}

#[test]
fn results_as_json() {
    let output = brickproof(folder().path(), &["run", "update/test-confirm", "--json"]);
    let run: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(run["status"], "passed");
    assert_eq!(run["cases"][0]["scenario"], "update/test-confirm");
    assert!(run["cases"][0]["checks"].as_array().unwrap().iter().any(|check| check["outcome"] == "met"));
}

#[test]
fn mistakes_are_explained_and_exit_with_2() {
    let folder = folder();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let good = text(&brickproof(folder.path(), &["new", "scenario", "good.toml"]).stdout);
    assert!(good.contains("next: brickproof run good.toml"), "{good}");
    let scenario = std::fs::read_to_string(folder.path().join("good.toml")).unwrap();
    write("typo.toml", &scenario.replace("swap-progress = 0.5", "swap-progres = 0.5"));
    write("range.toml", &scenario.replace("swap-progress = 0.5", "swap-progress = 5"));
    write("answer.toml", &scenario.replace("do = { power-loss = { for = \"2 s\" } }", "do = \"lose-answer\""));
    write("file.toml", &scenario.replace("{ version = \"1.1.0\", size = \"96 KiB\" }", "{ file = \"missing.bin\" }"));
    write("size.toml", &scenario.replace("96 KiB", "96 KB"));
    write("no-image.bin", "this is no image at all, but it is long enough for a header");
    let mut all = String::new();
    for arguments in [
        &["run", "nonsense"][..],
        &["run", "missing.toml"],
        &["run", "typo.toml"],
        &["run", "range.toml"],
        &["run", "answer.toml"],
        &["run", "file.toml"],
        &["run", "size.toml"],
        &["run", "--target", "nope"],
        &["run", "--initiator", "nope"],
        &["run", "--air", "udp", "--", "./not-there", "{address}"],
        &["run", "--air", "udp", "--", "true", "{adress}"],
        &["run", "--air", "in-process", "--", "true"],
        &["run", "--image", "update=no-image.bin"],
        &["boot", "--target", TARGET, "--flash", "missing.bin"],
        &["boot", "--target", TARGET, "--flash", "outer=no-image.bin"],
        &["image", "inspect", "no-image.bin"],
        &["new", "scenario", "good.toml"],
        &["new", "scenario", "name"],
    ] {
        let output = brickproof(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        all.push_str(&format!("$ brickproof {}\n{}\n", arguments.join(" "), text(&output.stderr)));
    }
    insta::assert_snapshot!("mistakes", all);
}

#[test]
fn lists_print_one_id_a_line_first() {
    let mut all = String::new();
    for what in ["targets", "initiators", "requirements", "scenarios"] {
        let output = brickproof(folder().path(), &["list", what]);
        assert_eq!(output.status.code(), Some(0));
        all.push_str(&format!("$ brickproof list {what}\n{}\n", text(&output.stdout)));
        let json = brickproof(folder().path(), &["list", what, "--json"]);
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        let ids: Vec<_> = text(&output.stdout).lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
        let listed: Vec<_> =
            json.as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids, listed);
    }
    insta::assert_snapshot!("lists", all);
}

#[test]
fn a_failed_case_says_everything_and_its_dump_boots() {
    let folder = folder();
    let command = uploader();
    let program = command.to_str().unwrap();
    let run = ["run", "rollback/crashes", "--air", "udp", "--", program, "{address}", "{image}", "--careless"];
    let output = brickproof(folder.path(), &run);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "failed rollback/crashes-before-confirming",
        "STA-08",
        "expected  When the old image runs after the reset, the update is reported as failed",
        "happened  the new image does not run, and it reports success: exit code 0",
        "evidence  brickproof-report/minimal-uploader/rollback.crashes-before-confirming",
        "repeat    brickproof run rollback/crashes-before-confirming --air udp --seed 1 -- ",
    ] {
        assert!(said.contains(part), "`{part}` is missing in:\n{said}");
    }
    let evidence = folder.path().join("brickproof-report/minimal-uploader/rollback.crashes-before-confirming");
    for file in ["trace.jsonl", "verdict.json", "installed.bin", "update.bin", "output.txt"] {
        assert!(evidence.join(file).is_file(), "{file}");
    }
    let dump = evidence.join("flash-after.bin");
    let boot = brickproof(folder.path(), &["boot", "--target", TARGET, "--flash", dump.to_str().unwrap()]);
    assert_eq!(boot.status.code(), Some(0));
    insta::assert_snapshot!("boot_after_revert", text(&boot.stdout));
}

#[test]
fn a_good_uploader_passes_without_a_profile() {
    let folder = folder();
    let command = uploader();
    let program = command.to_str().unwrap();
    let output = brickproof(
        folder.path(),
        &["run", "update", "rollback/crashes", "security", "--air", "udp", "--", program, "{address}", "{image}"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn the_builtin_initiator_does_the_same_over_udp() {
    let folder = folder();
    let output = brickproof(
        folder.path(),
        &["run", "rollback/never-confirmed", "update", "security", "battery", "--air", "udp"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn tools_that_hang_stay_silent_or_decline_are_told_apart() {
    let folder = folder();
    let run = |command: &[&str], timeout: &str| {
        let mut arguments = vec!["run", "update", "--air", "udp", "--timeout", timeout, "--"];
        arguments.extend(command);
        let output = brickproof(folder.path(), &arguments);
        (output.status.code(), text(&output.stdout))
    };
    let (code, said) = run(&["sh", "-c", "sleep 600 & sleep 600"], "2");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("initiator/hung"), "{said}");
    let (code, said) = run(&["true"], "60");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the initiator never sent a request"), "{said}");
    let (code, said) = run(&["sh", "-c", "exit 127"], "60");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("unsupported"), "{said}");
    assert!(said.contains("nothing was tested") && said.contains("a shell also exits with 127"), "{said}");
}

#[test]
fn boot_as_json_with_a_cut_and_a_hex_file() {
    let folder = folder();
    let report = brickproof(folder.path(), &["run", "rollback/never-confirmed", "--report", "report"]);
    assert_eq!(report.status.code(), Some(0));
    let dump = "report/builtin/rollback.never-confirmed/flash-before.bin";
    let output =
        brickproof(folder.path(), &["boot", "--target", TARGET, "--flash", dump, "--flash-out", "out.hex", "--json"]);
    let boot: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((boot["outcome"].as_str(), boot["swap_type"].as_str()), (Some("boot"), Some("none")));
    let again = brickproof(folder.path(), &["boot", "--target", TARGET, "--flash", "out.hex", "--json"]);
    let again: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(boot, again, "a HEX file holds the same flash");
    let cut_hex = std::fs::read_to_string(folder.path().join("out.hex")).unwrap().replace(":00000001FF", "");
    std::fs::write(folder.path().join("cut.hex"), cut_hex).unwrap();
    let output = brickproof(folder.path(), &["boot", "--target", TARGET, "--flash", "cut.hex"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("it is cut off"), "{}", text(&output.stderr));
    let empty = folder.path().join("empty.bin");
    std::fs::write(&empty, vec![0xff; 1 << 20]).unwrap();
    let output = brickproof(folder.path(), &["boot", "--target", TARGET, "--flash", "empty.bin", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let boot: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(boot["outcome"], "brick");
}

#[test]
fn images_are_signed_inspected_verified_and_broken() {
    let folder = folder();
    std::fs::write(folder.path().join("app.bin"), vec![7; 1000]).unwrap();
    let sign = brickproof(folder.path(), &["image", "sign", "app.bin", "app.signed.bin", "--version", "1.2.3+4"]);
    assert_eq!(sign.status.code(), Some(0));
    let verify = brickproof(folder.path(), &["image", "verify", "app.signed.bin"]);
    assert_eq!(verify.status.code(), Some(0));
    let inspect = brickproof(folder.path(), &["image", "inspect", "app.signed.bin"]);
    insta::assert_snapshot!("inspect", text(&inspect.stdout));
    brickproof(folder.path(), &["image", "sign", "app.bin", "bad.bin", "--version", "1.2.3", "--break", "signature"]);
    let verify = brickproof(folder.path(), &["image", "verify", "bad.bin"]);
    assert_eq!(
        (verify.status.code(), text(&verify.stdout).trim()),
        (Some(1), "bad.bin: not valid: the signature is not valid")
    );
}

/// A played target, ended when dropped.
struct Simulation {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    address: String,
    control: String,
}

impl Drop for Simulation {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Simulation {
    fn start(listen: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_brickproof"))
            .args(["simulate", "--target", TARGET, "--air", "udp", "--json", "--listen", listen])
            .stdout(Stdio::piped())
            .spawn()
            .expect("brickproof starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["event"], "ready");
        let address = format!("{}:{}", ready["address"].as_str().unwrap(), ready["port"]);
        let control = ready["control"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        Self { child, lines, address, control }
    }

    fn http(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        let mut stream = TcpStream::connect(&self.control).unwrap();
        let head = "Host: x\r\nConnection: close";
        write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let json = answer.split("\r\n\r\n").nth(1).unwrap();
        (status, serde_json::from_str(json).unwrap_or(serde_json::Value::Null))
    }
}

#[test]
fn a_played_target_is_usable_from_another_language() {
    let mut target = Simulation::start("127.0.0.1:0");
    assert_eq!(target.http("GET", "/wait?for=serving&timeout=20", "").0, 200);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    socket.connect(&target.address).unwrap();
    let echo = b"\x0a\x00\x00\x05\x00\x00\x07\x00\xa1\x61d\x61b";
    let mut answer = [0; 64];
    socket.send(echo).unwrap();
    let len = socket.recv(&mut answer).unwrap();
    // {"r": "b"} as an indefinite map.
    assert_eq!(answer[..len], *b"\x0b\x00\x00\x06\x00\x00\x07\x00\xbf\x61r\x61b\xff");

    let (_, state) = target.http("GET", "/state", "");
    assert_eq!((state["powered"].as_bool(), state["battery"].as_u64()), (Some(true), Some(100)));
    assert_eq!(state["slots"][0]["version"], "1.0.0");
    assert_eq!(state["state"], "confirmed");

    let since = state["records"].as_u64().unwrap();
    assert_eq!(target.http("POST", "/power", "{\"on\": false}").0, 200);
    let (_, off) = target.http("GET", "/state", "");
    assert_eq!(off["powered"], false);
    assert_eq!(target.http("POST", "/power", "{\"on\": true}").0, 200);
    let (status, boot) = target.http("GET", &format!("/wait?for=boot&timeout=20&since={since}"), "");
    assert_eq!((status, boot["cause"].as_str()), (200, Some("power-on")));
    assert_eq!(target.http("GET", "/wait?for=serving&timeout=20", "").0, 200);

    assert_eq!(target.http("POST", "/battery", "{\"percent\": 7}").0, 200);
    let fault = "{\"when\": {\"answer\": \"echo\"}, \"do\": \"double-answer\"}";
    assert_eq!(target.http("POST", "/fault", fault).0, 200);
    socket.send(echo).unwrap();
    assert_eq!(socket.recv(&mut answer).unwrap(), socket.recv(&mut answer).unwrap());
    assert_eq!(target.http("GET", "/state", "").1["battery"], 7);

    for (path, body) in
        [("/battery", "{\"percent\": 101}"), ("/power", "{}"), ("/fault", "{\"when\": {}, \"do\": \"reset\"}")]
    {
        let (status, answer) = target.http("POST", path, body);
        assert_eq!(status, 400, "{path}");
        assert!(answer["error"].as_str().is_some_and(|error| !error.is_empty()), "{path}");
    }
    assert_eq!(target.http("GET", "/wait?for=nonsense", "").0, 400);
    assert_eq!(target.http("GET", "/wait?for=dead&timeout=0", "").0, 408);
    let mut line = String::new();
    target.lines.read_line(&mut line).unwrap();
    let first: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((first["n"].as_u64(), first["kind"].as_str()), (Some(0), Some("run")));
}

/// A folder with the evidence of a run, and dumps made of it.
fn dumps() -> tempfile::TempDir {
    let folder = folder();
    let report = brickproof(folder.path(), &["run", "update/test-confirm", "--report", "report"]);
    assert_eq!(report.status.code(), Some(0), "{}", text(&report.stdout));
    let evidence = folder.path().join("report/builtin/update.test-confirm");
    let before = std::fs::read(evidence.join("flash-before.bin")).unwrap();
    let update = std::fs::read(evidence.join("update.bin")).unwrap();
    let magic = b"\x77\xc2\x95\xf3\x60\xd2\xef\x7f\x35\x52\x50\x0f\x2c\xb6\x79\x80";
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let mut pending = before.clone();
    pending[0x6c000..0x6c000 + update.len()].copy_from_slice(&update);
    pending[0xcbff0..0xcc000].copy_from_slice(magic);
    let mut bad_signature = pending.clone();
    bad_signature[0x6c000 + update.len() - 5] ^= 1;
    let mut brick = pending.clone();
    brick[0xc000..0xd000].fill(0xff);
    brick[0xcbff0..0xcc000].fill(0xff);
    write("fresh.bin", &before);
    write("pending.bin", &pending);
    write("bad-signature.bin", &bad_signature);
    write("brick.bin", &brick);
    write("empty.bin", &vec![0xff; 1 << 20]);
    folder
}

#[test]
fn boot_explains_every_state() {
    let folder = dumps();
    let boot = |arguments: &[&str]| {
        let output = brickproof(folder.path(), &[&["boot", "--target", TARGET], arguments].concat());
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    // An update in its test, and one that is being reverted.
    let (code, json, _) = boot(&["--flash", "pending.bin", "--flash-out", "testing.bin", "--json"]);
    let pending: serde_json::Value = serde_json::from_str(&json).unwrap();
    let operations = pending["operations"].as_u64().unwrap();
    assert_eq!((code, pending["explanation"]["next_boot"]["operations"].as_u64()), (Some(0), Some(operations)));
    let middle = (operations / 2).to_string();
    let torn = format!("{}:first-half", operations - 60);
    for (name, arguments, expected) in [
        ("fresh", &["--flash", "fresh.bin"][..], 0),
        ("pending", &["--flash", "pending.bin"], 0),
        ("moving", &["--flash", "pending.bin", "--cut", "100"], 0),
        ("exchanging", &["--flash", "pending.bin", "--cut", &middle], 0),
        ("torn", &["--flash", "pending.bin", "--cut", &torn], 0),
        ("torn_trailer", &["--flash", "pending.bin", "--cut", "3:first-half"], 0),
        ("testing", &["--flash", "testing.bin"], 0),
        ("reverting", &["--flash", "testing.bin", "--cut", "50"], 0),
        ("bad_signature", &["--flash", "bad-signature.bin"], 0),
        ("empty", &["--flash", "empty.bin"], 1),
        ("brick", &["--flash", "brick.bin"], 1),
    ] {
        let (code, said, errors) = boot(arguments);
        assert_eq!((code, errors.as_str()), (Some(expected), ""), "{name}: {said}");
        insta::assert_snapshot!(format!("explains_{name}"), said);
    }
    // The explanation of what a cut leaves is that of the dump it writes.
    let explanation = |arguments: &[&str]| {
        let (_, json, _) = boot(&[arguments, &["--json"]].concat());
        let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
        for key in ["outcome", "images", "swap_type", "operations", "flash_sha256"] {
            assert!(!answer[key].is_null(), "{key}");
        }
        answer["explanation"].clone()
    };
    let cut = explanation(&["--flash", "pending.bin", "--cut", &middle, "--flash-out", "cut.bin"]);
    assert_eq!(cut, explanation(&["--flash", "cut.bin"]));
    assert_eq!(cut["next_boot"]["outcome"], "boot");
    assert!(cut["images"][0]["swap"].as_str().is_some_and(|swap| swap.contains("24 are exchanged")), "{cut:#}");
}

/// A board whose secondary slot is on a second chip.
fn two_devices(folder: &Path) {
    let layout = r#"schema = 1
name = "two"
[[device]]
name = "internal"
sectors = [[32, 4096]]
program-unit = 4
[[device]]
name = "external"
sectors = [[32, 4096]]
program-unit = 4
base = 0x10000000
[[partition]]
name = "primary"
device = "internal"
offset = 0x4000
size = 0x10000
[[partition]]
name = "secondary"
device = "external"
offset = 0x1000
size = 0x10000
"#;
    let target = "schema = 1\nname = \"two\"\nabout = \"two chips\"\nlayout = \"two-layout.toml\"\n[bootloader]\nkind = \"mcuboot\"\nmode = \"swap-move\"\nkeys = [\"development\"]\n";
    std::fs::write(folder.join("two-layout.toml"), layout).unwrap();
    std::fs::write(folder.join("two.toml"), target).unwrap();
    std::fs::write(folder.join("payload.bin"), vec![7; 9000]).unwrap();
    for version in ["1.0.0", "2.0.0"] {
        let name = format!("{version}.bin");
        let sign = brickproof(folder, &["image", "sign", "payload.bin", &name, "--version", version]);
        assert_eq!(sign.status.code(), Some(0), "{}", text(&sign.stderr));
    }
    let dump = |name: &str, offset: usize, version: &str| {
        let mut bytes = vec![0xff; 0x20000];
        let image = std::fs::read(folder.join(format!("{version}.bin"))).unwrap();
        bytes[offset..offset + image.len()].copy_from_slice(&image);
        std::fs::write(folder.join(name), bytes).unwrap();
    };
    dump("a.bin", 0x4000, "1.0.0");
    dump("b.bin", 0x1000, "2.0.0");
}

#[test]
fn dumps_of_several_devices() {
    let folder = folder();
    two_devices(folder.path());
    let boot = |arguments: &[&str]| {
        let output = brickproof(folder.path(), &[&["boot", "--target", "two.toml"], arguments].concat());
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let hashes = |arguments: &[&str]| {
        let (code, json, errors) = boot(&[arguments, &["--json"]].concat());
        assert_eq!(code, Some(0), "{errors}");
        let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
        (answer["flash_sha256_by_device"].clone(), errors)
    };
    let (whole, said) = hashes(&["--flash", "internal=a.bin", "--flash", "external=b.bin", "--flash-out", "both.hex"]);
    assert_eq!(said, "");
    insta::assert_snapshot!("two_devices", boot(&["--flash", "internal=a.bin", "--flash", "external=b.bin"]).1);
    // One HEX file covers both; the bytes it leaves out are named.
    let (again, said) =
        hashes(&["--flash", "both.hex", "--flash-out", "internal=i.hex", "--flash-out", "external=e.bin"]);
    assert_eq!(whole, again);
    assert!(
        said.contains("of `external` are not in it and taken as erased: 3 gaps, the first 0x10000000..0x10001000"),
        "{said}"
    );
    assert_eq!(whole, hashes(&["--flash", "i.hex", "--flash", "external=e.bin"]).0);
    // One device alone.
    let (_, said) = hashes(&["--flash", "internal=a.bin"]);
    assert!(said.contains("there is no dump of `external`: it is taken as erased"), "{said}");
    let (_, said) = hashes(&["--flash", "internal=both.hex"]);
    assert!(said.contains("both.hex:") && said.contains("are outside `internal` 0x0..0x20000 and left out"), "{said}");

    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("long.bin", &vec![0xff; 0x20001]);
    write("short.bin", &vec![0; 0x1000]);
    write("none.bin", b"");
    write("disguised.bin", b":00000001FF\n");
    write("elsewhere.hex", b":020000042000DA\n:0400000001020304F2\n:00000001FF\n");
    write("twice.hex", b":0400000001020304F2\n:0400020001020304F0\n:00000001FF\n");
    write("other.hex", b":0440000001020304B2\n:00000001FF\n");
    write(
        "same-base.toml",
        std::fs::read_to_string(folder.path().join("two.toml"))
            .unwrap()
            .replace("two-layout", "same-layout")
            .as_bytes(),
    );
    let layout = std::fs::read_to_string(folder.path().join("two-layout.toml")).unwrap();
    write("same-layout.toml", layout.replace("base = 0x10000000\n", "").as_bytes());
    let mut all = String::new();
    for arguments in [
        &["two.toml", "--flash", "a.bin"][..],
        &["two.toml", "--flash", "flash=a.bin"],
        &["two.toml", "--flash", "internal=long.bin"],
        &["two.toml", "--flash", "internal=none.bin"],
        &["two.toml", "--flash", "internal=disguised.bin"],
        &["two.toml", "--flash", "elsewhere.hex"],
        &["two.toml", "--flash", "external=i.hex"],
        &["two.toml", "--flash", "twice.hex"],
        &["two.toml", "--flash", "internal=a.bin", "--flash", "other.hex"],
        &["two.toml", "--flash", "internal=a.bin", "--flash", "internal=short.bin"],
        &["two.toml", "--flash", "internal=a.bin", "--flash-out", "out.bin"],
        &["same-base.toml", "--flash", "both.hex"],
        &["same-base.toml", "--flash", "internal=a.bin", "--flash-out", "out.hex"],
    ] {
        let output = brickproof(folder.path(), &[&["boot", "--target"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stdout));
        let shown: Vec<_> = arguments.iter().copied().filter(|argument| !argument.ends_with(".toml")).collect();
        all.push_str(&format!("$ brickproof boot {}\n{}\n", shown.join(" "), text(&output.stderr)));
    }
    insta::assert_snapshot!("dump_mistakes", all);
}

#[test]
fn a_report_for_ci() {
    let folder = folder();
    let command = uploader();
    let program = command.to_str().unwrap();
    let output = brickproof(
        folder.path(),
        &[
            "run",
            "rollback/crashes",
            "update",
            "--air",
            "udp",
            "--report",
            "report",
            "--json",
            "--",
            program,
            "{address}",
            "{image}",
            "--careless",
        ],
    );
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let read = |name: &str| std::fs::read_to_string(folder.path().join("report").join(name)).unwrap();
    assert_eq!(read("results.json"), text(&output.stdout), "the same as --json");
    let xml = read("junit.xml");
    for part in [
        "<testsuites name=\"brickproof\" tests=\"",
        "<testsuite name=\"rollback\"",
        "<testcase name=\"rollback/crashes-before-confirming\" classname=\"brickproof.minimal-uploader.rollback\"",
        "<failure message=\"STA-08: the new image does not run, and it reports success: exit code 0\" type=\"failed\">",
        "expected  When the old image runs after the reset, the update is reported as failed",
        "repeat    brickproof run rollback/crashes-before-confirming --air udp --seed 1 -- ",
        "<property name=\"target\" value=\"nrf52840-mcuboot-swap-move\"/>",
    ] {
        assert!(xml.contains(part), "`{part}` is missing in:\n{xml}");
    }
    let summary = read("summary.md");
    for part in [
        "❌ brickproof: ",
        "#### ❌ <code>rollback/crashes-before-confirming</code>: failed",
        "  - happened: <code>the new image does not run, and it reports success&#58; exit code 0</code>",
        "```text\nbrickproof run rollback/crashes-before-confirming --air udp --seed 1 -- ",
        "| MUST | ❌ violated | in <code>rollback/crashes-before-confirming</code>",
    ] {
        assert!(summary.contains(part), "`{part}` is missing in:\n{summary}");
    }
}

#[test]
fn shards_share_a_run() {
    let folder = folder();
    let ids = |arguments: &[&str]| -> Vec<String> {
        let output = brickproof(folder.path(), &[&["run", "power-loss", "security", "--json"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let run: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(run["shard"].as_str(), arguments.get(1).copied());
        run["cases"].as_array().unwrap().iter().map(|case| case["scenario"].as_str().unwrap().to_owned()).collect()
    };
    let mut parts: Vec<String> = ["1/3", "2/3", "3/3"].iter().flat_map(|shard| ids(&["--shard", shard])).collect();
    let mut all = ids(&[]);
    parts.sort();
    all.sort();
    assert_eq!(parts, all);
    let empty = brickproof(folder.path(), &["run", "update/test-confirm", "--shard", "2/2", "--report", "empty"]);
    assert_eq!(empty.status.code(), Some(0));
    assert!(text(&empty.stdout).contains("builtin on in-process, part 2/2: nothing ran"), "{}", text(&empty.stdout));
    assert!(folder.path().join("empty/junit.xml").is_file());
    for (shard, said) in [("0/3", "counted from 1"), ("4/3", "the last is 3/3"), ("x", "expected K/N")] {
        let output = brickproof(folder.path(), &["run", "--shard", shard]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
}

#[test]
fn repeated_cases_have_seeds_of_their_own_and_show_when_they_are_flaky() {
    let folder = folder();
    let output = brickproof(
        folder.path(),
        &["run", "power-loss/mid-upload", "--repeat", "3", "--seed", "5", "--report", "report", "--json"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let run: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((run["repeat"].as_u64(), run["seed"].as_u64()), (Some(3), Some(5)));
    let runs: Vec<_> =
        run["cases"].as_array().unwrap().iter().map(|case| (case["run"].as_u64(), case["seed"].as_u64())).collect();
    assert_eq!(runs, [(Some(1), Some(5)), (Some(2), Some(6)), (Some(3), Some(7))]);
    assert!(run["cases"][2]["repeat"].as_str().unwrap().ends_with("--seed 7"));
    for number in 1..=3 {
        assert!(folder.path().join(format!("report/builtin/power-loss.mid-upload.run-{number}/trace.jsonl")).is_file());
    }
    // Fewer runs later: the evidence of the others is not left.
    brickproof(folder.path(), &["run", "power-loss/mid-upload", "--report", "report"]);
    assert!(!folder.path().join("report/builtin/power-loss.mid-upload.run-3").exists());

    // A tool that gives up every second time.
    let command = uploader();
    let script = format!("if mkdir once 2>/dev/null; then exec {} \"$1\" \"$2\"; else exit 1; fi", command.display());
    let output = brickproof(
        folder.path(),
        &[
            "run",
            "update/test-confirm",
            "--repeat",
            "2",
            "--jobs",
            "1",
            "--air",
            "udp",
            "--report",
            "flaky",
            "--",
            "sh",
            "-c",
            &script,
            "sh",
            "{address}",
            "{image}",
        ],
    );
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("[flaky: 1 of 2 runs failed, 1 of 2 runs passed; failed with seed 2]"), "{said}");
    assert!(said.contains("failed update/test-confirm (run 2, seed 2)"), "{said}");
    assert!(said.contains("on udp: 1 failed, 1 of them flaky, 2 runs"), "{said}");
    let xml = std::fs::read_to_string(folder.path().join("flaky/junit.xml")).unwrap();
    assert!(xml.contains("<property name=\"flaky\" value=\"true\"/>"), "{xml}");
    let results = std::fs::read_to_string(folder.path().join("flaky/results.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&results).unwrap();
    assert_eq!(results["flaky"], serde_json::json!(["update/test-confirm"]));
}

#[test]
fn doctor_says_what_works_here() {
    let output = Command::new(env!("CARGO_BIN_EXE_brickproof"))
        .arg("doctor")
        .env("PATH", "/nowhere")
        // No bluetoothd, whatever this machine has.
        .env(BUS, "unix:path=/nowhere")
        .output()
        .expect("brickproof starts");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    // What differs from one machine to the next is cut off.
    let lines: Vec<_> = text(&output.stdout)
        .lines()
        .map(|line| {
            line.split("; 127.0.0.1").next().unwrap_or_default().split(", like /dev").next().unwrap().to_owned()
        })
        .collect();
    insta::assert_snapshot!("doctor", lines.join("\n"));
}

#[test]
fn adapters_that_cannot_be_used_are_explained() {
    let folder = folder();
    let mut all = String::new();
    for (code, arguments) in [
        (2, &["run", "--air", "bluez", "--", "true"][..]),
        (2, &["run", "--air", "bluez:usb0", "--", "true"]),
        (2, &["run", "--air", "bluez:hci0"]),
        (2, &["run", "--air", "bluez:hci0", "--jobs", "2", "--", "true"]),
        (3, &["run", "--air", "bluez:hci0", "--", "true"]),
        (2, &["simulate", "--target", TARGET, "--air", "bluez:hci0", "--count", "2"]),
        (3, &["simulate", "--target", TARGET, "--air", "bluez:hci0"]),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_brickproof"))
            .args(arguments)
            .current_dir(folder.path())
            .env("NO_COLOR", "1")
            // No bluetoothd, whatever this machine has.
            .env(BUS, "unix:path=/nowhere")
            .output()
            .expect("brickproof starts");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        all.push_str(&format!("$ brickproof {}\n{}\n", arguments.join(" "), text(&output.stderr)));
    }
    insta::assert_snapshot!("adapters", all);
}
