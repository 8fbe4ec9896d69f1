//! What a board is on Bluetooth LE beside its SMP service: what it advertises, and its other services.

use sha2::{Digest, Sha256};

use crate::gatt::{Address, AddressKind, Advertisement, Properties, Uuid};
use crate::smp::gatt::SERVICE;

/// Longest name in bytes that fits a scan response (Core specification, volume 3, part C, 11).
pub const NAME_MAX: usize = 29;

/// What a board is on Bluetooth LE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peripheral {
    /// What it advertises; its name and appearance are also characteristics of the Generic Access service.
    pub advertisement: Advertisement,
    /// Whether every start has an address of its own: the advertised one, and so many further on.
    pub changes_address: bool,
    /// Device Information service; `None` where there is none.
    pub information: Option<Information>,
    /// Whether there is a Battery service.
    pub battery: bool,
    /// Further services, in the order of their handles.
    pub services: Vec<VendorService>,
}

impl Peripheral {
    /// Advertises this name and SMP, from an address that follows from the name; Device Information and Battery.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let shortened = name.char_indices().take_while(|(at, letter)| at + letter.len_utf8() <= NAME_MAX);
        let advertisement = Advertisement {
            name: Some(shortened.map(|(_, letter)| letter).collect()),
            services: vec![SERVICE],
            ..Advertisement::new(static_address(name), AddressKind::Random)
        };
        Self {
            advertisement,
            changes_address: false,
            information: Some(Information::default()),
            battery: true,
            services: Vec::new(),
        }
    }

    /// The same for an application of Nordic's: without SMP.
    #[must_use]
    pub fn nordic(name: &str) -> Self {
        let mut peripheral = Self::new(name);
        peripheral.advertisement.services.clear();
        peripheral
    }

    /// Whether a write to this, a UUID or the name of a trigger, can ever be a moment for a fault.
    #[must_use]
    pub fn can_be_written(&self, to: &str) -> bool {
        let uuid = to.parse::<Uuid>().ok();
        self.services.iter().flat_map(|service| &service.characteristics).any(|characteristic| {
            let writes = Properties::WRITE.and(Properties::WRITE_WITHOUT_RESPONSE).0;
            let named = characteristic.trigger.as_deref() == Some(to) || uuid == Some(characteristic.uuid);
            characteristic.properties.0 & writes != 0 && named
        })
    }
}

/// A static random address: its two most significant bits are set (Core specification, volume 6, part B, 1.3.2.1).
#[must_use]
pub fn static_address(name: &str) -> Address {
    static_address_of(name.as_bytes())
}

/// The same from any bytes.
pub(super) fn static_address_of(seed: &[u8]) -> Address {
    let digest = Sha256::digest(seed);
    let mut bytes = [0; 6];
    bytes.copy_from_slice(&digest[..6]);
    bytes[0] |= 0xc0;
    Address(bytes)
}

/// The texts of the Device Information service; those that are missing have no characteristic. The firmware revision
/// is always there: it is the version of the image that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Information {
    /// Model number.
    pub model: Option<String>,
    /// Manufacturer name.
    pub manufacturer: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Hardware revision.
    pub hardware: Option<String>,
    /// Software revision.
    pub software: Option<String>,
}

impl Default for Information {
    /// A model and a manufacturer, as of Zephyr's samples.
    fn default() -> Self {
        Self {
            model: Some("simulated target".into()),
            manufacturer: Some("brickproof".into()),
            serial: None,
            hardware: None,
            software: None,
        }
    }
}

/// A service that only this board has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorService {
    /// What it is.
    pub uuid: Uuid,
    /// Its characteristics.
    pub characteristics: Vec<VendorCharacteristic>,
}

/// A characteristic of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorCharacteristic {
    /// What it is.
    pub uuid: Uuid,
    /// What can be done with it; one that notifies or indicates has a descriptor to switch that on.
    pub properties: Properties,
    /// Its value after a start, at most 512 bytes.
    pub value: Vec<u8>,
    /// What a write to it sets off, by name.
    pub trigger: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_found_by_name_and_uuid() {
        let mut peripheral = Peripheral::new("x");
        let characteristic = |number, properties, trigger: Option<&str>| VendorCharacteristic {
            uuid: Uuid::short(number),
            properties,
            value: Vec::new(),
            trigger: trigger.map(str::to_owned),
        };
        peripheral.services.push(VendorService {
            uuid: Uuid::short(0xfff0),
            characteristics: vec![
                characteristic(0xfff1, Properties::WRITE_WITHOUT_RESPONSE, Some("dfu")),
                characteristic(0xfff2, Properties::READ, None),
            ],
        });
        let known = ["dfu", "fff1", "fff2", "dfv", "2a19"].map(|to| peripheral.can_be_written(to));
        assert_eq!(known, [true, true, false, false, false]);
    }

    #[test]
    fn names_fit_a_scan_response_and_addresses_are_static() {
        let long = Peripheral::new("a-target-with-a-name-that-is-über-long");
        assert_eq!(long.advertisement.name.as_deref(), Some("a-target-with-a-name-that-is-"));
        for name in ["", "a", "nrf52840-mcuboot-swap-move"] {
            let address = Peripheral::new(name).advertisement.address;
            assert_eq!(address.0[0] & 0xc0, 0xc0);
            assert_eq!(address, static_address(name));
        }
        assert_ne!(static_address("a"), static_address("b"));
    }
}
