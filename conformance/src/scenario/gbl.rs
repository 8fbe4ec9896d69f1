//! The images of a scenario for an EFR32: an application that is installed, and a GBL file.
//!
//! ```toml
//! [images]
//! installed = { version = 1, size = "64 KiB" }
//! update = { version = 2, size = "96 KiB" }    # the application of the file
//! # contents = "application", "bootloader" or "bootloader-application"
//! # bootloader = { size = "8 KiB" }
//! # key = "production"         # signs it, instead of the key that the target trusts
//! # broken = "crc"             # flash-model, image/gbl/sabotage.rs
//! # file = "application.gbl"
//! # gbl = { .. }               # all of it may be left out:
//! #   compression = "lzma"     # or "lz4"
//! #   encrypted = true         # with the key of the target; left out: where the target asks for it
//! #   signed = false           # left out: where the target asks for it, or `key` is there
//! #   certificate = 1          # of this version; the key of a product then signs the file
//! #   product = 7              # it is for another product
//! #   base = 0x0801_4000       # made for this address, and not for that of the target
//! #   dependency = "application >= 2"   # see below
//! #   bootloader-version = "2.6.0"       # left out: the next minor version
//! ```
//!
//! A version dependency is `application`, `bootloader` or `se`, one of `<`, `<=`, `==`, `>=`, `>`, and a version that has to
//! run so: a number, of a bootloader three.

use brickproof_flash_model::image::gbl::content::bootloader_version;
use brickproof_flash_model::image::gbl::{
    ApplicationData, Certificate, Compression, Content, FirmwareBuilder, Gbl, GblBuilder, Sabotage, SabotageKeys,
    TagKind,
};
use brickproof_flash_model::image::mcuboot::SigningKey;
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::source::Mistake;
use brickproof_simulator::silabs::KnownApplication;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Image, ImageOrigin, ImageSpec, SignedWith, Version, own_gbl};
use crate::target::SilabsTarget;

/// Most bytes that the programs of a file unpack to.
pub const UNPACKED_MAX: usize = 4 << 20;
/// Bytes of a bootloader in a file, where nobody says.
const BOOTLOADER_SIZE: u32 = 0x2000;

/// What an image is as a GBL file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GblSpec {
    compression: Option<CompressionEntry>,
    encrypted: Option<bool>,
    signed: Option<bool>,
    certificate: Option<u32>,
    product: Option<u8>,
    base: Option<u32>,
    dependency: Option<String>,
    bootloader_version: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CompressionEntry {
    Lz4,
    Lzma,
}

/// Makes or reads an image of a scenario for an EFR32.
pub(super) fn prepare(
    role: &'static str,
    spec: &ImageSpec,
    own: &SilabsTarget,
    layout: &Layout,
    scenario: &str,
) -> Result<Image, Mistake> {
    let what = format!("image `{role}` of {scenario}");
    let start = own.gecko(layout)?.map().application_start();
    if role == "installed" {
        return installed(spec, own, layout, start, &what);
    }
    let good = match &spec.origin {
        ImageOrigin::File(path) => {
            let file = path.display().to_string();
            let bytes = std::fs::read(path).map_err(|error| Mistake::new(&file, error.to_string()).remedy(&what))?;
            if spec.broken.is_none() {
                Gbl::read(&bytes).map_err(|error| Mistake::new(&file, error.to_string()))?;
            }
            bytes
        }
        ImageOrigin::Made { version, size } => {
            let version = number(*version, &what)?;
            made(spec, own, layout, version, *size).map_err(|message| Mistake::new(&what, message))?
        }
    };
    let image = image(role, &good, own);
    let Some(broken) = spec.broken else { return Ok(image) };
    let sabotage = broken.gbl.ok_or_else(|| {
        Mistake::new(&what, "a GBL file is not broken so").remedy(Sabotage::ALL.map(Sabotage::name).join(", "))
    })?;
    let (signing, encryption) = (signer(spec, own)?, own.encryption_key());
    let keys = SabotageKeys { signing: Some(&signing), encryption: encryption.as_ref() };
    let bytes = sabotage.apply(&good, keys).map_err(|error| Mistake::new(&what, error.to_string()))?;
    Ok(Image { sha256: Sha256::digest(&bytes).into(), bytes, ..image })
}

/// What an EFR32 is to recognize of the images of a scenario.
#[must_use]
pub fn known<'a>(images: impl Iterator<Item = &'a Image>) -> Vec<KnownApplication> {
    images.filter_map(|image| image.known.clone()).collect()
}

/// The application that is on the device from the start: no file, but what is in its flash.
fn installed(spec: &ImageSpec, own: &SilabsTarget, layout: &Layout, start: u32, what: &str) -> Result<Image, Mistake> {
    let (bytes, version) = match &spec.origin {
        ImageOrigin::Made { version, size } => {
            let version = number(*version, what)?;
            let firmware = FirmwareBuilder::new(start).size(*size as usize).version(version);
            (protected(&firmware, own).map_err(|message| Mistake::new(what, message))?, version)
        }
        ImageOrigin::File(path) => (own_gbl::application(path, own, layout, start, what)?, 0),
    };
    let known = KnownApplication::new(&[(start, bytes.clone())]);
    Ok(Image {
        role: "installed",
        sha256: Sha256::digest(&bytes).into(),
        tlv_hash: Some(known.hash()),
        version: Some(Version::Number(version)),
        known: Some(known),
        bytes,
    })
}

/// Firmware, signed where the target wants that.
pub(crate) fn protected(firmware: &FirmwareBuilder, own: &SilabsTarget) -> Result<Vec<u8>, String> {
    if !own.options().secure_boot {
        return Ok(firmware.build());
    }
    let key = own.signing_key(None).map_err(|mistake| mistake.to_string())?;
    firmware.sign(&key).map_err(|error| error.to_string())
}

fn number(version: Version, what: &str) -> Result<u32, Mistake> {
    match version {
        Version::Number(number) => Ok(number),
        Version::Semantic(version) => Err(Mistake::new(what, format!("`{version}` is a version of MCUboot's"))
            .remedy("a number, without quotation marks: the target is an EFR32")),
    }
}

/// The image that a file is.
fn image(role: &'static str, bytes: &[u8], own: &SilabsTarget) -> Image {
    let gbl = Gbl::read(bytes).ok();
    let key = own.encryption_key();
    let programs = gbl.as_ref().and_then(|gbl| gbl.programs(key.as_ref(), UNPACKED_MAX).ok());
    let known = programs.filter(|programs| !programs.is_empty()).map(|programs| KnownApplication::new(&programs));
    let version = gbl.as_ref().and_then(|gbl| application_info(gbl, own)).map(|info| Version::Number(info.version));
    Image {
        role,
        sha256: Sha256::digest(bytes).into(),
        tlv_hash: known.as_ref().map(KnownApplication::hash),
        version,
        known,
        bytes: bytes.to_vec(),
    }
}

/// What a file says of its application.
#[must_use]
fn application_info(gbl: &Gbl<'_>, own: &SilabsTarget) -> Option<ApplicationData> {
    let of = |content: Content<'_>| match content {
        Content::Application(data) => Some(data),
        _ => None,
    };
    if let Some(tag) = gbl.tag(TagKind::Application) {
        return gbl.content(tag).ok().and_then(of);
    }
    let inside = gbl.decrypt(&own.encryption_key()?).ok()?;
    let tag = inside.tags().iter().find(|tag| tag.kind == Some(TagKind::Application))?;
    inside.content(tag).ok().and_then(of)
}

/// What signs a file.
fn signer(spec: &ImageSpec, own: &SilabsTarget) -> Result<SigningKey, Mistake> {
    // Behind a certificate it is the key that the certificate is of.
    let product = spec.gbl.certificate.map(|_| true).or(spec.key.map(|key| key == SignedWith::Production));
    own.signing_key(product)
}

fn made(spec: &ImageSpec, own: &SilabsTarget, layout: &Layout, version: u32, size: u32) -> Result<Vec<u8>, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let gecko = own.gecko(layout).map_err(|mistake| mistake.to_string())?;
    let gbl = &spec.gbl;
    let mut builder = GblBuilder::new();
    if let Some(text) = &gbl.dependency {
        builder = builder.dependency(text.parse()?);
    }
    let contents = spec.package.contents;
    if contents.has_softdevice() {
        return Err(
            "a GBL file has no SoftDevice: `contents` is application, bootloader or bootloader-application".into()
        );
    }
    if contents.has_bootloader() {
        // Left out: the next minor version.
        let version = match &gbl.bootloader_version {
            None => own.bootloader_version().saturating_add(1 << 16),
            Some(words) => bootloader_version(words)?,
        };
        let size = spec.package.bootloader.size().unwrap_or(BOOTLOADER_SIZE) as usize;
        let image = own.bootloader(&gecko, version, size);
        let image = image.get(..image.len().saturating_sub(4)).unwrap_or_default();
        builder = builder.bootloader(version, gecko.map().main_stage(), image);
    }
    if contents.has_application() {
        let base = gbl.base.unwrap_or(gecko.map().application_start());
        let mut firmware = FirmwareBuilder::new(base).size(size as usize).version(version);
        if let Some(product) = gbl.product {
            firmware = firmware.product_id([product; 16]);
        }
        let data = firmware.data();
        let image = protected(&firmware, own)?;
        builder = match gbl.compression {
            None => builder.firmware(base, &image),
            Some(compression) => {
                let compression = match compression {
                    CompressionEntry::Lz4 => Compression::Lz4,
                    CompressionEntry::Lzma => Compression::Lzma,
                };
                let packed = builder.application(&data).compressed_program(compression, base, &image);
                packed.map_err(|error| words(&error))?
            }
        };
    }
    if gbl.encrypted.unwrap_or(own.options().require_encrypted) {
        let key = own.encryption_key().ok_or("the target has no key to decrypt with: `encryption-key`")?;
        // The same each time, and another one for each file.
        let mut nonce = [0; 12];
        let digest = Sha256::digest([version.to_le_bytes(), size.to_le_bytes()].concat());
        nonce.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        builder = builder.encrypt(&key, nonce);
    }
    let key = signer(spec, own).map_err(|mistake| mistake.to_string())?;
    if let Some(version) = gbl.certificate {
        let issuer = own.signing_key(None).map_err(|mistake| mistake.to_string())?;
        let certificate = Certificate::new(key.public(), version, &issuer).map_err(|error| words(&error))?;
        builder = builder.certificate(certificate);
    }
    let asked = own.options().require_signed || spec.key.is_some() || gbl.certificate.is_some();
    let file = if gbl.signed.unwrap_or(asked) { builder.sign(&key) } else { builder.unsigned() };
    file.map_err(|error| words(&error))
}
