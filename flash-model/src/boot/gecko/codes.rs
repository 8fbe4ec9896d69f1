//! What the bootloader answers (simplicity sdk: `btl_errorcode.h`).

use std::fmt;

/// An error code of the bootloader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Something that must not be there, or not there (`BOOTLOADER_ERROR_PARSER_UNEXPECTED`).
    Unexpected,
    /// More bytes than the parser can hold back (`..._BUFFER`).
    Buffer,
    /// The CRC-32 of the file is another one (`..._CRC`).
    Crc,
    /// A signature or a certificate is missing or wrong (`..._SIGNATURE`).
    Signature,
    /// The file has ended, or has been refused before (`..._EOF`).
    Eof,
    /// No tag has that id (`..._UNKNOWN_TAG`).
    UnknownTag,
    /// The version of the format, or a version that the file wants (`..._VERSION`).
    Version,
    /// Signed or encrypted where that must not be, or the reverse (`..._FILETYPE`).
    FileType,
    /// The application is not wanted (`..._REJECTED`).
    Rejected,
    /// The place for a new bootloader overlaps the slot (`..._OVERLAP`).
    Overlap,
    /// A tag is behind one that it must be in front of (`..._INVALID_TAG_ORDER`).
    TagOrder,
    /// Compressed data does not end, or ends in another state (`BOOTLOADER_ERROR_COMPRESSION_STATE`).
    CompressionState,
    /// Compressed data is wrong (`..._DATA`).
    CompressionData,
    /// Compressed data has more bytes than fit (`..._DATALEN`).
    CompressionLength,
    /// There is too little memory to decompress it (`..._MEM`).
    CompressionMemory,
    /// An image in a slot cannot be installed (`BOOTLOADER_ERROR_STORAGE_BOOTLOAD`).
    Bootload,
    /// The file has not come to its end (`BOOTLOADER_ERROR_COMMUNICATION_IMAGE_ERROR`).
    ImageError,
}

impl Code {
    /// The number.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Unexpected => 0x1001,
            Self::Buffer => 0x1002,
            Self::Crc => 0x1005,
            Self::Signature => 0x1006,
            Self::Eof => 0x1007,
            Self::UnknownTag => 0x1008,
            Self::Version => 0x1009,
            Self::FileType => 0x100a,
            Self::Rejected => 0x100c,
            Self::Overlap => 0x100d,
            Self::TagOrder => 0x100e,
            Self::CompressionState => 0x1302,
            Self::CompressionData => 0x1303,
            Self::CompressionLength => 0x1304,
            Self::CompressionMemory => 0x1305,
            Self::Bootload => 0x0405,
            Self::ImageError => 0x0705,
        }
    }

    /// What it means.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Unexpected => "something unexpected",
            Self::Buffer => "more bytes than the parser can hold back",
            Self::Crc => "a wrong CRC",
            Self::Signature => "a missing or wrong signature",
            Self::Eof => "the file has ended",
            Self::UnknownTag => "an unknown tag",
            Self::Version => "a version that is not supported, or not met",
            Self::FileType => "a file of the wrong type: signed or encrypted, or not",
            Self::Rejected => "rejected",
            Self::Overlap => "an overlap with the place for a new bootloader",
            Self::TagOrder => "a tag in the wrong order",
            Self::CompressionState => "compressed data without its end",
            Self::CompressionData => "wrong compressed data",
            Self::CompressionLength => "too much compressed data",
            Self::CompressionMemory => "too little memory to decompress",
            Self::Bootload => "an image that cannot be installed",
            Self::ImageError => "an image without its end",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x} ({})", self.number(), self.words())
    }
}
