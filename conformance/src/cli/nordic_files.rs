//! Files with firmware for targets of Nordic's: raw, Intel HEX, or in a package.

use std::path::{Path, PathBuf};

use brickproof_flash_model::image::nordic::{ImageKind, InitPacket, LegacyInitPacket, Package, PackageImage};

use super::options::number;
use super::{Failure, dump, read_file};

/// Version of an application when nobody says another one.
pub(super) const VERSION: u32 = 1;

/// `FILE[:VERSION]`.
pub(super) fn with_version(text: &str) -> Result<(PathBuf, Option<u32>), String> {
    match text.rsplit_once(':') {
        Some((path, version)) if !Path::new(text).exists() => match number(version) {
            Ok(version) if !path.is_empty() => Ok((path.into(), Some(version))),
            _ => Err(format!("`{version}` is no version of an application: a number, like app.bin:3")),
        },
        _ => Ok((text.into(), None)),
    }
}

/// An application and its version.
pub(super) struct Application {
    pub(super) bytes: Vec<u8>,
    pub(super) version: u32,
}

/// The application that a file holds; `version` is for files that do not say one.
pub(super) fn application(path: &Path, version: Option<u32>) -> Result<Application, Failure> {
    if !is_package(path) {
        return Ok(Application { bytes: firmware(path)?, version: version.unwrap_or(VERSION) });
    }
    let package = package(path)?;
    let Some(image) = package.image(ImageKind::Application) else {
        return Err(Failure::Usage(format!(
            "{}: the package has no application\n  remedy: one that has, or the application as a file of its own",
            path.display()
        )));
    };
    let said = version_of(image);
    Ok(Application { bytes: image.firmware.clone(), version: version.or(said).unwrap_or(VERSION) })
}

/// What the init packet says, of Secure or of Legacy DFU.
fn version_of(image: &PackageImage) -> Option<u32> {
    let secure = InitPacket::parse(&image.init).ok().and_then(|packet| packet.command.fw_version);
    secure.or_else(|| LegacyInitPacket::parse(&image.init).ok().map(|packet| packet.application_version))
}

/// Whether a file is a package, by its name.
pub(super) fn is_package(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("zip"))
}

/// A package from a file.
pub(super) fn package(path: &Path) -> Result<Package, Failure> {
    Package::read(&path.display().to_string(), &read_file(path)?).map_err(|error| Failure::Usage(error.to_string()))
}

/// Firmware from a file: raw, or Intel HEX without MBR and UICR, filled up to whole words as nrfutil does.
pub(super) fn firmware(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read_file(path)?;
    let bytes = if dump::has_addresses(path) { dump::firmware_of_hex(path, &bytes)? } else { bytes };
    if bytes.is_empty() {
        return Err(Failure::Usage(format!("{}: there is no firmware in it", path.display())));
    }
    if bytes.len() > 16 << 20 {
        return Err(Failure::Usage(format!("{}: {} bytes are no firmware", path.display(), bytes.len())));
    }
    Ok(bytes)
}
