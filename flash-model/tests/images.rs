//! Images: against the real imgtool, round trips, sabotage, and hostile bytes.

use brickproof_flash_model::image::mcuboot::{
    ImageBuilder, ImageError, ImageHeader, ImageVersion, PublicKey, Sabotage, SigningKey, Verifier, inspect, tlv,
};
use proptest::prelude::*;

const SIGNED: &[u8] = include_bytes!("golden/imgtool/app.signed.bin");
const PADDED: &[u8] = include_bytes!("golden/imgtool/app.padded.bin");
const PAYLOAD: &[u8] = include_bytes!("golden/imgtool/app.bin");
const PUBLIC: &str = include_str!("golden/imgtool/public.pem");

fn key() -> SigningKey {
    SigningKey::from_seed(b"tests").unwrap()
}

fn verifier() -> Verifier {
    Verifier::new(vec![key().public().clone()])
}

fn image(version: &str, len: usize) -> Vec<u8> {
    ImageBuilder::new(version.parse().unwrap()).generated_payload(len).sign(&key()).unwrap()
}

/// A slot is larger than the image in it.
fn verify(verifier: &Verifier, image: &[u8]) -> Result<[u8; 32], ImageError> {
    let mut slot = image.to_vec();
    slot.resize(image.len() + 64, 0xff);
    verifier.verify(&slot.as_slice(), u32::MAX).map(|verified| verified.hash)
}

#[test]
fn images_of_the_real_imgtool_are_valid() {
    let verifier = Verifier::new(vec![PublicKey::from_pem(PUBLIC).unwrap()]);
    let info = inspect(&SIGNED).unwrap();
    assert_eq!(info.header.version.to_string(), "1.2.0");
    assert_eq!(&SIGNED[0x200..0x200 + PAYLOAD.len()], PAYLOAD);
    assert_eq!(verify(&verifier, SIGNED), Ok(info.hash.unwrap()));
    let padded = inspect(&PADDED).unwrap();
    let protected: Vec<_> = padded.tlvs.iter().filter(|(_, protected, _)| *protected).map(|(kind, ..)| *kind).collect();
    assert_eq!(protected, [tlv::SECURITY_COUNTER, tlv::DEPENDENCY]);
    assert!(verify(&verifier, PADDED).is_ok());
}

#[test]
fn the_same_payload_gives_the_bytes_of_imgtool() {
    // All but the signature, which imgtool draws at random.
    let signed = inspect(&SIGNED).unwrap();
    let ours = ImageBuilder::new(signed.header.version).payload(PAYLOAD.to_vec()).sign(&key()).unwrap();
    let tlvs = signed.header.tlv_offset().unwrap() as usize;
    assert_eq!(ours[..tlvs], SIGNED[..tlvs]);
    let kinds = |image: &[u8]| inspect(&image).unwrap().tlvs.iter().map(|(kind, ..)| *kind).collect::<Vec<_>>();
    assert_eq!(kinds(&ours), kinds(SIGNED));
    assert_eq!(inspect(&ours.as_slice()).unwrap().hash, signed.hash);
}

#[test]
fn each_sabotage_is_refused_for_its_own_reason() {
    let good = image("1.2.3+4", 5000);
    assert!(verify(&verifier(), &good).is_ok());
    for sabotage in Sabotage::ALL {
        let error = verify(&verifier(), &sabotage.apply(&good).unwrap()).unwrap_err();
        let expected = match sabotage {
            Sabotage::Hash => matches!(error, ImageError::HashMismatch),
            Sabotage::Signature => matches!(error, ImageError::SignatureInvalid),
            Sabotage::Key => matches!(error, ImageError::KeyUnknown),
            Sabotage::Truncated | Sabotage::Size => matches!(error, ImageError::HeaderSizes { .. }),
            Sabotage::Magic => matches!(error, ImageError::Magic { .. }),
            Sabotage::TlvLength => matches!(error, ImageError::TlvOverrun { .. }),
            Sabotage::TlvMagic => matches!(error, ImageError::TlvMagic { .. }),
        };
        assert!(expected, "{sabotage:?}: {error:?}");
    }
}

#[test]
fn an_unprotected_type_that_could_lie_is_refused() {
    let mut bytes = image("1.0.0", 500);
    let at = inspect(&bytes.as_slice()).unwrap().header.tlv_offset().unwrap() as usize + 4;
    // The hash TLV becomes a security counter outside the hash.
    bytes[at] = tlv::SECURITY_COUNTER as u8;
    assert_eq!(verify(&verifier(), &bytes), Err(ImageError::TlvNotAllowed(tlv::SECURITY_COUNTER)));
}

#[test]
fn without_keys_a_hash_is_enough() {
    let bytes = ImageBuilder::new(ImageVersion::default()).generated_payload(900).unsigned();
    assert!(verify(&Verifier::default(), &bytes).is_ok());
    assert_eq!(verify(&verifier(), &bytes), Err(ImageError::KeyUnknown));
}

proptest! {
    #[test]
    fn headers_round_trip(bytes in any::<[u8; 32]>()) {
        prop_assert_eq!(ImageHeader::parse(&bytes).emit(), bytes);
    }

    #[test]
    fn built_images_are_what_was_asked_for(
        len in 1usize..3000, header in 32u16..600, major: u8, minor: u8, revision: u16, build: u32, counter: u32,
    ) {
        let version = ImageVersion { major, minor, revision, build };
        let image = ImageBuilder::new(version)
            .header_size(header)
            .generated_payload(len)
            .protected_tlv(tlv::SECURITY_COUNTER, counter.to_le_bytes().to_vec())
            .sign(&key())
            .unwrap();
        let info = inspect(&image.as_slice()).unwrap();
        prop_assert_eq!(info.header.version, version);
        prop_assert_eq!(info.header.image_size as usize, len);
        prop_assert_eq!(info.total_len as usize, image.len());
        prop_assert_eq!(verify(&verifier(), &image).unwrap(), info.hash.unwrap());
        prop_assert_eq!(version.to_string().parse::<ImageVersion>().unwrap(), version);
    }

    #[test]
    fn any_changed_byte_is_noticed_or_outside(at in 0usize..1200, flip in 1u8..=255) {
        let good = image("1.0.0", 500);
        let mut changed = good.clone();
        let at = at % changed.len();
        changed[at] ^= flip;
        // Everything is under the hash, the signature or the structure.
        prop_assert!(verify(&verifier(), &changed).is_err());
    }

    #[test]
    fn hostile_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), magic: bool) {
        if magic && bytes.len() > 16 {
            bytes[..4].copy_from_slice(&[0x3d, 0xb8, 0xf3, 0x96]);
        }
        let _ = inspect(&bytes.as_slice());
        let _ = verifier().verify(&bytes.as_slice(), 300);
        for sabotage in Sabotage::ALL {
            let _ = sabotage.apply(&bytes);
        }
    }

    #[test]
    fn hostile_headers_never_panic(header in any::<[u8; 32]>(), tail in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = image("1.0.0", 300);
        bytes[4..32].copy_from_slice(&header[4..]);
        bytes.extend(tail);
        let _ = inspect(&bytes.as_slice());
        let _ = verify(&verifier(), &bytes);
    }
}
