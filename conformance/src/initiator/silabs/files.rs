//! What is looked at before a device is.

use brickproof_flash_model::image::gbl::{Content, Gbl, TagKind};

use super::policy::SilabsPolicy;
use crate::scenario::gbl::UNPACKED_MAX;

/// A file, and what it says of itself in clear.
#[derive(Debug, Clone, Copy)]
pub struct GblFile<'a> {
    /// The file.
    pub bytes: &'a [u8],
    /// Version of its application.
    pub application: Option<u32>,
    /// It has a bootloader, and no application.
    pub only_bootloader: bool,
}

/// Looks at the files, and puts a bootloader first.
///
/// # Errors
/// What is wrong with one of them.
pub fn look<'a>(files: &[&'a [u8]], policy: &dyn SilabsPolicy) -> Result<Vec<GblFile<'a>>, String> {
    let mut looked = Vec::new();
    for (number, bytes) in files.iter().enumerate() {
        if policy.checks_files() {
            check(bytes).map_err(|why| format!("file {}: {why}", number + 1))?;
        }
        looked.push(of(bytes));
    }
    if policy.orders_files() {
        looked.sort_by_key(|file| !file.only_bootloader);
    }
    Ok(looked)
}

/// Whether a file is whole, and can be what a device does without harm: its tags, its CRC, its programs.
///
/// What is encrypted cannot be looked at.
///
/// # Errors
/// Why it is not.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let gbl = Gbl::read(bytes).map_err(|error| error.to_string())?;
    match gbl.crc() {
        Some(crc) if crc.stored == crc.computed => {}
        _ => return Err("its CRC-32 is wrong: it is damaged".into()),
    }
    if gbl.is_encrypted() {
        return Ok(());
    }
    // A device finds that out when its old application is gone, or not at all.
    let programs = gbl.programs(None, UNPACKED_MAX).map_err(|error| error.to_string())?;
    match programs.iter().find(|(address, _)| !address.is_multiple_of(4)) {
        Some((address, _)) => Err(format!("a program at {address:#x}, in the middle of a word")),
        None => Ok(()),
    }
}

fn of(bytes: &[u8]) -> GblFile<'_> {
    let Ok((gbl, _)) = Gbl::scan(bytes) else { return GblFile { bytes, application: None, only_bootloader: false } };
    let application = gbl.tag(TagKind::Application).and_then(|tag| match gbl.content(tag) {
        Ok(Content::Application(data)) => Some(data.version),
        _ => None,
    });
    let programs = gbl.tags().iter().any(|tag| tag.kind.is_some_and(TagKind::is_program));
    let only_bootloader = gbl.tag(TagKind::Bootloader).is_some() && !programs;
    GblFile { bytes, application, only_bootloader }
}
