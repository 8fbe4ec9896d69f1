//! Adapters and discovery.

use super::*;

#[test]
fn a_discovery_finds_a_device_and_forgets_it() {
    let mut bench = Bench::advertising();
    bench.call(PROGRAM, ADAPTER, "org.bluez.Adapter1.StartDiscovery", &());
    bench.wait(10_000);
    bench.call(PROGRAM, ADAPTER, "org.bluez.Adapter1.StopDiscovery", &());
    bench.wait(31_000_000);
    insta::assert_snapshot!(bench.log);
}

#[test]
fn filters_are_checked_and_kept_for_each_program() {
    let mut bench = Bench::advertising();
    let set = "org.bluez.Adapter1.SetDiscoveryFilter";
    let uuids = |uuid: Uuid| options(&[("UUIDs", Variant::from(vec![uuid.to_string()]))]);
    for wrong in [
        options(&[("Colour", Variant::from("blue"))]),
        options(&[("RSSI", Variant::from(21_i16))]),
        options(&[("RSSI", Variant::from(-60_i32))]),
        options(&[("UUIDs", Variant::from(vec!["zz"]))]),
        options(&[("Transport", Variant::from("usb"))]),
        options(&[("RSSI", Variant::from(-60_i16)), ("Pathloss", Variant::from(60_u16))]),
    ] {
        let refused = "<- :1.5 org.bluez.Error.InvalidArguments: \"Invalid arguments in method call\"";
        assert_eq!(bench.call(PROGRAM, ADAPTER, set, &wrong), refused);
    }
    // Nobody hears of a device without the service that everybody looks for.
    bench.call(PROGRAM, ADAPTER, set, &uuids(Uuid::BATTERY));
    bench.call(PROGRAM, ADAPTER, "org.bluez.Adapter1.StartDiscovery", &());
    bench.wait(1_000);
    assert_eq!(bench.wait(100_000), "");
    // Another program looks for another one.
    bench.call(OTHER, ADAPTER, set, &uuids(SMP));
    bench.call(OTHER, ADAPTER, "org.bluez.Adapter1.StartDiscovery", &());
    assert!(bench.wait(10_000).contains("InterfacesAdded"));
    // The first one leaves the bus: the discovery goes on for the other.
    bench.daemon.gone(PROGRAM, bench.now);
    assert_eq!(bench.drain(), "");
    bench.daemon.gone(OTHER, bench.now);
    assert!(bench.drain().contains("\"Discovering\": <false>"));
}

#[test]
fn an_adapter_that_is_off_is_not_ready() {
    let mut bench = Bench::connected();
    let off = ("org.bluez.Adapter1", "Powered", Variant::from(false));
    bench.call(PROGRAM, ADAPTER, "org.freedesktop.DBus.Properties.Set", &off);
    for method in ["StartDiscovery", "StopDiscovery"] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(
                bench.call(PROGRAM, ADAPTER, &format!("org.bluez.Adapter1.{method}"), &()),
                @r#"<- :1.5 org.bluez.Error.NotReady: "Resource Not Ready""#
            );
        }
    }
    insta::assert_snapshot!(bench.log);
}

#[test]
fn discoveries_that_were_not_started_cannot_be_stopped_and_none_is_started_twice() {
    let mut bench = Bench::advertising();
    let stop = "org.bluez.Adapter1.StopDiscovery";
    insta::assert_snapshot!(
        bench.call(PROGRAM, ADAPTER, stop, &()),
        @r#"<- :1.5 org.bluez.Error.Failed: "No discovery started""#
    );
    bench.call(PROGRAM, ADAPTER, "org.bluez.Adapter1.StartDiscovery", &());
    insta::assert_snapshot!(
        bench.call(PROGRAM, ADAPTER, "org.bluez.Adapter1.StartDiscovery", &()),
        @r#"<- :1.5 org.bluez.Error.InProgress: "Operation already in progress""#
    );
    insta::assert_snapshot!(
        bench.call(PROGRAM, ADAPTER, stop, &()),
        @r#"<- :1.5 org.bluez.Error.InProgress: "Operation already in progress""#
    );
    bench.wait(1_000);
    insta::assert_snapshot!(bench.call(OTHER, ADAPTER, "org.bluez.Adapter1.StartDiscovery", &()), @"<- :1.6 ()");
    insta::assert_snapshot!(bench.call(PROGRAM, ADAPTER, stop, &()), @"<- :1.5 ()");
}

#[test]
fn a_target_that_comes_back_under_another_address_is_another_device() {
    let mut bench = Bench::advertising();
    bench.call(PROGRAM, ADAPTER, "org.bluez.Adapter1.StartDiscovery", &());
    bench.wait(10_000);
    bench.advertise(None);
    let moved = Advertisement { address: ADDRESS.plus(1), ..advertisement() };
    assert!(bench.advertise(Some(moved)).contains("dev_C0_FF_EE_00_00_02"));
    let managed = bench.call(PROGRAM, "/", "org.freedesktop.DBus.ObjectManager.GetManagedObjects", &());
    assert!(managed.contains("dev_C0_FF_EE_00_00_01") && managed.contains("dev_C0_FF_EE_00_00_02"));
}

#[test]
fn adapters_have_devices_of_their_own() {
    let mut bench = Bench::new();
    bench.daemon = Daemon::new(Settings { adapters: 2, ..Settings::default() });
    bench.advertise(Some(advertisement()));
    bench.call(PROGRAM, "/org/bluez/hci1", "org.bluez.Adapter1.StartDiscovery", &());
    let found = bench.wait(10_000);
    assert!(found.contains("/org/bluez/hci1/dev_C0_FF_EE_00_00_01") && !found.contains("/org/bluez/hci0/dev"));
}
