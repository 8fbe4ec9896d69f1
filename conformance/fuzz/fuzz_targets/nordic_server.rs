//! A script of what a central, the power supply and time do to a Secure or a Legacy DFU target over Bluetooth LE: nothing
//! panics, and afterwards the bootloader comes up.
#![no_main]

#[path = "../../../simulator/examples/hostile/stage.rs"]
mod stage;

use std::sync::{Arc, OnceLock};

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
use libfuzzer_sys::fuzz_target;
use stage::Stage;

/// Bytes of a data object.
const PAGE: usize = 0x1000;

struct Target {
    board: Arc<Board>,
    flash: Flash,
    /// Init packets with their images.
    packages: Vec<(Vec<u8>, Vec<u8>)>,
    legacy: bool,
    /// A part of an init packet can be stored, which no start gets over.
    saves: bool,
}

fn targets() -> &'static [Target] {
    static TARGETS: OnceLock<Vec<Target>> = OnceLock::new();
    TARGETS.get_or_init(|| {
        let options = Options::default();
        let open = Options { require_signed_app: false, app_downgrade_prevention: false, ..options };
        vec![
            secure(open, true),
            secure(options, false),
            secure(Options { single_bank: true, ..open }, false),
            secure(Options { save_progress: true, ..open }, true),
            legacy(LegacyOptions::sdk11()),
            legacy(LegacyOptions::sdk11_single_bank()),
            legacy(LegacyOptions { default_to_ota: true, ..LegacyOptions::adafruit() }),
        ]
    })
}

fn secure(options: Options, reduced: bool) -> Target {
    let layout = Layout::preset("nordic24").expect("a preset");
    let key = SigningKey::from_seed(b"fuzz").expect("a key");
    let nordic = Nordic::new(&layout, options, Some(key.public().clone())).expect("fits");
    let softdevice = synthetic_softdevice(0x2f00, 0x0101, 132, 7_000_000);
    let installed = secure_sweep::Installed {
        softdevice: &softdevice,
        application: &synthetic_image(1, 0x1400),
        application_version: 1,
        bootloader: &synthetic_image(100, 0x1f00),
        bootloader_version: 1,
    };
    let flash = secure_sweep::factory(&nordic, layout.blank_flash(), &installed).expect("fits");
    let package = |builder: InitPacketBuilder, version: u32| {
        let builder = builder.fw_version(version).hw_version(52).sd_req(&[0x0101]);
        (builder.sign(&key).expect("signs"), builder.firmware())
    };
    let newer = synthetic_softdevice(0x2f00, 0x0101, 132, 8_000_000);
    let packages = vec![
        package(InitPacketBuilder::application(&synthetic_image(2, 0x204)), 2),
        package(InitPacketBuilder::application(&synthetic_image(3, 0x1104)), 3),
        package(InitPacketBuilder::application(&synthetic_image(4, 0xe000)), 4),
        package(InitPacketBuilder::bootloader(&synthetic_image(101, 0x400)), 2),
        package(InitPacketBuilder::softdevice(&softdevice), u32::MAX),
        package(InitPacketBuilder::softdevice_bootloader(&newer, &synthetic_image(102, 0x400)), 3),
    ];
    let mut own = NordicBoard::new(nordic);
    (own.starts_in_dfu, own.dfu.reduced_protocol) = (true, reduced);
    Target {
        board: quick(Board::nordic("fuzzed", layout, own)),
        flash,
        packages,
        legacy: false,
        saves: options.save_progress,
    }
}

fn legacy(options: LegacyOptions) -> Target {
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
        (packet.emit(), image)
    };
    let packages = vec![package(2, 0x204), package(3, 0x1104), package(4, 0x2000)];
    let mut own = LegacyBoard::new(nordic);
    own.starts_in_dfu = true;
    Target { board: quick(Board::nordic_legacy("fuzzed", layout, own)), flash, packages, legacy: true, saves: false }
}

fn quick(mut board: Board) -> Arc<Board> {
    let timing = FlashTiming { erase_us: 1000, program_unit_ns: 0 };
    (board.timing, board.boot_timing) = (timing, timing);
    Arc::new(board)
}

/// A part of a proper upload: of a package, from an offset.
fn upload(stage: &mut Stage, target: &Target, which: u8, part: u8) {
    let (init, image) = &target.packages[usize::from(which) % target.packages.len()];
    let create = |kind: u8, len: usize| [&[1, kind][..], &(len as u32).to_le_bytes()].concat();
    match (target.legacy, part) {
        (false, 0) => {
            stage.ask(&create(1, init.len()));
            init.chunks(20).for_each(|piece| stage.send(piece));
            stage.ask(&[4]);
        }
        (false, part) => {
            let from = (usize::from(part - 1) * PAGE).min(image.len());
            let object = &image[from..image.len().min(from + PAGE)];
            stage.ask(&create(2, object.len()));
            object.chunks(244).for_each(|piece| stage.send(piece));
            stage.ask(&[4]);
        }
        (true, 0) => {
            stage.ask(&[1, 4]);
            stage.send(&[&[0; 8][..], &(image.len() as u32).to_le_bytes()].concat());
            stage.later(1_000_000);
            stage.ask(&[2, 0]);
            init.chunks(20).for_each(|piece| stage.send(piece));
            stage.ask(&[2, 1]);
            stage.ask(&[3]);
        }
        (true, part) => {
            let from = (usize::from(part - 1) * 0x800).min(image.len());
            for piece in image[from..image.len().min(from + 0x800)].chunks(20) {
                stage.send(piece);
                stage.later(1000);
            }
            if from + 0x800 >= image.len() {
                stage.ask(&[4]);
                stage.ask(&[5]);
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, mut rest)) = input.split_first() else { return };
    let target = &targets()[usize::from(*kind) % targets().len()];
    let mut stage = Stage::new(&target.board, Persistent::new(target.flash.clone()));
    stage.world.control(Control::Power(true));
    stage.settle(1_000_000);
    stage.connect();
    stage.listen(1);
    // Firmware of strangers other than applications, which Legacy DFU takes from anybody, or what may be sizes: it keeps
    // those that it refuses, and an activation erases as much.
    let mut strange = false;
    // A step: what, a length, as many bytes. A hundred of them are as good as more.
    for _ in 0..100 {
        let [what, len, next @ ..] = rest else { break };
        let (bytes, next) = next.split_at(usize::from(*len).min(next.len()));
        rest = next;
        let first = bytes.first().copied().unwrap_or(0);
        let second = bytes.get(1).copied().unwrap_or(0);
        match what % 14 {
            0 => drop(stage.connect()),
            1 => drop(stage.act(CentralAction::Disconnect)),
            2 => {
                strange |= bytes.first() == Some(&1) && second & 3 != 0;
                stage.ask(bytes);
            }
            3 => {
                strange |= bytes.len() == 12;
                stage.send(bytes);
            }
            4 => {
                let kind = [WriteKind::Request, WriteKind::Command, WriteKind::Long][usize::from(second) % 3];
                strange |=
                    bytes.len() == 14 || bytes.get(2) == Some(&1) && bytes.get(3).is_some_and(|mode| mode & 3 != 0);
                stage.write(first.into(), bytes.get(2..).unwrap_or_default(), kind);
            }
            5 => stage.later(u64::from(*len) * 400),
            6 => {
                stage.world.control(Control::Power(false));
                stage.later(1000);
                stage.world.control(Control::Power(true));
                stage.settle(1_000_000);
            }
            7 => stage.listen(first),
            8 => drop(stage.act(CentralAction::ExchangeMtu(u16::from(*len) * 3))),
            9 => {
                let (how, request): (u8, &[u8]) = if target.legacy { (1, &[1, 4]) } else { (2, &[1]) };
                stage.connect();
                stage.listen(how);
                stage.ask(request);
                stage.act(CentralAction::Confirm);
                stage.settle(1_000_000);
                stage.connect();
                stage.listen(1);
            }
            10 | 11 => upload(&mut stage, target, first, second % 18),
            12 => stage.world.control(Control::Reset),
            _ => stage.settle(u64::from(*len) * 1_000_000),
        }
    }
    for power in [false, true] {
        stage.world.control(Control::Power(power));
        stage.settle(20_000_000);
    }
    let up = stage.world.dead().is_none() && stage.world.device().is_some();
    let known = target.saves || target.legacy && strange;
    assert!(up || known, "{:?}", stage.world.dead());
});
