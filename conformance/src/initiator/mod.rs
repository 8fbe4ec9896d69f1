//! Initiators: the built-in one, and external tools driven by a profile.
//!
//! | module | what it holds |
//! |---|---|
//! | [`wire`] | [`Wire`](wire::Wire): what the built-in initiator needs of the world around it |
//! | [`policy`] | [`Policy`](policy::Policy): its decisions, one method each |
//! | [`session`] | requests and their answers |
//! | [`update`] | the whole update as straight-line code |
//! | [`link_policy`] | [`LinkPolicy`](link_policy::LinkPolicy): its decisions about a Bluetooth LE link |
//! | [`link`] | [`Link`](link::Link): what it needs of a Bluetooth LE central, where that is not SMP |
//! | [`world_link`] | that central on virtual time |
//! | [`nordic`] | all of that for Nordic's protocols |
//! | [`silabs`] | the same for Silicon Labs' OTA |
//! | [`ble`] | a wire over a Bluetooth LE link on virtual time |
//! | [`in_process`], [`udp`], [`serial`] | the wires: function calls on virtual time, a socket or a port on real time |
//!
//! The built-in initiator is a well-behaved client. Mutants change it at three seams: a
//! [`Policy`](policy::Policy) decides something else, a wire changes what it carries, a
//! [`Reporter`](policy::Reporter) lies about the outcome.

pub mod ble;
pub mod bluez;
pub mod in_process;
pub mod link;
pub mod link_policy;
pub mod nordic;
pub mod personality;
pub mod policy;
pub mod serial;
pub mod session;
pub mod silabs;
pub mod udp;
pub mod update;
pub mod wire;
pub mod world_link;
