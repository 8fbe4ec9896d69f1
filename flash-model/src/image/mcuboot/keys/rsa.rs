//! RSA with PSS (RFC 8017, section 8.1): SHA-256, MGF1 with SHA-256, 32 bytes of salt, the only
//! parameters MCUboot takes (mcuboot: `image_rsa.c`).
//!
//! Signatures are checked by `ring`. It also signs, but only with a salt from the random numbers of the
//! operating system: its `SecureRandom` is sealed. So that equal input gives equal images, the encoding is
//! done here, with a salt derived from the private key and the hash, as RFC 6979 does for ECDSA: PSS needs a salt
//! that differs from message to message and that nobody foresees, not a random one. The private operation is
//! one constant-time modular exponentiation, and each signature is checked by `ring` before it leaves.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use p256::pkcs8::der::asn1::UintRef;
use p256::pkcs8::der::{Decode, Reader, SliceReader};
use ring::signature::{RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents};
use sha2::{Digest, Sha256};

use super::{KeyError, SignatureType};

const HASH_LEN: usize = 32;
const SALT_LEN: usize = 32;
/// Longest public exponent in bytes that `ring` accepts.
const EXPONENT_MAX: usize = 4;

/// Modulus and exponent, big endian, without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Public {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    kind: SignatureType,
}

impl Public {
    fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let kind = match (modulus.len(), modulus.first()) {
            (256, Some(0x80..)) => SignatureType::Rsa2048,
            (384, Some(0x80..)) => SignatureType::Rsa3072,
            (len, _) => {
                return Err(KeyError::new(format!(
                    "an RSA key with about {} bits: 2048 or 3072 are expected",
                    len.saturating_mul(8)
                )));
            }
        };
        let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        if !odd(modulus) || !odd(exponent) || exponent.len() > EXPONENT_MAX || exponent == [1] {
            return Err(KeyError::new("the numbers of the RSA key make no sense"));
        }
        Ok(Self { modulus: modulus.to_vec(), exponent: exponent.to_vec(), kind })
    }

    /// Reads a PKCS#1 RSAPublicKey.
    pub(super) fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        let numbers = integers(der)?;
        match numbers.as_slice() {
            [modulus, exponent] => Self::new(modulus, exponent),
            _ => Err(damaged()),
        }
    }

    /// The PKCS#1 RSAPublicKey, whose hash names the key.
    pub(super) fn to_pkcs1(&self) -> Vec<u8> {
        let content = [integer(&self.modulus), integer(&self.exponent)].concat();
        element(0x30, &content)
    }

    pub(super) fn signature_type(&self) -> SignatureType {
        self.kind
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        RsaPublicKeyComponents { n: &self.modulus, e: &self.exponent }
            .verify(&RSA_PSS_2048_8192_SHA256, message, signature)
            .is_ok()
    }
}

/// The public numbers and the private exponent.
#[derive(Clone)]
pub(super) struct Private {
    public: Public,
    exponent: Vec<u8>,
}

impl Private {
    /// Reads a PKCS#1 RSAPrivateKey.
    pub(super) fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        let numbers = integers(der)?;
        // version, modulus, both exponents, two primes and three numbers of the Chinese remainder theorem.
        let [version, modulus, exponent, private, _, _, _, _, _] = numbers.as_slice() else { return Err(damaged()) };
        if version.as_slice() != [0] || private.len() > modulus.len() {
            return Err(damaged());
        }
        Ok(Self { public: Public::new(modulus, exponent)?, exponent: private.clone() })
    }

    pub(super) fn public(&self) -> &Public {
        &self.public
    }

    /// Signs; `None` when the numbers of the key do not belong together.
    pub(super) fn sign(&self, digest: &[u8; HASH_LEN], message: &[u8]) -> Option<Vec<u8>> {
        let mut salt = Sha256::new();
        salt.update(b"brickproof RSA-PSS salt");
        salt.update(&self.exponent);
        salt.update(digest);
        let encoded = encode(digest, &salt.finalize().into(), self.public.modulus.len());
        let bits = u32::try_from(self.public.modulus.len() * 8).ok()?;
        let number = |bytes: &[u8]| BoxedUint::from_be_slice(bytes, bits).ok();
        let modulus = Odd::new(number(&self.public.modulus)?).into_option()?;
        let base = BoxedMontyForm::new(number(&encoded)?, &BoxedMontyParams::new(modulus));
        let signature = base.pow(&number(&self.exponent)?).retrieve().to_be_bytes().to_vec();
        self.public.verify(message, &signature).then_some(signature)
    }
}

/// EMSA-PSS-ENCODE for a modulus of `len` bytes whose highest bit is set.
fn encode(digest: &[u8; HASH_LEN], salt: &[u8; SALT_LEN], len: usize) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update([0; 8]);
    hash.update(digest);
    hash.update(salt);
    let hash: [u8; HASH_LEN] = hash.finalize().into();
    let mut encoded = vec![0; len];
    let (masked, tail) = encoded.split_at_mut(len - HASH_LEN - 1);
    let salt_at = masked.len() - SALT_LEN;
    masked[salt_at - 1] = 0x01;
    masked[salt_at..].copy_from_slice(salt);
    for (counter, chunk) in masked.chunks_mut(HASH_LEN).enumerate() {
        let mut mask = Sha256::new();
        mask.update(hash);
        mask.update((counter as u32).to_be_bytes());
        for (byte, mask) in chunk.iter_mut().zip(mask.finalize()) {
            *byte ^= mask;
        }
    }
    // One bit less than the modulus.
    masked[0] &= 0x7f;
    tail[..HASH_LEN].copy_from_slice(&hash);
    tail[HASH_LEN] = 0xbc;
    encoded
}

/// The non-negative integers of a DER sequence that has nothing else, without leading zeros.
fn integers(der: &[u8]) -> Result<Vec<Vec<u8>>, KeyError> {
    let read = || -> Result<Vec<Vec<u8>>, p256::pkcs8::der::Error> {
        let mut reader = SliceReader::new(der)?;
        let numbers = reader.sequence(|reader| {
            let mut numbers = Vec::new();
            while !reader.is_finished() {
                numbers.push(UintRef::decode(reader)?.as_bytes().to_vec());
            }
            Ok::<_, p256::pkcs8::der::Error>(numbers)
        })?;
        reader.finish()?;
        Ok(numbers)
    };
    read().map_err(|_| damaged())
}

fn damaged() -> KeyError {
    KeyError::new("the RSA key is damaged")
}

fn integer(number: &[u8]) -> Vec<u8> {
    // A set highest bit would make it negative.
    let positive = if number.first().is_some_and(|first| *first >= 0x80) { &[0][..] } else { &[] };
    element(0x02, &[positive, number].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match content.len() {
        len @ 0..=0x7f => der.push(len as u8),
        len @ 0x80..=0xff => der.extend([0x81, len as u8]),
        len => der.extend([0x82, (len >> 8) as u8, len as u8]),
    }
    der.extend_from_slice(content);
    der
}
