//! `brickproof sweep` as its users see it.

mod binary;

use std::path::Path;

use binary::{brickproof, folder, text};
use serde_json::Value;

const OFFSET: &str = "nrf52840-mcuboot-swap-offset";

/// A sweep with small images: what it prints, and its exit code.
fn sweep(folder: &Path, more: &[&str]) -> (String, Option<i32>) {
    let output = brickproof(folder, &[&["sweep", "--installed", "8 KiB", "--update", "10 KiB"], more].concat());
    (text(&output.stdout) + &failures(&text(&output.stderr)), output.status.code())
}

/// Standard error without the lines that tell how long a story took.
fn failures(stderr: &str) -> String {
    stderr.lines().filter(|line| !line.ends_with(" s")).map(|line| format!("{line}\n")).collect()
}

fn json(folder: &Path, more: &[&str]) -> Value {
    let (text, _) = sweep(folder, &[more, &["--json"]].concat());
    serde_json::from_str(&text).expect("JSON alone")
}

#[test]
fn what_is_known_is_told_and_no_failure() {
    let folder = folder();
    let (told, code) = sweep(folder.path(), &["--target", OFFSET]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!("known", told);
    let (told, code) = sweep(folder.path(), &["--target", OFFSET, "--cuts", "id:82,6"]);
    assert_eq!(code, Some(0), "{told}");
    insta::assert_snapshot!("path", told);
}

#[test]
fn any_other_violation_is_a_failure_and_replays() {
    let folder = folder();
    let flawed = ["--flaw", "header-place", "--cuts", "linear"];
    let answer = json(folder.path(), &flawed);
    let violation = &answer["stories"][0]["violations"][0];
    assert_eq!((violation["invariant"].as_str(), violation["cuts"].as_u64()), (Some("boots"), Some(1)));
    let line = violation["replay"].as_str().unwrap();
    let words: Vec<&str> = line.split(' ').skip(1).collect();
    let output = brickproof(folder.path(), &words);
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(text(&output.stdout).contains("VIOLATION of `boots`"), "{}", text(&output.stdout));
    assert_eq!(sweep(folder.path(), &flawed).1, Some(1));
    // The same bootloader without the mistake.
    assert_eq!(sweep(folder.path(), &flawed[2..]).1, Some(0));
}

#[test]
fn what_was_left_out_is_told_and_is_a_failure() {
    let folder = folder();
    let (told, code) = sweep(folder.path(), &["--max-states", "100"]);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!("left_out", told);
    let answer = json(folder.path(), &["--max-time", "0 s"]);
    let story = &answer["stories"][0];
    assert_eq!((story["complete"].as_bool(), story["covered"]["up-to"].as_u64()), (Some(false), Some(0)));
    assert!(story["left_out"].as_u64() > Some(0) && story["left_out_because"].is_string());
    // A depth that was asked for leaves nothing out.
    let answer = json(folder.path(), &["--cuts", "depth:2"]);
    assert_eq!(
        (&answer["stories"][0]["complete"], &answer["stories"][0]["covered"]["up-to"]),
        (&true.into(), &2.into())
    );
}

#[test]
fn the_same_at_any_number_of_threads() {
    let folder = folder();
    let one = json(folder.path(), &["--threads", "1", "--story", "all"]);
    assert_eq!(one["stories"].as_array().map(Vec::len), Some(4));
    assert_eq!(one, json(folder.path(), &["--threads", "3", "--story", "all"]));
}

#[test]
fn the_picture_is_the_same_each_time() {
    let folder = folder();
    let direct = ["--target", "nrf52840-mcuboot-direct-xip-with-revert", "--svg", "a.svg"];
    assert_eq!(sweep(folder.path(), &direct).1, Some(0));
    insta::assert_snapshot!("picture", std::fs::read_to_string(folder.path().join("a.svg")).unwrap());
}

#[test]
fn images_may_be_files() {
    let folder = folder();
    let sign = |file: &str, version: &str| {
        std::fs::write(folder.path().join("payload"), vec![0x5a; 9000]).unwrap();
        let output = brickproof(folder.path(), &["image", "sign", "--version", version, "payload", file]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    };
    sign("old.bin", "1.0.0");
    sign("new.bin", "2.0.0");
    let output = brickproof(
        folder.path(),
        &["sweep", "--slot", "primary=old.bin:confirmed", "--slot", "secondary=new.bin", "--cuts", "linear", "--json"],
    );
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!((&answer["images"][0]["version"], &answer["images"][1]["version"]), (&"1.0.0".into(), &"2.0.0".into()));
    let replay = answer["stories"][0]["known"][0]["ways"][0]["replay"].as_str().unwrap();
    assert!(replay.contains("--slot primary=old.bin:confirmed --slot secondary=new.bin"), "{replay}");
}

/// Several images in one bootloader, and a bootloader that runs a recovery.
#[test]
fn other_targets() {
    let folder = folder();
    for target in ["nrf5340-mcuboot-swap-move-two-images", "nrf52840-mcuboot-swap-move-serial-recovery"] {
        let (told, code) = sweep(folder.path(), &["--target", target, "--cuts", "linear"]);
        assert_eq!(code, Some(0), "{told}");
    }
}

#[test]
fn mistakes_are_explained_and_exit_with_2() {
    let folder = folder();
    std::fs::write(folder.path().join("no-image"), "no image").unwrap();
    let mut all = String::new();
    for wrong in [
        &["--target", "nrf52840-mcuboot-swap-move-security-counter"][..],
        &["--slot", "secondary=no-image"],
        &["--slot", "secondary=missing"],
        &["--slot", "secondary=no-image", "--slot", "secondary=no-image"],
        &["--cuts", "id:9999"],
        &["--cuts", "id:3p1,2,@7"],
        &["--cuts", "id:1", "--story", "all"],
        &["--cuts", "id:1", "--svg", "a.svg"],
        &["--cuts", "1"],
        &["--flash-out", "a.bin"],
        &["--tears", "some"],
        &["--flaw", "none"],
    ] {
        let (told, code) = sweep(folder.path(), wrong);
        assert_eq!(code, Some(2), "{wrong:?}: {told}");
        all += &format!("$ brickproof sweep {}\n{told}\n", wrong.join(" "));
    }
    let output = brickproof(folder.path(), &["sweep", "--update", "2 MiB"]);
    all += &format!("$ brickproof sweep --update \"2 MiB\"\n{}", text(&output.stderr));
    insta::assert_snapshot!("mistakes", all);
}
