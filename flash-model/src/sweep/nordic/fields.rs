//! Where the bootloader reads more than hashes.

use crate::boot::nordic::Nordic;
use crate::flash::Area;
use crate::sweep::{FieldKind, FieldSpan, Region};

/// Where the parts of the settings end: CRC, MBR record, numbers, init packet, CRC, boot validations, peer data, name.
const SETTINGS_ENDS: [u32; 8] = [0x04, 0x10, 0x5c, 0x25c, 0x260, 0x324, 0x364, 0x380];

/// The settings and their backup, and the information structs of the SoftDevices that begin at these addresses.
pub(super) fn fields(nordic: &Nordic, softdevices: &[u32]) -> Vec<FieldSpan> {
    let map = nordic.map();
    let mut fields = Vec::new();
    let mut add = |start: u32, end: u32, name: &'static str| {
        fields.push(FieldSpan { device: map.device(), start, end, kind: FieldKind::Part, name });
    };
    for (page, name) in [(map.settings(), SETTINGS), (map.params(), BACKUP)] {
        let mut at = 0;
        for end in SETTINGS_ENDS {
            add(page.offset + at, page.offset + end, name);
            at = end;
        }
    }
    for base in softdevices {
        add(base + 0x2000, base + 0x2018, "a SoftDevice");
    }
    fields.sort_by_key(|field| (field.device, field.start));
    fields
}

const SETTINGS: &str = "the settings page";
const BACKUP: &str = "the backup of the settings";

/// What the parts of the flash are called; `bank_0` and `bank_1` are where they begin.
pub(super) fn regions(nordic: &Nordic, bank_0: u32, bank_1: u32) -> Vec<Region> {
    let map = nordic.map();
    let area = |from: u32, to: u32| Area { device: map.device(), offset: from, len: to.saturating_sub(from) };
    vec![
        Region { area: map.settings(), name: SETTINGS },
        Region { area: map.params(), name: BACKUP },
        Region { area: map.bootloader(), name: "the bootloader area" },
        Region { area: area(crate::boot::nordic::MBR_SIZE, bank_0), name: "the SoftDevice" },
        Region { area: area(bank_0, bank_1), name: "bank 0" },
        Region { area: area(bank_1, nordic.region_end()), name: "bank 1" },
    ]
}
