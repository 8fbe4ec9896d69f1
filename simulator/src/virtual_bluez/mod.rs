//! A virtual BlueZ: a private D-Bus socket that answers as the bus and as `org.bluez`.

pub mod bus;
mod port;
mod server;

pub use port::{Central, Note, PeripheralId, Port, PortEvent, PortInput};
pub use server::{Options, VirtualBluez};
