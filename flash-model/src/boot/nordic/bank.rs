//! Banks and boot validations: the parts of the settings that decide what runs.

use std::fmt;

/// What a bank holds (nrf5 sdk 17.1: `nrf_dfu_types.h`, `NRF_DFU_BANK_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BankCode {
    /// 0x00: nothing.
    Invalid,
    /// 0x01: a valid application.
    App,
    /// 0xa5: a valid SoftDevice.
    Softdevice,
    /// 0xaa: a valid bootloader.
    Bootloader,
    /// 0xac: a valid SoftDevice with a bootloader behind it.
    SoftdeviceBootloader,
    /// 0xb1: a valid image for another device.
    ExternalApp,
    /// No code that the bootloader knows: taken for nothing.
    Other(u32),
}

impl BankCode {
    const KNOWN: [(Self, u32, &'static str); 6] = [
        (Self::Invalid, 0x00, "nothing valid"),
        (Self::App, 0x01, "an application"),
        (Self::Softdevice, 0xa5, "a SoftDevice"),
        (Self::Bootloader, 0xaa, "a bootloader"),
        (Self::SoftdeviceBootloader, 0xac, "a SoftDevice and a bootloader"),
        (Self::ExternalApp, 0xb1, "an image for another device"),
    ];

    /// The code of this number.
    #[must_use]
    pub fn of(number: u32) -> Self {
        Self::KNOWN.iter().find(|(_, known, _)| *known == number).map_or(Self::Other(number), |(code, ..)| *code)
    }

    /// Its number in the settings.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Other(number) => number,
            _ => Self::KNOWN.iter().find(|(code, ..)| *code == self).map_or(0, |(_, number, _)| *number),
        }
    }
}

impl fmt::Display for BankCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(number) => write!(f, "an unknown bank code {number:#x}"),
            _ => f.write_str(Self::KNOWN.iter().find(|(code, ..)| code == self).map_or("", |(.., text)| text)),
        }
    }
}

/// `nrf_dfu_bank_t`: 12 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bank {
    /// Size of the image in bytes.
    pub image_size: u32,
    /// CRC-32 of the image.
    pub image_crc: u32,
    /// What it is.
    pub code: BankCode,
}

impl Bank {
    /// All zeros (`nrf_dfu_bank_invalidate`, which also clears the write offset).
    pub const INVALID: Self = Self { image_size: 0, image_crc: 0, code: BankCode::Invalid };
}

/// How an image is checked at each boot (`boot_validation_type_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValidationKind {
    /// Not at all.
    None,
    /// By its CRC-32.
    Crc,
    /// By its SHA-256.
    Sha256,
    /// By a signature of it.
    EcdsaP256Sha256,
}

impl ValidationKind {
    /// The kind of this number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        [Self::None, Self::Crc, Self::Sha256, Self::EcdsaP256Sha256].get(usize::from(number)).copied()
    }

    /// Its number in the settings.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for ValidationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "not validated",
            Self::Crc => "CRC",
            Self::Sha256 => "SHA-256",
            Self::EcdsaP256Sha256 => "signature",
        })
    }
}

/// `boot_validation_t`: 65 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BootValidation {
    /// A [`ValidationKind`], or a number that is none.
    pub kind: u8,
    /// The CRC-32 in little-endian order, the SHA-256 in its natural order, or the signature as received: each from the
    /// first byte.
    pub bytes: [u8; 64],
}

impl BootValidation {
    /// No validation.
    pub const NONE: Self = Self { kind: 0, bytes: [0; 64] };

    /// A validation by CRC-32.
    #[must_use]
    pub fn crc(crc: u32) -> Self {
        let mut bytes = [0; 64];
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        Self { kind: ValidationKind::Crc.number(), bytes }
    }

    /// A validation by SHA-256.
    #[must_use]
    pub fn sha256(hash: [u8; 32]) -> Self {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&hash);
        Self { kind: ValidationKind::Sha256.number(), bytes }
    }

    /// The CRC-32 it would be, if it is one.
    #[must_use]
    pub fn crc_value(&self) -> u32 {
        u32::from_le_bytes([self.bytes[0], self.bytes[1], self.bytes[2], self.bytes[3]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back() {
        for number in [0, 1, 0xa5, 0xaa, 0xac, 0xb1, 2, 0xffff_ffff] {
            assert_eq!(BankCode::of(number).number(), number);
        }
        assert_eq!(BankCode::of(2), BankCode::Other(2));
        assert!((0..4).all(|number| ValidationKind::of(number).is_some_and(|kind| kind.number() == number)));
        assert_eq!(ValidationKind::of(4), None);
    }
}
