//! The built-in initiator for Legacy DFU.
//!
//! | module | what it holds |
//! |---|---|
//! | [`policy`] | [`LegacyPolicy`](policy::LegacyPolicy): its decisions, one method each |
//! | [`update`] | a package over Bluetooth LE |
//! | [`serial`] | a package over a serial line with Adafruit's bootloader |

pub mod policy;
pub mod serial;
pub mod update;

use brickproof_flash_model::image::nordic::{ImageKind, Package, PackageImage};

/// Reads a package for Legacy DFU.
fn read(bytes: &[u8]) -> Result<Package, String> {
    let package = Package::read("the package", bytes).map_err(|error| error.to_string())?;
    if package.is_legacy() {
        Ok(package)
    } else {
        Err("the package is for Secure DFU: it has no init packets of Legacy DFU".into())
    }
}

/// The byte that says what is updated.
fn mode(image: &PackageImage) -> u8 {
    match image.kind {
        ImageKind::Softdevice => 1,
        ImageKind::Bootloader => 2,
        ImageKind::SoftdeviceBootloader => 3,
        ImageKind::Application => 4,
    }
}

/// Sizes of SoftDevice, bootloader and application.
fn sizes(image: &PackageImage) -> [u32; 3] {
    let len = u32::try_from(image.firmware.len()).unwrap_or(u32::MAX);
    match image.kind {
        ImageKind::Softdevice => [len, 0, 0],
        ImageKind::Bootloader => [0, len, 0],
        ImageKind::SoftdeviceBootloader => {
            let softdevice = image.entry.sd_size.unwrap_or(0);
            [softdevice, image.entry.bl_size.unwrap_or(len.saturating_sub(softdevice)), 0]
        }
        ImageKind::Application => [0, 0, len],
    }
}
