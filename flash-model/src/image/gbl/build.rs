//! Making files.

use super::application::ApplicationProperties;
use super::certificate::Certificate;
use super::compress::{Compression, compress};
use super::content::{ApplicationData, Header, file_type};
use super::crypt::{EncryptionKey, NONCE_LEN};
use super::dependency::Dependency;
use super::error::{GblError, GblFault};
use super::parts::{Encryption, Padding, Part, Parts, Pieces, Signing};
use super::tag::TagKind;
use crate::image::mcuboot::SigningKey;
use crate::image::nordic::crc32;

/// Describes a file; [`GblBuilder::sign`] or [`GblBuilder::unsigned`] makes it, the same each time.
///
/// Tags come in the order that bootloaders ask for, those of one kind as they were added. What the header says follows from
/// the rest, and the file is filled up to whole words, as by Silicon Labs' tool.
#[derive(Debug, Clone, Default)]
pub struct GblBuilder {
    version: Option<u32>,
    flags: Option<u32>,
    dependencies: Vec<Dependency>,
    body: Vec<Part>,
    encryption: Option<Encryption>,
    certificate: Option<Certificate>,
    padding: Option<usize>,
}

impl GblBuilder {
    /// A file with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the version of the format in the header.
    #[must_use]
    pub fn header_version(mut self, version: u32) -> Self {
        self.version = Some(version);
        self
    }

    /// Sets the type bits of the header, whatever the file is; see [`file_type`].
    #[must_use]
    pub fn header_flags(mut self, flags: u32) -> Self {
        self.flags = Some(flags);
        self
    }

    /// Adds a version that has to run; all are in one tag.
    #[must_use]
    pub fn dependency(mut self, dependency: Dependency) -> Self {
        self.dependencies.push(dependency);
        self
    }

    /// Adds application info.
    #[must_use]
    pub fn application(self, data: &ApplicationData) -> Self {
        self.part(TagKind::Application, data.emit().to_vec())
    }

    /// Adds firmware of the secure engine.
    #[must_use]
    pub fn se_upgrade(self, version: u32, blob: &[u8]) -> Self {
        let size = u32::try_from(blob.len()).unwrap_or(u32::MAX);
        self.part(TagKind::SeUpgrade, [&size.to_le_bytes(), &version.to_le_bytes(), blob].concat())
    }

    /// Adds a bootloader and the CRC-32 that is expected behind it (simplicity sdk: `btl_bootload.c`,
    /// `bootload_commitBootloaderUpgrade`).
    #[must_use]
    pub fn bootloader(self, version: u32, address: u32, image: &[u8]) -> Self {
        let crc = crc32(image, 0).to_le_bytes();
        self.part(TagKind::Bootloader, [&version.to_le_bytes(), &address.to_le_bytes(), image, &crc].concat())
    }

    /// Adds bytes that the bootloader hands on.
    #[must_use]
    pub fn metadata(self, bytes: &[u8]) -> Self {
        self.part(TagKind::Metadata, bytes.to_vec())
    }

    /// Adds firmware for the flash, and application info as its properties say, if it has any.
    #[must_use]
    pub fn firmware(self, base: u32, image: &[u8]) -> Self {
        let properties = ApplicationProperties::read(image, base).or_else(|| ApplicationProperties::find(image, base));
        let builder = match properties {
            Some(properties) => self.application(&properties.application),
            None => self,
        };
        builder.program(base, image)
    }

    /// Adds bytes for the flash, in the tag that Silicon Labs' tool uses.
    #[must_use]
    pub fn program(self, address: u32, data: &[u8]) -> Self {
        self.part(TagKind::EraseProgram, [&address.to_le_bytes(), data].concat())
    }

    /// Adds bytes for the flash in the other tag, which is no different to a bootloader.
    #[must_use]
    pub fn plain_program(self, address: u32, data: &[u8]) -> Self {
        self.part(TagKind::Program, [&address.to_le_bytes(), data].concat())
    }

    /// Adds bytes for the flash, compressed.
    ///
    /// # Errors
    /// [`GblFault::Compressed`] never, as things are.
    pub fn compressed_program(self, compression: Compression, address: u32, data: &[u8]) -> Result<Self, GblError> {
        let packed = compress(compression, data).map_err(GblFault::Compressed)?;
        Ok(self.part(compression.tag_kind(), [&address.to_le_bytes(), packed.as_slice()].concat()))
    }

    /// Adds a tag of any kind as it is; it comes where its kind belongs.
    #[must_use]
    pub fn part(self, kind: TagKind, payload: Vec<u8>) -> Self {
        self.raw_part(kind.id(), payload)
    }

    /// As [`GblBuilder::part`] for any id; those that are none come with the programs.
    #[must_use]
    pub fn raw_part(mut self, id: u32, payload: Vec<u8>) -> Self {
        self.body.push(Part { id, payload });
        self
    }

    /// Encrypts the file, with one encryption data tag for each tag. Never use a nonce twice with one key.
    #[must_use]
    pub fn encrypt(mut self, key: &EncryptionKey, nonce: [u8; NONCE_LEN]) -> Self {
        self.encryption = Some(Encryption { key: key.clone(), nonce, pieces: Pieces::PerTag });
        self
    }

    /// Sets how an encrypted file is cut into pieces.
    #[must_use]
    pub fn pieces(mut self, pieces: Pieces) -> Self {
        if let Some(encryption) = &mut self.encryption {
            encryption.pieces = pieces;
        }
        self
    }

    /// Adds a certificate, whose key then has to sign the file.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Sets the number of bytes 0xff behind the end.
    #[must_use]
    pub fn padding(mut self, bytes: usize) -> Self {
        self.padding = Some(bytes);
        self
    }

    /// The file, signed.
    ///
    /// # Errors
    /// [`GblError`] when the key is not of ECDSA P-256, a tag is too long, or pieces have no bytes.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, GblError> {
        self.emit(Signing::By(Box::new(key.clone())))
    }

    /// The file without a signature.
    ///
    /// # Errors
    /// [`GblError`] when a tag is too long, or pieces have no bytes.
    pub fn unsigned(&self) -> Result<Vec<u8>, GblError> {
        self.emit(Signing::Not)
    }

    fn emit(&self, signing: Signing) -> Result<Vec<u8>, GblError> {
        let encrypted = if self.encryption.is_some() { file_type::ENCRYPTED } else { 0 };
        let signed = if matches!(signing, Signing::Not) { 0 } else { file_type::SIGNED };
        let header = Header {
            version: self.version.unwrap_or(Header::VERSION),
            flags: self.flags.unwrap_or(encrypted | signed),
        };
        let mut head = vec![Part::new(TagKind::Header, header.emit().to_vec())];
        if !self.dependencies.is_empty() {
            let entries: Vec<_> = self.dependencies.iter().map(Dependency::emit).collect();
            head.push(Part::new(TagKind::VersionDependency, entries.concat()));
        }
        let mut body = self.body.clone();
        body.sort_by_key(|part| part.kind().map_or(8, TagKind::rank));
        let certificate = self.certificate.iter();
        let tail =
            certificate.map(|certificate| Part::new(TagKind::Certificate, certificate.emit().to_vec())).collect();
        let encryption = self.encryption.clone();
        let padding = self.padding.map_or(Padding::Word, |bytes| Padding::Bytes(vec![0xff; bytes]));
        Parts { head, body, encryption, tail, signing, end: true, padding }.emit()
    }
}
