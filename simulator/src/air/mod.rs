//! What carries bytes between an initiator and the target.
//!
//! An air only carries: what is lost, late or doubled is decided by the world and recorded there.

mod serial;
mod udp;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::world::{Carrier, Peer};

pub use serial::{SerialAir, SerialPort};
pub use udp::UdpAir;

/// Where a target is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A socket.
    Socket(SocketAddr),
    /// A serial port.
    Port(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Port(path) => path.display().fmt(f),
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
        }
    }

    /// What the world is told of it.
    #[must_use]
    pub fn carrier(&self) -> Carrier {
        match self {
            Self::Udp(_) => Carrier::Network,
            Self::Serial(_) => Carrier::Console,
        }
    }

    /// What arrives next, and from whom. Dropping the future loses nothing.
    ///
    /// # Errors
    /// From the operating system.
    pub async fn receive(&mut self) -> io::Result<(Peer, &[u8])> {
        match self {
            Self::Udp(air) => air.receive().await,
            Self::Serial(air) => air.receive().await,
        }
    }

    /// What has arrived already, and from whom.
    pub fn poll(&mut self) -> Option<(Peer, &[u8])> {
        match self {
            Self::Udp(air) => air.poll(),
            Self::Serial(air) => air.poll(),
        }
    }

    /// Sends; how many bytes were lost because there is no room for them.
    pub async fn send(&self, peer: Peer, bytes: &[u8]) -> usize {
        match self {
            Self::Udp(air) => {
                air.send(peer, bytes).await;
                0
            }
            Self::Serial(air) => air.send(bytes),
        }
    }

    /// Says whether the target is there.
    ///
    /// # Errors
    /// From the operating system, when a port cannot come back.
    pub fn set_present(&mut self, present: bool) -> io::Result<()> {
        match self {
            Self::Udp(_) => Ok(()),
            Self::Serial(air) => air.set_present(present),
        }
    }
}
