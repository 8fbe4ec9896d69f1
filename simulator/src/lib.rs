//! The half of a device that lives while power is on, and everything around it.
//!
//! # Layers
//!
//! * [`device`]: what is soldered ([`device::Board`]), what survives a power loss
//!   ([`device::Persistent`]) and what runs in between ([`device::Device`]). Knows no clock.
//! * [`smp`]: the protocol server, bytes in, bytes and effects out, and the codecs it shares with
//!   initiators. Knows no transport.
//! * [`nordic`]: the same for Nordic's nRF5 SDK: Secure DFU, Legacy DFU, the ways into them.
//! * [`silabs`]: the same for Silicon Labs' EFR32: the AppLoader and the way into it, applications that store what comes in a
//!   slot.
//! * [`world`]: the one owner of device, link, time, faults and trace. Is told the time, never asks.
//! * [`gatt`]: what a central and a peripheral say to each other, as values.
//! * [`virtual_bluez`]: a D-Bus socket that programs take for BlueZ. Knows only [`gatt`].
//! * [`bluez`]: the real BlueZ: a peripheral on an adapter of this machine. Knows only [`gatt`].
//! * [`controller`]: Bluetooth LE controllers, and the air between them, for a host that is real. Knows nothing else.
//! * [`air`]: what carries bytes to an initiator: UDP, serial ports, the virtual and the real BlueZ. Knows nothing of what they mean.
//! * [`trace`]: the one stream of everything that happened, which everybody reads.
//!
//! Only [`air`], [`bluez`], [`controller::vhci`] and the edges of [`virtual_bluez`] do I/O. A world steps the same under a
//! test, a virtual clock and a real one.

pub mod air;
pub mod bluez;
pub mod controller;
pub mod device;
pub mod gatt;
pub mod nordic;
pub mod silabs;
pub mod smp;
pub mod trace;
pub mod virtual_bluez;
pub mod world;
