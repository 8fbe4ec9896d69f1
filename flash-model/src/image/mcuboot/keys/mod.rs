//! Keys for image signatures.
//!
//! | type | private key | public key | signature TLV | signed is | KEYHASH is SHA-256 of |
//! |---|---|---|---|---|---|
//! | ECDSA P-256 | PKCS#8, SEC 1 | SubjectPublicKeyInfo | 0x22, DER | the image hash | SubjectPublicKeyInfo |
//! | RSA-2048, RSA-3072 | PKCS#8, PKCS#1 | SubjectPublicKeyInfo, PKCS#1 | 0x20, 0x23: PSS, MGF1 and 32 bytes of salt | header, payload, protected TLVs | PKCS#1 RSAPublicKey |
//! | Ed25519 | PKCS#8 | SubjectPublicKeyInfo | 0x24, 64 bytes | the image hash | SubjectPublicKeyInfo |
//!
//! These are the files that imgtool writes and reads (imgtool: `keys/*.py`). No signature here needs
//! a random number, so equal input gives equal images: ECDSA follows RFC 6979, Ed25519 is
//! deterministic by itself, and for RSA see `rsa.rs`.

mod known;
mod pem;
mod rsa;

use std::fmt;

use ed25519_dalek::Signer;
use p256::ecdsa;
use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p256::pkcs8::EncodePublicKey;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::tlv;

pub use known::known_development_key;

/// A key that cannot be read or used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct KeyError(String);

impl KeyError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// How images are signed. A bootloader is built for exactly one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureType {
    /// ECDSA over P-256 with SHA-256 (`MCUBOOT_SIGN_EC256`).
    EcdsaP256,
    /// RSA-2048 with PSS and SHA-256 (`MCUBOOT_SIGN_RSA`).
    Rsa2048,
    /// RSA-3072 with PSS and SHA-256 (`MCUBOOT_SIGN_RSA`).
    Rsa3072,
    /// Ed25519 over the image hash (`MCUBOOT_SIGN_ED25519`).
    Ed25519,
}

impl SignatureType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::EcdsaP256, Self::Rsa2048, Self::Rsa3072, Self::Ed25519];

    /// Its name in files and on the command line, as `imgtool keygen -t` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Ed25519 => "ed25519",
        }
    }

    /// The type of its TLV.
    #[must_use]
    pub fn tlv(self) -> u16 {
        match self {
            Self::EcdsaP256 => tlv::ECDSA_SIGNATURE,
            Self::Rsa2048 => tlv::RSA2048_SIGNATURE,
            Self::Rsa3072 => tlv::RSA3072_SIGNATURE,
            Self::Ed25519 => tlv::ED25519_SIGNATURE,
        }
    }

    /// The type that has this TLV.
    #[must_use]
    pub fn of_tlv(kind: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|signature| signature.tlv() == kind)
    }

    /// Whether the bootloader looks at a signature of this many bytes (mcuboot: `EXPECTED_SIG_LEN`).
    #[must_use]
    pub fn takes_len(self, len: u16) -> bool {
        match self {
            Self::EcdsaP256 => len <= 128,
            Self::Rsa2048 => len == 256,
            Self::Rsa3072 => len == 384,
            Self::Ed25519 => len == 64,
        }
    }
}

impl fmt::Display for SignatureType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[derive(Clone)]
enum Private {
    Ecdsa(Box<ecdsa::SigningKey>),
    Rsa(rsa::Private),
    Ed25519(Box<ed25519_dalek::SigningKey>),
}

/// A private key that signs images.
#[derive(Clone)]
pub struct SigningKey {
    key: Private,
    public: PublicKey,
}

impl SigningKey {
    /// Reads a PEM file with a private key, not encrypted.
    ///
    /// # Errors
    /// [`KeyError`] when it holds none of a type listed above.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        match pem::read(text)? {
            pem::Key::Private(key) => Self::new(key),
            pem::Key::Public(_) => Err(KeyError::new("this is a public key; only a private key can sign")),
        }
    }

    /// The ECDSA P-256 key whose secret is derived from `seed`: for tests and for the wrong key of a
    /// scenario.
    ///
    /// # Errors
    /// [`KeyError`] for the one seed in 2^32 whose hash is no valid secret.
    pub fn from_seed(seed: &[u8]) -> Result<Self, KeyError> {
        let secret: [u8; 32] = Sha256::digest(seed).into();
        let key =
            ecdsa::SigningKey::from_slice(&secret).map_err(|_| KeyError::new("the seed gives no valid secret"))?;
        Self::new(Private::Ecdsa(Box::new(key)))
    }

    /// A key of this type that no bootloader trusts.
    ///
    /// # Errors
    /// [`KeyError`] never, unless this crate is damaged.
    pub fn stranger(kind: SignatureType) -> Result<Self, KeyError> {
        const SEED: &[u8] = b"a key no bootloader trusts";
        match kind {
            SignatureType::EcdsaP256 => Self::from_seed(SEED),
            SignatureType::Ed25519 => {
                let secret: [u8; 32] = Sha256::digest(SEED).into();
                Self::new(Private::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&secret))))
            }
            SignatureType::Rsa2048 => Self::from_pem(include_str!("stranger-rsa-2048.pem")),
            SignatureType::Rsa3072 => Self::from_pem(include_str!("stranger-rsa-3072.pem")),
        }
    }

    fn new(key: Private) -> Result<Self, KeyError> {
        let public = match &key {
            Private::Ecdsa(key) => Public::Ecdsa(*key.verifying_key()),
            Private::Rsa(key) => Public::Rsa(key.public().clone()),
            Private::Ed25519(key) => Public::Ed25519(key.verifying_key()),
        };
        Ok(Self { key, public: PublicKey::new(public)? })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs the part of an image that is under its hash.
    ///
    /// # Errors
    /// [`KeyError`] when the key refuses, as an RSA key does whose numbers do not belong together.
    pub fn sign(&self, signed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let digest: [u8; 32] = Sha256::digest(signed).into();
        let refused = || KeyError::new("the key cannot sign");
        Ok(match &self.key {
            Private::Ecdsa(key) => {
                let signature: ecdsa::Signature = key.sign_prehash(&digest).map_err(|_| refused())?;
                signature.to_der().as_bytes().to_vec()
            }
            Private::Rsa(key) => key.sign(&digest, signed).ok_or_else(refused)?,
            Private::Ed25519(key) => key.try_sign(&digest).map_err(|_| refused())?.to_bytes().to_vec(),
        })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Public {
    Ecdsa(ecdsa::VerifyingKey),
    Rsa(rsa::Public),
    Ed25519(ed25519_dalek::VerifyingKey),
}

/// A public key that a bootloader trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: Public,
    hash: [u8; 32],
}

impl PublicKey {
    fn new(key: Public) -> Result<Self, KeyError> {
        let unfit = |_| KeyError::new("the public key has no DER form");
        let hash = match &key {
            Public::Ecdsa(key) => Sha256::digest(key.to_public_key_der().map_err(unfit)?.as_bytes()),
            Public::Rsa(key) => Sha256::digest(key.to_pkcs1()),
            Public::Ed25519(key) => Sha256::digest(key.to_public_key_der().map_err(unfit)?.as_bytes()),
        };
        Ok(Self { key, hash: hash.into() })
    }

    /// Reads a PEM file with a public key, or with a private key of which the public half is taken.
    ///
    /// # Errors
    /// [`KeyError`] when it holds no key of a type listed above.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        match pem::read(text)? {
            pem::Key::Private(key) => Ok(SigningKey::new(key)?.public),
            pem::Key::Public(key) => Self::new(key),
        }
    }

    /// Reads a DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`KeyError`] when it is none of a type listed above.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        Self::new(pem::public_key_info(der)?)
    }

    /// What it verifies.
    #[must_use]
    pub fn signature_type(&self) -> SignatureType {
        match &self.key {
            Public::Ecdsa(_) => SignatureType::EcdsaP256,
            Public::Rsa(key) => key.signature_type(),
            Public::Ed25519(_) => SignatureType::Ed25519,
        }
    }

    /// X and Y of an ECDSA P-256 key, 32 bytes each, big endian.
    ///
    /// # Errors
    /// [`KeyError`] for a key of another type.
    pub fn p256_point(&self) -> Result<[u8; 64], KeyError> {
        let Public::Ecdsa(key) = &self.key else {
            return Err(KeyError::new(format!("an ECDSA P-256 key is needed, this one is {}", self.signature_type())));
        };
        let point = key.to_sec1_point(false);
        let coordinates = point.as_bytes().get(1..).and_then(|bytes| bytes.try_into().ok());
        coordinates.ok_or_else(|| KeyError::new("the public key is the point at infinity"))
    }

    /// The ECDSA P-256 key with these X and Y, 32 bytes each, big endian.
    ///
    /// # Errors
    /// [`KeyError`] when that is no point of the curve.
    pub fn from_p256_point(point: &[u8; 64]) -> Result<Self, KeyError> {
        let sec1 = [&[4], point.as_slice()].concat();
        let key = ecdsa::VerifyingKey::from_sec1_bytes(&sec1)
            .map_err(|_| KeyError::new("the numbers are no point of the curve P-256"))?;
        Self::new(Public::Ecdsa(key))
    }

    /// How an image names its key: SHA-256 of its DER form.
    #[must_use]
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Whether `signature` is this key's over the bytes `signed`.
    #[must_use]
    pub fn verify(&self, signed: &[u8], signature: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(signed).into();
        self.verify_digest(&digest, &mut || Some(signed.to_vec()), signature)
    }

    /// As [`PublicKey::verify`] for bytes whose SHA-256 is known; RSA asks for the bytes all the same.
    pub(super) fn verify_digest(
        &self,
        digest: &[u8; 32],
        signed: &mut dyn FnMut() -> Option<Vec<u8>>,
        signature: &[u8],
    ) -> bool {
        match &self.key {
            Public::Ecdsa(key) => ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
            Public::Rsa(key) => signed().is_some_and(|signed| key.verify(&signed, signature)),
            Public::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| ed25519_dalek::Verifier::verify(key, digest, &signature).is_ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_input_gives_equal_signatures_of_the_right_length() {
        for kind in SignatureType::ALL {
            let key = SigningKey::stranger(kind).unwrap();
            assert_eq!(key.public().signature_type(), kind);
            let signature = key.sign(b"an image").unwrap();
            assert_eq!(signature, key.sign(b"an image").unwrap());
            assert_ne!(signature, key.sign(b"another image").unwrap());
            assert!(kind.takes_len(signature.len() as u16), "{kind}: {}", signature.len());
            assert!(key.public().verify(b"an image", &signature));
            assert!(!key.public().verify(b"another image", &signature));
            let mut broken = signature;
            *broken.last_mut().unwrap() ^= 1;
            assert!(!key.public().verify(b"an image", &broken));
        }
    }

    #[test]
    fn lines_may_have_any_length() {
        let text = include_str!("stranger-rsa-2048.pem");
        let key = PublicKey::from_pem(text).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let [first, body @ .., last] = lines.as_slice() else { panic!("no PEM") };
        let body = body.concat();
        for width in [1, 63, 65, 76, body.len()] {
            let body: Vec<_> = body.as_bytes().chunks(width).map(|line| str::from_utf8(line).unwrap()).collect();
            for end in ["\n", "\r\n"] {
                let text = [&[*first][..], &body, &[*last]].concat().join(end);
                assert_eq!(PublicKey::from_pem(&text).unwrap(), key, "{width}");
            }
        }
    }

    #[test]
    fn what_is_no_key_is_explained() {
        for (text, expected) in [
            ("", "no PEM"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "CERTIFICATE"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "encrypted"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "damaged"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n", "damaged"),
        ] {
            let error = PublicKey::from_pem(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
