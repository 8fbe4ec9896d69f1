//! Bootloaders: a boot is a function of the persistent state alone.
//!
//! A bootloader is straight-line code over a [`Controller`](crate::flash::Controller); a power loss
//! unwinds it through `?`. It keeps nothing between two boots, so a cut boot followed by another one
//! is exactly what a device does.

pub mod explanation;
pub mod gecko;
pub mod mcuboot;
pub mod nordic;
pub mod nordic_legacy;
pub mod report;
