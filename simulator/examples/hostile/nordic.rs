//! Initiators on Nordic's targets: from the first byte to the last, with packages that are good, packages that are not,
//! and power that is lost anywhere. What must hold afterwards is what the design gives (`flash-model/POWER-LOSS-NORDIC.md`):
//!
//! * the device comes up: an application runs, or DFU mode waits;
//! * an application that Secure DFU starts is one of those that were made, whole (Legacy DFU starts torn ones);
//! * with the button held, one proper update is taken, and is what runs then.
//!
//! What is known to break them, as the code has it:
//!
//! * Secure DFU that saves its progress in flash stores a part of an init packet with it, which no start gets over
//!   (`nordic/secure_tests/tests.rs`): left out.
//! * An init packet that comes between the last answer of an update and its reset wipes where the image lies, and nothing
//!   is activated. After that of a SoftDevice no application starts before a SoftDevice was sent again: so it is here.
//! * Legacy DFU keeps sizes that it refuses, and an activation erases as much, the bootloader with it: after sizes of
//!   strangers nothing is promised.
//! * Legacy DFU takes SoftDevices and bootloaders of strangers: nobody here has any.

use std::sync::Arc;

use brickproof_flash_model::boot::nordic::softdevice::{synthetic_image, synthetic_softdevice};
use brickproof_flash_model::boot::nordic::{Nordic, Options};
use brickproof_flash_model::boot::nordic_legacy::{NordicLegacy, Options as LegacyOptions};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::mcuboot::SigningKey;
use brickproof_flash_model::image::nordic::{InitPacketBuilder, LegacyInitPacket};
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::sweep::{nordic as secure_sweep, nordic_legacy as legacy_sweep};
use brickproof_simulator::device::{Board, FlashTiming, Persistent};
use brickproof_simulator::gatt::{CentralAction, WriteKind};
use brickproof_simulator::nordic::{LegacyBoard, NordicBoard};
use brickproof_simulator::world::Control;
use sha2::{Digest, Sha256};

use super::Random;
use super::stage::Stage;

/// Most steps of one sequence.
const STEPS_MAX: u64 = 24;
const FWID: u16 = 0x0101;
const PAGE: usize = 0x1000;
/// Which package of Secure DFU is a SoftDevice.
const SOFTDEVICE: usize = 6;

/// An init packet with its image, and what is started once it is installed.
struct Package {
    init: Vec<u8>,
    image: Vec<u8>,
}

/// A target as it is before each sequence.
pub(super) struct Start {
    board: Arc<Board>,
    /// The same with the button held at its first start.
    held: Arc<Board>,
    flash: Flash,
    /// Good and bad.
    packages: Vec<Package>,
    /// What is sent in the end.
    last: Package,
    /// Hashes of applications that may run.
    applications: Vec<[u8; 32]>,
    /// Bytes of a packet of Legacy DFU; 0 for Secure DFU.
    legacy_packet: usize,
}

/// Secure DFU with two banks and with one, unsigned applications, slow flash; Legacy DFU of SDK 11 and Adafruit's.
pub(super) fn starts() -> Vec<Start> {
    let options = Options::default();
    vec![
        secure(options, true),
        secure(options, false),
        secure(Options { single_bank: true, ..options }, true),
        secure(Options { require_signed_app: false, app_downgrade_prevention: false, ..options }, false),
        legacy(LegacyOptions::sdk11()),
        legacy(LegacyOptions::sdk11_single_bank()),
        legacy(LegacyOptions { default_to_ota: true, ..LegacyOptions::adafruit() }),
    ]
}

fn hash(image: &[u8]) -> [u8; 32] {
    Sha256::digest(image).into()
}

const NO_TIME: FlashTiming = FlashTiming { erase_us: 0, program_unit_ns: 0 };

fn board(mut board: Board, quick: bool) -> Arc<Board> {
    if quick {
        (board.timing, board.boot_timing) = (NO_TIME, NO_TIME);
    }
    Arc::new(board)
}

fn secure(options: Options, quick: bool) -> Start {
    let layout = Layout::preset("nordic24").expect("a preset");
    let key = SigningKey::from_seed(b"hostile").expect("a key");
    let nordic = Nordic::new(&layout, options, Some(key.public().clone())).expect("fits");
    let old = synthetic_image(1, 0x1400);
    let installed = secure_sweep::Installed {
        softdevice: &synthetic_softdevice(0x2f00, FWID, 132, 7_000_000),
        application: &old,
        application_version: 1,
        bootloader: &synthetic_image(100, 0x1f00),
        bootloader_version: 1,
    };
    let flash = secure_sweep::factory(&nordic, layout.blank_flash(), &installed).expect("fits");
    let app = |version: u32, len: u32| (version, synthetic_image(u64::from(version), len));
    let apps = [app(2, 0x204), app(3, 0x1104), app(4, 0xe000)];
    let other = SigningKey::from_seed(b"stranger").expect("a key");
    let [good, stranger] = [&key, &other].map(|key| {
        move |builder: InitPacketBuilder, version: u32| {
            let builder = builder.fw_version(version).hw_version(52).sd_req(&[FWID.into()]);
            Package { init: builder.sign(key).expect("signs"), image: builder.firmware() }
        }
    });
    let mut packages: Vec<_> =
        apps.iter().map(|(version, image)| good(InitPacketBuilder::application(image), *version)).collect();
    let (_, first) = &apps[0];
    packages.push(good(InitPacketBuilder::application(first), 0));
    packages.push(stranger(InitPacketBuilder::application(first), 5));
    packages.push(good(InitPacketBuilder::application(&[]), 6));
    let softdevice = synthetic_softdevice(0x2f00, FWID, 132, 7_001_000);
    let bootloader = synthetic_image(101, 0x1c00);
    packages.push(good(InitPacketBuilder::softdevice(&softdevice), u32::MAX));
    packages.push(good(InitPacketBuilder::bootloader(&bootloader), 2));
    let major = synthetic_softdevice(0x2f00, FWID, 132, 8_000_000);
    packages.push(good(InitPacketBuilder::softdevice_bootloader(&major, &bootloader), 3));
    let last = synthetic_image(9, 0x404);
    let mut applications: Vec<_> = apps.iter().map(|(_, image)| hash(image)).collect();
    applications.extend([hash(&old), hash(&last)]);
    let own = |held: bool| {
        let mut own = NordicBoard::new(nordic.clone());
        own.starts_in_dfu = held;
        board(Board::nordic("hostile", layout.clone(), own), quick)
    };
    Start {
        board: own(false),
        held: own(true),
        flash,
        packages,
        last: good(InitPacketBuilder::application(&last), u32::MAX),
        applications,
        legacy_packet: 0,
    }
}

fn legacy(options: LegacyOptions) -> Start {
    let layout = Layout::preset("nordic-legacy17").expect("a preset");
    let nordic = NordicLegacy::new(&layout, options, None).expect("fits");
    let installed = legacy_sweep::Installed {
        softdevice: &synthetic_softdevice(0x2f00, 0x81, 132, 2_000_000),
        application: &synthetic_image(1, 0x1400),
        checked: false,
        bootloader: &synthetic_image(100, 0x1f00),
    };
    let flash = legacy_sweep::factory(&nordic, layout.blank_flash(), &installed).expect("fits");
    let package = |seed: u64, len: u32| {
        let image = synthetic_image(seed, len);
        let mut packet = LegacyInitPacket::new(&image);
        (packet.device_type, packet.device_revision) = (options.device_type, options.device_revision);
        Package { init: packet.emit(), image }
    };
    let mut packages = vec![package(2, 0x204), package(3, 0x1104), package(4, 0x4000)];
    let mut wrong = package(5, 0x200);
    wrong.init[0] ^= 1;
    packages.push(wrong);
    let own = |held: bool| {
        let mut own = LegacyBoard::new(nordic.clone());
        own.starts_in_dfu = held;
        board(Board::nordic_legacy("hostile", layout.clone(), own), true)
    };
    let last = package(9, 0x404);
    let wide = options.whole_page_blocks;
    Start {
        board: own(false),
        held: own(true),
        flash,
        packages,
        applications: vec![hash(&last.image)],
        last,
        legacy_packet: if wide { 240 } else { 20 },
    }
}

struct Sequence<'a> {
    start: &'a Start,
    stage: Stage,
    random: Random,
    /// Where an upload has come to: package and offset.
    upload: (usize, usize),
    /// What may be sizes of a stranger was sent to Legacy DFU.
    strange: bool,
}

impl Sequence<'_> {
    fn run(mut self) -> Result<(), String> {
        self.attack();
        let outcome = self.judge();
        if self.strange { Ok(()) } else { outcome }
    }

    fn attack(&mut self) {
        self.stage.world.control(Control::Power(true));
        self.stage.settle(2_000_000);
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
        for power in [false, true, false, true] {
            self.stage.world.control(Control::Power(power));
            self.stage.settle(20_000_000);
        }
    }

    fn judge(&mut self) -> Result<(), String> {
        let running = self.running("after the sequence")?;
        if self.start.legacy_packet == 0
            && let Some(running) = running
            && !self.start.applications.contains(&running)
        {
            return Err("an application runs that nobody has made".into());
        }
        self.recover()
    }

    /// The hash of the application, `None` in DFU mode.
    fn running(&self, when: &str) -> Result<Option<[u8; 32]>, String> {
        if let Some(reason) = self.stage.world.dead() {
            return Err(format!("bricked {when}: {reason}"));
        }
        let Some(device) = self.stage.world.device() else { return Err(format!("nothing runs {when}")) };
        Ok(device.image().and_then(|image| image.hash).filter(|_| device.dfu_mode().is_none()))
    }

    /// A proper update, as somebody at the device would do it.
    fn recover(&mut self) -> Result<(), String> {
        let Some(persistent) = self.stage.world.persistent() else { return Err("there is no flash".into()) };
        self.stage = Stage::new(&self.start.held, Persistent::new(persistent.flash.clone()));
        self.stage.world.control(Control::Power(true));
        self.stage.settle(20_000_000);
        if self.update()? {
            return Ok(());
        }
        if self.start.legacy_packet > 0 {
            return Err("a proper update does not run".into());
        }
        let Package { init, image } = &self.start.packages[SOFTDEVICE];
        if !self.stage.update(init, image) {
            return Err("a proper update does not run, and a SoftDevice is refused".into());
        }
        self.stage.settle(5_000_000);
        if self.update()? { Ok(()) } else { Err("a proper update does not run, with its SoftDevice".into()) }
    }

    /// The last package is sent; whether it runs.
    fn update(&mut self) -> Result<bool, String> {
        let Package { init, image } = &self.start.last;
        let taken = match self.start.legacy_packet {
            0 => self.stage.update(init, image),
            packet => self.stage.legacy_update(init, image, packet),
        };
        if !taken {
            return Err("a proper update is refused".into());
        }
        self.stage.settle(5_000_000);
        Ok(self.running("after the update")? == Some(hash(image)))
    }

    /// From the application into DFU mode.
    fn enter(&mut self) {
        let (how, request): (u8, &[u8]) = if self.start.legacy_packet == 0 { (2, &[1]) } else { (1, &[1, 4]) };
        self.stage.connect();
        self.stage.listen(how);
        self.stage.ask(request);
        self.stage.act(CentralAction::Confirm);
        self.stage.settle(2_000_000);
        self.connect();
    }

    fn connect(&mut self) {
        self.stage.connect();
        if !self.random.one_in(10) {
            self.stage.listen(1);
        }
        if self.random.one_in(2) {
            let mtu = self.random.below(520) as u16;
            self.stage.act(CentralAction::ExchangeMtu(if self.random.one_in(3) { mtu } else { 247 }));
        }
    }

    fn step(&mut self) {
        match self.random.below(24) {
            0 => self.stage.world.control(Control::Power(false)),
            1 => {
                // Somewhere in what is under way.
                let pause = self.random.below(200_000);
                self.stage.later(pause);
                self.stage.world.control(Control::Power(false));
                self.stage.later(1_000);
                self.stage.world.control(Control::Power(true));
            }
            2 | 3 => {
                self.stage.world.control(Control::Power(true));
                self.stage.settle(2_000_000);
                self.connect();
            }
            4 => self.stage.world.control(Control::Reset),
            5 => drop(self.stage.act(CentralAction::Disconnect)),
            6 => {
                let wait = [1_000_000, 15_000_000, 130_000_000][self.random.below(3) as usize];
                self.stage.settle(wait);
            }
            7 => self.connect(),
            8 => self.enter(),
            9 | 10 => {
                let value = self.request();
                self.stage.ask(&value);
            }
            11 => {
                let len = self.random.below(60) * if self.random.one_in(4) { 1 } else { 4 };
                let value = self.random.bytes(len);
                self.strange |= self.start.legacy_packet > 0 && len == 12;
                self.stage.send(&value);
            }
            12 => {
                let (handle, len) = (self.random.below(30) as u16, self.random.below(30));
                let kind = [WriteKind::Request, WriteKind::Command, WriteKind::Long][self.random.below(3) as usize];
                let value = self.random.bytes(len);
                self.strange |= self.start.legacy_packet > 0 && len == 12;
                self.stage.write(handle, &value, kind);
            }
            13 => self.upload = (self.random.below(self.start.packages.len() as u64) as usize, 0),
            _ if self.start.legacy_packet == 0 => self.go_on(),
            _ => self.go_on_with_legacy(),
        }
    }

    /// Something that looks like a request.
    fn request(&mut self) -> Vec<u8> {
        let mut value = vec![self.random.below(14) as u8];
        if self.random.one_in(3) {
            let len = self.random.below(20);
            value.extend(self.random.bytes(len));
        } else {
            value.push(self.random.below(4) as u8);
            value.extend((self.random.number() as u32).to_le_bytes());
            value.truncate(match value[0] {
                1 => 6,
                2 => 3,
                6 | 9 | 0x0b => 2,
                _ => 1,
            });
        }
        value
    }

    /// A part of an upload: some of it as it should be, some of it not.
    fn go_on(&mut self) {
        let (package, offset) = self.upload;
        let Package { init, image } = &self.start.packages[package];
        let create = |kind: u8, len: usize| [&[1, kind][..], &(len as u32).to_le_bytes()].concat();
        let chunk = if self.random.one_in(3) { 20 } else { 244 };
        if offset == 0 {
            self.stage.ask(&[2, 0, 0]);
            self.stage.ask(&[6, 1]);
            self.stage.ask(&create(1, init.len()));
            for piece in init.chunks(chunk) {
                self.packet(piece);
            }
            self.stage.ask(&[4]);
            self.stage.later(1_000_000);
            self.stage.ask(&[6, 2]);
            self.upload.1 = 1;
            return;
        }
        // Objects, one after the other; the offset is one more.
        let object = &image[(offset - 1).min(image.len())..image.len().min(offset - 1 + PAGE)];
        self.stage.ask(&create(2, object.len()));
        self.stage.later(100_000);
        for piece in object.chunks(chunk) {
            self.packet(piece);
        }
        if !self.random.one_in(20) {
            self.stage.ask(&[4]);
            if self.random.one_in(2) {
                self.stage.later(1_000_000);
            }
        }
        self.upload.1 = if offset - 1 + PAGE >= image.len() { 0 } else { offset + PAGE };
    }

    fn go_on_with_legacy(&mut self) {
        let (package, offset) = self.upload;
        let Package { init, image } = &self.start.packages[package];
        let chunk = self.start.legacy_packet;
        if offset == 0 {
            let mode = if self.random.one_in(10) { self.random.below(8) as u8 } else { 4 };
            self.stage.ask(&[1, mode]);
            let len = if self.random.one_in(10) { self.random.number() as u32 } else { image.len() as u32 };
            self.strange |= len != image.len() as u32 || mode != 4;
            self.stage.send(&[&[0; 8][..], &len.to_le_bytes()].concat());
            self.stage.later(1_000_000);
            self.stage.ask(&[2, 0]);
            for piece in init.chunks(20) {
                self.packet(piece);
            }
            self.stage.ask(&[2, 1]);
            self.stage.ask(&[3]);
            self.upload.1 = 1;
            return;
        }
        let from = offset - 1;
        let until = image.len().min(from + 0x800);
        for piece in image[from.min(until)..until].chunks(chunk) {
            self.packet(piece);
            self.stage.later(20_000);
        }
        self.upload.1 = until + 1;
        if until == image.len() {
            self.upload.1 = 0;
            self.stage.ask(&[4]);
            self.stage.later(100_000);
            self.stage.ask(&[5]);
            let pause = self.random.below(400_000);
            self.stage.later(pause);
        }
    }

    /// A packet of an upload, which may get lost or change.
    fn packet(&mut self, piece: &[u8]) {
        match self.random.below(400) {
            0 => {}
            1 => {
                let mut piece = piece.to_vec();
                let at = self.random.below(piece.len() as u64) as usize;
                piece[at] ^= 1 << self.random.below(8);
                self.stage.send(&piece);
            }
            2 => {
                self.stage.send(piece);
                self.stage.send(piece);
            }
            3 => self.stage.world.control(Control::Power(false)),
            _ => self.stage.send(piece),
        }
    }
}

/// One sequence.
pub(super) fn sequence(starts: &[Start], mut random: Random) -> Result<(), String> {
    let start = &starts[random.below(starts.len() as u64) as usize];
    let stage = Stage::new(&start.board, Persistent::new(start.flash.clone()));
    Sequence { start, stage, random, upload: (0, 0), strange: false }.run()
}
