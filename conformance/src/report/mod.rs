//! Reports: the terminal and JSON.

pub mod json;
pub mod terminal;
