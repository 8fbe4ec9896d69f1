//! The image in a slot.

use serde::Serialize;

use super::{bytes, erased_value, hex, raw};
use crate::boot::mcuboot::{Mcuboot, Pair, Slot};
use crate::flash::{Area, Flash};
use crate::image::mcuboot::{
    IMAGE_MAGIC, ImageError, ImageHeader, ImageInfo, inspect, known_development_key, tlv, words,
};

/// What is in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Contents {
    /// All bytes below the trailer are erased.
    Empty,
    /// Something without the header of an image.
    Unknown {
        /// Its first bytes.
        begins: String,
    },
    /// An image header.
    Image(Box<ImageText>),
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageText {
    /// Its version.
    pub version: String,
    /// Where in the slot it begins: an update for swap-offset one sector behind the start.
    #[serde(skip_serializing_if = "is_zero")]
    pub begins: u32,
    /// Header, payload and TLVs in bytes; header and payload, when the TLVs cannot be read.
    pub size: u32,
    /// Offset of the payload in bytes.
    pub header_size: u16,
    /// Payload in bytes.
    pub payload: u32,
    /// Address it is linked for; 0 where it does not say.
    pub load_address: u32,
    /// Header flags in words.
    pub flags: Vec<String>,
    /// The hash that names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Its TLVs.
    pub tlvs: Vec<TlvText>,
    /// Who signed it.
    pub signature: String,
    /// Signed with a key that everybody has.
    pub debug_key: bool,
    /// Whether the bootloader accepts it.
    pub valid: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A TLV.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlvText {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: u16,
    /// The name of the type in MCUboot.
    pub name: &'static str,
    /// What the type is for.
    pub meaning: &'static str,
    /// Whether it is under the hash.
    pub protected: bool,
    /// Its value in hexadecimal.
    pub value: String,
    /// What the value says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Whether a TLV type is a signature.
fn is_signature(kind: u16) -> bool {
    matches!(kind, 0x20..=0x24)
}

pub(super) fn contents(pair: &Pair, slot: Slot, mcuboot: &Mcuboot, flash: &Flash) -> Contents {
    let area = pair.area(slot);
    let begins = pair.image_offset(flash, slot);
    let source = pair.image_source(flash, slot);
    let Ok(header) = ImageHeader::read(&source) else { return Contents::Empty };
    if header.magic != IMAGE_MAGIC {
        let body = area.len - pair.trailer(slot).len();
        let erased = erased_value(flash, area);
        if bytes(flash, area, 0, body).iter().all(|byte| *byte == erased) {
            return Contents::Empty;
        }
        return Contents::Unknown { begins: raw(&bytes(flash, area, 0, 16)) };
    }
    let info = inspect(&source).ok();
    let verified = pair.verify(flash, slot);
    let swapping = super::trailer::progress(pair, flash).is_some();
    let (signature, debug_key) = signature(info.as_ref(), verified.as_ref().err(), mcuboot);
    let tlvs = info.as_ref().map_or(&[][..], |info| &info.tlvs).iter();
    Contents::Image(Box::new(ImageText {
        version: header.version.to_string(),
        begins,
        size: info.as_ref().map_or(header.tlv_offset().unwrap_or(u32::MAX), |info| info.total_len),
        header_size: header.header_size,
        payload: header.image_size,
        load_address: header.load_address,
        flags: words::header_flags(header.flags),
        hash: info.as_ref().and_then(|info| info.hash).map(|hash| hex(&hash)),
        tlvs: tlvs.map(|(kind, protected, value)| tlv_text(*kind, *protected, value)).collect(),
        signature,
        debug_key,
        valid: verified.is_ok(),
        problem: verified.err().map(|error| match unfinished(flash, pair, slot, &header).filter(|_| !swapping) {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        }),
    }))
}

/// What is in the scratch area: parts of images, at most.
pub(super) fn scratch(area: Area, flash: &Flash) -> Contents {
    let erased = erased_value(flash, area);
    if bytes(flash, area, 0, area.len).iter().all(|byte| *byte == erased) {
        return Contents::Empty;
    }
    Contents::Unknown { begins: raw(&bytes(flash, area, 0, 16)) }
}

fn tlv_text(kind: u16, protected: bool, value: &[u8]) -> TlvText {
    TlvText {
        kind,
        name: tlv::name(kind),
        meaning: words::tlv_type(kind),
        protected,
        value: hex(value),
        says: words::tlv_value(kind, value),
    }
}

/// Who signed it, and whether with a key that everybody has.
fn signature(info: Option<&ImageInfo>, error: Option<&ImageError>, mcuboot: &Mcuboot) -> (String, bool) {
    let Some(info) = info else { return ("not to be found: the TLVs cannot be read".into(), false) };
    let mut key: Option<&[u8]> = None;
    let mut signed: Option<Option<&[u8]>> = None;
    for (kind, _, value) in &info.tlvs {
        if *kind == tlv::KEY_HASH {
            key = Some(value);
        } else if is_signature(*kind) {
            signed = Some(key.take());
        }
    }
    let keys = mcuboot.verifier().keys();
    let Some(signer) = signed else {
        let enough = if keys.is_empty() { ", and this bootloader asks for none" } else { "" };
        return (format!("none{enough}"), false);
    };
    let Some(signer) = signer else {
        return ("there is one, but no key hash before it: a bootloader does not look at it".into(), false);
    };
    let known = known_development_key(signer);
    let short = hex(&signer[..signer.len().min(4)]);
    let name = match &known {
        Some(file) => format!("key {short}... (a DEBUG KEY that everybody has: {file})"),
        None => format!("key {short}..."),
    };
    let trusted = !signer.is_empty() && keys.iter().any(|key| key.hash()[..].starts_with(signer));
    let text = match error {
        _ if keys.is_empty() => format!("by {name}; this bootloader checks none"),
        None => format!("valid, by {name}"),
        Some(_) if !trusted => format!("by {name}, which this bootloader does not trust"),
        Some(ImageError::SignatureInvalid) => format!("in the name of {name}, and not valid"),
        Some(_) => format!("by {name}; not checked, because the image already fails before"),
    };
    (text, known.is_some())
}

/// Says when the end of an image was never written: an upload or a copy that was not finished.
pub(super) fn unfinished(flash: &Flash, pair: &Pair, slot: Slot, header: &ImageHeader) -> Option<String> {
    let area = pair.image_source(flash, slot).area;
    let end = header.tlv_offset().filter(|end| *end < area.len)?;
    let erased = erased_value(flash, area);
    let body = bytes(flash, area, 0, end);
    let blank = body.iter().rev().take_while(|byte| **byte == erased).count();
    // A payload may well end with a few erased bytes.
    (blank >= 256).then(|| format!("its last {blank} bytes of {end} are erased, as after an unfinished write"))
}
