//! What a device finds in what a file brings: programs and bootloaders.

use std::ops::Range;

use super::compress::{Compression, DEVICE_TRAILING, LzmaHeader, decompress};
use super::error::{Place, codes};
use super::tag::{Tag, TagKind};
use super::verify::Check;
use crate::image::nordic::crc32;

/// After so many programs that cannot be decompressed the rest is left alone.
const DECOMPRESS_FAULTS_MAX: u32 = 4;

/// What a file brings.
#[derive(Debug, Default)]
pub(super) struct Programs {
    /// Addresses of the programs.
    pub(super) ranges: Vec<(Range<u64>, Place)>,
    pub(super) has_application: bool,
    pub(super) has_bootloader: bool,
    pub(super) has_se: bool,
    pub(super) has_delta: bool,
    /// Whether bootloader or secure engine have the version that runs.
    pub(super) runs_already: bool,
}

impl Check<'_> {
    pub(super) fn bootloader(&mut self, tag: &Tag, version: u32, address: u32, image: &[u8]) {
        self.programs.has_bootloader = true;
        self.programs.runs_already |= self.device.running.is_some_and(|running| running.bootloader == version);
        if let Some(expected) = self.device.bootloader_address.filter(|expected| *expected != address) {
            let message =
                format!("a bootloader for {address:#x}, that of the device is at {expected:#x}: make it for this chip");
            self.error("bootloader-address", tag.place, Some(codes::UNEXPECTED), message);
        }
        let crc = image.split_last_chunk::<4>().map(|(image, crc)| crc32(image, 0) == u32::from_le_bytes(*crc));
        if crc != Some(true) {
            let message =
                "the bootloader does not end with its CRC-32: the device will not install it, make the file again";
            self.error("bootloader-crc", tag.place, None, message.to_owned());
        }
    }

    pub(super) fn aligned(&mut self, tag: &Tag, address: u32) {
        // Series 1 writes half words (`flash_writeBuffer`); what it refuses nobody hears of.
        let words = if self.device.series_2 { 4 } else { 2 };
        if !address.is_multiple_of(words) {
            let message = format!(
                "a program at {address:#x}, which is no multiple of {words}: the device programs nothing and reports success"
            );
            self.error("unaligned", tag.place, None, message);
        }
    }

    pub(super) fn program(&mut self, tag: &Tag, kind: TagKind, address: u32, data: &[u8]) {
        let len = match Compression::of(kind) {
            None => data.len(),
            Some(compression) => {
                if self.decompress_faults == DECOMPRESS_FAULTS_MAX {
                    return;
                }
                let found = decompress(compression, data, self.decompress_left);
                self.decompress_faults = self.decompress_faults.saturating_add(u32::from(found.is_err()));
                let memory =
                    (compression == Compression::Lzma).then(|| LzmaHeader::parse(data).ok()?.device_fault()).flatten();
                if let Some(fault) = memory.as_ref().or(found.as_ref().err()) {
                    let message = format!("{fault}; found when it is programmed, not before");
                    self.error(fault.id(), tag.place, fault.code(), message);
                }
                let Ok(found) = found else { return };
                self.decompress_left = self.decompress_left.saturating_sub(found.bytes.len());
                if found.trailing > DEVICE_TRAILING {
                    let message = format!("{} bytes behind the end marker: compress it again", found.trailing);
                    self.error("lzma-trailing", tag.place, Some(codes::COMPRESSION_DATALEN), message);
                } else if found.trailing > 0 {
                    let message = format!("{} bytes behind the end marker, which are left out", found.trailing);
                    self.warn("lzma-trailing", tag.place, message);
                }
                found.bytes.len()
            }
        };
        if len == 0 {
            return;
        }
        self.aligned(tag, address);
        let start = u64::from(address);
        let range = start..start.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        if let Some(area) = &self.device.application_area {
            let area = u64::from(area.start)..u64::from(area.end);
            // The last word is filled up.
            if range.start < area.start || range.end.next_multiple_of(4) > area.end {
                let message = format!(
                    "a program from {:#x} to {:#x}, applications are from {:#x} to {:#x}: the device leaves out what is \
                     outside and reports success, link it for this device",
                    range.start, range.end, area.start, area.end
                );
                self.error("outside-application", tag.place, None, message);
            }
        }
        self.programs.ranges.push((range, tag.place));
    }

    pub(super) fn programs_at_end(&mut self) {
        let ranges = std::mem::take(&mut self.programs.ranges);
        let mut sorted: Vec<_> = ranges.iter().collect();
        sorted.sort_by_key(|(range, _)| range.start);
        for pair in sorted.windows(2) {
            let [(before, _), (range, place)] = pair else { continue };
            if range.start < before.end {
                let message =
                    format!("a program at {:#x} is inside another one: the flash is programmed twice", range.start);
                self.warn("programs-overlap", *place, message);
            }
        }
        if let (Some(area), Some((_, place))) = (&self.device.application_area, sorted.first()) {
            let start = u64::from(area.start);
            if !sorted.iter().any(|(range, _)| range.contains(&start)) && !self.programs.has_delta {
                let message =
                    format!("no program at {start:#x}, where the vectors of the application are: it will not start");
                self.warn("no-vectors", *place, message);
            }
        }
        self.programs.ranges = ranges;
    }
}
