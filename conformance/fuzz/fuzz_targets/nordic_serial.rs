//! Bytes to the serial port of a Secure and of a Legacy target: a frame comes back from what it was taken for, and it is
//! all the same in which pieces the bytes come.
#![no_main]

use std::sync::{Arc, OnceLock};

use brickproof_flash_model::boot::nordic::softdevice::{synthetic_image, synthetic_softdevice};
use brickproof_flash_model::boot::nordic::{Nordic, Options};
use brickproof_flash_model::boot::nordic_legacy::{NordicLegacy, Options as LegacyOptions};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::sweep::{nordic as secure_sweep, nordic_legacy as legacy_sweep};
use brickproof_simulator::device::{Board, FlashTiming, Persistent};
use brickproof_simulator::nordic::legacy::hci;
use brickproof_simulator::nordic::{LegacyBoard, NordicBoard, slip};
use brickproof_simulator::trace::Wants;
use brickproof_simulator::world::{Carrier, Control, World};
use libfuzzer_sys::fuzz_target;

fn targets() -> &'static [(Arc<Board>, Flash); 2] {
    static TARGETS: OnceLock<[(Arc<Board>, Flash); 2]> = OnceLock::new();
    TARGETS.get_or_init(|| {
        let quick = |mut board: Board| {
            let timing = FlashTiming { erase_us: 0, program_unit_ns: 0 };
            (board.timing, board.boot_timing) = (timing, timing);
            Arc::new(board)
        };
        let layout = Layout::preset("nordic24").expect("a preset");
        let options = Options { ble: false, require_signed_app: false, ..Options::default() };
        let nordic = Nordic::new(&layout, options, None).expect("fits");
        let installed = secure_sweep::Installed {
            softdevice: &[],
            application: &synthetic_image(1, 0x1400),
            application_version: 1,
            bootloader: &synthetic_image(100, 0x1f00),
            bootloader_version: 1,
        };
        let flash = secure_sweep::factory(&nordic, layout.blank_flash(), &installed).expect("fits");
        let mut own = NordicBoard::new(nordic);
        own.starts_in_dfu = true;
        let secure = (quick(Board::nordic("fuzzed", layout, own)), flash);
        let layout = Layout::preset("nordic-legacy17").expect("a preset");
        let nordic = NordicLegacy::new(&layout, LegacyOptions::adafruit(), None).expect("fits");
        let installed = legacy_sweep::Installed {
            softdevice: &synthetic_softdevice(0x2f00, 0x81, 132, 2_000_000),
            application: &synthetic_image(1, 0x1400),
            checked: false,
            bootloader: &synthetic_image(100, 0x1f00),
        };
        let flash = legacy_sweep::factory(&nordic, layout.blank_flash(), &installed).expect("fits");
        let mut own = LegacyBoard::new(nordic);
        own.starts_in_dfu = true;
        [secure, (quick(Board::nordic_legacy("fuzzed", layout, own)), flash)]
    })
}

fn decoders(bytes: &[u8]) {
    for recovers in [false, true] {
        let new = || if recovers { slip::Decoder::recovering(64) } else { slip::Decoder::new(64) };
        let mut decoder = new();
        for decoded in bytes.iter().filter_map(|byte| decoder.push(*byte)) {
            if let slip::Decoded::Frame(frame) = decoded {
                assert!(frame.len() <= 64);
                let mut again = new();
                let last = slip::encode(&frame).iter().filter_map(|byte| again.push(*byte)).last();
                assert_eq!(last, Some(slip::Decoded::Frame(frame)));
            }
        }
    }
    let mut decoder = hci::Decoder::default();
    let mut receiver = hci::Receiver::default();
    for decoded in bytes.iter().filter_map(|byte| decoder.push(*byte)) {
        let hci::Decoded::Frame(frame) = decoded else { continue };
        assert!(!frame.is_empty() && frame.len() <= hci::FRAME_MAX);
        let expected = receiver.expected();
        match receiver.receive(&frame) {
            Ok((acknowledgement, taken)) => {
                assert_eq!(hci::acknowledged(&acknowledgement), Some(receiver.expected()));
                assert_eq!(taken.is_some(), receiver.expected() != expected);
                if let Some(payload) = taken {
                    let packet = hci::SerialPacket::parse(payload);
                    assert_eq!(hci::SerialPacket::parse(&packet.emit()), packet);
                }
            }
            Err(_) => assert_eq!(receiver.expected(), expected),
        }
        // Frames that are full up to the last byte have no room for the end.
        if frame.len() < hci::FRAME_MAX {
            let mut again = hci::Decoder::default();
            let last = hci::frame(&frame).iter().filter_map(|byte| again.push(*byte)).last();
            assert_eq!(last, Some(hci::Decoded::Frame(frame)));
        }
    }
}

/// All that is sent for bytes that come in these pieces.
fn answers(target: &(Arc<Board>, Flash), bytes: &[u8], sizes: &[u8]) -> Vec<Vec<u8>> {
    let wants = Wants { flash: false, messages: false };
    let mut world = World::new(Arc::clone(&target.0), Persistent::new(target.1.clone()), wants);
    world.set_carrier(Carrier::Console);
    world.control(Control::Power(true));
    world.advance(1_000_000);
    let mut sizes = sizes.iter().map(|size| usize::from(*size % 32) + 1).cycle();
    let mut rest = bytes;
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(rest.len()).min(rest.len());
        let (piece, next) = rest.split_at(size);
        world.receive(1, piece);
        rest = next;
    }
    world.advance(20_000_000);
    std::iter::from_fn(|| world.take_sent()).map(|(_, value)| value).collect()
}

fuzz_target!(|input: &[u8]| {
    let Some((flags, rest)) = input.split_first() else { return };
    let (sizes, mut bytes) = rest.split_at(usize::from(flags >> 1) % 8 % (rest.len() + 1));
    decoders(bytes);
    let target = &targets()[usize::from(flags & 1)];
    // Frames of the fuzzer's bytes, with their CRCs right.
    let mut framed = Vec::new();
    if flags & 0x10 != 0 {
        let mut sequence = 1;
        while let [len, next @ ..] = bytes {
            let (payload, next) = next.split_at(usize::from(*len).min(next.len()));
            bytes = next;
            if flags & 1 == 0 {
                framed.extend(slip::encode(payload));
            } else {
                framed.extend(hci::frame(&hci::packet(sequence, payload)));
                sequence = (sequence + 1) & 7;
            }
        }
        bytes = &framed;
    }
    assert_eq!(answers(target, bytes, sizes), answers(target, bytes, &[]));
});
