//! Files with firmware for EFR32 chips: S-records, Intel HEX, raw, or in a GBL file.

use std::path::Path;

use brickproof_flash_model::image::gbl::application::PROPERTIES_MAGIC;
use brickproof_flash_model::image::gbl::{EncryptionKey, Gbl, VectorTable};

use super::{Failure, dump, read_file};
use crate::scenario::gbl::UNPACKED_MAX;

/// Addresses and bytes, ascending.
pub(super) type Pieces = Vec<(u32, Vec<u8>)>;

/// Whether a file is a GBL file, by its name or its first bytes.
pub(super) fn is_gbl(path: &Path, bytes: &[u8]) -> bool {
    const BEGINS: [[u8; 4]; 2] = [[0xeb, 0x17, 0xa6, 0x03], [0xeb, 0x17, 0xa6, 0x84]];
    let ends = |end: &str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(end));
    ends("gbl") || ends("ebl") || BEGINS.iter().any(|begin| bytes.starts_with(begin))
}

/// The firmware of a file. A raw one says by its own pointer to its properties for which address it is; `address` is for one
/// that does not, and for all else where it is not linked for that. `remedy`: what to do where nothing says it.
pub(super) fn firmware(path: &Path, address: Option<u32>, remedy: &str) -> Result<Pieces, Failure> {
    let name = path.display();
    let mut bytes = read_file(path)?;
    if is_gbl(path, &bytes) {
        return Err(Failure::Usage(format!(
            "{name}: a GBL file, and firmware is wanted\n  remedy: .s37, .hex or .bin"
        )));
    }
    let pieces = if dump::has_addresses(path) {
        dump::pieces(path, &bytes)?
    } else {
        bytes.resize(bytes.len().next_multiple_of(4), 0xff);
        let base = address.or_else(|| linked_for(&bytes)).ok_or_else(|| {
            Failure::Usage(format!("{name}: nothing in it says for which address it is\n  remedy: {remedy}"))
        })?;
        vec![(base, bytes)]
    };
    match pieces.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() {
        0 => Err(Failure::Usage(format!("{name}: there is no firmware in it"))),
        len if len > 16 << 20 => Err(Failure::Usage(format!("{name}: {len} bytes are no firmware"))),
        _ => Ok(pieces),
    }
}

/// The address that an image was linked for: that of its properties, without where they are in it.
pub(super) fn linked_for(image: &[u8]) -> Option<u32> {
    let pointer = VectorTable::read(image)?.properties;
    let at = image.windows(PROPERTIES_MAGIC.len()).step_by(4).position(|window| window == PROPERTIES_MAGIC)?;
    let base = pointer.checked_sub(u32::try_from(at.checked_mul(4)?).ok()?)?;
    // Vector tables are aligned.
    base.is_multiple_of(0x80).then_some(base)
}

/// The bytes of the application that begins at `start`; gaps are erased bytes.
pub(super) fn application_at(path: &Path, pieces: &Pieces, start: u32) -> Result<Vec<u8>, Failure> {
    let mut application = Vec::new();
    for (address, bytes) in pieces {
        // Of what begins before it, as with a bootloader in the same file, the rest.
        let Some(bytes) = bytes.get(start.saturating_sub(*address) as usize..) else { continue };
        let offset = address.saturating_sub(start) as usize;
        if offset > 16 << 20 {
            return Err(Failure::Usage(format!("{}: {address:#x} is far behind {start:#x}", path.display())));
        }
        application.resize(application.len().max(offset + bytes.len()), 0xff);
        application[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    if pieces.iter().any(|(address, bytes)| (*address..address.saturating_add(len(bytes))).contains(&start)) {
        return Ok(application);
    }
    let there = pieces.first().map_or(0, |(address, _)| *address);
    Err(Failure::Usage(format!(
        "{}: it begins at {there:#x}, and the application of the target at {start:#x}\n  remedy: link it for {start:#x}, or another --target",
        path.display()
    )))
}

/// The application that a file has for a device whose applications begin at `start`.
pub(super) fn application(path: &Path, start: u32, key: Option<&EncryptionKey>) -> Result<Vec<u8>, Failure> {
    let bytes = read_file(path)?;
    if !is_gbl(path, &bytes) {
        let remedy = format!(
            "a .s37 or .hex file, which says its addresses, or a raw one with application properties, linked for {start:#x}"
        );
        return application_at(path, &firmware(path, None, &remedy)?, start);
    }
    let read = |error: &dyn std::fmt::Display| Failure::Usage(format!("{}: {error}", path.display()));
    let gbl = Gbl::read(&bytes).map_err(|error| read(&error))?;
    let programs = gbl.programs(key, UNPACKED_MAX).map_err(|error| read(&error))?;
    application_at(path, &programs, start)
}

fn len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
