//! The peripheral that all scripts play with: its attributes, what it does, and what it is told.
//!
//! It is a value. [`crate::virtual_side`] puts it behind a port of the virtual BlueZ, [`crate::real_side`] behind the
//! other adapter of bluetoothd.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use brickproof_simulator::gatt::Uuid;
use tokio::sync::Notify;

use crate::value;

/// A characteristic. Handles are chosen by us and demanded of bluetoothd, so that object paths are the same.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    /// Handle of the declaration; the value follows it.
    pub(crate) handle: u16,
    /// Last part of the UUID.
    pub(crate) uuid: u16,
    /// As `GattCharacteristic1.Flags` of a server.
    pub(crate) flags: &'static [&'static str],
    pub(crate) value: &'static [u8],
}

/// Handle of the service.
pub(crate) const SERVICE: u16 = 0x40;
/// Last handle of the service.
pub(crate) const SERVICE_END: u16 = 0x52;
/// Handle of the descriptor `note`, of `readable`.
pub(crate) const NOTE: u16 = 0x43;
/// The service, and what its characteristics and descriptors begin with.
pub(crate) const UUID_BASE: u128 = 0xb71c_0000_9a41_4b0c_8d5e_0000_0000_0000;
/// Last part of the UUID of `note`.
pub(crate) const NOTE_UUID: u16 = 0x21;

/// Longest value of an attribute.
static LONG: [u8; 512] = [0x4c; 512];

/// All of them.
pub(crate) const ATTRIBUTES: [Attribute; 7] = [
    Attribute { name: "readable", handle: 0x41, uuid: 0x11, flags: &["read"], value: b"hello" },
    Attribute { name: "writable", handle: 0x44, uuid: 0x12, flags: &["read", "write"], value: b"" },
    Attribute { name: "stream", handle: 0x46, uuid: 0x13, flags: &["write-without-response", "notify"], value: b"" },
    Attribute { name: "alarm", handle: 0x49, uuid: 0x14, flags: &["read", "indicate"], value: b"\x01" },
    Attribute { name: "secret", handle: 0x4c, uuid: 0x15, flags: &["encrypt-read", "encrypt-write"], value: b"secret" },
    Attribute { name: "long", handle: 0x4e, uuid: 0x16, flags: &["read", "write"], value: &LONG },
    Attribute {
        name: "mixed",
        handle: 0x50,
        uuid: 0x17,
        flags: &["read", "write", "write-without-response", "notify", "indicate"],
        value: b"",
    },
];

/// A service that the peripheral may add while it runs.
#[derive(Debug)]
pub(crate) struct Addition {
    pub(crate) name: &'static str,
    pub(crate) service: u16,
    pub(crate) end: u16,
    pub(crate) uuid: u16,
    pub(crate) attribute: Attribute,
}

/// All of them.
pub(crate) const ADDITIONS: [Addition; 2] = [
    Addition {
        name: "service",
        service: 0x60,
        end: 0x62,
        uuid: 0x01,
        attribute: Attribute { name: "extra", handle: 0x61, uuid: 0x18, flags: &["read"], value: b"extra" },
    },
    Addition {
        name: "battery",
        service: 0x70,
        end: 0x73,
        uuid: 0x180f,
        attribute: Attribute { name: "level", handle: 0x71, uuid: 0x2a19, flags: &["read", "notify"], value: &[80] },
    },
];

/// All characteristics that the peripheral can have.
pub(crate) fn attributes() -> impl Iterator<Item = &'static Attribute> {
    static ALL: [Attribute; 7] = ATTRIBUTES;
    static ADDED: [Addition; 2] = ADDITIONS;
    ALL.iter().chain(ADDED.iter().map(|addition| &addition.attribute))
}

/// A UUID by its last part, or an assigned one.
pub(crate) fn uuid(part: u16) -> Uuid {
    if part >= 0x1800 { Uuid::short(part) } else { Uuid::from_bits(UUID_BASE | u128::from(part)) }
}

/// Names of objects, and their paths below the device.
pub(crate) const PATHS: [(&str, &str); 14] = [
    ("service", "service0040"),
    ("readable", "service0040/char0041"),
    ("note", "service0040/char0041/desc0043"),
    ("writable", "service0040/char0044"),
    ("stream", "service0040/char0046"),
    ("stream-ccc", "service0040/char0046/desc0048"),
    ("alarm", "service0040/char0049"),
    ("alarm-ccc", "service0040/char0049/desc004b"),
    ("secret", "service0040/char004c"),
    ("long", "service0040/char004e"),
    ("mixed", "service0040/char0050"),
    ("mixed-ccc", "service0040/char0050/desc0052"),
    ("extra", "service0060/char0061"),
    ("level", "service0070/char0071"),
];

/// What the script wants of the peripheral.
///
/// | line | meaning |
/// |---|---|
/// | `p advertises`, `p hides` | it can be found and connected to, or not |
/// | `p notifies NAME BYTES` | those who have subscribed are told; an indication where there is no notification |
/// | `p disconnects` | it ends the connection |
/// | `p vanishes`, `p returns` | its radio is switched off, and on |
/// | `p refuses NAME 0x80`, `p takes NAME` | reads and writes fail with this error from now on, or no more |
/// | `p holds NAME`, `p releases NAME` | it lets requests wait, and answers them |
/// | `p refuses pairing`, `p takes pairing` | as it says |
/// | `p holds pairing`, `p releases pairing` | its user thinks about it |
/// | `p adds a service`, `p adds a battery` | it has more to offer: [`ADDITIONS`] |
/// | `p takes the service away` | or no more |
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    Advertise(bool),
    Notify(String, Vec<u8>),
    Disconnect,
    Power(bool),
    Refuse(String, Option<u8>),
    Hold(String),
    Release(String),
    Pairing(bool),
    Add(String, bool),
}

impl Order {
    pub(crate) fn parse(verb: &str, rest: &str) -> Result<Self, String> {
        Ok(match (verb, rest) {
            ("advertises", "") => Self::Advertise(true),
            ("hides", "") => Self::Advertise(false),
            ("notifies", _) => {
                let (name, bytes) = rest.split_once(' ').unwrap_or((rest, ""));
                Self::Notify(name.to_owned(), value::bytes(bytes)?)
            }
            ("disconnects", "") => Self::Disconnect,
            ("vanishes", "") => Self::Power(false),
            ("returns", "") => Self::Power(true),
            ("refuses", "pairing") => Self::Pairing(false),
            ("takes", "pairing") => Self::Pairing(true),
            ("adds", _) => Self::Add(rest.strip_prefix("a ").ok_or("adds what?")?.to_owned(), true),
            ("takes", _) if rest.starts_with("the ") => {
                let name = rest.strip_prefix("the ").and_then(|rest| rest.strip_suffix(" away"));
                Self::Add(name.ok_or("takes what away?")?.to_owned(), false)
            }
            ("refuses", _) => {
                let (name, code) = rest.split_once(" 0x").ok_or("refuses what with which error?")?;
                let code = u8::from_str_radix(code, 16).map_err(|_| "no error code")?;
                Self::Refuse(name.to_owned(), Some(code))
            }
            ("takes", name) => Self::Refuse(name.to_owned(), None),
            ("holds", name) => Self::Hold(name.to_owned()),
            ("releases", name) => Self::Release(name.to_owned()),
            _ => return Err(format!("the peripheral cannot do that: {verb}")),
        })
    }
}

/// The peripheral.
#[derive(Debug)]
pub(crate) struct Peripheral {
    values: BTreeMap<&'static str, Vec<u8>>,
    refused: BTreeMap<String, u8>,
    held: BTreeSet<String>,
    pub(crate) pairs: bool,
    /// It has a display.
    pub(crate) shows: bool,
    /// What it shows.
    pub(crate) passkey: Option<u32>,
    /// Lines of the transcript.
    pub(crate) log: Vec<String>,
    changed: Rc<Notify>,
}

/// As it is shared by script and carrier.
pub(crate) type Shared = Rc<RefCell<Peripheral>>;

impl Peripheral {
    pub(crate) fn new(changed: Rc<Notify>, shows: bool) -> Self {
        let value = |attribute: &Attribute| (attribute.name, attribute.value.to_vec());
        let mut values: BTreeMap<_, _> = attributes().map(value).collect();
        values.insert("note", b"a note".to_vec());
        Self {
            values,
            refused: BTreeMap::new(),
            held: BTreeSet::new(),
            pairs: true,
            shows,
            passkey: None,
            log: Vec::new(),
            changed,
        }
    }

    /// What every carrier does the same; whether that was all.
    pub(crate) fn order(&mut self, order: &Order) -> bool {
        match order {
            Order::Refuse(name, Some(code)) => _ = self.refused.insert(name.clone(), *code),
            Order::Refuse(name, None) => _ = self.refused.remove(name),
            Order::Hold(name) => _ = self.held.insert(name.clone()),
            Order::Pairing(pairs) => {
                self.pairs = *pairs;
                return false;
            }
            Order::Release(name) => {
                self.held.remove(name);
                return false;
            }
            _ => return false,
        }
        true
    }

    pub(crate) fn is_held(&self, name: &str) -> bool {
        self.held.contains(name)
    }

    /// A value from an offset, or an error of the Attribute Protocol.
    pub(crate) fn read(&self, name: &str, offset: u16) -> Result<Vec<u8>, u8> {
        if let Some(code) = self.refused.get(name) {
            return Err(*code);
        }
        let value = self.values.get(name).map(Vec::as_slice).unwrap_or_default();
        value.get(usize::from(offset)..).map(<[u8]>::to_vec).ok_or(0x07)
    }

    pub(crate) fn write(&mut self, name: &'static str, offset: u16, value: &[u8]) -> Result<(), u8> {
        let at = if offset == 0 { String::new() } else { format!(" from {offset}") };
        // By which kind of write, bluetoothd does not tell its servers.
        self.say(format!("{name} is written{at}: {}", value::show_bytes(value)));
        if let Some(code) = self.refused.get(name) {
            return Err(*code);
        }
        let known = self.values.entry(name).or_default();
        known.truncate(usize::from(offset));
        known.extend(value);
        Ok(())
    }

    /// A passkey is on its display.
    pub(crate) fn show(&mut self, passkey: u32) {
        self.passkey = Some(passkey);
        self.say("shows a passkey".into());
    }

    pub(crate) fn say(&mut self, line: String) {
        self.log.push(line);
        self.changed.notify_waiters();
        self.changed.notify_one();
    }
}
