//! Keys for image signatures: ECDSA over P-256.

use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p256::ecdsa::{self, Signature};
use p256::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePublicKey};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// A key that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no ECDSA P-256 {0}: expected what `imgtool keygen -t ecdsa-p256` and `imgtool getpub -e pem` write")]
pub struct KeyError(&'static str);

/// A private key that signs images.
#[derive(Clone)]
pub struct SigningKey {
    key: ecdsa::SigningKey,
    public: PublicKey,
}

impl SigningKey {
    /// Reads a PKCS#8 PEM file.
    ///
    /// # Errors
    /// [`KeyError`] when it holds no P-256 private key.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = ecdsa::SigningKey::from_pkcs8_pem(pem).map_err(|_| KeyError("private key in PEM form"))?;
        let public = PublicKey::new(*key.verifying_key())?;
        Ok(Self { key, public })
    }

    /// The key whose secret is derived from `seed`: for tests and for the wrong key of a scenario.
    ///
    /// # Errors
    /// [`KeyError`] for the one seed in 2^32 whose hash is no valid secret.
    pub fn from_seed(seed: &[u8]) -> Result<Self, KeyError> {
        let secret: [u8; 32] = Sha256::digest(seed).into();
        let key = ecdsa::SigningKey::from_slice(&secret).map_err(|_| KeyError("secret"))?;
        let public = PublicKey::new(*key.verifying_key())?;
        Ok(Self { key, public })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a SHA-256 digest, deterministically (RFC 6979); the signature is in DER.
    ///
    /// # Errors
    /// [`KeyError`] when the signer refuses the digest, which no 32-byte digest makes it do.
    pub fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, KeyError> {
        let signature: Signature = self.key.sign_prehash(digest).map_err(|_| KeyError("signature"))?;
        Ok(signature.to_der().as_bytes().to_vec())
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// A public key that a bootloader trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: ecdsa::VerifyingKey,
    hash: [u8; 32],
}

impl PublicKey {
    fn new(key: ecdsa::VerifyingKey) -> Result<Self, KeyError> {
        let der = key.to_public_key_der().map_err(|_| KeyError("public key"))?;
        Ok(Self { key, hash: Sha256::digest(der.as_bytes()).into() })
    }

    /// Reads a PEM file with a public key, or with a private key of which the public half is taken.
    ///
    /// # Errors
    /// [`KeyError`] when it holds no P-256 key.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if let Ok(private) = SigningKey::from_pem(pem) {
            return Ok(private.public);
        }
        Self::new(ecdsa::VerifyingKey::from_public_key_pem(pem).map_err(|_| KeyError("key in PEM form"))?)
    }

    /// Reads a DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`KeyError`] when it is no P-256 public key.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        Self::new(ecdsa::VerifyingKey::from_public_key_der(der).map_err(|_| KeyError("public key in DER form"))?)
    }

    /// SHA-256 of the DER SubjectPublicKeyInfo: how an image names its key.
    #[must_use]
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Whether `signature` (DER) is this key's over `digest`.
    #[must_use]
    pub fn verify(&self, digest: &[u8; 32], signature: &[u8]) -> bool {
        Signature::from_der(signature).is_ok_and(|signature| self.key.verify_prehash(digest, &signature).is_ok())
    }
}
