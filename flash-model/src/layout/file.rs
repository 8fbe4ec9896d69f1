//! Reading a layout file.

use serde::Deserialize;
use toml::Spanned;

use super::{DeviceSpec, Layout, Partition};
use crate::flash::{Area, Geometry, Overwrite, ProtectedRegion, SectorRun};
use crate::source::Mistake;

/// Largest number of flash devices of a board.
const DEVICES_MAX: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    schema: Spanned<u32>,
    name: String,
    #[serde(default)]
    device: Vec<Spanned<DeviceEntry>>,
    #[serde(default)]
    partition: Vec<Spanned<PartitionEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct DeviceEntry {
    name: Spanned<String>,
    sectors: Spanned<Vec<(u32, u32)>>,
    program_unit: u32,
    #[serde(default = "erased_value")]
    erased_value: u8,
    #[serde(default)]
    base: u32,
    #[serde(default)]
    overwrite: OverwriteEntry,
    endurance: Option<u32>,
}

#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "kebab-case")]
enum OverwriteEntry {
    #[default]
    Combine,
    Refuse,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PartitionEntry {
    name: Spanned<String>,
    device: Spanned<String>,
    offset: Spanned<u32>,
    size: Spanned<u32>,
    #[serde(default)]
    protected: bool,
}

fn erased_value() -> u8 {
    0xff
}

pub(super) fn parse(file: &str, text: &str) -> Result<Layout, Mistake> {
    let read: File = toml::from_str(text).map_err(|error| Mistake::from_toml(file, text, &error))?;
    let mistake = |offset: usize, message: String| Mistake::new(file, message).at(text, offset);

    if *read.schema.get_ref() != 1 {
        return Err(mistake(read.schema.span().start, format!("schema {} is not known", read.schema.get_ref()))
            .remedy("this version reads schema = 1"));
    }
    if read.device.len() > DEVICES_MAX {
        return Err(Mistake::new(file, format!("at most {DEVICES_MAX} flash devices are modelled")));
    }
    let mut layout = Layout { name: read.name, devices: Vec::new(), partitions: Vec::new() };
    for entry in read.device {
        let place = entry.get_ref().sectors.span().start;
        let name = entry.get_ref().name.clone();
        if layout.devices.iter().any(|device| device.name == *name.get_ref()) {
            return Err(mistake(name.span().start, format!("a second device is named `{}`", name.get_ref())));
        }
        let geometry = geometry(entry.get_ref()).map_err(|message| mistake(place, message))?;
        layout.devices.push(DeviceSpec { name: name.into_inner(), base: entry.get_ref().base, geometry });
    }
    if layout.devices.is_empty() {
        return Err(Mistake::new(file, "a layout needs at least one [[device]]"));
    }
    for entry in read.partition {
        add_partition(&mut layout, &entry.into_inner(), &mistake)?;
    }
    Ok(layout)
}

fn geometry(entry: &DeviceEntry) -> Result<Geometry, String> {
    let runs: Vec<_> = entry.sectors.get_ref().iter().map(|&(count, size)| SectorRun { count, size }).collect();
    let geometry = Geometry::new(&runs, entry.program_unit, entry.erased_value).map_err(|error| error.to_string())?;
    let geometry = geometry.with_overwrite(match entry.overwrite {
        OverwriteEntry::Combine => Overwrite::Combine,
        OverwriteEntry::Refuse => Overwrite::Refuse,
    });
    Ok(match entry.endurance {
        Some(cycles) => geometry.with_endurance(cycles),
        None => geometry,
    })
}

fn add_partition(
    layout: &mut Layout,
    entry: &PartitionEntry,
    mistake: &dyn Fn(usize, String) -> Mistake,
) -> Result<(), Mistake> {
    let name = entry.name.get_ref();
    if layout.partitions.iter().any(|partition| partition.name == *name) {
        return Err(mistake(entry.name.span().start, format!("a second partition is named `{name}`")));
    }
    let Some(index) = layout.devices.iter().position(|device| device.name == *entry.device.get_ref()) else {
        let known: Vec<_> = layout.devices.iter().map(|device| device.name.as_str()).collect();
        return Err(mistake(entry.device.span().start, format!("there is no device `{}`", entry.device.get_ref()))
            .remedy(format!("one of: {}", known.join(", "))));
    };
    let device = &mut layout.devices[index];
    let (offset, size) = (*entry.offset.get_ref(), *entry.size.get_ref());
    let geometry = &device.geometry;
    let end = offset.checked_add(size).filter(|end| size > 0 && *end <= geometry.len());
    let Some(end) = end else {
        return Err(mistake(
            entry.size.span().start,
            format!(
                "`{name}` ({offset:#x}+{size:#x}) is not inside `{}`, which has {:#x} bytes",
                device.name,
                geometry.len()
            ),
        ));
    };
    let starts = geometry.sector_at(offset).is_some_and(|sector| sector.offset == offset);
    let ends = geometry.sector_at(end - 1).is_some_and(|sector| sector.end() == end);
    if !(starts && ends) {
        let sector = geometry.sector_at(if starts { end - 1 } else { offset });
        let hint =
            sector.map_or(String::new(), |sector| format!("there is a sector {:#x}+{:#x}", sector.offset, sector.size));
        return Err(mistake(
            if starts { entry.size.span().start } else { entry.offset.span().start },
            format!("`{name}` ({offset:#x}+{size:#x}) does not cover whole sectors"),
        )
        .remedy(hint));
    }
    let area = Area { device: u8::try_from(index).unwrap_or(u8::MAX), offset, len: size };
    let overlap =
        |other: &&Partition| other.area.device == area.device && other.area.offset < end && offset < other.area.end();
    if let Some(other) = layout.partitions.iter().find(overlap) {
        return Err(mistake(
            entry.offset.span().start,
            format!(
                "`{name}` ({offset:#x}+{size:#x}) overlaps `{}` ({:#x}+{:#x})",
                other.name, other.area.offset, other.area.len
            ),
        ));
    }
    if entry.protected {
        let region = ProtectedRegion { name: name.clone(), range: offset..end };
        device.geometry = device
            .geometry
            .clone()
            .with_protected(region)
            .map_err(|error| mistake(entry.offset.span().start, error.to_string()))?;
    }
    layout.partitions.push(Partition { name: name.clone(), area, protected: entry.protected });
    Ok(())
}
