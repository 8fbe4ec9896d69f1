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

use crate::gatt::{AttError, Uuid};

/// Secure DFU, an assigned number of Nordic's.
pub const SECURE_SERVICE: Uuid = Uuid::short(0xfe59);
/// The service of the experimental buttonless entry.
pub const EXPERIMENTAL_SERVICE: Uuid = Uuid::from_bits(0x8e40_0001_f315_4f60_9fb8_8388_30da_ea50);
/// Legacy DFU.
pub const LEGACY_SERVICE: Uuid = Uuid::from_bits(0x0000_1530_1212_efde_1523_785f_eabc_d123);

/// Improperly configured descriptor (Core specification supplement, part B, 1.2).
pub const CCC_IMPROPERLY_CONFIGURED: AttError = AttError(0xfd);
/// What Legacy DFU answers to long writes (nrf5 sdk 11: `dfu_transport_ble.c`, `APP_FEATURE_NOT_SUPPORTED`).
pub const FEATURE_NOT_SUPPORTED: AttError = AttError(0x82);

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
    fn the_mtu_leaves_whole_words() {
        let agreed = [23, 24, 26, 27, 158, 185, 247, 517].map(|asked| secure_mtu(asked, 247));
        assert_eq!(agreed, [23, 23, 23, 27, 155, 183, 247, 247]);
    }
}
