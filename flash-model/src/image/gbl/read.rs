//! A whole file.

use sha2::{Digest, Sha256};

use super::compress::{Compression, CompressionFault, decompress};
use super::content::{Content, Header, SIGNATURE_LEN, file_type, u32_at};
use super::crypt::{Decrypted, EncryptionInit, EncryptionKey};
use super::dependency::Dependency;
use super::error::{DEPENDENCIES_MAX, FILE_MAX, GblError, GblFault, Place};
use super::tag::{ROOT_V4, Tag, TagKind, walk};
use crate::image::mcuboot::PublicKey;
use crate::image::nordic::crc32;
use crate::image::nordic::sign::verify_big_endian;

/// A GBL file of version 3: its tags in clear and where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gbl<'a> {
    bytes: &'a [u8],
    header: Header,
    tags: Vec<Tag>,
    end: usize,
}

/// The CRC of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileCrc {
    /// What the end tag says.
    pub stored: u32,
    /// What it is.
    pub computed: u32,
}

impl<'a> Gbl<'a> {
    /// Reads a file down to its end tag. What is in the tags is not looked at, but for the header.
    ///
    /// # Errors
    /// [`GblError`] names the place and what to do.
    pub fn read(bytes: &'a [u8]) -> Result<Self, GblError> {
        match Self::scan(bytes)? {
            (gbl, None) => Ok(gbl),
            (_, Some(error)) => Err(error),
        }
    }

    /// As [`Gbl::read`], for a file that is damaged behind its header: what could be read, and what is wrong behind it.
    ///
    /// # Errors
    /// [`GblError`] when not even the header can be read.
    pub fn scan(bytes: &'a [u8]) -> Result<(Self, Option<GblError>), GblError> {
        let Some(magic) = bytes.first_chunk::<4>() else { return Err(GblFault::Short(bytes.len()).into()) };
        match u32::from_le_bytes(*magic) {
            ROOT_V4 => return Err(GblFault::Version4.into()),
            id if id == TagKind::Header.id() => {}
            _ if *magic == [0x00, 0x00, 0x00, 0x8c] => return Err(GblFault::Ebl.into()),
            _ => return Err(GblFault::NotGbl(*magic).into()),
        }
        if bytes.len() > FILE_MAX {
            return Err(GblFault::TooLarge(bytes.len()).into());
        }
        let (tags, fault) = walk(bytes, false);
        let Some(first) = tags.first() else {
            return Err(fault.unwrap_or_else(|| GblFault::Short(bytes.len()).into()));
        };
        let Content::Header(header) = Content::read(first, bytes)? else {
            return Err(GblFault::NotGbl(*magic).into());
        };
        let end = tags.last().map_or(0, |tag| tag.payload.end);
        Ok((Self { bytes, header, tags, end }, fault))
    }

    /// The file.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> Header {
        self.header
    }

    /// Whether the header says it is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.header.flags & file_type::ENCRYPTED != 0
    }

    /// Whether the header says it is signed.
    #[must_use]
    pub fn says_signed(&self) -> bool {
        self.header.flags & file_type::SIGNED != 0
    }

    /// The tags in clear, in their order.
    #[must_use]
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// The first tag in clear of a kind.
    #[must_use]
    pub fn tag(&self, kind: TagKind) -> Option<&Tag> {
        self.tags.iter().find(|tag| tag.kind == Some(kind))
    }

    /// What is in a tag in clear.
    ///
    /// # Errors
    /// [`GblFault::Length`].
    pub fn content(&self, tag: &Tag) -> Result<Content<'a>, GblError> {
        Content::read(tag, self.bytes)
    }

    /// What is behind the end tag. No checksum covers it, no device reads it.
    #[must_use]
    pub fn padding(&self) -> &'a [u8] {
        self.bytes.get(self.end..).unwrap_or_default()
    }

    /// Bytes up to the end of the last tag.
    #[must_use]
    pub fn content_len(&self) -> usize {
        self.end
    }

    /// The CRC, over everything before it: the 4 bytes behind the header of the end tag, whatever length it says; `None` when
    /// they are not there.
    #[must_use]
    pub fn crc(&self) -> Option<FileCrc> {
        let end = self.tags.last().filter(|tag| tag.kind == Some(TagKind::End))?;
        let stored = u32_at(self.bytes, end.payload.start)?;
        Some(FileCrc { stored, computed: crc32(self.bytes.get(..end.payload.start)?, 0) })
    }

    /// The bytes under the signature, everything before its tag, and the signature; `None` without one.
    #[must_use]
    pub fn signature(&self) -> Option<(&'a [u8], [u8; SIGNATURE_LEN])> {
        let tag = self.tag(TagKind::Signature)?;
        let Ok(Content::Signature(signature)) = self.content(tag) else { return None };
        Some((self.bytes.get(..tag.start())?, signature))
    }

    /// SHA-256 of what is signed, of a file without a signature of what would be: everything but the end tag.
    #[must_use]
    pub fn signed_hash(&self) -> [u8; 32] {
        let end = self.tag(TagKind::Signature).or_else(|| self.tag(TagKind::End)).map_or(self.end, Tag::start);
        Sha256::digest(self.bytes.get(..end).unwrap_or_default()).into()
    }

    /// Whether the signature is of this key, whatever certificate there is; `None` without a signature.
    #[must_use]
    pub fn verify(&self, key: &PublicKey) -> Option<bool> {
        let (signed, signature) = self.signature()?;
        Some(verify_big_endian(key, signed, &signature))
    }

    /// Whether the signature is of the key of the certificate and that one's of `root`; `None` without either.
    #[must_use]
    pub fn verify_chain(&self, root: &PublicKey) -> Option<bool> {
        let Ok(Content::Certificate(certificate)) = self.content(self.tag(TagKind::Certificate)?) else { return None };
        let key = certificate.public_key().ok().filter(|_| certificate.verify(root));
        key.map_or(Some(false), |key| self.verify(&key))
    }

    /// How it is encrypted.
    ///
    /// # Errors
    /// [`GblFault::NotEncrypted`], [`GblFault::Length`].
    pub fn encryption(&self) -> Result<EncryptionInit, GblError> {
        let tag = self.tag(TagKind::EncryptionInit).ok_or(GblFault::NotEncrypted)?;
        match self.content(tag)? {
            Content::EncryptionInit(init) => Ok(init),
            _ => Err(GblFault::NotEncrypted.into()),
        }
    }

    /// What is inside, decrypted.
    ///
    /// # Errors
    /// [`GblFault::NotEncrypted`]; [`GblFault::WrongKey`] when the first id is none; what [`Gbl::read`] says about the tags
    /// inside.
    pub fn decrypt(&self, key: &EncryptionKey) -> Result<Decrypted, GblError> {
        match Decrypted::of(self, key)? {
            (decrypted, None) => Ok(decrypted),
            (_, Some(error)) => Err(error),
        }
    }

    /// What the programs have for the flash, decrypted with `key` and decompressed to at most `limit` bytes together: addresses
    /// and bytes, in the order of the file. Patches are left out.
    ///
    /// # Errors
    /// [`GblFault::KeyNeeded`], what [`Gbl::decrypt`] says, [`GblFault::Length`], [`GblFault::Compressed`].
    pub fn programs(&self, key: Option<&EncryptionKey>, limit: usize) -> Result<Vec<(u32, Vec<u8>)>, GblError> {
        let mut programs = Vec::new();
        let mut left = limit;
        let inside = match (self.tag(TagKind::EncryptionInit), key) {
            (Some(_), Some(key)) => Some(self.decrypt(key)?),
            (Some(tag), None) => return Err(GblError::new(tag.place, GblFault::KeyNeeded)),
            (None, _) => None,
        };
        let in_clear = self.tags.iter().map(|tag| (tag, self.bytes));
        let inside = inside.iter().flat_map(|inside| inside.tags().iter().map(|tag| (tag, inside.bytes())));
        for (tag, stream) in in_clear.chain(inside) {
            let Some(kind) = tag.kind.filter(|kind| kind.is_program()) else { continue };
            let Content::Program { address, data } = Content::read(tag, stream)? else { continue };
            let data = match Compression::of(kind) {
                None => data.to_vec(),
                Some(compression) => {
                    let found = decompress(compression, data, left);
                    found.map_err(|fault| GblError::new(tag.place, GblFault::Compressed(fault)))?.bytes
                }
            };
            left = left
                .checked_sub(data.len())
                .ok_or_else(|| GblError::new(tag.place, GblFault::Compressed(CompressionFault::TooLarge { limit })))?;
            programs.push((address, data));
        }
        Ok(programs)
    }

    /// The version dependencies in clear, in the order of the file, the first [`DEPENDENCIES_MAX`]; those that cannot be read
    /// are left out.
    #[must_use]
    pub fn dependencies(&self) -> Vec<Dependency> {
        let tags = self.tags.iter().filter(|tag| tag.kind == Some(TagKind::VersionDependency));
        let read = tags.filter_map(|tag| match self.content(tag) {
            Ok(Content::Dependencies(entries)) => Some(entries),
            _ => None,
        });
        read.flatten().take(DEPENDENCIES_MAX).collect()
    }

    /// Where the last tag ends.
    #[must_use]
    pub fn end_place(&self) -> Place {
        Place::File(self.end)
    }
}
