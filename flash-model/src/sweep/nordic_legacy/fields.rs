//! Where the bootloader reads more than checksums.

use crate::boot::nordic_legacy::settings::SETTINGS_SIZE;
use crate::boot::nordic_legacy::{MBR_SIZE, NordicLegacy};
use crate::flash::Area;
use crate::sweep::{FieldKind, FieldSpan, Region};

const SETTINGS: &str = "the settings page";
const RECORD: &str = "the note of the MBR";

/// The words of the settings, the note of the MBR, the vectors of the bootloader, the information struct of the SoftDevice,
/// and the first words of a bank 0 that begins at one of `banks`.
pub(super) fn fields(legacy: &NordicLegacy, banks: &[u32]) -> Vec<FieldSpan> {
    let map = legacy.map();
    let mut fields = Vec::new();
    let mut add = |start: u32, end: u32, name: &'static str| {
        fields.push(FieldSpan { device: map.device(), start, end, kind: FieldKind::Part, name });
    };
    let settings = map.settings().offset;
    for word in (0..SETTINGS_SIZE as u32).step_by(4) {
        add(settings + word, settings + word + 4, SETTINGS);
    }
    add(map.params().offset, map.params().offset + 16, RECORD);
    add(map.bootloader().offset, map.bootloader().offset + 8, "the bootloader");
    add(MBR_SIZE + 0x2000, MBR_SIZE + 0x2018, "the SoftDevice");
    for bank in banks {
        add(*bank, bank + 8, "bank 0");
    }
    fields.sort_by_key(|field| (field.device, field.start));
    fields.dedup_by_key(|field| field.start);
    fields
}

/// What the parts of the flash are called; `bank_0` and `bank_1` are where they begin.
pub(super) fn regions(legacy: &NordicLegacy, bank_0: u32, bank_1: u32) -> Vec<Region> {
    let map = legacy.map();
    let area = |from: u32, to: u32| Area { device: map.device(), offset: from, len: to.saturating_sub(from) };
    let mut regions = vec![
        Region { area: map.settings(), name: SETTINGS },
        Region { area: map.params(), name: "the parameters page of the MBR" },
        Region { area: map.bootloader(), name: "the bootloader area" },
        Region { area: area(MBR_SIZE, bank_0), name: "the SoftDevice" },
    ];
    if legacy.options().single_bank {
        regions.push(Region { area: area(bank_0, legacy.region_end()), name: "bank 0" });
    } else {
        regions.push(Region { area: area(bank_0, bank_1), name: "bank 0" });
        regions.push(Region { area: area(bank_1, legacy.region_end()), name: "bank 1" });
    }
    regions
}
