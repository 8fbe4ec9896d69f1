//! Reading, writing, notifications, sockets, and the standard interfaces.

use super::*;

const READ: &str = "org.bluez.GattCharacteristic1.ReadValue";
const WRITE: &str = "org.bluez.GattCharacteristic1.WriteValue";
const START: &str = "org.bluez.GattCharacteristic1.StartNotify";
const STOP: &str = "org.bluez.GattCharacteristic1.StopNotify";
const DESCRIPTOR: &str = "/org/bluez/hci0/dev_C0_FF_EE_00_00_01/service0010/char0011/desc0013";

fn kind(kind: &'static str) -> BTreeMap<&'static str, Variant<'static>> {
    options(&[("type", Variant::from(kind))])
}

fn notification(value: &[u8]) -> GattEvent {
    GattEvent::Notification { handle: VALUE, value: value.to_vec() }
}

#[test]
fn the_value_is_told_before_it_is_answered_and_once_for_all_readers() {
    let mut bench = Bench::connected();
    bench.call(PROGRAM, CHARACTERISTIC, READ, &options(&[]));
    assert_eq!(bench.call(OTHER, CHARACTERISTIC, READ, &options(&[])), "");
    insta::assert_snapshot!(
        bench.call(OTHER, CHARACTERISTIC, READ, &options(&[("offset", Variant::from(2_u16))])),
        @r#"<- :1.6 org.bluez.Error.InProgress: "In Progress""#
    );
    bench.tell(GattEvent::Read { handle: VALUE, value: vec![1, 2, 3] });
    insta::assert_snapshot!(bench.log);
}

#[test]
fn the_type_of_a_write_decides_whatever_the_characteristic_says() {
    let mut bench = Bench::connected();
    let mut write = |value: &[u8], options: BTreeMap<&'static str, Variant<'static>>| {
        let answer = bench.call(PROGRAM, CHARACTERISTIC, WRITE, &(value.to_vec(), options));
        bench.tell(GattEvent::Written { handle: VALUE });
        answer
    };
    write(&[1], kind("command"));
    write(&[1], options(&[]));
    insta::assert_snapshot!(write(&[1], kind("request")), @"** 0 Write { handle: 18, value: [1], kind: Request }");
    insta::assert_snapshot!(write(&[1], kind("reliable")), @"** 0 Write { handle: 18, value: [1], kind: Long }");
    assert!(write(&[7; 245], kind("request")).ends_with("kind: Long }"));
    assert!(write(&[7; 244], kind("command")).starts_with("** 0 Write"));
    let failed = r#"<- :1.5 org.bluez.Error.Failed: "Failed to initiate write""#;
    assert_eq!(write(&[7; 245], kind("command")), failed);
    assert_eq!(write(&[], kind("reliable")), failed);
    assert_eq!(write(&[1], kind("signed")), r#"<- :1.5 org.bluez.Error.NotSupported: "Operation is not supported""#);
    let invalid = r#"<- :1.5 org.bluez.Error.InvalidArguments: "Invalid arguments in method call""#;
    assert_eq!(write(&[1], options(&[("type", Variant::from(7_u8))])), invalid);
    insta::assert_snapshot!(bench.log);
}

#[test]
fn one_write_request_at_a_time() {
    let mut bench = Bench::connected();
    let write = (vec![1_u8], kind("request"));
    bench.call(PROGRAM, CHARACTERISTIC, WRITE, &write);
    insta::assert_snapshot!(
        bench.call(OTHER, CHARACTERISTIC, WRITE, &write),
        @r#"<- :1.6 org.bluez.Error.InProgress: "In Progress""#
    );
    let refused = GattEvent::Error { handle: VALUE, error: AttError::WRITE_NOT_PERMITTED };
    insta::assert_snapshot!(bench.tell(refused), @r#"<- :1.5 org.bluez.Error.NotPermitted: "Write not permitted""#);
}

#[test]
fn every_session_is_told_of_every_notification() {
    let mut bench = Bench::connected();
    insta::assert_snapshot!(
        bench.call(PROGRAM, CHARACTERISTIC, START, &()),
        @"** 0 Write { handle: 19, value: [1, 0], kind: Request }"
    );
    assert_eq!(bench.call(OTHER, CHARACTERISTIC, START, &()), "");
    bench.tell(GattEvent::Written { handle: CCC });
    bench.tell(notification(&[9]));
    insta::assert_snapshot!(bench.call(PROGRAM, CHARACTERISTIC, START, &()), @"<- :1.5 ()");
    insta::assert_snapshot!(bench.call(PROGRAM, CHARACTERISTIC, STOP, &()), @"<- :1.5 ()");
    insta::assert_snapshot!(
        bench.call(PROGRAM, CHARACTERISTIC, STOP, &()),
        @r#"<- :1.5 org.bluez.Error.Failed: "No notify session started""#
    );
    bench.daemon.gone(OTHER, bench.now);
    bench.drain();
    assert_eq!(bench.tell(notification(&[9])), "");
    insta::assert_snapshot!(bench.log);
}

#[test]
fn a_refused_subscription_leaves_no_session() {
    let mut bench = Bench::connected();
    bench.call(PROGRAM, CHARACTERISTIC, START, &());
    bench.tell(GattEvent::Error { handle: CCC, error: AttError(0x80) });
    insta::assert_snapshot!(bench.log);
}

#[test]
fn sessions_outlive_a_connection() {
    let mut bench = Bench::connected();
    bench.call(PROGRAM, CHARACTERISTIC, START, &());
    bench.tell(GattEvent::Written { handle: CCC });
    bench.tell(GattEvent::Disconnected { by: EndedBy::Timeout, reason: 8 });
    insta::assert_snapshot!(
        bench.call(OTHER, CHARACTERISTIC, START, &()),
        @"<- :1.6 ()"
    );
    insta::assert_snapshot!(bench.connect(), @"** 0 Write { handle: 19, value: [1, 0], kind: Request }");
    assert_eq!(bench.tell(GattEvent::Written { handle: CCC }), "** 0 Discover");
    assert_eq!(bench.tell(notification(&[9])).lines().count(), 2);
}

#[test]
fn a_socket_is_given_to_one_program_at_a_time() {
    let mut bench = Bench::connected();
    let acquire = "org.bluez.GattCharacteristic1.AcquireWrite";
    bench.call(PROGRAM, CHARACTERISTIC, acquire, &options(&[]));
    insta::assert_snapshot!(
        bench.call(OTHER, CHARACTERISTIC, acquire, &options(&[])),
        @r#"<- :1.6 org.bluez.Error.NotPermitted: "Write acquired""#
    );
    insta::assert_snapshot!(
        bench.call(OTHER, CHARACTERISTIC, WRITE, &(vec![1_u8], kind("command"))),
        @r#"<- :1.6 org.bluez.Error.NotPermitted: "Write acquired""#
    );
    bench.daemon.socket_data(1, vec![1, 2], bench.now);
    insta::assert_snapshot!(bench.drain(), @"** 0 Write { handle: 18, value: [1, 2], kind: Command }");
    bench.daemon.socket_data(1, vec![1; 245], bench.now);
    assert_eq!(bench.drain(), "", "longer than the MTU allows");
    bench.daemon.sockets_closed(&[1], bench.now);
    bench.drain();
    assert!(bench.call(OTHER, CHARACTERISTIC, acquire, &options(&[])).ends_with("socket 2, MTU 247"));
    assert!(bench.tell(GattEvent::Disconnected { by: EndedBy::Timeout, reason: 8 }).contains("SocketClose(2)"));
    insta::assert_snapshot!(bench.log);
}

#[test]
fn notifications_go_to_a_socket_instead() {
    let mut bench = Bench::connected();
    let acquire = "org.bluez.GattCharacteristic1.AcquireNotify";
    bench.call(PROGRAM, CHARACTERISTIC, acquire, &options(&[]));
    bench.tell(GattEvent::Written { handle: CCC });
    insta::assert_snapshot!(bench.tell(notification(&[9])), @"** SocketSend(1, [9])");
    insta::assert_snapshot!(
        bench.call(OTHER, CHARACTERISTIC, START, &()),
        @r#"<- :1.6 org.bluez.Error.NotPermitted: "Notify acquired""#
    );
    bench.call(OTHER, CHARACTERISTIC, STOP, &());
    insta::assert_snapshot!(bench.log);
}

#[test]
fn the_descriptor_of_notifications_is_not_for_programs() {
    let mut bench = Bench::connected();
    insta::assert_snapshot!(
        bench.call(PROGRAM, DESCRIPTOR, "org.bluez.GattDescriptor1.WriteValue", &(vec![1_u8, 0], options(&[]))),
        @r#"<- :1.5 org.bluez.Error.NotPermitted: "Write not permitted""#
    );
    bench.call(PROGRAM, DESCRIPTOR, "org.bluez.GattDescriptor1.ReadValue", &options(&[]));
    bench.tell(GattEvent::Read { handle: CCC, value: vec![0, 0] });
    insta::assert_snapshot!(bench.log);
}

#[test]
fn properties_are_refused_in_the_words_of_gdbus() {
    let mut bench = Bench::connected();
    let mut answers = Vec::new();
    let mut set = |name: &str, value: Variant<'static>| {
        answers.push(bench.call(
            PROGRAM,
            DEVICE,
            "org.freedesktop.DBus.Properties.Set",
            &("org.bluez.Device1", name, value),
        ));
    };
    set("Connected", Variant::from(false));
    set("Colour", Variant::from("blue"));
    set("Trusted", Variant::from("yes"));
    set("Trusted", Variant::from(true));
    set("Alias", Variant::from("mine"));
    for (interface, name) in
        [("org.bluez.Device1", "Colour"), ("org.bluez.Nothing1", "Name"), ("org.bluez.Device1", "Name")]
    {
        answers.push(bench.call(PROGRAM, DEVICE, "org.freedesktop.DBus.Properties.Get", &(interface, name)));
    }
    answers.push(bench.call(PROGRAM, DEVICE, "org.bluez.Device1.Connect", &"now"));
    answers.push(bench.call(PROGRAM, "/org/nowhere", "org.bluez.Device1.Connect", &()));
    insta::assert_snapshot!(answers.join("\n"));
}

#[test]
fn introspection_shows_every_interface_and_child() {
    let mut bench = Bench::connected();
    let mut all = Vec::new();
    for path in ["/", "/org", "/org/bluez", ADAPTER, DEVICE, CHARACTERISTIC, DESCRIPTOR] {
        all.push(format!(
            "{path}\n{}",
            bench.call(PROGRAM, path, "org.freedesktop.DBus.Introspectable.Introspect", &())
        ));
    }
    insta::assert_snapshot!(all.join("\n"));
    bench.call(PROGRAM, "/", "org.freedesktop.DBus.ObjectManager.GetManagedObjects", &());
    insta::assert_snapshot!(bench.log);
}

#[test]
fn a_subscription_that_could_not_be_taken_up_again_is_made_anew() {
    let mut bench = Bench::connected();
    bench.call(PROGRAM, CHARACTERISTIC, START, &());
    bench.tell(GattEvent::Written { handle: CCC });
    bench.tell(GattEvent::Disconnected { by: EndedBy::Timeout, reason: 8 });
    insta::assert_snapshot!(
        bench.call(PROGRAM, CHARACTERISTIC, START, &()),
        @r#"<- :1.5 org.bluez.Error.InProgress: "In Progress""#
    );
    bench.connect();
    bench.tell(GattEvent::Error { handle: CCC, error: AttError::INVALID_HANDLE });
    bench.tell(GattEvent::Discovered(table()));
    assert_eq!(
        bench.call(PROGRAM, CHARACTERISTIC, START, &()),
        "** 0 Write { handle: 19, value: [1, 0], kind: Request }"
    );
}

#[test]
fn a_socket_that_was_given_back_before_it_was_there_is_nobodys() {
    let mut bench = Bench::connected();
    let acquire = "org.bluez.GattCharacteristic1.AcquireNotify";
    bench.call(PROGRAM, CHARACTERISTIC, acquire, &options(&[]));
    bench.call(PROGRAM, CHARACTERISTIC, STOP, &());
    bench.call(OTHER, CHARACTERISTIC, acquire, &options(&[]));
    let written = || GattEvent::Written { handle: CCC };
    assert!(bench.tell(written()).contains("<- :1.5 org.bluez.Error.Failed"));
    bench.tell(written());
    assert!(bench.tell(written()).contains("<- socket 2"));
}
