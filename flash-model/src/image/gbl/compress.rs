//! Compressed programs: LZ4 blocks and LZMA-alone streams.
//!
//! LZ4 is a block without a frame that ends in a run of literals. LZMA has the header of the LZMA-alone format (properties, size
//! of the dictionary, size of the data, which a bootloader skips) and has to end with the end marker (simplicity sdk:
//! `btl_decompress_lz4.c`, `btl_decompress_lzma.c`).

use std::io::{ErrorKind, Write};

use lzma_rust2::{Action, EncodeMode, LzmaOptions, LzmaStream, LzmaWriter, MfType, Status};
use thiserror::Error;

use super::content::u32_at;
use super::error::codes;
use super::tag::TagKind;

/// Bytes before an LZMA stream: properties, dictionary, size.
pub const LZMA_HEADER_LEN: usize = 13;
/// Largest dictionary of a device in bytes (`LZMA_DICT_SIZE_KB`).
pub const DEVICE_DICTIONARY: u32 = 8 << 10;
/// Most literal bits of a device: lc and lp together (`LZMA_COUNTER_SIZE_KB`, 10 KiB).
pub const DEVICE_LITERAL_BITS: u32 = 2;
/// What a device may keep of an LZMA tag behind the end marker, in bytes (`INPUT_BUFFER_SIZE`).
pub const DEVICE_TRAILING: usize = 512;

/// How a program is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// LZ4.
    Lz4,
    /// LZMA.
    Lzma,
}

impl Compression {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Lzma => "lzma",
        }
    }

    /// The kind of a program that is compressed so.
    #[must_use]
    pub fn tag_kind(self) -> TagKind {
        match self {
            Self::Lz4 => TagKind::ProgramLz4,
            Self::Lzma => TagKind::ProgramLzma,
        }
    }

    /// How programs of this kind are compressed; patches are left alone.
    #[must_use]
    pub fn of(kind: TagKind) -> Option<Self> {
        [Self::Lz4, Self::Lzma].into_iter().find(|compression| compression.tag_kind() == kind)
    }
}

/// Compressed data that a device does not take as it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CompressionFault {
    /// A bomb, or a limit that is too low.
    #[error("the data unpacks to more than {limit} bytes: no device has room for it")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// A copy of what is yet to come: the device copies nothing, for ever.
    #[error("byte {at} of the LZ4 block says to copy from 0 bytes before, on which a device hangs: compress it again")]
    Lz4OffsetZero {
        /// Of the compressed data.
        at: usize,
    },
    /// A copy from before the data: the device copies what happens to be in its flash.
    #[error("byte {at} of the LZ4 block says to copy from {by} bytes before its start: compress it again")]
    Lz4BeforeStart {
        /// Of the compressed data.
        at: usize,
        /// In bytes.
        by: usize,
    },
    /// The end is missing, or something is.
    #[error("the LZ4 block does not end in literals: it is cut off or damaged, compress it again")]
    Lz4End,
    /// No header.
    #[error(
        "{0} bytes where the header of LZMA-alone has 13, with which a device runs past its buffer: compress it again"
    )]
    LzmaShort(usize),
    /// A byte that says nothing.
    #[error("the LZMA properties byte is {0:#04x}, at most 0xe0 has a meaning: compress it again")]
    LzmaProperties(u8),
    /// More memory than a device has.
    #[error(
        "LZMA with lc={lc}, lp={lp} and a dictionary of {dictionary} bytes; a device has room for lc+lp <= 2 and 8192 bytes: \
         compress with lc=1, lp=1 and 8192"
    )]
    LzmaMemory {
        /// Literal context bits.
        lc: u32,
        /// Literal position bits.
        lp: u32,
        /// In bytes.
        dictionary: u32,
    },
    /// Damaged.
    #[error("the LZMA stream cannot be unpacked ({0}): it is damaged, compress it again")]
    LzmaData(String),
    /// The marker is missing.
    #[error("the LZMA stream has no end marker, without which a device refuses it: compress it with one")]
    LzmaNoEnd,
}

impl CompressionFault {
    /// The error code of the device, when it comes to programming; `None` where it hangs, crashes or notices nothing.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::TooLarge { .. } | Self::Lz4OffsetZero { .. } | Self::Lz4BeforeStart { .. } | Self::LzmaShort(_) => {
                None
            }
            Self::Lz4End | Self::LzmaNoEnd => Some(codes::COMPRESSION_STATE),
            Self::LzmaProperties(_) | Self::LzmaMemory { .. } => Some(codes::COMPRESSION_MEM),
            Self::LzmaData(_) => Some(codes::COMPRESSION_DATA),
        }
    }

    /// Its name, which stays as it is.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "decompressed-size",
            Self::Lz4OffsetZero { .. } => "lz4-offset-zero",
            Self::Lz4BeforeStart { .. } => "lz4-before-start",
            Self::Lz4End => "lz4-end",
            Self::LzmaShort(_) => "lzma-short",
            Self::LzmaProperties(_) => "lzma-properties",
            Self::LzmaMemory { .. } => "lzma-memory",
            Self::LzmaData(_) => "lzma-data",
            Self::LzmaNoEnd => "lzma-no-end",
        }
    }
}

/// Decompressed data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decompressed {
    /// It.
    pub bytes: Vec<u8>,
    /// Compressed bytes behind the end marker of LZMA.
    pub trailing: usize,
}

/// Decompresses what is behind the address of a program, to at most `limit` bytes. What only exceeds the memory of a device is
/// no fault here; see [`LzmaHeader::device_fault`].
///
/// # Errors
/// [`CompressionFault`].
pub fn decompress(compression: Compression, data: &[u8], limit: usize) -> Result<Decompressed, CompressionFault> {
    match compression {
        Compression::Lz4 => Ok(Decompressed { bytes: decompress_lz4(data, limit)?, trailing: 0 }),
        Compression::Lzma => decompress_lzma(data, limit),
    }
}

/// Compresses a program as a device takes it, the same each time; LZMA with lc=1, lp=1, pb=2, a dictionary of 8 KiB, an end
/// marker and no size in the header.
///
/// # Errors
/// [`CompressionFault::LzmaData`] when the compressor gives up, which it never does.
pub fn compress(compression: Compression, data: &[u8]) -> Result<Vec<u8>, CompressionFault> {
    match compression {
        Compression::Lz4 => Ok(lz4_flex::block::compress(data)),
        Compression::Lzma => compress_lzma(data, &LzmaHeader::DEVICE),
    }
}

/// The decoder of the device, byte by byte; it has no rules about the last bytes of a block but one.
///
/// That of the bootloader (`boot/gecko/parser/lz4.rs`) is another one on purpose. It gets its block in pieces and writes
/// words to flash, from which it reads back whatever is there; it has no limit, and goes on or hangs where this one names the
/// place of a fault. Shared would be the six states of a block, and lost that each is a check of the other
/// (`conformance/fuzz`, `gbl_image`: what is good here is taken there).
fn decompress_lz4(data: &[u8], limit: usize) -> Result<Vec<u8>, CompressionFault> {
    const END: CompressionFault = CompressionFault::Lz4End;
    let too_large = CompressionFault::TooLarge { limit };
    let mut input = data.iter();
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let token = *input.next().ok_or(END)?;
        let literals = extended_length(usize::from(token >> 4), 15, &mut input).ok_or(END)?;
        if literals > limit.saturating_sub(bytes.len()) && literals <= input.len() {
            return Err(too_large);
        }
        let run = input.as_slice().get(..literals).ok_or(END)?;
        bytes.extend_from_slice(run);
        input = input.as_slice().get(literals..).unwrap_or_default().iter();
        if input.len() == 0 {
            return Ok(bytes);
        }
        let at = data.len().saturating_sub(input.len());
        let (low, high) = (*input.next().ok_or(END)?, *input.next().ok_or(END)?);
        let offset = usize::from(u16::from_le_bytes([low, high]));
        let length = extended_length(usize::from(token & 0x0f).saturating_add(4), 19, &mut input).ok_or(END)?;
        if offset == 0 {
            return Err(CompressionFault::Lz4OffsetZero { at });
        }
        let from = bytes.len().checked_sub(offset);
        let by = offset.saturating_sub(bytes.len());
        let from = from.ok_or(CompressionFault::Lz4BeforeStart { at, by })?;
        if length > limit.saturating_sub(bytes.len()) {
            return Err(too_large);
        }
        for index in (from..).take(length) {
            // There, as offset is at least 1.
            bytes.extend(bytes.get(index).copied());
        }
    }
}

/// A length of which `full` says that more of it follows; `None` when that is cut off.
fn extended_length(start: usize, full: usize, input: &mut std::slice::Iter<'_, u8>) -> Option<usize> {
    let mut length = start;
    if start == full {
        loop {
            let more = *input.next()?;
            length = length.saturating_add(usize::from(more));
            if more != 0xff {
                break;
            }
        }
    }
    Some(length)
}

/// The header of an LZMA-alone stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LzmaHeader {
    /// Literal context bits.
    pub lc: u32,
    /// Literal position bits.
    pub lp: u32,
    /// Position bits.
    pub pb: u32,
    /// Size of the dictionary in bytes.
    pub dictionary: u32,
    /// Size of the data in bytes, all ones for unknown. A bootloader skips it.
    pub size: u64,
}

impl LzmaHeader {
    /// What the tools write.
    pub const DEVICE: Self = Self { lc: 1, lp: 1, pb: 2, dictionary: DEVICE_DICTIONARY, size: u64::MAX };

    /// Reads it.
    ///
    /// # Errors
    /// [`CompressionFault::LzmaShort`], [`CompressionFault::LzmaProperties`].
    pub fn parse(data: &[u8]) -> Result<Self, CompressionFault> {
        let short = CompressionFault::LzmaShort(data.len());
        let (Some([properties, ..]), Some(dictionary)) = (data.first_chunk::<LZMA_HEADER_LEN>(), u32_at(data, 1))
        else {
            return Err(short);
        };
        let size =
            data.get(5..).and_then(|rest| rest.first_chunk()).map(|size| u64::from_le_bytes(*size)).ok_or(short)?;
        if *properties >= 9 * 5 * 5 {
            return Err(CompressionFault::LzmaProperties(*properties));
        }
        let properties = u32::from(*properties);
        Ok(Self { lc: properties % 9, lp: properties / 9 % 5, pb: properties / 45, dictionary, size })
    }

    /// What a device has no memory for.
    #[must_use]
    pub fn device_fault(&self) -> Option<CompressionFault> {
        let Self { lc, lp, dictionary, .. } = *self;
        let fits = lc.saturating_add(lp) <= DEVICE_LITERAL_BITS && dictionary <= DEVICE_DICTIONARY;
        (!fits).then_some(CompressionFault::LzmaMemory { lc, lp, dictionary })
    }

    fn properties(&self) -> u8 {
        let value = self.pb.saturating_mul(5).saturating_add(self.lp).saturating_mul(9).saturating_add(self.lc);
        u8::try_from(value).unwrap_or(u8::MAX)
    }
}

fn decompress_lzma(data: &[u8], limit: usize) -> Result<Decompressed, CompressionFault> {
    let header = LzmaHeader::parse(data)?;
    let stream = data.get(LZMA_HEADER_LEN..).unwrap_or_default();
    let fault = |error: std::io::Error| match error.kind() {
        ErrorKind::UnexpectedEof => CompressionFault::LzmaNoEnd,
        _ => CompressionFault::LzmaData(error.to_string()),
    };
    // No larger than what may come out; a larger one would only be harder to fill.
    let most = u32::try_from(limit).unwrap_or(u32::MAX).max(4096);
    let dictionary = header.dictionary.min(most);
    // Unlike the reader of the same library, this one wants the range coder at its end behind the end marker, as a device does.
    let mut decoder = LzmaStream::new_with_props(u64::MAX, header.properties(), dictionary, None).map_err(fault)?;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let mut rest = stream;
    loop {
        let done = decoder.process(rest, &mut piece, Action::Finish).map_err(fault)?;
        rest = rest.get(done.bytes_consumed..).unwrap_or_default();
        if done.bytes_produced > limit.saturating_sub(bytes.len()) {
            return Err(CompressionFault::TooLarge { limit });
        }
        bytes.extend_from_slice(piece.get(..done.bytes_produced).unwrap_or_default());
        if done.status == Status::StreamEnd {
            break;
        }
        if done.bytes_consumed == 0 && done.bytes_produced == 0 {
            return Err(CompressionFault::LzmaNoEnd);
        }
    }
    Ok(Decompressed { bytes, trailing: rest.len().saturating_add(decoder.unused_input().len()) })
}

pub(super) fn compress_lzma(data: &[u8], header: &LzmaHeader) -> Result<Vec<u8>, CompressionFault> {
    let options = LzmaOptions::new(
        header.dictionary,
        header.lc,
        header.lp,
        header.pb,
        EncodeMode::Normal,
        /* nice length */ 32,
        MfType::Bt4,
        /* depth */ 32,
    );
    let fault = |error: std::io::Error| CompressionFault::LzmaData(error.to_string());
    let size = (header.size != u64::MAX).then_some(header.size);
    let mut writer = LzmaWriter::new(Vec::new(), &options, true, true, size).map_err(fault)?;
    writer.write_all(data).map_err(fault)?;
    writer.finish().map_err(fault)
}
