//! Update images: parse, verify, build, sign, break on purpose.

pub mod mcuboot;
pub mod nordic;
