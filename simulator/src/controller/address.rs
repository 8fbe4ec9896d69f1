//! Device addresses, and the resolvable private ones among them.

use std::fmt;

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

/// A device address and whether it is random, as both are on the air.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// `false` public, `true` random.
    pub random: bool,
    /// Least significant byte first, as in every packet.
    pub bytes: [u8; 6],
}

impl Address {
    /// A public address, its bytes in the order in which they are written.
    #[must_use]
    pub fn public(mut written: [u8; 6]) -> Self {
        written.reverse();
        Self { random: false, bytes: written }
    }

    /// The type as commands and events have it: 0 public, 1 random.
    #[must_use]
    pub fn kind(self) -> u8 {
        u8::from(self.random)
    }

    /// Whether it is a resolvable private address (volume 6, part B, 1.3.2.2).
    pub(super) fn is_resolvable(self) -> bool {
        self.random && self.bytes[5] >> 6 == 0b01
    }

    /// Whether an identity resolving key made it.
    pub(super) fn resolves_with(self, irk: &[u8; 16]) -> bool {
        let [h0, h1, h2, p0, p1, p2] = self.bytes;
        self.is_resolvable() && hash(irk, [p0, p1, p2]) == [h0, h1, h2]
    }

    /// A resolvable private address from a key and 24 random bits.
    pub(super) fn resolvable(irk: &[u8; 16], random: u64) -> Self {
        let [p0, p1, p2, ..] = random.to_le_bytes();
        let part = [p0, p1, (p2 & 0x3F) | 0x40];
        let [h0, h1, h2] = hash(irk, part);
        Self { random: true, bytes: [h0, h1, h2, part[0], part[1], part[2]] }
    }
}

impl fmt::Display for Address {
    /// As people write it: `00:AA:01:00:00:01`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [b0, b1, b2, b3, b4, b5] = self.bytes;
        write!(f, "{b5:02X}:{b4:02X}:{b3:02X}:{b2:02X}:{b1:02X}:{b0:02X}")
    }
}

/// The security function `e` of the Core specification, all values least significant byte first.
pub(super) fn encrypt(key: &[u8; 16], plain: &[u8; 16]) -> [u8; 16] {
    let mut key = *key;
    key.reverse();
    let mut block = *plain;
    block.reverse();
    let mut block = Array::from(block);
    Aes128::new(&Array::from(key)).encrypt_block(&mut block);
    let mut cipher: [u8; 16] = block.into();
    cipher.reverse();
    cipher
}

/// The random address hash function `ah` (volume 3, part H, 2.2.2).
fn hash(irk: &[u8; 16], part: [u8; 3]) -> [u8; 3] {
    let mut plain = [0; 16];
    plain[..3].copy_from_slice(&part);
    let [h0, h1, h2, ..] = encrypt(irk, &plain);
    [h0, h1, h2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Core specification, volume 3, part H, appendix D.7.
    #[test]
    fn the_sample_of_the_specification() {
        let mut irk = [0; 16];
        hex::decode_to_slice("ec0234a357c8ad05341010a60a397d9b", &mut irk).unwrap();
        irk.reverse();
        assert_eq!(hash(&irk, [0x94, 0x81, 0x70]), [0xaa, 0xfb, 0x0d]);
    }

    #[test]
    fn a_private_address_resolves_with_its_key_only() {
        let address = Address::resolvable(&[7; 16], 0x1234_5678);
        assert!(address.resolves_with(&[7; 16]));
        assert!(!address.resolves_with(&[8; 16]));
        assert_eq!(Address::public([0, 0xAA, 1, 0, 0, 2]).to_string(), "00:AA:01:00:00:02");
    }
}
