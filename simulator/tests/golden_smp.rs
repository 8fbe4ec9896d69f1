//! Agreement with the real Zephyr SMP server: every recorded answer and the flash behind it.
//!
//! Reads the folder named by `BRICKPROOF_GOLDEN_SMP`, or the recordings in `tests/golden`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Options, Slot};
use brickproof_flash_model::flash::{Area, Controller, Flash, Geometry, SectorRun, Uncut};
use brickproof_flash_model::image::mcuboot::Verifier;
use brickproof_flash_model::layout::{DeviceSpec, Layout, Partition};
use brickproof_simulator::device::Retained;
use brickproof_simulator::smp::config::{InfoTexts, Task, TaskStatistics};
use brickproof_simulator::smp::{
    BootloaderMode, Environment, Field, Kept, Server, ServerConfig, SmpMessage, ZephyrRelease,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The tasks and texts of the recorded build.
const TASKS: [(&str, i32, u32); 4] = [("mcumgr smp", 3, 128), ("sysworkq", -1, 2), ("idle", 15, 0), ("main", 0, 2)];

#[test]
fn golden_smp_every_recorded_answer() {
    let golden = Golden::load();
    let mut counts: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
    let mut disagreements = Vec::new();
    for sequence in &golden.sequences {
        let id = text(&sequence["sequence"]);
        let profile = text(&sequence["profile"]);
        let mut device = Device::new(&golden, profile, &sequence["start"]);
        for step in list(&sequence["steps"]) {
            if step.get("request").is_none() {
                device.event(&golden, step);
                continue;
            }
            let (agree, pairs) = counts.entry((profile.to_owned(), text(&step["class"]).to_owned())).or_default();
            *pairs += 1;
            match device.pair(step) {
                Ok(()) => *agree += 1,
                Err(difference) => disagreements.push(format!("{id} step {}: {difference}", step["n"])),
            }
        }
    }
    for ((profile, class), (agree, pairs)) in &counts {
        println!("golden_smp: {profile}, {class}: {agree} of {pairs}");
    }
    let (agree, pairs) = counts.values().fold((0, 0), |(agree, pairs), (a, p)| (agree + a, pairs + p));
    println!("golden_smp: agree: {agree} of {pairs}");
    assert!(pairs > 0, "no sequences");
    assert!(disagreements.is_empty(), "{} answers disagree:\n{}", disagreements.len(), disagreements.join("\n"));
}

struct Golden {
    folder: PathBuf,
    profiles: Value,
    sequences: Vec<Value>,
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
            sequences.extend(list(&read["sequences"]).iter().cloned());
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
    kept: Kept,
    retained: Retained,
    /// Milliseconds until an accepted reset happens.
    reset_in_ms: Option<u64>,
    gone: bool,
}

/// The options of a recorded build, by the names of Kconfig.
fn config(golden: &Golden, profile: &str, third: Area) -> ServerConfig {
    let profiles = &golden.profiles["profiles"];
    let (base, differs) = (&profiles["default384"]["kconfig"], &profiles[profile]["kconfig_differs_from_default384"]);
    let absent = |name: &str| differs["absent"].as_array().is_some_and(|absent| absent.iter().any(|key| key == name));
    let option = |name: &str| match differs["changed"].get(name) {
        Some(value) => value.as_str(),
        None if absent(name) => None,
        None => base.get(name).and_then(Value::as_str),
    };
    let set = |name: &str| option(name) == Some("y");
    let count =
        |name: &str| option(name).and_then(|value| value.parse::<u32>().ok()).unwrap_or_else(|| panic!("{name}"));
    let bootloader = [
        ("DIRECT_XIP_WITH_REVERT", BootloaderMode::DirectXipWithRevert),
        ("DIRECT_XIP", BootloaderMode::DirectXip),
        ("OVERWRITE_ONLY", BootloaderMode::OverwriteOnly),
        ("SWAP_SCRATCH", BootloaderMode::SwapScratch),
        ("SWAP_WITHOUT_SCRATCH", BootloaderMode::SwapMove),
    ];
    let bootloader = bootloader.into_iter().find(|(name, _)| set(&format!("CONFIG_MCUBOOT_BOOTLOADER_MODE_{name}")));
    let tasks = TASKS.map(|(name, priority, state)| Task { name: name.into(), priority, state, ..Task::default() });
    let image_count = count("CONFIG_MCUMGR_GRP_IMG_UPDATABLE_IMAGE_NUMBER") as u8;
    ServerConfig {
        buffer_size: count("CONFIG_MCUMGR_TRANSPORT_NETBUF_SIZE") as u16,
        buffer_count: count("CONFIG_MCUMGR_TRANSPORT_NETBUF_COUNT") as u8,
        zephyr: ZephyrRelease { major: 3, minor: 4 },
        reset_delay_us: u64::from(count("CONFIG_MCUMGR_GRP_OS_RESET_MS")) * 1000,
        original_protocol: set("CONFIG_MCUMGR_SMP_SUPPORT_ORIGINAL_PROTOCOL"),
        legacy_rc: set("CONFIG_MCUMGR_SMP_LEGACY_RC_BEHAVIOUR"),
        verbose_errors: set("CONFIG_MCUMGR_SMP_VERBOSE_ERR_RESPONSE"),
        params: set("CONFIG_MCUMGR_GRP_OS_MCUMGR_PARAMS"),
        task_statistics: set("CONFIG_MCUMGR_GRP_OS_TASKSTAT").then(|| TaskStatistics {
            tasks: tasks.to_vec(),
            only_supported: set("CONFIG_MCUMGR_GRP_OS_TASKSTAT_ONLY_SUPPORTED_STATS"),
        }),
        info: set("CONFIG_MCUMGR_GRP_OS_INFO").then(|| InfoTexts {
            node: "unknown".into(),
            release: String::new(),
            version: "3.4.99".into(),
            build_date: None,
            machine: "posix".into(),
            processor: "unknown".into(),
            platform: option("CONFIG_BOARD").unwrap_or_default().into(),
            os: "Zephyr".into(),
        }),
        bootloader_info: set("CONFIG_MCUMGR_GRP_OS_BOOTLOADER_INFO"),
        bootloader: bootloader.expect("a bootloader mode").1,
        no_downgrade: set("CONFIG_MCUBOOT_BOOTLOADER_NO_DOWNGRADE"),
        image_count,
        image_check: set("CONFIG_IMG_ENABLE_IMAGE_CHECK"),
        write_block: count("CONFIG_IMG_BLOCK_BUF_SIZE"),
        frugal_list: set("CONFIG_MCUMGR_GRP_IMG_FRUGAL_LIST"),
        allow_erase_pending: set("CONFIG_MCUMGR_GRP_IMG_ALLOW_ERASE_PENDING"),
        version_compare_build: set("CONFIG_MCUMGR_GRP_IMG_VERSION_CMP_USE_BUILD_NUMBER"),
        allow_confirm_non_active_image_secondary: set("CONFIG_MCUMGR_GRP_IMG_ALLOW_CONFIRM_NON_ACTIVE_IMAGE_SECONDARY"),
        // The recorded builds with one image knew a third slot, which stayed erased.
        other_slots: if image_count == 1 { vec![third] } else { Vec::new() },
        ..ServerConfig::default()
    }
}

/// Names of the slots in the recordings, with image and slot.
const SLOTS: [(&str, usize, Slot); 4] = [
    ("slot0", 0, Slot::Primary),
    ("slot1", 0, Slot::Secondary),
    ("slot2", 1, Slot::Primary),
    ("slot3", 1, Slot::Secondary),
];

impl Device {
    fn new(golden: &Golden, profile: &str, start: &Value) -> Self {
        let flash = &golden.profiles["flash"];
        let slot =
            |name: &str| Area { device: 0, offset: number(&flash[name]["offset"]), len: number(&flash[name]["size"]) };
        let (slot0, slot1) = (slot("slot0"), slot("slot1"));
        let slot2 = Area { offset: slot1.end(), ..slot1 };
        let slot3 = Area { offset: slot2.end(), ..slot1 };
        let sector = number(&flash["erase_block"]);
        let runs = [SectorRun { count: slot3.end() / sector, size: sector }];
        let geometry = Geometry::new(&runs, number(&flash["write_block"]), 0xff).unwrap();
        let partition = |name: &str, area: Area| Partition { name: name.into(), area, protected: false };
        let mut partitions = vec![partition("primary", slot0), partition("secondary", slot1)];
        let config = config(golden, profile, slot2);
        if config.image_count > 1 {
            partitions.extend([partition("primary-1", slot2), partition("secondary-1", slot3)]);
        }
        let layout = Layout {
            name: "recorded".into(),
            devices: vec![DeviceSpec { name: "internal".into(), base: 0, geometry }],
            partitions,
        };
        let mcuboot = Mcuboot::new(&layout, Options::default(), Verifier::default()).unwrap();
        let kept = Kept::default();
        let mut device = Self {
            flash: layout.blank_flash(),
            mcuboot,
            server: Server::new(config.clone(), &kept),
            config,
            kept,
            retained: Retained::default(),
            reset_in_ms: None,
            gone: false,
        };
        device.fill(golden, start);
        device
    }

    /// The slots there are, by their names in the recordings.
    fn slots(&self) -> Vec<(&'static str, Area)> {
        let area = |(name, image, slot)| self.mcuboot.pair(image).map(|pair| (name, pair.area(slot)));
        SLOTS.into_iter().filter_map(area).collect()
    }

    fn fill(&mut self, golden: &Golden, slots: &Value) {
        for (name, area) in self.slots() {
            let Some(content) = slots.get(name) else { continue };
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
                self.server = Server::new(self.config.clone(), &self.kept);
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
        let shape_only = text(&step["class"]) == "build";
        let agree = if shape_only { shapes(&answers) == shapes(&expected) } else { answers == expected };
        if !agree {
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
        let mut environment = Environment {
            flash: &mut flash,
            mcuboot: &self.mcuboot,
            running_slot: 0,
            refuse_upload: None,
            refuse_confirm: None,
            storage: None,
            kept: &mut self.kept,
            retained: &mut self.retained,
            now_us: 0,
        };
        let answer = self.server.handle(request, &mut environment).expect("nothing interrupts");
        if answer.reset {
            self.reset_in_ms = Some(self.config.reset_delay_us / 1000);
        }
        answer.packets.iter().map(|packet| hex(packet)).collect()
    }

    fn check_flash(&self, recorded: &Value) -> Result<(), String> {
        for (name, area) in self.slots() {
            let Some(recorded) = recorded.get(name) else { continue };
            let sha = hex(&Sha256::digest(self.flash.read_area(area).unwrap()));
            if sha != text(&recorded["sha256"]) {
                return Err(format!("{name} differs: ours {sha}, recorded {recorded}"));
            }
        }
        Ok(())
    }
}

/// Headers, keys and types of answers whose texts depend on the build: what the tasks are called and how
/// many there are, and what the texts say, is left out.
fn shapes(answers: &[String]) -> Vec<String> {
    let shape_of = |answer: &String| {
        let packet = unhex(answer);
        let message = SmpMessage::parse(&packet);
        assert_eq!(message.malformed, None, "{answer}");
        let header = (message.version, message.op, message.group, message.command, message.sequence);
        let body: Vec<_> = message.body.iter().map(|(key, value)| (key.clone(), shape(key, value))).collect();
        format!("{header:?} {body:?}")
    };
    answers.iter().map(shape_of).collect()
}

fn shape(key: &str, value: &Field) -> String {
    match value {
        Field::Map(map) if key == "tasks" => {
            let mut tasks: Vec<_> = map.values().map(|task| shape("task", task)).collect();
            tasks.sort();
            tasks.dedup();
            format!("{tasks:?}")
        }
        Field::Map(map) => format!("{:?}", map.iter().map(|(key, value)| (key, shape(key, value))).collect::<Vec<_>>()),
        Field::List(list) => format!("{:?}", list.iter().map(|value| shape("", value)).collect::<Vec<_>>()),
        Field::Number(_) => "number".into(),
        Field::Boolean(_) => "boolean".into(),
        Field::Text(_) => "text".into(),
        Field::Bytes(_) | Field::LongBytes { .. } => "bytes".into(),
        Field::Other => "other".into(),
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
