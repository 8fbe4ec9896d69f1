//! What holds whatever hosts do and whatever is lost.

use brickproof_simulator::controller::Settings;
use proptest::prelude::*;

use crate::support::{Bench, CENTRAL, PERIPHERAL};

/// Every opcode that means something to somebody, and some that do not.
fn opcode() -> impl Strategy<Value = u16> {
    prop_oneof![0x2001..0x2060_u16, Just(0x0406), Just(0x041D), Just(0x0C03), Just(0x1405), any::<u16>()]
}

/// Parameters that are often of the right length and often small numbers.
fn parameters() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => 0..4_u8, 1 => any::<u8>()];
    prop_oneof![proptest::collection::vec(byte, 0..45), proptest::collection::vec(any::<u8>(), 0..=255),]
}

#[derive(Clone, Debug)]
enum Step {
    Command(usize, u16, Vec<u8>),
    Packet(usize, Vec<u8>),
    Data(usize, u8),
    Wait(u32),
    Silence(usize, bool),
    Advertise,
    Connect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2_usize, opcode(), parameters()).prop_map(|(host, opcode, bytes)| Step::Command(host, opcode, bytes)),
        1 => (0..2_usize, proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(host, bytes)| Step::Packet(host, bytes)),
        2 => (0..2_usize, any::<u8>()).prop_map(|(host, length)| Step::Data(host, length)),
        3 => (0..200_000_u32).prop_map(Step::Wait),
        1 => (0..2_usize, any::<bool>()).prop_map(|(host, silent)| Step::Silence(host, silent)),
        1 => Just(Step::Advertise),
        1 => Just(Step::Connect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_command_is_answered_once(
        steps in proptest::collection::vec(step(), 1..60),
        extended in any::<bool>(),
        connected in any::<bool>(),
        loss in prop_oneof![Just(0.0), Just(0.3)],
    ) {
        let settings = Settings { extended, ..Settings::default() };
        let mut bench = if connected { Bench::connected(settings) } else { Bench::heard(settings) };
        bench.ether.set_loss(loss);
        for step in steps {
            match step {
                Step::Command(host, opcode, bytes) => {
                    // What is due now comes first.
                    bench.wait(0);
                    bench.forget();
                    bench.command(host, opcode, &bytes);
                    let [low, high] = opcode.to_le_bytes();
                    let answers: Vec<_> = bench.got.iter().filter(|(_, who, packet)| {
                        *who == host && (packet[..2] == [4, 0x0E] || packet[..2] == [4, 0x0F])
                    }).collect();
                    prop_assert_eq!(answers.len(), 1);
                    let (_, _, answer) = answers[0];
                    let named = if answer[1] == 0x0E { &answer[4..6] } else { &answer[5..7] };
                    prop_assert_eq!(named, &[low, high][..]);
                    // It is the first thing that is said.
                    prop_assert_eq!(&bench.got[0].2, answer);
                }
                Step::Packet(host, bytes) => bench.ether.host_packet(host, bench.now, &bytes),
                Step::Data(host, length) => bench.data(host, &vec![1; length.into()]),
                Step::Wait(us) => bench.wait(us.into()),
                Step::Silence(host, silent) => bench.ether.set_silent(host, silent),
                Step::Advertise => bench.advertise(),
                Step::Connect => bench.connect(),
            }
            bench.forget();
        }
    }

    #[test]
    fn data_arrives_in_order_and_once_whatever_is_lost(
        pieces in proptest::collection::vec((0..2_usize, 1..252_usize, 0..40_000_u64), 1..40),
        loss in 0.0..0.6,
        long in any::<bool>(),
    ) {
        let mut bench = Bench::connected(Settings::default());
        // A timeout that such losses do not reach.
        let wish: Vec<u8> = [24_u16, 24, 0, 3200, 0, 0].iter().flat_map(|value| value.to_le_bytes()).collect();
        bench.on_link(CENTRAL, 0x2013, &wish);
        if long {
            bench.on_link(PERIPHERAL, 0x2022, &[0xFB, 0, 0x48, 8]);
        }
        bench.wait(1_000_000);
        bench.forget();
        bench.ether.set_loss(loss);
        let mut sent = [Vec::new(), Vec::new()];
        let mut packets = [0_usize; 2];
        let mut number = 0_u8;
        for (host, length, pause) in pieces {
            // No more than a controller has room for: what is over is another test's.
            if packets[host] - bench.received(host).1 < 16 {
                let bytes: Vec<u8> = (0..length).map(|_| { number = number.wrapping_add(1); number }).collect();
                bench.data(host, &bytes);
                sent[host].extend(bytes);
                packets[host] += 1;
            }
            bench.wait(pause);
        }
        bench.wait(60_000_000);
        for (host, other) in [(CENTRAL, PERIPHERAL), (PERIPHERAL, CENTRAL)] {
            prop_assert_eq!(&bench.received(other).0, &sent[host]);
            prop_assert_eq!(bench.received(host).1, packets[host]);
            prop_assert_eq!(bench.ended(host), None);
        }
    }

    #[test]
    fn the_same_seed_is_the_same_air(loss in 0.0..0.9, pauses in proptest::collection::vec(0..300_000_u64, 1..8)) {
        let run = || {
            let mut bench = Bench::heard(Settings { loss, ..Settings::default() });
            bench.advertise();
            bench.connect();
            for pause in &pauses {
                bench.wait(*pause);
                bench.data(CENTRAL, b"data");
            }
            bench.said()
        };
        prop_assert_eq!(run(), run());
    }
}
