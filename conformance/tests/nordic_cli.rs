//! Targets of Nordic's on the command line, as users see them.

mod binary;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use binary::{brickproof, folder, text};
use brickproof::library;
use brickproof::target::Target;
use brickproof_flash_model::boot::nordic_legacy::NordicLegacy;
use brickproof_flash_model::boot::nordic_legacy::init::{MODE_APPLICATION, MODE_SOFTDEVICE};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::mcuboot::SigningKey;
use brickproof_flash_model::image::nordic::builder::{application_binary, bootloader_binary};
use brickproof_flash_model::image::nordic::{InitPacketBuilder, LegacyInitPacket, Sabotage, SoftdeviceInfo};
use brickproof_flash_model::sweep::nordic::{Installed, Package, Update};
use brickproof_flash_model::sweep::nordic_legacy;
use brickproof_flash_model::sweep::{CutPlace, Machine, Path as Cuts, replay};
use serde_json::Value;

const TARGET: &str = "nrf52840-nordic-secure";

fn target() -> Target {
    library::target(TARGET).unwrap()
}

/// The flash that a power loss leaves before this operation of an update of 20 KiB, beside an application of 16 KiB.
fn left_before(operation: u64) -> Flash {
    let target = target();
    let (nordic, own) = (target.nordic().unwrap(), target.of_nordic().unwrap());
    let application = application_binary(2, 20 << 10);
    let key = SigningKey::from_pem(brickproof_scenarios::DEVELOPMENT_KEY).unwrap();
    let builder = InitPacketBuilder::application(&application).fw_version(2).hw_version(52).sd_req(&[0x100]);
    let init = builder.sign(&key).unwrap();
    let softdevice = own.softdevice().unwrap().binary();
    let (bootloader_version, bootloader) = own.installed_bootloader(0x6000);
    let installed = Installed {
        softdevice: &softdevice,
        application: &application_binary(1, 16 << 10),
        application_version: 1,
        bootloader: &bootloader,
        bootloader_version,
    };
    let package = Package { init: &init, image: &application };
    let update = Update::new(&nordic, target.layout.blank_flash(), &installed, package).unwrap();
    let replayed = replay(&update, &Cuts(vec![CutPlace::Before(operation)])).unwrap();
    replayed.runs[0].left.clone().unwrap()
}

fn dump(folder: &Path, name: &str, flash: &Flash) -> Vec<u8> {
    let bytes = flash.devices()[0].dump();
    std::fs::write(folder.join(name), &bytes).unwrap();
    bytes
}

/// Operations of the update: 4 for the init packet, 2 a page of the image, 4 for the acceptance; then the activation.
const ACCEPTED: u64 = 4;
const COMMIT: u64 = ACCEPTED + 2 * 5;
const ACTIVATION: u64 = COMMIT + 4;

fn dumps() -> tempfile::TempDir {
    let folder = folder();
    let at = |name: &str, operation: u64| dump(folder.path(), name, &left_before(operation));
    let fresh = at("fresh.bin", 0);
    at("accepted.bin", ACCEPTED);
    at("torn-settings.bin", COMMIT + 1);
    at("differ.bin", COMMIT + 2);
    at("pending.bin", ACTIVATION);
    at("copied.bin", ACTIVATION + 10);
    let write = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fresh.clone();
        change(&mut bytes);
        std::fs::write(folder.path().join(name), bytes).unwrap();
    };
    write("damaged.bin", &|bytes| bytes[0x26100] ^= 1);
    write("no-softdevice.bin", &|bytes| bytes[0x3000..0x3020].fill(0xff));
    write("no-bootloader.bin", &|bytes| bytes[0xf8000..0xf8040].fill(0xff));
    write("empty.bin", &|bytes| bytes.fill(0xff));
    folder
}

fn boot(folder: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let output = brickproof(folder, &[&["boot", "--target", TARGET], more].concat());
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn boot_explains_every_state() {
    let folder = dumps();
    let mut all = String::new();
    for (arguments, expected) in [
        (&["--flash", "fresh.bin"][..], 0),
        (&["--flash", "fresh.bin", "--gpregret", "0xb1"], 0),
        (&["--flash", "fresh.bin", "--button"], 0),
        (&["--flash", "accepted.bin"], 0),
        (&["--flash", "torn-settings.bin"], 0),
        (&["--flash", "differ.bin"], 0),
        (&["--flash", "pending.bin"], 0),
        (&["--flash", "pending.bin", "--cut", "3:first-half"], 0),
        (&["--flash", "copied.bin"], 0),
        (&["--flash", "damaged.bin"], 0),
        (&["--flash", "no-softdevice.bin"], 1),
        (&["--flash", "no-bootloader.bin"], 1),
        (&["--flash", "empty.bin"], 1),
    ] {
        let (code, said, errors) = boot(folder.path(), arguments);
        assert_eq!((code, errors.as_str()), (Some(expected), ""), "{arguments:?}: {said}");
        all += &format!("$ brickproof boot {}\n{said}\n", arguments.join(" "));
    }
    insta::assert_snapshot!("boot", all);
}

#[test]
fn boot_as_json() {
    let folder = dumps();
    let json = |more: &[&str]| -> Value {
        let (_, said, errors) = boot(folder.path(), &[more, &["--json"]].concat());
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {errors}"))
    };
    let outcome = |more: &[&str]| {
        let answer = json(more);
        for key in ["outcome", "images", "operations", "flash_sha256", "explanation"] {
            assert!(!answer[key].is_null(), "{key}");
        }
        assert!(answer["swap_type"].is_null());
        let word = |key: &str| answer[key].as_str().unwrap().to_owned();
        (word("outcome"), word("in_the_end"))
    };
    let both = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(outcome(&["--flash", "fresh.bin"]), both("boot", "boot"));
    assert_eq!(outcome(&["--flash", "fresh.bin", "--gpregret", "0xb1"]), both("dfu-mode", "dfu-mode"));
    assert_eq!(outcome(&["--flash", "fresh.bin", "--button"]), both("dfu-mode", "dfu-mode"));
    // Only an option of the build lets a pin reset enter DFU mode.
    assert_eq!(outcome(&["--flash", "fresh.bin", "--pin-reset"]), both("boot", "boot"));
    assert_eq!(outcome(&["--flash", "damaged.bin"]), both("dfu-mode", "dfu-mode"));
    // 0xa9 says that the application was whole a moment ago.
    assert_eq!(outcome(&["--flash", "damaged.bin", "--gpregret2", "0xa9"]), both("boot", "boot"));
    assert_eq!(outcome(&["--flash", "pending.bin"]), both("reset", "boot"));
    assert_eq!(outcome(&["--flash", "pending.bin", "--cut", "0"]), both("interrupted", "boot"));
    assert_eq!(outcome(&["--flash", "empty.bin"]), both("brick", "brick"));

    let pending = json(&["--flash", "pending.bin", "--ops", "ops.jsonl", "--flash-out", "out.hex"]);
    let bank = |answer: &Value, at: usize| answer["images"][at].clone();
    assert_eq!(bank(&pending, 1)["slot"], "bank-0");
    assert_eq!((&bank(&pending, 1)["version"], &bank(&pending, 1)["valid"]), (&"2".into(), &true.into()));
    let lines = std::fs::read_to_string(folder.path().join("ops.jsonl")).unwrap();
    assert_eq!(lines.lines().count() as u64, pending["operations"].as_u64().unwrap());
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["device"], &first["op"], &first["offset"]),
        (&"internal".into(), &"erase".into(), &0x26000.into())
    );
    // A HEX file holds the same flash, and there the new application starts.
    let after = json(&["--flash", "out.hex"]);
    assert_eq!((&after["outcome"], &after["started"]["version"]), (&"boot".into(), &"2".into()));
    assert_eq!(after["started"]["hash"], bank(&pending, 1)["hash"]);
    // What a cut leaves is explained as the dump that it writes.
    let cut = json(&["--flash", "pending.bin", "--cut", "6", "--flash-out", "cut.bin"]);
    assert_eq!(cut["explanation"], json(&["--flash", "cut.bin"])["explanation"]);
    // Before the boot the update waits.
    let waits = json(&["--flash", "pending.bin", "--cut", "0"]);
    assert_eq!((&bank(&waits, 2)["slot"], &bank(&waits, 2)["flags"][0]), (&"bank-1".into(), &"to-be-activated".into()));
}

/// Standard output, and standard error without the lines that tell how long a story took.
fn sweep(folder: &Path, more: &[&str]) -> (String, Option<i32>) {
    let sizes = ["--installed", "8 KiB", "--update", "12 KiB"];
    let output = brickproof(folder, &[&["sweep", "--target", TARGET], &sizes[..], more].concat());
    let errors = text(&output.stderr);
    let errors = errors.lines().filter(|line| !line.ends_with(" s")).map(|line| format!("{line}\n"));
    (text(&output.stdout) + &errors.collect::<String>(), output.status.code())
}

#[test]
fn a_sweep_tells_what_the_design_survives_and_what_not() {
    let folder = folder();
    let (told, code) = sweep(folder.path(), &[]);
    assert_eq!(code, Some(0), "{told}");
    let (single, code) = sweep(folder.path(), &["--single-bank"]);
    assert_eq!(code, Some(0), "{single}");
    let (path, code) = sweep(folder.path(), &["--single-bank", "--cuts", "id:5", "--strict"]);
    assert_eq!(code, Some(0), "{path}");
    insta::assert_snapshot!("sweep", format!("{told}\n{single}\n{path}"));
}

#[test]
fn each_kind_of_update_is_swept() {
    let folder = folder();
    let output =
        brickproof(folder.path(), &["sweep", "--target", TARGET, "--story", "all", "--installed", "8 KiB", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["bootloader"], &answer["mode"]), (&"nordic-secure".into(), &"dual-bank".into()));
    let stories = answer["stories"].as_array().unwrap();
    let names: Vec<_> = stories.iter().map(|story| story["story"].as_str().unwrap()).collect();
    assert_eq!(names, ["application", "softdevice", "bootloader", "softdevice-bootloader"]);
    for story in stories {
        assert_eq!((&story["complete"], &story["covered"]), (&true.into(), &"everything".into()), "{story:#}");
        assert!(story["strict"]["states"].as_u64() > Some(100));
        let known: Vec<_> =
            story["known"].as_array().unwrap().iter().map(|known| known["id"].as_str().unwrap()).collect();
        assert_eq!(known, ["no-trial", "answered-before-stored"]);
        // Each way replays from its line.
        for known in story["known"].as_array().unwrap() {
            let line = known["ways"][0]["replay"].as_str().unwrap();
            let words: Vec<&str> = line.split(' ').skip(1).collect();
            let output = brickproof(folder.path(), &words);
            let said = text(&output.stdout);
            assert!(said.contains(&format!("as is known: {}", known["id"].as_str().unwrap())), "{line}\n{said}");
            assert_eq!(output.status.code(), Some(0), "{line}");
        }
    }
}

#[test]
fn what_breaks_the_design_is_found() {
    let folder = folder();
    // A SoftDevice that grows over its own copy.
    let arguments =
        ["sweep", "--target", TARGET, "--story", "softdevice", "--single-bank", "--update", "160 KiB", "--json"];
    let output = brickproof(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let known = &answer["stories"][0]["known"][0];
    assert_eq!((known["id"].as_str(), known["by_design"].as_bool()), (Some("softdevice-over-its-source"), None));
    let line = known["ways"][0]["replay"].as_str().unwrap();
    assert!(!line.contains("--strict"), "{line}");
    let words: Vec<&str> = line.split(' ').skip(1).chain(["--flash-out", "broken.bin"]).collect();
    assert_eq!(brickproof(folder.path(), &words).status.code(), Some(0));
    let (code, said, _) = boot(folder.path(), &["--flash", "broken.bin"]);
    assert!(said.contains("SoftDevice"), "{code:?} {said}");
}

/// Firmware that is the same each time.
fn firmware(folder: &Path) {
    let write = |name: &str, version: u32, len: usize| {
        std::fs::write(folder.join(name), application_binary(version, len)).unwrap();
    };
    write("app.bin", 7, 20_000);
    write("sd.bin", 8, 30_000);
    write("bl.bin", 9, 10_000);
}

const APPLICATION: [&str; 6] = ["--application", "app.bin", "--application-version", "7", "--sd-req", "0x100,0x123"];

fn pack(folder: &Path, name: &str, more: &[&str]) {
    let output = brickproof(folder, &[&["image", "pack", name], more].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn packages_are_made_shown_and_verified() {
    let folder = folder();
    let path = folder.path();
    firmware(path);
    pack(path, "app.zip", &[&APPLICATION[..], &["--hw-version", "52"]].concat());
    let parts = ["--softdevice", "sd.bin", "--bootloader", "bl.bin", "--bootloader-version", "3", "--sd-id", "0x123"];
    let signed = ["--hw-version", "52", "--app-boot-validation", "VALIDATE_ECDSA_P256_SHA256"];
    pack(path, "all.zip", &[&APPLICATION[..], &parts, &signed].concat());
    pack(path, "unsigned.zip", &["--softdevice", "sd.bin", "--debug-mode", "--unsigned"]);
    pack(
        path,
        "legacy.zip",
        &[&APPLICATION[..], &["--legacy", "--dev-type", "0x52", "--dev-revision", "52840"]].concat(),
    );
    pack(path, "broken.zip", &[&APPLICATION[..], &["--hw-version", "52", "--break", "smaller-size"]].concat());
    let mut all = String::new();
    for name in ["app.zip", "all.zip", "unsigned.zip", "legacy.zip", "broken.zip"] {
        let inspect = brickproof(path, &["image", "inspect", name]);
        assert_eq!(inspect.status.code(), Some(0), "{}", text(&inspect.stderr));
        let verify = brickproof(path, &["image", "verify", name]);
        let good = !["unsigned.zip", "broken.zip"].contains(&name);
        assert_eq!(verify.status.code(), Some(i32::from(!good)), "{}", text(&verify.stdout));
        all += &format!("{}{}\n", text(&inspect.stdout), text(&verify.stdout));
    }
    // An init packet alone.
    let bytes = std::fs::read(path.join("app.zip")).unwrap();
    let package = brickproof_flash_model::image::nordic::Package::read("app.zip", &bytes).unwrap();
    std::fs::write(path.join("app.dat"), &package.images[0].init).unwrap();
    let inspect = brickproof(path, &["image", "inspect", "app.dat"]);
    let verify = brickproof(path, &["image", "verify", "app.dat"]);
    assert_eq!((inspect.status.code(), verify.status.code()), (Some(0), Some(0)));
    all += &format!("{}{}", text(&inspect.stdout), text(&verify.stdout));
    insta::assert_snapshot!("packages", all);

    let json = brickproof(path, &["image", "inspect", "--json", "app.zip", "app.dat"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let init = &json[0]["images"][0]["init"];
    assert_eq!((&json[0]["kind"], &json[0]["protocol"]), (&"dfu-package".into(), &"secure-dfu".into()));
    assert_eq!((&init["fw_version"], &init["hw_version"], &init["app_size"]), (&7.into(), &52.into(), &20_000.into()));
    assert_eq!((&init["type"], &init["hash"]["matches"]), (&"APPLICATION".into(), &true.into()));
    assert_eq!(init["sd_req"], serde_json::json!([0x100, 0x123]));
    assert_eq!((&json[1]["kind"], &json[1]["hash"]["value"]), (&"init-packet".into(), &init["hash"]["value"]));
}

#[test]
fn whatever_is_broken_is_not_valid() {
    let folder = folder();
    let path = folder.path();
    firmware(path);
    for sabotage in Sabotage::ALL {
        pack(path, "bad.zip", &[&APPLICATION[..], &["--hw-version", "52", "--break", sabotage.name()]].concat());
        let verify = brickproof(path, &["image", "verify", "bad.zip"]);
        let said = text(&verify.stdout);
        assert_eq!(verify.status.code(), Some(1), "{}: {said}", sabotage.name());
        assert!(said.starts_with("bad.zip: not valid: "), "{}: {said}", sabotage.name());
        assert_eq!(brickproof(path, &["image", "inspect", "bad.zip"]).status.code(), Some(0), "{}", sabotage.name());
    }
}

#[test]
fn a_package_is_swept_as_it_is() {
    let folder = folder();
    firmware(folder.path());
    pack(folder.path(), "app.zip", &[&APPLICATION[..], &["--hw-version", "52"]].concat());
    let arguments =
        ["sweep", "--target", TARGET, "--slot", "application=app.bin:6", "--slot", "package=app.zip", "--json"];
    let output = brickproof(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let image = answer["images"].as_array().unwrap().last().unwrap();
    assert_eq!((&image["role"], &image["version"], &image["size"]), (&"update".into(), &"7".into(), &20_000.into()));
    let replay = answer["stories"][0]["known"][0]["ways"][0]["replay"].as_str().unwrap();
    assert!(replay.contains("--story application --slot application=app.bin:6 --slot package=app.zip"), "{replay}");
}

#[test]
fn mistakes_are_explained_and_exit_with_2() {
    let folder = dumps();
    let path = folder.path();
    firmware(path);
    pack(path, "newer.zip", &[&APPLICATION[..], &["--hw-version", "52"]].concat());
    pack(path, "broken.zip", &[&APPLICATION[..], &["--hw-version", "52", "--break", "no-size"]].concat());
    std::fs::write(path.join("no.dat"), "no init packet").unwrap();
    std::fs::write(path.join("no.zip"), "no zip").unwrap();
    pack(path, "legacy.zip", &[&APPLICATION[..], &["--legacy"]].concat());
    dump(path, "legacy.bin", &legacy_left(LEGACY, MODE_APPLICATION, "uncut"));
    std::fs::write(path.join("key.pem"), brickproof_scenarios::DEVELOPMENT_KEY).unwrap();
    let mcuboot = "nrf52840-mcuboot-swap-move";
    let mut all = String::new();
    for arguments in [
        &["boot", "--target", mcuboot, "--flash", "fresh.bin", "--button"][..],
        &["boot", "--target", TARGET, "--flash", "fresh.bin", "--gpregret", "0x100"],
        &["boot", "--target", TARGET, "--flash", "pending.bin", "--cut", "999"],
        &["sweep", "--target", TARGET, "--story", "upload"],
        &["sweep", "--target", TARGET, "--flaw", "header-place"],
        &["sweep", "--target", TARGET, "--slot", "primary=app.bin"],
        &["sweep", "--target", TARGET, "--strict"],
        &["sweep", "--target", TARGET, "--slot", "package=broken.zip"],
        &["sweep", "--target", TARGET, "--slot", "package=newer.zip", "--story", "bootloader"],
        &["sweep", "--target", TARGET, "--slot", "application=app.bin:x"],
        &["sweep", "--target", TARGET, "--update", "2 MiB"],
        &["sweep", "--target", "nrf52840-nordic-secure-serial", "--story", "softdevice"],
        &["sweep", "--target", mcuboot, "--single-bank"],
        &["sweep", "--target", mcuboot, "--story", "bootloader"],
        &["sweep", "--target", mcuboot, "--slot", "package=newer.zip"],
        &["simulate", "--target", TARGET, "--slot", "primary=app.bin"],
        &["simulate", "--target", mcuboot, "--slot", "application=app.bin"],
        &["boot", "--target", LEGACY, "--flash", "legacy.bin", "--gpregret2", "0xa9"],
        &["boot", "--target", LEGACY, "--flash", "legacy.bin", "--key", "key.pem"],
        &["boot", "--target", LEGACY, "--flash", "legacy.bin", "--cut", "0"],
        &["sweep", "--target", LEGACY, "--key", "key.pem"],
        &["sweep", "--target", LEGACY, "--flaw", "header-place"],
        &["sweep", "--target", LEGACY, "--story", "upload"],
        &["sweep", "--target", LEGACY, "--strict"],
        &["sweep", "--target", LEGACY, "--update", "10001"],
        &["sweep", "--target", LEGACY, "--update", "256 KiB"],
        &["sweep", "--target", LEGACY, "--slot", "primary=app.bin"],
        &["sweep", "--target", LEGACY, "--slot", "application=app.bin:7"],
        &["sweep", "--target", LEGACY, "--slot", "package=newer.zip"],
        &["sweep", "--target", LEGACY, "--slot", "package=legacy.zip", "--story", "bootloader"],
        &["sweep", "--target", "nrf52840-adafruit", "--slot", "package=legacy.zip"],
        &["sweep", "--target", TARGET, "--slot", "package=legacy.zip"],
        &["image", "inspect", "no.dat"],
        &["image", "inspect", "no.zip"],
        &["image", "verify", "newer.zip", "--slot-size", "1"],
        &["image", "pack", "a.zip"],
        &["image", "pack", "a.bin", "--application", "app.bin"],
        &["image", "pack", "a.zip", "--application", "app.bin"],
        &["image", "pack", "a.zip", "--application", "app.bin", "--bootloader", "bl.bin"],
        &["image", "pack", "a.zip", "--bootloader", "bl.bin", "--hw-version", "52", "--sd-req", "0"],
        &["image", "pack", "a.zip", "--legacy", "--application", "app.bin", "--dev-type", "0x10000"],
    ] {
        let output = brickproof(path, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        all += &format!("$ brickproof {}\n{}\n", arguments.join(" "), text(&output.stderr));
    }
    insta::assert_snapshot!("mistakes", all);
}

#[test]
fn templates_work_as_they_are() {
    let folder = folder();
    let path = folder.path();
    let new = |what: &str, file: &str| {
        let output = brickproof(path, &["new", what, file, "--kind", "nordic-secure"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let said = new("target", "board.toml");
    assert!(said.contains("next: brickproof sweep --target board.toml"), "{said}");
    new("layout", "my-layout.toml");
    let target = std::fs::read_to_string(path.join("board.toml")).unwrap();
    let own_layout = target.replace("\nlayout = \"nrf52840-nordic-s140\"", "\nlayout = \"my-layout.toml\"");
    assert_ne!(target, own_layout);
    std::fs::write(path.join("own.toml"), own_layout).unwrap();
    for target in ["board.toml", "own.toml"] {
        let output = brickproof(path, &["sweep", "--target", target, "--cuts", "linear"]);
        assert_eq!(output.status.code(), Some(0), "{target}: {}", text(&output.stderr));
    }
    new("scenario", "mine.toml");
    let output = brickproof(path, &["run", "mine.toml", "--air", "in-process-ble"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let said = new("initiator", "tool.toml");
    assert!(said.contains("next: brickproof run nordic-update --initiator tool.toml"), "{said}");
}

#[test]
fn a_played_target_has_the_application_of_a_file() {
    let folder = folder();
    firmware(folder.path());
    pack(folder.path(), "app.zip", &[&APPLICATION[..], &["--hw-version", "52"]].concat());
    for (slot, version) in [("application=app.zip", "7"), ("application=app.bin:12", "12")] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_brickproof"))
            .args(["simulate", "--target", TARGET, "--json", "--slot", slot])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("brickproof starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let control = ready["control"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        let mut stream = TcpStream::connect(&control).unwrap();
        write!(stream, "GET /state HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let _ = child.kill();
        let _ = child.wait();
        let state: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!((&state["slots"][0]["slot"], &state["slots"][0]["version"]), (&"bank-0".into(), &version.into()));
        assert_eq!((&state["slots"][1]["slot"], &state["next_boot"]), (&"bank-1".into(), &"none".into()));
    }
}

const LEGACY: &str = "nrf52832-nordic-legacy";

/// The flash that the first power loss leaves that is called `cut`, in an update of 12 KiB beside an application of 8 KiB,
/// or of the SoftDevice; `uncut` is the flash before it.
fn legacy_left(target: &str, mode: u8, cut: &str) -> Flash {
    let target = library::target(target).unwrap();
    let own = target.of_nordic_legacy().unwrap();
    let legacy = NordicLegacy::new(&target.layout, *own.options(), None).unwrap();
    let info = own.softdevice().info;
    let softdevice = info.binary(own.softdevice().size as usize - 0x1000);
    let newer = SoftdeviceInfo { version: info.version + 1, ..info }.binary(softdevice.len());
    let image = if mode == MODE_SOFTDEVICE { newer } else { application_binary(2, 12 << 10) };
    let installed = nordic_legacy::Installed {
        softdevice: &softdevice,
        application: &application_binary(1, 8 << 10),
        checked: false,
        bootloader: &bootloader_binary(1, 0x4000),
    };
    let len = image.len() as u32;
    let sizes = if mode == MODE_SOFTDEVICE { [len, 0, 0] } else { [0, 0, len] };
    let (device_type, device_revision) = (own.options().device_type, own.options().device_revision);
    let packet = LegacyInitPacket { device_type, device_revision, ..LegacyInitPacket::new(&image) };
    let package = nordic_legacy::Package { mode, sizes, init: &packet.emit(), image: &image };
    let update = nordic_legacy::Update::new(&legacy, target.layout.blank_flash(), &installed, package).unwrap();
    if cut == "uncut" {
        return Machine::start(&update).flash.clone();
    }
    for operation in 0.. {
        let replayed = replay(&update, &Cuts(vec![CutPlace::Before(operation)])).unwrap();
        if replayed.runs[0].cut.unwrap().to_string() == cut {
            return replayed.runs[0].left.clone().unwrap();
        }
    }
    unreachable!("a path without that operation is refused");
}

fn legacy_dumps() -> tempfile::TempDir {
    let folder = folder();
    let at = |name: &str, mode: u8, cut: &str| dump(folder.path(), name, &legacy_left(LEGACY, mode, cut));
    let fresh = at("fresh.bin", MODE_APPLICATION, "uncut");
    at("erased.bin", MODE_APPLICATION, "before the program in bank 0, while the image is activated");
    at("settings-lost.bin", MODE_APPLICATION, "before the program in the settings page, while the image is activated");
    at("softdevice.bin", MODE_SOFTDEVICE, "before the erase in the SoftDevice, while the update is put into its place");
    let write = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fresh.clone();
        change(&mut bytes);
        std::fs::write(folder.path().join(name), bytes).unwrap();
    };
    // A CRC that a programmer has stored.
    write("damaged.bin", &|bytes| bytes[0x7f002..0x7f004].copy_from_slice(&0x1234_u16.to_le_bytes()));
    // Of settings that ask for the installation of a SoftDevice only the first word was written.
    write("torn-settings.bin", &|bytes| {
        bytes[0x7f000..0x7f01c].fill(0xff);
        bytes[0x7f000..0x7f004].copy_from_slice(&[0xa5, 0, 0, 0]);
    });
    write("no-softdevice.bin", &|bytes| bytes[0x3000..0x3020].fill(0xff));
    write("no-bootloader.bin", &|bytes| bytes[0x7a000..0x7a040].fill(0xff));
    let adafruit = |mode| legacy_left("nrf52840-adafruit", mode, "uncut");
    let mut bytes = dump(folder.path(), "adafruit.bin", &adafruit(MODE_APPLICATION));
    bytes[0xff000..].fill(0xff);
    std::fs::write(folder.path().join("adafruit-none.bin"), bytes).unwrap();
    folder
}

#[test]
fn boot_explains_legacy_dfu() {
    let folder = legacy_dumps();
    let mut all = String::new();
    let serial = "nrf52840-adafruit-serial";
    for (target, arguments, expected) in [
        (LEGACY, &["--flash", "fresh.bin"][..], 0),
        (LEGACY, &["--flash", "fresh.bin", "--gpregret", "0xb1"], 0),
        (LEGACY, &["--flash", "erased.bin"], 0),
        (LEGACY, &["--flash", "settings-lost.bin"], 0),
        (LEGACY, &["--flash", "softdevice.bin"], 0),
        (LEGACY, &["--flash", "softdevice.bin", "--cut", "3:first-half"], 0),
        (LEGACY, &["--flash", "damaged.bin"], 0),
        (LEGACY, &["--flash", "torn-settings.bin"], 1),
        (LEGACY, &["--flash", "no-softdevice.bin"], 1),
        (LEGACY, &["--flash", "no-bootloader.bin"], 1),
        (serial, &["--flash", "adafruit.bin", "--gpregret", "0xa8"], 0),
        (serial, &["--flash", "adafruit-none.bin"], 0),
    ] {
        let output = brickproof(folder.path(), &[&["boot", "--target", target], arguments].concat());
        let (said, errors) = (text(&output.stdout), text(&output.stderr));
        assert_eq!((output.status.code(), errors.as_str()), (Some(expected), ""), "{arguments:?}: {said}");
        all += &format!("$ brickproof boot --target {target} {}\n{said}\n", arguments.join(" "));
    }
    insta::assert_snapshot!("legacy_boot", all);
}

#[test]
fn boot_of_legacy_dfu_as_json() {
    let folder = legacy_dumps();
    let json = |more: &[&str]| -> Value {
        let output = brickproof(folder.path(), &[&["boot", "--target", LEGACY, "--json"], more].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
    };
    let ends = |more: &[&str], outcome: &str, in_the_end: &str| {
        let answer = json(more);
        assert_eq!((&answer["outcome"], &answer["in_the_end"]), (&outcome.into(), &in_the_end.into()), "{more:?}");
    };
    ends(&["--flash", "fresh.bin"], "boot", "boot");
    ends(&["--flash", "fresh.bin", "--button"], "dfu-mode", "dfu-mode");
    // What only Adafruit's bootloader knows.
    ends(&["--flash", "fresh.bin", "--gpregret", "0xa8"], "boot", "boot");
    ends(&["--flash", "settings-lost.bin"], "dfu-mode", "dfu-mode");
    ends(&["--flash", "softdevice.bin", "--cut", "0"], "interrupted", "dfu-mode");
    ends(&["--flash", "torn-settings.bin"], "brick", "brick");
    let installed = json(&["--flash", "softdevice.bin", "--flash-out", "out.hex", "--ops", "ops.jsonl"]);
    let images = installed["images"].as_array().unwrap();
    let slots: Vec<_> = images.iter().map(|image| image["slot"].as_str().unwrap()).collect();
    assert_eq!(slots, ["softdevice", "bank-0", "bank-1", "bootloader"]);
    assert_eq!((&images[0]["version"], &images[1]["valid"]), (&"2.0.2".into(), &false.into()));
    let lines = std::fs::read_to_string(folder.path().join("ops.jsonl")).unwrap();
    assert_eq!(lines.lines().count() as u64, installed["operations"].as_u64().unwrap());
    let after = json(&["--flash", "out.hex"]);
    assert_eq!((&after["operations"], &after["flash_sha256"]), (&0.into(), &installed["flash_sha256"]));
}

fn legacy_sweep(folder: &Path, target: &str, more: &[&str]) -> String {
    let sizes = ["--installed", "8 KiB", "--update", "12 KiB"];
    let output = brickproof(folder, &[&["sweep", "--target", target], &sizes[..], more].concat());
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{more:?} {errors}");
    text(&output.stdout)
}

#[test]
fn a_sweep_tells_what_legacy_dfu_survives_and_what_not() {
    let folder = folder();
    let path = folder.path();
    let told = legacy_sweep(path, LEGACY, &[]);
    let single = legacy_sweep(path, LEGACY, &["--single-bank"]);
    let adafruit = legacy_sweep(path, "nrf52840-adafruit-serial", &[]);
    let torn = told.split("torn-application-starts").nth(1).unwrap();
    let cuts = torn.split(' ').find(|word| word.starts_with("id:")).unwrap();
    let replayed = legacy_sweep(path, LEGACY, &["--strict", "--cuts", cuts]);
    insta::assert_snapshot!("legacy_sweep", format!("{told}\n{single}\n{adafruit}\n{replayed}"));
}

#[test]
fn each_kind_of_legacy_update_is_swept() {
    let folder = folder();
    let path = folder.path();
    for (target, mode) in [(LEGACY, "dual-bank"), ("nrf52840-adafruit", "single-bank")] {
        let arguments =
            ["sweep", "--target", target, "--story", "all", "--installed", "8 KiB", "--cuts", "linear", "--json"];
        let output = brickproof(path, &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["mode"], mode);
        let stories = answer["stories"].as_array().unwrap();
        let names: Vec<_> = stories.iter().map(|story| story["story"].as_str().unwrap()).collect();
        assert_eq!(names, ["application", "softdevice", "bootloader", "softdevice-bootloader"]);
        for story in stories {
            assert_eq!((&story["complete"], &story["covered"]["up-to"]), (&true.into(), &1.into()), "{story:#}");
            assert_eq!(story["violations"].as_array().unwrap().len(), 0);
            // Each way replays from its line.
            for known in story["known"].as_array().unwrap() {
                let line = known["ways"][0]["replay"].as_str().unwrap();
                let words: Vec<&str> = line.split(' ').skip(1).collect();
                let said = text(&brickproof(path, &words).stdout);
                assert!(said.contains(&format!("as is known: {}", known["id"].as_str().unwrap())), "{line}\n{said}");
            }
        }
    }
}

#[test]
fn a_legacy_package_is_swept() {
    let folder = folder();
    let path = folder.path();
    firmware(path);
    pack(path, "app.zip", &[&APPLICATION[..4], &["--legacy", "--sd-req", "0x81"]].concat());
    let arguments = ["sweep", "--target", LEGACY, "--slot", "package=app.zip", "--slot", "application=sd.bin"];
    let output = brickproof(path, &[&arguments[..], &["--cuts", "linear", "--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let update = answer["images"].as_array().unwrap().last().unwrap();
    assert_eq!((&update["version"], &update["size"]), (&"7".into(), &20_000.into()));
}
