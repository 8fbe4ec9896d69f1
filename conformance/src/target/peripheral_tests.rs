//! The sections, from text to a peripheral.

use brickproof_simulator::gatt::{IoCapability, Security};

use crate::target::Target;

use super::*;

const HEAD: &str = "schema = 1\nname = \"my-board\"\nabout = \"x\"\nlayout = \"nrf52840\"\n[bootloader]\nkind = \"mcuboot\"\nmode = \"swap-move\"\nkeys = [\"development\"]\n";

fn target(sections: &str) -> Result<Target, Mistake> {
    Target::parse("x.toml", None, &format!("{HEAD}{sections}\n"))
}

#[test]
fn nothing_said_is_a_target_with_the_usual_services() {
    let target = target("").unwrap();
    let mut expected = Peripheral::new("my-board");
    expected.information = Some(Information { model: Some("my-board".into()), ..Information::default() });
    assert_eq!(target.peripheral, expected);
    assert_eq!(expected.advertisement.services, [SERVICE]);
}

/// The section of this name in the page of the module, with what belongs to it.
fn documented(name: &str) -> String {
    let page = include_str!("../target.rs");
    let lines = page.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim_start);
    let own = |line: &&str| line.starts_with(&format!("[[{name}.")) || !line.starts_with('[');
    let mut lines = lines.skip_while(|line| !line.trim_start_matches('[').starts_with(&format!("{name}]")));
    let first = lines.next().unwrap_or_default();
    std::iter::once(first).chain(lines.take_while(own)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_documented_sections_are_read() {
    let sections = ["gatt", "advertisement", "device-information", "service"].map(documented).join("\n");
    let target = target(&sections).unwrap();
    assert_eq!(target.gatt.pairing.passkey, 123_456);
    let advertisement = &target.peripheral.advertisement;
    assert_eq!(advertisement.address.to_string(), "C0:FF:EE:00:00:01");
    assert_eq!(advertisement.manufacturer_data, [(0x59, vec![1, 2])]);
    assert_eq!(advertisement.service_data, [(Uuid::BATTERY, vec![0x64])]);
    assert_eq!((advertisement.appearance, advertisement.tx_power), (Some(0), Some(0)));
    let [service] = target.peripheral.services.as_slice() else { panic!("{:?}", target.peripheral.services) };
    assert_eq!(service.uuid, Uuid::short(0xfff0));
    assert_eq!(service.characteristics[0].trigger.as_deref(), Some("bootloader"));
    assert_eq!(target.peripheral.information.unwrap().serial, None);
}

#[test]
fn services_can_be_left_out_and_values_are_text_or_hexadecimal() {
    let target = target(
        "[device-information]\nservice = false\n[battery]\nservice = false\n[[service]]\nuuid = \"fff0\"\n[[service.characteristic]]\nuuid = \"fff1\"\nproperties = [\"read\"]\nvalue = { hex = \"00ff\" }",
    )
    .unwrap();
    assert_eq!((target.peripheral.information, target.peripheral.battery), (None, false));
    assert_eq!(target.peripheral.services[0].characteristics[0].value, [0, 0xff]);
}

#[test]
fn pairing_is_by_what_the_target_has() {
    for (section, capability, access) in [
        ("access = \"authenticated\"", Some(IoCapability::DisplayOnly), Security::Authenticated),
        (
            "access = \"secure-connections\"\npairing = \"numeric-comparison\"",
            Some(IoCapability::DisplayYesNo),
            Security::SecureConnections,
        ),
        ("pairing = \"passkey-entry\"", Some(IoCapability::KeyboardOnly), Security::Plain),
        ("access = \"encrypted\"\npairing = \"none\"", None, Security::Encrypted),
    ] {
        let gatt = target(&format!("[gatt]\n{section}")).unwrap().gatt;
        assert_eq!((gatt.pairing.capability, gatt.access), (capability, access), "{section}");
    }
}

#[test]
fn mistakes_name_place_and_remedy() {
    let characteristic = |rest: &str| {
        format!(
            "[[service]]\nuuid = \"fff0\"\n[[service.characteristic]]\nuuid = \"fff1\"\nproperties = [\"read\"]\n{rest}"
        )
    };
    for (sections, words) in [
        ("[gatt]\npasskey = 1000000".into(), ["x.toml:10:11", "six digits"]),
        ("[gatt]\nconnect-delay = \"2 min\"".into(), ["x.toml:10:17", "60 s"]),
        (
            "[gatt]\naccess = \"authenticated\"\npairing = \"just-works\"".into(),
            ["x.toml:11:11", "pairing = \"passkey\""],
        ),
        (
            "[gatt]\npairing = \"numeric-comparison\"\nsecure-connections = false".into(),
            ["x.toml:10:11", "secure-connections = true"],
        ),
        (
            "[gatt]\naccess = \"secure-connections\"\nsecure-connections = false".into(),
            ["x.toml:10:10", "secure-connections = true"],
        ),
        (format!("[advertisement]\nname = \"{}\"", "x".repeat(30)), ["x.toml:10:8", "at most 29"]),
        ("[advertisement]\naddress = \"00:11\"".into(), ["x.toml:10:11", "no Bluetooth address"]),
        ("[advertisement]\naddress = \"00:11:22:33:44:55\"".into(), ["x.toml:10:11", "address-kind = \"public\""]),
        ("[advertisement]\nservices = [\"x\"]".into(), ["x.toml:10:13", "no UUID"]),
        ("[advertisement]\nmanufacturer-data = { 0x59 = \"0\" }".into(), ["x.toml:10:21", "hexadecimal"]),
        ("[advertisement]\nmanufacturer-data = { nordic = \"00\" }".into(), ["x.toml:10:21", "`nordic`"]),
        (
            format!("[advertisement]\nmanufacturer-data = {{ 0x59 = \"{}\" }}", "00".repeat(28)),
            ["x.toml:10:21", "31 bytes of advertising data"],
        ),
        (
            format!("[device-information]\nmodel = \"{}\"", "x".repeat(513)),
            ["x.toml:10:9", "an attribute holds 512"],
        ),
        ("[[service]]\nuuid = \"180a\"".into(), ["x.toml:10:8", "[device-information]"]),
        (characteristic("trigger = \"dfu\""), ["x.toml:14:11", "the property \"write\""]),
        (characteristic("value = { hex = \"0\" }"), ["x.toml:14:9", "hexadecimal"]),
        (
            "[[service]]\nuuid = \"fff0\"\n[[service.characteristic]]\nuuid = \"fff1\"\nproperties = []".into(),
            ["x.toml:13:14", "\"notify\""],
        ),
        (
            "[[service]]\nuuid = \"fff0\"\n[[service.characteristic]]\nuuid = \"fff1\"\nproperties = [\"write\"]\ntrigger = \"fff1\"".into(),
            ["x.toml:14:11", "reads as no UUID"],
        ),
    ] {
        let text = match target(&sections) {
            Ok(_) => panic!("no mistake in:\n{sections}"),
            Err(mistake) => mistake.to_string(),
        };
        assert!(words.iter().all(|word| text.contains(word)), "{sections}\n{text}");
    }
}
