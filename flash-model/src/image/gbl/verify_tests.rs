//! What is found besides what sabotage breaks.

use super::device::DeviceCertificate;
use super::error::codes;
use super::*;
use crate::image::mcuboot::SigningKey;

fn key(seed: &str) -> SigningKey {
    SigningKey::from_seed(seed.as_bytes()).unwrap()
}

fn plain() -> GblBuilder {
    GblBuilder::new().application(&ApplicationData::default()).program(0x6000, &[1; 64])
}

fn ids(file: &[u8], device: &Device) -> Vec<&'static str> {
    verify(file, device).findings.iter().map(|finding| finding.id).collect()
}

fn first(builder: &GblBuilder, device: &Device) -> Option<(&'static str, Option<u16>)> {
    let report = verify(&builder.unsigned().unwrap(), device);
    report.first_error().map(|finding| (finding.id, finding.code))
}

#[test]
fn what_a_device_was_not_built_for() {
    let no = |change: fn(&mut Device)| {
        let mut device = Device::default();
        change(&mut device);
        device
    };
    let unsupported = Some(("unsupported-tag", Some(codes::UNKNOWN_TAG)));
    let lzma = plain().compressed_program(Compression::Lzma, 0x8000, &[2; 64]).unwrap();
    let lz4 = plain().compressed_program(Compression::Lz4, 0x8000, &[2; 64]).unwrap();
    let entry = Dependency::new(ImageType::Application, Comparison::AtLeast, 1);
    let delta = plain().part(TagKind::Delta, vec![0; 20]);
    for (builder, device, expected) in [
        (&lzma, no(|device| device.lzma = false), unsupported),
        (&lz4, no(|device| device.lz4 = false), unsupported),
        (&plain().dependency(entry), no(|device| device.dependencies = false), unsupported),
        (&plain().se_upgrade(1, &[0; 8]), no(|device| device.series_2 = false), unsupported),
        (&delta, Device::default(), unsupported),
        (&delta, no(|device| device.delta = true), None),
        (&plain().part(TagKind::EncryptionHeader, vec![]), Device::default(), unsupported),
        (
            &plain().encrypt(&EncryptionKey::new([0; 16]), [0; 12]),
            no(|device| device.encryption = false),
            Some(("encryption-not-supported", Some(codes::FILETYPE))),
        ),
        (&plain(), no(|device| device.require_encryption = true), Some(("encryption-required", Some(codes::FILETYPE)))),
        (&plain(), no(|device| device.require_signature = true), Some(("signature-required", Some(codes::FILETYPE)))),
        (&plain(), no(|device| device.slot_size = Some(64)), Some(("slot-size", Some(codes::STORAGE_ADDRESS)))),
    ] {
        assert_eq!(first(builder, &device), expected);
    }
}

#[test]
fn the_order_of_tags_is_that_of_the_parser() {
    let header = Header { version: Header::VERSION, flags: 0 }.emit().to_vec();
    let header = || parts::Part::new(TagKind::Header, header.clone());
    let metadata = || parts::Part::new(TagKind::Metadata, vec![1; 4]);
    let application = || parts::Part::new(TagKind::Application, vec![0; 28]);
    let of = |parts: Vec<parts::Part>| {
        let file = parts::Parts {
            head: vec![header()],
            body: parts,
            encryption: None,
            tail: vec![],
            signing: parts::Signing::Not,
            end: true,
            padding: parts::Padding::Word,
        };
        verify(&file.emit().unwrap(), &Device::default()).has("tag-order")
    };
    assert!(!of(vec![application(), metadata(), metadata()]));
    assert!(of(vec![metadata(), application()]));
    assert!(of(vec![application(), application()]));
    // The first header is read before there is an order, so that one more is taken, but not two.
    assert!(!of(vec![header(), application()]));
    assert!(of(vec![header(), header()]));
    assert!(of(vec![application(), header()]));
}

#[test]
fn dependencies_count_at_once_or_in_the_end() {
    let running = Running { application: Some(3), bootloader: 0x0204_0000, se: None };
    let radio = Device { running: Some(running), ..Device::default() };
    let storage = Device { communication: false, ..radio.clone() };
    let never = Dependency::new(ImageType::Application, Comparison::Greater, 3);
    let not_met = Some(("dependency-not-met", Some(codes::VERSION)));
    for device in [&radio, &storage] {
        assert_eq!(first(&plain().dependency(never), device), not_met);
        assert_eq!(first(&plain().dependency(never.negated()), device), None);
        let se = Dependency::new(ImageType::Se, Comparison::AtLeast, 0);
        assert_eq!(first(&plain().dependency(se), device), Some(("dependency-invalid", Some(codes::UNEXPECTED))));
        let wrong = Dependency { image_code: 7, ..never };
        assert_eq!(first(&plain().dependency(wrong), device), Some(("dependency-invalid", Some(codes::UNEXPECTED))));
    }
    // A bootloader with storage takes the last of two tags, and none when its bootloader runs already.
    let always = Dependency::new(ImageType::Application, Comparison::AtLeast, 0);
    let two = plain().dependency(never).part(TagKind::VersionDependency, always.emit().to_vec());
    assert_eq!(first(&two, &radio), not_met);
    assert_eq!(first(&two, &storage), None);
    assert!(ids(&two.unsigned().unwrap(), &storage).contains(&"dependency-tags"));
    let again = plain().dependency(never).bootloader(0x0204_0000, 0, &[0; 20]);
    assert_eq!((first(&again, &radio), first(&again, &storage)), (not_met, None));
    let other = plain().dependency(never).bootloader(0x0204_0001, 0, &[0; 20]);
    assert_eq!(first(&other, &storage), not_met);
}

#[test]
fn programs_have_to_make_one_application() {
    let device = Device { application_area: Some(0x6000..0x8000), ..Device::default() };
    let of = |programs: &[(u32, usize)]| {
        let builder = GblBuilder::new().application(&ApplicationData::default());
        let builder = programs.iter().fold(builder, |builder, (at, len)| builder.program(*at, &vec![1; *len]));
        ids(&builder.unsigned().unwrap(), &device)
    };
    assert!(of(&[(0x6000, 0x2000)]).is_empty());
    assert!(of(&[(0x6000, 0x100), (0x7000, 0x1000)]).is_empty());
    assert_eq!(of(&[(0x6000, 0x2001)]), ["outside-application", "not-whole-words"].as_slice()[..1]);
    assert_eq!(of(&[(0x6000, 0x100), (0x60fc, 0x100)]), ["programs-overlap"]);
    assert_eq!(of(&[(0x6800, 0x100)]), ["no-vectors"]);
    assert_eq!(of(&[(0x5ffc, 0x100)]), ["outside-application"]);
    assert_eq!(of(&[(0x6000, 0x100), (0x7002, 4)]), ["unaligned"]);
    assert_eq!(of(&[(0xffff_fffc, 8)]), ["outside-application", "no-vectors"]);
    // Without data the address says nothing.
    assert_eq!(of(&[(1, 0)]), ["nothing-to-install"]);
    let series_1 = Device { series_2: false, application_area: None, ..device.clone() };
    assert_eq!(first(&plain().program(0x7002, &[1; 4]), &series_1), None);
    assert_eq!(first(&plain().program(0x7001, &[1; 4]), &series_1), Some(("unaligned", None)));
}

#[test]
fn many_bombs_cost_no_more_than_a_few() {
    let bomb = compress(Compression::Lzma, &vec![0; 100_000]).unwrap();
    let payload = [&0x6000u32.to_le_bytes(), bomb.as_slice()].concat();
    let builder = |count: usize| {
        let tags = (0..count).fold(plain(), |builder, _| builder.part(TagKind::ProgramLzma, payload.clone()));
        tags.unsigned().unwrap()
    };
    let device = Device { decompress_limit: 99_999, ..Device::default() };
    assert_eq!(ids(&builder(1), &device), ["decompressed-size"]);
    assert_eq!(ids(&builder(100), &device), ["decompressed-size"; 4]);
    // The limit is for all together.
    let two = Device { decompress_limit: 200_000, ..Device::default() };
    let too_large = |count: usize| ids(&builder(count), &two).iter().filter(|id| **id == "decompressed-size").count();
    assert_eq!((too_large(2), too_large(3)), (0, 1));
}

#[test]
fn bootloaders() {
    let device = Device { bootloader_address: Some(0x0800_0000), ..Device::default() };
    let good = GblBuilder::new().bootloader(1, 0x0800_0000, &[7; 100]);
    assert_eq!(first(&good, &device), None);
    let elsewhere = GblBuilder::new().bootloader(1, 0, &[7; 100]);
    assert_eq!(first(&elsewhere, &device), Some(("bootloader-address", Some(codes::UNEXPECTED))));
    let no_crc = GblBuilder::new().part(TagKind::Bootloader, vec![0; 20]);
    assert_eq!(first(&no_crc, &Device::default()), Some(("bootloader-crc", None)));
    let se = [&9u32.to_le_bytes(), [0; 12].as_slice()].concat();
    let file = GblBuilder::new().part(TagKind::SeUpgrade, se).unsigned().unwrap();
    assert_eq!(ids(&file, &Device::default()), ["se-size"]);
}

#[test]
fn lengths_that_a_device_does_not_look_at() {
    let unknown = Some(codes::UNKNOWN_TAG);
    for (kind, len, expected) in [
        (TagKind::Application, 20, None),
        (TagKind::Application, 64, None),
        (TagKind::Application, 65, Some(("tag-length", None))),
        (TagKind::Program, 3, Some(("tag-length", unknown))),
        (TagKind::Bootloader, 7, Some(("tag-length", unknown))),
        (TagKind::ProgramLz4, 3, Some(("tag-length", None))),
        (TagKind::ProgramLzma, 16, Some(("lzma-short", None))),
        (TagKind::Certificate, 135, Some(("tag-length", None))),
        (TagKind::Signature, 63, Some(("tag-length", None))),
        (TagKind::VersionDependency, 9, Some(("tag-length", Some(codes::UNEXPECTED)))),
    ] {
        let builder = GblBuilder::new().part(kind, vec![0; len]);
        assert_eq!(first(&builder, &Device::default()), expected, "{} {len}", kind.name());
    }
}

#[test]
fn certificates_have_versions() {
    let device = |version: u32| Device {
        certificate: Some(DeviceCertificate { key: key("root").public().clone(), version }),
        ..Device::default()
    };
    let certificate = Certificate::new(key("sign").public(), 3, &key("root")).unwrap();
    let file = plain().certificate(certificate).sign(&key("sign")).unwrap();
    assert!(ids(&file, &device(3)).is_empty());
    assert_eq!(ids(&file, &device(4)), ["certificate-version"]);
    assert_eq!(ids(&file, &Device::default()), ["certificate-not-checked"]);
    let key_only = Device { trust: Trust::from(key("sign").public().clone()), ..Device::default() };
    assert_eq!(ids(&file, &key_only), ["certificate-not-supported"]);
    // Without one, the key of the bootloader's own counts.
    assert!(ids(&plain().sign(&key("root")).unwrap(), &device(9)).is_empty());
    assert_eq!(ids(&plain().sign(&key("sign")).unwrap(), &device(9)), ["signature"]);
    assert_eq!(ids(&plain().sign(&key("sign")).unwrap(), &Device::default()), ["signature-not-checked"]);
    // A signature counts, whatever the header says.
    let silent = plain().header_flags(0).sign(&key("root")).unwrap();
    assert_eq!(ids(&silent, &key_only), ["signature"]);
    let nothing = Device { trust: Trust::Nothing, ..Device::default() };
    assert_eq!(ids(&plain().sign(&key("sign")).unwrap(), &nothing), ["signature-key"]);
}

#[test]
fn encryption_that_does_not_add_up() {
    let secret = EncryptionKey::new([1; 16]);
    let device = Device { decryption: Some(secret.clone()), ..Device::default() };
    let encrypted = plain().encrypt(&secret, [2; 12]);
    assert!(ids(&encrypted.clone().pieces(Pieces::One).unsigned().unwrap(), &device).is_empty());
    let silent = encrypted.clone().header_flags(0).unsigned().unwrap();
    assert_eq!(ids(&silent, &device), ["encryption-not-announced"]);
    let inside = encrypted.clone().part(TagKind::Header, vec![0; 8]).unsigned().unwrap();
    assert!(verify(&inside, &device).has("tag-inside"));
    let empty = encrypted.clone().metadata(&[]).unsigned().unwrap();
    assert_eq!(ids(&empty, &device), ["empty-tag-at-end"]);
    let cut = encrypted.pieces(Pieces::Bytes(40)).unsigned().unwrap();
    assert_eq!(verify(&cut, &device).first_error().unwrap().code, Some(codes::UNKNOWN_TAG));
    assert!(Gbl::read(&cut).unwrap().decrypt(&secret).is_ok(), "read all the same");
    let no_init = plain().header_flags(1).part(TagKind::EncryptionData, vec![0; 16]).unsigned().unwrap();
    assert!(verify(&no_init, &device).has("encryption-init-missing"));
}

#[test]
fn a_report_is_read_by_people() {
    let file = plain().dependency(Dependency::new(ImageType::Application, Comparison::AtLeast, 9)).padding(5);
    let device = Device { running: Some(Running::default()), ..Device::default() };
    let report = verify(&file.header_flags(0x104).unsigned().unwrap(), &device);
    let text: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n"));
}
