//! Program data that is compressed: what the bootloader calls custom tags.

use super::super::{Code, Stop};
use super::writer::Writer;
use super::{lz4, lzma};
use crate::image::gbl::TagKind;

/// Bytes that are collected before they are decompressed (`INPUT_BUFFER_SIZE`).
const INPUT_MAX: usize = 512;
/// Bytes that come out at once (`OUTPUT_BUFFER_SIZE`).
const OUTPUT_MAX: usize = 768;
/// Address, properties and size before LZMA data.
const LZMA_HEADER: usize = 17;

/// A decoder of the tag that is being read.
#[derive(Debug, Clone, Default)]
enum Decoder {
    #[default]
    None,
    Lz4(lz4::Decoder),
    Lzma(Option<Box<lzma::Decoder>>),
}

/// The decoders, which are there once and keep their memory until the next reset.
#[derive(Debug, Clone, Default)]
pub struct Decompressor {
    decoder: Decoder,
    first: bool,
    input: Vec<u8>,
    output: Vec<u8>,
    /// An LZMA decoder has not given its memory back: there is none for another one (`allocSeq`).
    memory_taken: bool,
}

impl Decompressor {
    /// A tag begins.
    pub(super) fn enter(&mut self, kind: TagKind) {
        self.first = true;
        self.input.clear();
        self.output.clear();
        self.decoder = match kind {
            TagKind::ProgramLz4 => Decoder::Lz4(lz4::Decoder::default()),
            TagKind::ProgramLzma => Decoder::Lzma(None),
            _ => Decoder::None,
        };
    }

    /// Bytes that have to be there before any is read.
    pub(super) fn bytes_required(&self, offset: u32) -> usize {
        match (&self.decoder, offset) {
            (Decoder::Lz4(_), 0) => 4,
            (Decoder::Lzma(_), 0) => LZMA_HEADER,
            _ => 1,
        }
    }

    /// A piece of the tag.
    ///
    /// # Errors
    /// What stops the flash. Inside, what is wrong with the data.
    pub(super) fn parse(&mut self, data: &[u8], to: &mut Writer<'_, '_>) -> Result<Result<(), Code>, Stop> {
        let first = std::mem::take(&mut self.first);
        if first && let Some(address) = data.first_chunk::<4>() {
            to.programming.address = u32::from_le_bytes(*address);
        }
        match &mut self.decoder {
            Decoder::None => Ok(Err(Code::Unexpected)),
            Decoder::Lz4(decoder) => {
                let data = if first { data.get(4..) } else { Some(data) };
                // The number of bytes that are left wraps.
                let over = || Stop::Fault("an LZ4 tag without an address is read over the end of the memory".into());
                decoder.decode(data.ok_or_else(over)?, to).map(Ok)
            }
            Decoder::Lzma(decoder) => {
                let mut rest = Some(data);
                if first {
                    let properties = data.get(4..9).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default();
                    match lzma::Decoder::new(properties) {
                        Ok(fresh) if !self.memory_taken => *decoder = Some(Box::new(fresh)),
                        _ => return Ok(Err(Code::CompressionMemory)),
                    }
                    self.memory_taken = true;
                    // A tag that is shorter makes the number of bytes that are left wrap.
                    rest = data.get(LZMA_HEADER..);
                }
                self.collect(rest, to)
            }
        }
    }

    fn collect(&mut self, data: Option<&[u8]>, to: &mut Writer<'_, '_>) -> Result<Result<(), Code>, Stop> {
        let len = data.map_or(usize::MAX, <[u8]>::len);
        if len > INPUT_MAX - self.input.len() {
            if let Err(code) = self.decompress(false, to)? {
                return Ok(Err(code));
            }
            if len > INPUT_MAX - self.input.len() {
                return Ok(Err(Code::CompressionLength));
            }
        }
        self.input.extend_from_slice(data.unwrap_or_default());
        Ok(Ok(()))
    }

    /// What has been collected is decompressed and programmed (`decompressAndFlash`).
    fn decompress(&mut self, finish: bool, to: &mut Writer<'_, '_>) -> Result<Result<(), Code>, Stop> {
        let Decoder::Lzma(Some(decoder)) = &mut self.decoder else { return Ok(Err(Code::CompressionState)) };
        loop {
            let mut output = std::mem::take(&mut self.output);
            let room = OUTPUT_MAX - output.len();
            let status = match decoder.decode(&mut self.input, room, &mut output) {
                Ok(status) => status,
                Err(code) => return Ok(Err(code)),
            };
            let words = output.len() / 4 * 4;
            self.output = output.split_off(words);
            to.program(&output)?;
            match status {
                lzma::Status::Full => {}
                lzma::Status::Finished => return Ok(Ok(())),
                _ if finish => return Ok(Err(Code::CompressionState)),
                _ => return Ok(Ok(())),
            }
        }
    }

    /// The tag has come to its end.
    ///
    /// # Errors
    /// As [`Decompressor::parse`].
    pub(super) fn exit(&mut self, to: &mut Writer<'_, '_>) -> Result<Result<(), Code>, Stop> {
        match &mut self.decoder {
            Decoder::None => Ok(Err(Code::Unexpected)),
            Decoder::Lz4(decoder) => decoder.finish(to),
            Decoder::Lzma(_) => {
                if let Err(code) = self.decompress(true, to)? {
                    return Ok(Err(code));
                }
                if !self.output.is_empty() {
                    self.output.resize(4, 0xff);
                    to.program(&std::mem::take(&mut self.output))?;
                }
                self.memory_taken = false;
                Ok(Ok(()))
            }
        }
    }
}
