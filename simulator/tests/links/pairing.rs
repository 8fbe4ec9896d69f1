//! Pairing: every method, what goes wrong with it, and keys that are kept.

use brickproof_simulator::gatt::PairingFailure;
use brickproof_simulator::trace::LinkEvent;
use brickproof_simulator::world::{Action, Count, Fault, Trigger};

use super::*;
use IoCapability::{DisplayOnly, DisplayYesNo, KeyboardDisplay, KeyboardOnly, NoInputNoOutput};

const PASSKEY: PairingAnswer = PairingAnswer::Passkey(123_456);

fn target(capability: IoCapability) -> World {
    with(Pairing::by(Some(capability)))
}

/// A target with a central connected.
fn with(pairing: Pairing) -> World {
    let mut world = world(GattConfig { pairing, ..GattConfig::default() });
    act(&mut world, CentralAction::Connect);
    world
}

fn pair(world: &mut World, capability: IoCapability, wanted: Security) -> Vec<GattEvent> {
    act(world, CentralAction::Pair { capability, wanted })
}

fn answer(world: &mut World, answer: PairingAnswer) -> Vec<GattEvent> {
    act(world, CentralAction::AnswerPairing(answer))
}

fn asks(ask: PairingAsk) -> [GattEvent; 1] {
    [GattEvent::PairingAsks(ask)]
}

fn failed(failure: PairingFailure) -> [GattEvent; 1] {
    [GattEvent::PairingFailed(failure)]
}

#[test]
fn a_passkey_is_entered_at_the_central() {
    for (secure_connections, level) in [(true, Security::SecureConnections), (false, Security::Authenticated)] {
        let pairing = Pairing { secure_connections, passkey: 42, ..Pairing::PASSKEY };
        for (given, expected) in [
            (PairingAnswer::Passkey(42), secured(level)),
            (PASSKEY, GattEvent::PairingFailed(PairingFailure::ConfirmValueFailed)),
            (PairingAnswer::Refused, GattEvent::PairingFailed(PairingFailure::PasskeyEntryFailed)),
        ] {
            let mut world = with(pairing);
            assert_eq!(pair(&mut world, KeyboardOnly, Security::Authenticated), asks(PairingAsk::EnterPasskey));
            assert_eq!(answer(&mut world, given), [expected]);
            assert_eq!(answer(&mut world, given), [], "it is over");
        }
    }
}

#[test]
fn a_passkey_is_entered_at_the_target() {
    let mut world = target(KeyboardOnly);
    assert_eq!(pair(&mut world, DisplayOnly, Security::Authenticated), asks(PairingAsk::ShowPasskey(123_456)));
    assert_eq!(answer(&mut world, PairingAnswer::Same), []);
    later(&mut world, 1_000_000);
    assert_eq!(told(&mut world), [secured(Security::SecureConnections)]);

    let mut world = target(KeyboardOnly);
    pair(&mut world, DisplayOnly, Security::Authenticated);
    assert_eq!(answer(&mut world, PairingAnswer::Refused), failed(PairingFailure::PasskeyEntryFailed));

    // Entered while the link is down: it arrives when that is back.
    let mut world = target(KeyboardOnly);
    pair(&mut world, DisplayOnly, Security::Authenticated);
    later(&mut world, 300_000);
    world.control(Control::Link(false));
    later(&mut world, 300_000);
    assert_eq!(told(&mut world), []);
    world.control(Control::Link(true));
    later(&mut world, 1);
    assert_eq!(told(&mut world), [secured(Security::SecureConnections)]);
}

#[test]
fn numbers_are_compared() {
    for (given, expected) in [
        (PairingAnswer::Same, secured(Security::SecureConnections)),
        (PairingAnswer::Refused, GattEvent::PairingFailed(PairingFailure::NumericComparisonFailed)),
    ] {
        let mut world = target(DisplayYesNo);
        assert_eq!(pair(&mut world, DisplayYesNo, Security::Encrypted), asks(PairingAsk::Compare(123_456)));
        assert_eq!(answer(&mut world, given), [expected]);
    }
}

#[test]
fn what_cannot_be_reached_is_refused_at_once() {
    let requirements = failed(PairingFailure::AuthenticationRequirements);
    assert_eq!(pair(&mut target(NoInputNoOutput), KeyboardDisplay, Security::Authenticated), requirements);
    assert_eq!(pair(&mut target(DisplayOnly), NoInputNoOutput, Security::Authenticated), requirements);
    let legacy = Pairing { secure_connections: false, ..Pairing::PASSKEY };
    assert_eq!(pair(&mut with(legacy), KeyboardDisplay, Security::SecureConnections), requirements);
    let nobody = failed(PairingFailure::PairingNotSupported);
    assert_eq!(pair(&mut with(Pairing::REFUSED), KeyboardDisplay, Security::Encrypted), nobody);
}

#[test]
fn a_pairing_ends_with_its_link_and_by_its_timeout() {
    let lost = GattEvent::PairingFailed(PairingFailure::Disconnected);
    for power in [false, true] {
        let mut world = target(DisplayOnly);
        pair(&mut world, KeyboardOnly, Security::Authenticated);
        world.control(if power { Control::Power(false) } else { Control::Link(false) });
        assert_eq!(answer(&mut world, PASSKEY), []);
        later(&mut world, TIMEOUT_US);
        assert_eq!(told(&mut world), [lost.clone(), ENDED]);
    }
    let mut world = target(DisplayOnly);
    pair(&mut world, KeyboardOnly, Security::Authenticated);
    let events = act(&mut world, CentralAction::Disconnect);
    assert_eq!(events[0], lost);
    assert_eq!(events.len(), 2);

    let mut world = target(DisplayOnly);
    pair(&mut world, KeyboardOnly, Security::Authenticated);
    later(&mut world, 29_999_999);
    assert_eq!(told(&mut world), []);
    later(&mut world, 1);
    assert_eq!(told(&mut world), failed(PairingFailure::UnspecifiedReason));
    // And a pairing that was only wished for.
    world.control(Control::Power(false));
    assert_eq!(pair(&mut world, KeyboardOnly, Security::Authenticated), []);
    later(&mut world, TIMEOUT_US);
    assert_eq!(told(&mut world), [lost, ENDED]);
}

#[test]
fn faults_strike_when_a_pairing_begins() {
    for (for_us, survives) in [(TIMEOUT_US / 2, true), (2 * TIMEOUT_US, false)] {
        let mut world = target(NoInputNoOutput);
        let trigger = Trigger::Pairing(Count::once(1));
        world.control(Control::Fault(Fault { id: "f".into(), trigger, action: Action::LinkLoss { for_us } }));
        assert_eq!(pair(&mut world, NoInputNoOutput, Security::Encrypted), []);
        later(&mut world, 3 * TIMEOUT_US);
        let lost = GattEvent::PairingFailed(PairingFailure::Disconnected);
        let expected = if survives { vec![secured(Security::Encrypted)] } else { vec![lost, ENDED] };
        assert_eq!(told(&mut world), expected);
    }
}

fn reconnect(world: &mut World) {
    act(world, CentralAction::Disconnect);
    assert_eq!(act(world, CentralAction::Connect), [GattEvent::Connected]);
}

#[test]
fn kept_keys_encrypt_and_restore_and_weak_ones_are_replaced() {
    let mut world = target(DisplayOnly);
    act(&mut world, write(CCC, &[1, 0], false));
    assert_eq!(pair(&mut world, NoInputNoOutput, Security::Encrypted), [secured(Security::Encrypted)]);
    reconnect(&mut world);
    world.take_records();
    assert_eq!(pair(&mut world, NoInputNoOutput, Security::Encrypted), [secured(Security::Encrypted)]);
    let records = world.take_records();
    let kept = |kind: &Kind| matches!(kind, Kind::Link(LinkEvent::Security { with_kept_keys: true, .. }));
    let restored = |kind: &Kind| matches!(kind, Kind::Cccd(cccd) if cccd.by == "restored" && cccd.notifications);
    assert!(records.iter().any(|record| kept(&record.kind)) && records.iter().any(|record| restored(&record.kind)));
    assert_eq!(pair(&mut world, KeyboardOnly, Security::Authenticated), asks(PairingAsk::EnterPasskey));
    assert_eq!(answer(&mut world, PASSKEY), [secured(Security::SecureConnections)]);
    reconnect(&mut world);
    // Now the stronger ones are there for whoever wants less.
    assert_eq!(pair(&mut world, NoInputNoOutput, Security::Encrypted), [secured(Security::SecureConnections)]);
}

#[test]
fn a_central_that_has_lost_its_keys_comes_back_only_as_safely_as_before() {
    for (replaces_bonds, comes_back) in [(false, false), (true, true)] {
        let mut world = with(Pairing { replaces_bonds, ..Pairing::JUST_WORKS });
        pair(&mut world, NoInputNoOutput, Security::Encrypted);
        act(&mut world, CentralAction::Disconnect);
        act(&mut world, CentralAction::ForgetKeys);
        act(&mut world, CentralAction::Connect);
        let events = pair(&mut world, NoInputNoOutput, Security::Encrypted);
        if comes_back {
            assert_eq!(events, [secured(Security::Encrypted)]);
        } else {
            assert_eq!(events, failed(PairingFailure::AuthenticationRequirements));
        }
    }
    let mut world = target(DisplayOnly);
    pair(&mut world, KeyboardOnly, Security::Authenticated);
    answer(&mut world, PASSKEY);
    reconnect(&mut world);
    act(&mut world, CentralAction::ForgetKeys);
    assert_eq!(
        pair(&mut world, NoInputNoOutput, Security::Encrypted),
        failed(PairingFailure::AuthenticationRequirements),
        "weaker than what the target has"
    );
    assert_eq!(pair(&mut world, KeyboardOnly, Security::Authenticated), asks(PairingAsk::EnterPasskey));
    assert_eq!(answer(&mut world, PASSKEY), [secured(Security::SecureConnections)]);
}
