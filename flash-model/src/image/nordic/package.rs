//! DFU packages: a zip file with a manifest, and firmware and init packet of each image.

use std::collections::BTreeSet;
use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::archive::{Archive, is_inside};
use super::check;
use super::init_packet::InitPacket;
use super::legacy::LegacyInitPacket;
use super::manifest::{ImageKind, InitPacketData, Manifest, ManifestEntry, PartSizes};
use super::package_error::{MANIFEST_MAX, MANIFEST_NAME, PackageError, PackageFault};

/// One image of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageImage {
    /// What it is.
    pub kind: ImageKind,
    /// The init packet, whatever it is.
    pub init: Vec<u8>,
    /// The firmware; of SoftDevice and bootloader one behind the other.
    pub firmware: Vec<u8>,
    /// What the manifest says of it.
    pub entry: ManifestEntry,
}

impl PackageImage {
    /// An image of Secure DFU. The manifest gets the sizes of the parts from the init packet, if it can be read.
    #[must_use]
    pub fn new(kind: ImageKind, init: Vec<u8>, firmware: Vec<u8>) -> Self {
        let sizes = InitPacket::parse(&init).ok().and_then(|packet| {
            let command = packet.command;
            Some(PartSizes { bl_size: command.bl_size?, sd_size: command.sd_size? })
        });
        let info_read_only_metadata = sizes.filter(|_| kind == ImageKind::SoftdeviceBootloader);
        let entry = ManifestEntry { info_read_only_metadata, ..Self::named(kind) };
        Self { kind, init, firmware, entry }
    }

    /// An image of Legacy DFU.
    #[must_use]
    pub fn legacy(kind: ImageKind, packet: &LegacyInitPacket, firmware: Vec<u8>) -> Self {
        let entry = ManifestEntry { init_packet_data: Some(InitPacketData::of(packet)), ..Self::named(kind) };
        Self { kind, init: packet.emit(), firmware, entry }
    }

    /// SoftDevice and bootloader of Legacy DFU; the packet is over both, one behind the other.
    #[must_use]
    pub fn legacy_softdevice_bootloader(packet: &LegacyInitPacket, softdevice: &[u8], bootloader: &[u8]) -> Self {
        let size = |part: &[u8]| Some(u32::try_from(part.len()).unwrap_or(u32::MAX));
        let firmware = [softdevice, bootloader].concat();
        let mut image = Self::legacy(ImageKind::SoftdeviceBootloader, packet, firmware);
        image.entry.sd_size = size(softdevice);
        image.entry.bl_size = size(bootloader);
        image
    }

    fn named(kind: ImageKind) -> ManifestEntry {
        let stem = kind.file_stem();
        ManifestEntry { bin_file: format!("{stem}.bin"), dat_file: format!("{stem}.dat"), ..ManifestEntry::default() }
    }
}

/// A package.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    /// Version of the format of a legacy package; `None` for Secure DFU.
    pub dfu_version: Option<f64>,
    /// In the order in which they are sent, each in a session of its own.
    pub images: Vec<PackageImage>,
}

impl Package {
    /// A package for Secure DFU.
    #[must_use]
    pub fn new(mut images: Vec<PackageImage>) -> Self {
        images.sort_by_key(|image| image.kind);
        Self { dfu_version: None, images }
    }

    /// A package for Legacy DFU. Its version follows from the first init packet.
    #[must_use]
    pub fn legacy(images: Vec<PackageImage>) -> Self {
        let first = images.first().and_then(|image| LegacyInitPacket::parse(&image.init).ok());
        let dfu_version = Some(first.map_or(0.5, |packet| packet.extension.dfu_version()));
        Self { dfu_version, ..Self::new(images) }
    }

    /// Whether it is for Legacy DFU.
    #[must_use]
    pub fn is_legacy(&self) -> bool {
        self.dfu_version.is_some() || self.images.iter().any(|image| image.entry.init_packet_data.is_some())
    }

    /// The image of this kind.
    #[must_use]
    pub fn image(&self, kind: ImageKind) -> Option<&PackageImage> {
        self.images.iter().find(|image| image.kind == kind)
    }

    /// Reads a package. What is in the init packets is not looked at; see [`Package::verify`].
    ///
    /// `file`: name of the package, for messages.
    ///
    /// # Errors
    /// [`PackageError`] for what is no package, and for what may be an attack on the reader.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Self, PackageError> {
        let mut zip = Archive::open(file, bytes)?;
        let text = zip.read(MANIFEST_NAME, PackageFault::ManifestMissing, Some(MANIFEST_MAX))?;
        let manifest =
            Manifest::parse(&text).map_err(|reason| zip.error(MANIFEST_NAME, PackageFault::Manifest(reason)))?;
        let mut images = Vec::new();
        for kind in ImageKind::ALL {
            let Some(entry) = manifest.entry(kind) else { continue };
            let firmware = zip.read(&entry.bin_file, PackageFault::FileMissing(kind.key()), None)?;
            let init = zip.read(&entry.dat_file, PackageFault::FileMissing(kind.key()), None)?;
            images.push(PackageImage { kind, init, firmware, entry: entry.clone() });
        }
        if images.is_empty() {
            return Err(zip.error(MANIFEST_NAME, PackageFault::NoImage));
        }
        Ok(Self { dfu_version: manifest.dfu_version, images })
    }

    /// The bytes of the package; the same each time. Nothing is compressed and all times are 1980-01-01.
    ///
    /// `file`: name of the package, for messages.
    ///
    /// # Errors
    /// [`PackageError`] when two images have one name, or a kind is there twice.
    pub fn write(&self, file: &str) -> Result<Vec<u8>, PackageError> {
        let mut manifest = Manifest { dfu_version: self.dfu_version, ..Manifest::default() };
        for image in &self.images {
            if manifest.entry(image.kind).is_some() {
                let fault = PackageFault::Combination(format!("two images of the kind {}", image.kind.key()));
                return Err(PackageError { file: file.to_owned(), entry: None, fault });
            }
            manifest.set_entry(image.kind, image.entry.clone());
        }
        let text = manifest.emit();
        let mut entries = vec![(MANIFEST_NAME, &text)];
        for image in &self.images {
            entries.push((&image.entry.bin_file, &image.firmware));
            entries.push((&image.entry.dat_file, &image.init));
        }
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .unix_permissions(0o644);
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let mut names = BTreeSet::new();
        for (name, contents) in entries {
            let failed = |reason: String| PackageError {
                file: file.to_owned(),
                entry: Some(name.to_owned()),
                fault: PackageFault::Damaged(reason),
            };
            let fault = if !is_inside(name) {
                Some(PackageFault::Path)
            } else if !names.insert(name) {
                Some(PackageFault::DuplicateName)
            } else {
                None
            };
            if let Some(fault) = fault {
                return Err(PackageError { file: file.to_owned(), entry: Some(name.to_owned()), fault });
            }
            zip.start_file(name, options).map_err(|error| failed(error.to_string()))?;
            zip.write_all(contents).map_err(|error| failed(error.to_string()))?;
        }
        let damaged = |error: zip::result::ZipError| PackageError {
            file: file.to_owned(),
            entry: None,
            fault: PackageFault::Damaged(error.to_string()),
        };
        Ok(zip.finish().map_err(damaged)?.into_inner())
    }

    /// Everything that is wrong: images that do not go together, and manifest, init packets and firmware that do not
    /// agree. Signatures are not looked at.
    ///
    /// # Errors
    /// All faults with the entry that each is about.
    pub fn verify(&self, file: &str) -> Result<(), Vec<PackageError>> {
        let mut faults = Vec::new();
        let mut add = |entry: Option<&str>, fault| {
            faults.push(PackageError { file: file.to_owned(), entry: entry.map(str::to_owned), fault });
        };
        if let Some(fault) = self.combination() {
            add(Some(MANIFEST_NAME), fault);
        }
        for image in &self.images {
            let found = if self.is_legacy() { check::legacy(image) } else { check::secure(image) };
            for fault in found {
                add(Some(&image.entry.dat_file), fault);
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// nrfutil makes no other combinations (pc-nrfutil: `__main__.py`).
    fn combination(&self) -> Option<PackageFault> {
        use ImageKind::{Application, Softdevice, SoftdeviceBootloader};
        let kinds: Vec<_> = self.images.iter().map(|image| image.kind).collect();
        let known = matches!(kinds.as_slice(), [_] | [SoftdeviceBootloader, Application] | [Softdevice, Application]);
        if known {
            return None;
        }
        let names: Vec<_> = kinds.iter().map(|kind| kind.key()).collect();
        Some(if names.is_empty() { PackageFault::NoImage } else { PackageFault::Combination(names.join(" and ")) })
    }
}

#[cfg(test)]
#[path = "package_tests.rs"]
mod tests;
