//! Virtual Bluetooth LE controllers, and the air between them.
//!
//! An [`Ether`] owns controllers and virtual time. Hosts give it HCI commands and data ([`Ether::host_packet`]), time
//! passes when it is told to ([`Ether::advance`]), and what the controllers have to say is taken from it
//! ([`Ether::take`]). It has no clock, no I/O and no randomness of its own: the same seed, the same packets at the same
//! times, and the same packets come out. [`vhci`] is the edge: each controller behind `/dev/vhci`, where the Linux kernel
//! takes it for hardware.
//!
//! What BlueZ's own emulator (`btvirt`) lacks is what this is for: links that keep time. A connection has events at its
//! interval; packets take as long as their physical layer and length say; lost ones are sent again; and an end that
//! hears nothing gives up after the supervision timeout, with the reason 0x08. A controller that is reset, closed or
//! silenced says nothing to its peers: that is what a power loss is on the air.
//!
//! | where | what | source (Core specification 5.2) |
//! |---|---|---|
//! | `commands` | every command, answered once | volume 4, part E, section 7 |
//! | `advertising`, `scanning`, `initiating` | advertising events, who hears them | volume 6, part B, 4.4 |
//! | `link` | connection events, acknowledgements, supervision, control procedures | volume 6, part B, 4.5 and 5.1 |
//! | `link/phy` | air time | volume 6, part B, 2 |
//!
//! Left out: BR/EDR, periodic advertising, isochronous channels, direction finding, the encryption of bytes (only its
//! procedures are there, [`Ether`] hears everything), the rotation of private addresses, LE Ping.

mod address;
mod advertising;
mod codec;
mod commands;
mod ether;
mod host;
mod initiating;
mod link;
mod opcode;
mod random;
mod scanning;
mod status;
pub mod vhci;

pub use address::Address;
pub use ether::{Ether, Settings};
pub use random::Random;
