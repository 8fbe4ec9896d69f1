//! Bluetooth LE links of a world: what survives an outage, who learns of what, and when.

mod attributes;
mod pairing;
mod shared_bond;

use std::sync::Arc;

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Options, Slot};
use brickproof_flash_model::image::mcuboot::{ImageBuilder, SigningKey, Verifier};
use brickproof_flash_model::layout::Layout;
use brickproof_simulator::device::{Board, Persistent};
use brickproof_simulator::gatt::{
    AttError, CentralAction, GattEvent, IoCapability, PairingAnswer, PairingAsk, Security, WriteKind,
};
use brickproof_simulator::smp::gatt::{GattConfig, Pairing};
use brickproof_simulator::smp::{Frame, Op, ServerConfig, SmpMessage, Version};
use brickproof_simulator::trace::{EndedBy, Kind, Wants};
use brickproof_simulator::world::{Carrier, Control, World};
use proptest::prelude::*;

const VALUE: u16 = 0x12;
const CCC: u16 = 0x13;
const TIMEOUT_US: u64 = 420_000;
const ENDED: GattEvent = GattEvent::Disconnected { by: EndedBy::Timeout, reason: 0x08 };

/// A running target with this configuration.
fn world(gatt: GattConfig) -> World {
    world_with(gatt, |_| {})
}

/// A running target with this configuration and whatever else; version 2.0.0 waits in its secondary slot.
fn world_with(gatt: GattConfig, change: impl FnOnce(&mut Board)) -> World {
    let key = SigningKey::from_seed(b"tests").unwrap();
    let layout = Layout::preset("tiny4-a4").unwrap();
    let options = Options { max_sectors: 4, ..Options::default() };
    let mcuboot = Mcuboot::new(&layout, options, Verifier::new(vec![key.public().clone()])).unwrap();
    let mut flash = layout.blank_flash();
    for (slot, version) in [(Slot::Primary, "1.0.0"), (Slot::Secondary, "2.0.0")] {
        let builder = ImageBuilder::new(version.parse().unwrap()).header_size(32);
        flash.load(mcuboot.area(slot), 0, &builder.generated_payload(3000).sign(&key).unwrap()).unwrap();
    }
    let smp = ServerConfig { buffer_size: 384, ..ServerConfig::default() };
    let mut board = Board { gatt, smp, ..Board::new("links", layout, mcuboot) };
    change(&mut board);
    let mut world = World::new(Arc::new(board), Persistent::new(flash), Wants::default());
    world.control(Control::Power(true));
    later(&mut world, 1_000_000);
    assert!(world.serving());
    world
}

fn later(world: &mut World, us: u64) {
    let until = world.now() + us;
    world.advance(until);
}

/// Does something as central 1; what it is told.
fn act(world: &mut World, action: CentralAction) -> Vec<GattEvent> {
    world.central(1, action);
    told(world)
}

fn told(world: &mut World) -> Vec<GattEvent> {
    std::iter::from_fn(|| world.take_gatt()).map(|(_, event)| event).collect()
}

fn kind(command: bool) -> WriteKind {
    if command { WriteKind::Command } else { WriteKind::Request }
}

fn write(handle: u16, value: &[u8], command: bool) -> CentralAction {
    CentralAction::Write { handle, value: value.to_vec(), kind: kind(command) }
}

fn secured(level: Security) -> GattEvent {
    GattEvent::Secured { level, bonded: true }
}

fn connected(world: &mut World) {
    assert_eq!(act(world, CentralAction::Connect), [GattEvent::Connected]);
    assert_eq!(act(world, write(CCC, &[1, 0], false)), [GattEvent::Written { handle: CCC }]);
}

fn echo(text: &[u8]) -> Vec<u8> {
    let mut body = vec![0xbf, 0x61, b'd', 0x78, u8::try_from(text.len()).unwrap()];
    body.extend_from_slice(text);
    body.push(0xff);
    Frame { version: Version::V1, op: Op::Write, reserved: (0, 0), group: 0, sequence: 3, command: 0 }.emit(&body)
}

/// The answers in notifications.
fn answers(events: &[GattEvent]) -> Vec<Vec<u8>> {
    let pieces = events.iter().filter_map(|event| match event {
        GattEvent::Notification { handle: VALUE, value } => Some(value.clone()),
        _ => None,
    });
    pieces.collect()
}

#[test]
fn answers_come_in_pieces_of_the_mtu() {
    let mut world = world(GattConfig { mtu: 40, ..GattConfig::default() });
    connected(&mut world);
    assert_eq!(act(&mut world, CentralAction::ExchangeMtu(517)), [GattEvent::Mtu(40)]);
    let mut events = Vec::new();
    for fragment in echo(&[b'x'; 50]).chunks(37) {
        events.extend(act(&mut world, write(VALUE, fragment, true)));
    }
    let pieces = answers(&events);
    assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [37, 27]);
    assert_eq!(SmpMessage::parse(&pieces.concat()).failure(), None);
}

#[test]
fn without_subscription_a_request_is_carried_out_and_not_answered() {
    let mut world = world(GattConfig::default());
    act(&mut world, CentralAction::Connect);
    act(&mut world, CentralAction::ExchangeMtu(517));
    assert_eq!(act(&mut world, write(VALUE, &echo(b"x"), true)), []);
    let records = world.take_records();
    assert!(records.iter().any(|record| matches!(&record.kind, Kind::Message { .. })));
    let lost = records.iter().filter_map(|record| match &record.kind {
        Kind::Att(att) => att.lost.as_deref(),
        _ => None,
    });
    assert_eq!(lost.collect::<Vec<_>>(), ["notifications are switched off"]);
}

#[test]
fn requests_get_errors_and_commands_nothing() {
    let mut world =
        world(GattConfig { access: Security::Authenticated, pairing: Pairing::PASSKEY, ..GattConfig::default() });
    act(&mut world, CentralAction::Connect);
    let refused = |handle, error| vec![GattEvent::Error { handle, error }];
    let authentication = AttError::INSUFFICIENT_AUTHENTICATION;
    assert_eq!(act(&mut world, write(CCC, &[1, 0], false)), refused(CCC, authentication));
    assert_eq!(act(&mut world, write(VALUE, &echo(b"x"), true)), []);
    assert_eq!(act(&mut world, write(VALUE, &echo(b"x"), false)), refused(VALUE, AttError::WRITE_NOT_PERMITTED));
    assert_eq!(act(&mut world, write(0x44, &[0], false)), refused(0x44, AttError::INVALID_HANDLE));
    let pair = |capability, wanted| CentralAction::Pair { capability, wanted };
    let unprotected = pair(IoCapability::NoInputNoOutput, Security::Encrypted);
    assert_eq!(act(&mut world, unprotected), [secured(Security::Encrypted)]);
    assert_eq!(act(&mut world, write(CCC, &[1, 0], false)), refused(CCC, authentication));
    let protected = pair(IoCapability::KeyboardDisplay, Security::Authenticated);
    assert_eq!(act(&mut world, protected), [GattEvent::PairingAsks(PairingAsk::EnterPasskey)]);
    let answer = CentralAction::AnswerPairing(PairingAnswer::Passkey(123_456));
    assert_eq!(act(&mut world, answer), [secured(Security::SecureConnections)]);
    assert_eq!(act(&mut world, write(CCC, &[1], false)), refused(CCC, AttError::INVALID_LENGTH));
    assert_eq!(act(&mut world, write(CCC, &[1, 0], false)), [GattEvent::Written { handle: CCC }]);
}

#[test]
fn a_short_outage_loses_nothing_and_a_long_one_the_connection() {
    let mut world = world(GattConfig::default());
    connected(&mut world);
    act(&mut world, CentralAction::ExchangeMtu(517));
    world.control(Control::Link(false));
    assert_eq!(act(&mut world, write(VALUE, &echo(b"x"), true)), []);
    later(&mut world, TIMEOUT_US - 1);
    world.control(Control::Link(true));
    assert_eq!(answers(&told(&mut world)).len(), 1, "it was only late");

    world.control(Control::Link(false));
    act(&mut world, write(VALUE, &echo(b"x"), true));
    later(&mut world, TIMEOUT_US - 1);
    assert_eq!(told(&mut world), []);
    later(&mut world, 1);
    assert_eq!(told(&mut world), [ENDED]);
    assert_eq!(act(&mut world, CentralAction::Connect), [GattEvent::Unreachable]);
    world.control(Control::Link(true));
    assert_eq!(told(&mut world), [], "what waited is gone");
    connected(&mut world);
}

#[test]
fn a_power_loss_is_noticed_by_the_timeout_and_a_goodbye_at_once() {
    let mut world = world(GattConfig::default());
    connected(&mut world);
    world.control(Control::Power(false));
    assert_eq!(told(&mut world), []);
    later(&mut world, TIMEOUT_US);
    assert_eq!(told(&mut world), [ENDED]);
    assert_eq!(act(&mut world, CentralAction::Connect), [GattEvent::Unreachable]);

    let reset = Frame { version: Version::V1, op: Op::Write, reserved: (0, 0), group: 0, sequence: 1, command: 5 }
        .emit(&[0xa0]);
    for goodbye in [false, true] {
        let mut world = self::world(GattConfig { goodbye, ..GattConfig::default() });
        connected(&mut world);
        assert_eq!(answers(&act(&mut world, write(VALUE, &reset, true))).len(), 1);
        later(&mut world, 250_000);
        let ended = GattEvent::Disconnected { by: EndedBy::Target, reason: 0x13 };
        assert_eq!(told(&mut world), if goodbye { vec![ended] } else { vec![] });
    }
}

#[test]
fn half_a_packet_outlives_its_connection_only_where_it_can() {
    for keeps_fragments in [false, true] {
        let mut world = world(GattConfig { keeps_fragments, ..GattConfig::default() });
        connected(&mut world);
        let packet = echo(&[b'x'; 30]);
        act(&mut world, write(VALUE, &packet[..20], true));
        act(&mut world, CentralAction::Disconnect);
        connected(&mut world);
        // 24 bytes are missing still, and this is 15.
        let answered = !answers(&act(&mut world, write(VALUE, &echo(b"y"), true))).is_empty();
        assert_eq!(answered, !keeps_fragments);
        act(&mut world, write(CCC, &[0, 0], false));
        act(&mut world, write(CCC, &[1, 0], false));
        assert!(!answers(&act(&mut world, write(VALUE, &echo(b"y"), true))).is_empty(), "cleared");
    }
}

#[test]
fn the_target_has_one_connection_and_its_answers_go_there() {
    let mut world = world(GattConfig::default());
    connected(&mut world);
    world.central(2, CentralAction::Connect);
    assert_eq!(world.take_gatt(), Some((2, GattEvent::Unreachable)));
    act(&mut world, CentralAction::Disconnect);
    world.central(2, CentralAction::Connect);
    assert_eq!(world.take_gatt(), Some((2, GattEvent::Connected)));
}

fn action() -> impl Strategy<Value = CentralAction> {
    prop_oneof![
        Just(CentralAction::Connect),
        Just(CentralAction::Disconnect),
        any::<u16>().prop_map(CentralAction::ExchangeMtu),
        Just(CentralAction::Discover),
        (0u16..0x25, any::<u16>()).prop_map(|(handle, offset)| CentralAction::Read { handle, offset: offset % 40 }),
        (0u16..0x25, prop::collection::vec(any::<u8>(), 0..600), 0..3u8).prop_map(|(handle, value, kind)| {
            let kind = [WriteKind::Request, WriteKind::Command, WriteKind::Long][usize::from(kind)];
            CentralAction::Write { handle, value, kind }
        }),
        any::<bool>().prop_map(|on| write(CCC, &[on.into(), 0], false)),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(|text| CentralAction::Write {
            handle: VALUE,
            value: echo(&text),
            kind: WriteKind::Command
        }),
        (any::<bool>(), any::<bool>()).prop_map(|(keyboard, protected)| CentralAction::Pair {
            capability: if keyboard { IoCapability::KeyboardDisplay } else { IoCapability::DisplayOnly },
            wanted: if protected { Security::Authenticated } else { Security::Encrypted },
        }),
        Just(CentralAction::ForgetKeys),
        prop_oneof![
            Just(PairingAnswer::Passkey(123_456)),
            Just(PairingAnswer::Passkey(1)),
            Just(PairingAnswer::Same),
            Just(PairingAnswer::Refused),
        ]
        .prop_map(CentralAction::AnswerPairing),
        any::<bool>().prop_map(|accept| CentralAction::AnswerParameters { accept }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever centrals do and whatever happens to link and power: no panic, time goes on, and a fresh
    /// connection is answered in the end.
    #[test]
    fn any_sequence_leaves_a_target_that_answers(
        steps in prop::collection::vec((1u64..4, action(), 0u64..700_000, 0u8..12), 0..60),
        connections in 1u8..3,
        (parameter_update, keeps_fragments, moving_handles) in any::<(bool, bool, bool)>(),
        connect_delay_us in prop_oneof![Just(0u64), 1..1_000_000u64],
        capability in prop::option::of(prop_oneof![
            Just(IoCapability::NoInputNoOutput),
            Just(IoCapability::DisplayYesNo),
            Just(IoCapability::KeyboardOnly),
        ]),
    ) {
        let mut world = world(GattConfig {
            connections,
            parameter_update,
            keeps_fragments,
            moving_handles,
            connect_delay_us,
            pairing: Pairing::by(capability),
            ..GattConfig::default()
        });
        let (mut open, mut pairings) = (0, 0);
        for (central, action, us, event) in steps {
            open += i32::from(action == CentralAction::Connect);
            world.central(central, action);
            match event {
                0 => world.control(Control::Link(false)),
                1 => world.control(Control::Link(true)),
                2 => world.control(Control::Reset),
                3 => world.control(Control::Power(false)),
                4 | 5 => world.control(Control::Power(true)),
                _ => {}
            }
            later(&mut world, us);
        }
        world.control(Control::Power(true));
        world.control(Control::Link(true));
        for central in 1..4 {
            world.central(central, CentralAction::Disconnect);
        }
        later(&mut world, 40_000_000);
        while let Some((_, event)) = world.take_gatt() {
            open -= i32::from(matches!(event, GattEvent::Connected | GattEvent::Unreachable));
            pairings -= i32::from(matches!(event, GattEvent::PairingAsks(_)));
            if matches!(event, GattEvent::Secured { .. } | GattEvent::PairingFailed(_)) {
                pairings = 0.min(pairings + 1);
            }
        }
        prop_assert_eq!(open, 0, "every attempt to connect has one answer");
        prop_assert_eq!(pairings, 0, "no question stays open");
        world.central(1, CentralAction::Connect);
        later(&mut world, connect_delay_us);
        assert_eq!(told(&mut world), [GattEvent::Connected]);
        act(&mut world, write(CCC, &[1, 0], false));
        act(&mut world, write(CCC, &[0, 0], false));
        act(&mut world, write(CCC, &[1, 0], false));
        prop_assert_eq!(answers(&act(&mut world, write(VALUE, &echo(b""), true))).len(), 1);
    }
}

#[test]
fn what_controllers_do_by_themselves_is_taken_from_them() {
    let gatt =
        GattConfig { access: Security::Encrypted, mtu: 100, connect_delay_us: 5_000_000, ..GattConfig::default() };
    let mut world = world(gatt);
    world.set_carrier(Carrier::Adapter);
    // The connection is there; so is their MTU, and a demand that they have met.
    assert_eq!(act(&mut world, CentralAction::Connect), [GattEvent::Connected]);
    assert_eq!(act(&mut world, CentralAction::ExchangeMtu(247)), [GattEvent::Mtu(247)]);
    assert!(matches!(act(&mut world, write(CCC, &[1, 0], false)).as_slice(), [GattEvent::Error { .. }]));
    assert_eq!(act(&mut world, CentralAction::Secure { level: Security::Encrypted, bonded: true }), []);
    assert_eq!(act(&mut world, write(CCC, &[1, 0], false)), [GattEvent::Written { handle: CCC }]);
    assert!(world.hears(1));

    // The link is down for less than its supervision timeout, and is lost all the same.
    world.control(Control::Link(false));
    assert!(!world.hears(1));
    world.control(Control::Link(true));
    assert!(world.hears(1));
    assert_eq!(act(&mut world, CentralAction::Lose), [ENDED]);
    assert!(!world.hears(1));
    assert_eq!(act(&mut world, CentralAction::Lose), [], "there is nothing to lose any more");
    assert_eq!(act(&mut world, CentralAction::Connect), [GattEvent::Connected]);
}
