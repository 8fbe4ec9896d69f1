//! Update images: parse, verify, build, sign, break on purpose.

pub mod gbl;
pub mod mcuboot;
pub mod nordic;
mod sabotage;
