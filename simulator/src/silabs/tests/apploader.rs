//! The AppLoader.

use brickproof_flash_model::boot::gecko::{Options, reason};
use brickproof_flash_model::image::gbl::{Compression, FirmwareBuilder, GblBuilder};
use brickproof_flash_model::layout::Layout;

use super::{Bench, Said, board, firmware};
use crate::device::Endpoint;
use crate::device::program::Input;
use crate::gatt::AttError;
use crate::silabs::gatt::result;
use crate::silabs::{AfterEnd, SilabsBoard};

/// An AppLoader over an application of version 1, and a file with version 2.
fn bench_with(options: Options, change: impl FnOnce(&mut SilabsBoard)) -> (Bench, Vec<u8>) {
    let layout = Layout::preset("gecko40-apploader").unwrap();
    let mut board = board(&layout, options);
    change(&mut board);
    let mut flash = layout.blank_flash();
    flash.load(layout.area("application").unwrap(), 0, &firmware(&board, 1, 12_000).0).unwrap();
    let file = firmware(&board, 2, 12_000).1;
    let mut bench = Bench::apploader(board, flash);
    bench.tell(Input::Connected { bonded: false });
    (bench, file)
}

fn bench(change: impl FnOnce(&mut SilabsBoard)) -> (Bench, Vec<u8>) {
    bench_with(Options::apploader(), change)
}

impl Bench {
    fn application_version(&self) -> Option<u32> {
        self.board.bootloader.application_version(&self.flash).unwrap()
    }

    fn leave(&mut self) -> u16 {
        self.tell(Input::Disconnected);
        self.settle();
        assert!(self.resets());
        self.info().reason
    }
}

#[test]
fn a_whole_file_is_programmed_and_said_to_be_good() {
    let (mut bench, file) = bench(|_| {});
    assert_eq!(bench.control(0), Ok(()));
    assert_eq!(bench.application_version(), Some(1));
    assert_eq!(bench.file(&file), Ok(()));
    assert_eq!(bench.program.bytes(), Some(file.len() as u64));
    assert_eq!(bench.control(3), Ok(()));
    assert_eq!(bench.application_version(), Some(2));
    assert_eq!(bench.leave(), reason::GO);
}

#[test]
fn nothing_comes_before_a_start() {
    let (mut bench, file) = bench(|_| {});
    let before = bench.flash.clone();
    assert_eq!(bench.data(&file[..100]), Err(result::WRONG_STATE));
    assert_eq!(bench.control(3), Err(result::WRONG_STATE));
    bench.take_said();
    bench.send(&file[..100]);
    bench.settle();
    assert_eq!(bench.take_said(), []);
    assert_eq!(bench.flash, before);
    assert_eq!(bench.leave(), reason::GO);
}

#[test]
fn an_end_before_the_end_of_the_file_is_no_success() {
    let (mut bench, file) = bench(|_| {});
    bench.control(0).unwrap();
    bench.file(&file[..6000]).unwrap();
    assert_eq!(bench.control(3), Err(result::CRC));
    assert!(bench.board.bootloader.unbootable(&bench.flash).unwrap().is_some());
    assert_eq!(bench.leave(), reason::BADIMAGE);
}

#[test]
fn control_takes_one_byte_of_three() {
    let (mut bench, _) = bench(|_| {});
    for value in [&[][..], &[0, 0], &[3, 0]] {
        assert_eq!(bench.result(Endpoint::OtaControl, value), Some(Err(AttError::INVALID_LENGTH)));
    }
    assert_eq!(bench.control(1), Err(AttError(0x13)));
    bench.board.ota.reserved = AttError(0x84);
    assert_eq!(bench.control(0xff), Err(AttError(0x84)));
    bench.take_said();
    assert_eq!(bench.control(4), Ok(()));
    assert!(matches!(bench.take_said()[..], [Said::Answer(_, Ok(())), Said::Disconnect]));
}

#[test]
fn a_refusal_stays_until_another_start() {
    let (mut bench, mut file) = bench(|_| {});
    let good = file.clone();
    file[16] ^= 0xff;
    bench.control(0).unwrap();
    assert_eq!(bench.data(&file[..100]), Err(result::NOT_SUPPORTED));
    let flash = bench.flash.clone();
    assert_eq!(bench.data(&file[100..300]), Err(result::NOT_SUPPORTED));
    bench.take_said();
    bench.send(&file[300..400]);
    bench.settle();
    assert_eq!(bench.take_said(), []);
    assert_eq!(bench.control(3), Err(result::NOT_SUPPORTED));
    assert_eq!(bench.control(3), Err(result::NOT_SUPPORTED));
    assert_eq!(bench.flash, flash);
    assert_eq!(bench.control(0), Ok(()));
    assert_eq!(bench.file(&good), Ok(()));
    assert_eq!(bench.control(3), Ok(()));
}

#[test]
fn a_refusal_without_a_response_is_told_with_the_next_one() {
    let (mut bench, mut file) = bench(|_| {});
    file[16] ^= 0xff;
    bench.control(0).unwrap();
    bench.take_said();
    bench.send(&file[..100]);
    bench.settle();
    assert_eq!(bench.take_said(), []);
    assert_eq!(bench.control(3), Err(result::NOT_SUPPORTED));
}

#[test]
fn what_finds_no_buffer_is_lost_and_told_once() {
    let (mut bench, file) = bench(|own| own.ota.queue = 2);
    bench.control(0).unwrap();
    bench.take_said();
    let mut pieces = file.chunks(100);
    let mut next = || pieces.next().unwrap();
    bench.send(next());
    assert!(bench.begin_work());
    // One under way, one that waits, one for which there is no room.
    bench.send(next());
    bench.send(next());
    assert_eq!(bench.take_said(), [Said::Dropped(2)]);
    // What is answered finds room of its own.
    let request = bench.ask(Endpoint::OtaData, next());
    bench.settle();
    assert_eq!(bench.take_said(), [Said::Answer(request, Err(result::BUFFERS_FULL))]);
    assert_eq!(bench.data(next()), Ok(()));
    assert_eq!(bench.program.bytes(), Some(400));
}

#[test]
fn what_was_lost_is_told_at_the_end_and_not_after_another_start() {
    let (mut bench, file) = bench(|own| own.ota.queue = 1);
    let lose = |bench: &mut Bench| {
        bench.control(0).unwrap();
        bench.send(&file[..20]);
        bench.send(&file[20..40]);
        bench.settle();
    };
    lose(&mut bench);
    assert_eq!(bench.control(3), Err(result::BUFFERS_FULL));
    assert_eq!(bench.control(3), Err(result::CRC));
    lose(&mut bench);
    bench.control(0).unwrap();
    assert_eq!(bench.file(&file), Ok(()));
    assert_eq!(bench.control(3), Ok(()));
}

#[test]
fn requests_that_nobody_waits_for_do_not_pile_up() {
    let (mut bench, file) = bench(|_| {});
    bench.control(0).unwrap();
    bench.take_said();
    bench.ask(Endpoint::OtaData, &file[..40]);
    assert!(bench.begin_work());
    for _ in 0..40 {
        bench.ask(Endpoint::OtaControl, &[3]);
    }
    assert_eq!(bench.said.iter().filter(|said| matches!(said, Said::Dropped(16))).count(), 25);
    bench.settle();
    assert_eq!(bench.said.iter().filter(|said| matches!(said, Said::Answer(..))).count(), 16);
}

/// What is answered to a value behind the end of a file, then to one more, and to the end.
fn behind_the_end(after_end: AfterEnd, values: [&[u8]; 2]) -> [Result<(), AttError>; 3] {
    let (mut bench, file) = bench(|own| own.ota.after_end = after_end);
    bench.control(0).unwrap();
    bench.file(&file).unwrap();
    [bench.data(values[0]), bench.data(values[1]), bench.control(3)]
}

#[test]
fn behind_the_end_is_padding_or_anything_or_nothing() {
    let refused = Err(result::NOT_SUPPORTED);
    let [padding, data]: [&[u8]; 2] = [&[0xff; 3], &[1, 2, 3, 4]];
    assert_eq!(behind_the_end(AfterEnd::Padding, [padding, padding]), [Ok(()); 3]);
    assert_eq!(behind_the_end(AfterEnd::Padding, [&[0xff; 4], padding]), [refused; 3]);
    assert_eq!(behind_the_end(AfterEnd::Padding, [padding, data]), [Ok(()), refused, refused]);
    assert_eq!(behind_the_end(AfterEnd::Anything, [data, data]), [Ok(()); 3]);
    assert_eq!(behind_the_end(AfterEnd::Nothing, [padding, data]), [refused; 3]);
}

#[test]
fn a_second_file_is_read_however_the_end_of_the_first_is_taken() {
    for after_end in [AfterEnd::Padding, AfterEnd::Anything, AfterEnd::Nothing] {
        let (mut bench, file) = bench(|own| own.ota.after_end = after_end);
        let third = firmware(&bench.board, 3, 12_000).1;
        for (file, version) in [(file, 2), (third, 3)] {
            bench.control(0).unwrap();
            assert_eq!(bench.file(&file), Ok(()));
            assert_eq!(bench.control(3), Ok(()));
            assert_eq!(bench.application_version(), Some(version));
        }
    }
}

#[test]
fn a_start_erases_by_option_alone() {
    for erases in [false, true] {
        let (mut bench, _) = bench(|own| own.ota.erase_on_start = erases);
        let map = bench.board.bootloader.map().clone();
        let rest = map.application_start() + map.page();
        let behind = bench.bytes(rest, map.page());
        assert_eq!(bench.control(0), Ok(()));
        assert_eq!(bench.application_version().is_none(), erases);
        let first = bench.bytes(map.application_start(), map.page());
        assert_eq!(first.iter().all(|byte| *byte == 0xff), erases);
        assert_eq!(bench.bytes(rest, map.page()), behind);
    }
}

#[test]
fn a_start_that_erases_is_answered_behind_it_and_others_wait() {
    let (mut bench, file) = bench(|own| own.ota.erase_on_start = true);
    bench.ask(Endpoint::OtaControl, &[0]);
    assert!(bench.begin_work());
    bench.ask(Endpoint::OtaData, &file[..40]);
    assert_eq!(bench.take_said(), []);
    bench.settle();
    assert_eq!(bench.take_said(), [Said::Answer(1, Ok(())), Said::Answer(2, Ok(()))]);
    assert_eq!(bench.program.bytes(), Some(40));
}

#[test]
fn a_low_battery_is_the_applications_to_look_at() {
    let (mut bench, file) = bench(|own| own.ota.low_battery = Some(AttError(0x80)));
    bench.low = true;
    assert_eq!(bench.control(0), Ok(()));
    assert_eq!(bench.file(&file), Ok(()));
    assert_eq!(bench.control(3), Ok(()));
}

#[test]
fn what_waits_when_the_connection_ends_is_gone_but_for_what_is_under_way() {
    let (mut bench, file) = bench(|_| {});
    bench.control(0).unwrap();
    bench.file(&file[..9000]).unwrap();
    bench.send(&file[9000..9244]);
    assert!(bench.begin_work());
    bench.send(&file[9244..9488]);
    assert_eq!(bench.leave(), reason::BADIMAGE);
    assert_eq!(bench.program.bytes(), Some(9244));
}

/// A program of 4 bytes, and then a match that begins where it ends: the decompressor copies nothing for ever.
fn endless(board: &SilabsBoard) -> Vec<u8> {
    let start = board.bootloader.map().application_start();
    let mut payload = start.to_le_bytes().to_vec();
    payload.extend([0x4f, 1, 2, 3, 4, 0, 0, 0xff, 0xff, 0, 0x10, 1]);
    GblBuilder::new().part(Compression::Lz4.tag_kind(), payload).unsigned().unwrap()
}

#[test]
fn a_device_that_hangs_says_nothing_any_more() {
    let (mut bench, _) = bench_with(Options { lz4: true, ..Options::apploader() }, |_| {});
    let file = endless(&bench.board);
    bench.control(0).unwrap();
    bench.take_said();
    let request = bench.ask(Endpoint::OtaData, &file);
    bench.settle();
    assert_eq!(bench.take_said(), [Said::Silent], "request {request} is never answered");
    assert!(bench.program.mode().unwrap().halted().is_some());
    bench.ask(Endpoint::OtaControl, &[0]);
    bench.tell(Input::Disconnected);
    bench.settle();
    assert_eq!(bench.take_said(), []);
}

#[test]
fn a_bootloader_comes_into_its_place_when_the_connection_ends() {
    let (mut bench, _) = bench(|_| {});
    let map = bench.board.bootloader.map().clone();
    let place = map.main_stage();
    let image = FirmwareBuilder::bootloader(place, 0x0300_0000).size(0x400).build();
    let file = GblBuilder::new().bootloader(0x0300_0000, place, &image).unsigned().unwrap();
    bench.control(0).unwrap();
    bench.file(&file).unwrap();
    assert_eq!(bench.control(3), Ok(()));
    assert_eq!(bench.leave(), reason::BOOTLOAD);
    assert_eq!(bench.board.bootloader.bootloader_version(&bench.flash).unwrap(), 0x0300_0000);
}

#[test]
fn a_version_that_is_checked_has_a_result_of_its_own() {
    let (mut bench, _) = bench_with(Options { version_check: true, ..Options::apploader() }, |_| {});
    let same = firmware(&bench.board, 1, 12_000).1;
    bench.control(0).unwrap();
    assert_eq!(bench.file(&same), Err(result::VERSION));
    assert_eq!(bench.control(3), Err(result::VERSION));
    assert_eq!(bench.application_version(), Some(1));
}
