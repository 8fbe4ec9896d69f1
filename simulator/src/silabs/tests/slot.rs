//! An application with a slot: what stands in its tables, one by one, and what the second reading does not have.

use brickproof_flash_model::boot::gecko::{Options, reason};
use brickproof_flash_model::image::gbl::{FirmwareBuilder, GblBuilder};
use brickproof_flash_model::layout::Layout;

use super::{Bench, SLOT, SMALL, Said, board, small};
use crate::device::Endpoint;
use crate::device::program::Input;
use crate::gatt::AttError;
use crate::silabs::gatt::result;
use crate::silabs::slot::State;
use crate::silabs::{Erasing, Program, Scheme, SilabsBoard};

fn bench(dirty: &[u8], change: impl FnOnce(&mut SilabsBoard)) -> Bench {
    let layout = small();
    let options = Options { upgrade_offset: 0x1800, upgrade_size: 0x400, ..Options::storage() };
    let mut own = board(&layout, options);
    change(&mut own);
    let mut flash = layout.blank_flash();
    flash.load(layout.area("slot-0").unwrap(), 0, dirty).unwrap();
    let mut bench = Bench::application(own, flash);
    bench.tell(Input::Connected { bonded: false });
    bench
}

fn file(bench: &Bench) -> Vec<u8> {
    let start = bench.board.bootloader.map().application_start();
    let image = FirmwareBuilder::new(start).size(FirmwareBuilder::MIN_SIZE).build();
    GblBuilder::new().firmware(start, &image).unsigned().unwrap()
}

impl Bench {
    fn state(&self) -> State {
        match &self.program {
            Program::Slot(application) => application.state(),
            other => panic!("{other:?}"),
        }
    }

    fn leave_slot(&mut self) {
        self.tell(Input::Disconnected);
        self.settle();
    }
}

#[test]
fn a_file_is_stored_verified_and_left_to_the_bootloader() {
    let mut bench = bench(&[], |_| {});
    let file = file(&bench);
    assert_eq!(bench.control(0), Ok(()));
    assert_eq!(file.chunks(20).try_for_each(|piece| bench.data(piece)), Ok(()));
    assert_eq!(bench.program.bytes(), Some(file.len() as u64));
    assert_eq!(bench.control(3), Ok(()));
    assert!(!bench.resets());
    bench.leave_slot();
    assert!(bench.resets());
    assert_eq!(bench.info().reason, reason::BOOTLOAD);
    assert_eq!(bench.bytes(SLOT.0, file.len() as u32), file);
}

#[test]
fn a_slot_is_full_to_its_last_byte_before_it_is_said() {
    let mut bench = bench(&[], |_| {});
    bench.control(0).unwrap();
    for _ in 0..8 {
        assert_eq!(bench.data(&[0x5a; 124]), Ok(()));
    }
    // 32 bytes are left.
    let full = bench.flash.clone();
    assert_eq!(bench.data(&[0x5a; 36]), Err(result::TOO_BIG));
    assert_ne!(bench.flash, full, "an error erases the slot");
    bench.control(0).unwrap();
    for _ in 0..32 {
        assert_eq!(bench.data(&[0x5a; 32]), Ok(()));
    }
    assert_eq!(bench.data(&[0x5a; 4]), Err(result::BUFFERS_FULL));
    assert_eq!(bench.state(), State::Ready);
}

#[test]
fn pieces_are_whole_words() {
    let mut bench = bench(&[], |_| {});
    for len in [1, 2, 3, 5, 182] {
        bench.control(0).unwrap();
        assert_eq!(bench.data(&vec![1; len]), Err(result::TOO_BIG));
    }
}

#[test]
fn data_of_a_stranger_is_not_answered_but_by_older_ones() {
    let mut bench = bench(&[], |_| {});
    assert_eq!(bench.result(Endpoint::OtaData, &[1; 4]), None);
    assert_eq!(bench.program.bytes(), Some(0));
    bench.board.ota.answers_strangers = true;
    assert_eq!(bench.result(Endpoint::OtaData, &[1; 4]), Some(Ok(())));
    assert_eq!(bench.program.bytes(), Some(0));
    assert_eq!(bench.bytes(SLOT.0, 4), [0xff; 4]);
}

#[test]
fn a_low_battery_refuses_a_start() {
    let mut bench = bench(&[], |own| own.ota.low_battery = Some(AttError(0x80)));
    bench.low = true;
    assert_eq!(bench.control(0), Err(AttError(0x80)));
    assert_eq!(bench.state(), State::Ready);
    bench.low = false;
    assert_eq!(bench.control(0), Ok(()));
    assert_eq!(bench.state(), State::Begin);
}

#[test]
fn what_waits_without_a_response_has_so_much_room() {
    let mut bench = bench(&[], |own| own.ota.queue = 2);
    bench.control(0).unwrap();
    bench.take_said();
    bench.send(&[1; 4]);
    assert!(bench.begin_work());
    bench.send(&[2; 4]);
    bench.send(&[3; 4]);
    bench.settle();
    assert_eq!(bench.take_said(), [Said::Dropped(2)]);
    assert_eq!(bench.data(&[4; 4]), Ok(()));
    assert_eq!(bench.bytes(SLOT.0, 12), [[1; 4], [2; 4], [4; 4]].concat());
}

#[test]
fn a_slot_with_something_in_it_is_erased_from_the_start_on() {
    let layout = small();
    let options = Options { upgrade_offset: 0x1800, upgrade_size: 0x400, ..Options::storage() };
    let mut flash = layout.blank_flash();
    flash.load(layout.area("slot-0").unwrap(), 0x3fc, &[0]).unwrap();
    let mut bench = Bench::application(board(&layout, options), flash);
    assert_eq!(bench.state(), State::Erase);
    assert!(bench.begin_work());
    bench.end_work();
    assert_eq!(bench.state(), State::Ready);
    assert_eq!(bench.bytes(SLOT.0, SLOT.1), [0xff; 0x400]);
}

#[test]
fn a_start_while_the_slot_is_erased() {
    for (erasing, at_once, after) in
        [(Erasing::Blocks, 0, State::Begin), (Erasing::Beside, 1, State::Ready), (Erasing::Deaf, 0, State::Ready)]
    {
        let mut bench = bench(&[1], |own| own.ota.erasing = erasing);
        assert!(bench.begin_work());
        let request = bench.ask(Endpoint::OtaControl, &[0]);
        assert_eq!(bench.said.len(), at_once, "{erasing:?}");
        bench.settle();
        assert_eq!(bench.state(), after, "{erasing:?}");
        let answered = bench.take_said() == [Said::Answer(request, Ok(()))];
        assert_eq!(answered, erasing != Erasing::Deaf);
    }
}

#[test]
fn a_task_that_has_erased_has_the_last_word() {
    for byte in [3, 4, 7] {
        let mut bench = bench(&[1], |own| own.ota.erasing = Erasing::Beside);
        assert!(bench.begin_work());
        bench.ask(Endpoint::OtaControl, &[byte]);
        bench.leave_slot();
        assert_eq!(bench.state(), State::Ready);
        assert_eq!(bench.control(0), Ok(()));
        assert_eq!(bench.state(), State::Begin);
    }
}

#[test]
fn an_erase_that_is_cut_is_one_whatever_was_written_meanwhile() {
    use brickproof_flash_model::flash::{Controller, Uncut};

    let mut bench = bench(&[1], |own| own.ota.erasing = Erasing::Beside);
    assert!(bench.begin_work());
    bench.ask(Endpoint::OtaControl, &[3]);
    bench.flash = bench.before.clone().unwrap();
    let info = bench.info();
    bench.program.do_flash_work(&bench.board, &mut Controller::new(&mut bench.flash, &mut Uncut), info).unwrap();
    assert_eq!(bench.bytes(SLOT.0, SLOT.1), [0xff; 0x400]);
}

/// An application whose slot is being verified, which takes 10 ms for every piece.
fn verifying() -> Bench {
    let mut bench = bench(&[], |own| own.ota.verify_us = 10_000);
    let file = file(&bench);
    bench.control(0).unwrap();
    file.chunks(100).for_each(|piece| bench.data(piece).unwrap());
    bench.control(3).unwrap();
    bench.leave_slot();
    assert_eq!(bench.state(), State::Verify);
    bench.tell(Input::Connected { bonded: false });
    bench
}

#[test]
fn a_control_byte_ends_a_verification() {
    let mut left = verifying();
    left.wait(1_000_000);
    assert!(left.resets());
    for (byte, then) in [(0, State::Ready), (3, State::End), (4, State::Close), (9, State::Uninit)] {
        let mut bench = verifying();
        assert_eq!(bench.control(byte), Ok(()));
        assert_eq!(bench.state(), then);
        bench.wait(1_000_000);
        assert!(!bench.resets());
        // A slot that was begun with at the wrong time is erased.
        assert_eq!(bench.bytes(SLOT.0, 4) == [0xff; 4], byte == 0);
    }
}

#[test]
fn an_end_that_nobody_has_begun_waits_for_another_start() {
    let mut bench = bench(&[], |_| {});
    bench.control(3).unwrap();
    bench.leave_slot();
    assert_eq!(bench.state(), State::End);
    bench.control(0).unwrap();
    assert_eq!(bench.state(), State::Ready);
}

#[test]
fn without_a_slot_it_never_is_ready() {
    let layout = Layout::parse("none", &SMALL.replace("slot-0", "else")).unwrap();
    let mut own = board(&layout, Options { upgrade_offset: 0x1800, upgrade_size: 0x400, ..Options::apploader() });
    own.scheme = Scheme::Slot;
    let mut bench = Bench::application(own, layout.blank_flash());
    for byte in [0, 3, 0, 4, 0] {
        assert_eq!(bench.control(byte), Ok(()));
    }
    assert_eq!(bench.state(), State::Error);
    assert_eq!(bench.result(Endpoint::OtaData, &[1; 4]), None);
}
