//! The characteristics that updates go over, and what is special about each.

use crate::gatt::{Properties, Uuid};
use crate::nordic::gatt::EXPERIMENTAL_SERVICE;
use crate::silabs::gatt as ota;

/// A characteristic that updates go over.
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
    /// Control bytes of Silicon Labs' OTA.
    OtaControl,
    /// The bytes of a file of Silicon Labs' OTA.
    OtaData,
    /// No characteristic: a serial line, whose frames are requests, packets among them.
    Serial,
}

impl Endpoint {
    /// All characteristics.
    pub const ALL: [Self; 10] = [
        Self::ControlPoint,
        Self::Packet,
        Self::Buttonless,
        Self::BondedButtonless,
        Self::ExperimentalButtonless,
        Self::LegacyControlPoint,
        Self::LegacyPacket,
        Self::LegacyVersion,
        Self::OtaControl,
        Self::OtaData,
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
            Self::OtaControl => return ota::CONTROL,
            Self::OtaData => return ota::DATA,
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
            Self::OtaControl => Properties::WRITE,
            Self::OtaData => Properties::WRITE.and(Properties::WRITE_WITHOUT_RESPONSE),
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
            Self::OtaData => ota::DATA_MAX,
            // An AppLoader looks at the length itself; an application at the first byte alone.
            Self::OtaControl | Self::Packet | Self::LegacyPacket | Self::Serial => usize::MAX,
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

    /// Whether the program answers to requests itself, with a result, and not the stack.
    #[must_use]
    pub const fn is_answered_by_program(self) -> bool {
        matches!(self, Self::OtaControl | Self::OtaData)
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
            Self::OtaControl => "ota-control",
            Self::OtaData => "ota-data",
            Self::Serial => "serial",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_the_vendors() {
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
                "f7bf3564-fb6d-4e53-88a4-5e37e0326063",
                "984227f3-34fc-4045-a5d0-2c581f81a153",
            ]
        );
        for endpoint in Endpoint::ALL {
            assert_eq!(Endpoint::of_uuid(endpoint.uuid()), Some(endpoint));
        }
    }
}
