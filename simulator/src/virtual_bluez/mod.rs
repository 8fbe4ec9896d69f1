//! A virtual BlueZ: a private D-Bus socket that answers as the bus and as `org.bluez`.
//!
//! A program that looks for Bluetooth LE devices through BlueZ is started with the address of this bus in
//! `DBUS_SYSTEM_BUS_ADDRESS`, and cannot tell the difference: no kernel Bluetooth, no adapter, no `bluetoothd`, no
//! `dbus-daemon`, no root. Whoever plays a peripheral attaches it, and is told what centrals do:
//!
//! ```no_run
//! use brickproof_simulator::gatt::{Address, AddressKind, Advertisement, CentralAction, GattEvent};
//! use brickproof_simulator::virtual_bluez::{Options, PortEvent, VirtualBluez};
//!
//! # async fn play() -> std::io::Result<()> {
//! // Inside of a tokio `LocalSet`.
//! let bus = VirtualBluez::start(std::path::Path::new("/tmp/run"), &Options::default())?;
//! println!("DBUS_SYSTEM_BUS_ADDRESS={}", bus.address());
//! let mut port = bus.attach(false);
//! port.advertise(Some(Advertisement::new(Address([0xc0, 0xff, 0xee, 0, 0, 1]), AddressKind::Random)));
//! loop {
//!     match port.next().await {
//!         PortEvent::Action(central, CentralAction::Connect) => port.tell(central, GattEvent::Connected),
//!         PortEvent::Action(central, action) => println!("central {central}: {action:?}"),
//!         PortEvent::Note(note) => println!("{note:?}"),
//!     }
//! }
//! # }
//! ```
//!
//! | module | what it does | does I/O |
//! |---|---|---|
//! | [`bus`] | the bus: names, match rules, routing; `bus::socket` its connections | only `bus::socket` |
//! | [`daemon`] | `org.bluez`: adapters, devices, attributes, agents | no |
//! | `port` | a peripheral's end | channels |
//! | `server` | the one task that owns bus and daemon | yes |
//! | `sockets` | the socket pairs of `AcquireWrite` and `AcquireNotify` | yes |
//!
//! Nothing here knows a firmware update: only [`crate::gatt`] is used of the rest.

pub mod bus;
pub mod daemon;
mod port;
mod server;
mod sockets;

pub use port::{Central, Note, PeripheralId, Port, PortEvent, PortInput};
pub use server::{Options, VirtualBluez};
