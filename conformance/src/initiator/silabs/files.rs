//! What is looked at before a device is.

use brickproof_flash_model::image::gbl::{Content, Gbl, TagKind};

use super::policy::SilabsPolicy;

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

/// Whether a file is whole.
///
/// # Errors
/// Why it is not.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let gbl = Gbl::read(bytes).map_err(|error| error.to_string())?;
    match gbl.crc() {
        Some(crc) if crc.stored == crc.computed => Ok(()),
        _ => Err("its CRC-32 is wrong: it is damaged".into()),
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
