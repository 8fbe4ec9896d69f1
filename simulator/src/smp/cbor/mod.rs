//! CBOR as SMP uses it.
//!
//! [`Writer`] writes maps of definite or indefinite length. [`MapReader`] reads a request body the way
//! the server does (zcbor 0.7 and `zcbor_bulk.c`): only a map, keys in any order, unknown keys skipped
//! with their values, a known key twice or with the wrong type refused, numbers of at most 32 bits
//! unless a handler asks for 64. Which malformed bodies are refused is part of what a server is, so a
//! general reader would not do.

mod reader;
mod writer;

pub use reader::{Malformed, MapReader, Type, Value, command_line};
pub use writer::{MapEncoding, Writer};

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const LIST: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;
const INDEFINITE: u8 = 31;
const BREAK: u8 = 0xff;
