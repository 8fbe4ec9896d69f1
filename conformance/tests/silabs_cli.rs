//! EFR32 targets and GBL files on the command line, as users see them.

mod binary;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use binary::{brickproof, folder, text};
use brickproof::library;
use brickproof::target::Target;
use brickproof_flash_model::boot::gecko::Gecko;
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::gbl::{FirmwareBuilder, GblBuilder, Sabotage, SabotageKeys, public_key_token_file};
use brickproof_flash_model::image::mcuboot::SigningKey;
use brickproof_flash_model::image::nordic::crc32;
use brickproof_flash_model::sweep::gecko::{Installed, Package, Update};
use brickproof_flash_model::sweep::{CutPlace, Path as Cuts, replay};
use serde_json::Value;

const APPLOADER: &str = "efr32mg22-apploader";
const STORAGE: &str = "efr32mg24-storage";
/// Where the application of the target with an AppLoader begins.
const START: u32 = 0x12000;

fn target(name: &str) -> Target {
    library::target(name).unwrap()
}

fn gecko(target: &Target) -> Gecko {
    target.of_silabs().unwrap().gecko(&target.layout).unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_pem(brickproof_scenarios::DEVELOPMENT_KEY).unwrap()
}

fn application(gecko: &Gecko, version: u32, size: usize) -> Vec<u8> {
    FirmwareBuilder::new(gecko.map().application_start()).version(version).size(size).build()
}

/// The flash that a power loss leaves before this operation of an update from version 1 to version 2.
fn left_before(name: &str, operation: u64) -> Flash {
    let target = target(name);
    let (own, gecko) = (target.of_silabs().unwrap(), gecko(&target));
    let new = application(&gecko, 2, 20 << 10);
    let file = GblBuilder::new().firmware(gecko.map().application_start(), &new).unsigned().unwrap();
    let installed = Installed {
        bootloader: &own.installed_bootloader(&gecko),
        application: &application(&gecko, 1, 16 << 10),
        slot: &[],
    };
    let package = Package { file: &file, bootloader: &[], application: &new, chunk: 244 };
    let update = Update::new(&gecko, target.layout.blank_flash(), &installed, package).unwrap();
    let replayed = replay(&update, &Cuts(vec![CutPlace::Before(operation)])).unwrap();
    replayed.runs[0].left.clone().unwrap()
}

fn put(folder: &Path, name: &str, flash: &Flash) -> Vec<u8> {
    let bytes = flash.devices()[0].dump();
    std::fs::write(folder.join(name), &bytes).unwrap();
    bytes
}

/// A device with this file in its slot.
fn with_slot(file: &[u8]) -> Flash {
    let target = target(STORAGE);
    let own = target.of_silabs().unwrap();
    own.factory_flash(&target.layout, &application(&gecko(&target), 1, 16 << 10), Some(file)).unwrap()
}

fn dumps() -> tempfile::TempDir {
    let folder = folder();
    let path = folder.path();
    let fresh = put(path, "fresh.bin", &left_before(APPLOADER, 0));
    put(path, "interrupted.bin", &left_before(APPLOADER, 50));
    let write = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fresh.clone();
        change(&mut bytes);
        std::fs::write(path.join(name), bytes).unwrap();
    };
    let start = START as usize;
    write("half-erased.bin", &|bytes| bytes[start + 0x100..start + 0x2000].fill(0xff));
    write("no-stack.bin", &|bytes| bytes[start..start + 4].fill(0xff));
    write("no-bootloader.bin", &|bytes| bytes[..0x2000].fill(0xff));
    write("empty.bin", &|bytes| bytes.fill(0xff));
    let storage = target(STORAGE);
    let gecko = gecko(&storage);
    let start = gecko.map().application_start();
    let builder = || GblBuilder::new().firmware(start, &application(&gecko, 2, 20 << 10));
    let file = builder().unsigned().unwrap();
    let waiting = put(path, "waiting.bin", &with_slot(&file));
    put(path, "half-a-file.bin", &with_slot(&file[..file.len() / 2 / 4 * 4]));
    let data = FirmwareBuilder::new(start).version(2).size(20 << 10).data();
    let packed = brickproof_flash_model::image::gbl::Compression::Lzma;
    let packed =
        GblBuilder::new().application(&data).compressed_program(packed, start, &application(&gecko, 2, 20 << 10));
    let corrupt = Sabotage::CorruptLzma.apply(&packed.unwrap().unsigned().unwrap(), SabotageKeys::default()).unwrap();
    put(path, "corrupt.bin", &with_slot(&corrupt));
    let bootloader = FirmwareBuilder::bootloader(gecko.map().main_stage(), 0x0206_0000).size(0x1ffc).build();
    let alone = GblBuilder::new().bootloader(0x0206_0000, gecko.map().main_stage(), &bootloader);
    put(path, "bootloader-alone.bin", &with_slot(&alone.unsigned().unwrap()));
    let both = builder().bootloader(0x0206_0000, gecko.map().main_stage(), &bootloader);
    put(path, "both.bin", &with_slot(&both.unsigned().unwrap()));
    // In the middle of an installation, and without anything to install.
    let counter = start as usize - 0x0800_0000 + 4;
    let mut bytes = waiting;
    bytes[counter..counter + 4].fill(0xff);
    std::fs::write(path.join("installing.bin"), &bytes).unwrap();
    bytes[0xc0000..0xc0010].fill(0xff);
    std::fs::write(path.join("nothing-to-install.bin"), &bytes).unwrap();
    folder
}

fn boot(folder: &Path, target: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let output = brickproof(folder, &[&["boot", "--target", target], more].concat());
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn boot_explains_every_state() {
    let folder = dumps();
    let mut all = String::new();
    for (target, arguments, expected) in [
        (APPLOADER, &["--flash", "fresh.bin"][..], 0),
        (APPLOADER, &["--flash", "fresh.bin", "--reset-reason", "bootload"], 0),
        (APPLOADER, &["--flash", "fresh.bin", "--button"], 0),
        (APPLOADER, &["--flash", "interrupted.bin"], 0),
        (APPLOADER, &["--flash", "half-erased.bin"], 0),
        (APPLOADER, &["--flash", "no-stack.bin"], 0),
        (APPLOADER, &["--flash", "no-bootloader.bin"], 1),
        (APPLOADER, &["--flash", "empty.bin"], 1),
        (STORAGE, &["--flash", "waiting.bin"], 0),
        (STORAGE, &["--flash", "waiting.bin", "--reset-reason", "0x0202"], 0),
        (STORAGE, &["--flash", "installing.bin"], 0),
        (STORAGE, &["--flash", "installing.bin", "--cut", "3:first-half"], 0),
        (STORAGE, &["--flash", "half-a-file.bin"], 0),
        (STORAGE, &["--flash", "nothing-to-install.bin"], 1),
        (STORAGE, &["--flash", "corrupt.bin"], 0),
        (STORAGE, &["--flash", "corrupt.bin", "--reset-reason", "bootload"], 1),
        (STORAGE, &["--flash", "bootloader-alone.bin"], 0),
        (STORAGE, &["--flash", "both.bin", "--reset-reason", "bootload"], 0),
    ] {
        let (code, said, errors) = boot(folder.path(), target, arguments);
        assert_eq!((code, errors.as_str()), (Some(expected), ""), "{arguments:?}: {said}");
        all += &format!("$ brickproof boot --target {target} {}\n{said}\n", arguments.join(" "));
    }
    insta::assert_snapshot!("boot", all);
}

#[test]
fn boot_as_json() {
    let folder = dumps();
    let json = |target: &str, more: &[&str]| -> Value {
        let (_, said, errors) = boot(folder.path(), target, &[more, &["--json"]].concat());
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {errors}"))
    };
    let outcome = |target: &str, more: &[&str]| {
        let answer = json(target, more);
        for key in ["outcome", "images", "operations", "flash_sha256", "explanation"] {
            assert!(!answer[key].is_null(), "{key}");
        }
        [&answer["outcome"], &answer["in_the_end"]].map(|word| word.as_str().unwrap().to_owned())
    };
    assert_eq!(outcome(APPLOADER, &["--flash", "fresh.bin"]), ["boot", "boot"]);
    assert_eq!(outcome(APPLOADER, &["--flash", "fresh.bin", "--reset-reason", "FORCE"]), ["dfu-mode", "dfu-mode"]);
    // A reason that asks for nothing.
    assert_eq!(outcome(APPLOADER, &["--flash", "fresh.bin", "--reset-reason", "go"]), ["boot", "boot"]);
    assert_eq!(outcome(APPLOADER, &["--flash", "interrupted.bin"]), ["dfu-mode", "dfu-mode"]);
    assert_eq!(outcome(STORAGE, &["--flash", "installing.bin"]), ["reset", "boot"]);
    assert_eq!(outcome(STORAGE, &["--flash", "installing.bin", "--cut", "0"]), ["interrupted", "boot"]);
    assert_eq!(outcome(STORAGE, &["--flash", "nothing-to-install.bin"]), ["reset", "brick"]);

    let installing = json(
        STORAGE,
        &["--flash", "installing.bin", "--ops", "ops.jsonl", "--flash-out", "out.s37", "--flash-out", "out.hex"],
    );
    let application = &installing["images"][1];
    assert_eq!((&application["slot"], &application["version"]), (&"application".into(), &"2".into()));
    let lines = std::fs::read_to_string(folder.path().join("ops.jsonl")).unwrap();
    assert_eq!(lines.lines().count() as u64, installing["operations"].as_u64().unwrap());
    // Files with addresses hold the same flash, and there the new application starts.
    for file in ["out.s37", "out.hex"] {
        let after = json(STORAGE, &["--flash", file]);
        assert_eq!((&after["outcome"], &after["started"]["version"]), (&"boot".into(), &"2".into()), "{file}");
        assert_eq!(after["started"]["hash"], application["hash"]);
        assert_eq!(after["flash_sha256"], installing["flash_sha256"]);
    }
    // What a cut leaves is explained as the dump that it writes.
    let cut = json(STORAGE, &["--flash", "installing.bin", "--cut", "6", "--flash-out", "cut.bin"]);
    assert_eq!(cut["explanation"], json(STORAGE, &["--flash", "cut.bin"])["explanation"]);
}

/// Standard output, and standard error without the lines that tell how long a story took.
fn sweep(folder: &Path, target: &str, more: &[&str]) -> (String, Option<i32>) {
    let output = brickproof(folder, &[&["sweep", "--target", target], more].concat());
    let errors = text(&output.stderr);
    let errors = errors.lines().filter(|line| !line.ends_with(" s")).map(|line| format!("{line}\n"));
    (text(&output.stdout) + &errors.collect::<String>(), output.status.code())
}

#[test]
fn a_sweep_tells_what_the_design_survives_and_what_not() {
    let folder = folder();
    let sizes = ["--installed", "8 KiB", "--update", "12 KiB"];
    let mut all = String::new();
    for (target, more) in [
        (APPLOADER, &sizes[..]),
        (STORAGE, &sizes[..]),
        (APPLOADER, &["--cuts", "id:40", "--strict"]),
        (STORAGE, &["--story", "bootloader", "--cuts", "id:uncut"]),
    ] {
        let (told, code) = sweep(folder.path(), target, more);
        assert_eq!(code, Some(0), "{told}");
        all += &format!("$ brickproof sweep --target {target} {}\n{told}\n", more.join(" "));
    }
    insta::assert_snapshot!("sweep", all);
}

#[test]
fn each_kind_of_update_is_swept() {
    let folder = folder();
    for (target, bootloader, mode) in [(APPLOADER, "gecko-apploader", "in-place"), (STORAGE, "gecko-storage", "slot")] {
        let arguments = ["sweep", "--target", target, "--story", "all", "--svg", "sweep.svg", "--json"];
        let sizes = ["--installed", "5 KiB", "--update", "10 KiB"];
        let output = brickproof(folder.path(), &[&arguments[..], &sizes].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&answer["bootloader"], &answer["mode"]), (&bootloader.into(), &mode.into()));
        let stories = answer["stories"].as_array().unwrap();
        let names: Vec<_> = stories.iter().map(|story| story["story"].as_str().unwrap()).collect();
        assert_eq!(names, ["application", "bootloader", "bootloader-application"]);
        for story in stories {
            assert_eq!((&story["complete"], &story["covered"]), (&true.into(), &"everything".into()), "{story:#}");
            assert!(!story["known"].as_array().unwrap().is_empty());
            // Each way replays from its line.
            for known in story["known"].as_array().unwrap() {
                let line = known["ways"][0]["replay"].as_str().unwrap();
                let words: Vec<String> = shell_words(line);
                let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
                let output = brickproof(folder.path(), &words);
                let said = text(&output.stdout);
                assert!(said.contains(&format!("as is known: {}", known["id"].as_str().unwrap())), "{line}\n{said}");
                assert_eq!(output.status.code(), Some(0), "{line}");
            }
        }
        let picture = std::fs::read_to_string(folder.path().join("sweep.svg")).unwrap();
        assert!(picture.contains("the new application runs"), "{picture}");
    }
}

fn shell_words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Firmware that is the same each time: an application and a bootloader, in each kind of file.
fn firmware(folder: &Path) {
    let image = FirmwareBuilder::new(START).version(7).product_id([0xab; 16]).size(12_000).build();
    std::fs::write(folder.join("app.bin"), &image).unwrap();
    let bootloader = FirmwareBuilder::bootloader(0, 0x0206_0001).size(0x1000).build();
    std::fs::write(folder.join("bl.bin"), &bootloader).unwrap();
    // As the tools leave it.
    let whole = [bootloader.as_slice(), &crc32(&bootloader, 0).to_le_bytes()].concat();
    std::fs::write(folder.join("bl-crc.bin"), whole).unwrap();
    std::fs::write(folder.join("key.txt"), "TOKEN_MFG_SECURE_BOOTLOADER_KEY: 000102030405060708090A0B0C0D0E0F\n")
        .unwrap();
    std::fs::write(folder.join("sign.txt"), public_key_token_file(key().public()).unwrap()).unwrap();
    std::fs::write(folder.join("production.pem"), brickproof_scenarios::PRODUCTION_KEY).unwrap();
}

fn gbl(folder: &Path, name: &str, more: &[&str]) {
    let output = brickproof(folder, &[&["image", "gbl", name], more].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn files_are_made_shown_and_verified() {
    let folder = folder();
    let path = folder.path();
    firmware(path);
    let sign = ["--sign", "development"];
    gbl(path, "plain.gbl", &["--app", "app.bin"]);
    gbl(path, "signed.gbl", &[&["--app", "app.bin", "--compress", "lzma"][..], &sign].concat());
    gbl(
        path,
        "all.gbl",
        &[
            &["--app", "app.bin", "--compress", "lz4", "--bootloader", "bl.bin", "--encrypt", "key.txt"][..],
            &["--dependency", "application >= 2", "--dependency", "bootloader > 2.4.0", "--metadata", "key.txt"],
            &sign,
        ]
        .concat(),
    );
    gbl(
        path,
        "certified.gbl",
        &[
            "--app",
            "app.bin",
            "--sign",
            "production.pem",
            "--certificate-key",
            "development",
            "--certificate-version",
            "3",
        ],
    );
    gbl(path, "broken.gbl", &[&["--from", "signed.gbl", "--break", "signature"][..], &sign].concat());
    gbl(path, "cut.gbl", &["--from", "plain.gbl", "--break", "truncated"]);
    let mut all = String::new();
    for (name, with, good) in [
        ("plain.gbl", &[][..], true),
        ("signed.gbl", &[], true),
        ("all.gbl", &[], true),
        ("all.gbl", &["--encryption-key", "key.txt"], true),
        ("certified.gbl", &[], true),
        ("broken.gbl", &[], false),
        ("cut.gbl", &[], false),
    ] {
        let inspect = brickproof(path, &[&["image", "inspect", name], with].concat());
        assert_eq!(inspect.status.code(), Some(0), "{}", text(&inspect.stderr));
        let verify = brickproof(path, &[&["image", "verify", name], with].concat());
        assert_eq!(verify.status.code(), Some(i32::from(!good)), "{}", text(&verify.stdout));
        all += &format!("$ brickproof image inspect {name} {}\n", with.join(" "));
        all += &format!("{}{}\n", text(&inspect.stdout), text(&verify.stdout));
    }
    insta::assert_snapshot!("files", all);

    // The same from each kind of file: the bootloader with its CRC-32 or without, the application with its addresses.
    gbl(path, "one.gbl", &["--bootloader", "bl.bin"]);
    gbl(path, "other.gbl", &["--bootloader", "bl-crc.bin"]);
    let read = |name: &str| std::fs::read(path.join(name)).unwrap();
    assert_eq!(read("one.gbl"), read("other.gbl"));

    let json = brickproof(path, &["image", "inspect", "--json", "--encryption-key", "key.txt", "all.gbl"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let file = &json[0];
    assert_eq!(
        (&file["kind"], &file["version"], &file["signed"], &file["encrypted"]),
        (&"gbl".into(), &3.into(), &true.into(), &true.into())
    );
    assert_eq!(
        (&file["application"]["version"], &file["application"]["product_id"]),
        (&7.into(), &"ab".repeat(16).into())
    );
    assert_eq!(file["dependencies"], serde_json::json!(["application >= 2", "bootloader > 2.4.0"]));
    let tags = file["tags"].as_array().unwrap();
    let program = tags.iter().find(|tag| tag["tag"] == "program-lz4").unwrap();
    assert_eq!(
        (&program["address"], &program["size"], &program["inside"]),
        (&START.into(), &12_000.into(), &true.into())
    );
}

#[test]
fn whatever_is_broken_is_not_valid() {
    let folder = folder();
    let path = folder.path();
    firmware(path);
    // What only some files have.
    let certified = ["--sign", "production.pem", "--certificate-key", "development"];
    let mut said_so = String::new();
    for sabotage in Sabotage::ALL {
        let name = sabotage.name();
        let encrypted = matches!(sabotage, Sabotage::EncryptionKey | Sabotage::SplitTags);
        let more: &[&str] = match sabotage {
            Sabotage::Certificate => &certified,
            _ if encrypted => &["--sign", "development", "--encrypt", "key.txt"],
            _ => &["--sign", "development"],
        };
        gbl(path, "bad.gbl", &[&["--app", "app.bin", "--break", name], more].concat());
        // The device asks for signatures.
        std::fs::write(path.join("strict.toml"), strict_target()).unwrap();
        let keys: &[&str] = if encrypted { &["--encryption-key", "key.txt"] } else { &[] };
        let verify = brickproof(path, &[&["image", "verify", "--target", "strict.toml", "bad.gbl"], keys].concat());
        let said = text(&verify.stdout);
        let inspect = brickproof(path, &["image", "inspect", "bad.gbl"]);
        assert_eq!(inspect.status.code(), Some(0), "{name}: {}", text(&inspect.stderr));
        // What depends on the application that runs, which is not known.
        let depends = matches!(sabotage, Sabotage::Downgrade | Sabotage::ProductId);
        let expected = if depends { 0 } else { 1 };
        assert_eq!(verify.status.code(), Some(expected), "{name}: {said}{}", text(&verify.stderr));
        let first = said.lines().next().unwrap_or_default();
        said_so += &format!("{name}\n  {first}\n");
    }
    insta::assert_snapshot!("broken", said_so);
}

/// A target that asks for all that it can.
fn strict_target() -> String {
    "schema = 1\nname = \"strict\"\nabout = \"x\"\nlayout = \"efr32xg22-apploader\"\n[bootloader]\n\
     kind = \"gecko-apploader\"\nsigned = true\nlz4 = true\nlzma = true\nversion-dependency = true\n"
        .to_owned()
}

#[test]
fn a_target_has_its_own_rules() {
    let folder = folder();
    let path = folder.path();
    firmware(path);
    gbl(path, "app.gbl", &["--app", "app.bin", "--compress", "lzma"]);
    let verify = |more: &[&str]| {
        let output = brickproof(path, &[&["image", "verify", "app.gbl"], more].concat());
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let mut all = String::new();
    let secure = strict_target() + "secure-boot = true\n";
    std::fs::write(path.join("strict.toml"), strict_target()).unwrap();
    std::fs::write(path.join("secure.toml"), secure.replace("signed = true", "signed = false")).unwrap();
    for (more, expected) in [
        (&[][..], 0),
        (&["--target", APPLOADER], 0),
        (&["--target", STORAGE], 1),
        (&["--target", "strict.toml"], 1),
        (&["--target", "secure.toml"], 1),
        (&["--slot-size", "4096"], 1),
        (&["--target", "nrf52840-nordic-secure"], 2),
        (&["--encryption-key", "sign.txt"], 2),
    ] {
        let (code, said) = verify(more);
        assert_eq!(code, Some(expected), "{more:?}: {said}");
        all += &format!("$ brickproof image verify app.gbl {}\n{said}\n", more.join(" "));
    }
    gbl(path, "app.gbl", &["--app", "app.bin", "--sign", "production.pem"]);
    for (more, expected) in [
        (&["--target", APPLOADER][..], 1),
        (&["--key", "production.pem"], 0),
        (&["--key", "sign.txt"], 1),
        (&["--key", "sign.txt", "--key", "production.pem"], 0),
    ] {
        let (code, said) = verify(more);
        assert_eq!(code, Some(expected), "{more:?}: {said}");
        all += &format!("$ brickproof image verify signed-by-production.gbl {}\n{said}\n", more.join(" "));
    }
    insta::assert_snapshot!("rules", all);
}

#[test]
fn a_file_is_swept_as_it_is() {
    let folder = folder();
    let path = folder.path();
    firmware(path);
    gbl(path, "app.gbl", &["--app", "app.bin", "--compress", "lzma", "--app-version", "8"]);
    let slots = ["--slot", "application=app.bin", "--slot", "package=app.gbl"];
    let output =
        brickproof(path, &[&["sweep", "--target", APPLOADER, "--cuts", "linear", "--json"][..], &slots].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let update = answer["images"].as_array().unwrap().last().unwrap();
    assert_eq!((&update["role"], &update["holds"]), (&"update".into(), &"file with an application".into()));
    let replay = answer["stories"][0]["known"][0]["ways"][0]["replay"].as_str().unwrap();
    assert!(replay.contains("--story application --slot application=app.bin --slot package=app.gbl"), "{replay}");
    // What is compressed and wrong is found when the application is gone.
    gbl(path, "bad.gbl", &["--app", "app.bin", "--break", "corrupt-lzma"]);
    let output =
        brickproof(path, &["sweep", "--target", APPLOADER, "--cuts", "none", "--slot", "package=bad.gbl", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["stories"][0]["known"][0]["id"], "corrupt-data-refused");
}

#[test]
fn mistakes_are_explained() {
    let folder = folder();
    let path = folder.path();
    firmware(path);
    gbl(path, "app.gbl", &["--app", "app.bin"]);
    std::fs::write(path.join("v4.gbl"), [0xeb, 0x17, 0xa6, 0x84, 0, 0, 0, 0]).unwrap();
    std::fs::write(path.join("noise.bin"), [0x11; 4000]).unwrap();
    std::fs::write(path.join("noise.gbl"), [0x11; 4000]).unwrap();
    std::fs::write(path.join("half.s37"), "S3090801200001020304CB\n").unwrap();
    std::fs::write(path.join("flash.bin"), [0xff; 4000]).unwrap();
    let mut all = String::new();
    for arguments in [
        &["image", "inspect", "v4.gbl"][..],
        &["image", "inspect", "noise.gbl"],
        &["image", "gbl", "out.gbl"],
        &["image", "gbl", "out.bin", "--app", "app.bin"],
        &["image", "gbl", "out.gbl", "--app", "noise.bin"],
        &["image", "gbl", "out.gbl", "--app", "noise.bin", "--address", "0xffffff00"],
        &["image", "gbl", "out.gbl", "--app", "noise.bin", "--address", "0x8001"],
        &["image", "gbl", "out.gbl", "--app", "app.bin", "--sign", "key.txt"],
        &["image", "gbl", "out.gbl", "--from", "key.txt", "--break", "crc"],
        &["image", "gbl", "out.gbl", "--app", "half.s37"],
        &["image", "gbl", "out.gbl", "--app", "app.gbl"],
        &["image", "gbl", "out.gbl", "--app", "app.bin", "--product-id", "12"],
        &["image", "gbl", "out.gbl", "--app", "app.bin", "--dependency", "app > 1"],
        &["image", "gbl", "out.gbl", "--app", "app.bin", "--break", "nothing"],
        &["image", "gbl", "out.gbl", "--app", "app.bin", "--break", "signature"],
        &["image", "gbl", "out.gbl", "--from", "app.gbl"],
        &["image", "gbl", "out.gbl", "--bootloader", "noise.bin"],
        &["image", "verify", "app.bin", "--encryption-key", "key.txt"],
        &["image", "verify", "app.gbl", "--key", "key.txt"],
        &["boot", "--target", APPLOADER, "--flash", "app.gbl"],
        &["boot", "--target", APPLOADER, "--flash", "flash.bin", "--gpregret", "0xb1"],
        &["boot", "--target", APPLOADER, "--flash", "flash.bin", "--reset-reason", "sleep"],
        &["boot", "--target", "nrf52840-nordic-secure", "--flash", "flash.bin", "--reset-reason", "bootload"],
        &["boot", "--target", "nrf52840-mcuboot-swap-move", "--flash", "flash.bin", "--reset-reason", "bootload"],
        &["sweep", "--target", APPLOADER, "--single-bank"],
        &["sweep", "--target", APPLOADER, "--story", "softdevice"],
        &["sweep", "--target", APPLOADER, "--slot", "primary=app.bin"],
        &["sweep", "--target", APPLOADER, "--slot", "application=app.bin:3"],
        &["sweep", "--target", APPLOADER, "--slot", "package=app.bin"],
        &["sweep", "--target", STORAGE, "--slot", "package=app.gbl"],
        &["sweep", "--target", STORAGE, "--update", "800 KiB"],
        &["sweep", "--target", STORAGE, "--installed", "4 KiB"],
        &["sweep", "--target", APPLOADER, "--story", "bootloader", "--slot", "package=app.gbl"],
        &["sweep", "--target", APPLOADER, "--slot", "application=noise.bin"],
        &["simulate", "--target", STORAGE, "--air", "udp"],
        &["simulate", "--target", STORAGE, "--air", "serial"],
        &["simulate", "--target", "nrf52840-nordic-secure-serial"],
        &["run", "silabs-update/in-place", "--image", "installed=noise.bin"],
        &["run", "silabs-update/slot-downgrade", "--image", "update=app.gbl"],
        &["simulate", "--target", STORAGE, "--slot", "application=app.bin"],
        &["simulate", "--target", APPLOADER, "--slot", "slot-0=app.gbl"],
        &["simulate", "--target", APPLOADER, "--slot", "primary=app.bin"],
        &["simulate", "--target", APPLOADER, "--slot", "application=app.bin:3"],
        &["simulate", "--target", "nrf52840-mcuboot-swap-move", "--slot", "slot-0=app.gbl"],
        &["simulate", "--target", "nrf52840-nordic-secure", "--slot", "slot-0=app.gbl"],
    ] {
        let output = brickproof(path, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stdout));
        all += &format!("$ brickproof {}\n{}", arguments.join(" "), text(&output.stderr));
    }
    gbl(path, "secret.gbl", &["--app", "app.bin", "--encrypt", "key.txt"]);
    std::fs::write(path.join("empty.bin"), []).unwrap();
    std::fs::write(path.join("six.bin"), [0; 6]).unwrap();
    for arguments in [
        &["image", "verify", "v4.gbl"][..],
        &["image", "verify", "secret.gbl", "--target", APPLOADER],
        &["image", "verify", "empty.bin", "six.bin"],
    ] {
        let verify = brickproof(path, arguments);
        assert_eq!(verify.status.code(), Some(1));
        all += &format!("$ brickproof {}\n{}", arguments.join(" "), text(&verify.stdout));
    }
    for (scenario, file) in [("signed", "app.gbl"), ("lzma", "app.gbl"), ("slot-lzma", "app.gbl")] {
        let (scenario, file) = (format!("silabs-update/{scenario}"), format!("update={file}"));
        let run = brickproof(path, &["run", &scenario, "--target", APPLOADER, "--image", &file, "--report", "report"]);
        let because = text(&run.stdout).lines().find(|line| line.contains("because")).unwrap_or_default().to_owned();
        all += &format!("$ brickproof run {scenario} --target {APPLOADER} --image {file}\n{because}\n");
    }
    let new = brickproof(path, &["new", "target", "a b.toml", "--kind", "gecko-storage"]);
    assert_eq!(text(&new.stdout), "a b.toml\nnext: brickproof sweep --target 'a b.toml'\n");
    brickproof(path, &["new", "scenario", "storage.toml", "--kind", "gecko-storage"]);
    let scenario = std::fs::read_to_string(path.join("storage.toml")).unwrap();
    assert!(scenario.contains("--kind gecko-storage`"), "{scenario}");
    insta::assert_snapshot!("mistakes", all);
}

#[test]
fn a_target_is_played_with_an_application_and_a_file() {
    let folder = folder();
    let path = folder.path();
    let gecko = gecko(&target(STORAGE));
    let start = gecko.map().application_start();
    std::fs::write(path.join("app.bin"), application(&gecko, 3, 12_000)).unwrap();
    let file = GblBuilder::new().firmware(start, &application(&gecko, 4, 12_000)).unsigned().unwrap();
    std::fs::write(path.join("next.gbl"), file).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_brickproof"))
        .args(["simulate", "--target", STORAGE, "--json", "--slot", "application=app.bin", "--slot", "slot-0=next.gbl"])
        .current_dir(path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let boot = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let boot = boot.into_iter().find(|record| record["kind"] == "boot").unwrap();
    assert_eq!(boot["version"], "3", "{boot}");
    let control = ready["control"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(control).unwrap();
    stream.write_all(b"GET /state HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    // Not by its name: only this process, which has nothing to finish.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
}

#[test]
fn new_files_work_as_they_are() {
    let folder = folder();
    let path = folder.path();
    for kind in ["gecko-apploader", "gecko-storage"] {
        for what in ["layout", "target", "scenario", "initiator"] {
            let file = format!("{kind}-{what}.toml");
            let output = brickproof(path, &["new", what, &file, "--kind", kind]);
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            assert!(text(&output.stdout).contains("next: "));
        }
        let target = format!("{kind}-target.toml");
        let own = std::fs::read_to_string(path.join(&target)).unwrap();
        let layout = format!("{kind}-layout.toml");
        let own = own
            .lines()
            .map(|line| if line.starts_with("layout = ") { format!("layout = \"{layout}\"") } else { line.into() });
        std::fs::write(path.join(&target), own.collect::<Vec<String>>().join("\n")).unwrap();
        let (told, code) = sweep(path, &target, &["--cuts", "linear", "--installed", "5 KiB", "--update", "6 KiB"]);
        assert_eq!(code, Some(0), "{told}");
        let run = brickproof(path, &["run", &format!("{kind}-scenario.toml")]);
        assert_eq!(run.status.code(), Some(0), "{}{}", text(&run.stdout), text(&run.stderr));
    }
}
