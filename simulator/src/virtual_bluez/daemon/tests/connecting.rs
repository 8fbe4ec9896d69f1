//! Connections.

use super::*;

const CONNECT: &str = "org.bluez.Device1.Connect";
const DISCONNECT: &str = "org.bluez.Device1.Disconnect";

/// A device that was found.
fn found() -> Bench {
    let mut bench = Bench::advertising();
    bench.call(PROGRAM, ADAPTER, "org.bluez.Adapter1.StartDiscovery", &());
    bench.wait(10_000);
    bench
}

fn lost() -> GattEvent {
    GattEvent::Disconnected { by: EndedBy::Timeout, reason: 0x08 }
}

#[test]
fn a_connection_is_told_of_before_it_is_answered_and_answered_before_its_services() {
    let mut bench = found();
    bench.connect();
    bench.tell(GattEvent::Discovered(table()));
    insta::assert_snapshot!(bench.call(PROGRAM, DEVICE, CONNECT, &()), @"<- :1.5 ()");
    insta::assert_snapshot!(bench.log);
}

#[test]
fn objects_stay_after_a_connection_and_refuse_to_be_read() {
    let mut bench = Bench::connected();
    bench.call(PROGRAM, DEVICE, DISCONNECT, &());
    insta::assert_snapshot!(
        bench.call(PROGRAM, CHARACTERISTIC, "org.bluez.GattCharacteristic1.ReadValue", &options(&[])),
        @r#"<- :1.5 org.bluez.Error.Failed: "Not connected""#
    );
    // The end of the connection is heard of after it was given up.
    assert_eq!(bench.tell(lost()), "");
    insta::assert_snapshot!(bench.call(PROGRAM, DEVICE, DISCONNECT, &()), @"<- :1.5 ()");
    // The same services again are the same objects.
    bench.connect();
    bench.tell(GattEvent::Discovered(table()));
    insta::assert_snapshot!(bench.log);
}

#[test]
fn a_lost_connection_ends_what_was_under_way() {
    let mut bench = Bench::connected();
    let read = "org.bluez.GattCharacteristic1.ReadValue";
    bench.call(PROGRAM, CHARACTERISTIC, read, &options(&[]));
    bench.call(OTHER, CHARACTERISTIC, read, &options(&[]));
    bench.tell(lost());
    insta::assert_snapshot!(bench.log);
}

#[test]
fn what_does_not_advertise_is_waited_for() {
    let mut bench = found();
    bench.advertise(None);
    assert_eq!(bench.call(PROGRAM, DEVICE, CONNECT, &()), "");
    insta::assert_snapshot!(
        bench.call(OTHER, DEVICE, CONNECT, &()),
        @r#"<- :1.6 org.bluez.Error.Failed: "Operation already in progress""#
    );
    let heard = bench.advertise(Some(advertisement()));
    assert!(heard.ends_with("** 0 Connect"), "{heard}");
    bench.advertise(None);
    insta::assert_snapshot!(
        bench.tell(GattEvent::Unreachable),
        @r#"<- :1.5 org.bluez.Error.Failed: "le-connection-abort-by-local""#
    );
    bench.call(PROGRAM, ADAPTER, "org.bluez.Adapter1.StopDiscovery", &());
    bench.call(PROGRAM, DEVICE, CONNECT, &());
    let failed = bench.wait(41_000_000);
    let (answer, removed) = failed.split_once('\n').unwrap();
    insta::assert_snapshot!(answer, @r#"<- :1.5 org.bluez.Error.Failed: "le-connection-abort-by-local""#);
    assert!(removed.contains("InterfacesRemoved"), "what cannot be connected to is forgotten: {removed}");
}

#[test]
fn an_attempt_can_be_given_up() {
    let mut bench = found();
    bench.call(PROGRAM, DEVICE, CONNECT, &());
    bench.call(OTHER, DEVICE, DISCONNECT, &());
    // It was too late: the connection is there, and ends.
    assert_eq!(bench.tell(GattEvent::Connected), "");
    assert_eq!(bench.call(PROGRAM, DEVICE, CONNECT, &()), "");
    // Only when the end was heard of is there a new attempt.
    assert_eq!(bench.tell(lost()), "** 0 Connect");
    insta::assert_snapshot!(bench.log);
}

#[test]
fn a_removed_device_is_gone_with_everything_below_it() {
    let mut bench = Bench::connected();
    let remove = "org.bluez.Adapter1.RemoveDevice";
    let path = zbus::ObjectPath::try_from(DEVICE).unwrap();
    bench.call(PROGRAM, ADAPTER, remove, &path);
    insta::assert_snapshot!(
        bench.call(PROGRAM, ADAPTER, remove, &path),
        @r#"<- :1.5 org.bluez.Error.DoesNotExist: "Does Not Exist""#
    );
    insta::assert_snapshot!(
        bench.call(PROGRAM, DEVICE, CONNECT, &()),
        @r#"<- :1.5 org.freedesktop.DBus.Error.UnknownObject: "Method \"Connect\" with signature \"\" on interface \"org.bluez.Device1\" doesn't exist\n""#
    );
    insta::assert_snapshot!(bench.log);
}

#[test]
fn service_changed_is_followed_by_another_look() {
    let mut bench = Bench::connected();
    let mut moved = (*table()).clone();
    let battery =
        Service { handle: 0x20, end: 0x20, uuid: Uuid::short(0x1812), primary: true, characteristics: Vec::new() };
    moved.services = vec![battery];
    bench.daemon.service_changed(path::DeviceKey { adapter: 0, address: ADDRESS });
    assert_eq!(bench.drain(), "** 0 Discover");
    bench.tell(GattEvent::Discovered(Arc::new(moved)));
    insta::assert_snapshot!(bench.log);
}

#[test]
fn a_peripheral_that_is_taken_away_is_lost() {
    let mut bench = Bench::connected();
    bench.daemon.input(0, PortInput::Detached, bench.now);
    assert!(bench.drain().contains("\"Connected\": <false>"));
}

#[test]
fn the_level_of_a_battery_is_there_while_the_device_is_connected() {
    let mut bench = found();
    bench.connect();
    let level = Characteristic {
        handle: 0x31,
        value_handle: 0x32,
        uuid: Uuid::BATTERY_LEVEL,
        properties: Properties::READ.and(Properties::NOTIFY),
        descriptors: vec![Descriptor { handle: 0x33, uuid: Uuid::CCC }],
    };
    let battery = Service { handle: 0x30, end: 0x33, uuid: Uuid::BATTERY, primary: true, characteristics: vec![level] };
    bench.tell(GattEvent::Discovered(Arc::new(Table { services: vec![battery] })));
    bench.log.clear();
    bench.tell(GattEvent::Read { handle: 0x32, value: vec![80] });
    bench.tell(GattEvent::Notification { handle: 0x32, value: vec![79] });
    bench.tell(lost());
    insta::assert_snapshot!(bench.log);
}

#[test]
fn a_connection_that_is_lost_before_its_services_are_known_resolves_nothing() {
    let mut bench = found();
    bench.call(PROGRAM, DEVICE, CONNECT, &());
    bench.tell(GattEvent::Connected);
    bench.wait(10_000);
    let lost = bench.tell(lost());
    assert!(lost.contains("\"Connected\": <false>") && !lost.contains("ServicesResolved"), "{lost}");
}

#[test]
fn a_request_that_is_never_answered_ends_the_connection() {
    let mut bench = Bench::connected();
    bench.call(PROGRAM, CHARACTERISTIC, "org.bluez.GattCharacteristic1.ReadValue", &options(&[]));
    assert_eq!(bench.wait(29_000_000), "");
    insta::assert_snapshot!(bench.wait(2_000_000));
}

#[test]
fn an_adapter_that_is_switched_off_ends_attempts_too() {
    let mut bench = Bench::new();
    // An address that changes is never kept.
    let private = Address([0x40, 1, 2, 3, 4, 5]);
    bench.advertise(Some(Advertisement { address: private, ..advertisement() }));
    bench.call(PROGRAM, ADAPTER, "org.bluez.Adapter1.StartDiscovery", &());
    bench.wait(10_000);
    let device = "/org/bluez/hci0/dev_40_01_02_03_04_05";
    assert_eq!(bench.call(PROGRAM, device, CONNECT, &()), "** 0 Connect");
    let off = ("org.bluez.Adapter1", "Powered", Variant::from(false));
    let answer = bench.call(OTHER, ADAPTER, "org.freedesktop.DBus.Properties.Set", &off);
    assert!(answer.contains("** 0 Disconnect") && answer.contains("<- :1.5 org.bluez.Error.Failed"), "{answer}");
}

#[test]
fn another_peripheral_with_the_same_address_does_not_take_a_connection_over() {
    let mut bench = Bench::connected();
    bench.daemon.input(1, PortInput::Advertise(Some(advertisement())), bench.now);
    bench.call(PROGRAM, ADAPTER, "org.bluez.Adapter1.StartDiscovery", &());
    bench.wait(10_000);
    bench.call(PROGRAM, DEVICE, DISCONNECT, &());
    // The end is that of the first one.
    assert_eq!(bench.tell(lost()), "");
    assert!(bench.call(PROGRAM, DEVICE, CONNECT, &()).ends_with("** 0 Connect"));
}
