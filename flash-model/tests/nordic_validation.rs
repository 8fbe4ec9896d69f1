//! Which init packets and images are refused, with which answer, and in which order: for each SDK.

mod nordic_support;

use std::fmt::Write;

use brickproof_flash_model::boot::nordic::softdevice::synthetic_softdevice;
use brickproof_flash_model::boot::nordic::{BankCode, Nordic, Options, Profile, Refusal, ValidationKind};
use brickproof_flash_model::image::mcuboot::{PublicKey, SigningKey};
use brickproof_flash_model::image::nordic::{
    BootValidation, FwType, HashType, InitCommand, InitPacket, Package, Signature, SignatureType, ValidationType, sign,
};
use nordic_support::{Device, FWID, PAGE, Sent, app, app_update, package, softdevice};

/// The answer behind `60 04`.
fn answer<T>(result: Result<T, Refusal>) -> String {
    let bytes = result.map_or_else(|refusal| refusal.bytes(), |_| vec![1]);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn execute(device: &Device, init: &[u8]) -> String {
    answer(device.send_init(&mut device.flash(), init))
}

fn update(change: impl FnOnce(&mut InitCommand)) -> Vec<u8> {
    package(FwType::Application, [&app(2, 0x2800), &[]], 2, change).init
}

fn bootloader(change: impl FnOnce(&mut InitCommand)) -> Vec<u8> {
    package(FwType::Bootloader, [&app(101, 0x1e00), &[]], 2, change).init
}

/// A packet that is signed, and then changed.
fn resigned(init: &[u8], change: impl FnOnce(&mut Signature)) -> Vec<u8> {
    let packet = InitPacket::parse(init).unwrap();
    let mut signature = packet.signature.unwrap();
    change(&mut signature);
    InitPacket::new(packet.command, Some(signature)).emit()
}

fn unsigned(init: &[u8]) -> Vec<u8> {
    InitPacket::new(InitPacket::parse(init).unwrap().command, None).emit()
}

/// One thing wrong at a time.
fn faults() -> Vec<(&'static str, Vec<u8>)> {
    let good = update(|_| {});
    vec![
        ("nothing wrong", good.clone()),
        ("not decodable", vec![0xff; 20]),
        ("unsigned", unsigned(&good)),
        ("Ed25519", resigned(&good, |signature| signature.kind = SignatureType::Ed25519)),
        ("signature of 63 bytes", resigned(&good, |signature| signature.bytes.truncate(63))),
        ("wrong signature", resigned(&good, |signature| signature.bytes[3] ^= 1)),
        ("no type", update(|init| init.fw_type = None)),
        ("unknown type", update(|init| init.fw_type = Some(FwType::Other(9)))),
        ("external application", update(|init| init.fw_type = Some(FwType::ExternalApplication))),
        ("no hash", update(|init| init.hash = None)),
        ("SHA-512", update(|init| init.hash.as_mut().unwrap().kind = HashType::Sha512)),
        ("debug packet", update(|init| init.is_debug = Some(true))),
        ("no hardware version", update(|init| init.hw_version = None)),
        ("other hardware", update(|init| init.hw_version = Some(51))),
        ("other SoftDevice", update(|init| init.sd_req = vec![0xb6])),
        ("any SoftDevice", update(|init| init.sd_req = vec![0xfffe])),
        ("no SoftDevice named", update(|init| init.sd_req = Vec::new())),
        ("no version", update(|init| init.fw_version = None)),
        ("version 0", update(|init| init.fw_version = Some(0))),
        ("same version", update(|init| init.fw_version = Some(1))),
        ("no size", update(|init| init.app_size = None)),
        ("size 0", update(|init| init.app_size = Some(0))),
        ("too large", update(|init| init.app_size = Some(0x10_0000))),
        ("bootloader", bootloader(|_| {})),
        ("bootloader, same version", bootloader(|init| init.fw_version = Some(1))),
        ("bootloader, no version", bootloader(|init| init.fw_version = None)),
        ("bootloader, too large", bootloader(|init| init.bl_size = Some(0x2001))),
        ("SoftDevice and bootloader, one size", {
            let both = |init: &mut InitCommand| init.bl_size = None;
            package(FwType::SoftdeviceBootloader, [&softdevice(3, 7_002_000), &app(101, 0x1e00)], 2, both).init
        }),
        ("SoftDevice and bootloader for another SoftDevice", {
            let other = |init: &mut InitCommand| init.sd_req = vec![0xb6];
            package(FwType::SoftdeviceBootloader, [&softdevice(3, 7_002_000), &app(101, 0x1e00)], 2, other).init
        }),
    ]
}

#[test]
fn each_fault_has_its_answer() {
    let mut table = format!("{:50}", "");
    for profile in Profile::ALL {
        write!(table, "{:7}", profile.name()).unwrap();
    }
    for (name, init) in faults() {
        write!(table, "\n{name:50}").unwrap();
        for profile in Profile::ALL {
            let device = Device::new(Options { profile, ..Options::default() }, 0x1c00);
            write!(table, "{:7}", execute(&device, &init)).unwrap();
        }
    }
    insta::assert_snapshot!(table.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"));
}

/// The builds of which the answers were recorded.
fn builds() -> [(&'static str, Options); 6] {
    let options = Options::default();
    [
        ("default", options),
        ("any-version", Options { app_downgrade_prevention: false, ..options }),
        ("no-same", Options { accept_same_version: false, ..options }),
        ("unsigned", Options { require_signed_app: false, ..options }),
        ("debug", Options { debug: true, ..options }),
        ("dual", Options { force_dual_bank: true, ..options }),
    ]
}

/// What was recorded from the real code of SDK 17.1 (`golden/nordic-boot`), which takes every signature for right.
#[test]
fn the_real_code_gives_the_same_answers() {
    let folder = std::env::var("BRICKPROOF_WRITE_NORDIC_BOOT");
    let records = include_str!("golden/nordic-boot/answers.jsonl");
    let mut checked = 0;
    for (build, options) in builds() {
        let device = Device::new(options, 0x1c00);
        for (number, (name, init)) in faults().iter().enumerate() {
            let case = format!("{build}-{number:02}");
            if let Ok(folder) = &folder {
                let folder = std::path::Path::new(folder).join("answers").join(&case);
                std::fs::create_dir_all(&folder).unwrap();
                let flash = device.flash().read_area(device.nordic.map().whole()).unwrap();
                for (file, bytes) in [("flash.bin", &flash), ("init.bin", init), ("image.bin", &app(2, 0x2800))] {
                    std::fs::write(folder.join(file), bytes).unwrap();
                }
            }
            let recorded = records.lines().find(|line| line.contains(&format!("\"{case}\"")));
            let Some((_, answers)) = recorded.and_then(|line| line.split_once("\"answers\":\"")) else { continue };
            // Create, write, execute.
            let expected = answers.split(' ').nth(2).unwrap();
            let expected = if *name == "wrong signature" && options.require_signed_app { "05" } else { expected };
            assert_eq!(execute(&device, init).replace(' ', ""), expected, "{case} {name}");
            checked += 1;
        }
    }
    assert_eq!(checked, builds().len() * faults().len());
}

/// Everything wrong, and then one thing put right after the other: the answers come in the order of the checks.
#[test]
fn checks_come_in_their_order() {
    type Change = fn(&mut InitCommand);
    let repairs: [(&str, Change); 8] = [
        ("type", |init| init.fw_type = Some(FwType::Application)),
        ("hash", |init| init.hash.as_mut().unwrap().kind = HashType::Sha256),
        ("hardware version", |init| init.hw_version = Some(53)),
        ("hardware", |init| init.hw_version = Some(52)),
        ("SoftDevice", |init| init.sd_req = vec![FWID.into()]),
        ("version", |init| init.fw_version = Some(2)),
        ("size", |init| init.app_size = Some(0x10_0000)),
        ("room", |init| init.app_size = Some(0x2800)),
    ];
    let mut all = String::new();
    for profile in [Profile::V12_3, Profile::V14_2, Profile::V17_1] {
        let device = Device::new(Options { profile, ..Options::default() }, 0x1c00);
        let image = app(2, 0x2800);
        let made = |done: usize| {
            package(FwType::Application, [&image, &[]], 2, |init| {
                init.fw_type = Some(FwType::Other(7));
                init.hash.as_mut().unwrap().kind = HashType::Crc;
                (init.hw_version, init.sd_req, init.fw_version, init.app_size) = (None, vec![0xb6], Some(0), None);
                repairs[..done].iter().for_each(|(_, repair)| repair(init));
            })
            .init
        };
        let wrong = |done: usize| resigned(&made(done), |signature| signature.bytes[0] ^= 1);
        let mut row = vec![format!("nothing is right: {}", execute(&device, &wrong(0)))];
        for (done, (name, _)) in repairs.iter().enumerate() {
            row.push(format!("{name}: {}", execute(&device, &wrong(done + 1))));
        }
        row.push(format!("signature: {}", execute(&device, &made(repairs.len()))));
        row.push(format!("signature alone: {}", execute(&device, &made(0))));
        for (done, (name, _)) in repairs.iter().enumerate() {
            row.push(format!("and {name}: {}", execute(&device, &made(done + 1))));
        }
        writeln!(all, "{}\n  {}", profile.name(), row.join("\n  ")).unwrap();
    }
    insta::assert_snapshot!(all);
}

/// Each row of the table of `versions`.
#[test]
fn sd_req_is_read_by_the_table() {
    let requests: [(&str, &[u32]); 5] =
        [("none", &[]), ("its own", &[0xb6, 0x101]), ("other", &[0xb6]), ("0", &[0]), ("0 and its own", &[0, 0x101])];
    let kinds = [FwType::Application, FwType::Softdevice, FwType::Bootloader];
    let mut table = String::new();
    for (build, ble, prevents, there) in [
        ("BLE, SoftDevice", true, true, true),
        ("BLE, SoftDevice, downgrades allowed", true, false, true),
        ("serial, SoftDevice", false, true, true),
        ("serial, SoftDevice, downgrades allowed", false, false, true),
        ("serial, no SoftDevice", false, true, false),
    ] {
        writeln!(table, "{build}").unwrap();
        let options = Options { ble, app_downgrade_prevention: prevents, ..Options::default() };
        let mut device = Device::new(options, 0x1c00);
        device.softdevice = if there { softdevice(3, 7_000_000) } else { Vec::new() };
        for (name, request) in requests {
            let answers = kinds.map(|kind| {
                let image = if kind == FwType::Softdevice { softdevice(3, 7_000_000) } else { app(2, 0x1800) };
                execute(&device, &package(kind, [&image, &[]], 2, |init| init.sd_req = request.to_vec()).init)
            });
            let [app, sd, bl] = answers;
            writeln!(table, "  {name}: application {app}, SoftDevice {sd}, bootloader {bl}").unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn options_change_what_is_accepted() {
    let device = |options: Options| Device::new(options, 0x1c00);
    let default = Options::default();
    let lenient = device(Options { app_downgrade_prevention: false, ..default });
    assert_eq!(execute(&lenient, &update(|init| init.fw_version = Some(0))), "01");
    assert_eq!(execute(&lenient, &update(|init| init.fw_version = None)), "01");
    let strict = device(Options { accept_same_version: false, ..default });
    assert_eq!(execute(&strict, &update(|init| init.fw_version = Some(1))), "0b 05");
    let open = device(Options { require_signed_app: false, ..default });
    assert_eq!(execute(&open, &unsigned(&update(|_| {}))), "01");
    assert_eq!(execute(&open, &unsigned(&bootloader(|_| {}))), "0b 08");
    let debug = device(Options { debug: true, ..default });
    let wild = |init: &mut InitCommand| (init.is_debug, init.hw_version, init.fw_version) = (Some(true), None, Some(0));
    assert_eq!(execute(&debug, &update(wild)), "01");
    assert_eq!(execute(&device(default), &update(wild)), "0b 04");
    let external = device(Options { external_app: true, ..default });
    let other =
        |init: &mut InitCommand| (init.fw_type, init.sd_req) = (Some(FwType::ExternalApplication), vec![0xfffe]);
    assert_eq!(execute(&external, &update(other)), "01");
    let forced = Device::new(Options { force_dual_bank: true, ..default }, 0x8c00);
    assert_eq!(execute(&forced, &app_update(0x7800).init), "04");
    let keyless = Device { nordic: Nordic::new(&device(default).layout, default, None).unwrap(), ..device(default) };
    assert_eq!(execute(&keyless, &update(|_| {})), "05");
}

#[test]
fn what_is_refused_is_wiped_and_what_was_accepted_stays() {
    let device = Device::new(Options::default(), 0x1c00);
    let mut flash = device.flash();
    let good = update(|_| {});
    let mut dfu = device.send_init(&mut flash, &good).unwrap();
    // Accepted once more, whatever else is there.
    device.nordic.init_command_execute(&mut dfu, &flash).unwrap();
    assert_eq!((dfu.init_valid, dfu.firmware_start, dfu.firmware_size), (true, 0x6000, 0x2800));
    // A bad one: RAM is wiped, flash is not.
    let bad = update(|init| init.hw_version = Some(1));
    device.nordic.init_command_create(&mut dfu, bad.len() as u32).unwrap();
    device.nordic.init_command_append(&mut dfu, &bad).unwrap();
    assert_eq!(answer(device.nordic.init_command_execute(&mut dfu, &flash)), "0b 06");
    assert_eq!((dfu.settings.progress.command_size, dfu.init_valid), (0, false));
    device.nordic.reload(&mut dfu, &flash).unwrap();
    assert_eq!(dfu.settings.progress.command_offset, good.len() as u32);
    // A device that starts with it has accepted it.
    let again = device.nordic.start(&flash).unwrap();
    assert_eq!((again.init_valid, again.firmware_start, again.firmware_size), (true, 0x6000, 0x2800));
    // One that cannot be decoded is not wiped.
    device.nordic.init_command_create(&mut dfu, 3).unwrap();
    device.nordic.init_command_append(&mut dfu, &[0xff; 3]).unwrap();
    assert_eq!(answer(device.nordic.init_command_execute(&mut dfu, &flash)), "05");
    assert_eq!(dfu.settings.progress.command_size, 3);
}

#[test]
fn objects_have_their_sizes() {
    let device = Device::new(Options::default(), 0x1c00);
    let nordic = &device.nordic;
    let mut flash = device.flash();
    let mut dfu = nordic.start(&flash).unwrap();
    assert_eq!(answer(nordic.init_command_create(&mut dfu, 0)), "03");
    assert_eq!(answer(nordic.init_command_create(&mut dfu, 513)), "04");
    assert_eq!(answer(nordic.init_command_append(&mut dfu, &[0])), "03");
    assert_eq!(answer(nordic.data_create(&mut dfu, PAGE)), "08");
    assert_eq!(answer(nordic.data_write(&dfu, &[0; 4])), "08");
    // An image of 10000 bytes.
    let sent = package(FwType::Application, [&app(2, 10_000), &[]], 2, |_| {});
    let mut dfu = device.send_init(&mut flash, &sent.init).unwrap();
    assert_eq!(answer(nordic.data_create(&mut dfu, 0)), "03");
    assert_eq!(answer(nordic.data_create(&mut dfu, 2048)), "03");
    assert_eq!(answer(nordic.data_create(&mut dfu, 2 * PAGE)), "04");
    nordic.data_create(&mut dfu, PAGE).unwrap();
    assert_eq!(answer(nordic.data_execute(&mut dfu)), "08");
    assert_eq!(answer(nordic.data_write(&dfu, &[0; 4097])), "03");
    nordic.data_written(&mut dfu, &sent.image[..PAGE as usize]);
    assert!(!nordic.data_execute(&mut dfu).unwrap());
    assert!(!nordic.data_execute(&mut dfu).unwrap(), "an executed object is executed again");
    assert_eq!(answer(nordic.data_create(&mut dfu, 5904)), "04");
    nordic.data_create(&mut dfu, PAGE).unwrap();
    nordic.data_written(&mut dfu, &sent.image[PAGE as usize..2 * PAGE as usize]);
    nordic.data_execute(&mut dfu).unwrap();
    assert_eq!(answer(nordic.data_create(&mut dfu, PAGE)), "08");
    nordic.data_create(&mut dfu, 1808).unwrap();
    assert_eq!(dfu.settings.progress.image_offset, 8192);
}

/// A whole upload with one thing wrong; the answer of the last Execute, and what is left.
fn complete(device: &Device, sent: &Sent) -> (String, BankCode, BankCode) {
    let mut flash = device.flash();
    let mut dfu = device.send_init(&mut flash, &sent.init).unwrap();
    let answer = answer(device.send_image(&mut flash, &mut dfu, &sent.image));
    assert_eq!((dfu.settings.progress.command_size, dfu.settings.write_offset), (0, 0));
    assert_eq!(dfu.settings.progress.update_start_address(), dfu.firmware_start);
    (answer, dfu.settings.bank_0.code, dfu.settings.bank_1.code)
}

#[test]
fn images_are_accepted_or_refused() {
    let device = Device::new(Options::default(), 0x1c00);
    let kept = |answer: &str| (answer.to_owned(), BankCode::App, BankCode::Invalid);
    let mut flipped = app_update(0x2800);
    flipped.image[0x2700] ^= 4;
    assert_eq!(complete(&device, &flipped), kept("0b 0c"));
    assert_eq!(complete(&device, &app_update(0x2800)), ("01".into(), BankCode::Invalid, BankCode::App));

    let validated = |kind: ValidationType, bytes: Vec<u8>| {
        let entry = BootValidation { kind, bytes };
        package(FwType::Application, [&app(2, 0x2800), &[]], 2, |init| init.boot_validation = vec![entry])
    };
    let signature = sign(&nordic_support::key(), &app(2, 0x2800)).unwrap().to_vec();
    let wrong = sign(&nordic_support::key(), b"something else").unwrap().to_vec();
    for (kind, bytes, expected) in [
        (ValidationType::Sha256, Vec::new(), "01"),
        (ValidationType::NoValidation, Vec::new(), "01"),
        (ValidationType::EcdsaP256Sha256, signature.clone(), "01"),
        (ValidationType::EcdsaP256Sha256, wrong, "05"),
        (ValidationType::Other(7), Vec::new(), "05"),
    ] {
        assert_eq!(complete(&device, &validated(kind, bytes)).0, expected, "{kind}");
    }
    let signs = Device::new(Options { app_signature_check_required: true, ..Options::default() }, 0x1c00);
    assert_eq!(complete(&signs, &validated(ValidationType::Sha256, Vec::new())).0, "05");
    assert_eq!(complete(&signs, &validated(ValidationType::EcdsaP256Sha256, signature)).0, "01");
}

#[test]
fn softdevices_are_accepted_or_refused() {
    let device = |profile: Profile| Device::new(Options { profile, ..Options::default() }, 0x1c00);
    let sent = |image: &[u8]| package(FwType::Softdevice, [image, &[]], u32::MAX, |_| {});
    let latest = device(Profile::V17_1);
    let good = softdevice(3, 7_002_000);
    assert_eq!(complete(&latest, &sent(&good)), ("01".into(), BankCode::App, BankCode::Softdevice));
    assert_eq!(complete(&latest, &sent(&softdevice(3, 8_000_000))).0, "05", "another major version");
    assert_eq!(complete(&latest, &sent(&app(3, 0x2f00))).0, "05", "no SoftDevice");
    let other = synthetic_softdevice(0x2f00, FWID, 140, 7_002_000);
    assert_eq!(complete(&latest, &sent(&other)).0, "05", "another family");
    assert_eq!(complete(&device(Profile::V15_3), &sent(&other)).0, "01", "SDK 15.3 does not look");
    let mut small = good;
    small[0x2008..0x200c].copy_from_slice(&0x3000_u32.to_le_bytes());
    assert_eq!(complete(&latest, &sent(&small)).0, "05", "it says it is smaller than it is");
}

/// What nrfutil has made is accepted from the first byte of the init packet to the application that runs.
#[test]
fn packages_of_nrfutil_are_installed() {
    let zips: [(&str, &[u8], ValidationKind, u32); 5] = [
        ("app", include_bytes!("golden/nordic/nrfutil/app.zip"), ValidationKind::Crc, 3),
        ("app-hex", include_bytes!("golden/nordic/nrfutil/app-hex.zip"), ValidationKind::Crc, 4),
        ("app-no-validation", include_bytes!("golden/nordic/nrfutil/app-no-validation.zip"), ValidationKind::None, 3),
        ("app-sha256", include_bytes!("golden/nordic/nrfutil/app-sha256.zip"), ValidationKind::Sha256, 3),
        ("app-ecdsa", include_bytes!("golden/nordic/nrfutil/app-ecdsa.zip"), ValidationKind::EcdsaP256Sha256, 3),
    ];
    let key = SigningKey::from_pem(include_str!("golden/nordic/nrfutil/key.pem")).unwrap();
    let key: PublicKey = key.public().clone();
    let mut device = Device::new(Options::default(), 0x1c00);
    device.nordic = Nordic::new(&device.layout, Options::default(), Some(key)).unwrap();
    device.softdevice = synthetic_softdevice(0x2f00, 0x100, 140, 7_002_000);
    for (name, zip, kind, version) in zips {
        let images = Package::read(name, zip).unwrap();
        let image = &images.images[0];
        let mut flash = device.flash();
        device.upload(&mut flash, &Sent { init: image.init.clone(), image: image.firmware.clone() }).unwrap();
        let (settings, _) = device.nordic.load(&flash).unwrap();
        assert_eq!(ValidationKind::of(settings.boot_validation_app.kind), Some(kind), "{name}");
        device.boot(&mut flash);
        let outcome = device.boot(&mut flash).outcome;
        let found = matches!(outcome, brickproof_flash_model::boot::nordic::Outcome::Application { version: found, .. } if found == version);
        assert!(found, "{name}: {outcome}");
    }
}
