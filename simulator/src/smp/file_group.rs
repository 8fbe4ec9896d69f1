//! The file group (zephyr: `grp/fs_mgmt/src/fs_mgmt.c`) on one small file system.
//!
//! Directories are there as long as a file lies in them. What the file system does not take is a failed
//! write: there are at most [`FILES_MAX`] files of at most [`FILE_LEN_MAX`] bytes.

use sha2::{Digest, Sha256};

use super::cbor::{MapReader, Type};
use super::codes::{FileError, SmpError, group};
use super::config::{Files, ServerConfig};
use super::dispatch::{Entry, Exchange, Failure, Group, always};
use super::server::{Environment, Server};

/// Most files.
const FILES_MAX: usize = 32;
/// Longest file in bytes.
const FILE_LEN_MAX: u64 = 256 * 1024;
/// Longest name of a hash in bytes.
const HASH_NAME_MAX: usize = 8;
/// Header and CBOR around a chunk at worst, with offsets of 5 bytes (`fs_mgmt_config.h`).
const CHUNK_OVERHEAD: usize = 8 + 10 + (1 + 3 + 5) + (1 + 4 + 5) + (1 + 2 + 1) + (1 + 3 + 5);

type Result<T = ()> = std::result::Result<T, Failure>;

/// The file that is open for an upload or a download.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Transfer {
    path: String,
    upload: bool,
    /// Next expected offset.
    offset: u64,
    /// Length of the whole file in bytes, where it is known.
    len: u64,
}

impl Transfer {
    fn finished(&self) -> bool {
        self.len > 0 && self.offset >= self.len
    }
}

/// A path as a request names it.
fn path(config: &ServerConfig, name: Option<&[u8]>) -> Result<String> {
    let limit = config.files.as_ref().map_or(0, |files| files.path_len);
    match name.unwrap_or_default() {
        [] => Err(SmpError::Invalid.into()),
        name if name.len() > limit => Err(SmpError::Invalid.into()),
        // The file system takes any bytes, and ends at a zero; there is no such file here.
        name => Ok(String::from_utf8_lossy(name).into_owned()),
    }
}

/// Length of a file in bytes (`fs_mgmt_filelen`).
fn file_len(files: &Files, device: &Environment<'_, '_>, path: &str) -> std::result::Result<u64, FileError> {
    if !path.starts_with('/') {
        return Err(FileError::InvalidName);
    }
    if let Some(content) = device.kept.files.get(path) {
        return Ok(content.len() as u64);
    }
    Err(if is_directory(files, device, path) { FileError::IsDirectory } else { FileError::NotFound })
}

fn is_directory(files: &Files, device: &Environment<'_, '_>, path: &str) -> bool {
    let inside = |file: &str| file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
    path == files.mount || device.kept.files.keys().any(|file| inside(file))
}

/// Makes a file of no length, unless it is there (`fs_open` with `FS_O_CREATE`).
fn create(files: &Files, device: &mut Environment<'_, '_>, path: &str) -> std::result::Result<(), FileError> {
    let folder = path.rsplit_once('/').map(|(folder, _)| folder);
    let Some(folder) = folder.filter(|_| path.starts_with('/')) else { return Err(FileError::InvalidName) };
    if !is_directory(files, device, folder) {
        return Err(FileError::MountPointNotFound);
    }
    if files.read_only {
        return Err(FileError::ReadOnly);
    }
    if is_directory(files, device, path) || path.ends_with('/') {
        return Err(FileError::Unknown);
    }
    if !device.kept.files.contains_key(path) {
        if device.kept.files.len() >= FILES_MAX {
            return Err(FileError::Unknown);
        }
        device.kept.files.insert(path.to_owned(), Vec::new());
    }
    Ok(())
}

fn configured(config: &ServerConfig) -> Result<&Files> {
    // The table has no commands without it.
    config.files.as_ref().ok_or(SmpError::NotSupported.into())
}

fn download(server: &mut Server, exchange: &mut Exchange<'_>, device: &mut Environment<'_, '_>) -> Result {
    let request = MapReader::read(exchange.body, [("off", Type::Unsigned64), ("name", Type::Text)])
        .map_err(|_| SmpError::Invalid)?;
    let offset = request.unsigned64(0).filter(|offset| *offset != u64::MAX).ok_or(SmpError::Invalid)?;
    let Server { config, transfer, .. } = server;
    let path = path(config, request.text(1))?;
    let under_way = transfer.take().filter(|transfer| !transfer.upload && transfer.path == path);
    let len = match &under_way {
        Some(transfer) => transfer.len,
        None => file_len(configured(config)?, device, &path)?,
    };
    let content = device.kept.files.get(&path).map_or(&[][..], Vec::as_slice);
    let chunk = usize::from(config.buffer_size).saturating_sub(CHUNK_OVERHEAD);
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
    let data = &content[start..(start + chunk).min(content.len())];
    exchange.success(config);
    exchange.map.text("off").unsigned(offset).text("data").bytes(data);
    if offset == 0 {
        exchange.map.text("len").unsigned(len);
    }
    let next = Transfer { path, upload: false, offset: offset.saturating_add(data.len() as u64), len };
    *transfer = Some(next).filter(|transfer| !transfer.finished());
    Ok(())
}

/// Takes one chunk; another offset than the next one is answered with a failure and that offset.
fn upload(server: &mut Server, exchange: &mut Exchange<'_>, device: &mut Environment<'_, '_>) -> Result {
    let keys = [("off", Type::Unsigned64), ("name", Type::Text), ("data", Type::Bytes), ("len", Type::Unsigned64)];
    let request = MapReader::read(exchange.body, keys).map_err(|_| SmpError::Invalid)?;
    let given = |index: usize| request.unsigned64(index).filter(|number| *number != u64::MAX);
    let offset = given(0).ok_or(SmpError::Invalid)?;
    let Server { config, transfer, .. } = server;
    let path = path(config, request.text(1))?;
    if offset == 0 && given(3).is_none() {
        return Err(SmpError::Invalid.into());
    }
    let data = request.bytes(2).unwrap_or_default();
    let files = configured(config)?;
    // Every failure closes the file.
    let mut open = match transfer.take().filter(|transfer| transfer.upload && transfer.path == path) {
        Some(open) => open,
        None => {
            create(files, device, &path)?;
            Transfer { path: path.clone(), upload: true, offset: 0, len: 0 }
        }
    };
    if offset == 0 {
        open.len = given(3).unwrap_or_default();
        open.offset = 0;
    } else if open.offset == 0 {
        open.offset = file_len(files, device, &path)?;
    }
    if offset != open.offset {
        exchange.fail(FileError::OffsetNotValid);
        exchange.map.text("len").unsigned(open.offset);
        return Ok(());
    }
    if !data.is_empty() {
        let content = device.kept.files.get_mut(&path).ok_or(FileError::WriteFailed)?;
        if offset == 0 {
            content.clear();
        }
        if content.len() as u64 + data.len() as u64 > FILE_LEN_MAX {
            return Err(FileError::WriteFailed.into());
        }
        content.extend_from_slice(data);
        open.offset += data.len() as u64;
    }
    exchange.success(config);
    exchange.map.text("off").unsigned(open.offset);
    *transfer = Some(open).filter(|transfer| !transfer.finished());
    Ok(())
}

fn status(server: &mut Server, exchange: &mut Exchange<'_>, device: &mut Environment<'_, '_>) -> Result {
    let request = MapReader::read(exchange.body, [("name", Type::Text)]).map_err(|_| SmpError::Invalid)?;
    let path = path(&server.config, request.text(0))?;
    let len = file_len(configured(&server.config)?, device, &path)?;
    exchange.success(&server.config);
    exchange.map.text("len").unsigned(len);
    Ok(())
}

fn hash(server: &mut Server, exchange: &mut Exchange<'_>, device: &mut Environment<'_, '_>) -> Result {
    let keys = [("type", Type::Text), ("name", Type::Text), ("off", Type::Unsigned64), ("len", Type::Unsigned64)];
    let request = MapReader::read(exchange.body, keys).map_err(|_| SmpError::Invalid)?;
    let path = path(&server.config, request.text(1))?;
    let (offset, limit) = (request.unsigned64(2).unwrap_or(0), request.unsigned64(3).unwrap_or(u64::MAX));
    let kind = request.text(0).unwrap_or_default();
    if kind.len() > HASH_NAME_MAX || limit == 0 {
        return Err(SmpError::Invalid.into());
    }
    let sha256 = match kind {
        b"" | b"crc32" => false,
        b"sha256" => true,
        _ => return Err(FileError::HashNotFound.into()),
    };
    let len = file_len(configured(&server.config)?, device, &path)?;
    if len <= offset {
        return Err(if len == 0 { FileError::Empty } else { FileError::OffsetLargerThanFile }.into());
    }
    let content = &device.kept.files[&path][offset as usize..];
    let content = &content[..usize::try_from(limit).unwrap_or(usize::MAX).min(content.len())];
    exchange.map.text("type").text(if sha256 { "sha256" } else { "crc32" });
    if offset != 0 {
        exchange.map.text("off").unsigned(offset);
    }
    exchange.map.text("len").unsigned(content.len() as u64).text("output");
    if sha256 {
        exchange.map.bytes(&Sha256::digest(content));
    } else {
        exchange.map.unsigned(crc32(content).into());
    }
    Ok(())
}

/// CRC-32 of IEEE 802.3, reflected.
fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xedb8_8320 })
    })
}

fn hash_types(_: &mut Server, exchange: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result {
    exchange.map.text("types").begin_map();
    for (name, bytes, size) in [("crc32", 0, 4), ("sha256", 1, 32)] {
        exchange.map.text(name).begin_map().text("format").unsigned(bytes).text("size").unsigned(size).end();
    }
    exchange.map.end();
    Ok(())
}

fn close(server: &mut Server, _: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result {
    server.transfer = None;
    Ok(())
}

pub(super) const GROUP: Group = Group {
    number: group::FILES,
    name: "fs mgmt",
    built: |config| config.files.is_some(),
    commands: &[
        Entry { number: 0, built: always, read: Some(download), write: Some(upload) },
        Entry { number: 1, built: always, read: Some(status), write: None },
        Entry { number: 2, built: always, read: Some(hash), write: None },
        Entry { number: 3, built: always, read: Some(hash_types), write: None },
        Entry { number: 4, built: always, read: None, write: Some(close) },
    ],
};

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn check_value_of_the_crc() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
