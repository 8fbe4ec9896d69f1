//! What a peripheral shows of itself without a connection.

use std::fmt;
use std::str::FromStr;

use super::Uuid;

/// A Bluetooth device address, most significant byte first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 6]);

impl Address {
    /// The address whose last byte is the next one; the others stay, even where it goes round.
    #[must_use]
    pub fn next_in_last_byte(self) -> Self {
        let [a, b, c, d, e, f] = self.0;
        Self([a, b, c, d, e, f.wrapping_add(1)])
    }

    /// The address this many further on.
    #[must_use]
    pub fn plus(self, more: u64) -> Self {
        let [a, b, c, d, e, f] = self.0;
        let number = u64::from_be_bytes([0, 0, a, b, c, d, e, f]).wrapping_add(more);
        let [_, _, a, b, c, d, e, f] = number.to_be_bytes();
        Self([a, b, c, d, e, f])
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}")
    }
}

/// What is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no Bluetooth address: six bytes in hexadecimal, like C0:FF:EE:00:00:01")]
pub struct NoAddress(String);

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let wrong = || NoAddress(text.chars().take(40).collect());
        let mut bytes = [0; 6];
        let mut groups = text.split(':');
        for byte in &mut bytes {
            let group = groups.next().filter(|group| group.len() == 2).ok_or_else(wrong)?;
            if !group.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            *byte = u8::from_str_radix(group, 16).map_err(|_| wrong())?;
        }
        if groups.next().is_some() { Err(wrong()) } else { Ok(Self(bytes)) }
    }
}

/// What kind of address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum AddressKind {
    /// Assigned by the IEEE.
    Public,
    /// Chosen by the device.
    #[default]
    Random,
}

/// Advertising data and scan response together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertisement {
    /// The address of the advertiser.
    pub address: Address,
    /// What kind of address that is.
    pub address_kind: AddressKind,
    /// Local name.
    pub name: Option<String>,
    /// Services by their UUIDs.
    pub services: Vec<Uuid>,
    /// Manufacturer data by company identifier.
    pub manufacturer_data: Vec<(u16, Vec<u8>)>,
    /// Data of services.
    pub service_data: Vec<(Uuid, Vec<u8>)>,
    /// Appearance.
    pub appearance: Option<u16>,
    /// Transmission power in dBm, where it is said.
    pub tx_power: Option<i8>,
    /// Further structures by their AD types, such as 0x1b, LE Bluetooth Device Address.
    pub other: Vec<(u8, Vec<u8>)>,
    /// Advertising flags.
    pub flags: u8,
    /// How strong it is received, in dBm.
    pub rssi: i8,
    /// Whether a connection can be made.
    pub connectable: bool,
}

impl Advertisement {
    /// LE General Discoverable Mode, BR/EDR Not Supported.
    pub const FLAGS: u8 = 0x06;

    /// Nothing but an address.
    #[must_use]
    pub fn new(address: Address, address_kind: AddressKind) -> Self {
        Self {
            address,
            address_kind,
            name: None,
            services: Vec::new(),
            manufacturer_data: Vec::new(),
            service_data: Vec::new(),
            appearance: None,
            tx_power: None,
            other: Vec::new(),
            flags: Self::FLAGS,
            rssi: -50,
            connectable: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        let address: Address = "c0:FF:ee:00:00:FF".parse().unwrap();
        assert_eq!(address.to_string(), "C0:FF:EE:00:00:FF");
        assert_eq!(address.plus(1).to_string(), "C0:FF:EE:00:01:00");
        assert_eq!(address.next_in_last_byte().to_string(), "C0:FF:EE:00:00:00");
        for text in ["", "C0", "C0:FF:EE:00:00", "C0:FF:EE:00:00:01:02", "C0:FF:EE:00:00:0g", "+0:FF:EE:00:00:01"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
