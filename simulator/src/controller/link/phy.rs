//! How long a packet is on the air (volume 6, part B, 2.1 and 2.2).

/// Time between two packets of an exchange, in microseconds (volume 6, part B, 4.1.1).
pub(in super::super) const IFS_US: u64 = 150;
/// Length of the message integrity code of an encrypted packet, in bytes.
const MIC: u64 = 4;

/// A physical layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum Phy {
    /// 1 Mbit/s.
    #[default]
    Le1M,
    /// 2 Mbit/s.
    Le2M,
    /// Coded, S = 8: 125 kbit/s.
    LeCoded,
}

impl Phy {
    /// As commands and events number it.
    pub(in super::super) fn number(self) -> u8 {
        match self {
            Self::Le1M => 1,
            Self::Le2M => 2,
            Self::LeCoded => 3,
        }
    }

    /// The inverse of `number`.
    pub(in super::super) fn numbered(number: u8) -> Option<Self> {
        [Self::Le1M, Self::Le2M, Self::LeCoded].into_iter().find(|phy| phy.number() == number)
    }

    /// Microseconds that a packet with a payload of so many bytes takes.
    pub(in super::super) fn air_time(self, payload: usize, encrypted: bool) -> u64 {
        let payload = payload as u64;
        let bytes = payload + if encrypted && payload > 0 { MIC } else { 0 };
        match self {
            // Preamble 1, access address 4, header 2, CRC 3.
            Self::Le1M => (10 + bytes) * 8,
            // The preamble has twice as many bits.
            Self::Le2M => (11 + bytes) * 4,
            // Preamble 80, access address 256, coding indicator 16, terminators 24 and 24, CRC 192.
            Self::LeCoded => 592 + (2 + bytes) * 64,
        }
    }

    /// The longest payload whose packet, encrypted, takes no longer than this.
    pub(in super::super) fn payload_within(self, time_us: u16, octets: u16) -> u16 {
        let fits = |octets: &u16| self.air_time((*octets).into(), true) <= time_us.into();
        (27..=octets).rev().find(fits).unwrap_or(27)
    }
}

/// A set of physical layers: bit 0 for 1M, bit 1 for 2M, bit 2 for Coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Phys(pub(in super::super) u8);

impl Phys {
    pub(in super::super) const ALL: Self = Self(0b111);

    /// The best that both sides like: the fastest.
    pub(in super::super) fn choose(self, other: Self) -> Option<Phy> {
        let common = self.0 & other.0;
        [Phy::Le2M, Phy::Le1M, Phy::LeCoded].into_iter().find(|phy| common >> (phy.number() - 1) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_specification() {
        assert_eq!(Phy::Le1M.air_time(0, true), 80);
        assert_eq!(Phy::Le1M.air_time(251, true), 2120);
        assert_eq!(Phy::Le1M.air_time(27, true), 328);
        assert_eq!(Phy::Le2M.air_time(0, false), 44);
        assert_eq!(Phy::Le2M.air_time(251, true), 1064);
        assert_eq!(Phy::LeCoded.air_time(0, false), 720);
        assert_eq!(Phy::LeCoded.air_time(251, true), 17040);
    }

    #[test]
    fn a_limit_in_time_is_a_limit_in_bytes() {
        assert_eq!(Phy::Le1M.payload_within(2120, 251), 251);
        assert_eq!(Phy::LeCoded.payload_within(2704, 251), 27);
        assert_eq!(Phy::Le1M.payload_within(328, 251), 27);
    }
}
