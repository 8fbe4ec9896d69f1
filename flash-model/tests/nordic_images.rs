//! Images of Nordic's DFU: against packages of the real nrfutil and Adafruit nrfutil, and against the decoder of devices.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use brickproof_flash_model::image::mcuboot::{PublicKey, SigningKey};
use brickproof_flash_model::image::nordic::builder::{
    InitPacketBuilder, SoftdeviceInfo, application_binary, bootloader_binary,
};
use brickproof_flash_model::image::nordic::sign::{device_key, from_device_key};
use brickproof_flash_model::image::nordic::{
    Decoder, FwType, ImageKind, InitPacket, LegacyExtension, LegacyInitPacket, Manifest, Package, PackageImage,
    ValidationType, verify,
};
use serde_json::{Value, json};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nordic")
}

fn read(path: &str) -> Vec<u8> {
    let path = golden().join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn package(path: &str) -> Package {
    let package = Package::read(path, &read(path)).unwrap();
    package.verify(path).unwrap();
    package
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names of the packages in a folder.
fn packages(folder: &str) -> Vec<String> {
    let files = std::fs::read_dir(golden().join(folder)).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> =
        names.filter(|name| name.ends_with(".zip")).map(|name| format!("{folder}/{name}")).collect();
    names.sort();
    assert!(names.len() > 5);
    names
}

fn key() -> SigningKey {
    SigningKey::from_pem(str::from_utf8(&read("nrfutil/key.pem")).unwrap()).unwrap()
}

/// The key as nrfutil shows it: as a device holds it.
fn public() -> PublicKey {
    let text = String::from_utf8(read("nrfutil/public.hex")).unwrap();
    from_device_key(&hex(text.trim()).try_into().unwrap()).unwrap()
}

fn signature_holds(init: &[u8], key: &PublicKey) -> bool {
    let packet = InitPacket::parse(init).unwrap();
    let signature = packet.signature.clone().unwrap();
    verify(key, packet.signed_bytes(init).unwrap(), &signature.bytes)
}

#[test]
fn the_public_key_is_that_of_nrfutil() {
    assert_eq!(
        to_hex(&device_key(key().public()).unwrap()),
        String::from_utf8(read("nrfutil/public.hex")).unwrap().trim()
    );
    assert_eq!(&public(), key().public());
}

#[test]
fn packages_of_nrfutil_are_good_and_their_packets_are_written_back_byte_for_byte() {
    for name in packages("nrfutil") {
        let package = package(&name);
        assert!(!package.is_legacy(), "{name}");
        for image in &package.images {
            let packet = InitPacket::parse(&image.init).unwrap();
            assert_eq!(packet.emit(), image.init, "{name}");
            assert_eq!(InitPacket::new(packet.command.clone(), packet.signature.clone()), packet, "{name}");
            let unsigned = name.contains("unsigned") || name.contains("no-sd");
            assert_eq!(packet.signature.is_none(), unsigned, "{name}");
            if !unsigned {
                assert!(signature_holds(&image.init, &public()), "{name}");
                assert!(!signature_holds(&image.init, SigningKey::from_seed(b"other").unwrap().public()), "{name}");
            }
        }
    }
}

#[test]
fn manifests_are_written_back_byte_for_byte() {
    for name in packages("nrfutil").into_iter().chain(packages("adafruit-nrfutil")) {
        let mut zip = zip::ZipArchive::new(Cursor::new(read(&name))).unwrap();
        let mut text = Vec::new();
        zip.by_name("manifest.json").unwrap().read_to_end(&mut text).unwrap();
        let again = Manifest::parse(&text).unwrap().emit();
        assert_eq!(String::from_utf8(again), String::from_utf8(text), "{name}");
    }
}

#[test]
fn the_same_arguments_give_the_packets_of_nrfutil() {
    let firmware = |name: &str, kind| package(name).image(kind).unwrap().firmware.clone();
    let app = firmware("nrfutil/app.zip", ImageKind::Application);
    let bootloader = firmware("nrfutil/bl.zip", ImageKind::Bootloader);
    let softdevice = firmware("nrfutil/sd-app.zip", ImageKind::Softdevice);
    let from_hex = firmware("nrfutil/sd.zip", ImageKind::Softdevice);
    let application = || InitPacketBuilder::application(&app).fw_version(3).hw_version(52).sd_req(&[0x100]);
    let both = || {
        InitPacketBuilder::softdevice_bootloader(&softdevice, &bootloader).fw_version(2).hw_version(52).sd_req(&[0xca])
    };
    let kinds = [
        ("no-validation", ValidationType::NoValidation),
        ("sha256", ValidationType::Sha256),
        ("ecdsa", ValidationType::EcdsaP256Sha256),
    ];
    let mut cases: BTreeMap<String, InitPacketBuilder> = BTreeMap::new();
    for (name, kind) in kinds {
        cases.insert(format!("app-{name}.zip"), application().boot_validation(kind));
    }
    let app_hex = firmware("nrfutil/app-hex.zip", ImageKind::Application);
    for (name, builder) in [
        ("app.zip", application()),
        ("app-debug.zip", application().debug(true)),
        ("app-unsigned.zip", application()),
        // nrfutil makes a set of the list, which turned it around.
        ("app-sd-list.zip", application().fw_version(20731).sd_req(&[0x100, 0xca, 0xb6])),
        ("app-hex.zip", InitPacketBuilder::application(&app_hex).fw_version(4).hw_version(52).sd_req(&[0x100])),
        ("app-no-sd.zip", InitPacketBuilder::application(&app).sd_req(&[0])),
        ("external.zip", InitPacketBuilder::external_application(&app).fw_version(3).hw_version(52)),
        ("bl.zip", InitPacketBuilder::bootloader(&bootloader).fw_version(2).hw_version(52).sd_req(&[0x100])),
        ("sd.zip", InitPacketBuilder::softdevice(&from_hex).hw_version(52).sd_req(&[0x100])),
        ("sd-bl.zip", both()),
        ("sd-bl-ecdsa.zip", both().boot_validation(ValidationType::EcdsaP256Sha256)),
    ] {
        cases.insert(name.to_owned(), builder);
    }
    for (name, builder) in cases {
        let theirs = &package(&format!("nrfutil/{name}")).images[0];
        let ours = if InitPacket::parse(&theirs.init).unwrap().signature.is_some() {
            builder.sign(&key()).unwrap()
        } else {
            builder.unsigned().unwrap()
        };
        // nrfutil draws signatures at random. Those of ours have to hold, and all else has to be the same.
        let blank = |init: &[u8]| {
            let mut packet = InitPacket::parse(init).unwrap();
            for bytes in packet.signature.iter_mut().map(|signature| &mut signature.bytes) {
                bytes.fill(0);
            }
            for validation in &mut packet.command.boot_validation {
                if validation.kind == ValidationType::EcdsaP256Sha256 {
                    let part = theirs.firmware.get(..packet.command.sd_size.unwrap() as usize).unwrap();
                    let image = if part.is_empty() { &theirs.firmware } else { part };
                    assert!(verify(&public(), image, &validation.bytes), "{name}");
                    validation.bytes.fill(0);
                }
            }
            to_hex(&packet.emit())
        };
        assert_eq!(blank(&ours), blank(&theirs.init), "{name}");
    }
}

#[test]
fn images_come_in_the_order_in_which_they_are_sent() {
    let all = package("nrfutil/sd-bl-app.zip");
    let kinds: Vec<_> = all.images.iter().map(|image| image.kind).collect();
    assert_eq!(kinds, [ImageKind::SoftdeviceBootloader, ImageKind::Application]);
    let sd_req = |index: usize| InitPacket::parse(&all.images[index].init).unwrap().command.sd_req;
    // So that a repeat is taken after the first half, nrfutil adds the new SoftDevice to the list of the first image.
    let mut first = sd_req(0);
    first.sort_unstable();
    assert_eq!((first, sd_req(1)), (vec![0xca, 0x100], vec![0x100]));
    let external = InitPacket::parse(&package("nrfutil/external.zip").images[0].init).unwrap();
    assert_eq!(external.command.fw_type, Some(FwType::ExternalApplication));
}

#[test]
fn firmware_from_hex_files_has_no_mbr_and_whole_words() {
    let softdevice = &package("nrfutil/sd.zip").images[0];
    let info = SoftdeviceInfo { firmware_id: 0x100, id: 140, version: 7_002_000 };
    assert_eq!(SoftdeviceInfo::parse(&softdevice.firmware), Some(info));
    assert_eq!(package("nrfutil/app-hex.zip").images[0].firmware.len(), 304);
    assert_eq!(package("nrfutil/app.zip").images[0].firmware.len(), 512);
}

#[test]
fn a_compressed_package_is_the_same_package() {
    assert_eq!(package("nrfutil/app-deflated.zip"), package("nrfutil/app.zip"));
}

#[test]
fn packages_of_adafruit_nrfutil_are_good_and_their_packets_are_written_back_byte_for_byte() {
    for name in packages("adafruit-nrfutil") {
        let package = package(&name);
        assert!(package.is_legacy(), "{name}");
        for image in &package.images {
            let packet = LegacyInitPacket::parse(&image.init).unwrap();
            assert_eq!(packet.emit(), image.init, "{name}");
            assert_eq!((packet.device_type, packet.device_revision), (0x52, 52840), "{name}");
            assert_eq!(packet.extension.matches(&image.firmware), Some(true), "{name}");
            // What we would make of it is the same, manifest and all.
            let ours = if image.kind == ImageKind::SoftdeviceBootloader {
                let (softdevice, bootloader) = image.firmware.split_at(384);
                PackageImage::legacy_softdevice_bootloader(&packet, softdevice, bootloader)
            } else {
                PackageImage::legacy(image.kind, &packet, image.firmware.clone())
            };
            let names = (image.entry.bin_file.clone(), image.entry.dat_file.clone());
            let mut entry = ours.entry.clone();
            (entry.bin_file, entry.dat_file) = names;
            assert_eq!((ours.init, ours.firmware, &entry), (image.init.clone(), image.firmware.clone(), &image.entry));
        }
        let ours = Package::legacy(package.images.clone());
        assert_eq!(ours, package, "{name}");
    }
}

#[test]
fn extended_legacy_packets_are_those_of_adafruit_nrfutil() {
    let firmware = &package("adafruit-nrfutil/app.zip").images[0].firmware;
    let plain = LegacyInitPacket {
        device_type: 0x52,
        device_revision: 52840,
        application_version: 3,
        sd_req: vec![0xb6, 0xca],
        extension: LegacyExtension::sha256_of(firmware),
    };
    assert_eq!(plain.emit(), read("adafruit-nrfutil/0.7.dat"));
    assert_eq!(LegacyInitPacket::parse(&plain.emit()).unwrap(), plain);

    let bytes = read("adafruit-nrfutil/0.8.dat");
    let theirs = LegacyInitPacket::parse(&bytes).unwrap();
    assert_eq!(theirs.emit(), bytes);
    assert!(theirs.verify(&public()));
    assert_eq!(theirs.extension.matches(firmware), Some(true));
    let ours = plain.sign(firmware, &key()).unwrap();
    let body = bytes.len() - 64;
    assert_eq!(ours.emit()[..body], bytes[..body]);
    assert!(ours.verify(&public()));
}

/// What this crate reads, as the records have it.
fn as_record(bytes: &[u8], decoder: Decoder) -> Value {
    let Ok(packet) = InitPacket::parse_as(bytes, decoder) else { return Value::Null };
    let command = &packet.command;
    let validation = |kind: ValidationType, bytes: &[u8]| json!([kind.code(), to_hex(bytes)]);
    json!({
        "signed": [packet.signed.start, packet.signed.end],
        "op_code": packet.op_code,
        "fw_version": command.fw_version,
        "hw_version": command.hw_version,
        "sd_req": command.sd_req,
        "type": command.fw_type.map(FwType::code),
        "sd_size": command.sd_size,
        "bl_size": command.bl_size,
        "app_size": command.app_size,
        "hash": command.hash.as_ref().map(|hash| json!([hash.kind.code(), to_hex(&hash.bytes)])),
        "is_debug": command.is_debug,
        "boot_validation":
            command.boot_validation.iter().map(|entry| validation(entry.kind, &entry.bytes)).collect::<Vec<_>>(),
        "signature": packet.signature.as_ref().map(|found| json!([found.kind.code(), to_hex(&found.bytes)])),
    })
}

/// Every record of the decoders of devices in the golden folder, or in the one that `BRICKPROOF_GOLDEN_NANOPB` names.
#[test]
fn packets_are_read_as_devices_read_them() {
    let folder = std::env::var_os("BRICKPROOF_GOLDEN_NANOPB").map_or(golden().join("nanopb"), PathBuf::from);
    for (name, decoder) in [
        ("packets-12.3.jsonl", Decoder::Sdk12),
        ("packets-14.2.jsonl", Decoder::Sdk14),
        ("packets-15.0.jsonl", Decoder::Sdk15),
        ("packets-17.1.jsonl", Decoder::Sdk15_3),
    ] {
        let (mut taken, mut refused) = (0, 0);
        for line in std::fs::read_to_string(folder.join(name)).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let read = as_record(&hex(record["packet"].as_str().unwrap()), decoder);
            assert_eq!(read, record["read"], "{name}: {}", record["packet"]);
            *(if read.is_null() { &mut refused } else { &mut taken }) += 1;
        }
        assert!(taken > 10 && refused > 10, "{name}: {taken} taken, {refused} refused");
    }
}

/// One package of each combination. Where `BRICKPROOF_NORDIC_PACKAGES` names a folder, they are written there for the tools
/// of others (`.ci/nordic-packages`).
#[test]
fn packages_of_every_combination_are_good() {
    let key = key();
    let (app, bootloader) = (application_binary(3, 3000), bootloader_binary(2, 1500));
    let softdevice = SoftdeviceInfo::S140_7_2_0.binary(9000);
    let image = |kind, builder: &InitPacketBuilder| {
        let builder = builder.clone().hw_version(52).sd_req(&[0xca, 0x100]);
        PackageImage::new(kind, builder.sign(&key).unwrap(), builder.firmware())
    };
    let application = InitPacketBuilder::application(&app).fw_version(3);
    let both = InitPacketBuilder::softdevice_bootloader(&softdevice, &bootloader).fw_version(2);
    let app_image = || image(ImageKind::Application, &application);
    let sd_image = || image(ImageKind::Softdevice, &InitPacketBuilder::softdevice(&softdevice));
    let both_image = || image(ImageKind::SoftdeviceBootloader, &both);
    let unsigned = PackageImage::new(ImageKind::Application, application.unsigned().unwrap(), app.clone());
    let signed_boot = application.clone().debug(true).boot_validation(ValidationType::EcdsaP256Sha256);
    let external = InitPacketBuilder::external_application(&app);
    let secure = [
        ("app", vec![app_image()]),
        ("app-unsigned", vec![unsigned]),
        ("app-debug-ecdsa", vec![image(ImageKind::Application, &signed_boot)]),
        ("external", vec![image(ImageKind::Application, &external)]),
        ("bl", vec![image(ImageKind::Bootloader, &InitPacketBuilder::bootloader(&bootloader).fw_version(2))]),
        ("sd", vec![sd_image()]),
        ("sd-bl", vec![both_image()]),
        ("sd-app", vec![app_image(), sd_image()]),
        ("sd-bl-app", vec![app_image(), both_image()]),
    ];
    let packet = LegacyInitPacket { device_type: 0x52, ..LegacyInitPacket::new(&app) };
    let both_packet = LegacyInitPacket::new(&both.firmware());
    let legacy_app = |packet: &LegacyInitPacket| PackageImage::legacy(ImageKind::Application, packet, app.clone());
    let legacy_both = PackageImage::legacy_softdevice_bootloader(&both_packet, &softdevice, &bootloader);
    let legacy = [
        ("legacy-app", vec![legacy_app(&packet)]),
        ("legacy-app-signed", vec![legacy_app(&packet.clone().sign(&app, &key).unwrap())]),
        ("legacy-sd-bl-app", vec![legacy_both, legacy_app(&packet)]),
    ];
    let secure = secure.map(|(name, images)| (name, Package::new(images)));
    let legacy = legacy.map(|(name, images)| (name, Package::legacy(images)));
    let folder = std::env::var_os("BRICKPROOF_NORDIC_PACKAGES").map(PathBuf::from);
    for (name, package) in secure.into_iter().chain(legacy) {
        let file = format!("{name}.zip");
        package.verify(&file).unwrap();
        let bytes = package.write(&file).unwrap();
        assert_eq!(Package::read(&file, &bytes).unwrap(), package, "{name}");
        if let Some(folder) = &folder {
            std::fs::write(folder.join(&file), bytes).unwrap();
        }
    }
}
