//! Signatures and keys in the byte order of Nordic.
//!
//! A signature is ECDSA over P-256 with SHA-256: r and s as 32 bytes each, each in reverse order. A device holds the public
//! key as X and Y, 32 bytes each, each in reverse order (pc-nrfutil: `signing.py`; nrf5 sdk 17.1:
//! `nrf_dfu_validation.c`, `crypto_init`).

use p256::ecdsa;
use sha2::{Digest, Sha256};

use crate::image::mcuboot::{KeyError, PublicKey, SigningKey};

/// Bytes of a signature, and of a public key.
pub const SIGNATURE_LEN: usize = 64;

/// Signs `message`; the same bytes each time.
///
/// # Errors
/// [`KeyError`] when `key` is not of ECDSA P-256.
pub fn sign(key: &SigningKey, message: &[u8]) -> Result<[u8; SIGNATURE_LEN], KeyError> {
    sign_big_endian(key, message).map(reverse_halves)
}

/// Whether `signature` is that of `key` over `message`.
#[must_use]
pub fn verify(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let Ok(reversed) = <[u8; SIGNATURE_LEN]>::try_from(signature) else { return false };
    verify_big_endian(key, message, &reverse_halves(reversed))
}

/// As [`sign`], with r and s as they are.
pub(crate) fn sign_big_endian(key: &SigningKey, message: &[u8]) -> Result<[u8; SIGNATURE_LEN], KeyError> {
    // Only an ECDSA key has such a point.
    key.public().p256_point()?;
    let signature = ecdsa::Signature::from_der(&key.sign(message)?)
        .map_err(|_| KeyError::new("the key made a signature that is none"))?;
    Ok(signature.to_bytes().into())
}

/// As [`verify`], with r and s as they are.
pub(crate) fn verify_big_endian(key: &PublicKey, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
    ecdsa::Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, signature.to_der().as_bytes()))
}

/// The public key as a device holds it.
///
/// # Errors
/// [`KeyError`] when `key` is not of ECDSA P-256.
pub fn device_key(key: &PublicKey) -> Result<[u8; SIGNATURE_LEN], KeyError> {
    key.p256_point().map(reverse_halves)
}

/// The public key that a device holds.
///
/// # Errors
/// [`KeyError`] when the bytes are no point of the curve.
pub fn from_device_key(bytes: &[u8; SIGNATURE_LEN]) -> Result<PublicKey, KeyError> {
    PublicKey::from_p256_point(&reverse_halves(*bytes))
}

/// SHA-256 of an image in the byte order of an init packet.
#[must_use]
pub fn image_hash(image: &[u8]) -> [u8; 32] {
    let mut hash: [u8; 32] = Sha256::digest(image).into();
    hash.reverse();
    hash
}

/// Turns each half around. What is done to write is undone by doing it again.
fn reverse_halves(mut bytes: [u8; SIGNATURE_LEN]) -> [u8; SIGNATURE_LEN] {
    for half in bytes.chunks_mut(SIGNATURE_LEN / 2) {
        half.reverse();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::mcuboot::SignatureType;

    #[test]
    fn a_signature_is_of_one_key_over_one_message() {
        let key = SigningKey::from_seed(b"nordic").unwrap();
        let signature = sign(&key, b"an init command").unwrap();
        assert_eq!(signature, sign(&key, b"an init command").unwrap());
        assert!(verify(key.public(), b"an init command", &signature));
        assert!(!verify(key.public(), b"another init command", &signature));
        assert!(!verify(SigningKey::from_seed(b"other").unwrap().public(), b"an init command", &signature));
        assert!(!verify(key.public(), b"an init command", &signature[..63]));
        assert!(!verify(key.public(), b"an init command", &[0; 64]));
        let mut broken = signature;
        broken[0] ^= 1;
        assert!(!verify(key.public(), b"an init command", &broken));
    }

    #[test]
    fn the_key_of_a_device_is_the_same_key() {
        let key = SigningKey::from_seed(b"nordic").unwrap();
        let stored = device_key(key.public()).unwrap();
        assert_eq!(&from_device_key(&stored).unwrap(), key.public());
        assert!(from_device_key(&[0x11; 64]).is_err());
    }

    #[test]
    fn only_ecdsa_keys_sign() {
        for kind in [SignatureType::Ed25519, SignatureType::Rsa2048] {
            let key = SigningKey::stranger(kind).unwrap();
            assert!(sign(&key, b"").unwrap_err().to_string().contains("P-256"), "{kind}");
            assert!(device_key(key.public()).is_err());
        }
    }
}
