//! Links keep time: supervision, air time, loss.

use brickproof_simulator::controller::Settings;

use crate::support::{Bench, CENTRAL, INTERVAL, PERIPHERAL, TIMEOUT};

const CONNECTION_TIMEOUT: u8 = 0x08;
const TIMEOUT_US: u64 = TIMEOUT as u64 * 10_000;
const INTERVAL_US: u64 = INTERVAL as u64 * 1250;

/// Lets the other be gone right before a connection event and waits for what comes of it; when the last event that
/// worked began. Nothing but empty packets is sent.
fn silence(bench: &mut Bench, gone: impl FnOnce(&mut Bench)) -> u64 {
    // To a moment just before an event: the last packet came one interval ago.
    let next = bench.ether.next_wake().unwrap();
    bench.wait(next - bench.now - 1);
    let anchor = next - INTERVAL_US;
    gone(bench);
    bench.forget();
    bench.wait(5_000_000);
    anchor
}

/// An empty packet on 1M takes 80 µs; the answer begins 150 µs after it.
const PERIPHERAL_HEARS: u64 = 80;
const CENTRAL_HEARS: u64 = 80 + 150 + 80;

#[test]
fn a_reset_peripheral_is_missed_after_the_supervision_timeout_to_the_microsecond() {
    let mut bench = Bench::connected(Settings::default());
    let anchor = silence(&mut bench, |bench| bench.command(PERIPHERAL, 0x0C03, &[]));
    assert_eq!(bench.ended(CENTRAL), Some((anchor + CENTRAL_HEARS + TIMEOUT_US, CONNECTION_TIMEOUT)));
    assert_eq!(bench.ended(PERIPHERAL), None, "a reset says nothing");
}

#[test]
fn a_central_whose_transport_was_closed_is_missed() {
    let mut bench = Bench::connected(Settings::default());
    let anchor = silence(&mut bench, |bench| bench.ether.remove(CENTRAL));
    assert_eq!(bench.ended(PERIPHERAL), Some((anchor + PERIPHERAL_HEARS + TIMEOUT_US, CONNECTION_TIMEOUT)));
}

#[test]
fn a_silent_radio_is_missed_by_both_hosts() {
    let mut bench = Bench::connected(Settings::default());
    let anchor = silence(&mut bench, |bench| bench.ether.set_silent(PERIPHERAL, true));
    assert_eq!(bench.ended(CENTRAL), Some((anchor + CENTRAL_HEARS + TIMEOUT_US, CONNECTION_TIMEOUT)));
    assert_eq!(bench.ended(PERIPHERAL), Some((anchor + PERIPHERAL_HEARS + TIMEOUT_US, CONNECTION_TIMEOUT)));
    assert_eq!(bench.ether.next_wake(), None);
}

#[test]
fn a_short_silence_is_survived() {
    let mut bench = Bench::connected(Settings::default());
    bench.ether.set_silent(PERIPHERAL, true);
    bench.data(CENTRAL, b"late");
    bench.wait(TIMEOUT_US - 2 * INTERVAL_US);
    bench.ether.set_silent(PERIPHERAL, false);
    bench.wait(1_000_000);
    assert_eq!(bench.received(PERIPHERAL).0, b"late");
    assert_eq!(bench.received(CENTRAL).1, 1);
    assert_eq!(bench.ended(CENTRAL), None);
}

#[test]
fn a_goodbye_that_nobody_hears_takes_the_supervision_timeout() {
    let mut bench = Bench::connected(Settings::default());
    let anchor = silence(&mut bench, |bench| {
        bench.ether.set_loss(1.0);
        bench.on_link(CENTRAL, 0x0406, &[0x13]);
    });
    assert_eq!(bench.ended(CENTRAL), Some((anchor + CENTRAL_HEARS + TIMEOUT_US, CONNECTION_TIMEOUT)));
    assert_eq!(bench.ended(PERIPHERAL), Some((anchor + PERIPHERAL_HEARS + TIMEOUT_US, CONNECTION_TIMEOUT)));
}

#[test]
fn a_connection_that_never_worked_is_given_up_after_six_intervals() {
    let mut bench = Bench::heard(Settings::default());
    bench.advertise();
    bench.connect();
    // The advertiser goes away right behind its packet.
    while bench.ether.connections(CENTRAL) == 0 {
        let next = bench.ether.next_wake().unwrap();
        bench.wait(next - bench.now);
    }
    let made = bench.now;
    bench.ether.remove(PERIPHERAL);
    bench.wait(5_000_000);
    assert_eq!(bench.ended(CENTRAL), Some((made + 2_500 + 6 * INTERVAL_US, 0x3E)));
}

/// Bytes per second that a host gets through in four seconds, one way.
fn throughput(interval: u16, phy: u8, octets: u8, loss: f64) -> u64 {
    let mut bench = Bench::connected(Settings::default());
    let wish: Vec<u8> = [interval, interval, 0, 400, 0, 0].iter().flat_map(|value| value.to_le_bytes()).collect();
    bench.on_link(CENTRAL, 0x2013, &wish);
    bench.on_link(CENTRAL, 0x2022, &[octets, 0, 0x90, 0x42]);
    bench.wait(1_000_000);
    bench.on_link(CENTRAL, 0x2032, &[0, phy, phy, 0, 0]);
    bench.wait(8_000_000);
    bench.forget();
    bench.ether.set_loss(loss);
    let (start, seconds) = (bench.now, 4);
    let mut credits = 16;
    let mut seen = 0;
    while bench.now < start + seconds * 1_000_000 {
        while credits > 0 {
            bench.data(CENTRAL, &[0; 251]);
            credits -= 1;
        }
        let next = bench.ether.next_wake().unwrap();
        bench.wait(next - bench.now);
        for (_, host, packet) in &bench.got[seen..] {
            if *host == CENTRAL && packet[..2] == [4, 0x13] {
                credits += u16::from_le_bytes([packet[6], packet[7]]);
            }
        }
        seen = bench.got.len();
    }
    assert_eq!(bench.ended(CENTRAL), None);
    bench.received(PERIPHERAL).0.len() as u64 / seconds
}

#[test]
fn throughput_is_what_the_air_allows() {
    let mut table = String::from("interval  PHY    octets  loss  bytes/s\n");
    for (interval, phy, octets, loss) in [
        (6, 1, 27, 0.0),
        (24, 1, 27, 0.0),
        (24, 1, 251, 0.0),
        (24, 2, 251, 0.0),
        (40, 2, 251, 0.0),
        (24, 4, 251, 0.0),
        (24, 2, 251, 0.1),
    ] {
        let name = ["1M", "2M", "", "Coded"][usize::from(phy) - 1];
        let rate = throughput(interval, phy, octets, loss);
        table += &format!("{:>5} ms  {name:<5}  {octets:>6}  {loss:>4}  {rate:>7}\n", f64::from(interval) * 1.25);
    }
    insta::assert_snapshot!(table);
}

#[test]
fn what_is_sent_without_credit_is_dropped_and_said() {
    let mut bench = Bench::connected(Settings::default());
    for _ in 0..17 {
        bench.data(CENTRAL, &[1; 100]);
    }
    let overflows = bench.got.iter().filter(|(_, host, packet)| *host == CENTRAL && packet[..2] == [4, 0x1A]).count();
    assert_eq!(overflows, 1);
    bench.wait(3_000_000);
    assert_eq!(bench.received(PERIPHERAL).0.len(), 1600);
    assert_eq!(bench.received(CENTRAL).1, 16);
}
