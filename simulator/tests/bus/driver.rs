//! What `org.freedesktop.DBus` answers, as `dbus-daemon` 1.14 does.

use brickproof_simulator::virtual_bluez::bus::{Credentials, limits};
use zbus::Message;
use zbus::message::Flags;

use crate::support::{BUS, Fixture, GUID, call_to, to_bus};

#[test]
fn hello_gives_a_name_and_must_be_first() {
    let mut fixture = Fixture::new();
    let watcher = fixture.client();
    fixture.watch(watcher, "member='NameOwnerChanged'");
    let client = fixture.bus.open(Credentials { uid: 0, pid: None }).unwrap();
    let refused = ":1.2 error AccessDenied Client tried to send a message other than Hello without being registered";
    assert_eq!(fixture.call(client, "GetId", &()), [refused]);
    assert_eq!(
        fixture.call(client, "Hello", &()),
        [
            r#":1.2 return ":1.2""#,
            r#":1.1 signal NameOwnerChanged ":1.2" "" ":1.2""#,
            r#":1.2 signal NameAcquired ":1.2""#
        ]
    );
    assert_eq!(fixture.call(client, "Hello", &()), [":1.2 error Failed Already handled an Hello message"]);
}

#[test]
fn who_speaks_to_others_before_hello_is_disconnected() {
    let mut fixture = Fixture::new();
    let client = fixture.bus.open(Credentials { uid: 0, pid: None }).unwrap();
    fixture.send(client, &call_to("org.bluez", "/", "a.b", "C", &()));
    assert_eq!(fixture.lines(), [":1.1 closed: it sent a message before Hello"]);
    assert_eq!(fixture.call(client, "Hello", &()), [""; 0]);
}

#[test]
fn names_change_hands_in_the_order_of_dbus_daemon() {
    let mut fixture = Fixture::new();
    let (one, two, three) = (fixture.client(), fixture.client(), fixture.client());
    fixture.watch(three, "member='NameOwnerChanged'");
    assert_eq!(
        fixture.call(one, "RequestName", &("a.b", 1u32)),
        [r#":1.3 signal NameOwnerChanged "a.b" "" ":1.1""#, r#":1.1 signal NameAcquired "a.b""#, ":1.1 return 1"]
    );
    assert_eq!(fixture.call(one, "RequestName", &("a.b", 1u32)), [":1.1 return 4"]);
    assert_eq!(fixture.call(two, "RequestName", &("a.b", 4u32)), [":1.2 return 3"]);
    assert_eq!(fixture.call(two, "RequestName", &("a.b", 0u32)), [":1.2 return 2"]);
    assert_eq!(fixture.call(three, "RequestName", &("a.b", 0u32)), [":1.3 return 2"]);
    assert_eq!(fixture.call(two, "ListQueuedOwners", &"a.b"), [r#":1.2 return [":1.1", ":1.2", ":1.3"]"#]);
    assert_eq!(
        fixture.call(two, "RequestName", &("a.b", 2u32)),
        [
            r#":1.1 signal NameLost "a.b""#,
            r#":1.3 signal NameOwnerChanged "a.b" ":1.1" ":1.2""#,
            r#":1.2 signal NameAcquired "a.b""#,
            ":1.2 return 1"
        ]
    );
    assert_eq!(fixture.call(two, "ListQueuedOwners", &"a.b"), [r#":1.2 return [":1.2", ":1.1", ":1.3"]"#]);
    assert_eq!(fixture.call(one, "ReleaseName", &"a.b"), [":1.1 return 1"]);
    assert_eq!(fixture.call(one, "ReleaseName", &"a.b"), [":1.1 return 3"]);
    assert_eq!(fixture.call(one, "ReleaseName", &"x.y"), [":1.1 return 2"]);
    assert_eq!(
        fixture.call(two, "ReleaseName", &"a.b"),
        [
            r#":1.2 signal NameLost "a.b""#,
            r#":1.3 signal NameOwnerChanged "a.b" ":1.2" ":1.3""#,
            r#":1.3 signal NameAcquired "a.b""#,
            ":1.2 return 1"
        ]
    );
}

#[test]
fn who_leaves_gives_its_names_back_last_first() {
    let mut fixture = Fixture::new();
    let (one, two) = (fixture.client(), fixture.client());
    fixture.watch(two, "member='NameOwnerChanged'");
    for name in ["a.b", "a.c"] {
        fixture.call(one, "RequestName", &(name, 0u32));
    }
    fixture.call(two, "RequestName", &("a.b", 0u32));
    fixture.send(two, &call_to(":1.1", "/", "a.b", "C", &()));
    fixture.lines();
    fixture.bus.closed(one);
    fixture.collect();
    assert_eq!(
        fixture.lines(),
        [
            r#":1.2 signal NameOwnerChanged "a.c" ":1.1" """#,
            r#":1.2 signal NameOwnerChanged "a.b" ":1.1" ":1.2""#,
            r#":1.2 signal NameAcquired "a.b""#,
            r#":1.2 signal NameOwnerChanged ":1.1" ":1.1" """#,
            ":1.2 error NoReply Message recipient disconnected from message bus without replying",
            "service :1.1 gone",
        ]
    );
}

#[test]
fn refusals_have_the_texts_of_dbus_daemon() {
    let mut fixture = Fixture::new();
    let client = fixture.client();
    let mut check = |member: &str, body: &[&str], expected: &str| {
        let message = match body {
            [] => to_bus(member, &()),
            [one] => to_bus(member, one),
            [name, _] => to_bus(member, &(*name, 0u32)),
            _ => unreachable!(),
        };
        fixture.send(client, &message);
        assert_eq!(fixture.lines(), [format!(":1.1 error {expected}")], "{member} {body:?}");
    };
    check("Nope", &[], "UnknownMethod org.freedesktop.DBus does not understand message Nope");
    check("NameHasOwner", &[], "InvalidArgs Call to NameHasOwner has wrong args (, expected s)\n");
    check("RequestName", &["a.b"], "InvalidArgs Call to RequestName has wrong args (s, expected su)\n");
    check("RequestName", &["a", ""], "InvalidArgs Requested bus name \"a\" is not valid");
    let unique = "InvalidArgs Cannot acquire a service starting with ':' such as \":1.1\"";
    check("RequestName", &[":1.1", ""], unique);
    let own = "AccessDenied Connection \":1.1\" is not allowed to own the service \"org.bluez\" due to security \
               policies in the configuration file";
    check("RequestName", &["org.bluez", ""], own);
    check("ReleaseName", &[""], "InvalidArgs Given bus name \"\" is not valid");
    check("GetNameOwner", &["x.y"], "NameHasNoOwner Could not get owner of name 'x.y': no such name");
    check("ListQueuedOwners", &["x.y"], "NameHasNoOwner Could not get owners of name 'x.y': no such name");
    check("GetConnectionUnixUser", &["x.y"], "NameHasNoOwner Could not get UID of name 'x.y': no such name");
    check("GetConnectionUnixProcessID", &["x.y"], "NameHasNoOwner Could not get PID of name 'x.y': no such name");
    let credentials = "NameHasNoOwner Could not get credentials of name 'x.y': no such name";
    check("GetConnectionCredentials", &["x.y"], credentials);
    let audit = "AdtAuditDataUnknown Could not determine audit session data for 'org.bluez'";
    check("GetAdtAuditSessionData", &["org.bluez"], audit);
    let selinux = "SELinuxSecurityContextUnknown Could not determine security context for ':1.1'";
    check("GetConnectionSELinuxSecurityContext", &[":1.1"], selinux);
    let start = "ServiceUnknown The name x.y was not provided by any .service files";
    check("StartServiceByName", &["x.y", ""], start);
    check("AddMatch", &["foo='x'"], "MatchRuleInvalid Unknown key \"foo\" in match rule");
    let missing = "MatchRuleNotFound The given match rule wasn't found and can't be removed";
    check("RemoveMatch", &["type='signal'"], missing);
    let long = "x".repeat(2000);
    check("AddMatch", &[&long], "LimitsExceeded Match rule text is 2000 bytes, maximum is 1024");
}

#[test]
fn questions_are_answered() {
    let mut fixture = Fixture::new();
    let client = fixture.client();
    let mut check = |member: &str, name: Option<&str>, expected: &str| {
        let message = name.map_or_else(|| to_bus(member, &()), |name| to_bus(member, &name));
        fixture.send(client, &message);
        assert_eq!(fixture.lines(), [format!(":1.1 return {expected}")], "{member} {name:?}");
    };
    check("ListNames", None, r#"["org.freedesktop.DBus", ":1.0", ":1.1", "org.bluez"]"#);
    check("ListActivatableNames", None, r#"["org.freedesktop.DBus", "org.bluez"]"#);
    check("GetId", None, &format!("{GUID:?}"));
    check("GetNameOwner", Some("org.bluez"), r#"":1.0""#);
    check("GetNameOwner", Some(BUS), &format!("{BUS:?}"));
    check("NameHasOwner", Some("org.bluez"), "true");
    check("NameHasOwner", Some("x.y"), "false");
    check("GetConnectionUnixUser", Some(":1.1"), "1000");
    check("GetConnectionUnixProcessID", Some(":1.1"), "77");
    check("GetConnectionUnixProcessID", Some(BUS), "1");
    check("GetConnectionCredentials", Some(":1.1"), r#"{"ProcessID": <77>, "UnixUserID": <1000>}"#);
    assert_eq!(fixture.call(client, "StartServiceByName", &("org.bluez", 0u32)), [":1.1 return 2"]);
}

#[test]
fn properties_paths_and_introspection() {
    let mut fixture = Fixture::new();
    let client = fixture.client();
    let properties = "org.freedesktop.DBus.Properties";
    let mut check = |message: &Message, expected: &str| {
        fixture.send(client, message);
        assert_eq!(fixture.lines(), [format!(":1.1 {expected}")]);
    };
    let at =
        |path: &str, interface: &str, member: &str, name: &str| call_to(BUS, path, interface, member, &(BUS, name));
    let canonical = "/org/freedesktop/DBus";
    check(&at(canonical, properties, "Get", "Interfaces"), r#"return <["org.freedesktop.DBus.Monitoring"]>"#);
    let unknown = "error UnknownProperty Property \"org.freedesktop.DBus.Foo\" not found";
    check(&at(canonical, properties, "Get", "Foo"), unknown);
    let elsewhere = "error UnknownInterface org.freedesktop.DBus does not understand message Get";
    check(&at("/", properties, "Get", "Interfaces"), elsewhere);
    let set = call_to(BUS, canonical, properties, "Set", &(BUS, "Features", zbus::Variant::from("x")));
    check(&set, "error PropertyReadOnly Property 'org.freedesktop.DBus.Features' cannot be set");
    let environment = std::collections::BTreeMap::<&str, &str>::new();
    let denied = "error AccessDenied Method 'UpdateActivationEnvironment' is only available at the canonical object \
                  path '/org/freedesktop/DBus'";
    check(&call_to(BUS, "/", BUS, "UpdateActivationEnvironment", &environment), denied);
    check(&call_to(BUS, "/x", "org.freedesktop.DBus.Peer", "Ping", &()), "return -");

    fixture.send(client, &call_to(BUS, "/org", "org.freedesktop.DBus.Introspectable", "Introspect", &()));
    let reply = fixture.messages(client).remove(0);
    let body = reply.body();
    let xml: &str = body.deserialize().unwrap();
    assert!(xml.contains("<node name=\"freedesktop/DBus\"/>") && !xml.contains("Monitoring"), "{xml}");
}

#[test]
fn a_client_that_wants_no_reply_gets_none() {
    let mut fixture = Fixture::new();
    let client = fixture.client();
    for member in ["GetId", "Nope"] {
        let call = Message::method_call("/", member).destination(BUS).interface(BUS);
        fixture.send(client, &call.with_flags(Flags::NO_REPLY_EXPECTED).build(&()).unwrap());
        assert_eq!(fixture.lines(), [""; 0]);
    }
}

#[test]
fn limits_are_kept() {
    let mut fixture = Fixture::new();
    let client = fixture.client();
    for _ in 0..limits::RULES_MAX {
        fixture.watch(client, "type='signal'");
    }
    let lines = fixture.call(client, "AddMatch", &"type='signal'");
    assert!(
        lines[0].contains("LimitsExceeded") && lines[0].contains("max_match_rules_per_connection=512"),
        "{lines:?}"
    );
    for index in 1..limits::NAMES_MAX {
        fixture.call(client, "RequestName", &(format!("a.n{index}"), 0u32));
    }
    let lines = fixture.call(client, "RequestName", &("a.more", 0u32));
    assert!(lines[0].contains("LimitsExceeded"), "{lines:?}");
    for _ in 1..limits::CLIENTS_MAX {
        assert!(fixture.bus.open(Credentials { uid: 0, pid: None }).is_some());
    }
    assert_eq!(fixture.bus.open(Credentials { uid: 0, pid: None }), None);
    fixture.bus.closed(client);
    assert!(fixture.bus.open(Credentials { uid: 0, pid: None }).is_some());
}
