//! Signatures and keys of every type, against the files of the real imgtool.

use brickproof_flash_model::image::mcuboot::{
    Dependency, ImageBuilder, ImageError, PublicKey, Sabotage, SignatureType, SigningKey, Verifier, inspect,
    known_development_key, tlv,
};

/// (type, image signed by imgtool, private, public, hash) of the keys in `golden/imgtool/keys`.
macro_rules! keys {
    ($($kind:ident: $name:literal),+ $(,)?) => {
        [$((
            SignatureType::$kind,
            include_str!(concat!("golden/imgtool/keys/", $name, "-private.pem")),
            include_str!(concat!("golden/imgtool/keys/", $name, "-public.pem")),
            include_str!(concat!("golden/imgtool/keys/", $name, "-hash.hex")),
        )),+]
    };
}

const KEYS: [(SignatureType, &str, &str, &str); 4] =
    keys![EcdsaP256: "ecdsa-p256", Rsa2048: "rsa-2048", Rsa3072: "rsa-3072", Ed25519: "ed25519"];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn verifier(keys: &[&SigningKey]) -> Verifier {
    Verifier::new(keys.iter().map(|key| key.public().clone()).collect())
}

/// A slot is larger than the image in it.
fn verify(verifier: &Verifier, image: &[u8]) -> Result<(), ImageError> {
    let mut slot = image.to_vec();
    slot.resize(image.len() + 64, 0xff);
    verifier.verify(&slot.as_slice(), u32::MAX).map(|_| ())
}

fn image(key: &SigningKey) -> Vec<u8> {
    ImageBuilder::new("1.2.3".parse().unwrap()).header_size(32).generated_payload(5000).sign(key).unwrap()
}

#[test]
fn keys_of_imgtool_are_read_and_have_its_hash() {
    for (kind, private, public, hash) in KEYS {
        let signing = SigningKey::from_pem(private).unwrap();
        let read = PublicKey::from_pem(public).unwrap();
        assert_eq!(&read, signing.public(), "{kind}");
        assert_eq!(PublicKey::from_pem(private).unwrap(), read);
        assert_eq!(read.signature_type(), kind);
        assert_eq!(hex(read.hash()), hash.trim(), "{kind}");
        assert!(SigningKey::from_pem(public).unwrap_err().to_string().contains("public key"));
    }
}

#[test]
fn older_forms_hold_the_same_keys() {
    for (older, index) in [
        (include_str!("golden/imgtool/keys/ecdsa-p256-sec1-private.pem"), 0),
        (include_str!("golden/imgtool/keys/rsa-2048-pkcs1-private.pem"), 1),
        (include_str!("golden/imgtool/keys/rsa-2048-pkcs1-public.pem"), 1),
    ] {
        assert_eq!(PublicKey::from_pem(older).unwrap(), PublicKey::from_pem(KEYS[index].2).unwrap());
    }
}

#[test]
fn images_of_imgtool_are_valid_for_their_key_alone() {
    let development = |pem: &str| SigningKey::from_pem(pem).unwrap();
    let rsa = development(include_str!("../../scenarios/keys/brickproof-development-rsa-2048.pem"));
    let ed25519 = development(include_str!("../../scenarios/keys/brickproof-development-ed25519.pem"));
    let rsa3072 = SigningKey::stranger(SignatureType::Rsa3072).unwrap();
    let images: [(&SigningKey, &[u8]); 3] = [
        (&rsa, include_bytes!("golden/imgtool/app.rsa-2048.bin")),
        (&ed25519, include_bytes!("golden/imgtool/app.ed25519.bin")),
        (&rsa3072, include_bytes!("golden/imgtool/app.rsa-3072.bin")),
    ];
    for (key, image) in images {
        let kind = key.public().signature_type();
        assert_eq!(verify(&verifier(&[key]), image), Ok(()), "{kind}");
        let stranger = SigningKey::stranger(kind).unwrap();
        assert_eq!(verify(&verifier(&[&stranger, key]), image), Ok(()), "{kind}: the second of two keys");
        let info = inspect(&image).unwrap();
        assert_eq!(info.signature_type(), Some(kind));
        // What imgtool writes, we write: all but the random salt of RSA.
        let payload = include_bytes!("golden/imgtool/app.bin").to_vec();
        let mut builder = ImageBuilder::new(info.header.version).payload(payload);
        if kind == SignatureType::Rsa2048 {
            builder = builder.security_counter(7).dependency(1, "2.3.4+5".parse().unwrap());
        }
        let ours = builder.sign(key).unwrap();
        let same = if kind == SignatureType::Ed25519 { image.len() } else { image.len() - ours_signature(&ours) };
        assert_eq!(ours.len(), image.len());
        assert_eq!(ours[..same], image[..same], "{kind}");
    }
    let info = inspect(&images[0].1).unwrap();
    assert_eq!(info.security_counter(), Some(7));
    let needed = Dependency { image: 1, min_version: "2.3.4+5".parse().unwrap() };
    assert_eq!(info.dependencies().collect::<Vec<_>>(), [needed]);
}

fn ours_signature(image: &[u8]) -> usize {
    let info = inspect(&image).unwrap();
    info.tlv(info.signature_type().unwrap().tlv()).unwrap().len()
}

#[test]
fn each_type_can_be_broken_in_each_way() {
    for (kind, private, ..) in KEYS {
        let key = SigningKey::from_pem(private).unwrap();
        let good = image(&key);
        assert_eq!(good, image(&key), "{kind}: equal input, equal image");
        let verifier = verifier(&[&key]);
        assert_eq!(verify(&verifier, &good), Ok(()));
        for sabotage in Sabotage::ALL {
            let error = verify(&verifier, &sabotage.apply(&good).unwrap()).unwrap_err();
            match sabotage {
                Sabotage::Hash => assert_eq!(error, ImageError::HashMismatch),
                Sabotage::Signature => assert_eq!(error, ImageError::SignatureInvalid, "{kind}"),
                Sabotage::Key => assert_eq!(error, ImageError::KeyUnknown, "{kind}"),
                _ => {}
            }
        }
    }
}

#[test]
fn a_bootloader_takes_one_type_only() {
    let keys: Vec<_> = KEYS.iter().map(|(_, private, ..)| SigningKey::from_pem(private).unwrap()).collect();
    for (expected, trusted) in KEYS.iter().map(|key| key.0).zip(&keys) {
        let verifier = verifier(&[trusted]);
        assert_eq!(verifier.signature_type(), Some(expected));
        for (found, key) in KEYS.iter().map(|key| key.0).zip(&keys) {
            let result = verify(&verifier, &image(key));
            if found == expected {
                assert_eq!(result, Ok(()));
            } else {
                assert_eq!(result, Err(ImageError::SignatureType { found, expected }));
            }
        }
    }
    // A key of another type is not used, not even with its own images.
    let mixed = verifier(&[&keys[0], &keys[3]]);
    assert_eq!(
        verify(&mixed, &image(&keys[3])),
        Err(ImageError::SignatureType { found: SignatureType::Ed25519, expected: SignatureType::EcdsaP256 })
    );
}

#[test]
fn one_signature_of_a_trusted_key_among_others_is_enough() {
    let [trusted, other] = [b"trusted".as_slice(), b"other"].map(|seed| SigningKey::from_seed(seed).unwrap());
    let good = image(&trusted);
    let info = inspect(&good.as_slice()).unwrap();
    let signed = info.header.hashed_len().unwrap() as usize;
    let entry =
        |kind: u16, value: &[u8]| [&kind.to_le_bytes()[..], &(value.len() as u16).to_le_bytes(), value].concat();
    let build = |keys: [&SigningKey; 2]| {
        let mut entries = entry(tlv::SHA256, &info.hash.unwrap());
        for key in keys {
            entries.extend(entry(tlv::KEY_HASH, key.public().hash()));
            entries.extend(entry(tlv::ECDSA_SIGNATURE, &key.sign(&good[..signed]).unwrap()));
        }
        let mut image = good[..signed].to_vec();
        image.extend(tlv::INFO_MAGIC.to_le_bytes());
        image.extend((entries.len() as u16 + 4).to_le_bytes());
        image.extend(entries);
        image
    };
    assert_eq!(verify(&verifier(&[&trusted]), &build([&other, &trusted])), Ok(()));
    assert_eq!(verify(&verifier(&[&trusted]), &build([&trusted, &other])), Ok(()));
    assert_eq!(verify(&verifier(&[&trusted]), &build([&other, &other])), Err(ImageError::KeyUnknown));
}

#[test]
fn a_security_counter_must_be_there_and_high_enough() {
    let key = SigningKey::from_seed(b"tests").unwrap();
    let verifier = verifier(&[&key]);
    let builder = ImageBuilder::new("1.0.0".parse().unwrap()).generated_payload(500);
    let check = |builder: &ImageBuilder, device: u32| {
        let mut slot = builder.sign(&key).unwrap();
        slot.push(0xff);
        verifier.verify_with_counter(&slot.as_slice(), u32::MAX, Some(device)).map(|_| ())
    };
    assert_eq!(check(&builder, 0), Err(ImageError::SecurityCounterMissing));
    let counted = builder.clone().security_counter(5);
    assert_eq!(check(&counted, 5), Ok(()));
    assert_eq!(check(&counted, 6), Err(ImageError::SecurityCounterTooLow { image: 5, device: 6 }));
    let odd = builder.protected_tlv(tlv::SECURITY_COUNTER, vec![5]);
    assert_eq!(check(&odd, 0), Err(ImageError::SecurityCounterLength(1)));
}

#[test]
fn published_keys_are_known_by_their_hash() {
    let unhex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let known = |text: &str| known_development_key(&unhex(text));
    assert_eq!(known("e30466f6b8470c1f29070b17f1e2d3e94d445e3f608087fdc711e4382bb538b6"), Some("root-ec-p256.pem"));
    // The recordings of the boot code were made with that key too.
    let recorded = PublicKey::from_der(include_bytes!("golden/mcuboot/ecdsa-p256-pub.der")).unwrap();
    assert_eq!(known_development_key(recorded.hash()), Some("root-ec-p256.pem"));
    let ours = include_str!("../../scenarios/keys/brickproof-development.pem");
    let key = SigningKey::from_pem(ours).unwrap();
    assert_eq!(inspect(&image(&key).as_slice()).unwrap().development_key(), Some("brickproof-development.pem"));
    for pem in ["rsa-2048", "ed25519"] {
        let path = format!("{}/../scenarios/keys/brickproof-development-{pem}.pem", env!("CARGO_MANIFEST_DIR"));
        let key = PublicKey::from_pem(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(known_development_key(key.hash()), Some(format!("brickproof-development-{pem}.pem").as_str()));
    }
    assert_eq!(known_development_key(SigningKey::from_seed(b"x").unwrap().public().hash()), None);
}
