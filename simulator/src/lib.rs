//! The half of a device that lives while power is on, and everything around it.
//!
//! # Layers
//!
//! * [`device`]: what is soldered ([`device::Board`]), what survives a power loss
//!   ([`device::Persistent`]) and what runs in between ([`device::Device`]). Knows no clock.
//! * [`smp`]: the protocol server, bytes in, bytes and effects out, and the codecs it shares with
//!   initiators. Knows no transport.
//! * [`world`]: the one owner of device, link, time, faults and trace. Is told the time, never asks.
//! * [`air`]: what carries bytes to an initiator: UDP, serial ports. Knows nothing of what they mean.
//! * [`trace`]: the one stream of everything that happened, which everybody reads.
//!
//! Only [`air`] does I/O. A world steps the same under a test, a virtual clock and a real one.

pub mod air;
pub mod device;
pub mod gatt;
pub mod smp;
pub mod trace;
pub mod virtual_bluez;
pub mod world;
