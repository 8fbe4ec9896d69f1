//! A dump as Intel HEX.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let _ = brickproof::cli::read_hex(file);
});
