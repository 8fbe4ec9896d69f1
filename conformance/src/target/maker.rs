//! Images that a target accepts.

use brickproof_flash_model::image::mcuboot::{ImageBuilder, ImageVersion, SignatureType, SigningKey};

/// Makes images for a target: signed as its bootloader wants, with a security counter if it demands one.
#[derive(Debug, Clone)]
pub struct ImageMaker {
    pub(super) key: SigningKey,
    pub(super) counted: bool,
}

impl ImageMaker {
    /// An image with a generated payload of this many bytes.
    ///
    /// A security counter is what `imgtool sign --security-counter auto` makes of the version.
    ///
    /// # Errors
    /// Why it could not be signed.
    pub fn image(&self, version: ImageVersion, payload: usize) -> Result<Vec<u8>, String> {
        let builder = ImageBuilder::new(version).generated_payload(payload);
        let builder = if self.counted { builder.security_counter(auto_counter(version)) } else { builder };
        builder.sign(&self.key).map_err(|error| error.to_string())
    }

    /// An image of about this total size in bytes: an ECDSA signature has 70 to 72.
    ///
    /// # Errors
    /// Why it could not be signed.
    pub fn image_of_size(&self, version: ImageVersion, size: u32) -> Result<Vec<u8>, String> {
        const HEADER: u32 = 0x200;
        const HASHES: u32 = 4 + 3 * 4 + 32 + 32;
        let signature = match self.key.public().signature_type() {
            SignatureType::EcdsaP256 => 72,
            SignatureType::Rsa2048 => 256,
            SignatureType::Rsa3072 => 384,
            SignatureType::Ed25519 => 64,
        };
        let counter = if self.counted { 4 + 4 + 4 } else { 0 };
        self.image(version, size.saturating_sub(HEADER + HASHES + signature + counter) as usize)
    }

    /// The key it signs with.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }
}

fn auto_counter(version: ImageVersion) -> u32 {
    u32::from(version.major) << 24 | u32::from(version.minor) << 16 | u32::from(version.revision)
}
