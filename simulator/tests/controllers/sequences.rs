//! What hosts say and are told, in their order and with their times (milliseconds).

use brickproof_simulator::controller::Settings;

use crate::support::{Bench, CENTRAL, PERIPHERAL};

const KEY: [u8; 16] = [7; 16];

#[test]
fn legacy_advertising_is_found_and_connected() {
    let mut bench = Bench::heard(Settings { extended: false, ..Settings::default() });
    bench.command(CENTRAL, 0x2024, &[0xFB, 0, 0x48, 8]);
    bench.advertise();
    bench.command(CENTRAL, 0x200B, &[1, 0x10, 0, 0x10, 0, 0, 0]);
    bench.command(CENTRAL, 0x200C, &[1, 1]);
    bench.wait(100_000);
    bench.command(CENTRAL, 0x200C, &[0, 0]);
    bench.connect();
    bench.wait(100_000);
    insta::assert_snapshot!(bench.said());
}

#[test]
fn extended_advertising_is_found_and_connected() {
    let mut bench = Bench::heard(Settings::default());
    // Set 3, connectable, no legacy packets, primary 1M, secondary 2M, SID 5.
    let mut parameters = vec![3, 1, 0, 0x20, 0, 0, 0x20, 0, 0, 7, 0, 0];
    parameters.extend([0; 6]);
    parameters.extend([0, 0x7F, 1, 0, 2, 5, 0]);
    bench.command(PERIPHERAL, 0x2036, &parameters);
    // 300 bytes in two fragments: more than one report carries.
    for (operation, length) in [(1, 200_u8), (2, 100)] {
        let mut data = vec![3, operation, 1, length];
        data.resize(4 + usize::from(length), operation);
        bench.command(PERIPHERAL, 0x2037, &data);
    }
    bench.command(PERIPHERAL, 0x2039, &[1, 1, 3, 0, 0, 0]);
    bench.command(CENTRAL, 0x2041, &[0, 0, 1, 0, 0x10, 0, 0x10, 0]);
    bench.command(CENTRAL, 0x2042, &[1, 1, 5, 0, 0, 0]);
    bench.wait(100_000);
    let mut parameters = vec![0, 0, 0, 1, 0, 0, 1, 0xAA, 0, 1, 0x10, 0, 0x10, 0];
    for value in [24_u16, 40, 0, 42, 0, 0] {
        parameters.extend(value.to_le_bytes());
    }
    bench.command(CENTRAL, 0x2043, &parameters);
    bench.wait(60_000);
    bench.command(PERIPHERAL, 0x203C, &[3]);
    insta::assert_snapshot!(bench.said());
}

#[test]
fn what_ends_share_on_request() {
    let mut bench = Bench::connected(Settings::default());
    bench.on_link(CENTRAL, 0x2016, &[]);
    bench.on_link(PERIPHERAL, 0x041D, &[]);
    bench.wait(100_000);
    // Known by now: told at once.
    bench.on_link(PERIPHERAL, 0x2016, &[]);
    bench.on_link(PERIPHERAL, 0x2022, &[0xFB, 0, 0x48, 8]);
    bench.wait(100_000);
    // 2M both ways, wished by the peripheral; then once more, when nothing changes.
    for _ in 0..2 {
        bench.on_link(PERIPHERAL, 0x2032, &[0, 2, 2, 0, 0]);
        bench.wait(400_000);
    }
    insta::assert_snapshot!(bench.said());
}

#[test]
fn parameters_change_at_an_instant() {
    let mut bench = Bench::connected(Settings::default());
    let wish: Vec<u8> = [40_u16, 40, 0, 100, 0, 0].iter().flat_map(|value| value.to_le_bytes()).collect();
    bench.on_link(CENTRAL, 0x2013, &wish);
    // One at a time.
    bench.on_link(CENTRAL, 0x2013, &wish);
    bench.wait(1_000_000);
    let wish: Vec<u8> = [24_u16, 32, 0, 200, 0, 0].iter().flat_map(|value| value.to_le_bytes()).collect();
    bench.on_link(PERIPHERAL, 0x2013, &wish);
    bench.wait(100_000);
    bench.on_link(CENTRAL, 0x2021, &[0x3B]);
    bench.wait(100_000);
    bench.on_link(PERIPHERAL, 0x2013, &wish);
    bench.wait(100_000);
    bench.on_link(CENTRAL, 0x2020, &wish);
    bench.wait(1_000_000);
    insta::assert_snapshot!(bench.said());
}

fn encrypt(bench: &mut Bench, key: [u8; 16]) {
    let request = [&[0; 10][..], &KEY].concat();
    bench.on_link(CENTRAL, 0x2019, &request);
    bench.wait(100_000);
    bench.on_link(PERIPHERAL, 0x201A, &key);
    bench.wait(100_000);
}

#[test]
fn encryption_with_the_same_key_and_again() {
    let mut bench = Bench::connected(Settings::default());
    encrypt(&mut bench, KEY);
    encrypt(&mut bench, KEY);
    insta::assert_snapshot!(bench.said());
}

#[test]
fn encryption_with_another_key_ends_the_connection() {
    let mut bench = Bench::connected(Settings::default());
    encrypt(&mut bench, [8; 16]);
    bench.wait(1_000_000);
    insta::assert_snapshot!(bench.said());
}

#[test]
fn encryption_without_a_key_is_refused() {
    let mut bench = Bench::connected(Settings::default());
    bench.on_link(CENTRAL, 0x2019, &[&[0; 10][..], &KEY].concat());
    // Data waits until it is decided how it goes.
    bench.data(CENTRAL, b"waits");
    bench.wait(100_000);
    bench.on_link(PERIPHERAL, 0x201B, &[]);
    bench.wait(100_000);
    insta::assert_snapshot!(bench.said());
}

#[test]
fn a_goodbye_is_heard_by_both() {
    let mut bench = Bench::connected(Settings::default());
    bench.on_link(CENTRAL, 0x0406, &[0x13]);
    bench.wait(1_000_000);
    insta::assert_snapshot!(bench.said());
}

#[test]
fn refused_commands() {
    let mut bench = Bench::heard(Settings { extended: false, ..Settings::default() });
    bench.command(CENTRAL, 0xFC00, &[]);
    // Extended commands do not exist without extended advertising.
    bench.command(CENTRAL, 0x2039, &[0, 0]);
    bench.command(CENTRAL, 0x200C, &[1]);
    bench.command(CENTRAL, 0x200E, &[]);
    bench.on_link(CENTRAL, 0x0406, &[0x13]);
    bench.on_link(CENTRAL, 0x0406, &[0x99]);
    bench.on_link(CENTRAL, 0x201B, &[]);
    bench.connect();
    bench.connect();
    bench.command(CENTRAL, 0x200E, &[]);
    insta::assert_snapshot!(bench.said());
}
