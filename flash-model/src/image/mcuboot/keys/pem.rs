//! Key files: PEM with the labels that imgtool and OpenSSL write.

use p256::pkcs8::der::{self, Decode, SecretDocument};
use p256::pkcs8::spki::SubjectPublicKeyInfoRef;
use p256::pkcs8::{DecodePrivateKey, DecodePublicKey, ObjectIdentifier, PrivateKeyInfoRef};
use p256::{SecretKey, ecdsa};

use super::{KeyError, Private, Public, rsa};

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// What is expected, for messages.
const EXPECTED: &str = "a PEM file with an ECDSA P-256, RSA-2048, RSA-3072 or Ed25519 key, as `imgtool keygen` and \
                        `imgtool getpub -e pem` write it";

/// What a key file holds.
pub(super) enum Key {
    Private(Private),
    Public(Public),
}

pub(super) fn read(text: &str) -> Result<Key, KeyError> {
    let text = &rewrapped(text);
    let label =
        der::pem::decode_label(text.as_bytes()).map_err(|_| KeyError::new(format!("no PEM: expected {EXPECTED}")))?;
    let secret = || {
        let read = SecretDocument::from_pem(text).map(|(_, document)| document);
        read.map_err(|_| KeyError::new(format!("the `{label}` in the file is damaged")))
    };
    match label {
        "PRIVATE KEY" => private_key_info(secret()?.as_bytes()).map(Key::Private),
        "EC PRIVATE KEY" => {
            let key = SecretKey::from_sec1_der(secret()?.as_bytes()).map_err(|_| no_curve())?;
            Ok(Key::Private(Private::Ecdsa(Box::new(key.into()))))
        }
        "RSA PRIVATE KEY" => rsa::Private::from_pkcs1(secret()?.as_bytes()).map(|key| Key::Private(Private::Rsa(key))),
        "PUBLIC KEY" => public_key_info(secret()?.as_bytes()).map(Key::Public),
        "RSA PUBLIC KEY" => rsa::Public::from_pkcs1(secret()?.as_bytes()).map(|key| Key::Public(Public::Rsa(key))),
        "ENCRYPTED PRIVATE KEY" => Err(KeyError::new("the key is encrypted: write it without a password")),
        other => Err(KeyError::new(format!("the file holds a `{other}`: expected {EXPECTED}"))),
    }
}

/// The same with 64 characters a line, which the library insists on. The `ecdsa` package of Python, and so nrfutil,
/// writes 76.
fn rewrapped(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let border = |line: &str| line.starts_with("-----") || !line.is_ascii();
        match lines.last_mut() {
            Some(body) if !border(line) && !border(body) => body.push_str(line.trim_end()),
            _ => lines.push(line.to_owned()),
        }
    }
    let mut wrapped = String::new();
    for line in lines {
        let mut rest = line.as_str();
        while let Some((first, behind)) = rest.split_at_checked(64).filter(|(_, behind)| !behind.is_empty()) {
            wrapped.push_str(first);
            wrapped.push('\n');
            rest = behind;
        }
        wrapped.push_str(rest);
        wrapped.push('\n');
    }
    wrapped
}

fn private_key_info(der: &[u8]) -> Result<Private, KeyError> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(|_| KeyError::new("the private key is damaged"))?;
    match info.algorithm.oid {
        EC => {
            let key = ecdsa::SigningKey::from_pkcs8_der(der).map_err(|_| no_curve())?;
            Ok(Private::Ecdsa(Box::new(key)))
        }
        RSA => rsa::Private::from_pkcs1(info.private_key.as_bytes()).map(Private::Rsa),
        ED25519 => {
            let key = ed25519_dalek::SigningKey::from_pkcs8_der(der)
                .map_err(|_| KeyError::new("the Ed25519 key is damaged"))?;
            Ok(Private::Ed25519(Box::new(key)))
        }
        other => Err(unknown(&other)),
    }
}

/// Reads a SubjectPublicKeyInfo.
pub(super) fn public_key_info(der: &[u8]) -> Result<Public, KeyError> {
    let damaged = || KeyError::new("the public key is damaged");
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| damaged())?;
    match info.algorithm.oid {
        EC => ecdsa::VerifyingKey::from_public_key_der(der).map(Public::Ecdsa).map_err(|_| no_curve()),
        RSA => rsa::Public::from_pkcs1(info.subject_public_key.as_bytes().ok_or_else(damaged)?).map(Public::Rsa),
        ED25519 => ed25519_dalek::VerifyingKey::from_public_key_der(der).map(Public::Ed25519).map_err(|_| damaged()),
        other => Err(unknown(&other)),
    }
}

fn no_curve() -> KeyError {
    KeyError::new("no ECDSA P-256 key: it is damaged or on another curve")
}

fn unknown(algorithm: &ObjectIdentifier) -> KeyError {
    KeyError::new(format!("a key of the algorithm {algorithm}: expected {EXPECTED}"))
}
