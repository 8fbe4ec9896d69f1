//! Packets, each behind a length byte, to a whole device; power is cycled at the end, and it must start.
#![no_main]

use std::sync::{Arc, OnceLock};

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Options, Slot};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::mcuboot::{ImageBuilder, Verifier};
use brickproof_flash_model::layout::Layout;
use brickproof_simulator::device::{Board, Persistent};
use brickproof_simulator::smp::ServerConfig;
use brickproof_simulator::trace::Wants;
use brickproof_simulator::world::{Control, World};
use libfuzzer_sys::fuzz_target;

fn board() -> &'static (Arc<Board>, Flash) {
    static BOARD: OnceLock<(Arc<Board>, Flash)> = OnceLock::new();
    BOARD.get_or_init(|| {
        let layout = Layout::preset("tiny4-a4").expect("a preset");
        let options = Options { max_sectors: 4, ..Options::default() };
        let mcuboot = Mcuboot::new(&layout, options, Verifier::default()).expect("fits");
        let version = "1.0.0".parse().expect("a version");
        let image = ImageBuilder::new(version).header_size(32).generated_payload(3000).unsigned();
        let mut flash = layout.blank_flash();
        flash.load(mcuboot.area(Slot::Primary), 0, &image).expect("fits");
        let board = Board {
            smp: ServerConfig { buffer_size: 1024, ..ServerConfig::default() },
            ..Board::new("fuzzed", layout, mcuboot)
        };
        (Arc::new(board), flash)
    })
}

/// Until nothing more is due, or a minute of the device has passed.
fn settle(world: &mut World) {
    let end = world.now() + 60_000_000;
    while let Some(due) = world.next_wake().filter(|due| *due <= end) {
        world.advance(due);
    }
    while world.take_sent().is_some() {}
}

fuzz_target!(|input: &[u8]| {
    let (board, flash) = board();
    let mut world = World::new(Arc::clone(board), Persistent::new(flash.clone()), Wants::default());
    world.control(Control::Power(true));
    settle(&mut world);
    let mut rest = input;
    while let Some((len, next)) = rest.split_first() {
        let (packet, next) = next.split_at((*len as usize).min(next.len()));
        world.receive(1, packet);
        settle(&mut world);
        rest = next;
    }
    world.control(Control::Power(false));
    world.control(Control::Power(true));
    settle(&mut world);
    assert_eq!(world.dead(), None, "the device starts after whatever it was sent");
});
