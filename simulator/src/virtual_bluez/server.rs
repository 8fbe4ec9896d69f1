//! The one task that owns bus and daemon, and the sockets around it.

use std::io;
use std::path::Path;

use super::port::Port;

/// How the virtual BlueZ is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Adapters (`hci0`, `hci1`, ...), at least 1.
    pub adapters: u8,
}

impl Default for Options {
    fn default() -> Self {
        Self { adapters: 1 }
    }
}

/// A running bus; dropping it ends it, and removes its socket.
#[derive(Debug)]
pub struct VirtualBluez {
    address: String,
}

impl VirtualBluez {
    /// Listens on the socket `bus` in `folder`; must be called inside of a tokio `LocalSet`.
    ///
    /// # Errors
    /// From the operating system; a path that is too long for a socket.
    pub fn start(_folder: &Path, _options: &Options) -> io::Result<Self> {
        Err(io::Error::other("not built yet"))
    }

    /// What goes into `DBUS_SYSTEM_BUS_ADDRESS`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Puts a peripheral on the air; `watching` ports are told what happens on the bus, too.
    #[must_use]
    pub fn attach(&self, _watching: bool) -> Port {
        unreachable!("not built yet")
    }
}
