//! UUIDs of services, characteristics and descriptors.

use std::fmt;
use std::str::FromStr;

/// The base of the short UUIDs that the Bluetooth SIG assigns (Core specification, volume 3, part B, 2.5.1).
const BASE: u128 = 0x0000_0000_0000_1000_8000_0080_5f9b_34fb;

/// A UUID of 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(u128);

impl Uuid {
    /// Generic Access service.
    pub const GAP: Self = Self::short(0x1800);
    /// Generic Attribute service.
    pub const GATT: Self = Self::short(0x1801);
    /// Device Information service.
    pub const DEVICE_INFORMATION: Self = Self::short(0x180a);
    /// Battery service.
    pub const BATTERY: Self = Self::short(0x180f);
    /// Device Name.
    pub const DEVICE_NAME: Self = Self::short(0x2a00);
    /// Appearance.
    pub const APPEARANCE: Self = Self::short(0x2a01);
    /// Peripheral Preferred Connection Parameters.
    pub const PREFERRED_PARAMETERS: Self = Self::short(0x2a04);
    /// Service Changed.
    pub const SERVICE_CHANGED: Self = Self::short(0x2a05);
    /// Battery Level.
    pub const BATTERY_LEVEL: Self = Self::short(0x2a19);
    /// Model Number String.
    pub const MODEL_NUMBER: Self = Self::short(0x2a24);
    /// Serial Number String.
    pub const SERIAL_NUMBER: Self = Self::short(0x2a25);
    /// Firmware Revision String.
    pub const FIRMWARE_REVISION: Self = Self::short(0x2a26);
    /// Hardware Revision String.
    pub const HARDWARE_REVISION: Self = Self::short(0x2a27);
    /// Software Revision String.
    pub const SOFTWARE_REVISION: Self = Self::short(0x2a28);
    /// Manufacturer Name String.
    pub const MANUFACTURER_NAME: Self = Self::short(0x2a29);
    /// PnP ID: who has made the device.
    pub const PNP_ID: Self = Self::short(0x2a50);
    /// Client Supported Features.
    pub const CLIENT_FEATURES: Self = Self::short(0x2b29);
    /// Database Hash.
    pub const DATABASE_HASH: Self = Self::short(0x2b2a);
    /// Client Characteristic Configuration descriptor.
    pub const CCC: Self = Self::short(0x2902);

    /// The UUID behind a number that the Bluetooth SIG has assigned.
    #[must_use]
    pub const fn short(number: u16) -> Self {
        Self(BASE | ((number as u128) << 96))
    }

    /// A UUID from its bits.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// As it goes over the air: two bytes where it is short, sixteen otherwise, least significant byte first.
    #[must_use]
    pub fn to_air(self) -> Vec<u8> {
        self.as_short().map_or_else(|| self.0.to_le_bytes().to_vec(), |short| short.to_le_bytes().to_vec())
    }

    /// The assigned number, if it is one.
    #[must_use]
    pub fn as_short(self) -> Option<u16> {
        let number = u16::try_from(self.0 >> 96).ok()?;
        (Self::short(number) == self).then_some(number)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            bits >> 96,
            (bits >> 80) & 0xffff,
            (bits >> 64) & 0xffff,
            (bits >> 48) & 0xffff,
            bits & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is not a UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no UUID: four hexadecimal digits (180f) or the long form (8d53dc1d-1db7-4cd3-868b-8a527460aa84)")]
pub struct NoUuid(String);

impl FromStr for Uuid {
    type Err = NoUuid;

    /// Reads both forms; a short one may begin with `0x`.
    fn from_str(text: &str) -> Result<Self, NoUuid> {
        let wrong = || NoUuid(text.chars().take(40).collect());
        let digits = text.strip_prefix("0x").unwrap_or(text);
        if digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return u16::from_str_radix(digits, 16).map(Self::short).map_err(|_| wrong());
        }
        let groups: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        if lengths != [8, 4, 4, 4, 12] || !groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return Err(wrong());
        }
        u128::from_str_radix(&groups.concat(), 16).map(Self).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_the_long_one_is_shown() {
        let battery = Uuid::short(0x180f);
        assert_eq!(battery.to_string(), "0000180f-0000-1000-8000-00805f9b34fb");
        for text in ["180f", "0x180F", "0000180f-0000-1000-8000-00805f9b34fb"] {
            assert_eq!(text.parse(), Ok(battery));
        }
        assert_eq!(battery.as_short(), Some(0x180f));
        let smp: Uuid = "8d53dc1d-1db7-4cd3-868b-8a527460aa84".parse().unwrap();
        assert_eq!((smp.to_string().as_str(), smp.as_short()), ("8d53dc1d-1db7-4cd3-868b-8a527460aa84", None));
        for text in
            ["", "18", "0x18", "+80f", "8d53dc1d1db74cd3868b8a527460aa84", "8d53dc1d-1db7-4cd3-868b-8a527460aa8g"]
        {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }
}
