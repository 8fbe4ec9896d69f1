//! Reading a zip that anybody may have made.

use std::io::{Cursor, Read};

use zip::{CompressionMethod, ZipArchive};

use super::package_error::{ENTRIES_MAX, FILE_MAX, PackageError, PackageFault, UNPACKED_MAX};

/// Whether a name stays in the folder that a package is unpacked to, on any system.
pub(super) fn is_inside(name: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let folder = name.strip_suffix('/').unwrap_or(name);
    folder.split('/').all(plain) && !name.contains(['\\', ':', '\0'])
}

/// A zip whose entries all are harmless by what it says.
pub(super) struct Archive<'a> {
    file: &'a str,
    archive: ZipArchive<Cursor<&'a [u8]>>,
    /// How many more bytes may be unpacked.
    left: u64,
}

impl<'a> Archive<'a> {
    pub(super) fn open(file: &'a str, bytes: &'a [u8]) -> Result<Self, PackageError> {
        let whole = |fault| PackageError { file: file.to_owned(), entry: None, fault };
        if bytes.len() > FILE_MAX {
            return Err(whole(PackageFault::FileSize(bytes.len())));
        }
        let archive =
            ZipArchive::new(Cursor::new(bytes)).map_err(|error| whole(PackageFault::NoZip(error.to_string())))?;
        if archive.len() > ENTRIES_MAX {
            return Err(whole(PackageFault::EntryCount(archive.len())));
        }
        if archive.has_duplicate_names() {
            return Err(whole(PackageFault::DuplicateName));
        }
        let mut zip = Self { file, archive, left: UNPACKED_MAX };
        let mut total = 0u64;
        for index in 0..zip.archive.len() {
            let entry =
                zip.archive.by_index_raw(index).map_err(|error| whole(PackageFault::NoZip(error.to_string())))?;
            // A name that is no text cannot be one of the manifest.
            let name = entry.name().map_or_else(|_| String::new(), std::borrow::Cow::into_owned);
            total = total.saturating_add(entry.size());
            let fault = if !is_inside(&name) {
                Some(PackageFault::Path)
            } else if entry.is_symlink() || !(entry.is_file() || entry.is_dir()) {
                Some(PackageFault::NoFile)
            } else if entry.encrypted() {
                Some(PackageFault::Encrypted)
            } else if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
                Some(PackageFault::Compression(entry.compression().to_string()))
            } else if total > UNPACKED_MAX {
                Some(PackageFault::UnpackedSize)
            } else {
                None
            };
            drop(entry);
            if let Some(fault) = fault {
                return Err(zip.error(&name, fault));
            }
        }
        Ok(zip)
    }

    pub(super) fn error(&self, entry: &str, fault: PackageFault) -> PackageError {
        PackageError { file: self.file.to_owned(), entry: Some(entry.to_owned()), fault }
    }

    /// Unpacks an entry. `missing`: the error when there is none of this name.
    pub(super) fn read(
        &mut self,
        name: &str,
        missing: PackageFault,
        max: Option<u64>,
    ) -> Result<Vec<u8>, PackageError> {
        let Some(index) = self.archive.index_for_name(name) else { return Err(self.error(name, missing)) };
        let (file, left) = (self.file, self.left);
        let error = |fault| PackageError { file: file.to_owned(), entry: Some(name.to_owned()), fault };
        let damaged = |reason: String| error(PackageFault::Damaged(reason));
        let mut entry = self.archive.by_index(index).map_err(|reason| damaged(reason.to_string()))?;
        if entry.is_dir() {
            return Err(error(PackageFault::NoFile));
        }
        let announced = entry.size();
        if max.is_some_and(|max| announced > max) {
            return Err(error(PackageFault::ManifestSize(announced)));
        }
        if announced > left {
            return Err(error(PackageFault::UnpackedSize));
        }
        let mut bytes = Vec::new();
        // One more than announced shows a lie before it costs memory.
        let limit = announced.saturating_add(1);
        (&mut entry).take(limit).read_to_end(&mut bytes).map_err(|reason| damaged(reason.to_string()))?;
        if u64::try_from(bytes.len()) != Ok(announced) {
            return Err(error(PackageFault::SizeMismatch(announced)));
        }
        drop(entry);
        self.left = left.saturating_sub(announced);
        Ok(bytes)
    }
}
