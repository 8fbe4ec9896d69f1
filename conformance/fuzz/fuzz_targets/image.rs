//! An image file: taken apart, verified, broken further.
#![no_main]

use brickproof_flash_model::image::mcuboot::{SigningKey, Verifier, inspect};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let _ = inspect(&file);
    let key = SigningKey::from_seed(b"fuzz").expect("a key");
    let verifier = Verifier::new(vec![key.public().clone()]);
    let _ = verifier.verify(&file, u32::try_from(file.len()).unwrap_or(u32::MAX));
    let _ = Verifier::default().verify(&file, 4096);
});
