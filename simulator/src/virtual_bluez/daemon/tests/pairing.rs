//! Pairing and agents.

use super::*;

const PAIR: &str = "org.bluez.Device1.Pair";

fn agent(bench: &mut Bench, sender: &str, capability: &str) -> String {
    let path = zbus::ObjectPath::try_from("/agent").unwrap();
    bench.call(sender, "/org/bluez", "org.bluez.AgentManager1.RegisterAgent", &(path, capability))
}

fn secured(level: Security) -> GattEvent {
    GattEvent::Secured { level, bonded: true }
}

#[test]
fn pairing_without_an_agent_asks_nobody() {
    let mut bench = Bench::connected();
    insta::assert_snapshot!(
        bench.call(PROGRAM, DEVICE, PAIR, &()),
        @"** 0 Pair { capability: NoInputNoOutput, wanted: Encrypted }"
    );
    insta::assert_snapshot!(
        bench.call(OTHER, DEVICE, PAIR, &()),
        @r#"<- :1.6 org.bluez.Error.InProgress: "In Progress""#
    );
    bench.tell(secured(Security::Encrypted));
    insta::assert_snapshot!(
        bench.call(PROGRAM, DEVICE, PAIR, &()),
        @r#"<- :1.5 org.bluez.Error.AuthenticationFailed: "Authentication Failed""#
    );
    insta::assert_snapshot!(bench.log);
}

#[test]
fn agents_are_asked_for_passkeys_and_numbers() {
    let mut bench = Bench::connected();
    agent(&mut bench, PROGRAM, "KeyboardDisplay");
    insta::assert_snapshot!(
        agent(&mut bench, PROGRAM, ""),
        @r#"<- :1.5 org.bluez.Error.AlreadyExists: "Already Exists""#
    );
    assert_eq!(bench.call(PROGRAM, DEVICE, PAIR, &()), "** 0 Pair { capability: KeyboardDisplay, wanted: Encrypted }");
    bench.tell(GattEvent::PairingAsks(PairingAsk::ShowPasskey(42)));
    bench.tell(GattEvent::PairingAsks(PairingAsk::EnterPasskey));
    assert_eq!(bench.agent_replies(Ok(&123_456_u32)), "** 0 AnswerPairing(Passkey(123456))");
    bench.tell(GattEvent::PairingAsks(PairingAsk::Compare(7)));
    assert_eq!(bench.agent_replies(Ok(&())), "** 0 AnswerPairing(Same)");
    assert!(bench.tell(secured(Security::SecureConnections)).ends_with("<- :1.5 ()"));
    insta::assert_snapshot!(bench.log);
}

#[test]
fn an_agent_that_refuses_or_answers_nonsense_or_nothing_or_leaves_has_refused() {
    for how in 0..5 {
        let mut bench = Bench::connected();
        agent(&mut bench, OTHER, "KeyboardDisplay");
        bench.call(PROGRAM, DEVICE, PAIR, &());
        bench.tell(GattEvent::PairingAsks(PairingAsk::EnterPasskey));
        let answer = match how {
            0 => bench.agent_replies::<()>(Err("org.bluez.Error.Rejected")),
            1 => bench.agent_replies(Ok(&"123456")),
            2 => bench.wait(61_000_000),
            3 => {
                bench.daemon.gone(OTHER, bench.now);
                bench.drain()
            }
            _ => {
                let path = zbus::ObjectPath::try_from("/agent").unwrap();
                bench.call(OTHER, "/org/bluez", "org.bluez.AgentManager1.UnregisterAgent", &path)
            }
        };
        assert!(answer.contains(&format!("** 0 AnswerPairing({:?})", PairingAnswer::Refused)), "{how}: {answer}");
        let failed = bench.tell(GattEvent::PairingFailed(PairingFailure::PasskeyEntryFailed));
        let words = r#"<- :1.5 org.bluez.Error.AuthenticationFailed: "Authentication Failed""#;
        assert!(failed.starts_with(&format!("{words}\n** 0 Disconnect")), "the link ends, too: {failed}");
    }
}

#[test]
fn a_pairing_can_be_cancelled_and_a_bond_removed() {
    let mut bench = Bench::connected();
    agent(&mut bench, PROGRAM, "KeyboardDisplay");
    bench.call(PROGRAM, DEVICE, PAIR, &());
    bench.tell(GattEvent::PairingAsks(PairingAsk::EnterPasskey));
    let cancel = "org.bluez.Device1.CancelPairing";
    bench.call(PROGRAM, DEVICE, cancel, &());
    bench.call(PROGRAM, DEVICE, PAIR, &());
    bench.tell(secured(Security::Encrypted));
    bench.call(PROGRAM, DEVICE, cancel, &());
    insta::assert_snapshot!(bench.log);
}

#[test]
fn a_refused_request_is_repeated_once_the_link_is_protected() {
    let mut bench = Bench::connected();
    bench.call(PROGRAM, CHARACTERISTIC, "org.bluez.GattCharacteristic1.StartNotify", &());
    let refused = |code| GattEvent::Error { handle: CCC, error: AttError(code) };
    insta::assert_snapshot!(
        bench.tell(refused(0x05)),
        @"** 0 Pair { capability: NoInputNoOutput, wanted: Encrypted }"
    );
    bench.tell(secured(Security::Encrypted));
    // Refused again: the program is told.
    bench.tell(refused(0x05));
    insta::assert_snapshot!(bench.log);
}

#[test]
fn a_request_that_cannot_be_protected_fails() {
    let mut bench = Bench::connected();
    bench.call(PROGRAM, CHARACTERISTIC, "org.bluez.GattCharacteristic1.ReadValue", &options(&[]));
    bench.tell(GattEvent::Error { handle: VALUE, error: AttError::INSUFFICIENT_ENCRYPTION });
    let failed = bench.tell(GattEvent::PairingFailed(PairingFailure::PairingNotSupported));
    insta::assert_snapshot!(
        failed.lines().last().unwrap(),
        @r#"<- :1.5 org.bluez.Error.Failed: "Operation failed with ATT error: 0x0e""#
    );
}

#[test]
fn kept_keys_protect_a_new_connection_before_anything_else() {
    let mut bench = Bench::connected();
    bench.call(PROGRAM, DEVICE, PAIR, &());
    bench.tell(secured(Security::Encrypted));
    bench.tell(GattEvent::Disconnected { by: EndedBy::Timeout, reason: 8 });
    bench.call(PROGRAM, DEVICE, "org.bluez.Device1.Connect", &());
    bench.tell(GattEvent::Connected);
    assert_eq!(bench.wait(10_000), "");
    assert_eq!(bench.tell(secured(Security::Encrypted)), "");
    bench.wait(10_000);
    insta::assert_snapshot!(bench.log);
}

#[test]
fn pairing_makes_the_connection_that_it_needs() {
    let mut bench = Bench::advertising();
    bench.call(PROGRAM, ADAPTER, "org.bluez.Adapter1.StartDiscovery", &());
    bench.wait(10_000);
    assert_eq!(bench.call(PROGRAM, DEVICE, PAIR, &()), "** 0 Connect");
    bench.tell(GattEvent::Connected);
    bench.tell(secured(Security::Encrypted));
    bench.wait(10_000);
    bench.tell(GattEvent::Mtu(247));
    assert!(bench.tell(GattEvent::Discovered(table())).ends_with("<- :1.5 ()"));
    insta::assert_snapshot!(bench.log);
}
