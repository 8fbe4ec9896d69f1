//! Encryption: AES-128 in counter mode, and the files that keys are in.
//!
//! Counter block i, from 1: byte 0 is 0x02, then the nonce, then i in 3 bytes, big endian. One keystream goes through the
//! payloads of all encryption data tags; their ids and lengths take none of it. Nothing is authenticated (simplicity sdk:
//! `btl_gbl_parser.c`, `btl_security_aes.c`).

use std::fmt;
use std::ops::Range;

use aes::Aes128;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};

use super::content::Content;
use super::error::{GblError, GblFault, Place};
use super::read::Gbl;
use super::tag::{Tag, TagKind, walk};
use super::token;
use crate::source::Mistake;

/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;
/// Name of the token that holds the key.
pub const KEY_TOKEN: &str = "MFG_SECURE_BOOTLOADER_KEY";

/// How a file is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncryptionInit {
    /// Bytes in all encryption data tags together. No bootloader looks at it.
    pub length: u32,
    /// Never twice with one key.
    pub nonce: [u8; NONCE_LEN],
}

impl EncryptionInit {
    /// The payload of its tag.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        [self.length.to_le_bytes().as_slice(), &self.nonce].concat()
    }
}

/// The key that files are encrypted with.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionKey([u8; 16]);

impl EncryptionKey {
    /// The key with these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads a file with a key: 32 hexadecimal digits, or the token file of Silicon Labs with a line
    /// `TOKEN_MFG_SECURE_BOOTLOADER_KEY: 32 digits`.
    ///
    /// # Errors
    /// [`Mistake`] with the place in `file`.
    pub fn read(file: &str, text: &str) -> Result<Self, Mistake> {
        if token::is_token_file(text) {
            return token::value(file, text, KEY_TOKEN).map(Self);
        }
        token::single_value(file, text).map(Self).map_err(|mistake| {
            mistake.remedy(
                "give 32 hexadecimal digits, or a token file as `commander util genkey --type aes-ccm` makes it, with the \
                 line `TOKEN_MFG_SECURE_BOOTLOADER_KEY: ...`",
            )
        })
    }

    /// The token file with this key.
    #[must_use]
    pub fn to_token_file(&self) -> String {
        format!("TOKEN_{KEY_TOKEN}: {}\n", token::hex(&self.0))
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(..)")
    }
}

/// What encrypts and decrypts, in as many pieces as one likes.
pub struct Keystream(Ctr128BE<Aes128>);

impl Keystream {
    /// At the start.
    #[must_use]
    pub fn new(key: &EncryptionKey, nonce: &[u8; NONCE_LEN]) -> Self {
        let mut block = [0; 16];
        let start = [[0x02].as_slice(), nonce, &[0, 0, 1]].concat();
        block.iter_mut().zip(start).for_each(|(to, from)| *to = from);
        Self(Ctr128BE::new(&key.0.into(), &block.into()))
    }

    /// Encrypts or decrypts the next bytes.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        // Refuses only past the last of 2^128 blocks.
        let _ = self.0.try_apply_keystream(bytes);
    }
}

impl fmt::Debug for Keystream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keystream(..)")
    }
}

/// What is inside an encrypted file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decrypted {
    bytes: Vec<u8>,
    tags: Vec<Tag>,
    /// Where the pieces are, in `bytes` and in the file.
    pieces: Vec<(Range<usize>, usize)>,
}

impl Decrypted {
    /// What could be read, and what is wrong behind it.
    pub(super) fn of(gbl: &Gbl<'_>, key: &EncryptionKey) -> Result<(Self, Option<GblError>), GblError> {
        let mut keystream = Keystream::new(key, &gbl.encryption()?.nonce);
        let (mut bytes, mut pieces) = (Vec::new(), Vec::new());
        for tag in gbl.tags().iter().filter(|tag| tag.kind == Some(TagKind::EncryptionData)) {
            let Content::EncryptionData(data) = gbl.content(tag)? else { continue };
            let start = bytes.len();
            bytes.extend_from_slice(data);
            if let Some(new) = bytes.get_mut(start..) {
                keystream.apply(new);
            }
            pieces.push((start..bytes.len(), tag.payload.start));
        }
        let (tags, mut fault) = walk(&bytes, true);
        // With another key the bytes are noise, whose first id is none but once in 2^28.
        let first = super::content::u32_at(&bytes, 0);
        if let Some(id) = first.filter(|id| TagKind::of_id(*id).is_none()) {
            fault = Some(GblError::new(Place::Inside(0), GblFault::WrongKey(id)));
        }
        Ok((Self { bytes, tags, pieces }, fault))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The tags.
    #[must_use]
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// What is in a tag.
    ///
    /// # Errors
    /// [`GblFault::Length`].
    pub fn content(&self, tag: &Tag) -> Result<Content<'_>, GblError> {
        Content::read(tag, &self.bytes)
    }

    /// Where in the file a byte of the decrypted data is.
    #[must_use]
    pub fn file_offset(&self, inside: usize) -> Option<usize> {
        let (range, start) = self.pieces.iter().find(|(range, _)| range.contains(&inside))?;
        Some(start.saturating_add(inside.saturating_sub(range.start)))
    }

    /// Where the pieces are in the decrypted data; one for each encryption data tag.
    pub fn pieces(&self) -> impl Iterator<Item = Range<usize>> {
        self.pieces.iter().map(|(range, _)| range.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_block_of_the_counter() {
        // AES-128 of the counter block of the third vector, by another implementation (openssl enc -aes-128-ecb).
        let key = EncryptionKey::new(std::array::from_fn(|index| 0x10 + index as u8));
        let nonce = std::array::from_fn(|index| 0xa0 + index as u8);
        let mut zeros = [0; 16];
        Keystream::new(&key, &nonce).apply(&mut zeros);
        assert_eq!(zeros[..8], [0xfd, 0x6b, 0x06, 0xe9, 0xfe, 0xd9, 0x14, 0x85]);
    }

    #[test]
    fn pieces_give_the_same_as_the_whole() {
        let key = EncryptionKey::new([7; 16]);
        let mut whole: Vec<u8> = (0..100).collect();
        let mut pieces = whole.clone();
        Keystream::new(&key, &[1; 12]).apply(&mut whole);
        let mut keystream = Keystream::new(&key, &[1; 12]);
        for piece in pieces.chunks_mut(7) {
            keystream.apply(piece);
        }
        assert_eq!(pieces, whole);
    }

    #[test]
    fn keys_are_read_from_digits_and_from_token_files() {
        let key = EncryptionKey::new(std::array::from_fn(|index| index as u8));
        for text in [
            "000102030405060708090A0B0C0D0E0F",
            " 000102030405060708090a0b0c0d0e0f\r\n",
            "# Key randomly generated by 'util genkey'\r\nTOKEN_MFG_SECURE_BOOTLOADER_KEY: 000102030405060708090A0B0C0D0E0F\r\n",
            "mfg_secure_bootloader_key : 000102030405060708090A0B0C0D0E0F",
            &key.to_token_file(),
        ] {
            assert_eq!(EncryptionKey::read("key.txt", text).unwrap(), key, "{text}");
        }
        assert_eq!(format!("{key:?}"), "EncryptionKey(..)");
    }

    #[test]
    fn what_is_no_key_is_explained() {
        for (text, expected) in [
            ("", "key.txt: no key"),
            ("00010203", "key.txt:1:1: 8 hexadecimal digits, expected 32"),
            ("000102030405060708090a0b0c0d0e0x", "key.txt:1:32: `x` is no hexadecimal digit"),
            ("a\nb", "key.txt:2:1: more than one value"),
            ("# nothing\nTOKEN_MFG_EUI_64: 00", "key.txt: no token MFG_SECURE_BOOTLOADER_KEY"),
            ("TOKEN_MFG_SECURE_BOOTLOADER_KEY: !ERASE!", "key.txt:1:34: the token is to be erased, which is no value"),
            (
                "\nMFG_SECURE_BOOTLOADER_KEY: 00\nMFG_SECURE_BOOTLOADER_KEY: 01",
                "key.txt:3:1: a second token MFG_SECURE_BOOTLOADER_KEY",
            ),
            ("MFG_SECURE_BOOTLOADER_KEY: 0011", "key.txt:1:28: 4 hexadecimal digits, expected 32"),
        ] {
            let mistake = EncryptionKey::read("key.txt", text).unwrap_err().to_string();
            assert!(mistake.starts_with(expected), "{mistake}");
            assert!(mistake.contains("remedy: "), "{mistake}");
        }
    }
}
