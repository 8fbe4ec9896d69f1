//! Initiators on Silicon Labs' targets: files that are good, files that are not, and power that is lost anywhere. What must
//! hold afterwards is what the design gives (`flash-model/POWER-LOSS-SILABS.md`):
//!
//! * the device comes up: an application runs, or the AppLoader waits;
//! * an application that runs is one of those that were made, whole: with secure boot always, without it as long as no power
//!   was lost (`half-erased-application-starts`, `torn-program-counter`);
//! * one proper update is taken, and is what runs then.
//!
//! A file that makes the decompressor hang is among those that are not good: the device is dead to the world until its power
//! is cycled. Nobody here has a file with a bootloader, or one with a good CRC over wrong data that comes to an end.

use std::sync::Arc;

use brickproof_flash_model::boot::gecko::{Gecko, Options};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::gbl::{Compression, FirmwareBuilder, GblBuilder};
use brickproof_flash_model::image::mcuboot::SigningKey;
use brickproof_flash_model::image::nordic::crc32;
use brickproof_flash_model::layout::Layout;
use brickproof_simulator::device::{Board, FlashTiming, Persistent};
use brickproof_simulator::gatt::{AttError, CentralAction, WriteKind};
use brickproof_simulator::silabs::{Address, AfterEnd, Erasing, KnownApplication, OtaConfig, SilabsBoard};
use brickproof_simulator::world::Control;

use super::Random;
use super::stage::Stage;

/// Most steps of one sequence.
const STEPS_MAX: u64 = 24;

/// A target as it is before each sequence.
pub(super) struct Start {
    board: Arc<Board>,
    flash: Flash,
    /// Good and bad.
    files: Vec<Vec<u8>>,
    /// What is sent in the end, and its hash.
    last: (Vec<u8>, [u8; 32]),
    /// Hashes of applications that may run.
    applications: Vec<[u8; 32]>,
    secure: bool,
}

/// AppLoaders and slots: with and without secure boot, with slow and quick flash, with what the vendor leaves open either way.
pub(super) fn starts() -> Vec<Start> {
    let (apploader, storage) = (Options::apploader(), Options::storage());
    let series_1 = Options { series_2: false, upgrade_size: 0x4000, ..storage.clone() };
    let open = OtaConfig {
        address: Address::StaticRandom,
        after_end: AfterEnd::Anything,
        erase_on_start: true,
        queue: 2,
        reserved: AttError(0x84),
        application_versions: true,
        ..OtaConfig::default()
    };
    let slot =
        |erasing: Erasing| OtaConfig { erasing, answers_strangers: true, verify_us: 500, ..OtaConfig::default() };
    vec![
        start("gecko40-apploader", apploader.clone(), OtaConfig::default(), false, true),
        start("gecko40-apploader", Options { lz4: true, lzma: true, ..apploader.clone() }, open.clone(), false, false),
        start("gecko40-apploader", apploader, open, true, false),
        start("gecko40-storage", storage.clone(), OtaConfig::default(), false, true),
        start("gecko40-storage", storage.clone(), slot(Erasing::Beside), true, false),
        start("gecko40-storage", storage, slot(Erasing::Deaf), false, false),
        start("gecko64-series-1", series_1, slot(Erasing::Blocks), false, false),
    ]
}

fn start(preset: &str, options: Options, ota: OtaConfig, secure: bool, quick: bool) -> Start {
    let layout = Layout::preset(preset).expect("a preset");
    let key = SigningKey::from_seed(b"hostile").expect("a key");
    let stranger = SigningKey::from_seed(b"stranger").expect("a key");
    let point = key.public().p256_point().expect("a key for it");
    let options =
        Options { secure_boot: secure, require_signed: secure, public_key: secure.then_some(point), ..options };
    let gecko = Gecko::new(&layout, options.clone()).expect("fits");
    let base = gecko.map().application_start();
    let make = |version: u32, size: usize| {
        let builder = FirmwareBuilder::new(base).version(version).size(size);
        if secure { builder.sign(&key).expect("signs") } else { builder.build() }
    };
    let wrap = |builder: &GblBuilder, key: &SigningKey| {
        if secure { builder.sign(key).expect("signs") } else { builder.unsigned().expect("is made") }
    };
    let file = |image: &[u8]| GblBuilder::new().firmware(base, image);
    let images = [make(1, 6000), make(2, 2000), make(3, 9000), make(4, 12_000), make(9, 4000)];
    let mut files: Vec<_> = images[1..4].iter().map(|image| wrap(&file(image), &key)).collect();
    if secure {
        files.push(wrap(&file(&images[1]), &stranger));
        files.push(file(&images[1]).unsigned().expect("is made"));
    }
    let mut wrong = files[1].clone();
    let last = wrong.len() - 5;
    wrong[last] ^= 1;
    files.push(wrong);
    if options.lz4 && !secure {
        // A match of what comes right behind it.
        let mut payload = base.to_le_bytes().to_vec();
        payload.extend([0x4f, 1, 2, 3, 4, 0, 0, 0xff, 0xff, 0, 0x10, 1]);
        files.push(GblBuilder::new().part(Compression::Lz4.tag_kind(), payload).unsigned().expect("is made"));
    }
    let known: Vec<_> = images.iter().map(|image| KnownApplication::new(&[(base, image.clone())])).collect();
    let applications: Vec<_> = known.iter().map(KnownApplication::hash).collect();
    let mut flash = layout.blank_flash();
    let mut load = |name: &str, bytes: &[u8]| {
        flash.load(layout.area(name).expect("a partition"), 0, bytes).expect("fits");
    };
    let mut own = FirmwareBuilder::bootloader(gecko.map().main_stage(), 0x0205_0000).size(0x400).build();
    let crc = crc32(&own, 0);
    own.extend(crc.to_le_bytes());
    load("bootloader", &own);
    load("application", &images[0]);
    let mut own = SilabsBoard::new(gecko);
    own.ota = ota;
    let mut board = Board::silabs("hostile", layout, own);
    if quick {
        let none = FlashTiming { erase_us: 0, program_unit_ns: 0 };
        (board.timing, board.boot_timing) = (none, none);
    }
    board.expect(known, 0);
    let last = (wrap(&file(&images[4]), &key), applications[4]);
    Start { board: Arc::new(board), flash, files, last, applications, secure }
}

struct Sequence<'a> {
    start: &'a Start,
    stage: Stage,
    random: Random,
    /// Where an upload has come to: file and offset.
    upload: (usize, usize),
    /// Power was lost.
    cut: bool,
}

impl Sequence<'_> {
    fn run(mut self) -> Result<(), String> {
        self.attack();
        self.judge()
    }

    fn attack(&mut self) {
        self.stage.world.control(Control::Power(true));
        self.stage.settle(5_000_000);
        if !self.random.one_in(8) {
            self.enter();
        }
        for _ in 0..1 + self.random.below(STEPS_MAX) {
            self.step();
            if self.random.one_in(3) {
                let pause = self.random.below(100_000);
                self.stage.later(pause);
            }
        }
        // What is under way comes to its end, or hangs.
        self.stage.act(CentralAction::Disconnect);
        self.stage.settle(30_000_000);
        for power in [false, true, false, true] {
            self.stage.world.control(Control::Power(power));
            self.stage.settle(20_000_000);
        }
    }

    fn judge(&mut self) -> Result<(), String> {
        let running = self.running("after the sequence")?;
        if (self.start.secure || !self.cut)
            && let Some(running) = running
            && !self.start.applications.contains(&running)
        {
            return Err("an application runs that nobody has made".into());
        }
        if !self.stage.ota_update(&self.start.last.0) {
            return Err("a proper update is refused".into());
        }
        self.stage.settle(20_000_000);
        let running = self.running("after the update")?;
        if running == Some(self.start.last.1) { Ok(()) } else { Err("a proper update does not run".into()) }
    }

    /// The hash of the application, `None` in the AppLoader.
    fn running(&self, when: &str) -> Result<Option<[u8; 32]>, String> {
        if let Some(reason) = self.stage.world.dead() {
            return Err(format!("bricked {when}: {reason}"));
        }
        let Some(device) = self.stage.world.device() else { return Err(format!("nothing runs {when}")) };
        Ok(device.image().and_then(|image| image.hash))
    }

    /// From the application into the AppLoader, where there is one.
    fn enter(&mut self) {
        self.connect();
        if self.stage.handles.packet == 0 {
            self.stage.writes(self.stage.handles.control, &[0]);
            self.stage.settle(3_000_000);
            self.connect();
        }
    }

    fn connect(&mut self) {
        self.stage.connect();
        if self.random.one_in(2) {
            let mtu = self.random.below(520) as u16;
            self.stage.act(CentralAction::ExchangeMtu(if self.random.one_in(3) { mtu } else { 247 }));
        }
    }

    fn step(&mut self) {
        match self.random.below(24) {
            0 => self.lose_power(),
            1 => {
                // Somewhere in what is under way.
                let pause = self.random.below(200_000);
                self.stage.later(pause);
                self.lose_power();
                self.stage.later(1_000);
                self.stage.world.control(Control::Power(true));
            }
            2 | 3 => {
                self.stage.world.control(Control::Power(true));
                self.stage.settle(2_000_000);
                self.connect();
            }
            4 => {
                self.cut = true;
                self.stage.world.control(Control::Reset);
            }
            5 => drop(self.stage.act(CentralAction::Disconnect)),
            6 => {
                let wait = [1_000_000, 5_000_000, 40_000_000][self.random.below(3) as usize];
                self.stage.settle(wait);
            }
            7 => self.connect(),
            8 => self.enter(),
            9 | 10 => {
                let byte = [0, 3, 4, self.random.below(256) as u8][self.random.below(4) as usize];
                let value = if self.random.one_in(10) { vec![] } else { vec![byte] };
                self.stage.ask(&value);
            }
            11 => {
                let len = self.random.below(60) * if self.random.one_in(4) { 1 } else { 4 };
                let value = self.random.bytes(len);
                self.stage.send(&value);
            }
            12 => {
                let (handle, len) = (self.random.below(30) as u16, self.random.below(300));
                let kind = [WriteKind::Request, WriteKind::Command, WriteKind::Long][self.random.below(3) as usize];
                let value = self.random.bytes(len);
                self.stage.write(handle, &value, kind);
            }
            13 => self.upload = (self.random.below(self.start.files.len() as u64) as usize, 0),
            _ => self.go_on(),
        }
    }

    fn lose_power(&mut self) {
        self.cut = true;
        self.stage.world.control(Control::Power(false));
    }

    /// A part of an upload: some of it as it should be, some of it not.
    fn go_on(&mut self) {
        let (file, offset) = self.upload;
        let file = &self.start.files[file];
        if offset == 0 && !self.random.one_in(20) {
            self.stage.writes(self.stage.handles.control, &[0]);
        }
        let chunk = if self.random.one_in(3) { 20 } else { 244 };
        let acked = self.random.one_in(2);
        let len = if self.random.one_in(3) { file.len() } else { 0x800 };
        let until = file.len().min(offset + len);
        for piece in file[offset..until].chunks(chunk) {
            self.piece(piece, acked);
        }
        self.upload.1 = until;
        if until == file.len() {
            self.upload.1 = 0;
            if !self.random.one_in(10) {
                self.stage.writes(self.stage.handles.control, &[3]);
            }
            let pause = self.random.below(400_000);
            self.stage.later(pause);
            if self.random.one_in(2) {
                self.stage.act(CentralAction::Disconnect);
            }
        }
    }

    /// A piece of a file, which may get lost or change.
    fn piece(&mut self, piece: &[u8], acked: bool) {
        let mut piece = piece.to_vec();
        let times = match self.random.below(400) {
            0 => 0,
            1 => {
                let at = self.random.below(piece.len() as u64) as usize;
                piece[at] ^= 1 << self.random.below(8);
                1
            }
            2 => 2,
            3 => {
                self.lose_power();
                1
            }
            _ => 1,
        };
        for _ in 0..times {
            if acked && !self.random.one_in(50) {
                self.stage.writes(self.stage.handles.packet, &piece);
            } else {
                self.stage.send(&piece);
                let pause = self.random.below(5_000);
                self.stage.later(pause);
            }
        }
    }
}

/// One sequence.
pub(super) fn sequence(starts: &[Start], mut random: Random) -> Result<(), String> {
    let start = &starts[random.below(starts.len() as u64) as usize];
    let stage = Stage::new(&start.board, Persistent::new(start.flash.clone()));
    Sequence { start, stage, random, upload: (0, 0), cut: false }.run()
}
