//! The vectors of the format, and files that are none.

use proptest::prelude::*;

use super::*;
use crate::image::mcuboot::SigningKey;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn counting<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|index| from + index as u8)
}

fn vector() -> GblBuilder {
    let data = ApplicationData { kind: 0x20, version: 2, capabilities: 0, product_id: counting(0) };
    GblBuilder::new().application(&data).plain_program(0x6000, &[0x00, 0x80, 0x00, 0x20, 0x01, 0x61, 0x00, 0x00])
}

const UNSIGNED: &str = "eb17a603080000000000000300000000 f40a0af41c000000200000000200000000000000
    000102030405060708090a0b0c0d0e0f fe0101fe0c00000000600000 0080002001610000 fc0404fc04000000 5e902be9";
const ENCRYPTED: &str = "eb17a603080000000000000301000000 fa0606fa1000000038000000a0a1a2a3a4a5a6a7a8a9aaab
    f90707f924000000 09610c1de2d91485126daaa583fc11ebced782dcaa8e94fd384ac0f8778ad7ba3d2aeae4
    f90707f914000000 b2410728882650111fca6f8af9e2d044355d74ff fc0404fc04000000 06267b70";

#[test]
fn the_unsigned_vector() {
    let file = hex(UNSIGNED);
    assert_eq!(file.len(), 84);
    assert_eq!(vector().unsigned().unwrap(), file);
    let gbl = Gbl::read(&file).unwrap();
    let names: Vec<_> = gbl.tags().iter().map(|tag| tag.name().to_string()).collect();
    assert_eq!(names, ["header", "application-info", "program", "end"]);
    let places: Vec<_> = gbl.tags().iter().map(|tag| (tag.place, tag.length, tag.payload.clone())).collect();
    assert_eq!(places[1], (Place::File(16), 28, 24..52));
    assert_eq!(places[3], (Place::File(72), 4, 80..84));
    let crc = gbl.crc().unwrap();
    assert_eq!((crc.stored, crc.computed), (0xe92b_905e, 0xe92b_905e));
    assert!(!gbl.is_encrypted() && !gbl.says_signed() && gbl.signature().is_none() && gbl.padding().is_empty());
    assert_eq!(verify(&file, &Device::default()), Report::default());
}

#[test]
fn the_signed_vector() {
    let key = SigningKey::from_seed(b"vector").unwrap();
    let file = vector().sign(&key).unwrap();
    let gbl = Gbl::read(&file).unwrap();
    let hash: String = gbl.signed_hash().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, "54b07544d1d471a34e81874844d7d709395ecccdd13f1d677e54ae2348bcc6ae");
    assert_eq!(gbl.signature().unwrap().0.len(), 72);
    assert_eq!(gbl.verify(key.public()), Some(true));
    assert_eq!(gbl.verify(SigningKey::from_seed(b"other").unwrap().public()), Some(false));
    assert_eq!(gbl.verify_chain(key.public()), None);
    assert_eq!(vector().sign(&key).unwrap(), file);
}

#[test]
fn the_encrypted_vector() {
    let (file, key) = (hex(ENCRYPTED), EncryptionKey::new(counting(0x10)));
    assert_eq!(file.len(), 124);
    assert_eq!(vector().encrypt(&key, counting(0xa0)).unsigned().unwrap(), file);
    let gbl = Gbl::read(&file).unwrap();
    assert_eq!(gbl.encryption().unwrap(), EncryptionInit { length: 0x38, nonce: counting(0xa0) });
    let inside = gbl.decrypt(&key).unwrap();
    assert_eq!(inside.bytes(), &hex(UNSIGNED)[16..72]);
    let names: Vec<_> = inside.tags().iter().map(|tag| (tag.place, tag.name().to_string())).collect();
    assert_eq!(names[1], (Place::Inside(36), "program".to_owned()));
    assert_eq!(inside.pieces().collect::<Vec<_>>(), [0..36, 36..56]);
    assert_eq!((inside.file_offset(0), inside.file_offset(36), inside.file_offset(56)), (Some(48), Some(92), None));
    let wrong = gbl.decrypt(&EncryptionKey::new([0; 16])).unwrap_err();
    assert!(matches!(wrong.fault, GblFault::WrongKey(_)), "{wrong}");
    assert_eq!(Gbl::read(&hex(UNSIGNED)).unwrap().decrypt(&key).unwrap_err().fault, GblFault::NotEncrypted);
    let device = Device { decryption: Some(key), ..Device::default() };
    assert_eq!(verify(&file, &device), Report::default());
    assert!(verify(&file, &Device::default()).has("not-decrypted"));
    let keyless = verify(&file, &Device { lacks_decryption_key: true, ..Device::default() });
    assert!(keyless.has("encryption-key-missing") && !keyless.has("not-decrypted") && !keyless.is_good());
}

#[test]
fn files_that_are_none_are_explained() {
    let good = hex(UNSIGNED);
    let with = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    for (file, expected) in [
        (vec![], "offset 0x0: not a GBL file: 0 bytes"),
        (
            b"PK\x03\x04....".to_vec(),
            "offset 0x0: not a GBL file: it starts with 50 4b 03 04, a GBL file with eb 17 a6 03",
        ),
        (
            hex("eb17a68408000000"),
            "offset 0x0: GBL version 4, for Series 3 chips, whose tags are nested; this reads version 3",
        ),
        (hex("0000008c0000"), "offset 0x0: an EBL file"),
        (good[..6].to_vec(), "offset 0x0: 6 bytes left where a tag header of 8 has to be: the file is truncated"),
        (good[..60].to_vec(), "offset 0x34: tag program says it has 12 bytes, 0 are left: the file is truncated"),
        (good[..72].to_vec(), "offset 0x48: the file ends without an end tag"),
        (good[..75].to_vec(), "offset 0x48: 3 bytes left"),
        (with(4, &[4]), "offset 0x0: tag header has 4 bytes, expected 8"),
        (
            with(20, &[0xff, 0xff, 0xff, 0xff]),
            "offset 0x10: tag application-info says it has 4294967295 bytes, 60 are left",
        ),
    ] {
        let error = Gbl::read(&file).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert!(verify(&file, &Device::default()).first_error().is_some());
    }
    let huge = [&good[..4], &vec![0; error::FILE_MAX]].concat();
    assert_eq!(Gbl::read(&huge).unwrap_err().fault, GblFault::TooLarge(huge.len()));
    let mut many = good[..16].to_vec();
    (0..=error::TAGS_MAX).for_each(|_| many.extend(hex("f60808f600000000")));
    assert_eq!(Gbl::read(&many).unwrap_err().fault, GblFault::TooManyTags);
}

#[test]
fn a_damaged_file_is_read_as_far_as_it_goes() {
    let file = hex(UNSIGNED);
    let (gbl, fault) = Gbl::scan(&file[..60]).unwrap();
    assert_eq!(gbl.tags().len(), 2);
    assert_eq!(gbl.crc(), None);
    assert!(matches!(fault.unwrap().fault, GblFault::TagTruncated { length: 12, left: 0, .. }));
}

/// A file with something of everything.
fn any_builder() -> impl Strategy<Value = (GblBuilder, bool, bool)> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..60);
    let entry = (0..3usize, 0..5usize, any::<u32>(), any::<[bool; 3]>()).prop_map(
        |(image, comparison, version, [or, no, not])| {
            use Comparison::{AtLeast, AtMost, Equal, Greater, Less};
            let comparison = [Less, AtMost, Equal, AtLeast, Greater][comparison];
            let entry = Dependency::new(ImageType::ALL[image], comparison, version);
            let entry = if or { entry.joined(Connective::Or) } else { entry };
            let entry = if no { entry.negated() } else { entry };
            if not { entry.result_negated() } else { entry }
        },
    );
    let programs = prop::collection::vec((0..4u8, any::<u32>(), bytes()), 0..4);
    let rest = (prop::option::of(bytes()), prop::option::of(bytes()), prop::collection::vec(bytes(), 0..2));
    (prop::collection::vec(entry, 0..4), any::<[u8; 28]>(), programs, rest, any::<[bool; 4]>(), 1..40usize).prop_map(
        |(entries, data, programs, (se, bootloader, metadata), [encrypted, certificate, signed, by_size], piece)| {
            let mut builder = entries.into_iter().fold(GblBuilder::new(), GblBuilder::dependency);
            for (kind, address, data) in programs {
                builder = match kind {
                    0 => builder.program(address, &data),
                    1 => builder.plain_program(address, &data),
                    2 => builder.compressed_program(Compression::Lz4, address, &data).unwrap(),
                    _ => builder.compressed_program(Compression::Lzma, address, &data).unwrap(),
                };
            }
            builder = builder.application(&ApplicationData::parse(&data));
            builder = se.iter().fold(builder, |builder, blob| builder.se_upgrade(9, blob));
            builder = bootloader.iter().fold(builder, |builder, image| builder.bootloader(0x0204_0000, 0, image));
            builder = metadata.iter().fold(builder, |builder, bytes| builder.metadata(bytes));
            if encrypted {
                builder = builder.encrypt(&key(), [3; 12]);
                builder = if by_size { builder.pieces(Pieces::Bytes(piece)) } else { builder };
            }
            if certificate {
                builder = builder.certificate(Certificate::new(signer().public(), 1, &root()).unwrap());
            }
            (builder, signed || certificate, encrypted)
        },
    )
}

fn key() -> EncryptionKey {
    EncryptionKey::new([5; 16])
}

fn signer() -> SigningKey {
    SigningKey::from_seed(b"signer").unwrap()
}

fn root() -> SigningKey {
    SigningKey::from_seed(b"root").unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_made_is_read_and_found_good((builder, signed, encrypted) in any_builder()) {
        let file = if signed { builder.sign(&signer()).unwrap() } else { builder.unsigned().unwrap() };
        let gbl = Gbl::read(&file).unwrap();
        let crc = gbl.crc().unwrap();
        prop_assert_eq!(crc.stored, crc.computed);
        prop_assert!(file.len().is_multiple_of(4) && gbl.padding().len() < 4);
        prop_assert_eq!(gbl.verify(signer().public()), signed.then_some(true));
        prop_assert_eq!((gbl.is_encrypted(), gbl.says_signed()), (encrypted, signed));
        let certificate = gbl.tag(TagKind::Certificate).is_some();
        prop_assert_eq!(gbl.verify_chain(root().public()), certificate.then_some(true));
        let certificate = certificate.then(|| device::DeviceCertificate { key: root().public().clone(), version: 1 });
        let device = Device {
            decryption: Some(key()),
            trust: Trust::from(signer().public().clone()),
            certificate,
            ..Device::default()
        };
        let report = verify(&file, &device);
        // What depends on numbers that are drawn, and on where pieces end.
        let drawn = ["unaligned", "split-tag", "empty-tag-at-end"];
        let bad = report.findings.iter().filter(|found| found.severity == Severity::Error && !drawn.contains(&found.id));
        prop_assert_eq!(bad.count(), 0, "{:?}", report);
        if encrypted {
            let inside = gbl.decrypt(&key()).unwrap();
            for tag in inside.tags() {
                inside.content(tag).unwrap();
            }
        }
        for tag in gbl.tags() {
            gbl.content(tag).unwrap();
        }
        // Taken apart and put together again it is the same file.
        let again = parts::Parts::of(&gbl, Some(&key())).unwrap();
        if again.encryption.as_ref().is_none_or(|found| found.pieces == Pieces::PerTag) {
            prop_assert_eq!(again.emit().unwrap(), file);
        }
    }

    #[test]
    fn anything_is_read_or_refused(noise in prop::collection::vec(any::<u8>(), 0..200), at in 0..200usize, flips in prop::collection::vec((0..700usize, any::<u8>()), 0..4)) {
        let _ = Gbl::read(&noise);
        let _ = verify(&noise, &Device::default());
        // Noise behind a header, and a good file with some bytes changed or cut off.
        let header = hex("eb17a603080000000000000300000000");
        let everything = GblBuilder::new()
            .dependency(Dependency::new(ImageType::Application, Comparison::AtLeast, 1))
            .application(&ApplicationData::default())
            .bootloader(1, 0, &[1; 30])
            .compressed_program(Compression::Lzma, 0x6000, &[7; 300]).unwrap()
            .compressed_program(Compression::Lz4, 0x7000, &[7; 300]).unwrap();
        let device = Device {
            decryption: Some(key()),
            trust: Trust::from(signer().public().clone()),
            running: Some(Running::default()),
            application_area: Some(0x6000..0x8000),
            decompress_limit: 1000,
            ..Device::default()
        };
        for builder in [everything.clone(), everything.encrypt(&key(), [3; 12])] {
            let mut file = builder.sign(&signer()).unwrap();
            for (at, byte) in &flips {
                if let Some(found) = file.get_mut(*at) {
                    *found = *byte;
                }
            }
            for file in [[header.as_slice(), &noise].concat(), file.clone(), file[..at.min(file.len())].to_vec()] {
                let _ = verify(&file, &device);
                if let Ok((gbl, _)) = Gbl::scan(&file) {
                    let _ = gbl.decrypt(&key());
                    let _ = (gbl.dependencies(), gbl.signed_hash());
                }
                for sabotage in [Sabotage::Order, Sabotage::Address, Sabotage::CorruptLz4, Sabotage::TagLength] {
                    let keys = SabotageKeys { signing: Some(&signer()), encryption: Some(&key()) };
                    let _ = sabotage.apply(&file, keys);
                }
            }
        }
    }

    #[test]
    fn any_firmware_is_looked_at(mut image in prop::collection::vec(any::<u8>(), 0..400), words in any::<[u32; 3]>(), flips in prop::collection::vec((0..1200usize, any::<u8>()), 0..4)) {
        let rules = BootRules {
            flash: 0..0x1_0000,
            ram: 0..u32::MAX,
            application_start: 0,
            secure_boot: false,
            trust: Trust::from(signer().public().clone()),
            certificate: Some(device::DeviceCertificate { key: root().public().clone(), version: 1 }),
            crc32: true,
        };
        for (at, word) in [0, 4, 52].into_iter().zip(words) {
            if let Some(found) = image.get_mut(at..at + 4) {
                found.copy_from_slice(&word.to_le_bytes());
            }
        }
        let _ = check_application(&image, words[0], &rules);
        let _ = ApplicationProperties::find(&image, words[1]);
        let certificate = Certificate::new(signer().public(), 1, &root()).unwrap();
        let mut good = FirmwareBuilder::new(0x1000).size(1200).certificate(certificate).sign(&signer()).unwrap();
        prop_assert_eq!(check_application(&good, 0x1000, &rules), Ok(application::BootGround::Signature));
        for (at, byte) in flips {
            good[at] = byte;
        }
        let _ = check_application(&good, 0x1000, &rules);
    }
}
