//! Whether firmware, init packet and manifest of an image agree.

use super::codes::HashType;
use super::init_packet::InitPacket;
use super::legacy::LegacyInitPacket;
use super::manifest::InitPacketData;
use super::package::PackageImage;
use super::package_error::PackageFault;
use super::sign::image_hash;

pub(super) fn secure(image: &PackageImage) -> Vec<PackageFault> {
    let command = match InitPacket::parse(&image.init) {
        Ok(packet) => packet.command,
        Err(error) => return vec![PackageFault::InitPacket(error.to_string())],
    };
    let mut faults = Vec::new();
    let found = image.firmware.len();
    match command.fw_type {
        Some(fw_type) if image.kind.takes(fw_type) => {}
        fw_type => {
            let found = fw_type.map_or_else(|| "none".to_owned(), |fw_type| fw_type.to_string());
            faults.push(PackageFault::Type { found, key: image.kind.key() });
        }
    }
    let announced = command.image_size().unwrap_or(0);
    if usize::try_from(announced) != Ok(found) || found == 0 {
        faults.push(PackageFault::FirmwareSize { announced, found });
    }
    let hash = image_hash(&image.firmware);
    if !command.hash.is_some_and(|found| found.kind == HashType::Sha256 && found.bytes == hash) {
        faults.push(PackageFault::FirmwareHash);
    }
    let sizes = image.entry.part_sizes();
    if sizes.is_some_and(|sizes| command.sd_size != Some(sizes.sd_size) || command.bl_size != Some(sizes.bl_size)) {
        faults.push(PackageFault::Metadata("sizes"));
    }
    faults
}

pub(super) fn legacy(image: &PackageImage) -> Vec<PackageFault> {
    let packet = match LegacyInitPacket::parse(&image.init) {
        Ok(packet) => packet,
        Err(error) => return vec![PackageFault::InitPacket(error.to_string())],
    };
    let mut faults = Vec::new();
    if packet.extension.matches(&image.firmware) != Some(true) {
        faults.push(PackageFault::FirmwareHash);
    }
    let sizes = image.entry.part_sizes();
    let sum = sizes.map(|sizes| sizes.sd_size.saturating_add(sizes.bl_size));
    if let Some(announced) = sum.filter(|sum| usize::try_from(*sum) != Ok(image.firmware.len())) {
        faults.push(PackageFault::FirmwareSize { announced, found: image.firmware.len() });
    }
    let said = image.entry.init_packet_data.as_ref();
    if said.is_some_and(|said| !said.agrees_with(&InitPacketData::of(&packet))) {
        faults.push(PackageFault::Metadata("init packet data"));
    }
    faults
}
