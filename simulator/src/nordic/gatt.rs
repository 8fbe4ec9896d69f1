//! What Nordic's DFU is on GATT: services, characteristics and what is special about each.
//!
//! | service | characteristic | properties | longest value | where |
//! |---|---|---|---|---|
//! | 0xfe59 | `8ec90001` control point | write, notify | 23 | Secure DFU bootloader |
//! | 0xfe59 | `8ec90002` packet | write without response | MTU - 3 | the same |
//! | 0xfe59 | `8ec90003` buttonless, without bonds | write, indicate | 23 | application |
//! | 0xfe59 | `8ec90004` buttonless, with bonds | write, indicate | 23 | application |
//! | `8e400001` | `8e400001` buttonless, experimental | write, notify | 20 | application, SDK 12 |
//! | `00001530` | `00001531` control point | write, notify | 20 | Legacy DFU, bootloader and application |
//! | `00001530` | `00001532` packet | write without response | 20, or MTU - 3 | Legacy DFU bootloader |
//! | `00001530` | `00001534` version | read | 2 | Legacy DFU |
//!
//! (nrf5 sdk 17.1: `nrf_dfu_ble.c`, `ble_dfu_init`; `ble_dfu.c`, `ble_dfu_unbonded.c`, `ble_dfu_bonded.c`; nrf5 sdk 11:
//! `ble_dfu.c`)

use crate::gatt::{AttError, Properties, Uuid};

/// Secure DFU, an assigned number of Nordic's.
pub const SECURE_SERVICE: Uuid = Uuid::short(0xfe59);
/// The service of the experimental buttonless entry.
pub const EXPERIMENTAL_SERVICE: Uuid = Uuid::from_bits(0x8e40_0001_f315_4f60_9fb8_8388_30da_ea50);
/// Legacy DFU.
pub const LEGACY_SERVICE: Uuid = Uuid::from_bits(0x0000_1530_1212_efde_1523_785f_eabc_d123);

/// A characteristic of Nordic's DFU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// Requests and responses of Secure DFU.
    ControlPoint,
    /// The bytes of objects.
    Packet,
    /// The way into the bootloader without bonds.
    Buttonless,
    /// The way into the bootloader with bonds.
    BondedButtonless,
    /// The way into the bootloader of SDK 12.
    ExperimentalButtonless,
    /// Requests and responses of Legacy DFU; in an application, the way into the bootloader.
    LegacyControlPoint,
    /// Sizes, init packet and firmware of Legacy DFU.
    LegacyPacket,
    /// What is there of Legacy DFU.
    LegacyVersion,
    /// No characteristic: a serial line, whose frames are requests, packets among them.
    Serial,
}

/// Improperly configured descriptor (Core specification supplement, part B, 1.2).
pub const CCC_IMPROPERLY_CONFIGURED: AttError = AttError(0xfd);
/// What Legacy DFU answers to long writes (nrf5 sdk 11: `dfu_transport_ble.c`, `APP_FEATURE_NOT_SUPPORTED`).
pub const FEATURE_NOT_SUPPORTED: AttError = AttError(0x82);

impl Endpoint {
    /// All characteristics.
    pub const ALL: [Self; 8] = [
        Self::ControlPoint,
        Self::Packet,
        Self::Buttonless,
        Self::BondedButtonless,
        Self::ExperimentalButtonless,
        Self::LegacyControlPoint,
        Self::LegacyPacket,
        Self::LegacyVersion,
    ];

    /// What it is on GATT.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        const SECURE: u128 = 0x8ec9_0000_f315_4f60_9fb8_8388_30da_ea50;
        const LEGACY: u128 = 0x0000_1500_1212_efde_1523_785f_eabc_d123;
        let (base, number): (u128, u128) = match self {
            Self::ControlPoint => (SECURE, 1),
            Self::Packet => (SECURE, 2),
            Self::Buttonless => (SECURE, 3),
            Self::BondedButtonless => (SECURE, 4),
            Self::ExperimentalButtonless => return EXPERIMENTAL_SERVICE,
            Self::LegacyControlPoint => (LEGACY, 0x31),
            Self::LegacyPacket => (LEGACY, 0x32),
            Self::LegacyVersion => (LEGACY, 0x34),
            Self::Serial => return Uuid::from_bits(0),
        };
        Uuid::from_bits(base + (number << 96))
    }

    /// The characteristic with this UUID.
    #[must_use]
    pub fn of_uuid(uuid: Uuid) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.uuid() == uuid)
    }

    /// What can be done with it.
    #[must_use]
    pub const fn properties(self) -> Properties {
        match self {
            Self::ControlPoint | Self::ExperimentalButtonless | Self::LegacyControlPoint => {
                Properties::WRITE.and(Properties::NOTIFY)
            }
            Self::Buttonless | Self::BondedButtonless => Properties::WRITE.and(Properties::INDICATE),
            Self::Packet | Self::LegacyPacket => Properties::WRITE_WITHOUT_RESPONSE,
            Self::LegacyVersion => Properties::READ,
            Self::Serial => Properties(0),
        }
    }

    /// Longest value in bytes, where that is less than what fits the MTU.
    #[must_use]
    pub const fn value_max(self) -> usize {
        match self {
            Self::ControlPoint | Self::Buttonless | Self::BondedButtonless => 23,
            Self::ExperimentalButtonless | Self::LegacyControlPoint => 20,
            Self::LegacyVersion => 2,
            Self::Packet | Self::LegacyPacket | Self::Serial => usize::MAX,
        }
    }

    /// Whether a write is refused while what it answers with is switched off.
    #[must_use]
    pub const fn answers(self) -> bool {
        matches!(
            self,
            Self::ControlPoint
                | Self::Buttonless
                | Self::BondedButtonless
                | Self::ExperimentalButtonless
                | Self::LegacyControlPoint
        )
    }

    /// Whether it is of Legacy DFU.
    #[must_use]
    pub const fn is_legacy(self) -> bool {
        matches!(self, Self::LegacyControlPoint | Self::LegacyPacket | Self::LegacyVersion)
    }

    /// What notifies or indicates the answers to what is written to it.
    #[must_use]
    pub const fn answered_by(self) -> Self {
        match self {
            Self::Packet => Self::ControlPoint,
            Self::LegacyPacket => Self::LegacyControlPoint,
            other => other,
        }
    }

    /// Its name in the trace.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ControlPoint => "control-point",
            Self::Packet => "packet",
            Self::Buttonless => "buttonless",
            Self::BondedButtonless => "bonded-buttonless",
            Self::ExperimentalButtonless => "experimental-buttonless",
            Self::LegacyControlPoint => "legacy-control-point",
            Self::LegacyPacket => "legacy-packet",
            Self::LegacyVersion => "legacy-version",
            Self::Serial => "serial",
        }
    }
}

/// The ATT MTU that the Secure DFU bootloader answers with: less than was asked for, where the payload would not be a
/// whole number of words (nrf5 sdk 17.1: `nrf_dfu_ble.c`, `BLE_GATTS_EVT_EXCHANGE_MTU_REQUEST`).
#[must_use]
pub fn secure_mtu(asked: u16, max: u16) -> u16 {
    if asked >= max {
        return max;
    }
    let payload = asked.saturating_sub(3);
    payload / 4 * 4 + 3
}

/// The same of Adafruit's bootloader (`dfu_transport_ble.c`).
#[must_use]
pub fn adafruit_mtu(asked: u16, max: u16) -> u16 {
    (asked.min(max) & !3) | 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_nordics() {
        let all = Endpoint::ALL.map(|endpoint| endpoint.uuid().to_string());
        assert_eq!(
            all,
            [
                "8ec90001-f315-4f60-9fb8-838830daea50",
                "8ec90002-f315-4f60-9fb8-838830daea50",
                "8ec90003-f315-4f60-9fb8-838830daea50",
                "8ec90004-f315-4f60-9fb8-838830daea50",
                "8e400001-f315-4f60-9fb8-838830daea50",
                "00001531-1212-efde-1523-785feabcd123",
                "00001532-1212-efde-1523-785feabcd123",
                "00001534-1212-efde-1523-785feabcd123",
            ]
        );
        for endpoint in Endpoint::ALL {
            assert_eq!(Endpoint::of_uuid(endpoint.uuid()), Some(endpoint));
        }
    }

    #[test]
    fn the_mtu_leaves_whole_words() {
        let agreed = [23, 24, 26, 27, 158, 185, 247, 517].map(|asked| secure_mtu(asked, 247));
        assert_eq!(agreed, [23, 23, 23, 27, 155, 183, 247, 247]);
    }
}
