//! The settings page (nrf5 sdk 11: `bootloader_types.h`, `bootloader_settings_t`).
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0x00 | 1 | `bank_0`, a [`BankCode`] |
//! | 0x02 | 2 | `bank_0_crc`; 0: not checked |
//! | 0x04 | 1 | `bank_1` |
//! | 0x08 | 4 | `bank_0_size` |
//! | 0x0c | 4 | `sd_image_size` |
//! | 0x10 | 4 | `bl_image_size` |
//! | 0x14 | 4 | `app_image_size` |
//! | 0x18 | 4 | `sd_image_start` |
//!
//! 28 bytes, little endian; enumerations are as short as can be, and gaps are 0. There is no checksum: a page that was
//! written in part counts as it is.

use std::fmt;

/// Bytes of the settings.
pub const SETTINGS_SIZE: usize = 28;

/// What a bank holds (`bootloader_bank_code_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BankCode {
    /// 0x01: a valid application.
    App,
    /// 0xa5: a SoftDevice that is to be put into its place, perhaps with a bootloader behind it.
    Softdevice,
    /// 0xaa: a bootloader that is to be put into its place.
    Bootloader,
    /// 0xfe: nothing.
    Erased,
    /// 0xff: no valid application; what an erased page says, too.
    Invalid,
    /// No code that the bootloader knows: taken for nothing.
    Other(u8),
}

impl BankCode {
    const KNOWN: [(Self, u8, &'static str); 5] = [
        (Self::App, 0x01, "an application"),
        (Self::Softdevice, 0xa5, "a SoftDevice to install"),
        (Self::Bootloader, 0xaa, "a bootloader to install"),
        (Self::Erased, 0xfe, "nothing"),
        (Self::Invalid, 0xff, "no valid application"),
    ];

    /// The code of this number.
    #[must_use]
    pub fn of(number: u8) -> Self {
        Self::KNOWN.iter().find(|(_, known, _)| *known == number).map_or(Self::Other(number), |(code, ..)| *code)
    }

    /// Its number in the settings.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Other(number) => number,
            _ => Self::KNOWN.iter().find(|(code, ..)| *code == self).map_or(0xff, |(_, number, _)| *number),
        }
    }
}

impl fmt::Display for BankCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(number) => write!(f, "an unknown bank code {number:#04x}"),
            _ => f.write_str(Self::KNOWN.iter().find(|(code, ..)| code == self).map_or("", |(.., text)| text)),
        }
    }
}

/// The settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Settings {
    /// What bank 0 holds.
    pub bank_0: BankCode,
    /// CRC-16 of it; 0: it is not checked.
    pub bank_0_crc: u16,
    /// What bank 1 holds; a bootloader that is to be installed is noted here with a single bank, too.
    pub bank_1: BankCode,
    /// Size of what is in bank 0 in bytes.
    pub bank_0_size: u32,
    /// Size of a SoftDevice to install, 0 for none.
    pub sd_image_size: u32,
    /// Size of a bootloader to install, 0 for none.
    pub bl_image_size: u32,
    /// Size of an application that came with them: always 0.
    pub app_image_size: u32,
    /// Where a SoftDevice to install lies.
    pub sd_image_start: u32,
}

impl Settings {
    /// What is in RAM before anything is known: zeros, as `static` variables are, and no application.
    #[must_use]
    pub fn none() -> Self {
        Self {
            bank_0: BankCode::Invalid,
            bank_0_crc: 0,
            bank_1: BankCode::Invalid,
            bank_0_size: 0,
            sd_image_size: 0,
            bl_image_size: 0,
            app_image_size: 0,
            sd_image_start: 0,
        }
    }

    /// A valid application of this size, with its CRC-16, or 0 as an update leaves it.
    #[must_use]
    pub fn application(size: u32, crc: u16) -> Self {
        Self { bank_0: BankCode::App, bank_0_crc: crc, bank_0_size: size, ..Self::none() }
    }

    /// What the bytes say; all of them say something.
    #[must_use]
    pub fn parse(bytes: &[u8; SETTINGS_SIZE]) -> Self {
        let words = bytes.as_chunks::<4>().0;
        let word = |index: usize| words.get(index).map_or(u32::MAX, |word| u32::from_le_bytes(*word));
        let [bank_0, _, low, high] = word(0).to_le_bytes();
        let [bank_1, ..] = word(1).to_le_bytes();
        Self {
            bank_0: BankCode::of(bank_0),
            bank_0_crc: u16::from_le_bytes([low, high]),
            bank_1: BankCode::of(bank_1),
            bank_0_size: word(2),
            sd_image_size: word(3),
            bl_image_size: word(4),
            app_image_size: word(5),
            sd_image_start: word(6),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SETTINGS_SIZE] {
        let [low, high] = self.bank_0_crc.to_le_bytes();
        let numbers =
            [self.bank_0_size, self.sd_image_size, self.bl_image_size, self.app_image_size, self.sd_image_start];
        let banks = [[self.bank_0.number(), 0, low, high], [self.bank_1.number(), 0, 0, 0]];
        let mut bytes = [0; SETTINGS_SIZE];
        let words = banks.into_iter().chain(numbers.map(u32::to_le_bytes));
        for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *place = word;
        }
        bytes
    }

    /// Whether a SoftDevice or a bootloader is to be put into its place (`bootloader_dfu_sd_in_progress`).
    #[must_use]
    pub fn installs(&self) -> bool {
        self.bank_0 == BankCode::Softdevice || self.bank_1 == BankCode::Bootloader
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_application_byte_for_byte() {
        let bytes = Settings::application(0x0001_2344, 0xbeef).to_bytes();
        let mut expected = [0; SETTINGS_SIZE];
        expected[..12].copy_from_slice(&[1, 0, 0xef, 0xbe, 0xff, 0, 0, 0, 0x44, 0x23, 1, 0]);
        assert_eq!(bytes, expected);
        // What is known as `nrfjprog --memwr 0x7F000 --val 1`: a valid application that is not checked.
        let mut word = [0xff; SETTINGS_SIZE];
        word[..4].copy_from_slice(&1_u32.to_le_bytes());
        let settings = Settings::parse(&word);
        assert_eq!((settings.bank_0, settings.bank_0_crc, settings.installs()), (BankCode::App, 0, false));
        assert_eq!(Settings::parse(&[0xff; SETTINGS_SIZE]).bank_0, BankCode::Invalid);
    }

    proptest! {
        #[test]
        fn what_is_read_writes_back(bytes in any::<[u8; SETTINGS_SIZE]>()) {
            let mut bytes = bytes;
            for gap in [1, 5, 6, 7] {
                bytes[gap] = 0;
            }
            prop_assert_eq!(Settings::parse(&bytes).to_bytes(), bytes);
        }
    }
}
