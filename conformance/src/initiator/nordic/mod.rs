//! The built-in initiator for Nordic's protocols.
//!
//! | module | what it holds |
//! |---|---|
//! | [`link`] | [`Link`](link::Link): what it needs of a Bluetooth LE central |
//! | [`world_link`] | that central on virtual time |
//! | [`policy`] | [`DfuPolicy`](policy::DfuPolicy): its decisions, one method each |
//! | [`channel`] | requests, packets and responses, over Bluetooth LE or a serial line |
//! | [`serial`] | a serial line, and a package over it |
//! | [`session`] | one image by Secure DFU |
//! | [`buttonless`] | from an application into its bootloader |
//! | [`update`] | a whole package |
//! | [`legacy`] | all of that for Legacy DFU |

pub mod buttonless;
pub mod channel;
pub mod legacy;
pub mod link;
pub mod policy;
pub mod serial;
pub mod session;
pub mod update;
pub mod world_link;
