//! What the two readings had to be brought together on, one by one.

use super::model::Built;
use super::packets::{Known, all};
use super::{BACKUP, Bench, SETTINGS};

const BUILT: Built = Built {
    reduced: true,
    saves: false,
    single: false,
    force_dual: false,
    signed: true,
    downgrades: false,
    same_version: true,
    debug: false,
};

fn bench(built: Built) -> (Bench, Known) {
    let mut bench = Bench::new(built);
    assert!(!bench.boot());
    (bench, all().swap_remove(0))
}

fn create(kind: u8, size: u32) -> Vec<u8> {
    [&[1, kind][..], &size.to_le_bytes()].concat()
}

/// Sends an init packet up to before its execute.
fn send_init(bench: &mut Bench, init: &[u8]) {
    assert_eq!(bench.ask(&create(1, init.len() as u32)), [[0x60, 1, 1]]);
    assert_eq!(bench.send(init), [[0; 0]; 0]);
}

/// An abort, or the end of the time, while settings are on their way to flash: they get there, and with them the
/// application stays known.
#[test]
fn what_is_queued_is_written_before_a_reset() {
    for (done, waits) in [(1, false), (1, true), (3, false), (3, true)] {
        let (mut bench, package) = bench(BUILT);
        send_init(&mut bench, &package.bytes);
        assert_eq!(bench.ask(&[4]), [[0x60, 4, 1]]);
        // The first and the third erase a page.
        (0..done).for_each(|_| drop(bench.work()));
        if waits {
            bench.now_us += 120_000_000;
            bench.due();
        } else {
            assert_eq!(bench.ask(&[0x0c]), [[0; 0]; 0]);
        }
        bench.finish();
        assert!(bench.resets);
        let settings = bench.board.bootloader.load(&bench.flash).unwrap().0;
        assert_eq!((settings.bank_0.image_size, settings.app_version), (0x1800, 1), "{done} {waits}");
        assert_eq!(settings.stored_init_command(), package.bytes);
    }
}

/// Opcode 8 is for serial lines. On the control point it counts as a packet of no bytes, for which the flash driver writes
/// a word from address 0, and the hash is wrong in the end.
#[test]
fn a_write_on_the_control_point_spoils_a_word() {
    let (mut bench, package) = bench(BUILT);
    let image = &package.image[0x1000..];
    send_init(&mut bench, &package.bytes);
    bench.ask(&[2, 2, 0]);
    assert_eq!(bench.ask(&[8, 1, 2, 3]), [[0; 0]; 0]);
    let report = bench.ask(&[3]);
    assert_eq!(bench.ask(&[8]), report);
    bench.ask(&[4]);
    while bench.work().is_some() {}
    assert_eq!(bench.ask(&create(2, 0x1000)), [[0x60, 1, 1]]);
    bench.work();
    bench.ask(&[8]);
    bench.work();
    assert_eq!(bench.bytes()[0x6000..0x6008], [&bench.bytes()[..4], &[0xff; 4]].concat());
    assert_eq!(image.len(), 0x104);
}

/// Over Bluetooth LE nobody reads the byte that a ping or a firmware version has.
#[test]
fn what_is_not_read_need_not_be_there() {
    let (mut bench, _) = bench(BUILT);
    for opcode in [9, 0x0b] {
        assert_eq!(bench.ask(&[opcode]), [[0x60, opcode, 2]]);
    }
    let (mut bench, _) = self::bench(Built { reduced: false, ..BUILT });
    for opcode in [9, 0x0b] {
        assert_eq!(bench.ask(&[opcode]), [[0x60, opcode, 1]]);
    }
}

/// With a full flash queue an init packet is accepted and cannot be stored: a page may be erased for nothing.
#[test]
fn settings_find_no_room_in_the_queue() {
    let (mut bench, package) = bench(BUILT);
    send_init(&mut bench, &package.bytes);
    bench.ask(&[4]);
    while bench.work().is_some() {}
    // What is stored has the progress of now: it is not what is on the page.
    assert_eq!(bench.ask(&create(2, 0x1000)), [[0x60, 1, 1]]);
    (0..14).for_each(|_| drop(bench.send(&[7; 4])));
    bench.ask(&[6, 1]);
    assert_eq!(bench.ask(&[4]), [[0x60, 4, 0x0a]]);
    while bench.work().is_some() {}
    assert!(bench.bytes()[SETTINGS..SETTINGS + 0x1000].iter().all(|byte| *byte == 0xff));
    assert_ne!(bench.bytes()[BACKUP], 0xff);
}

/// Where progress is saved, a part of an init packet can be stored with it. If it reads as one, the bootloader takes it for
/// accepted at each start, finds that it is not whole, and ends in its error handler: for ever.
#[test]
fn a_stored_part_of_an_init_packet_is_the_end() {
    let (mut bench, package) = bench(Built { saves: true, ..BUILT });
    send_init(&mut bench, &package.bytes);
    assert_eq!(bench.ask(&[4]), [[0x60, 4, 1]]);
    while bench.work().is_some() {}
    // All but the last byte, which is of the signature.
    assert_eq!(bench.ask(&create(1, package.bytes.len() as u32)), [[0x60, 1, 1]]);
    bench.send(&package.bytes[..package.bytes.len() - 1]);
    // Nothing of nothing is complete, and that is progress.
    bench.ask(&[6, 2]);
    assert_eq!(bench.ask(&[4]), [[0x60, 4, 1]]);
    while bench.work().is_some() {}
    bench.boot();
    assert!(bench.mode.is_none());
}
