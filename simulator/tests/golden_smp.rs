//! Agreement with the real Zephyr SMP server: every recorded answer and the flash behind it.
//!
//! Reads the folder named by `BRICKPROOF_GOLDEN_SMP`, or the recordings in `tests/golden`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Options, Slot};
use brickproof_flash_model::flash::{Area, Controller, Flash, Geometry, SectorRun, Uncut};
use brickproof_flash_model::image::mcuboot::Verifier;
use brickproof_flash_model::layout::{DeviceSpec, Layout, Partition};
use brickproof_simulator::smp::{Environment, Server, ServerConfig, ZephyrRelease};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Server builds that exist here.
const PROFILES: [&str; 2] = ["default384", "plain2475"];
/// Groups of sequences that exist here; of `os` only some commands.
const GROUPS: [&str; 11] = [
    "protocol",
    "state-read",
    "state-write",
    "upload-fields",
    "upload-full",
    "upload-mid",
    "upload-gate",
    "erase",
    "flow",
    "sizes",
    "os",
];
const OS_COMMANDS: [&str; 3] = ["os-echo", "os-params", "os-reset"];

#[test]
fn golden_smp_every_recorded_answer() {
    let golden = Golden::load();
    let (mut agree, mut pairs) = (0, 0);
    let mut not_built: BTreeMap<String, usize> = BTreeMap::new();
    let mut disagreements = Vec::new();
    for (group, sequence) in &golden.sequences {
        let id = text(&sequence["sequence"]);
        let profile = text(&sequence["profile"]);
        let built = PROFILES.contains(&profile)
            && GROUPS.contains(&group.as_str())
            && (group != "os" || OS_COMMANDS.iter().any(|command| id.starts_with(command)));
        if !built {
            *not_built.entry(format!("{group} of {profile}")).or_default() += 1;
            continue;
        }
        let mut device = Device::new(&golden, profile, &sequence["start"]);
        for step in list(&sequence["steps"]) {
            if step.get("request").is_none() {
                device.event(&golden, step);
                continue;
            }
            pairs += 1;
            match device.pair(step) {
                Ok(()) => agree += 1,
                Err(difference) => disagreements.push(format!("{id} step {}: {difference}", step["n"])),
            }
        }
    }
    println!("golden_smp: agree: {agree} of {pairs}");
    for (what, count) in not_built {
        println!("golden_smp: {count} sequences of {what}, which is not built yet");
    }
    assert!(pairs > 0, "no sequences of a profile that is built");
    assert!(disagreements.is_empty(), "{} answers disagree:\n{}", disagreements.len(), disagreements.join("\n"));
}

struct Golden {
    folder: PathBuf,
    profiles: Value,
    sequences: Vec<(String, Value)>,
}

impl Golden {
    fn load() -> Self {
        let folder = std::env::var_os("BRICKPROOF_GOLDEN_SMP")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/smp"), PathBuf::from);
        let profiles = json(&folder.join("profiles.json"));
        let mut files: Vec<_> = std::fs::read_dir(folder.join("sequences"))
            .expect("sequences")
            .map(|entry| entry.expect("directory entry").path())
            .collect();
        files.sort();
        let mut sequences = Vec::new();
        for file in files {
            let read = json(&file);
            for sequence in list(&read["sequences"]) {
                sequences.push((text(&read["group"]).to_owned(), sequence.clone()));
            }
        }
        Self { folder, profiles, sequences }
    }

    fn image(&self, name: &str) -> Vec<u8> {
        let path = self.folder.join("images").join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

struct Device {
    flash: Flash,
    mcuboot: Mcuboot,
    config: ServerConfig,
    server: Server,
    /// Milliseconds until an accepted reset happens.
    reset_in_ms: Option<u64>,
    gone: bool,
}

impl Device {
    fn new(golden: &Golden, profile: &str, start: &Value) -> Self {
        let flash = &golden.profiles["flash"];
        let slot =
            |name: &str| Area { device: 0, offset: number(&flash[name]["offset"]), len: number(&flash[name]["size"]) };
        let (slot0, slot1) = (slot("slot0"), slot("slot1"));
        // The recorded build knew a third slot, which stayed erased.
        let slot2 = Area { device: 0, offset: slot1.end(), len: slot1.len };
        let sector = number(&flash["erase_block"]);
        let runs = [SectorRun { count: slot2.end() / sector, size: sector }];
        let geometry = Geometry::new(&runs, number(&flash["write_block"]), 0xff).unwrap();
        let partition = |name: &str, area: Area| Partition { name: name.into(), area, protected: false };
        let layout = Layout {
            name: "recorded".into(),
            devices: vec![DeviceSpec { name: "internal".into(), base: 0, geometry }],
            partitions: vec![partition("primary", slot0), partition("secondary", slot1)],
        };
        let profile = &golden.profiles["profiles"][profile];
        let config = ServerConfig {
            buffer_size: number(&profile["buffer_size"]) as u16,
            buffer_count: number(&profile["buffer_count"]) as u8,
            zephyr: ZephyrRelease { major: 3, minor: 4 },
            other_slots: vec![slot2],
            ..ServerConfig::default()
        };
        let mcuboot = Mcuboot::new(&layout, Options::default(), Verifier::default()).unwrap();
        let mut device = Self {
            flash: layout.blank_flash(),
            mcuboot,
            server: Server::new(config.clone()),
            config,
            reset_in_ms: None,
            gone: false,
        };
        device.fill(golden, start);
        device
    }

    fn fill(&mut self, golden: &Golden, slots: &Value) {
        for (name, slot) in [("slot0", Slot::Primary), ("slot1", Slot::Secondary)] {
            let Some(content) = slots.get(name) else { continue };
            let area = self.mcuboot.area(slot);
            let mut bytes = vec![0xff; area.len as usize];
            if let Some(name) = content["image"].as_str() {
                let mut image = golden.image(name);
                if let Some(first) = content["first_bytes_only"].as_u64() {
                    image.truncate(first as usize);
                }
                bytes[..image.len()].copy_from_slice(&image);
            }
            if let Some(trailer) = content["trailer"]["last48_hex"].as_str() {
                let trailer = unhex(trailer);
                let at = bytes.len() - trailer.len();
                bytes[at..].copy_from_slice(&trailer);
            }
            self.flash.load(area, 0, &bytes).unwrap();
        }
    }

    fn event(&mut self, golden: &Golden, step: &Value) {
        match text(&step["event"]) {
            "wait" => {
                let ms = step["ms"].as_u64().expect("milliseconds");
                if self.reset_in_ms.is_some_and(|reset| reset <= ms) {
                    self.gone = true;
                }
            }
            "restart" => {
                self.server = Server::new(self.config.clone());
                self.gone = false;
                self.reset_in_ms = None;
                if let Some(slots) = step.get("flash_replaced") {
                    self.fill(golden, slots);
                }
                self.check_flash(&step["flash"]).unwrap();
            }
            other => panic!("unknown event {other}"),
        }
    }

    fn pair(&mut self, step: &Value) -> Result<(), String> {
        let request = unhex(text(&step["request"]["hex"]));
        let answers = self.answer(&request);
        let expected: Vec<String> =
            list(&step["responses"]).iter().map(|answer| text(&answer["hex"]).to_owned()).collect();
        let note = step["note"].as_str().unwrap_or_default();
        if answers != expected {
            return Err(format!(
                "{note}: request {}\n  ours     {answers:?}\n  recorded {expected:?}",
                text(&step["request"]["hex"])
            ));
        }
        match step.get("flash_after") {
            Some(flash) => self.check_flash(flash).map_err(|difference| format!("{note}: {difference}")),
            None => Ok(()),
        }
    }

    fn answer(&mut self, request: &[u8]) -> Vec<String> {
        if self.gone || !self.server.accepts(request) {
            return Vec::new();
        }
        let mut hook = Uncut;
        let mut flash = Controller::new(&mut self.flash, &mut hook);
        let mut environment =
            Environment { flash: &mut flash, mcuboot: &self.mcuboot, refuse_upload: None, refuse_confirm: None };
        let answer = self.server.handle(request, &mut environment).expect("nothing interrupts");
        if answer.reset {
            self.reset_in_ms = Some(self.config.reset_delay_us / 1000);
        }
        answer.packets.iter().map(|packet| hex(packet)).collect()
    }

    fn check_flash(&self, recorded: &Value) -> Result<(), String> {
        for (name, slot) in [("slot0", Slot::Primary), ("slot1", Slot::Secondary)] {
            let Some(recorded) = recorded.get(name) else { continue };
            let sha = hex(&Sha256::digest(self.flash.read_area(self.mcuboot.area(slot)).unwrap()));
            if sha != text(&recorded["sha256"]) {
                return Err(format!("{name} differs: ours {sha}, recorded {recorded}"));
            }
        }
        Ok(())
    }
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| number.try_into().ok()).expect("a 32-bit number")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}
