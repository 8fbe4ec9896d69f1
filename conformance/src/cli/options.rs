//! Options that several commands have.

use std::io::IsTerminal;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use brickproof_flash_model::image::gbl::{EncryptionKey, read_public_key};
use brickproof_flash_model::image::mcuboot::{KeyError, PublicKey};

use super::Failure;
use crate::report::terminal::Style;

/// Colour on a terminal, unless `NO_COLOR` is set.
pub(super) fn style(output: &impl IsTerminal) -> Style {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Style { colour: wanted && output.is_terminal() }
}

/// `ROLE=FILE`.
pub(super) fn role_and_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((role, file)) if !role.is_empty() && !file.is_empty() => Ok((role.to_owned(), PathBuf::from(file))),
        _ => Err("expected ROLE=FILE, like update=app.signed.bin".into()),
    }
}

/// A number, decimal or hexadecimal behind `0x`.
pub(super) fn number(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "expected a number of at most 32 bits, like 3 or 0x100".into())
}

/// The same for a byte.
pub(super) fn number_u8(text: &str) -> Result<u8, String> {
    let number = number(text).ok().and_then(|number| u8::try_from(number).ok());
    number.ok_or_else(|| "expected a byte, like 0xb1".into())
}

/// Public keys from PEM files, or from token files of Silicon Labs'.
pub(super) fn keys(paths: &[PathBuf]) -> Result<Vec<PublicKey>, Failure> {
    read_keys(paths, |name, error| Failure::Usage(format!("{name}: {error}")))
}

/// The same where only ECDSA P-256 will do.
pub(super) fn p256_keys(paths: &[PathBuf]) -> Result<Vec<PublicKey>, Failure> {
    const REMEDY: &str = "the public key of the bootloader, ECDSA P-256: a token file, or of a private key in PEM \
                          `openssl ec -in key.pem -pubout`";
    read_keys(paths, |name, error| not_p256(name, error, REMEDY))
}

/// What is wrong with a key file where only ECDSA P-256 will do; which other types there are is left out.
pub(super) fn not_p256(name: &str, error: &KeyError, remedy: &str) -> Failure {
    let error = error.to_string();
    let what = error.split(": expected ").next().unwrap_or_default();
    Failure::Usage(format!("{name}: {what}\n  remedy: {remedy}"))
}

fn read_keys(paths: &[PathBuf], mistake: impl Fn(&str, &KeyError) -> Failure) -> Result<Vec<PublicKey>, Failure> {
    paths
        .iter()
        .map(|path| {
            let bytes = super::read_file(path)?;
            let text = String::from_utf8_lossy(&bytes);
            if text.to_ascii_uppercase().contains("MFG_SIGNED_BOOTLOADER_KEY") {
                return Ok(read_public_key(&path.display().to_string(), &text)?);
            }
            PublicKey::from_pem(&text).map_err(|error| mistake(&path.display().to_string(), &error))
        })
        .collect()
}

/// A key that files are encrypted with: digits, or a token file of Silicon Labs'.
pub(super) fn encryption_key(path: &Path) -> Result<EncryptionKey, Failure> {
    let bytes = super::read_file(path)?;
    Ok(EncryptionKey::read(&path.display().to_string(), &String::from_utf8_lossy(&bytes))?)
}

/// Whether a program is found: a path, or a name on PATH.
pub(super) fn find_program(program: &str) -> Option<PathBuf> {
    let path = PathBuf::from(program);
    let executable = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if path.components().count() > 1 {
        return executable(&path).then_some(path);
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(executable)
}
