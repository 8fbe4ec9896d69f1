//! A file in parts, put together again: what builder and sabotage share.

use super::content::{Header, SIGNATURE_LEN};
use super::crypt::{EncryptionInit, EncryptionKey, Keystream, NONCE_LEN};
use super::error::{GblError, GblFault, Place, TagName};
use super::read::Gbl;
use super::tag::{TAG_HEADER_LEN, TagKind};
use crate::image::mcuboot::SigningKey;
use crate::image::nordic::crc32;
use crate::image::nordic::sign::sign_big_endian;

/// How encrypted tags are cut into encryption data tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pieces {
    /// One for each tag, as the tools do it.
    PerTag,
    /// One for all.
    One,
    /// One for each so many bytes, wherever tags end. No device reads a tag that is cut: it takes the header of the next piece
    /// for content.
    Bytes(usize),
}

/// A tag to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) id: u32,
    pub(super) payload: Vec<u8>,
}

impl Part {
    pub(super) fn new(kind: TagKind, payload: Vec<u8>) -> Self {
        Self { id: kind.id(), payload }
    }

    pub(super) fn kind(&self) -> Option<TagKind> {
        TagKind::of_id(self.id)
    }

    fn emit(&self) -> Result<Vec<u8>, GblError> {
        let length = u32::try_from(self.payload.len()).map_err(|_| GblFault::TooLong(TagName(self.id)))?;
        let mut bytes = Vec::with_capacity(self.payload.len().saturating_add(TAG_HEADER_LEN));
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.payload);
        Ok(bytes)
    }
}

/// How a file is encrypted.
#[derive(Debug, Clone)]
pub(super) struct Encryption {
    pub(super) key: EncryptionKey,
    pub(super) nonce: [u8; NONCE_LEN],
    pub(super) pieces: Pieces,
}

/// Whose signature a file has.
#[derive(Debug, Clone)]
pub(super) enum Signing {
    Not,
    Bytes([u8; SIGNATURE_LEN]),
    By(Box<SigningKey>),
}

/// What is behind the end.
#[derive(Debug, Clone)]
pub(super) enum Padding {
    /// 0xff up to a whole word.
    Word,
    Bytes(Vec<u8>),
}

/// A file in parts.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    /// Header and version dependencies.
    pub(super) head: Vec<Part>,
    /// What is encrypted, if it is.
    pub(super) body: Vec<Part>,
    pub(super) encryption: Option<Encryption>,
    /// Certificate.
    pub(super) tail: Vec<Part>,
    pub(super) signing: Signing,
    /// Whether there is an end tag.
    pub(super) end: bool,
    pub(super) padding: Padding,
}

impl Padding {
    fn of(gbl: &Gbl<'_>) -> Self {
        let padding = gbl.padding();
        let is_word = gbl.bytes().len() == gbl.content_len().next_multiple_of(4);
        if is_word && padding.iter().all(|byte| *byte == 0xff) { Self::Word } else { Self::Bytes(padding.to_vec()) }
    }
}

impl Parts {
    /// Takes a file apart; `key` decrypts it.
    pub(super) fn of(gbl: &Gbl<'_>, key: Option<&EncryptionKey>) -> Result<Self, GblError> {
        let decrypted = match key.filter(|_| gbl.tag(TagKind::EncryptionInit).is_some()) {
            Some(key) => Some((gbl.decrypt(key)?, key)),
            None => None,
        };
        let mut parts = Self {
            head: Vec::new(),
            body: Vec::new(),
            encryption: None,
            tail: Vec::new(),
            signing: Signing::Not,
            end: false,
            padding: Padding::of(gbl),
        };
        for tag in gbl.tags() {
            let payload = gbl.bytes().get(tag.payload.clone()).unwrap_or_default();
            let part = Part { id: tag.id, payload: payload.to_vec() };
            match tag.kind {
                Some(TagKind::Header | TagKind::VersionDependency) => parts.head.push(part),
                Some(TagKind::EncryptionInit | TagKind::EncryptionData) if decrypted.is_some() => {}
                Some(TagKind::Certificate) => parts.tail.push(part),
                Some(TagKind::Signature) => {
                    let bytes = part.payload.try_into().unwrap_or([0; SIGNATURE_LEN]);
                    parts.signing = Signing::Bytes(bytes);
                }
                Some(TagKind::End) => parts.end = true,
                _ => parts.body.push(part),
            }
        }
        if let Some((inside, key)) = decrypted {
            let tags = inside.tags().iter();
            parts.body.extend(tags.map(|tag| {
                let payload = inside.bytes().get(tag.payload.clone()).unwrap_or_default();
                Part { id: tag.id, payload: payload.to_vec() }
            }));
            let pieces: Vec<_> = inside.pieces().collect();
            let tags = inside.tags().iter().map(|tag| tag.start()..tag.payload.end);
            let pieces = match pieces.as_slice() {
                pieces if pieces.iter().cloned().eq(tags) => Pieces::PerTag,
                [] | [_] => Pieces::One,
                [first, ..] => Pieces::Bytes(first.len().max(1)),
            };
            parts.encryption = Some(Encryption { key: key.clone(), nonce: gbl.encryption()?.nonce, pieces });
        }
        Ok(parts)
    }

    /// The header; a default where there is none.
    pub(super) fn header(&self) -> Header {
        let payload = self.head.first().map(|part| part.payload.as_slice()).unwrap_or_default();
        let word = |at| super::content::u32_at(payload, at);
        Header { version: word(0).unwrap_or(Header::VERSION), flags: word(4).unwrap_or(0) }
    }

    pub(super) fn set_header(&mut self, header: Header) {
        if let Some(part) = self.head.first_mut() {
            part.payload = header.emit().to_vec();
        }
    }

    /// The file, with a CRC that is right.
    pub(super) fn emit(&self) -> Result<Vec<u8>, GblError> {
        let mut bytes = Vec::new();
        for part in &self.head {
            bytes.extend(part.emit()?);
        }
        match &self.encryption {
            None => {
                for part in &self.body {
                    bytes.extend(part.emit()?);
                }
            }
            Some(encryption) => self.encrypt(encryption, &mut bytes)?,
        }
        for part in &self.tail {
            bytes.extend(part.emit()?);
        }
        let signature = match &self.signing {
            Signing::Not => None,
            Signing::Bytes(bytes) => Some(*bytes),
            Signing::By(key) => Some(sign_big_endian(key, &bytes).map_err(GblFault::Key)?),
        };
        if let Some(signature) = signature {
            bytes.extend(Part::new(TagKind::Signature, signature.to_vec()).emit()?);
        }
        if self.end {
            let end = Part::new(TagKind::End, vec![0; 4]).emit()?;
            bytes.extend(end.get(..TAG_HEADER_LEN).unwrap_or_default());
            let crc = crc32(&bytes, 0);
            bytes.extend(crc.to_le_bytes());
        }
        match &self.padding {
            Padding::Word => bytes.resize(bytes.len().next_multiple_of(4), 0xff),
            Padding::Bytes(padding) => bytes.extend_from_slice(padding),
        }
        Ok(bytes)
    }

    fn encrypt(&self, encryption: &Encryption, bytes: &mut Vec<u8>) -> Result<(), GblError> {
        let tags: Vec<Vec<u8>> = self.body.iter().map(Part::emit).collect::<Result<_, _>>()?;
        let pieces: Vec<Vec<u8>> = match encryption.pieces {
            Pieces::PerTag => tags,
            Pieces::One => vec![tags.concat()],
            Pieces::Bytes(0) => return Err(GblError::new(Place::Inside(0), GblFault::PieceSize(0))),
            Pieces::Bytes(size) => tags.concat().chunks(size).map(<[u8]>::to_vec).collect(),
        };
        let length = pieces.iter().map(Vec::len).fold(0usize, usize::saturating_add);
        let length = u32::try_from(length).map_err(|_| GblFault::TooLong(TagName(TagKind::EncryptionData.id())))?;
        let init = EncryptionInit { length, nonce: encryption.nonce };
        bytes.extend(Part::new(TagKind::EncryptionInit, init.emit()).emit()?);
        let mut keystream = Keystream::new(&encryption.key, &encryption.nonce);
        for mut piece in pieces {
            keystream.apply(&mut piece);
            bytes.extend(Part::new(TagKind::EncryptionData, piece).emit()?);
        }
        Ok(())
    }
}

/// Address and data of a program.
pub(super) fn program_of(part: &Part) -> Option<(u32, &[u8])> {
    part.kind().filter(|kind| kind.is_program())?;
    let address = super::content::u32_at(&part.payload, 0)?;
    Some((address, part.payload.get(4..)?))
}
