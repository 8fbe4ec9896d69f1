//! The section, from text to options.

use super::*;

fn read(section: &str) -> Result<ServerConfig, Mistake> {
    read_with("nrf52840", section)
}

fn read_with(layout: &str, section: &str) -> Result<ServerConfig, Mistake> {
    #[derive(Deserialize)]
    struct File {
        smp: Smp,
    }
    let file: File = toml::from_str(section).map_err(|error| Mistake::from_toml("target.toml", section, &error))?;
    let layout = Layout::preset(layout).unwrap();
    file.smp.config(&Profile { file: "target.toml", text: section, layout: &layout, mode: "overwrite-only-fast" })
}

#[test]
fn nothing_said_is_the_default_with_the_mode_of_the_bootloader() {
    let expected = ServerConfig { bootloader: BootloaderMode::OverwriteOnly, ..ServerConfig::default() };
    assert_eq!(read("[smp]").unwrap(), expected);
}

#[test]
fn the_documented_section_is_read() {
    let page = include_str!("smp.rs");
    let start = page.find("//! ```toml\n").unwrap() + "//! ```toml\n".len();
    let end = start + page[start..].find("//! ```\n").unwrap();
    let section: Vec<_> = page[start..end].lines().map(|line| line.trim_start_matches("//!").trim_start()).collect();
    let config = read(&section.join("\n")).unwrap();
    assert_eq!(config.settings.unwrap().values["app/key"], [0, 0xff]);
    assert_eq!(config.files.unwrap().files["/lfs1/notes.txt"], b"text");
    assert_eq!(config.reset_hook, Some(10));
    assert_eq!(config.vendor.len(), 1);
    assert_eq!(config.task_statistics.unwrap().tasks[0].stack, Some((1024, 300)));
}

#[test]
fn vendor_answers() {
    let config = read("[[smp.vendor]]\ngroup = 65\ncommand = 2\nop = \"write\"\nerr = 7").unwrap();
    let expected = VendorCommand { group: 65, command: 2, op: Op::Write, answer: CannedAnswer::Error(7) };
    assert_eq!(config.vendor, [expected]);
}

#[test]
fn mistakes_name_place_and_remedy() {
    for (section, words) in [
        ("[smp]\nzephyr = \"new\"", "no Zephyr release"),
        ("[smp]\nbuffer-size = 63", "at least 64 bytes"),
        ("[smp]\nbuffer-count = 1", "at least 2 buffers"),
        ("[smp]\nimages = 2", "slots for 1 images"),
        ("[smp]\nmode = \"swap\"", "one of single-slot, swap-scratch"),
        ("[smp]\nrefuse-reset = 0", "is a success"),
        ("[smp]\nwrite-block = 33", "multiple of 32"),
        ("[smp]\nfrugal = true", "unknown field"),
        ("[smp.settings]\nvalues = { \"a/b\" = { bytes-hex = \"0\" } }", "not hexadecimal"),
        ("[smp.settings]\nvalues = { \"a/b\" = { bytes-hex = \"+1\" } }", "not hexadecimal"),
        ("[smp.files]\nmount = \"lfs\"", "no mount point"),
        ("[smp.files]\ncontent = { \"/other/x\" = \"\" }", "not in `/lfs1`"),
        ("[[smp.vendor]]\ngroup = 64\ncommand = 0\nop = \"read\"", "has one answer"),
        ("[[smp.vendor]]\ngroup = 64\ncommand = 0\nop = \"read\"\nanswer = { a = 1.5 }", "an answer holds"),
    ] {
        let said = read(section).unwrap_err().to_string();
        assert!(said.contains(words) && said.contains("target.toml:"), "{section}: {said}");
    }
    let said = read_with("tiny4-a4", "[smp]\nstorage-erase = true").unwrap_err().to_string();
    assert!(said.contains("no partition `storage`"), "{said}");
}
