//! Match rules: reading, writing, meaning.

use brickproof_simulator::virtual_bluez::bus::{ArgumentRule, MatchRule, PathRule, RuleError};
use proptest::collection::btree_map;
use proptest::option;
use proptest::prelude::*;
use zbus::ObjectPath;
use zbus::message::Type;

use crate::support::{Fixture, signal};

#[test]
fn quotes_and_backslashes() {
    let value = |text: &str| {
        let rule = MatchRule::parse(&format!("arg0={text}")).unwrap();
        match rule.arguments.get(&0) {
            Some(ArgumentRule::Exact(value)) => value.clone(),
            other => panic!("{other:?}"),
        }
    };
    // The examples of the specification: each of them is an apostrophe.
    for text in [r"''\'''", r"\'", r"''\'''"] {
        assert_eq!(value(text), "'", "{text}");
    }
    assert_eq!(value(r"'it'\''s'"), "it's");
    assert_eq!(value(r"'\'"), r"\");
    assert_eq!(value(r"\\"), r"\\");
    assert_eq!(value(r"\a"), r"\a");
    assert_eq!(value(r"'a,b'"), "a,b");
    assert_eq!(value(r"a'b'c"), "abc");
    assert_eq!(value("\\"), "\\");
    assert_eq!(value(""), "");
}

#[test]
fn what_is_no_rule() {
    let text = |rule: &str| match MatchRule::parse(rule) {
        Err(RuleError::Invalid(text)) => text,
        other => panic!("{rule}: {other:?}"),
    };
    assert_eq!(text("type"), "Match rule has a key with no subsequent '=' character");
    assert_eq!(text("type='signal"), "Unbalanced quotation marks in match rule");
    assert_eq!(text("type='x'"), "Invalid message type (x) in match rule\n");
    assert_eq!(text("type=signal,type=signal"), "Key type specified twice in match rule\n");
    assert_eq!(text("path='/a',path_namespace='/b'"), "path or path_namespace specified twice in match rule\n");
    assert_eq!(text("path='/a/'"), "Path '/a/' is invalid\n");
    assert_eq!(text("sender='a'"), "Sender name 'a' is invalid\n");
    assert_eq!(text("arg0='a',arg0path='/'"), "Argument arg0path matched more than once in match rule\n");
    assert_eq!(text("arg64='a'"), "Key 'arg64' in match rule has arg number 64 but the maximum is 63.\n");
    assert_eq!(text("arg0namespace='a..b'"), "arg0namespace='a..b' is not a valid prefix of a bus name");
    assert_eq!(text("eavesdrop='x'"), "eavesdrop='x' is invalid, it should be 'true' or 'false'\n");
    assert_eq!(text("foo='x'"), "Unknown key \"foo\" in match rule");
    // What dbus-daemon takes, too.
    for rule in ["", " ", "=", "=x", "type ='signal'", " type='signal', member='A'", "type='signal', "] {
        assert!(MatchRule::parse(rule).is_ok(), "{rule}");
    }
}

#[test]
fn arguments_and_paths() {
    let path = |path: &'static str| ObjectPath::from_static_str(path).unwrap();
    let mut fixture = Fixture::new();
    let client = fixture.client();
    let mut check = |rule: &str, message: &zbus::Message, expected: bool| {
        fixture.watch(client, rule);
        fixture.bus.send(message);
        fixture.collect();
        assert_eq!(!fixture.lines().is_empty(), expected, "{rule}");
        fixture.call(client, "RemoveMatch", &rule);
    };
    let added =
        |at: &'static str| signal("/", "org.freedesktop.DBus.ObjectManager", "InterfacesAdded", &(path(at), 1u8));
    check("arg0path='/org/bluez/'", &added("/org/bluez/hci0"), true);
    check("arg0path='/org/bluez/'", &added("/org/bluez"), false);
    check("arg0path='/org/bluez'", &added("/org/bluez"), true);
    check("arg0path='/org/bluez'", &added("/org/bluez/hci0"), false);
    check("arg0='/org/bluez'", &added("/org/bluez"), false);
    let text =
        |first: &'static str, second: &'static str| signal("/org/bluez/hci0", "a.b", "S", &(first, 2u32, second));
    check("arg0path='/a/b'", &text("/a/", ""), true);
    check("arg0='x'", &text("x", ""), true);
    check("arg0='x'", &text("y", ""), false);
    check("arg2='y'", &text("x", "y"), true);
    check("arg1='2'", &text("x", "y"), false);
    check("arg3=''", &text("x", "y"), false);
    check("arg0namespace='org.bluez'", &text("org.bluez.Device1", ""), true);
    check("arg0namespace='org.bluez'", &text("org.bluez", ""), true);
    check("arg0namespace='org.bluez'", &text("org.bluezoid", ""), false);
    check("path_namespace='/org/bluez'", &text("", ""), true);
    check("path_namespace='/org/blue'", &text("", ""), false);
    check("path_namespace='/'", &text("", ""), true);
    check("path='/org/bluez'", &text("", ""), false);
    check("sender='org.bluez'", &text("", ""), true);
    check("sender=':1.0'", &text("", ""), true);
    check("sender='x.y'", &text("", ""), false);
    check("destination=':1.1'", &text("", ""), false);
    check("type='method_call'", &text("", ""), false);
    check("", &text("", ""), true);
    // A single argument that is a structure has its own first field, and one that is no text has none.
    check("arg0='x'", &signal("/", "a.b", "S", &7u32), false);
    check("arg0='x'", &signal("/", "a.b", "S", &()), false);
    check("arg0='x'", &signal("/", "a.b", "S", &"x"), true);
}

fn any_rule() -> impl Strategy<Value = MatchRule> {
    let kind = prop::sample::select(vec![Type::MethodCall, Type::MethodReturn, Type::Error, Type::Signal]);
    let name = "[a-z]{1,5}(\\.[a-z]{1,5}){1,2}";
    let path = "(/[a-z0-9_]{1,4}){1,3}";
    let path = (any::<bool>(), path)
        .prop_map(|(exact, path)| if exact { PathRule::Exact(path) } else { PathRule::Namespace(path) });
    let argument =
        prop_oneof!["[^\0]{0,8}".prop_map(ArgumentRule::Exact), "[\\\\',/a ]{0,8}".prop_map(ArgumentRule::Path)];
    let namespace = option::of(name.prop_map(ArgumentRule::Namespace));
    let names = (option::of(name), option::of(name), option::of("[A-Za-z]{1,8}"), option::of(name));
    (option::of(kind), names, option::of(path), btree_map(0u8..64, argument, 0..5), namespace, any::<bool>()).prop_map(
        |(kind, (sender, interface, member, destination), path, mut arguments, namespace, eavesdrop)| {
            arguments.extend(namespace.map(|namespace| (0, namespace)));
            MatchRule { kind, sender, interface, member, path, destination, arguments, eavesdrop }
        },
    )
}

proptest! {
    #[test]
    fn rules_read_back(rule in any_rule()) {
        let text = rule.to_string();
        prop_assume!(text.len() <= 1024);
        prop_assert_eq!(MatchRule::parse(&text), Ok(rule), "{}", text);
    }

    #[test]
    fn no_text_is_too_much(text in ".{0,200}") {
        let _ = MatchRule::parse(&text);
    }

    #[test]
    fn what_was_read_reads_back(text in "((type|arg0|arg1path|member|path|x|eavesdrop|sender)=?['\\\\,a-c/.:= ]{0,6},?){0,5}") {
        if let Ok(rule) = MatchRule::parse(&text) {
            prop_assert_eq!(MatchRule::parse(&rule.to_string()), Ok(rule));
        }
    }
}
