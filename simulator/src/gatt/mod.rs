//! The Generic Attribute Profile between a central and a peripheral: what both sides say, as values.
//!
//! | module | what it holds |
//! |---|---|
//! | [`uuid`] | UUIDs, short and long |
//! | [`table`] | the attributes of a peripheral: services, characteristics, descriptors |
//! | [`advertisement`] | what a peripheral shows of itself without a connection |
//! | [`link`] | what a central does, and what it is told |
//! | [`security`] | how well a link is protected, and how pairing gets there |
//!
//! Nothing here knows a device, a protocol on top, a clock or a socket. A world plays the peripheral, a virtual
//! BlueZ or the built-in initiator the central; this is all they know of each other.

pub mod advertisement;
pub mod link;
pub mod security;
pub mod table;
pub mod uuid;

pub use advertisement::{Address, AddressKind, Advertisement};
pub use link::{AttError, CentralAction, ConnectionParameters, GattEvent, WriteKind, opcode};
pub use security::{IoCapability, Method, PairingAnswer, PairingAsk, PairingFailure, Security};
pub use table::{Characteristic, Descriptor, Properties, Service, Table};
pub use uuid::Uuid;

/// Smallest ATT MTU, in force on every new connection.
pub const MTU_MIN: u16 = 23;
/// Largest ATT MTU that is of use: an attribute has at most 512 bytes.
pub const MTU_MAX: u16 = 517;
/// Bytes of a write or a notification that are not value: opcode and handle.
pub const ATT_OVERHEAD: u16 = 3;
/// Longest value of an attribute in bytes (Core specification, volume 3, part F, 3.2.9).
pub const VALUE_MAX: usize = 512;
