//! Settings pages that nrfutil has made, byte for byte (`golden/nrfutil-settings`).

mod nordic_support;

use brickproof_flash_model::boot::nordic::settings::{SETTINGS_SIZE, SETTINGS_SIZE_V1};
use brickproof_flash_model::boot::nordic::softdevice::synthetic_softdevice;
use brickproof_flash_model::boot::nordic::{
    Bank, BankCode, BootValidation, Decision, MBR_SIZE, Nordic, Options, Outcome, Profile, Settings, SettingsSource,
    ValidationKind,
};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::mcuboot::SigningKey;
use brickproof_flash_model::image::nordic::crc32;
use brickproof_flash_model::layout::Layout;
use nordic_support::Device;

const PAGES: [(&str, &str); 5] = [
    ("v1", include_str!("golden/nrfutil-settings/v1.hex")),
    ("v2", include_str!("golden/nrfutil-settings/v2.hex")),
    ("v2-sha256", include_str!("golden/nrfutil-settings/v2-sha256.hex")),
    ("v2-ecdsa-softdevice", include_str!("golden/nrfutil-settings/v2-ecdsa-softdevice.hex")),
    ("v2-no-application", include_str!("golden/nrfutil-settings/v2-no-application.hex")),
];

fn hex(name: &str) -> &'static str {
    PAGES.iter().find(|(page, _)| *page == name).unwrap().1
}

/// Runs of bytes with their addresses.
fn records(text: &str) -> Vec<(u32, Vec<u8>)> {
    let mut base = 0;
    let mut records = Vec::new();
    for line in text.lines() {
        let bytes: Vec<u8> =
            (1..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect();
        assert_eq!(bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0, "{line}");
        let (address, data) = (u32::from(bytes[1]) << 8 | u32::from(bytes[2]), &bytes[4..bytes.len() - 1]);
        match bytes[3] {
            0 => records.push((base + address, data.to_vec())),
            4 => base = (u32::from(data[0]) << 8 | u32::from(data[1])) << 16,
            _ => {}
        }
    }
    records
}

/// What a programmer leaves on an erased page at this address.
fn page(text: &str, address: u32) -> [u8; SETTINGS_SIZE] {
    let mut page = [0xff; SETTINGS_SIZE];
    for (at, data) in records(text).into_iter().filter(|(at, _)| (address..address + 0x1000).contains(at)) {
        let at = (at - address) as usize;
        page[at..at + data.len()].copy_from_slice(&data);
    }
    page
}

/// The application as nrfutil counts it: filled up to words.
fn application() -> Vec<u8> {
    let bytes = (0..1002u32).map(|index| ((7 * index + 3) % 256) as u8);
    bytes.chain([0xff, 0xff]).collect()
}

fn address(name: &str) -> u32 {
    if matches!(name, "v2-sha256" | "v2-no-application") { 0x7f000 } else { 0xff000 }
}

#[test]
fn pages_come_back_byte_for_byte() {
    for (name, text) in PAGES {
        let raw = page(text, address(name));
        let read = Settings::parse(&raw);
        assert_eq!(read.to_bytes(), raw, "{name}");
        assert!(read.crc_ok() && read.backup_ok(), "{name}");
        let backup = page(text, address(name) - 0x1000);
        assert_eq!(backup == raw, name != "v2-no-application", "{name}");
        let mut sealed = read.clone();
        sealed.seal();
        if name != "v1" {
            assert_eq!(sealed.to_bytes(), raw, "{name}");
        }
    }
    let narrow: [u8; SETTINGS_SIZE_V1] = page(hex("v1"), 0xff000)[..SETTINGS_SIZE_V1].try_into().unwrap();
    assert_eq!(Settings::parse_v1(&narrow).to_bytes_v1(), narrow);
}

#[test]
fn the_fields_say_what_nrfutil_was_asked_for() {
    let read = |name: &str| Settings::parse(&page(hex(name), address(name)));
    let app = application();
    let bank_0 = Bank { image_size: 1004, image_crc: crc32(&app, 0), code: BankCode::App };
    let v1 = read("v1");
    assert_eq!((v1.settings_version, v1.app_version, v1.bootloader_version, v1.bank_0), (1, 3, 1, bank_0));
    let v2 = read("v2");
    assert_eq!((v2.settings_version, v2.boot_validation_app), (2, BootValidation::crc(bank_0.image_crc)));
    let hashed = read("v2-sha256");
    assert_eq!((hashed.app_version, hashed.bootloader_version), (20731, 4));
    assert_eq!(ValidationKind::of(hashed.boot_validation_app.kind), Some(ValidationKind::Sha256));
    let signed = read("v2-ecdsa-softdevice");
    assert_eq!(ValidationKind::of(signed.boot_validation_app.kind), Some(ValidationKind::EcdsaP256Sha256));
    assert_eq!((signed.sd_size, signed.boot_validation_softdevice.kind), (600, 1));
    let none = read("v2-no-application");
    assert_eq!((none.bank_0, none.bootloader_version), (Bank::INVALID, 9));
}

#[test]
fn the_settings_of_a_factory_are_those_of_nrfutil() {
    let app = application();
    let mut made = Settings::factory(Profile::V17_1, app.len() as u32, crc32(&app, 0));
    (made.app_version, made.bootloader_version) = (3, 1);
    made.seal();
    assert_eq!(made.to_bytes(), page(hex("v2"), 0xff000));
}

/// A device with a SoftDevice that ends where `app.hex` begins, and what a programmer writes to it.
fn programmed(name: &str, softdevice: &[u8]) -> (Nordic, Flash) {
    let key = SigningKey::from_pem(include_str!("golden/nrfutil-settings/key.pem")).unwrap();
    let preset = if address(name) == 0x7f000 { "nrf52832-nordic-s132" } else { "nrf52840-nordic-s140" };
    let layout = Layout::preset(preset).unwrap();
    let options = Options { ble: false, ..Options::default() };
    let nordic = Nordic::new(&layout, options, Some(key.public().clone())).unwrap();
    let mut flash = layout.blank_flash();
    let whole = nordic.map().whole();
    flash.load(whole, MBR_SIZE, softdevice).unwrap();
    flash.load(nordic.map().bootloader(), 0, &nordic_support::app(9, 0x1000)).unwrap();
    flash.load(whole, nordic.bank_0_start(&flash).unwrap(), &application()).unwrap();
    for (at, data) in records(hex(name)) {
        flash.load(whole, at, &data).unwrap();
    }
    (nordic, flash)
}

#[test]
fn a_device_that_nrfutil_has_set_up_boots() {
    for (name, version) in [("v1", 3), ("v2", 3), ("v2-sha256", 20731), ("v2-ecdsa-softdevice", 3)] {
        // The made-up SoftDevice of 600 bytes has no struct: nothing looks at it.
        let softdevice = synthetic_softdevice(0x24f00, 0x101, 140, 7_002_000);
        let softdevice = if name == "v2-ecdsa-softdevice" { Vec::new() } else { softdevice };
        let (nordic, mut flash) = programmed(name, &softdevice);
        let device = Device { nordic, ..Device::new(Options::default(), 0x100) };
        let boot = device.boot(&mut flash);
        let Outcome::Application { start, size, version: found, .. } = boot.outcome else { panic!("{name}: {boot:?}") };
        assert_eq!((size, found), (1004, version), "{name}");
        assert_eq!(start, if softdevice.is_empty() { 0x1000 } else { 0x26000 }, "{name}");
        // Version 1 becomes version 2 in both pages; version 2 stays as it is.
        let (settings, source) = device.nordic.load(&flash).unwrap();
        assert_eq!((settings.settings_version, source), (2, SettingsSource::Both), "{name}");
        assert_eq!(boot.operations, if name == "v1" { 4 } else { 0 }, "{name}");
        assert_eq!(device.boot(&mut flash).operations, 0, "{name}");
        if name == "v1" {
            assert_eq!(settings.boot_validation_app.crc_value(), settings.bank_0.image_crc);
        }
        // What the boot validation is over has changed.
        let mut broken = flash.clone();
        broken.load(device.nordic.map().whole(), start + 1000, &[0]).unwrap();
        assert!(matches!(device.boot(&mut broken).outcome, Outcome::DfuMode { .. }), "{name}");
    }
}

#[test]
fn a_page_without_backup_gets_one() {
    let (nordic, mut flash) = programmed("v2-no-application", &synthetic_softdevice(0x24f00, 0x101, 132, 7_002_000));
    let device = Device { nordic, ..Device::new(Options::default(), 0x100) };
    let boot = device.boot(&mut flash);
    assert_eq!(boot.decisions, [Decision::Settings(SettingsSource::Page)]);
    assert_eq!(boot.operations, 2);
    assert!(matches!(boot.outcome, Outcome::DfuMode { timeout_us: 120_000_000, .. }), "{boot:?}");
    assert_eq!(device.nordic.load(&flash).unwrap().1, SettingsSource::Both);
}
