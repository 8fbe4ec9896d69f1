//! What the server reads of an image, beside what a bootloader reads as fields.

use brickproof_flash_model::boot::mcuboot::{Pair, Slot};
use brickproof_flash_model::image::mcuboot::{ImageHeader, tlv};
use brickproof_flash_model::sweep::mcuboot::fields;
use brickproof_flash_model::sweep::{FieldKind, FieldSpan, Region};

/// The fields of a bootloader, the headers of all TLVs, and hashes; sorted by device and start.
pub(super) fn all(pair: &Pair, images: &[&[u8]], regions: &[Region]) -> Vec<FieldSpan> {
    let mut all = fields::fields(pair, images);
    for slot in Slot::ALL {
        let area = pair.area(slot);
        let name = regions.iter().find(|region| region.area == area).map_or("a slot", |region| region.name);
        for begin in [0, pair.upload_offset(slot)] {
            let spans = images.iter().flat_map(|image| tlvs(image)).map(|(start, len)| {
                let start = area.offset + begin + start;
                FieldSpan { device: area.device, start, end: start + len, kind: FieldKind::TlvInfo, name }
            });
            all.extend(spans);
        }
    }
    all.sort_by_key(|field| (field.device, field.start, field.end));
    all.dedup();
    all
}

/// Offset and length in the image of the header of each TLV, and of the hash.
fn tlvs(image: &[u8]) -> Vec<(u32, u32)> {
    let begin = image.first_chunk().and_then(|header| ImageHeader::parse(header).hashed_len());
    let Some(begin) = begin.and_then(|begin| usize::try_from(begin).ok()) else { return Vec::new() };
    let word = |at: usize| Some(u16::from_le_bytes([*image.get(at)?, *image.get(at + 1)?]));
    let mut spans = Vec::new();
    let mut at = begin + 4;
    let end = begin + word(begin + 2).map_or(0, usize::from);
    while at + 4 <= end {
        let (Some(kind), Some(len)) = (word(at), word(at + 2)) else { break };
        spans.push((at as u32, 4));
        if kind == tlv::SHA256 {
            spans.push((at as u32 + 4, len.into()));
        }
        at += 4 + usize::from(len);
    }
    spans
}
