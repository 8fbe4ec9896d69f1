//! A dump as Intel HEX, or as S-records.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let _ = brickproof::cli::read_hex(file);
    let _ = brickproof::cli::read_srec(file);
});
