//! The checksums of both protocols.

use crc::{CRC_16_IBM_3740, CRC_32_ISO_HDLC, Crc, Table};

static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);
static CRC16: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_3740);

/// CRC-32/ISO-HDLC of `bytes`, behind bytes whose CRC is `previous`; 0 for none, as with zlib
/// (nrf5 sdk 17.1: `crc32.c`).
#[must_use]
pub fn crc32(bytes: &[u8], previous: u32) -> u32 {
    // The register before the final inversion; the crate takes it in the bit order of the polynomial.
    let mut digest = CRC32.digest_with_initial((!previous).reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

/// CRC-16/CCITT-FALSE of `bytes`, behind bytes whose CRC is `previous`; [`CRC16_START`] for none
/// (nrf5 sdk 11: `crc16.c`).
#[must_use]
pub fn crc16(bytes: &[u8], previous: u16) -> u16 {
    let mut digest = CRC16.digest_with_initial(previous);
    digest.update(bytes);
    digest.finalize()
}

/// The CRC-16 of no bytes.
pub const CRC16_START: u16 = 0xffff;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_check_values_of_the_catalogue() {
        assert_eq!(crc32(b"123456789", 0), 0xcbf4_3926);
        assert_eq!(crc16(b"123456789", CRC16_START), 0x29b1);
        assert_eq!((crc32(&[], 0), crc16(&[], CRC16_START)), (0, CRC16_START));
    }

    proptest! {
        #[test]
        fn pieces_give_the_same_as_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..200) {
            let (first, second) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(crc32(second, crc32(first, 0)), crc32(&bytes, 0));
            prop_assert_eq!(crc16(second, crc16(first, CRC16_START)), crc16(&bytes, CRC16_START));
        }
    }
}
