//! Who hears whom: accept lists, directed advertising, random and private addresses, filters, ends of advertising.

use brickproof_simulator::controller::Settings;

use crate::support::{Bench, CENTRAL, INTERVAL, PERIPHERAL, TIMEOUT, data};

const ADVERTISING_REPORT: u8 = 0x02;
const ENHANCED_CONNECTION_COMPLETE: u8 = 0x0A;
/// Addresses of the two, as packets have them: type, then least significant byte first.
const CENTRAL_ADDRESS: [u8; 7] = [0, 0, 0, 0, 1, 0xAA, 0];
const PERIPHERAL_ADDRESS: [u8; 7] = [0, 1, 0, 0, 1, 0xAA, 0];
const STRANGER: [u8; 7] = [0, 9, 9, 9, 9, 9, 9];

fn legacy() -> Bench {
    Bench::heard(Settings { extended: false, ..Settings::default() })
}

/// What followed the subevent code in each of these events at a host.
fn events(bench: &Bench, host: usize, subevent: u8) -> Vec<Vec<u8>> {
    let mine = bench.got.iter().filter(|(_, who, packet)| *who == host && packet[..2] == [4, 0x3E]);
    mine.filter(|(.., packet)| packet[3] == subevent).map(|(.., packet)| packet[4..].to_vec()).collect()
}

fn advertise(bench: &mut Bench, kind: u8, own: u8, peer: [u8; 7], filter: u8) {
    let mut parameters = vec![0x20, 0, 0x20, 0, kind, own];
    parameters.extend(peer);
    parameters.extend([7, filter]);
    bench.command(PERIPHERAL, 0x2006, &parameters);
    bench.command(PERIPHERAL, 0x2008, &data(&[2, 1, 6]));
    bench.command(PERIPHERAL, 0x200A, &[1]);
}

/// Connects to this device, or with `None` to whoever is on the accept list.
fn connect(bench: &mut Bench, own: u8, peer: Option<[u8; 7]>) {
    let mut parameters = vec![0x10, 0, 0x10, 0, peer.is_none().into()];
    parameters.extend(peer.unwrap_or([0; 7]));
    parameters.push(own);
    for value in [INTERVAL, INTERVAL, 0, TIMEOUT, 0, 0] {
        parameters.extend(value.to_le_bytes());
    }
    bench.command(CENTRAL, 0x200D, &parameters);
}

fn scan(bench: &mut Bench, filter: u8, duplicates: u8) {
    bench.command(CENTRAL, 0x200B, &[0, 0x10, 0, 0x10, 0, 0, filter]);
    bench.command(CENTRAL, 0x200C, &[1, duplicates]);
}

fn connected(bench: &Bench) -> bool {
    bench.ether.connections(CENTRAL) == 1 && bench.ether.connections(PERIPHERAL) == 1
}

#[test]
fn a_central_connects_to_whom_it_accepts() {
    for (listed, expected) in [(STRANGER, false), (PERIPHERAL_ADDRESS, true)] {
        let mut bench = legacy();
        bench.advertise();
        bench.command(CENTRAL, 0x2011, &listed);
        connect(&mut bench, 0, None);
        // In use: not to be changed.
        bench.command(CENTRAL, 0x2010, &[]);
        assert_eq!(bench.got.last().unwrap().2[6], 0x0C);
        bench.wait(500_000);
        assert_eq!(connected(&bench), expected);
    }
}

#[test]
fn a_peripheral_accepts_whom_it_lists() {
    for (listed, expected) in [(STRANGER, false), (CENTRAL_ADDRESS, true)] {
        let mut bench = legacy();
        bench.command(PERIPHERAL, 0x2011, &listed);
        advertise(&mut bench, 0, 0, [0; 7], 3);
        connect(&mut bench, 0, Some(PERIPHERAL_ADDRESS));
        bench.wait(500_000);
        assert_eq!(connected(&bench), expected);
    }
}

#[test]
fn directed_advertising_is_for_one() {
    for (target, expected) in [(STRANGER, false), (CENTRAL_ADDRESS, true)] {
        let mut bench = legacy();
        advertise(&mut bench, 1, 0, target, 0);
        connect(&mut bench, 0, Some(PERIPHERAL_ADDRESS));
        bench.wait(2_000_000);
        assert_eq!(connected(&bench), expected);
        let told = events(&bench, PERIPHERAL, ENHANCED_CONNECTION_COMPLETE);
        // At a high duty cycle it ends after 1.28 s, as a connection that was not made.
        assert_eq!(told[0][0], if expected { 0 } else { 0x3C });
    }
}

#[test]
fn what_cannot_be_connected_is_not() {
    let mut bench = legacy();
    advertise(&mut bench, 3, 0, [0; 7], 0);
    connect(&mut bench, 0, Some(PERIPHERAL_ADDRESS));
    bench.wait(500_000);
    assert!(!connected(&bench));
}

#[test]
fn random_addresses_are_seen_by_the_other() {
    let mut bench = legacy();
    // Not before there is one.
    advertise(&mut bench, 0, 1, [0; 7], 0);
    assert_eq!(bench.got.last().unwrap().2[6], 0x12);
    bench.command(PERIPHERAL, 0x2005, &[1, 2, 3, 4, 5, 0xC6]);
    advertise(&mut bench, 0, 1, [0; 7], 0);
    bench.command(CENTRAL, 0x2005, &[6, 5, 4, 3, 2, 0xC1]);
    connect(&mut bench, 1, Some([1, 1, 2, 3, 4, 5, 0xC6]));
    bench.wait(500_000);
    let told = |host: usize| events(&bench, host, ENHANCED_CONNECTION_COMPLETE)[0][4..11].to_vec();
    assert_eq!(told(CENTRAL), [1, 1, 2, 3, 4, 5, 0xC6]);
    assert_eq!(told(PERIPHERAL), [1, 6, 5, 4, 3, 2, 0xC1]);
}

#[test]
fn private_addresses_are_resolved_on_both_sides() {
    let (mine, yours) = ([0x11; 16], [0x22; 16]);
    let mut bench = legacy();
    for (host, peer, peer_key, own_key) in
        [(CENTRAL, PERIPHERAL_ADDRESS, yours, mine), (PERIPHERAL, CENTRAL_ADDRESS, mine, yours)]
    {
        bench.command(host, 0x2027, &[&peer[..], &peer_key, &own_key].concat());
        bench.command(host, 0x202D, &[1]);
    }
    advertise(&mut bench, 0, 2, CENTRAL_ADDRESS, 0);
    scan(&mut bench, 0, 1);
    bench.wait(200_000);
    // An identity address, type 2: what was on the air was private.
    let reports = events(&bench, CENTRAL, ADVERTISING_REPORT);
    assert_eq!(reports[0][2..9], [&[2], &PERIPHERAL_ADDRESS[1..]].concat());
    bench.command(CENTRAL, 0x200C, &[0, 0]);
    connect(&mut bench, 2, Some(PERIPHERAL_ADDRESS));
    bench.wait(500_000);
    let told = events(&bench, CENTRAL, ENHANCED_CONNECTION_COMPLETE);
    assert_eq!(told[0][4..11], [&[2], &PERIPHERAL_ADDRESS[1..]].concat());
    // Both private addresses are told, and are private ones.
    for last in [told[0][16], told[0][22]] {
        assert_eq!(last >> 6, 0b01);
    }
    let told = events(&bench, PERIPHERAL, ENHANCED_CONNECTION_COMPLETE);
    assert_eq!(told[0][4..11], [&[2], &CENTRAL_ADDRESS[1..]].concat());
}

#[test]
fn a_scanner_tells_once_or_always_and_of_whom_it_accepts() {
    let heard = |filter: u8, duplicates: u8| {
        let mut bench = legacy();
        bench.command(CENTRAL, 0x2011, &STRANGER);
        bench.advertise();
        scan(&mut bench, filter, duplicates);
        bench.wait(1_000_000);
        // New data is news.
        bench.command(PERIPHERAL, 0x2008, &data(&[2, 1, 4]));
        bench.wait(1_000_000);
        events(&bench, CENTRAL, ADVERTISING_REPORT).len()
    };
    assert_eq!(heard(0, 1), 2);
    // Every 20 ms and up to 10 ms more.
    assert!((66..=100).contains(&heard(0, 0)), "{}", heard(0, 0));
    assert_eq!(heard(1, 0), 0);
}

#[test]
fn a_scanner_tells_again_of_who_is_still_there() {
    let mut bench = legacy();
    bench.advertise();
    scan(&mut bench, 0, 1);
    bench.wait(3_500_000);
    assert_eq!(events(&bench, CENTRAL, ADVERTISING_REPORT).len(), 4, "at once, and each second after");
}

#[test]
fn a_scanner_that_listens_half_of_the_time_hears_half() {
    let mut bench = legacy();
    bench.advertise();
    bench.command(CENTRAL, 0x200B, &[0, 0xA0, 0, 0x50, 0, 0, 0]);
    bench.command(CENTRAL, 0x200C, &[1, 0]);
    bench.wait(10_000_000);
    let heard = events(&bench, CENTRAL, ADVERTISING_REPORT).len();
    assert!((170..=230).contains(&heard), "{heard} of about 400");
}

#[test]
fn extended_advertising_ends_after_its_time_or_its_events() {
    for (duration, count, status) in [(10_u8, 0_u8, 0x3C_u8), (0, 3, 0x43)] {
        let mut bench = Bench::heard(Settings::default());
        let mut parameters = vec![1, 0x13, 0, 0x20, 0, 0, 0x20, 0, 0, 7, 0, 0];
        parameters.extend([0; 6]);
        parameters.extend([0, 0x7F, 1, 0, 1, 0, 0]);
        bench.command(PERIPHERAL, 0x2036, &parameters);
        bench.command(PERIPHERAL, 0x2039, &[1, 1, 1, duration, 0, count]);
        bench.wait(1_000_000);
        let ended = events(&bench, PERIPHERAL, 0x12);
        assert_eq!((ended[0][0], ended[0][1]), (status, 1));
        assert_eq!(bench.ether.next_wake(), None);
    }
}

#[test]
fn a_host_that_hears_only_the_first_events_gets_those() {
    let mut bench = legacy();
    bench.command(CENTRAL, 0x2001, &[0x1F, 0, 0, 0, 0, 0, 0, 0]);
    bench.advertise();
    bench.connect();
    bench.wait(500_000);
    assert_eq!(events(&bench, CENTRAL, 0x01).len(), 1);
    assert_eq!(events(&bench, CENTRAL, ENHANCED_CONNECTION_COMPLETE).len(), 0);
    assert_eq!(events(&bench, CENTRAL, 0x07).len(), 0, "data length is masked");
}
