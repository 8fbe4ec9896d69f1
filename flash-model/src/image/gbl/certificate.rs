//! Signatures, certificates, and the files that public keys are in.
//!
//! A signature is ECDSA P-256 with SHA-256: r, then s, 32 bytes each, big endian.

use super::content::{SIGNATURE_LEN, u32_at};
use super::token;
use crate::image::mcuboot::{KeyError, PublicKey, SigningKey};
use crate::image::nordic::sign::{sign_big_endian, verify_big_endian};
use crate::source::Mistake;

/// Bytes of a certificate.
pub const CERTIFICATE_LEN: usize = 136;
/// Bytes of a certificate under its signature.
const SIGNED_LEN: usize = 72;

/// A public key that another key signed (simplicity sdk: `application_properties.h`, `ApplicationCertificate_t`).
///
/// A Series 2 bootloader with certificates takes it when its own certificate has no higher version and its key signed this
/// one, and then checks the file with the key in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    /// Version of the structure: 1.
    pub struct_version: u8,
    /// Zero.
    pub flags: [u8; 3],
    /// X and Y, 32 bytes each, big endian.
    pub key: [u8; 64],
    /// Its version.
    pub version: u32,
    /// Over all that is before it.
    pub signature: [u8; SIGNATURE_LEN],
}

impl Certificate {
    /// A certificate for `key`, signed by `issuer`; the same bytes each time.
    ///
    /// # Errors
    /// [`KeyError`] when one of them is not of ECDSA P-256.
    pub fn new(key: &PublicKey, version: u32, issuer: &SigningKey) -> Result<Self, KeyError> {
        let blank = Self { struct_version: 1, flags: [0; 3], key: key.p256_point()?, version, signature: [0; 64] };
        blank.sign(issuer)
    }

    /// The same, signed by `issuer`.
    ///
    /// # Errors
    /// [`KeyError`] when it is not of ECDSA P-256.
    pub fn sign(mut self, issuer: &SigningKey) -> Result<Self, KeyError> {
        self.signature = sign_big_endian(issuer, &self.signed_bytes())?;
        Ok(self)
    }

    /// Reads one; every 136 bytes are one.
    #[must_use]
    pub fn parse(bytes: &[u8; CERTIFICATE_LEN]) -> Self {
        let [struct_version, flag0, flag1, flag2, ..] = *bytes;
        let part = |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk::<64>()).copied().unwrap_or([0; 64]);
        Self {
            struct_version,
            flags: [flag0, flag1, flag2],
            key: part(4),
            version: u32_at(bytes, 68).unwrap_or(0),
            signature: part(SIGNED_LEN),
        }
    }

    /// The bytes of it.
    #[must_use]
    pub fn emit(&self) -> [u8; CERTIFICATE_LEN] {
        let mut bytes = [0; CERTIFICATE_LEN];
        let all = self.signed_bytes().into_iter().chain(self.signature);
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        bytes
    }

    fn signed_bytes(&self) -> Vec<u8> {
        [&[self.struct_version], self.flags.as_slice(), &self.key, &self.version.to_le_bytes()].concat()
    }

    /// The key.
    ///
    /// # Errors
    /// [`KeyError`] when the numbers are no point of the curve.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        PublicKey::from_p256_point(&self.key)
    }

    /// Whether `root` signed it.
    #[must_use]
    pub fn verify(&self, root: &PublicKey) -> bool {
        verify_big_endian(root, &self.signed_bytes(), &self.signature)
    }
}

/// Reads a file with a public key: PEM, of a public or a private key, or the token file of Silicon Labs with the lines
/// `MFG_SIGNED_BOOTLOADER_KEY_X : 64 digits` and `..._Y`.
///
/// # Errors
/// [`Mistake`] with the place in `file`.
pub fn read_public_key(file: &str, text: &str) -> Result<PublicKey, Mistake> {
    const REMEDY: &str = "give a PEM file of an ECDSA P-256 key, or the token file that `commander util genkey --type ecc-p256 \
                          --tokenfile` makes";
    let unfit = |error: KeyError| Mistake::new(file, error.to_string()).remedy(REMEDY);
    if text.contains("-----BEGIN") || !token::is_token_file(text) {
        let key = PublicKey::from_pem(text).map_err(unfit)?;
        // Refused now rather than where it is used.
        key.p256_point().map_err(unfit)?;
        return Ok(key);
    }
    let [x, y]: [[u8; 32]; 2] = [
        token::value(file, text, "MFG_SIGNED_BOOTLOADER_KEY_X")?,
        token::value(file, text, "MFG_SIGNED_BOOTLOADER_KEY_Y")?,
    ];
    let mut point = [0; 64];
    point.iter_mut().zip(x.into_iter().chain(y)).for_each(|(to, from)| *to = from);
    PublicKey::from_p256_point(&point).map_err(unfit)
}

/// The token file with this public key.
///
/// # Errors
/// [`KeyError`] when it is not of ECDSA P-256.
pub fn public_key_token_file(key: &PublicKey) -> Result<String, KeyError> {
    let point = key.p256_point()?;
    let (x, y) = point.split_at(32);
    Ok(format!("MFG_SIGNED_BOOTLOADER_KEY_X : {}\nMFG_SIGNED_BOOTLOADER_KEY_Y : {}\n", token::hex(x), token::hex(y)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::mcuboot::SignatureType;

    fn key(seed: &str) -> SigningKey {
        SigningKey::from_seed(seed.as_bytes()).unwrap()
    }

    #[test]
    fn a_certificate_is_of_one_key_for_another() {
        let (root, signer) = (key("root"), key("signer"));
        let certificate = Certificate::new(signer.public(), 3, &root).unwrap();
        assert_eq!(Certificate::parse(&certificate.emit()), certificate);
        assert_eq!(Certificate::new(signer.public(), 3, &root).unwrap(), certificate);
        assert_eq!(&certificate.public_key().unwrap(), signer.public());
        assert!(certificate.verify(root.public()) && !certificate.verify(signer.public()));
        assert_eq!(certificate.emit()[68..72], [3, 0, 0, 0]);
        let newer = Certificate { version: 4, ..certificate };
        assert!(!newer.verify(root.public()) && newer.sign(&root).unwrap().verify(root.public()));
        assert!(Certificate { key: [1; 64], ..certificate }.public_key().is_err());
    }

    #[test]
    fn public_keys_are_read_from_pem_and_from_token_files() {
        let public = key("root").public().clone();
        let text = public_key_token_file(&public).unwrap();
        assert_eq!(read_public_key("key.txt", &text).unwrap(), public);
        let lower = format!("# made by hand\r\nTOKEN_{}", text.to_lowercase());
        assert_eq!(read_public_key("key.txt", &lower).unwrap(), public);
        // As published in the documents of Silicon Labs about Series 2 secure boot.
        let theirs = "MFG_SIGNED_BOOTLOADER_KEY_X : 997011ED1708580BD4A6B7F8AD6EE19B0B8722611FB76A3A5702D5141180E101\n\
                      MFG_SIGNED_BOOTLOADER_KEY_Y : 0AC8673C8ACC26EE2B534C004F4A4B7EBBC23D04506DD66E3EF0DDC81E3CA55E\n";
        assert_eq!(public_key_token_file(&read_public_key("sign_pubkey.txt", theirs).unwrap()).unwrap(), theirs);
    }

    #[test]
    fn what_is_no_public_key_is_explained() {
        let ed25519 = SigningKey::stranger(SignatureType::Ed25519).unwrap();
        assert!(public_key_token_file(ed25519.public()).is_err());
        let ones = "11".repeat(32);
        for (text, expected) in [
            ("nothing".to_owned(), "remedy: give a PEM file"),
            (format!("MFG_SIGNED_BOOTLOADER_KEY_X : {ones}\n"), "no token MFG_SIGNED_BOOTLOADER_KEY_Y"),
            (
                format!("MFG_SIGNED_BOOTLOADER_KEY_X : {ones}\nMFG_SIGNED_BOOTLOADER_KEY_Y : {ones}\n"),
                "no point of the curve",
            ),
            ("MFG_SIGNED_BOOTLOADER_KEY_X : 11".to_owned(), "1:31: 2 hexadecimal digits, expected 64"),
        ] {
            let mistake = read_public_key("key.txt", &text).unwrap_err().to_string();
            assert!(mistake.contains(expected), "{mistake}");
        }
    }
}
