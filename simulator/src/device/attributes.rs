//! The attributes of a board on Bluetooth LE: their handles, and what stands behind each.
//!
//! | handles | what is there |
//! |---|---|
//! | 0x0001 to 0x0008 | Generic Attribute: Service Changed and its descriptor, Client Supported Features, Database Hash |
//! | 0x0009 to 0x000f | Generic Access: Device Name, Appearance, Peripheral Preferred Connection Parameters |
//! | 0x0010 to 0x0013 | SMP |
//! | from 0x0014 on | Device Information, Battery, the services of the board |
//!
//! An AppLoader has less, one after the other: Generic Attribute and Generic Access with the Device Name alone, the OTA
//! service. What it has of handles moves up when its application runs, and nobody is told.
//!
//! That is how Zephyr lays out its own two services (`_1_gatt_svc`, `_2_gap_svc`). With `moving_handles` everything
//! from SMP on moves up by 0x10 for every image after the first.
//!
//! The Database Hash changes with the attributes, which is what a client looks at; it is not the AES-CMAC of the
//! specification.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Board;
use crate::gatt::{Characteristic, ConnectionParameters, Descriptor, Properties, Security, Service, Table, Uuid};
use crate::nordic::{Endpoint, LegacyBoard, Writes};
use crate::silabs::{self, SilabsBoard};
use crate::smp::gatt::{CHARACTERISTIC, SERVICE};

/// First handle behind the two services that every device has.
const FIRST: u16 = 0x0010;
/// Handle of the value of SMP with the first image.
pub(crate) const FIRST_SMP_VALUE: u16 = FIRST + 2;
/// Distance of the handles of two images.
const DISTANCE: u16 = 0x0010;

/// What stands behind an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behind {
    /// The declaration of a service or a characteristic, or a value that does not change.
    Fixed(Vec<u8>),
    /// SMP: requests are written, answers notified.
    Smp,
    /// A characteristic that updates go over: of Nordic's DFU, or of Silicon Labs' OTA.
    Dfu {
        /// Which.
        endpoint: Endpoint,
        /// The descriptor that switches its notifications or indications on, where it has one.
        descriptor: Option<u16>,
    },
    /// Charge of the battery in percent.
    Battery,
    /// A value that can be written; where it has one, a write sets off its trigger.
    Value {
        /// Its value after a start.
        start: Vec<u8>,
        /// Name of the trigger.
        trigger: Option<String>,
    },
    /// Indicated when attributes have moved.
    ServiceChanged,
    /// Switches notifications and indications of the characteristic with this handle of its value on.
    Configuration {
        /// Handle.
        of: u16,
    },
}

/// An attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// What it is in the trace: characteristic, descriptor, or the service that it declares.
    pub uuid: Uuid,
    /// The characteristic that a descriptor belongs to.
    pub characteristic: Option<Uuid>,
    /// How it can be read and written.
    pub properties: Properties,
    /// What a link needs before it can be read or written.
    pub access: Security,
    /// What stands behind it.
    pub behind: Behind,
}

/// All attributes of a board with one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// What a central finds.
    pub table: Arc<Table>,
    all: BTreeMap<u16, Attribute>,
    /// Handles of the value and the descriptor of SMP, where it is served.
    pub smp: Option<(u16, u16)>,
    /// The same of the battery, where there is one.
    pub battery: Option<(u16, u16)>,
    /// The same of Service Changed.
    pub service_changed: (u16, u16),
}

impl Attributes {
    /// The attribute with this handle.
    #[must_use]
    pub fn get(&self, handle: u16) -> Option<&Attribute> {
        self.all.get(&handle)
    }

    /// What a link needs before it can read or write attributes, where it needs anything, by their handles.
    #[must_use]
    pub fn access(&self) -> BTreeMap<u16, Security> {
        let needs = self.all.iter().map(|(handle, attribute)| (*handle, attribute.access));
        needs.filter(|(_, access)| *access > Security::Plain).collect()
    }

    /// The attributes of this board while an image of this version runs, `moved` images after the first one.
    #[must_use]
    pub fn of(board: &Board, version: &str, moved: u16) -> Self {
        let mut builder = Builder::default();
        let service_changed = builder.generic(board);
        builder.next = FIRST.saturating_add(DISTANCE.saturating_mul(moved));
        let access = board.gatt.access;
        builder.service(SERVICE);
        let properties = Properties::WRITE_WITHOUT_RESPONSE.and(Properties::NOTIFY);
        let smp = builder.characteristic(CHARACTERISTIC, properties, access, Behind::Smp);
        let smp = (smp, builder.configuration(access));
        let battery = builder.of_application(board, version);
        builder.finish(Some(smp), battery, service_changed)
    }

    /// The attributes of a board of Nordic's while a program serves these endpoints; an application, whose version is
    /// told, has the services of the board, too.
    #[must_use]
    pub fn nordic(
        board: &Board,
        served: &[(Uuid, Vec<Endpoint>)],
        access: Security,
        application: Option<&str>,
    ) -> Self {
        let mut builder = Builder::default();
        let service_changed = builder.of_softdevice(board);
        for (service, endpoints) in served {
            builder.service(*service);
            for endpoint in endpoints {
                builder.endpoint(*endpoint, access);
            }
        }
        if board.as_nordic().is_some_and(|own| own.dfu.writes == Writes::Lenient) {
            builder.permit_requests(Endpoint::Packet);
        }
        let battery = application.and_then(|version| builder.of_application(board, version));
        builder.finish(None, battery, service_changed)
    }

    /// The same of a board with a Legacy DFU bootloader, whose DFU mode may have a Device Information service of its own.
    #[must_use]
    pub fn legacy(
        board: &Board,
        own: &LegacyBoard,
        served: &[(Uuid, Vec<Endpoint>)],
        application: Option<&str>,
    ) -> Self {
        let mut builder = Builder::default();
        let service_changed = builder.of_softdevice(board);
        let version = if application.is_some() { own.dfu.application_version } else { own.dfu.version };
        for (service, endpoints) in served {
            builder.service(*service);
            for endpoint in endpoints {
                match (endpoint, version) {
                    (Endpoint::LegacyVersion, Some(version)) => {
                        builder.fixed(endpoint.uuid(), version.to_le_bytes().to_vec());
                    }
                    (Endpoint::LegacyPacket, _) if own.dfu.packet_requests && application.is_none() => {
                        let properties = endpoint.properties().and(Properties::WRITE);
                        let behind = Behind::Dfu { endpoint: *endpoint, descriptor: None };
                        builder.characteristic(endpoint.uuid(), properties, Security::Plain, behind);
                    }
                    _ => builder.endpoint(*endpoint, Security::Plain),
                }
            }
        }
        if own.dfu.writes == Writes::Lenient && application.is_none() {
            builder.permit_requests(Endpoint::LegacyPacket);
        }
        if let (None, Some([manufacturer, model, firmware])) = (application, &own.dfu.information) {
            builder.service(Uuid::DEVICE_INFORMATION);
            builder.fixed(Uuid::MANUFACTURER_NAME, manufacturer.as_bytes().to_vec());
            builder.fixed(Uuid::MODEL_NUMBER, model.as_bytes().to_vec());
            builder.fixed(Uuid::FIRMWARE_REVISION, firmware.as_bytes().to_vec());
        }
        let battery = application.and_then(|version| builder.of_application(board, version));
        builder.finish(None, battery, service_changed)
    }

    /// The attributes of an EFR32 board, whose bootloader and application have these versions. An AppLoader has three services
    /// and tells nobody when attributes change; an application has the services of the board, too.
    #[must_use]
    pub fn silabs(
        board: &Board,
        own: &SilabsBoard,
        program: &silabs::Program,
        [bootloader, version]: [u32; 2],
        application: Option<&str>,
    ) -> Self {
        let mut builder = Builder::default();
        let service_changed = match application {
            Some(_) => builder.generic(board),
            None => {
                builder.service(Uuid::GATT);
                builder.service(Uuid::GAP);
                builder.fixed(Uuid::DEVICE_NAME, own.ota.advertised_name().as_bytes().to_vec());
                (0, 0)
            }
        };
        builder.service(own.ota.service);
        let access = if application.is_some() { own.access } else { Security::Plain };
        for endpoint in program.serves() {
            builder.endpoint(*endpoint, access);
        }
        if application.is_none() || own.ota.application_versions {
            let apploader = own.ota.apploader_version.map(u16::to_le_bytes).concat();
            builder.fixed(silabs::gatt::APPLOADER_VERSION, apploader);
            builder.fixed(silabs::gatt::OTA_VERSION, vec![own.ota.ota_version]);
            if own.ota.ota_version >= 3 {
                builder.fixed(silabs::gatt::BOOTLOADER_VERSION, bootloader.to_le_bytes().to_vec());
                builder.fixed(silabs::gatt::APPLICATION_VERSION, version.to_le_bytes().to_vec());
            }
        }
        let battery = application.and_then(|version| builder.of_application(board, version));
        builder.finish(None, battery, service_changed)
    }

    /// Handles of the value and the descriptor of a characteristic that updates go over.
    #[must_use]
    pub fn endpoint(&self, wanted: Endpoint) -> Option<(u16, Option<u16>)> {
        self.all.iter().find_map(|(handle, attribute)| match attribute.behind {
            Behind::Dfu { endpoint, descriptor } if endpoint == wanted => Some((*handle, descriptor)),
            _ => None,
        })
    }
}

/// Lays attributes out one after the other.
struct Builder {
    next: u16,
    services: Vec<Service>,
    all: BTreeMap<u16, Attribute>,
}

impl Default for Builder {
    fn default() -> Self {
        Self { next: 1, services: Vec::new(), all: BTreeMap::new() }
    }
}

impl Builder {
    fn add(&mut self, attribute: Attribute) -> u16 {
        let handle = self.next;
        self.all.insert(handle, attribute);
        self.next = self.next.saturating_add(1);
        if let Some(service) = self.services.last_mut() {
            service.end = handle;
        }
        handle
    }

    fn service(&mut self, uuid: Uuid) {
        let handle = self.next;
        self.services.push(Service { handle, end: handle, uuid, primary: true, characteristics: Vec::new() });
        self.add(Attribute {
            uuid,
            characteristic: None,
            properties: Properties::READ,
            access: Security::Plain,
            behind: Behind::Fixed(uuid.to_air()),
        });
    }

    /// Adds a characteristic to the last service; the handle of its value.
    fn characteristic(&mut self, uuid: Uuid, properties: Properties, access: Security, behind: Behind) -> u16 {
        let value_handle = self.next.saturating_add(1);
        let mut declaration = vec![properties.0];
        declaration.extend(value_handle.to_le_bytes());
        declaration.extend(uuid.to_air());
        let handle = self.add(Attribute {
            uuid: Uuid::short(0x2803),
            characteristic: Some(uuid),
            properties: Properties::READ,
            access: Security::Plain,
            behind: Behind::Fixed(declaration),
        });
        self.add(Attribute { uuid, characteristic: None, properties, access, behind });
        if let Some(service) = self.services.last_mut() {
            service.characteristics.push(Characteristic {
                handle,
                value_handle,
                uuid,
                properties,
                descriptors: Vec::new(),
            });
        }
        value_handle
    }

    /// Adds the descriptor that switches notifications on to the last characteristic; its handle.
    fn configuration(&mut self, access: Security) -> u16 {
        let handle = self.next;
        let last = self.services.last_mut().and_then(|service| service.characteristics.last_mut());
        let Some((of, characteristic)) = last.map(|last| {
            last.descriptors.push(Descriptor { handle, uuid: Uuid::CCC });
            (last.value_handle, last.uuid)
        }) else {
            return handle;
        };
        let properties = Properties::READ.and(Properties::WRITE).and(Properties::WRITE_WITHOUT_RESPONSE);
        let behind = Behind::Configuration { of };
        self.add(Attribute { uuid: Uuid::CCC, characteristic: Some(characteristic), properties, access, behind })
    }

    fn fixed(&mut self, uuid: Uuid, value: Vec<u8>) {
        self.characteristic(uuid, Properties::READ, Security::Plain, Behind::Fixed(value));
    }

    /// Generic Attribute and Generic Access; handles of Service Changed.
    fn generic(&mut self, board: &Board) -> (u16, u16) {
        self.service(Uuid::GATT);
        let plain = Security::Plain;
        let changed = self.characteristic(Uuid::SERVICE_CHANGED, Properties::INDICATE, plain, Behind::ServiceChanged);
        let changed = (changed, self.configuration(plain));
        let features = Behind::Value { start: vec![0], trigger: None };
        self.characteristic(Uuid::CLIENT_FEATURES, Properties::READ.and(Properties::WRITE), plain, features);
        // Filled in when all attributes are there.
        self.fixed(Uuid::DATABASE_HASH, Vec::new());
        self.service(Uuid::GAP);
        self.access(board);
        changed
    }

    /// What an application has beside its DFU; handles of the battery.
    fn of_application(&mut self, board: &Board, version: &str) -> Option<(u16, u16)> {
        self.information(board, version);
        let battery = self.battery(board);
        for vendor in &board.peripheral.services {
            self.service(vendor.uuid);
            for characteristic in &vendor.characteristics {
                let behind =
                    Behind::Value { start: characteristic.value.clone(), trigger: characteristic.trigger.clone() };
                let properties = characteristic.properties;
                self.characteristic(characteristic.uuid, properties, Security::Plain, behind);
                if properties.has(Properties::NOTIFY) || properties.has(Properties::INDICATE) {
                    self.configuration(Security::Plain);
                }
            }
        }
        battery
    }

    /// A characteristic of Nordic's DFU, with its descriptor. A version can be read by everybody.
    fn endpoint(&mut self, endpoint: Endpoint, access: Security) {
        if endpoint == Endpoint::LegacyVersion {
            // Of an application: it has the way into the bootloader.
            return self.fixed(endpoint.uuid(), 1_u16.to_le_bytes().to_vec());
        }
        let properties = endpoint.properties();
        let access = if properties.has(Properties::READ) { Security::Plain } else { access };
        let behind = Behind::Dfu { endpoint, descriptor: None };
        let value = self.characteristic(endpoint.uuid(), properties, access, behind);
        if endpoint.answers() {
            // The SoftDevice leaves descriptors open, whatever the value demands; only the bonded service does not.
            let access = if endpoint == Endpoint::BondedButtonless { access } else { Security::Plain };
            let descriptor = Some(self.configuration(access));
            if let Some(attribute) = self.all.get_mut(&value) {
                attribute.behind = Behind::Dfu { endpoint, descriptor };
            }
        }
    }

    /// Takes write requests to a characteristic, which goes on saying that it does not.
    fn permit_requests(&mut self, to: Endpoint) {
        for attribute in self.all.values_mut() {
            if matches!(attribute.behind, Behind::Dfu { endpoint, .. } if endpoint == to) {
                attribute.properties = attribute.properties.and(Properties::WRITE);
            }
        }
    }

    /// Generic Access and Generic Attribute as the SoftDevice lays them out; handles of Service Changed.
    fn of_softdevice(&mut self, board: &Board) -> (u16, u16) {
        self.service(Uuid::GAP);
        self.access(board);
        self.service(Uuid::GATT);
        let plain = Security::Plain;
        let changed = self.characteristic(Uuid::SERVICE_CHANGED, Properties::INDICATE, plain, Behind::ServiceChanged);
        (changed, self.configuration(plain))
    }

    /// The characteristics of Generic Access.
    fn access(&mut self, board: &Board) {
        let advertised = &board.peripheral.advertisement;
        self.fixed(Uuid::DEVICE_NAME, advertised.name.as_ref().unwrap_or(&board.name).as_bytes().to_vec());
        self.fixed(Uuid::APPEARANCE, advertised.appearance.unwrap_or(0).to_le_bytes().to_vec());
        let ConnectionParameters { interval_min, interval_max, latency, timeout } = ConnectionParameters::PREFERRED;
        let preferred = [interval_min, interval_max, latency, timeout].map(u16::to_le_bytes).concat();
        self.fixed(Uuid::PREFERRED_PARAMETERS, preferred);
    }

    fn information(&mut self, board: &Board, version: &str) {
        let Some(information) = &board.peripheral.information else { return };
        self.service(Uuid::DEVICE_INFORMATION);
        // In the order of Zephyr's `dis.c`.
        for (uuid, text) in [
            (Uuid::MODEL_NUMBER, information.model.as_deref()),
            (Uuid::MANUFACTURER_NAME, information.manufacturer.as_deref()),
            (Uuid::SERIAL_NUMBER, information.serial.as_deref()),
            (Uuid::FIRMWARE_REVISION, Some(version)),
            (Uuid::HARDWARE_REVISION, information.hardware.as_deref()),
            (Uuid::SOFTWARE_REVISION, information.software.as_deref()),
        ] {
            if let Some(text) = text {
                self.fixed(uuid, text.as_bytes().to_vec());
            }
        }
    }

    fn battery(&mut self, board: &Board) -> Option<(u16, u16)> {
        board.peripheral.battery.then(|| {
            self.service(Uuid::BATTERY);
            let properties = Properties::READ.and(Properties::NOTIFY);
            let level = self.characteristic(Uuid::BATTERY_LEVEL, properties, Security::Plain, Behind::Battery);
            (level, self.configuration(Security::Plain))
        })
    }

    fn finish(
        mut self,
        smp: Option<(u16, u16)>,
        battery: Option<(u16, u16)>,
        service_changed: (u16, u16),
    ) -> Attributes {
        let mut digest = Sha256::new();
        for (handle, attribute) in &self.all {
            digest.update(handle.to_le_bytes());
            digest.update(attribute.uuid.to_air());
        }
        let hash = digest.finalize()[..16].to_vec();
        for attribute in self.all.values_mut().filter(|attribute| attribute.uuid == Uuid::DATABASE_HASH) {
            attribute.behind = Behind::Fixed(hash.clone());
        }
        let table = Arc::new(Table { services: self.services });
        Attributes { table, all: self.all, smp, battery, service_changed }
    }
}

#[cfg(test)]
mod tests {
    use brickproof_flash_model::boot::mcuboot::{Mcuboot, Options};
    use brickproof_flash_model::image::mcuboot::Verifier;
    use brickproof_flash_model::layout::Layout;

    use super::*;
    use crate::device::{VendorCharacteristic, VendorService};

    fn board() -> Board {
        let layout = Layout::preset("tiny4-a4").unwrap();
        let options = Options { max_sectors: 4, ..Options::default() };
        let mcuboot = Mcuboot::new(&layout, options, Verifier::default()).unwrap();
        let mut board = Board::new("attributes", layout, mcuboot);
        board.peripheral.services.push(VendorService {
            uuid: Uuid::short(0xfff0),
            characteristics: vec![VendorCharacteristic {
                uuid: Uuid::short(0xfff1),
                properties: Properties::WRITE.and(Properties::NOTIFY),
                value: vec![1],
                trigger: Some("bootloader".into()),
            }],
        });
        board
    }

    #[test]
    fn handles_are_as_documented() {
        let attributes = Attributes::of(&board(), "1.2.3", 0);
        let starts: Vec<_> =
            attributes.table.services.iter().map(|service| (service.handle, service.uuid.as_short())).collect();
        let expected = [
            (0x01, Some(0x1801)),
            (0x09, Some(0x1800)),
            (0x10, None),
            (0x14, Some(0x180a)),
            (0x1b, Some(0x180f)),
            (0x1f, Some(0xfff0)),
        ];
        assert_eq!(starts, expected);
        assert_eq!((attributes.smp, attributes.battery), (Some((0x12, 0x13)), Some((0x1d, 0x1e))));
        assert_eq!(attributes.service_changed, (0x03, 0x04));
        let revision = attributes.table.characteristic(Uuid::FIRMWARE_REVISION).unwrap().value_handle;
        assert_eq!(attributes.get(revision).unwrap().behind, Behind::Fixed(b"1.2.3".to_vec()));
        for service in &attributes.table.services {
            for characteristic in &service.characteristics {
                let handles = service.handle..=service.end;
                assert!(handles.contains(&characteristic.handle) && handles.contains(&characteristic.value_handle));
                assert_eq!(attributes.get(characteristic.value_handle).unwrap().uuid, characteristic.uuid);
            }
        }
        assert_eq!(attributes.get(0x22).unwrap().characteristic, Some(Uuid::short(0xfff1)));
        assert_eq!(attributes.get(0x23), None);
    }

    #[test]
    fn what_moves_is_not_generic_and_shows_in_the_hash() {
        let [before, after] = [0, 1].map(|moved| Attributes::of(&board(), "1.0.0", moved));
        assert_eq!(before.table.services[..2], after.table.services[..2]);
        assert_eq!((after.smp, after.get(0x12)), (Some((0x22, 0x23)), None));
        assert_ne!(before.get(0x08), after.get(0x08));
        assert_eq!(before.get(0x08), Attributes::of(&board(), "2.0.0", 0).get(0x08), "a version moves nothing");
        let far = Attributes::of(&board(), "1.0.0", u16::MAX);
        assert!(!far.table.services.is_empty(), "no overflow");
    }
}
