//! Which flash devices a board has and what lies where.
//!
//! A layout is a TOML file:
//!
//! ```toml
//! schema = 1
//! name = "my-board"
//!
//! [[device]]
//! name = "internal"
//! sectors = [[4, 16384], [1, 65536]]  # [count, bytes], from offset 0 upwards
//! program-unit = 4                    # bytes, 1 to 32
//! erased-value = 0xff                 # default
//! base = 0x08000000                   # address of offset 0 in HEX files, default 0
//! overwrite = "refuse"                # or "combine" (default): programming a unit twice
//! endurance = 10000                   # erase cycles of a sector, default unlimited
//!
//! [[partition]]
//! name = "bootloader"
//! device = "internal"
//! offset = 0x0
//! size = 0x4000
//! protected = true                    # default false
//! ```

mod file;

use crate::flash::{Area, Flash, Geometry};
use crate::source::Mistake;

/// One flash device of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSpec {
    /// Its name, unique in the layout.
    pub name: String,
    /// Address of its first byte in HEX files.
    pub base: u32,
    /// Sectors and rules.
    pub geometry: Geometry,
}

/// A named region of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its name, unique in the layout: `primary`, `secondary`, `bootloader`, ...
    pub name: String,
    /// Where it is.
    pub area: Area,
    /// Whether the device refuses to change it.
    pub protected: bool,
}

/// Flash devices and partitions of a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Its name.
    pub name: String,
    /// The devices; [`Area::device`] is an index into them.
    pub devices: Vec<DeviceSpec>,
    /// The partitions, in the order of the file.
    pub partitions: Vec<Partition>,
}

impl Layout {
    /// Reads a layout; `file` names it in mistakes.
    ///
    /// # Errors
    /// A [`Mistake`] with line and column: syntax, unknown keys, impossible geometry, partitions
    /// that overlap, do not fit their device or do not start at a sector.
    pub fn parse(file: &str, text: &str) -> Result<Self, Mistake> {
        file::parse(file, text)
    }

    /// A bundled layout.
    ///
    /// # Errors
    /// A [`Mistake`] that lists the names there are.
    pub fn preset(name: &str) -> Result<Self, Mistake> {
        match PRESETS.iter().find(|(preset, _)| *preset == name) {
            Some((_, text)) => Self::parse(&format!("preset {name}"), text),
            None => Err(Mistake::new(format!("layout `{name}`"), "there is no such preset")
                .remedy(format!("one of: {}", preset_names().collect::<Vec<_>>().join(", ")))),
        }
    }

    /// The region of the partition `name`.
    #[must_use]
    pub fn area(&self, name: &str) -> Option<Area> {
        self.partitions.iter().find(|partition| partition.name == name).map(|partition| partition.area)
    }

    /// The flash of such a board, erased.
    #[must_use]
    pub fn blank_flash(&self) -> Flash {
        Flash::new(self.devices.iter().map(|device| device.geometry.clone()).collect())
    }
}

/// Names of the bundled layouts.
pub fn preset_names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

macro_rules! presets {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../presets/", $name, ".toml")))),+]
    };
}

/// `nrf52840`, `nrf5340`, `nrf5340-two-images` and `stm32f429` are the bundled boards; `mcuboot-sim-nrf52840` is what MCUboot's own simulator uses for
/// that chip; the rest are the layouts that the behaviour of the real MCUboot was recorded on. `nordic` in a name: a layout for the Secure DFU bootloader of the nRF5 SDK.
/// `nordic-legacy` and `adafruit`: one for a Legacy DFU bootloader. `efr32` and `gecko`: one for a Gecko bootloader.
const PRESETS: &[(&str, &str)] = presets![
    "nrf52840",
    "nrf5340",
    "nrf5340-two-images",
    "stm32f429",
    "mcuboot-sim-nrf52840",
    "nrf24-a4",
    "nrf24-a8",
    "k64f-a8",
    "stm32-a4",
    "k64fbig-a8",
    "u1k32-a4",
    "small8-a4",
    "small8s2-a8",
    "uneq9-8-a4",
    "uneq8-9-a4",
    "tiny4-a4",
    "one1s2-a4",
    "nrf52840-nordic-s140",
    "nrf52832-nordic-s132",
    "nordic24",
    "nrf52832-nordic-legacy-s132",
    "nrf52840-adafruit-s140",
    "nordic-legacy17",
    "gecko40-apploader",
    "gecko40-storage",
    "gecko64-series-1",
    "efr32xg22-apploader",
    "efr32xg24-storage",
    "efr32xg13-apploader",
    "efr32xg13-storage",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_reads_and_is_named_as_listed() {
        for name in preset_names() {
            let layout = Layout::preset(name).unwrap();
            assert_eq!(layout.name, name);
            let mcuboot = layout.area("primary").is_some() && layout.area("secondary").is_some();
            assert!(mcuboot || layout.area("settings").is_some() || layout.area("application").is_some());
        }
    }

    #[test]
    fn nrf52840_is_as_documented() {
        let layout = Layout::preset("nrf52840").unwrap();
        assert_eq!(layout.area("primary"), Some(Area { device: 0, offset: 0xc000, len: 0x60000 }));
        assert_eq!(layout.area("secondary"), Some(Area { device: 0, offset: 0x6c000, len: 0x60000 }));
        assert_eq!(layout.devices[0].geometry.len(), 1 << 20);
        assert_eq!(layout.devices[0].geometry.protected()[0].range, 0..0xc000);
    }

    fn mistake(text: &str) -> String {
        Layout::parse("board.toml", text).unwrap_err().to_string()
    }

    const DEVICE: &str =
        "schema = 1\nname = \"x\"\n[[device]]\nname = \"internal\"\nsectors = [[8, 4096]]\nprogram-unit = 4\n";

    #[test]
    fn mistakes_are_explained() {
        let partition = |name: &str, offset: u32, size: u32| {
            format!("[[partition]]\nname = \"{name}\"\ndevice = \"internal\"\noffset = {offset:#x}\nsize = {size:#x}\n")
        };
        let mut all = String::new();
        for text in [
            "schema = 2\nname = \"x\"\n".to_owned(),
            "schema = 1\nnam = \"x\"\n".to_owned(),
            DEVICE.replace("= 4\n", "= 3\n"),
            format!("{DEVICE}{}", partition("primary", 0x1800, 0x1000)),
            format!("{DEVICE}{}", partition("primary", 0x1000, 0x10000)),
            format!("{DEVICE}{}{}", partition("primary", 0x1000, 0x2000), partition("secondary", 0x2000, 0x1000)),
            format!("{DEVICE}{}", partition("primary", 0, 0x1000).replace("internal", "external")),
            format!("{DEVICE}{}{}", partition("primary", 0, 0x1000), partition("primary", 0x1000, 0x1000)),
        ] {
            all.push_str(&mistake(&text));
            all.push_str("\n\n");
        }
        insta::assert_snapshot!(all);
    }
}
