//! What carries bytes between an initiator and the target.
//!
//! An air only carries: what is lost, late or doubled is decided by the world and recorded there.

mod udp;

pub use udp::UdpAir;
