//! The peripheral behind a port of the virtual BlueZ.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use brickproof_simulator::gatt::table::{Characteristic, Descriptor, Properties, Service, Table};
use brickproof_simulator::gatt::{
    Address, AddressKind, Advertisement, AttError, CentralAction, GattEvent, IoCapability, PairingAnswer, PairingAsk,
    PairingFailure, Security, Uuid, WriteKind,
};
use brickproof_simulator::trace::EndedBy;
use brickproof_simulator::virtual_bluez::{Central, Options, Port, PortEvent, VirtualBluez};
use tokio::sync::Notify;
use tokio::task::spawn_local;

use crate::names::Names;
use crate::peripheral::{self, Attribute, Order, Peripheral, Shared, uuid};
use crate::script::Script;
use crate::side::{NAME, Orders, Side};

/// The same as that of the first adapter of `btvirt`.
const ADDRESS: Address = Address([0x00, 0xaa, 0x01, 0x00, 0x00, 0x00]);
/// What its display shows.
const PASSKEY: u32 = 123_456;
/// Its user is asked.
const ASKED: &str = "is asked to pair";
/// Handle of the descriptor of Service Changed.
const CHANGED_CCC: u16 = 0x0b;
/// Handles of values of its own services.
const HASH_HANDLE: u16 = 0x0f;
const PRODUCT_HANDLE: u16 = 0x14;
/// Longest ATT MTU of bluetoothd, which is the peripheral on the other side.
const MTU: u16 = 517;
/// Longest value.
const VALUE_MAX: usize = 512;

/// Starts a virtual BlueZ for one script.
pub(crate) fn start(folder: &Path, script: &Script) -> std::io::Result<(VirtualBluez, Side)> {
    // The central is the second of two adapters, as in the virtual machine.
    let options = Options {
        adapters: 2,
        disconnect_delay_us: script.disconnect_delay_ms * 1000,
        connect_timeout_us: script.connect_timeout_ms * 1000,
        ..Options::default()
    };
    let bluez = VirtualBluez::start(folder, &options)?;
    let names = Names {
        adapter: "/org/bluez/hci1".into(),
        other: "/org/bluez/hci0".into(),
        address: ADDRESS.to_string(),
        own: "?".into(),
        host: "?".into(),
    };
    let changed = Rc::new(Notify::new());
    let peripheral = Rc::new(RefCell::new(Peripheral::new(Rc::clone(&changed), script.shows)));
    let (side, orders) = Side::new(bluez.address().to_owned(), names, Rc::clone(&peripheral), changed);
    let carrier = Carrier {
        port: bluez.attach(false),
        peripheral,
        link: None,
        waiting: Vec::new(),
        added: Vec::new(),
        bonded: false,
    };
    spawn_local(carrier.run(orders));
    Ok((bluez, side))
}

/// A connection.
struct Link {
    central: Central,
    encrypted: bool,
    /// Handles of descriptors that switch notifications on.
    subscribed: Vec<u16>,
}

struct Carrier {
    port: Port,
    peripheral: Shared,
    link: Option<Link>,
    /// Requests that are held.
    waiting: Vec<CentralAction>,
    /// Names of services that were added.
    added: Vec<String>,
    bonded: bool,
}

impl Carrier {
    async fn run(mut self, mut orders: Orders) {
        self.advertise(true);
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let Some((order, done)) = order else { return };
                    self.order(order);
                    // Whoever gave the order waits for this, unless the script is over.
                    let _ = done.send(());
                }
                event = self.port.next() => {
                    if let PortEvent::Action(central, action) = event {
                        self.action(central, action);
                    }
                }
            }
        }
    }

    fn advertise(&mut self, on: bool) {
        self.port.advertise(on.then(|| Advertisement {
            name: Some(NAME.into()),
            services: vec![Uuid::from_bits(peripheral::UUID_BASE)],
            ..Advertisement::new(ADDRESS, AddressKind::Public)
        }));
    }

    fn tell(&self, event: GattEvent) {
        if let Some(link) = &self.link {
            self.port.tell(link.central, event);
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Advertise(on) => self.advertise(on),
            Order::Power(on) => {
                self.advertise(on);
                if !on {
                    self.end(0x15);
                }
            }
            Order::Disconnect => self.end(0x13),
            Order::Notify(name, value) => self.notify(&name, value),
            Order::Release(_) => {
                for action in std::mem::take(&mut self.waiting) {
                    match action {
                        CentralAction::Pair { capability, .. } => self.pair(capability),
                        action => self.request(action),
                    }
                }
            }
            Order::Add(name, on) => self.add(&name, on),
            Order::Refuse(..) | Order::Hold(_) | Order::Pairing(_) => {}
        }
    }

    fn add(&mut self, name: &str, on: bool) {
        self.added.retain(|known| known != name);
        if on {
            self.added.push(name.to_owned());
        }
        let addition = peripheral::ADDITIONS.into_iter().find(|addition| addition.name == name);
        let (Some(link), Some(addition)) = (&self.link, addition) else { return };
        if link.subscribed.contains(&CHANGED_CCC) {
            let range = [addition.service.to_le_bytes(), addition.end.to_le_bytes()].concat();
            self.tell(GattEvent::Indication { handle: CHANGED_CCC - 1, value: range });
        }
    }

    fn end(&mut self, reason: u8) {
        self.tell(GattEvent::Disconnected { by: EndedBy::Target, reason });
        self.over();
    }

    fn over(&mut self) {
        self.waiting.clear();
        if let Some(link) = self.link.take() {
            for handle in link.subscribed.into_iter().filter(|handle| name_of_ccc(*handle) != "?") {
                self.peripheral.borrow_mut().say(format!("{} has no subscriber", name_of_ccc(handle)));
            }
        }
    }

    fn notify(&self, name: &str, value: Vec<u8>) {
        let table = self.table();
        let Some(attribute) = peripheral::attributes().find(|attribute| attribute.name == name) else { return };
        let Some(known) = table.by_value_handle(attribute.handle + 1) else { return };
        let subscribed = |link: &Link| known.ccc().is_some_and(|ccc| link.subscribed.contains(&ccc));
        if self.link.as_ref().is_some_and(subscribed) {
            let handle = known.value_handle;
            self.tell(if known.properties.has(Properties::NOTIFY) {
                GattEvent::Notification { handle, value }
            } else {
                GattEvent::Indication { handle, value }
            });
        }
    }

    fn action(&mut self, central: Central, action: CentralAction) {
        match action {
            CentralAction::Connect => {
                self.link = Some(Link { central, encrypted: false, subscribed: Vec::new() });
                self.tell(GattEvent::Connected);
            }
            CentralAction::Disconnect => {
                let event = GattEvent::Disconnected { by: EndedBy::Central, reason: 0x16 };
                self.port.tell(central, event);
                self.over();
            }
            CentralAction::ExchangeMtu(mtu) => self.tell(GattEvent::Mtu(mtu.min(MTU))),
            CentralAction::Discover => self.tell(GattEvent::Discovered(self.table())),
            CentralAction::Pair { .. } if self.bonded => self.secured(Security::Encrypted),
            CentralAction::Pair { .. } if self.peripheral.borrow().is_held("pairing") => {
                self.peripheral.borrow_mut().say(ASKED.into());
                self.waiting.push(action);
            }
            CentralAction::Pair { capability, .. } => self.pair(capability),
            CentralAction::AnswerPairing(PairingAnswer::Passkey(PASSKEY)) => self.secured(Security::SecureConnections),
            CentralAction::AnswerPairing(_) => {
                self.waiting.retain(|action| !matches!(action, CentralAction::Pair { .. }));
                self.tell(GattEvent::PairingFailed(PairingFailure::PasskeyEntryFailed));
            }
            CentralAction::ForgetKeys
            | CentralAction::AnswerParameters { .. }
            | CentralAction::Secure { .. }
            | CentralAction::Confirm
            | CentralAction::Lose => {}
            request @ (CentralAction::Read { .. } | CentralAction::Write { .. }) => self.request(request),
        }
    }

    fn pair(&mut self, capability: IoCapability) {
        let (shows, pairs) = (self.peripheral.borrow().shows, self.peripheral.borrow().pairs);
        if shows && capability == IoCapability::KeyboardOnly {
            self.peripheral.borrow_mut().show(PASSKEY);
            return self.tell(GattEvent::PairingAsks(PairingAsk::EnterPasskey));
        }
        if self.peripheral.borrow().log.last().is_none_or(|line| line != ASKED) {
            self.peripheral.borrow_mut().say(ASKED.into());
        }
        if pairs {
            self.secured(Security::Encrypted);
        } else {
            self.tell(GattEvent::PairingFailed(PairingFailure::UnspecifiedReason));
        }
    }

    /// The attributes, those that bluetoothd itself serves included.
    fn table(&self) -> Arc<Table> {
        let mut services = own_services();
        services.push(Service {
            handle: peripheral::SERVICE,
            end: peripheral::SERVICE_END,
            uuid: uuid(0),
            primary: true,
            characteristics: peripheral::ATTRIBUTES.iter().map(characteristic).collect(),
        });
        let added = peripheral::ADDITIONS.iter().filter(|addition| self.added.iter().any(|name| name == addition.name));
        services.extend(added.map(|addition| Service {
            handle: addition.service,
            end: addition.end,
            uuid: uuid(addition.uuid),
            primary: true,
            characteristics: vec![characteristic(&addition.attribute)],
        }));
        Arc::new(Table { services })
    }

    fn secured(&mut self, level: Security) {
        if let Some(link) = &mut self.link {
            link.encrypted = true;
            self.bonded = true;
            self.tell(GattEvent::Secured { level, bonded: true });
        }
    }

    fn request(&mut self, action: CentralAction) {
        let (CentralAction::Read { handle, .. } | CentralAction::Write { handle, .. }) = action else { return };
        let name = name_of(handle);
        if name.is_some_and(|name| self.peripheral.borrow().is_held(name)) {
            return self.waiting.push(action);
        }
        let event = match action {
            CentralAction::Read { offset, .. } => self.read(handle, name, offset),
            CentralAction::Write { value, kind, .. } => {
                let event = self.write(handle, name, &value, kind);
                if kind == WriteKind::Command {
                    return;
                }
                event
            }
            _ => return,
        };
        self.tell(event);
    }

    fn is_protected(&self, name: Option<&str>) -> bool {
        name == Some("secret") && !self.link.as_ref().is_some_and(|link| link.encrypted)
    }

    fn read(&self, handle: u16, name: Option<&'static str>, offset: u16) -> GattEvent {
        let error = |code| GattEvent::Error { handle, error: AttError(code) };
        let on = self.link.as_ref().is_some_and(|link| link.subscribed.contains(&handle));
        match name {
            _ if self.is_protected(name) => error(0x0f),
            Some("stream") => error(0x02),
            Some(name) => {
                let read = self.peripheral.borrow().read(name, offset);
                read.map_or_else(error, |value| GattEvent::Read { handle, value })
            }
            None if self.table().descriptor(handle).is_some() => {
                // The configuration of a client.
                let value = [u8::from(on), 0].get(usize::from(offset)..).map(<[u8]>::to_vec);
                value.map_or_else(|| error(0x07), |value| GattEvent::Read { handle, value })
            }
            None if handle == HASH_HANDLE => {
                let hash = if self.added.is_empty() { HASH } else { HASH_WITH_BATTERY };
                GattEvent::Read { handle, value: hash.to_vec() }
            }
            None if handle == PRODUCT_HANDLE => GattEvent::Read { handle, value: PRODUCT.to_vec() },
            None => error(0x01),
        }
    }

    fn write(&mut self, handle: u16, name: Option<&'static str>, value: &[u8], kind: WriteKind) -> GattEvent {
        let error = |code| GattEvent::Error { handle, error: AttError(code) };
        if self.is_protected(name) {
            return error(0x0f);
        }
        let Some(name) = name else {
            let on = value.first().is_some_and(|first| *first != 0);
            let Some(link) = &mut self.link else { return error(0x0e) };
            let was = link.subscribed.contains(&handle);
            link.subscribed.retain(|known| *known != handle);
            if on {
                link.subscribed.push(handle);
            }
            if was != on && name_of_ccc(handle) != "?" {
                let what = if on { "a" } else { "no" };
                self.peripheral.borrow_mut().say(format!("{} has {what} subscriber", name_of_ccc(handle)));
            }
            return GattEvent::Written { handle };
        };
        // bluetoothd as a server: what can be written can be written in every way, and the handle counts, too, for the
        // length of what is written in one packet.
        let flags = peripheral::ATTRIBUTES.iter().find(|attribute| attribute.name == name).map(|found| found.flags);
        let is_written = |flag: &&str| flag.starts_with("write") || flag.ends_with("-write");
        if flags.is_some_and(|flags| !flags.iter().any(is_written)) {
            return error(0x03);
        }
        if value.len() + if kind == WriteKind::Long { 0 } else { 2 } > VALUE_MAX {
            return error(0x0d);
        }
        let written = self.peripheral.borrow_mut().write(name, 0, value);
        written.map_or_else(error, |()| GattEvent::Written { handle })
    }
}

/// The name of what has this handle of its value.
fn name_of(handle: u16) -> Option<&'static str> {
    if handle == peripheral::NOTE {
        return Some("note");
    }
    peripheral::attributes().find(|attribute| attribute.handle + 1 == handle).map(|attribute| attribute.name)
}

/// The name of the characteristic that is switched on by this descriptor.
fn name_of_ccc(handle: u16) -> &'static str {
    peripheral::attributes().find(|attribute| attribute.handle + 2 == handle).map_or("?", |found| found.name)
}

fn characteristic(attribute: &Attribute) -> Characteristic {
    let mut descriptors = Vec::new();
    if attribute.flags.contains(&"notify") || attribute.flags.contains(&"indicate") {
        descriptors.push(Descriptor { handle: attribute.handle + 2, uuid: Uuid::CCC });
    }
    if attribute.name == "readable" {
        descriptors.push(Descriptor { handle: peripheral::NOTE, uuid: uuid(peripheral::NOTE_UUID) });
    }
    Characteristic {
        handle: attribute.handle,
        value_handle: attribute.handle + 1,
        uuid: uuid(attribute.uuid),
        properties: properties(attribute.flags),
        descriptors,
    }
}

fn properties(flags: &[&str]) -> Properties {
    flags.iter().fold(Properties::default(), |known, flag| {
        known.and(match *flag {
            "read" | "encrypt-read" => Properties::READ,
            "write" | "encrypt-write" => Properties::WRITE,
            "write-without-response" => Properties::WRITE_WITHOUT_RESPONSE,
            "notify" => Properties::NOTIFY,
            _ => Properties::INDICATE,
        })
    })
}

/// Hash of the attributes, as bluetoothd calculates it.
const HASH: [u8; 16] = [0xb6, 0xee, 0x08, 0x92, 0x63, 0xfd, 0xef, 0x33, 0x7f, 0xf3, 0x3e, 0x9a, 0x9e, 0x80, 0xd7, 0xe8];
/// The same with the service of a battery.
const HASH_WITH_BATTERY: [u8; 16] =
    [0xe0, 0x15, 0xfe, 0x1a, 0x36, 0x0b, 0x2a, 0x42, 0x39, 0xd6, 0x00, 0xfe, 0xb8, 0x21, 0x13, 0x26];
/// What bluetoothd says of itself: `usb:v1D6Bp0246d0542`.
const PRODUCT: [u8; 7] = [0x02, 0x6b, 0x1d, 0x46, 0x02, 0x42, 0x05];

/// What bluetoothd serves by itself.
fn own_services() -> Vec<Service> {
    let plain = |handle, uuid, properties| Characteristic {
        handle,
        value_handle: handle + 1,
        uuid,
        properties,
        descriptors: Vec::new(),
    };
    let changed = Characteristic {
        descriptors: vec![Descriptor { handle: 0x0b, uuid: Uuid::CCC }],
        ..plain(0x09, Uuid::SERVICE_CHANGED, Properties::INDICATE)
    };
    let service = |handle, end, uuid, characteristics| Service { handle, end, uuid, primary: true, characteristics };
    vec![
        service(
            0x01,
            0x07,
            Uuid::GAP,
            vec![plain(0x02, Uuid::DEVICE_NAME, Properties::READ), plain(0x04, Uuid::APPEARANCE, Properties::READ)],
        ),
        service(
            0x08,
            0x11,
            Uuid::GATT,
            vec![
                changed,
                plain(0x0c, Uuid::CLIENT_FEATURES, Properties::READ.and(Properties::WRITE)),
                plain(HASH_HANDLE - 1, Uuid::DATABASE_HASH, Properties::READ),
            ],
        ),
        service(0x12, 0x14, Uuid::DEVICE_INFORMATION, vec![plain(PRODUCT_HANDLE - 1, Uuid::PNP_ID, Properties::READ)]),
    ]
}
