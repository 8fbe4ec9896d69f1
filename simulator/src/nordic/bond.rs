//! The bond that an application shares with its bootloader, as it lies in flash or RAM between the two.
//!
//! | offset | bytes | what it is |
//! |---|---|---|
//! | 0 | 16 | identity key of the central; zero where it has given none |
//! | 16 | 7 | its identity address: one bit for "of a peer", seven for the kind, the address from its last byte on |
//! | 24 | 17 | long term key, and its length |
//! | 42 | 10 | EDIV and random number of that key |
//! | 52 | 8 | what was written to Service Changed, as the SoftDevice hands it out |
//!
//! (nrf5 sdk 17.1: `nrf_dfu_types.h`, `nrf_dfu_peer_data_t`; `ble_gap.h`; nrf5 sdk 11: `dfu_ble_svc.h`,
//! `dfu_ble_peer_data_t`, which has the same in another order, in RAM)
//!
//! Real keys are drawn by chance. Here they follow from the number of the central, so that a run can be repeated, and so
//! that a central can be told by them. What the SoftDevice hands out of Service Changed is not documented: here it is the
//! two bytes of the descriptor behind a mark.

use crate::gatt::Address;

/// Bytes of it.
pub const BOND_LEN: usize = 60;
/// Stands where the SoftDevice has handle and length.
const MARK: [u8; 4] = [0x0d, 0x00, 0x02, 0x00];

/// What a bootloader knows of the central that shares the bond of its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SharedBond {
    /// Its identity key; zero where it has given none.
    pub identity_key: [u8; 16],
    /// Its identity address, or the one that it has connected from.
    pub address: Address,
    /// The long term key; zero where there is no bond.
    pub key: [u8; 16],
    /// EDIV of that key.
    pub diversifier: u16,
    /// What was written to the descriptor of Service Changed.
    pub service_changed: u16,
}

impl SharedBond {
    /// That of the central with this number. `identified`: it has given its identity key; `keyed`: it is bonded.
    #[must_use]
    pub fn of(central: u64, identified: bool, keyed: bool, service_changed: u16) -> Self {
        let seed = |mask: u8| {
            let mut bytes = [0; 16];
            for (index, byte) in bytes.iter_mut().enumerate() {
                *byte = central.to_le_bytes()[index % 8] ^ mask.wrapping_add(index as u8);
            }
            bytes
        };
        let [.., a, b, c, d, e] = central.to_be_bytes();
        Self {
            identity_key: if identified && keyed { seed(0x5a) } else { [0; 16] },
            // Static random addresses begin with two ones.
            address: Address([0xc0, a, b, c, d, e]),
            key: if keyed { seed(0xa5) } else { [0; 16] },
            diversifier: if keyed { 0x1000 | (central & 0xfff) as u16 } else { 0 },
            service_changed,
        }
    }

    /// Whether the central can be told by its identity key: then it is the only one that may connect.
    #[must_use]
    pub fn is_identified(&self) -> bool {
        self.identity_key != [0; 16]
    }

    /// Whether there are keys to encrypt with.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.key != [0; 16]
    }

    /// The address alone.
    #[must_use]
    pub fn without_keys(self) -> Self {
        Self { identity_key: [0; 16], key: [0; 16], diversifier: 0, ..self }
    }

    /// The bytes that are shared.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; BOND_LEN] {
        let mut bytes = [0; BOND_LEN];
        let mut put = |offset: usize, part: &[u8]| bytes[offset..offset + part.len()].copy_from_slice(part);
        put(0, &self.identity_key);
        let mut address = self.address.0;
        address.reverse();
        // A static random address.
        put(16, &[1 << 1]);
        put(17, &address);
        put(24, &self.key);
        put(40, &[16 << 2]);
        put(42, &self.diversifier.to_le_bytes());
        put(52, &MARK);
        put(56, &self.service_changed.to_le_bytes());
        bytes
    }

    /// From bytes that were shared.
    #[must_use]
    pub fn parse(bytes: &[u8; BOND_LEN]) -> Self {
        let mut address = [0; 6];
        address.copy_from_slice(&bytes[17..23]);
        address.reverse();
        let (mut identity_key, mut key) = ([0; 16], [0; 16]);
        identity_key.copy_from_slice(&bytes[..16]);
        key.copy_from_slice(&bytes[24..40]);
        let short = |offset: usize| u16::from_le_bytes([bytes[offset], bytes[offset + 1]]);
        Self {
            identity_key,
            address: Address(address),
            key,
            diversifier: short(42),
            service_changed: if bytes[52..56] == MARK { short(56) } else { 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_lies_where_the_bootloader_looks_for_it() {
        let bond = SharedBond::of(0x0102, true, true, 2);
        let bytes = bond.to_bytes();
        assert_eq!(bytes[..16], bond.identity_key);
        assert_eq!(bytes[16..23], [0x02, 0x02, 0x01, 0, 0, 0, 0xc0]);
        assert_eq!(bytes[24..40], bond.key);
        assert_eq!(bytes[42..44], [0x02, 0x11]);
        assert_eq!(bytes[52..], [0x0d, 0, 2, 0, 2, 0, 0, 0]);
    }

    #[test]
    fn centrals_are_told_apart() {
        let known = |central| SharedBond::of(central, true, true, 0);
        assert!(known(1).is_identified() && known(1).has_key());
        assert_ne!(known(1).identity_key, known(2).identity_key);
        assert_ne!((known(1).key, known(1).address), (known(2).key, known(2).address));
        let nameless = SharedBond::of(1, false, true, 0);
        assert!(!nameless.is_identified() && nameless.has_key());
        let stranger = SharedBond::of(1, true, false, 0);
        assert!(!stranger.is_identified() && !stranger.has_key());
    }

    proptest! {
        #[test]
        fn what_is_shared_is_read_again(central: u64, identified: bool, keyed: bool, service_changed: u16) {
            let bond = SharedBond::of(central, identified, keyed, service_changed);
            prop_assert_eq!(SharedBond::parse(&bond.to_bytes()), bond);
        }

        #[test]
        fn whatever_lies_there_is_read(bytes in proptest::collection::vec(any::<u8>(), BOND_LEN)) {
            let bytes: [u8; BOND_LEN] = bytes.try_into().unwrap();
            let bond = SharedBond::parse(&bytes);
            prop_assert_eq!(SharedBond::parse(&bond.to_bytes()).key, bond.key);
        }
    }
}
