//! A DFU package from anybody: read within its limits, verified, and written so that it reads the same.
#![no_main]

use brickproof_flash_model::image::nordic::package_error::{ENTRIES_MAX, UNPACKED_MAX};
use brickproof_flash_model::image::nordic::{Package, Sabotage};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let package = match Package::read("fuzz.zip", bytes) {
        Ok(package) => package,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let unpacked: usize = package.images.iter().map(|image| image.init.len() + image.firmware.len()).sum();
    assert!(unpacked as u64 <= UNPACKED_MAX && package.images.len() <= ENTRIES_MAX);
    let _ = package.verify("fuzz.zip");
    // A manifest may name one file twice, which is not written.
    if let Ok(written) = package.write("fuzz.zip") {
        assert_eq!(Package::read("fuzz.zip", &written).as_ref(), Ok(&package));
    }
    for image in &package.images {
        for sabotage in Sabotage::ALL {
            let _ = sabotage.apply(image, None);
        }
    }
});
