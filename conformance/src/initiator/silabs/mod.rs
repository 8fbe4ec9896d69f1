//! The built-in initiator for Silicon Labs' OTA.
//!
//! | module | what it holds |
//! |---|---|
//! | [`policy`] | [`SilabsPolicy`](policy::SilabsPolicy): its decisions, one method each |
//! | [`files`] | what is looked at before a device is |
//! | [`upload`] | one file to a device that takes it |
//! | [`update`] | all files: the way into the AppLoader, and again after what went wrong |

pub mod files;
pub mod policy;
pub mod update;
pub mod upload;
