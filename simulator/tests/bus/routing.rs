//! Messages between clients, and between clients and the service.

use brickproof_simulator::virtual_bluez::bus::{Delivery, ServiceInput, limits};
use zbus::Message;
use zbus::message::Flags;

use crate::support::{Fixture, call_to, signal, to_bus};

#[test]
fn calls_reach_the_service_and_answers_their_caller() {
    let mut fixture = Fixture::new();
    let client = fixture.client();
    fixture.send(client, &call_to("org.bluez", "/org/bluez", "a.b", "C", &7u32));
    let Some(Delivery::Service(ServiceInput::Call { client: caller, message })) = fixture.out.pop() else {
        panic!("no call");
    };
    assert_eq!(caller, client);
    assert_eq!(message.header().sender().unwrap().as_str(), ":1.1");
    let reply = Message::method_return(&message.header()).build(&8u32).unwrap();
    fixture.bus.send(&reply);
    fixture.collect();
    let replies = fixture.messages(client);
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].header().sender().unwrap().as_str(), ":1.0");
    // Nobody waits for a second answer.
    fixture.bus.send(&reply);
    fixture.collect();
    assert_eq!(fixture.lines(), [""; 0]);
}

#[test]
fn answers_that_nobody_waits_for_are_dropped() {
    let mut fixture = Fixture::new();
    let (one, two) = (fixture.client(), fixture.client());
    let call = call_to(":1.2", "/", "a.b", "C", &());
    fixture.send(one, &call);
    let received = fixture.messages(two).remove(0);
    let reply = Message::method_return(&received.header()).build(&()).unwrap();
    let third = fixture.client();
    fixture.send(third, &reply);
    assert_eq!(fixture.lines(), [""; 0]);
    fixture.send(two, &reply);
    assert_eq!(fixture.lines(), [":1.1 return -"]);
    fixture.send(two, &reply);
    assert_eq!(fixture.lines(), [""; 0]);
}

#[test]
fn calls_without_an_answer_are_not_waited_for() {
    let mut fixture = Fixture::new();
    let (one, two) = (fixture.client(), fixture.client());
    let call = Message::method_call("/", "C").destination(":1.2").with_flags(Flags::NO_REPLY_EXPECTED);
    fixture.send(one, &call.build(&()).unwrap());
    let received = fixture.messages(two).remove(0);
    fixture.send(two, &Message::method_return(&received.header()).build(&()).unwrap());
    fixture.bus.closed(two);
    fixture.collect();
    assert_eq!(fixture.lines(), ["service :1.2 gone"]);
}

#[test]
fn names_that_nobody_owns() {
    let mut fixture = Fixture::new();
    let client = fixture.client();
    fixture.send(client, &call_to("x.y", "/", "a.b", "C", &()));
    let text = "The name x.y was not provided by any .service files";
    assert_eq!(fixture.lines(), [format!(":1.1 error ServiceUnknown {text}")]);
    let call = Message::method_call("/", "C").destination(":1.99").with_flags(Flags::NO_AUTO_START);
    fixture.send(client, &call.build(&()).unwrap());
    assert_eq!(fixture.lines(), [r#":1.1 error NameHasNoOwner Name ":1.99" does not exist"#]);
}

#[test]
fn the_service_calls_clients_and_always_gets_an_answer() {
    let mut fixture = Fixture::new();
    let client = fixture.client();
    fixture.bus.send(&call_to(":1.1", "/agent", "org.bluez.Agent1", "RequestPasskey", &()));
    fixture.collect();
    let call = fixture.messages(client).remove(0);
    fixture.send(client, &Message::method_return(&call.header()).build(&1234u32).unwrap());
    assert_eq!(fixture.lines(), ["service return 1234"]);
    fixture.bus.send(&call_to(":1.1", "/agent", "org.bluez.Agent1", "RequestPasskey", &()));
    fixture.bus.closed(client);
    fixture.bus.send(&call_to(":1.1", "/agent", "org.bluez.Agent1", "RequestPasskey", &()));
    fixture.collect();
    assert_eq!(
        fixture.lines(),
        [
            ":1.1 call RequestPasskey -",
            "service error NoReply Message recipient disconnected from message bus without replying",
            "service :1.1 gone",
            "service error ServiceUnknown The name :1.1 was not provided by any .service files",
        ]
    );
}

#[test]
fn signals_go_to_those_who_want_them_once() {
    let mut fixture = Fixture::new();
    let (one, two, _three) = (fixture.client(), fixture.client(), fixture.client());
    fixture.watch(one, "type='signal',sender='org.bluez'");
    fixture.watch(one, "type='signal',path_namespace='/org/bluez'");
    fixture.watch(two, "type='signal',sender='org.bluez',path='/x'");
    fixture.bus.send(&signal("/org/bluez/hci0", "a.b", "S", &1u32));
    fixture.collect();
    assert_eq!(fixture.lines(), [":1.1 signal S 1"]);
    // The same signal of somebody else.
    fixture.send(two, &signal("/org/bluez/hci0", "a.b", "S", &2u32));
    assert_eq!(fixture.lines(), [":1.1 signal S 2"]);
    fixture.send(two, &signal("/x", "a.b", "S", &3u32));
    assert_eq!(fixture.lines(), [""; 0]);
    // One with a destination is for that client only, and rules do not count.
    let unicast = Message::signal("/org/bluez", "a.b", "S").destination(":1.2").build(&4u32).unwrap();
    fixture.bus.send(&unicast);
    fixture.collect();
    assert_eq!(fixture.lines(), [":1.2 signal S 4"]);
}

#[test]
fn a_rule_that_was_added_twice_is_removed_twice() {
    let mut fixture = Fixture::new();
    let client = fixture.client();
    fixture.watch(client, "interface='a.b',type='signal'");
    fixture.watch(client, "type='signal',interface='a.b'");
    for expected in [1, 0] {
        let removed = fixture.call(client, "RemoveMatch", &"type=signal,interface=a.b");
        assert_eq!(removed, [":1.1 return -"]);
        fixture.bus.send(&signal("/", "a.b", "S", &()));
        fixture.collect();
        assert_eq!(fixture.lines().len(), expected);
    }
    assert!(fixture.call(client, "RemoveMatch", &"type=signal,interface=a.b")[0].contains("MatchRuleNotFound"));
}

#[test]
fn too_many_open_calls_are_refused() {
    let mut fixture = Fixture::new();
    let client = fixture.client();
    for _ in 0..limits::CALLS_MAX {
        fixture.send(client, &call_to("org.bluez", "/", "a.b", "C", &()));
    }
    fixture.lines();
    fixture.send(client, &call_to("org.bluez", "/", "a.b", "C", &()));
    let text = "The maximum number of pending replies per connection has been reached";
    assert_eq!(fixture.lines(), [format!(":1.1 error LimitsExceeded {text}")]);
}

#[test]
fn a_serial_is_used_once_at_a_time() {
    let mut fixture = Fixture::new();
    let client = fixture.client();
    let call = call_to("org.bluez", "/", "a.b", "C", &());
    fixture.send(client, &call);
    fixture.lines();
    fixture.send(client, &call);
    let text = "Message has the same reply serial as a currently-outstanding existing method call";
    assert_eq!(fixture.lines(), [format!(":1.1 error AccessDenied {text}")]);
}

#[test]
fn monitors_see_everything_and_must_be_silent() {
    let mut fixture = Fixture::new();
    let (monitor, client) = (fixture.client(), fixture.client());
    fixture.call(monitor, "RequestName", &("a.b", 0u32));
    let rules: [&str; 0] = [];
    let become_monitor = |rules: &[&str]| {
        call_to(
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus.Monitoring",
            "BecomeMonitor",
            &(rules, 0u32),
        )
    };
    fixture.send(monitor, &become_monitor(&rules));
    assert_eq!(
        fixture.lines(),
        [":1.1 return -", r#":1.1 signal NameLost ":1.1""#, r#":1.1 signal NameLost "a.b""#, "service :1.1 gone"]
    );
    fixture.send(client, &call_to("org.bluez", "/", "x.y", "C", &()));
    assert_eq!(fixture.lines(), [":1.1 call C -", "service from :1.2 call C -"]);
    assert_eq!(
        fixture.call(client, "NameHasOwner", &"a.b"),
        [r#":1.1 call NameHasOwner "a.b""#, ":1.1 return false", ":1.2 return false"]
    );
    let picky = fixture.client();
    fixture.send(picky, &become_monitor(&["type='error'"]));
    fixture.lines();
    fixture.send(client, &to_bus("Nope", &()));
    assert_eq!(fixture.lines().iter().filter(|line| line.starts_with(":1.3 error UnknownMethod")).count(), 1);
    fixture.send(monitor, &to_bus("GetId", &()));
    assert_eq!(fixture.lines(), [":1.1 closed: monitors must not send messages"]);
}

#[test]
fn eavesdroppers_see_what_is_for_others() {
    let mut fixture = Fixture::new();
    let (one, two) = (fixture.client(), fixture.client());
    fixture.watch(one, "eavesdrop='true',destination='org.bluez'");
    fixture.send(two, &call_to("org.bluez", "/", "x.y", "C", &()));
    assert_eq!(fixture.lines(), [":1.1 call C -", "service from :1.2 call C -"]);
}

#[test]
fn messages_for_nobody_and_hostile_ones() {
    let mut fixture = Fixture::new();
    let client = fixture.client();
    let ping = Message::method_call("/", "Ping").interface("org.freedesktop.DBus.Peer").build(&()).unwrap();
    fixture.send(client, &ping);
    assert_eq!(fixture.lines(), [":1.1 return -"]);
    fixture.send(client, &Message::method_call("/", "Foo").build(&"x").unwrap());
    let text = "Method \"Foo\" with signature \"s\" on interface \"(null)\" doesn't exist\n";
    assert_eq!(fixture.lines(), [format!(":1.1 error UnknownMethod {text}")]);
    // A false sender counts for nothing.
    let forged = Message::method_call("/", "C").sender(":1.0").destination("org.bluez").build(&()).unwrap();
    fixture.send(client, &forged);
    assert_eq!(fixture.lines(), ["service from :1.1 call C -"]);
    fixture.send(client, &signal("/", "org.freedesktop.DBus.Local", "Disconnected", &()));
    assert_eq!(fixture.lines()[0], ":1.1 closed: a message uses org.freedesktop.DBus.Local");
    let client = fixture.client();
    fixture.send(client, &signal("/", "a.b", "S", &vec![0u8; limits::MESSAGE_MAX]));
    assert_eq!(fixture.lines()[0], ":1.2 closed: a message is longer than 1048576 bytes");
}
