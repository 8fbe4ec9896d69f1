//! The LZ4 decoder of the bootloader: it keeps nothing of what it has written, and reads it back from flash (simplicity sdk:
//! `btl_decompress_lz4.c`).
//!
//! So a reference that goes back further than the data of its tag finds what lies in flash before it. And a reference to
//! no bytes before is repeated for ever: the device hangs.
//!
//! [`decompress`](crate::image::gbl::decompress) is another decoder on purpose: it says what is wrong with a whole block.

use super::super::{Code, Stop};
use super::writer::Writer;

/// Bytes that are copied at once (`DECOMPRESS_BUFFER_SIZE`).
const PIECE: u32 = 32;
/// Shortest reference.
const MATCH_MIN: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Token,
    LiteralLength,
    Literals,
    OffsetLow,
    OffsetHigh,
    MatchLength,
}

/// A decoder in the middle of a block.
#[derive(Debug, Clone, Default)]
pub(super) struct Decoder {
    state: State,
    literals: u32,
    length: u32,
    offset: u32,
    /// Bytes of a word that is not whole.
    word: Vec<u8>,
}

impl Decoder {
    /// Decodes a piece of the block (`lz4_decompress`).
    ///
    /// # Errors
    /// [`Stop::Hang`], and what stops the writer.
    pub(super) fn decode(&mut self, mut input: &[u8], to: &mut Writer<'_, '_>) -> Result<(), Stop> {
        while let Some((&byte, rest)) = input.split_first() {
            let mut copies = false;
            match self.state {
                State::Token => {
                    self.literals = u32::from(byte >> 4);
                    self.length = MATCH_MIN + u32::from(byte & 0xf);
                    self.offset = 0;
                    self.state = match self.literals {
                        15 => State::LiteralLength,
                        0 => State::OffsetLow,
                        _ => State::Literals,
                    };
                }
                State::LiteralLength => {
                    self.literals = self.literals.wrapping_add(u32::from(byte));
                    if byte != 255 {
                        self.state = State::Literals;
                    }
                }
                State::Literals => {
                    let len = input.len().min(usize::try_from(self.literals).unwrap_or(usize::MAX));
                    let (literals, rest) = input.split_at(len);
                    self.write(literals, to)?;
                    self.literals -= u32::try_from(len).unwrap_or(self.literals);
                    if self.literals == 0 {
                        self.state = State::OffsetLow;
                    }
                    input = rest;
                    continue;
                }
                State::OffsetLow => {
                    self.offset = byte.into();
                    self.state = State::OffsetHigh;
                }
                State::OffsetHigh => {
                    self.offset |= u32::from(byte) << 8;
                    copies = self.length != MATCH_MIN + 15;
                    self.state = State::MatchLength;
                }
                State::MatchLength => {
                    self.length = self.length.wrapping_add(u32::from(byte));
                    copies = byte != 255;
                }
            }
            if copies {
                self.copy(to)?;
                self.state = State::Token;
            }
            input = rest;
        }
        Ok(())
    }

    /// What is left is written, filled up with ones (`gbl_lz4ExitProgTag`). A block ends behind literals.
    ///
    /// # Errors
    /// What stops the writer. Inside, [`Code::CompressionState`].
    pub(super) fn finish(&mut self, to: &mut Writer<'_, '_>) -> Result<Result<(), Code>, Stop> {
        if !self.word.is_empty() {
            self.word.resize(4, 0xff);
            to.program(&std::mem::take(&mut self.word))?;
        }
        Ok(if self.state == State::OffsetLow { Ok(()) } else { Err(Code::CompressionState) })
    }

    fn copy(&mut self, to: &mut Writer<'_, '_>) -> Result<(), Stop> {
        if self.offset == 0 && self.length > 0 {
            return Err(Stop::Hang("an LZ4 reference to no bytes before is copied for ever"));
        }
        while self.length > 0 {
            let len = self.length.min(self.offset).min(PIECE);
            let bytes = self.read_back(len, to)?;
            self.write(&bytes, to)?;
            self.length -= len;
        }
        Ok(())
    }

    /// `len` bytes from `offset` before (`gbl_lz4ReadMemory`).
    fn read_back(&self, len: u32, to: &mut Writer<'_, '_>) -> Result<Vec<u8>, Stop> {
        let held = u32::try_from(self.word.len()).unwrap_or(u32::MAX);
        let in_flash = len.min(self.offset.saturating_sub(held));
        let address = to.address().wrapping_add(held).wrapping_sub(self.offset);
        let mut bytes = to.read_back(address, in_flash)?;
        let from = held.saturating_sub(self.offset - in_flash) as usize;
        let rest = (len - in_flash) as usize;
        bytes.extend(self.word.iter().skip(from).take(rest));
        Ok(bytes)
    }

    /// Whole words are written, the rest is kept (`gbl_lz4WriteMemory`).
    fn write(&mut self, data: &[u8], to: &mut Writer<'_, '_>) -> Result<(), Stop> {
        let mut data = data;
        if !self.word.is_empty() {
            let (first, rest) = data.split_at(data.len().min(4 - self.word.len()));
            self.word.extend_from_slice(first);
            data = rest;
            if self.word.len() == 4 {
                to.program(&std::mem::take(&mut self.word))?;
            }
        }
        let (words, rest) = data.split_at(data.len() / 4 * 4);
        for piece in words.chunks(PIECE as usize) {
            to.program(piece)?;
        }
        self.word.extend_from_slice(rest);
        Ok(())
    }
}
