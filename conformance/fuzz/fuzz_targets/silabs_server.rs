//! A script of what a central, the power supply and time do to an EFR32 with Silicon Labs' OTA: nothing panics, and afterwards
//! the bootloader comes up.
#![no_main]

#[path = "../../../simulator/examples/hostile/stage.rs"]
mod stage;

use std::sync::{Arc, OnceLock};

use brickproof_flash_model::boot::gecko::{Gecko, Options};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::gbl::{Compression, EncryptionKey, FirmwareBuilder, GblBuilder};
use brickproof_flash_model::image::mcuboot::SigningKey;
use brickproof_flash_model::image::nordic::crc32;
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::sweep::gecko::{Installed, factory};
use brickproof_simulator::device::{Board, FlashTiming, Persistent};
use brickproof_simulator::gatt::{CentralAction, WriteKind};
use brickproof_simulator::silabs::{Address, AfterEnd, Erasing, SilabsBoard};
use brickproof_simulator::world::Control;
use libfuzzer_sys::fuzz_target;
use stage::Stage;

struct Target {
    board: Arc<Board>,
    flash: Flash,
    /// GBL files.
    files: Vec<Vec<u8>>,
}

fn targets() -> &'static [Target] {
    static TARGETS: OnceLock<Vec<Target>> = OnceLock::new();
    TARGETS.get_or_init(|| {
        let key = SigningKey::from_seed(b"fuzz").expect("a key");
        let options = Options {
            lz4: true,
            lzma: true,
            version_dependency: true,
            public_key: key.public().p256_point().ok(),
            encryption_key: Some([7; 16]),
            ..Options::apploader()
        };
        let storage = Options { storage: true, ..options.clone() };
        let series_1 = Options { series_2: false, version_dependency: false, upgrade_size: 0x4000, ..storage.clone() };
        vec![
            target("gecko40-apploader", options.clone(), |_| {}),
            target(
                "gecko40-apploader",
                Options { require_signed: true, secure_boot: true, ..options.clone() },
                |own| {
                    (own.ota.address, own.ota.after_end, own.ota.queue) = (Address::StaticRandom, AfterEnd::Nothing, 2);
                },
            ),
            target("gecko40-apploader", Options { version_check: true, ..options }, |own| {
                (own.starts_in_bootloader, own.ota.erase_on_start) = (true, true);
            }),
            target("gecko40-storage", storage.clone(), |_| {}),
            target("gecko40-storage", Options { require_encrypted: true, ..storage }, |own| {
                (own.ota.erasing, own.ota.answers_strangers) = (Erasing::Beside, true);
            }),
            target("gecko64-series-1", series_1, |own| own.ota.verify_us = 100),
        ]
    })
}

fn target(preset: &str, options: Options, change: impl FnOnce(&mut SilabsBoard)) -> Target {
    let layout = Layout::preset(preset).expect("a preset");
    // Of Series 1 a new bootloader lies where the tests have it.
    let upgrade_offset = if options.storage { 0x8000 } else { options.upgrade_offset };
    let gecko = Gecko::new(&layout, Options { upgrade_offset, ..options.clone() }).expect("fits");
    let (start, main_stage) = (gecko.map().application_start(), gecko.map().main_stage());
    let key = SigningKey::from_seed(b"fuzz").expect("a key");
    let bootloader = |version: u32| FirmwareBuilder::bootloader(main_stage, version << 24).size(0x400).build();
    let old = bootloader(1);
    let firmware = |version: u32, size: usize| {
        let builder = FirmwareBuilder::new(start).version(version).size(size);
        if options.secure_boot { builder.sign(&key).expect("signs") } else { builder.build() }
    };
    let installed = Installed {
        bootloader: &[old.as_slice(), &crc32(&old, 0).to_le_bytes()].concat(),
        application: &firmware(1, 0x900),
        slot: &[],
    };
    let flash = factory(&gecko, layout.blank_flash(), &installed).expect("fits");
    let finish = |builder: GblBuilder| {
        let builder =
            if options.require_encrypted { builder.encrypt(&EncryptionKey::new([7; 16]), [9; 12]) } else { builder };
        if options.require_signed { builder.sign(&key) } else { builder.unsigned() }.expect("a file")
    };
    let data = FirmwareBuilder::new(start).version(4).data();
    let packed = GblBuilder::new().application(&data);
    let packed = packed.compressed_program(Compression::Lzma, start, &firmware(4, 0x800)).expect("packs");
    let files = vec![
        finish(GblBuilder::new().firmware(start, &firmware(2, 0x304))),
        finish(GblBuilder::new().firmware(start, &firmware(3, 0x1104))),
        finish(packed),
        finish(GblBuilder::new().bootloader(2 << 24, main_stage, &bootloader(2)).firmware(start, &firmware(5, 0x700))),
    ];
    let mut own = SilabsBoard::new(gecko);
    change(&mut own);
    let mut board = Board::silabs("fuzzed", layout, own);
    let timing = FlashTiming { erase_us: 1000, program_unit_ns: 0 };
    (board.timing, board.boot_timing) = (timing, timing);
    Target { board: Arc::new(board), flash, files }
}

/// From a proper upload: the way in, a part of a file, the end.
fn upload(stage: &mut Stage, target: &Target, which: u8, part: u8) {
    let file = &target.files[usize::from(which) % target.files.len()];
    match part {
        0 => {
            stage.ask(&[0]);
            stage.settle(4_000_000);
            stage.connect();
            stage.act(CentralAction::ExchangeMtu(247));
            stage.ask(&[0]);
        }
        1 => {
            stage.ask(&[3]);
            stage.act(CentralAction::Disconnect);
            stage.settle(10_000_000);
        }
        2 => {
            for piece in file.chunks(244) {
                stage.write(stage.handles.packet, piece, WriteKind::Request);
            }
        }
        part => {
            let from = (usize::from(part - 3) * 0x100).min(file.len());
            for piece in file[from..file.len().min(from + 0x100)].chunks(20) {
                stage.send(piece);
                stage.later(1000);
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
    // Firmware of strangers, and half of ours: whatever that is, it may end in a fault or in a bootloader that halts, which
    // the sweeps tell.
    let mut strange = false;
    // A step: what, a length, as many bytes. A hundred of them are as good as more.
    for _ in 0..100 {
        let [what, len, next @ ..] = rest else { break };
        let (bytes, next) = next.split_at(usize::from(*len).min(next.len()));
        rest = next;
        let first = bytes.first().copied().unwrap_or(0);
        let second = bytes.get(1).copied().unwrap_or(0);
        match what % 13 {
            0 => drop(stage.connect()),
            1 => drop(stage.act(CentralAction::Disconnect)),
            2 => stage.ask(bytes),
            3 => {
                strange = true;
                stage.send(bytes);
            }
            4 => {
                strange = true;
                let kind = [WriteKind::Request, WriteKind::Command, WriteKind::Long][usize::from(second) % 3];
                stage.write(first.into(), bytes.get(2..).unwrap_or_default(), kind);
            }
            5 => stage.later(u64::from(*len) * 400),
            6 => {
                stage.world.control(Control::Power(false));
                stage.later(1000);
                stage.world.control(Control::Power(true));
                stage.settle(1_000_000);
            }
            7 => drop(stage.act(CentralAction::Read { handle: first.into(), offset: 0 })),
            8 => drop(stage.act(CentralAction::ExchangeMtu(u16::from(*len) * 3))),
            9 | 10 => upload(&mut stage, target, first, second % 20),
            11 => stage.world.control(Control::Reset),
            _ => stage.settle(u64::from(*len) * 1_000_000),
        }
    }
    for power in [false, true] {
        stage.world.control(Control::Power(power));
        stage.settle(20_000_000);
    }
    let up = stage.world.dead().is_none() && stage.world.device().is_some();
    assert!(up || strange, "{:?}", stage.world.dead());
});
