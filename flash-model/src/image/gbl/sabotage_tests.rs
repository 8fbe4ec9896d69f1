//! Each file is broken in one way, and that way is found.

use std::collections::BTreeSet;

use super::device::DeviceCertificate;
use super::error::codes;
use super::*;
use crate::image::mcuboot::SigningKey;

const BASE: u32 = 0x0801_2000;

fn key(seed: &str) -> SigningKey {
    SigningKey::from_seed(seed.as_bytes()).unwrap()
}

fn secret() -> EncryptionKey {
    EncryptionKey::new([0x33; 16])
}

fn firmware() -> FirmwareBuilder {
    FirmwareBuilder::new(BASE).version(5).size(3000)
}

fn plain() -> GblBuilder {
    let builder = GblBuilder::new().firmware(BASE, &firmware().build());
    let by_hand = GblBuilder::new().application(&firmware().data()).program(BASE, &firmware().build());
    assert_eq!(builder.unsigned(), by_hand.unsigned());
    builder
}

fn certified() -> GblBuilder {
    plain().certificate(Certificate::new(key("sign").public(), 3, &key("root")).unwrap())
}

/// Takes what is signed or not, encrypted or not.
fn device() -> Device {
    Device {
        trust: Trust::from(key("sign").public().clone()),
        decryption: Some(secret()),
        running: Some(Running { application: Some(4), bootloader: 0x0204_0000, se: Some(0x0001_0203) }),
        installed: Some(ApplicationData { version: 4, ..firmware().data() }),
        application_area: Some(BASE..0x0808_0000),
        decompress_limit: 1 << 20,
        ..Device::default()
    }
}

fn broken(sabotage: Sabotage, file: &[u8]) -> Result<Vec<u8>, SabotageError> {
    sabotage.apply(file, SabotageKeys { signing: Some(&key("sign")), encryption: Some(&secret()) })
}

/// The finding, and the code of the device.
fn expected(sabotage: Sabotage) -> (&'static str, Option<u16>) {
    match sabotage {
        Sabotage::Crc => ("crc", Some(codes::CRC)),
        Sabotage::Signature | Sabotage::Key => ("signature", Some(codes::SIGNATURE)),
        Sabotage::Unsigned => ("signature-required", Some(codes::FILETYPE)),
        Sabotage::NoSignature => ("signature-missing", Some(codes::SIGNATURE)),
        Sabotage::Certificate => ("certificate-signature", Some(codes::SIGNATURE)),
        Sabotage::Truncated => ("truncated", None),
        Sabotage::NoEnd => ("no-end", None),
        Sabotage::HeaderVersion => ("header-version", Some(codes::VERSION)),
        Sabotage::Address => ("outside-application", None),
        Sabotage::Unaligned => ("unaligned", None),
        Sabotage::Order | Sabotage::ApplicationTwice => ("tag-order", Some(codes::TAG_ORDER)),
        Sabotage::UnknownTag => ("unknown-tag", Some(codes::UNKNOWN_TAG)),
        Sabotage::TagLength => ("truncated", None),
        Sabotage::CorruptLzma => ("lzma-data", Some(codes::COMPRESSION_DATA)),
        Sabotage::LzmaNoEnd => ("lzma-no-end", Some(codes::COMPRESSION_STATE)),
        Sabotage::LzmaMemory => ("lzma-memory", Some(codes::COMPRESSION_MEM)),
        Sabotage::Bomb => ("decompressed-size", None),
        Sabotage::CorruptLz4 => ("lz4-end", Some(codes::COMPRESSION_STATE)),
        Sabotage::Lz4OffsetZero => ("lz4-offset-zero", None),
        Sabotage::EncryptionKey => ("wrong-encryption-key", Some(codes::UNKNOWN_TAG)),
        Sabotage::SplitTags => ("split-tag", Some(codes::UNKNOWN_TAG)),
        Sabotage::ClearTags => ("tag-in-clear", Some(codes::UNEXPECTED)),
        Sabotage::Dependency => ("dependency-not-met", Some(codes::VERSION)),
        Sabotage::Downgrade => ("not-newer", Some(codes::REJECTED)),
        Sabotage::ProductId => ("other-product", Some(codes::REJECTED)),
    }
}

fn is_only_for_encrypted(sabotage: Sabotage) -> bool {
    matches!(sabotage, Sabotage::EncryptionKey | Sabotage::SplitTags)
}

#[test]
fn each_is_found_and_nothing_else_is_wrong() {
    let signed = plain().sign(&key("sign")).unwrap();
    let encrypted = plain().encrypt(&secret(), [1; 12]).sign(&key("sign")).unwrap();
    let required = Device { require_signature: true, ..device() };
    for (file, is_encrypted) in [(&signed, false), (&encrypted, true)] {
        assert_eq!(verify(file, &required), Report::default());
        let mut seen = BTreeSet::new();
        for sabotage in Sabotage::ALL {
            let name = sabotage.name();
            if sabotage == Sabotage::Certificate || is_only_for_encrypted(sabotage) && !is_encrypted {
                assert!(matches!(broken(sabotage, file), Err(SabotageError::NothingThere(_))), "{name}");
                continue;
            }
            let broken = broken(sabotage, file).unwrap();
            assert!(seen.insert(broken.clone()), "{name}");
            assert_eq!(sabotage.name().parse(), Ok(sabotage));
            let report = verify(&broken, &required);
            let (id, code) = expected(sabotage);
            let errors: Vec<_> = report.findings.iter().filter(|found| found.severity == Severity::Error).collect();
            assert!(errors.iter().all(|found| (found.id, found.code) == (id, code)), "{name}: {errors:#?}");
            assert_eq!(report.first_error().map(|found| found.id), Some(id), "{name}");
        }
    }
}

#[test]
fn certificates() {
    let own = DeviceCertificate { key: key("root").public().clone(), version: 3 };
    let device = Device { certificate: Some(own), require_signature: true, ..device() };
    let file = certified().sign(&key("sign")).unwrap();
    assert_eq!(verify(&file, &device), Report::default());
    for sabotage in [Sabotage::Certificate, Sabotage::Key, Sabotage::Unsigned] {
        let report = verify(&broken(sabotage, &file).unwrap(), &device);
        assert_eq!(report.first_error().map(|found| found.id), Some(expected(sabotage).0), "{}", sabotage.name());
    }
}

#[test]
fn files_without_a_signature_or_with_other_tags_break_too() {
    for builder in [plain(), plain().encrypt(&secret(), [1; 12]).pieces(Pieces::One)] {
        let file = builder.unsigned().unwrap();
        for sabotage in Sabotage::ALL {
            let broken = sabotage.apply(&file, SabotageKeys { signing: None, encryption: Some(&secret()) });
            match sabotage {
                Sabotage::Signature | Sabotage::Key | Sabotage::Unsigned | Sabotage::Certificate => {
                    assert!(matches!(broken, Err(SabotageError::NothingThere(_))), "{}", sabotage.name());
                }
                _ if is_only_for_encrypted(sabotage) && !Gbl::read(&file).unwrap().is_encrypted() => {}
                Sabotage::NoSignature => assert!(verify(&broken.unwrap(), &device()).has("signature-missing")),
                _ => assert!(!verify(&broken.unwrap(), &device()).is_good(), "{}", sabotage.name()),
            }
        }
    }
    let only = GblBuilder::new().metadata(b"nothing").unsigned().unwrap();
    for sabotage in [Sabotage::Address, Sabotage::Order, Sabotage::UnknownTag, Sabotage::TagLength, Sabotage::Downgrade]
    {
        assert!(matches!(broken(sabotage, &only), Err(SabotageError::NothingThere(_))), "{}", sabotage.name());
    }
}

#[test]
fn keys_that_are_needed_are_asked_for() {
    let file = plain().encrypt(&secret(), [1; 12]).sign(&key("sign")).unwrap();
    let nothing = SabotageKeys::default();
    assert_eq!(Sabotage::Address.apply(&file, nothing), Err(SabotageError::KeyMissing("an encrypted file")));
    assert_eq!(Sabotage::Dependency.apply(&file, nothing), Err(SabotageError::KeyMissing("a signed file")));
    for sabotage in [Sabotage::Crc, Sabotage::Truncated, Sabotage::Signature, Sabotage::Key, Sabotage::Unsigned] {
        assert_ne!(sabotage.apply(&file, nothing).unwrap(), file, "{}", sabotage.name());
    }
    let other = EncryptionKey::new([0; 16]);
    let keys = SabotageKeys { signing: Some(&key("sign")), encryption: Some(&other) };
    assert!(matches!(Sabotage::Address.apply(&file, keys), Err(SabotageError::Gbl(_))));
}

#[test]
fn compressed_programs_are_broken_as_plain_ones() {
    for compression in [Compression::Lz4, Compression::Lzma] {
        let builder = GblBuilder::new().application(&firmware().data());
        let file = builder.compressed_program(compression, BASE, &firmware().build()).unwrap().unsigned().unwrap();
        assert_eq!(verify(&file, &device()), Report::default());
        for sabotage in [Sabotage::CorruptLzma, Sabotage::CorruptLz4, Sabotage::Bomb, Sabotage::Unaligned] {
            let report = verify(&broken(sabotage, &file).unwrap(), &device());
            assert_eq!(report.first_error().map(|found| found.id), Some(expected(sabotage).0), "{}", sabotage.name());
        }
    }
}

#[test]
fn names_that_are_none_are_explained() {
    let error = "colour".parse::<Sabotage>().unwrap_err();
    assert!(error.contains("`colour`") && error.contains("lz4-offset-zero"), "{error}");
}
