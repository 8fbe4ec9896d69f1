//! Bundled target profiles: each one boots, updates and refuses as its name says; mistakes are explained.

use brickproof::library;
use brickproof::scenario::TimingSpec;
use brickproof::target::{Protocol, Target};
use brickproof_flash_model::boot::mcuboot::{Counters, Outcome, Slot};
use brickproof_flash_model::flash::{Controller, Flash, Uncut};
use brickproof_flash_model::image::mcuboot::ImageVersion;
use brickproof_simulator::nordic::Writes;
use brickproof_simulator::nordic::legacy::Sharing;

/// A device of this target with version 2 installed and `update` requested for good; the version that runs.
fn after_update(target: &Target, update: u8) -> u8 {
    let mcuboot = target.mcuboot().unwrap();
    let mut flash: Flash = target.layout.blank_flash();
    let mut counters = Counters::default();
    target.fill_other_images(&mut flash, &mcuboot).unwrap();
    let image = |major: u8| {
        let version = ImageVersion { major, ..ImageVersion::default() };
        target.maker().unwrap().image_of_size(version, 40_000).unwrap()
    };
    let mut boot = |flash: &mut Flash| match mcuboot
        .boot_with(&mut Controller::new(flash, &mut Uncut), &mut counters)
        .unwrap()
        .outcome
    {
        Outcome::Boot { header, .. } => header.version.major,
        other => panic!("{}: {other:?}", target.name),
    };
    flash.load(mcuboot.area(Slot::Primary), 0, &image(2)).unwrap();
    mcuboot.set_confirmed(&mut Controller::new(&mut flash, &mut Uncut)).unwrap();
    assert_eq!(boot(&mut flash), 2, "{}", target.name);
    let start = mcuboot.pair(0).unwrap().upload_offset(Slot::Secondary);
    flash.load(mcuboot.area(Slot::Secondary), start, &image(update)).unwrap();
    mcuboot.set_pending(&mut Controller::new(&mut flash, &mut Uncut), true).unwrap();
    boot(&mut flash)
}

#[test]
fn every_bundled_target_updates() {
    for bundled in brickproof_scenarios::targets() {
        let target = library::target(bundled.name).unwrap();
        assert_eq!(target.name, bundled.name);
        if target.protocol() != Protocol::Smp {
            // Nordic's are updated by packages: the suites `nordic-update` and `nordic-legacy`.
            continue;
        }
        assert_eq!(after_update(&target, 3), 3, "{}", target.name);
        let guarded = ["-downgrade-prevention", "-security-counter", "-direct-xip", "-direct-xip-with-revert"];
        let guarded = guarded.iter().any(|end| target.name.ends_with(end));
        assert_eq!(after_update(&target, 1), if guarded { 2 } else { 1 }, "{}", target.name);
    }
}

fn mistake(bootloader: &str) -> String {
    let text = format!(
        "schema = 1\nname = \"x\"\nabout = \"x\"\nlayout = \"nrf52840\"\n[bootloader]\nkind = \"mcuboot\"\n{bootloader}\n"
    );
    match Target::parse("x.toml", None, &text) {
        Ok(_) => panic!("no mistake in:\n{bootloader}"),
        Err(mistake) => mistake.to_string(),
    }
}

#[test]
fn mistakes_of_a_bootloader_name_the_place_and_the_remedy() {
    let keys = "keys = [\"development\"]";
    for (bootloader, expected) in [
        (format!("mode = \"swap\"\n{keys}"), ["x.toml:7:8", "`swap-scratch`"]),
        (format!("mode = \"swap-move\"\nfast = true\n{keys}"), ["x.toml:8:8", "overwrite-only"]),
        (format!("mode = \"swap-move\"\nmax-align = 12\n{keys}"), ["x.toml:8:13", "8, 16 or 32"]),
        (format!("mode = \"swap-move\"\nmax-sectors = 0\n{keys}"), ["x.toml:8:15", "1 to"]),
        (format!("mode = \"swap-move\"\ndowngrade-prevention = \"yes\"\n{keys}"), ["x.toml:8:24", "`version`"]),
        (
            format!("mode = \"overwrite-only\"\ndowngrade-prevention = \"image-security-counter\"\n{keys}"),
            ["x.toml:8:24", "swap modes only"],
        ),
        (
            format!("mode = \"direct-xip\"\ndowngrade-prevention = \"version\"\n{keys}"),
            ["x.toml:8:24", "the highest version is started anyway"],
        ),
        (format!("mode = \"direct-xip\"\nbootstrap = true\n{keys}"), ["x.toml:7:8", "remove `bootstrap`"]),
        (format!("mode = \"swap-move\"\nsignature = \"dsa\"\n{keys}"), ["x.toml:8:13", "`ed25519`"]),
        (format!("mode = \"swap-move\"\nsignature = \"rsa-3072\"\n{keys}"), ["x.toml:9:9", "no development key"]),
    ] {
        let text = mistake(&bootloader);
        assert!(expected.iter().all(|part| text.contains(part)), "{bootloader}\n{text}");
    }
}

#[test]
fn a_key_of_another_type_is_a_mistake() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/keys");
    let key = format!("keys = [\"{folder}/brickproof-development-ed25519.pem\"]");
    let text = mistake(&format!("mode = \"swap-move\"\n{key}"));
    assert!(text.contains("x.toml:8:9") && text.contains("signature = \"ed25519\""), "{text}");
}

fn nordic(kind: &str, tables: &str) -> Result<Target, String> {
    let layout = if kind == "nordic-secure" { "nrf52840-nordic-s140" } else { "nrf52832-nordic-legacy-s132" };
    let text = format!(
        "schema = 1\nname = \"t\"\nabout = \"a\"\nlayout = \"{layout}\"\n[bootloader]\nkind = \"{kind}\"\n{tables}"
    );
    Target::parse("t.toml", None, &text).map_err(|mistake| mistake.to_string())
}

#[test]
fn knobs_of_nordics_links_are_read() {
    let board =
        |kind: &str, tables: &str| nordic(kind, tables).unwrap().board(TimingSpec::default(), 0.0, vec![]).unwrap();
    let secure = |tables: &str| board("nordic-secure", tables);
    let own = secure("");
    assert_eq!(own.as_nordic().unwrap().dfu.hvn_queue, Some(1));
    assert_eq!(own.as_nordic().unwrap().dfu.writes, Writes::Strict);
    assert!(own.as_nordic().unwrap().entry_heeds_battery);
    let own = secure("[dfu]\nhvn-queue = 3\nwrites = \"lenient\"\n[battery]\nrefuses = \"init\"\n");
    let own = own.as_nordic().unwrap();
    assert_eq!((own.dfu.hvn_queue, own.dfu.writes), (Some(3), Writes::Lenient));
    assert!(!own.entry_heeds_battery && own.dfu.low_battery.is_some());
    let old = board("nordic-secure", "sdk = \"12.3\"\n");
    assert_eq!(old.as_nordic().unwrap().dfu.hvn_queue, None);
    let mistake = nordic("nordic-secure", "[dfu]\nhvn-queue = 0\n").unwrap_err();
    assert!(mistake.contains("room for 0"), "{mistake}");

    for (name, sharing) in [("none", Sharing::None), ("address", Sharing::Address), ("bond", Sharing::Bond)] {
        let own = board("nordic-legacy", &format!("[application]\nsharing = \"{name}\"\n"));
        assert_eq!(own.as_legacy().unwrap().sharing, sharing);
        let pairs = own.gatt.pairing.capability.is_some();
        assert_eq!(pairs, sharing == Sharing::Bond, "only then has it a bond to share");
    }
    let own = board("nordic-legacy", "[dfu]\nwrites = \"lenient\"\n[battery]\nrefuses = \"entry\"\n");
    let own = own.as_legacy().unwrap();
    assert_eq!((own.dfu.writes, own.dfu.packet_requests), (Writes::Lenient, false));
    assert!(own.entry_heeds_battery && own.dfu.low_battery.is_none());
}
