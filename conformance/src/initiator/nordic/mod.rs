//! The built-in initiator for Nordic's protocols.
//!
//! | module | what it holds |
//! |---|---|
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
pub mod policy;
pub mod serial;
pub mod session;
pub mod update;
