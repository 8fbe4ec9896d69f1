//! Reading the recordings and replaying them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Mode, Options, Outcome, Slot, Trailer};
use brickproof_flash_model::flash::{
    Area, Controller, Cut, Flash, Geometry, Hook, Operation, OperationKind, SectorRun, Tear, TearModel,
};
use brickproof_flash_model::image::mcuboot::{PublicKey, Verifier};
use brickproof_flash_model::layout::{DeviceSpec, Layout, Partition};
use serde_json::Value;
use sha2::{Digest, Sha256};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Cases,
    SingleCuts,
    DoubleCuts,
}

pub(crate) struct Record(Value);

impl Record {
    pub(crate) fn id(&self) -> &str {
        self.0["id"].as_str().expect("record without id")
    }

    fn mode(&self) -> &str {
        self.0["config"]["mode"].as_str().expect("record without mode")
    }

    /// `None` when the mode is not built yet.
    fn built(&self) -> Option<Mode> {
        built(&self.0["config"])
    }

    fn kind(&self) -> Kind {
        match self.0["cut"]["kind"].as_str() {
            None => Kind::Cases,
            Some("single") => Kind::SingleCuts,
            Some("double") => Kind::DoubleCuts,
            Some(other) => panic!("{}: unknown kind of cut {other}", self.id()),
        }
    }
}

fn built(config: &Value) -> Option<Mode> {
    match config["mode"].as_str()? {
        "swap-move" => Some(Mode::SwapMove),
        "swap-scratch" => Some(Mode::SwapScratch),
        "swap-offset" => Some(Mode::SwapOffset),
        "overwrite-only" => Some(Mode::OverwriteOnly { fast: config["overwrite_only_fast"] == true }),
        _ => None,
    }
}

pub(crate) struct Golden {
    folder: PathBuf,
    records: Vec<Record>,
    images: BTreeMap<String, Vec<u8>>,
    key: PublicKey,
}

impl Golden {
    pub(crate) fn load() -> Self {
        let folder = std::env::var_os("BRICKPROOF_GOLDEN_MCUBOOT")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/mcuboot"), PathBuf::from);
        let read = |path: &Path| std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let entries = |folder: &Path| {
            let mut paths: Vec<_> = std::fs::read_dir(folder)
                .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
                .map(|entry| entry.expect("directory entry").path())
                .collect();
            paths.sort();
            paths
        };
        let mut records = Vec::new();
        for path in entries(&folder).iter().filter(|path| path.extension().is_some_and(|end| end == "jsonl")) {
            let text = String::from_utf8(read(path)).expect("recordings are text");
            for line in text.lines() {
                records.push(Record(serde_json::from_str(line).expect("a record is one JSON object")));
            }
        }
        let images = entries(&folder.join("images"))
            .iter()
            .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), read(path)))
            .collect();
        let key = PublicKey::from_der(&read(&folder.join("ecdsa-p256-pub.der"))).expect("the signing key");
        Self { folder, records, images, key }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn records(&self, kind: Kind) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.kind() == kind && record.built().is_some())
    }

    pub(crate) fn not_built(&self, kind: Kind) -> BTreeMap<&str, usize> {
        let mut modes = BTreeMap::new();
        for record in self.records.iter().filter(|record| record.kind() == kind && record.built().is_none()) {
            *modes.entry(record.mode()).or_default() += 1;
        }
        modes
    }

    pub(crate) fn replay(&self, record: &Record) -> Result<(), String> {
        let mut replay = Replay::new(self, &record.0)?;
        match record.kind() {
            Kind::Cases => {
                for (index, step) in list(&record.0["steps"]).iter().enumerate() {
                    replay.step(step).map_err(|difference| format!("step {index}: {difference}"))?;
                }
                Ok(())
            }
            Kind::SingleCuts | Kind::DoubleCuts => {
                for step in list(&record.0["prep"]) {
                    replay.step(step)?;
                }
                if record.kind() == Kind::SingleCuts {
                    replay.single_cuts(&record.0["cut"])
                } else {
                    replay.double_cuts(&record.0["cut"])
                }
            }
        }
    }
}

/// Records operations as the recordings do.
#[derive(Default)]
struct Recorder {
    ops: Vec<Value>,
    digest: Sha256,
    cut: Option<Cut>,
}

impl Hook for Recorder {
    fn before(&mut self, operation: &Operation<'_>, flash: &Flash) -> brickproof_flash_model::flash::Verdict {
        match &mut self.cut {
            Some(cut) => cut.before(operation, flash),
            None => brickproof_flash_model::flash::Verdict::Proceed,
        }
    }

    fn after(&mut self, operation: &Operation<'_>, tear: Option<Tear>) {
        if tear.is_some() {
            return;
        }
        let (letter, data) = match operation.kind {
            OperationKind::Erase { .. } => ("e", None),
            OperationKind::Program { data } => ("w", Some(data)),
        };
        self.digest.update(letter.as_bytes());
        self.digest.update(operation.offset.to_le_bytes());
        self.digest.update(operation.len().to_le_bytes());
        let mut entry: Vec<Value> = vec![letter.into(), operation.offset.into(), operation.len().into()];
        if let Some(data) = data {
            self.digest.update(data);
            let text = if data.len() > 64 { format!("#{}", short_sha(data)) } else { hex(data) };
            entry.push(text.into());
        }
        self.ops.push(entry.into());
    }
}

impl Recorder {
    fn digest(&self) -> String {
        hex(&self.digest.clone().finalize()[..8])
    }
}

struct Replay<'a> {
    golden: &'a Golden,
    flash: Flash,
    mcuboot: Mcuboot,
    unit: usize,
}

/// One uninterrupted boot as it is compared.
struct BootResult {
    ops: Vec<Value>,
    digest: String,
    outcome: Value,
    dirty: bool,
}

impl<'a> Replay<'a> {
    fn new(golden: &'a Golden, record: &Value) -> Result<Self, String> {
        let layout = &record["layout"];
        let runs: Vec<_> = list(&layout["sectors"])
            .iter()
            .map(|run| SectorRun { count: number(&run[0]), size: number(&run[1]) })
            .collect();
        let unit = number(&layout["write_align"]);
        let geometry =
            Geometry::new(&runs, unit, number(&layout["erased_val"]) as u8).map_err(|error| error.to_string())?;
        equal("flash size", &geometry.len(), &number(&layout["flash_size"]))?;
        let partition = |name: &str| Partition {
            name: name.into(),
            area: Area { device: 0, offset: number(&layout[name]["off"]), len: number(&layout[name]["len"]) },
            protected: false,
        };
        let names = ["primary", "secondary", "scratch"].into_iter().filter(|name| !layout[*name].is_null());
        let layout = Layout {
            name: "recorded".into(),
            devices: vec![DeviceSpec { name: "internal".into(), base: 0, geometry }],
            partitions: names.map(partition).collect(),
        };
        let config = &record["config"];
        let options = Options {
            mode: built(config).expect("only modes that are built are replayed"),
            max_sectors: number(&config["max_img_sectors"]),
            max_align: number(&config["boot_max_align"]),
            validate_primary: config["validate_primary_slot"] == true,
            ..Options::default()
        };
        let verifier = Verifier::new(vec![golden.key.clone()]);
        let mcuboot = Mcuboot::new(&layout, options, verifier).map_err(|error| error.to_string())?;
        equal("max_image_size", &mcuboot.max_image_size(), &number(&record["max_image_size"]))?;
        let mut replay = Self { golden, flash: layout.blank_flash(), mcuboot, unit: unit as usize };
        for write in list(&record["initial"]["writes"]) {
            replay.host_write(write);
        }
        replay.check_flash(&record["initial"]["flash_sha256"])?;
        Ok(replay)
    }

    fn step(&mut self, step: &Value) -> Result<(), String> {
        match step["do"].as_str() {
            Some("boot") => self.boot_step(step),
            Some("set_pending") => {
                let permanent = step["permanent"] == true;
                self.request_step(step, |mcuboot, flash| mcuboot.set_pending(flash, permanent).is_ok())
            }
            Some("set_confirmed") => self.request_step(step, |mcuboot, flash| mcuboot.set_confirmed(flash).is_ok()),
            Some("host_erase") => {
                let (offset, len) = (number(&step["off"]), number(&step["len"]));
                assert!(self.flash.device_mut(0).unwrap().load(offset, &vec![0xff; len as usize]));
                Ok(())
            }
            Some("host_write") => {
                self.host_write(step);
                Ok(())
            }
            other => Err(format!("unknown step {other:?}")),
        }
    }

    fn host_write(&mut self, write: &Value) {
        let mut data = match write["image"].as_str() {
            Some(name) => self.golden.images[name].clone(),
            None => unhex(write["hex"].as_str().expect("image or hex")),
        };
        data.resize(data.len().next_multiple_of(self.unit), 0xff);
        assert!(self.flash.device_mut(0).unwrap().load(number(&write["off"]), &data));
    }

    fn request_step(
        &mut self,
        step: &Value,
        request: impl Fn(&Mcuboot, &mut Controller<'_>) -> bool,
    ) -> Result<(), String> {
        let mut recorder = Recorder::default();
        let done = request(&self.mcuboot, &mut Controller::new(&mut self.flash, &mut recorder));
        equal("rc is 0", &done, &(step["rc"] == 0))?;
        equal("ops", &recorder.ops, list(&step["ops"]))
    }

    fn boot_step(&mut self, step: &Value) -> Result<(), String> {
        let boot = self.boot();
        for key in ["rc", "image_off", "primary", "secondary"] {
            equal(key, &boot.outcome[key], &step[key])?;
        }
        equal("ops", &boot.ops, list(&step["ops"]))?;
        equal("n_ops", &boot.ops.len(), &(number(&step["n_ops"]) as usize))?;
        equal("ops_digest", &boot.digest.as_str(), &step["ops_digest"].as_str().unwrap_or_default())?;
        let areas = [
            ("tail_primary", Some(self.mcuboot.area(Slot::Primary))),
            ("tail_secondary", Some(self.mcuboot.area(Slot::Secondary))),
            ("tail_scratch", self.mcuboot.pairs()[0].scratch().map(Trailer::area)),
        ];
        for (key, area) in areas.into_iter().filter_map(|(key, area)| Some((key, area?))) {
            let bytes = self.flash.read_area(area).unwrap();
            equal(key, &hex(&bytes[bytes.len() - 64..]).as_str(), &step[key].as_str().unwrap_or_default())?;
        }
        self.check_flash(&step["flash_sha256"])
    }

    fn check_flash(&self, sha256: &Value) -> Result<(), String> {
        equal("flash_sha256", &hex(&self.flash.devices()[0].sha256()).as_str(), &sha256.as_str().unwrap_or_default())
    }

    fn boot(&mut self) -> BootResult {
        let before = self.flash.devices()[0].reprogrammed();
        let mut recorder = Recorder::default();
        let boot = self.mcuboot.boot(&mut Controller::new(&mut self.flash, &mut recorder)).expect("nothing interrupts");
        let (rc, offset) = match boot.outcome {
            Outcome::Boot { offset, .. } => ("ok".to_owned(), Value::from(offset)),
            Outcome::NoBootableImage { .. } => ("fail".to_owned(), Value::Null),
            Outcome::Halt { ref reason } => (assertion(reason), Value::Null),
        };
        let primary = self.image_in(Slot::Primary).map_or(Value::Null, |(name, _)| name.into());
        let secondary = self.image_in(Slot::Secondary);
        let secondary = secondary.map_or(Value::Null, |(name, offset)| serde_json::json!([name, offset]));
        let sha = hex(&self.flash.devices()[0].sha256());
        BootResult {
            digest: recorder.digest(),
            ops: recorder.ops,
            outcome: serde_json::json!({
                "rc": rc, "image_off": offset, "primary": primary, "secondary": secondary, "flash_sha256": sha,
            }),
            dirty: self.flash.devices()[0].reprogrammed() != before,
        }
    }

    /// The image at the start of a slot, or, in the secondary slot of swap-offset, one sector behind it.
    fn image_in(&self, slot: Slot) -> Option<(&str, u32)> {
        let bytes = self.flash.read_area(self.mcuboot.area(slot)).unwrap();
        let sector = self.flash.devices()[0].geometry().sectors()[0].size;
        let offset = self.mcuboot.options().mode == Mode::SwapOffset && slot == Slot::Secondary;
        let places = if offset { &[0, sector][..] } else { &[0] };
        // The longest image that is found, as several may begin alike.
        let found = |offset: &u32| {
            let images = self.golden.images.iter().filter(|(_, image)| bytes[*offset as usize..].starts_with(image));
            images.max_by_key(|(_, image)| image.len()).map(|(name, _)| (name.as_str(), *offset))
        };
        places.iter().find_map(found)
    }

    fn cut_boot(&mut self, at: u64, tear: TearModel) {
        let mut recorder = Recorder { cut: Some(Cut { at, tear }), ..Recorder::default() };
        self.mcuboot
            .boot(&mut Controller::new(&mut self.flash, &mut recorder))
            .expect_err("the boot has as many operations as recorded");
    }

    fn single_cuts(&mut self, cut: &Value) -> Result<(), String> {
        let tear = match cut["tear"].as_str() {
            Some("none") => TearModel::Nothing,
            Some("first-half") => TearModel::FirstHalf,
            Some("all-but-last-byte") => TearModel::AllButLast,
            other => return Err(format!("unknown tear {other:?}")),
        };
        let start = self.flash.clone();
        for entry in list(&cut["uncut"]) {
            self.check_boot(entry, &cut["outcomes"]).map_err(|difference| format!("uncut: {difference}"))?;
        }
        let rows = list(&cut["rows"]);
        equal("rows", &rows.len(), &(number(&cut["n_ops"]) as usize))?;
        for row in rows {
            let k = number(&row[0]);
            self.flash = start.clone();
            self.cut_boot(u64::from(k - 1), tear);
            let place = |difference: String| format!("cut {k}: {difference}");
            let sha = hex(&self.flash.devices()[0].sha256()[..8]);
            equal("cut_sha", &sha.as_str(), &row[1].as_str().unwrap_or_default()).map_err(place)?;
            for (index, entry) in list(&row[2]).iter().enumerate() {
                let ops = self
                    .check_boot(entry, &cut["outcomes"])
                    .map_err(|difference| place(format!("boot {index}: {difference}")))?;
                if let (0, Some(full)) = (index, row.get(3)) {
                    equal("ops", &ops, list(full)).map_err(place)?;
                }
            }
        }
        Ok(())
    }

    /// One boot against `[n_ops, ops_digest, outcome, dirty]`; the operations.
    fn check_boot(&mut self, entry: &Value, outcomes: &Value) -> Result<Vec<Value>, String> {
        let boot = self.boot();
        equal("n_ops", &boot.ops.len(), &(number(&entry[0]) as usize))?;
        equal("ops_digest", &boot.digest.as_str(), &entry[1].as_str().unwrap_or_default())?;
        equal("outcome", &boot.outcome, &without_line(&outcomes[number(&entry[2]) as usize]))?;
        equal("dirty", &boot.dirty, &(entry[3] != 0))?;
        Ok(boot.ops)
    }

    fn double_cuts(&mut self, cut: &Value) -> Result<(), String> {
        let start = self.flash.clone();
        for row in list(&cut["rows"]) {
            let k = number(&row[0]);
            self.flash = start.clone();
            self.cut_boot(u64::from(k - 1), TearModel::Nothing);
            let cut_once = self.flash.clone();
            let second = self.boot();
            equal(&format!("cut {k}: operations of the next boot"), &second.ops.len(), &(number(&row[1]) as usize))?;
            let mut j = 0;
            for run in list(&row[2]) {
                for _ in 0..number(&run[1]) {
                    self.flash = cut_once.clone();
                    self.cut_boot(j, TearModel::Nothing);
                    let last = self.boot();
                    let expected = without_line(&cut["outcomes"][number(&run[0]) as usize]);
                    equal(&format!("cuts {k} and {}: outcome", j + 1), &last.outcome, &expected)?;
                    j += 1;
                }
            }
            equal(&format!("cut {k}: second cuts"), &j, &(second.ops.len() as u64))?;
        }
        Ok(())
    }
}

/// `assert FILE` from the reason of a halt, which ends in `(FILE, FUNCTION)`.
fn assertion(reason: &str) -> String {
    let place = reason.rsplit_once('(').map_or("", |(_, place)| place);
    format!("assert {}", place.split(',').next().unwrap_or_default())
}

/// An outcome as recorded, with the line of an assertion taken off: no line of ours stands for it.
fn without_line(outcome: &Value) -> Value {
    let mut outcome = outcome.clone();
    if let Some((assertion, _)) = outcome["rc"].as_str().and_then(|rc| rc.split_once(':')) {
        outcome["rc"] = assertion.into();
    }
    outcome
}

fn equal<T: PartialEq<U> + std::fmt::Debug + ?Sized, U: std::fmt::Debug + ?Sized>(
    what: &str,
    ours: &T,
    recorded: &U,
) -> Result<(), String> {
    if ours == recorded { Ok(()) } else { Err(format!("{what}: ours {ours:?}, recorded {recorded:?}")) }
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| number.try_into().ok()).expect("a 32-bit number")
}

fn short_sha(data: &[u8]) -> String {
    hex(&Sha256::digest(data)[..8])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}
