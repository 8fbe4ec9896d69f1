//! What carries bytes between an initiator and the target.
//!
//! An air only carries: what is lost, late or doubled is decided by the world and recorded there.

mod adapter;
mod bluez;
mod serial;
mod udp;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::bluez::Event;
use crate::gatt::Address;
use crate::trace::Kind;
use crate::virtual_bluez::PortEvent;
use crate::world::{Carrier, Peer, World};

pub use adapter::AdapterAir;
pub use bluez::BluezAir;
pub use serial::{SerialAir, SerialPort};
pub use udp::UdpAir;

/// Where a target is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A socket.
    Socket(SocketAddr),
    /// A serial port.
    Port(PathBuf),
    /// A Bluetooth address on a bus.
    Bus {
        /// The address of the device now; `None` before it has advertised for the first time.
        address: Option<Address>,
        /// What goes into `DBUS_SYSTEM_BUS_ADDRESS`.
        bus: String,
    },
    /// A Bluetooth address on the air.
    Adapter {
        /// The address of the adapter.
        address: Address,
        /// Its name, like `hci0`.
        adapter: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Port(path) => path.display().fmt(f),
            Self::Bus { address: Some(address), bus } => write!(f, "{address} on {bus}"),
            Self::Bus { address: None, bus } => bus.fmt(f),
            Self::Adapter { address, adapter } => write!(f, "{address} ({adapter})"),
        }
    }
}

/// One of the airs on real time.
#[derive(Debug)]
pub enum Air {
    /// UDP.
    Udp(UdpAir),
    /// A serial port.
    Serial(SerialAir),
    /// The virtual BlueZ.
    Bluez(BluezAir),
    /// An adapter of this machine, by the real BlueZ.
    Adapter(Box<AdapterAir>),
}

/// What has arrived at an air.
#[derive(Debug)]
pub enum Arrived<'a> {
    /// A packet, or bytes of a serial port, and from whom.
    Bytes(Peer, &'a [u8]),
    /// Something on the bus of the virtual BlueZ.
    Bus(PortEvent),
    /// Something on an adapter.
    Adapter(Event),
}

impl Arrived<'_> {
    /// Puts it into the world, whose clock stands at the time of arrival.
    pub fn deliver(self, world: &mut World) {
        match self {
            Self::Bytes(peer, bytes) => world.receive(peer, bytes),
            Self::Bus(event) => bluez::deliver(event, world),
            Self::Adapter(event) => adapter::deliver(event, world),
        }
    }
}

impl Air {
    /// Where the target is reached.
    ///
    /// # Errors
    /// From the operating system.
    pub fn place(&self) -> io::Result<Place> {
        match self {
            Self::Udp(air) => air.address().map(Place::Socket),
            Self::Serial(air) => Ok(Place::Port(air.path().to_path_buf())),
            Self::Bluez(air) => Ok(Place::Bus { address: air.address(), bus: air.bus().to_owned() }),
            Self::Adapter(air) => Ok(Place::Adapter { address: air.address(), adapter: air.adapter().to_owned() }),
        }
    }

    /// What the world is told of it.
    #[must_use]
    pub fn carrier(&self) -> Carrier {
        match self {
            Self::Udp(_) => Carrier::Network,
            Self::Bluez(_) => Carrier::Bluetooth,
            Self::Adapter(_) => Carrier::Adapter,
            Self::Serial(_) => Carrier::Console,
        }
    }

    /// Whether the next packet may be waited for without giving way: nothing else on this thread is needed for it.
    #[must_use]
    pub fn may_spin(&self) -> bool {
        !matches!(self, Self::Bluez(_) | Self::Adapter(_))
    }

    /// What arrives next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// From the operating system.
    pub async fn receive(&mut self) -> io::Result<Arrived<'_>> {
        let (peer, bytes) = match self {
            Self::Udp(air) => air.receive().await?,
            Self::Serial(air) => air.receive().await?,
            Self::Bluez(air) => return Ok(Arrived::Bus(air.next().await)),
            Self::Adapter(air) => return air.next().await.map(Arrived::Adapter),
        };
        Ok(Arrived::Bytes(peer, bytes))
    }

    /// What has arrived already.
    pub fn poll(&mut self) -> Option<Arrived<'_>> {
        let (peer, bytes) = match self {
            Self::Udp(air) => air.poll()?,
            Self::Serial(air) => air.poll()?,
            Self::Bluez(air) => return air.poll().map(Arrived::Bus),
            Self::Adapter(air) => return air.poll().map(Arrived::Adapter),
        };
        Some(Arrived::Bytes(peer, bytes))
    }

    /// Carries away what the target has sent by now, and shows whether it is there.
    pub async fn carry(&mut self, world: &mut World) {
        while let Some((peer, bytes)) = world.take_sent() {
            let lost = match self {
                Self::Udp(air) => {
                    air.send(peer, &bytes).await;
                    0
                }
                Self::Serial(air) => air.send(&bytes),
                Self::Bluez(_) | Self::Adapter(_) => 0,
            };
            if lost > 0 {
                // As on a line that nobody listens to.
                world.record(Kind::Resource {
                    pool: "serial port that nobody reads".into(),
                    size: bytes.len() as u64,
                    dropped: format!("{lost} bytes"),
                });
            }
        }
        match self {
            Self::Udp(_) => {}
            Self::Serial(air) => {
                if let Err(error) = air.set_present(world.serving()) {
                    world.record(Kind::Resource {
                        pool: "serial ports of this machine".into(),
                        size: 0,
                        dropped: format!("the port of the target: {error}"),
                    });
                }
            }
            Self::Bluez(air) => air.carry(world),
            Self::Adapter(air) => air.carry(world),
        }
    }

    /// Takes the target off the air; what is taken when an air is dropped needs no word.
    pub async fn close(self) {
        if let Self::Adapter(air) = self {
            air.close().await;
        }
    }
}
