//! Where the bootloader reads more than checksums.

use crate::boot::gecko::Gecko;
use crate::flash::Area;
use crate::image::gbl::ApplicationProperties;
use crate::sweep::{FieldKind, FieldSpan, Region};

const APPLICATION: &str = "the application";
const BOOTLOADER: &str = "the bootloader area";
const VERSIONS: &str = "the versions that were started";
/// Bytes of these, at the end of the bootloader area: six versions, the highest there is, and that they are to be forgotten.
const VERSIONS_LEN: u32 = 8 * 4;
const STAGED: &str = "the staged bootloader";
/// Where a vector table points to the properties, and the length of that.
const PROPERTIES_POINTER: (u32, u32) = (52, 4);

/// Where parts of the properties end: magic, version, type and place of the signature, application, the rest.
const PROPERTIES_ENDS: [u32; 6] = [16, 20, 24, 28, 56, ApplicationProperties::LEN as u32];

/// Where the parts of the properties of an image are, from its start, and their length.
fn properties(image: &[u8], base: u32) -> Vec<(u32, u32)> {
    let found = ApplicationProperties::read(image, base);
    let Some(start) = found.and_then(|found| found.address.checked_sub(base)) else { return Vec::new() };
    let starts = std::iter::once(0).chain(PROPERTIES_ENDS);
    starts.zip(PROPERTIES_ENDS).map(|(from, to)| (start.saturating_add(from), to - from)).collect()
}

/// The words of a vector table that are looked at, and the properties, of the application, of the bootloader, and of one that
/// is put aside. The images say where their properties are. `staged`: there is a bootloader in the file; without one nothing
/// reads where one would be put aside, which is in the middle of a longer application.
pub(super) fn fields(gecko: &Gecko, applications: &[&[u8]], bootloaders: &[&[u8]], staged: bool) -> Vec<FieldSpan> {
    let map = gecko.map();
    let mut fields = Vec::new();
    let mut add = |base: u32, (offset, len): (u32, u32), kind: FieldKind, name: &'static str| {
        if let Some((area, at)) = base.checked_add(offset).and_then(|address| map.place(address, len)) {
            let start = area.offset + at;
            fields.push(FieldSpan { device: area.device, start, end: start + len, kind, name });
        }
    };
    let application = map.application_start();
    add(application, (0, 4), FieldKind::Part, APPLICATION);
    add(application, (4, 4), FieldKind::Pointer, APPLICATION);
    add(application, PROPERTIES_POINTER, FieldKind::Part, APPLICATION);
    for found in applications.iter().flat_map(|image| properties(image, application)) {
        add(application, found, FieldKind::Part, APPLICATION);
    }
    let bootloader = map.main_stage();
    let aside = staged.then_some((gecko.upgrade_location(), STAGED));
    for (base, name) in std::iter::once((bootloader, BOOTLOADER)).chain(aside) {
        add(base, PROPERTIES_POINTER, FieldKind::Part, name);
        for found in bootloaders.iter().flat_map(|image| properties(image, bootloader)) {
            add(base, found, FieldKind::Part, name);
        }
    }
    if gecko.options().rollback_protection {
        let versions = map.bootloader().1.saturating_sub(VERSIONS_LEN);
        for word in (0..VERSIONS_LEN).step_by(4) {
            add(bootloader, (versions + word, 4), FieldKind::Number, VERSIONS);
        }
    }
    fields.sort_by_key(|field| (field.device, field.start));
    fields.dedup_by_key(|field| (field.device, field.start));
    fields
}

/// What the parts of the flash are called; `staged`: there is a bootloader in the file.
pub(super) fn regions(gecko: &Gecko, staged: bool) -> Vec<Region> {
    let map = gecko.map();
    let mut regions = Vec::new();
    let mut add = |address: u32, len: u32, name: &'static str| {
        if let Some((area, offset)) = map.place(address, len) {
            regions.push(Region { area: Area { offset: area.offset + offset, len, ..area }, name });
        }
    };
    let (bootloader, len) = map.bootloader();
    add(bootloader, len, BOOTLOADER);
    if staged {
        add(gecko.upgrade_location(), len, STAGED);
    }
    add(map.application_start() + 4, 4, "the program counter of the application");
    for slot in map.slots() {
        add(slot.address, slot.len, "the slot");
    }
    add(map.application_start(), map.application_len(), APPLICATION);
    regions
}
