//! The virtual BlueZ over its socket: what only shows with real connections and file descriptors.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use brickproof_simulator::gatt::table::{Characteristic, Descriptor, Properties, Service, Table};
use brickproof_simulator::gatt::{
    Address, AddressKind, Advertisement, CentralAction, GattEvent, PairingAnswer, PairingAsk, Security, Uuid, WriteKind,
};
use brickproof_simulator::virtual_bluez::{Note, Options, Port, PortEvent, VirtualBluez};
use zbus::message::Type;
use zbus::{Connection, Message, ObjectPath, Variant};

const DEVICE: &str = "/org/bluez/hci0/dev_C0_FF_EE_00_00_01";
const CHARACTERISTIC: &str = "/org/bluez/hci0/dev_C0_FF_EE_00_00_01/service0010/char0011";
const VALUE: u16 = 0x12;

/// Runs a test beside a bus with one peripheral.
fn with_bus(test: impl AsyncFnOnce(VirtualBluez, Port)) {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let bus = VirtualBluez::start(folder.path(), &Options::default()).unwrap();
        let mut port = bus.attach(true);
        port.advertise(Some(Advertisement::new(Address([0xc0, 0xff, 0xee, 0, 0, 1]), AddressKind::Random)));
        test(bus, port).await;
    });
    assert!(!folder.path().join("bus").exists(), "the socket is removed");
}

async fn open(bus: &VirtualBluez) -> Connection {
    zbus::connection::Builder::address(bus.address()).build().await.unwrap()
}

async fn call<B: serde::Serialize + zbus::DynamicType>(
    connection: &Connection,
    path: &str,
    method: &str,
    body: &B,
) -> zbus::Result<Message> {
    let (interface, member) = method.rsplit_once('.').unwrap();
    connection.call_method(Some("org.bluez"), path, Some(interface), member, body).await
}

/// The next action that is no note.
async fn action(port: &mut Port) -> CentralAction {
    loop {
        if let PortEvent::Action(_, action) = port.next().await {
            return action;
        }
    }
}

/// Discovers and connects; the peripheral plays along.
async fn connect(connection: &Connection, port: &mut Port) {
    call(connection, "/org/bluez/hci0", "org.bluez.Adapter1.StartDiscovery", &()).await.unwrap();
    while call(connection, DEVICE, "org.freedesktop.DBus.Properties.GetAll", &"org.bluez.Device1").await.is_err() {
        tokio::task::yield_now().await;
    }
    let connecting = call(connection, DEVICE, "org.bluez.Device1.Connect", &());
    let playing = async {
        assert_eq!(action(port).await, CentralAction::Connect);
        port.tell(0, GattEvent::Connected);
        assert_eq!(action(port).await, CentralAction::ExchangeMtu(517));
        port.tell(0, GattEvent::Mtu(247));
        assert_eq!(action(port).await, CentralAction::Discover);
        port.tell(0, GattEvent::Discovered(table()));
    };
    let (connected, ()) = tokio::join!(connecting, playing);
    connected.unwrap();
}

fn table() -> Arc<Table> {
    Arc::new(Table {
        services: vec![Service {
            handle: 0x10,
            end: 0x13,
            uuid: Uuid::from_bits(7),
            primary: true,
            characteristics: vec![Characteristic {
                handle: 0x11,
                value_handle: VALUE,
                uuid: Uuid::from_bits(8),
                properties: Properties::WRITE_WITHOUT_RESPONSE.and(Properties::NOTIFY),
                descriptors: vec![Descriptor { handle: 0x13, uuid: Uuid::CCC }],
            }],
        }],
    })
}

fn no_options() -> HashMap<&'static str, Variant<'static>> {
    HashMap::new()
}

/// The file descriptor and the MTU of an acquired socket.
fn acquired(reply: &Message) -> (OwnedFd, u16) {
    let (fd, mtu): (zbus::OwnedFd, u16) = reply.body().deserialize().unwrap();
    (fd.into(), mtu)
}

#[test]
fn a_socket_carries_write_commands_and_its_end_gives_it_back_before_what_comes_next() {
    with_bus(async |bus, mut port| {
        let connection = open(&bus).await;
        connect(&connection, &mut port).await;
        let acquire = "org.bluez.GattCharacteristic1.AcquireWrite";
        let (socket, mtu) = acquired(&call(&connection, CHARACTERISTIC, acquire, &no_options()).await.unwrap());
        assert_eq!(mtu, 247);
        rustix::io::write(&socket, b"hello").unwrap();
        let command =
            |value: &[u8]| CentralAction::Write { handle: VALUE, value: value.to_vec(), kind: WriteKind::Command };
        assert_eq!(action(&mut port).await, command(b"hello"));
        // As smpclient does: only the MTU is wanted.
        drop(socket);
        let write = "org.bluez.GattCharacteristic1.WriteValue";
        let options = HashMap::from([("type", Variant::from("command"))]);
        call(&connection, CHARACTERISTIC, write, &(b"there".to_vec(), options)).await.unwrap();
        assert_eq!(action(&mut port).await, command(b"there"));
    });
}

#[test]
fn notifications_arrive_as_packets_and_a_lost_link_closes_the_socket() {
    with_bus(async |bus, mut port| {
        let connection = open(&bus).await;
        connect(&connection, &mut port).await;
        let acquire = "org.bluez.GattCharacteristic1.AcquireNotify";
        let options = no_options();
        let playing = async {
            assert!(matches!(action(&mut port).await, CentralAction::Write { handle: 0x13, .. }));
            port.tell(0, GattEvent::Written { handle: 0x13 });
        };
        let (reply, ()) = tokio::join!(call(&connection, CHARACTERISTIC, acquire, &options), playing);
        let (socket, _) = acquired(&reply.unwrap());
        port.tell(0, GattEvent::Notification { handle: VALUE, value: vec![1, 2] });
        port.tell(0, GattEvent::Notification { handle: VALUE, value: vec![3] });
        let by = brickproof_simulator::trace::EndedBy::Timeout;
        port.tell(0, GattEvent::Disconnected { by, reason: 8 });
        assert_eq!(packet(&socket).await, [1, 2]);
        assert_eq!(packet(&socket).await, [3]);
        assert_eq!(packet(&socket).await, [0; 0], "closed");
    });
}

async fn packet(socket: impl AsFd) -> Vec<u8> {
    let mut buffer = [0; 64];
    loop {
        match rustix::io::read(&socket, &mut buffer) {
            Ok(len) => return buffer[..len].to_vec(),
            Err(rustix::io::Errno::AGAIN) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn an_agent_is_asked_over_the_bus_and_one_that_leaves_has_refused() {
    for leaves in [false, true] {
        with_bus(async move |bus, mut port| {
            let connection = open(&bus).await;
            connect(&connection, &mut port).await;
            let agent = open(&bus).await;
            let mut asked = zbus::MessageStream::from(&agent);
            let path = ObjectPath::try_from("/agent").unwrap();
            call(&agent, "/org/bluez", "org.bluez.AgentManager1.RegisterAgent", &(path, "KeyboardOnly")).await.unwrap();
            let playing = async {
                assert!(matches!(action(&mut port).await, CentralAction::Pair { .. }));
                port.tell(0, GattEvent::PairingAsks(PairingAsk::EnterPasskey));
                let question = loop {
                    let message = next(&mut asked).await;
                    if message.message_type() == Type::MethodCall {
                        break message;
                    }
                };
                assert_eq!(question.header().member().unwrap().as_str(), "RequestPasskey");
                if leaves {
                    agent.clone().close().await.unwrap();
                } else {
                    let reply = Message::method_return(&question.header()).build(&123_456_u32).unwrap();
                    agent.send(&reply).await.unwrap();
                }
                let answer = action(&mut port).await;
                if leaves {
                    assert_eq!(answer, CentralAction::AnswerPairing(PairingAnswer::Refused));
                    port.tell(
                        0,
                        GattEvent::PairingFailed(brickproof_simulator::gatt::PairingFailure::PasskeyEntryFailed),
                    );
                } else {
                    assert_eq!(answer, CentralAction::AnswerPairing(PairingAnswer::Passkey(123_456)));
                    port.tell(0, GattEvent::Secured { level: Security::Authenticated, bonded: true });
                }
            };
            let (paired, ()) = tokio::join!(call(&connection, DEVICE, "org.bluez.Device1.Pair", &()), playing);
            assert_eq!(paired.is_err(), leaves);
        });
    }
}

async fn next(stream: &mut zbus::MessageStream) -> Message {
    use futures_core::Stream;
    let next = std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await;
    next.unwrap().unwrap()
}

#[test]
fn a_program_that_is_gone_leaves_no_discovery_and_no_session() {
    with_bus(async |bus, mut port| {
        let connection = open(&bus).await;
        connect(&connection, &mut port).await;
        let playing = async {
            assert!(matches!(action(&mut port).await, CentralAction::Write { handle: 0x13, .. }));
            port.tell(0, GattEvent::Written { handle: 0x13 });
        };
        let start = "org.bluez.GattCharacteristic1.StartNotify";
        let (started, ()) = tokio::join!(call(&connection, CHARACTERISTIC, start, &()), playing);
        started.unwrap();
        connection.close().await.unwrap();
        let off = CentralAction::Write { handle: 0x13, value: vec![0, 0], kind: WriteKind::Request };
        assert_eq!(action(&mut port).await, off);
        let other = open(&bus).await;
        let discovering = ("org.bluez.Adapter1", "Discovering");
        let reply = call(&other, "/org/bluez/hci0", "org.freedesktop.DBus.Properties.Get", &discovering).await.unwrap();
        assert_eq!(reply.body().deserialize::<Variant<'_>>().unwrap(), Variant::from(false));
    });
}

#[test]
fn who_watches_is_told_of_programs_and_their_calls() {
    with_bus(async |bus, mut port| {
        let connection = open(&bus).await;
        assert!(call(&connection, "/org/bluez/hci0", "org.bluez.Adapter1.StopDiscovery", &()).await.is_err());
        connection.close().await.unwrap();
        let mut notes = Vec::new();
        while !matches!(notes.last(), Some(Note::Closed { .. })) {
            if let PortEvent::Note(note) = port.next().await {
                notes.push(note);
            }
        }
        assert!(matches!(&notes[0], Note::Opened { process: Some(process), .. } if *process == std::process::id()));
        assert!(matches!(&notes[1], Note::Call { member, error: Some(error), .. }
            if member == "org.bluez.Adapter1.StopDiscovery" && error.contains("No discovery started")));
    });
}

#[test]
fn a_socket_path_that_is_too_long_is_refused_with_the_reason() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let long = format!("/tmp/{}", "x".repeat(200));
        let error = VirtualBluez::start(Path::new(&long), &Options::default()).unwrap_err();
        assert!(error.to_string().contains("108") || error.to_string().contains("107"), "{error}");
    });
}

/// Names in the attributes of XML elements that begin like this.
fn names<'a>(xml: &'a str, element: &'a str) -> impl Iterator<Item = &'a str> {
    xml.split(element).skip(1).filter_map(|rest| rest.split('"').next())
}

#[test]
fn a_program_that_calls_every_method_with_wrong_types_is_answered_every_time() {
    with_bus(async |bus, mut port| {
        let connection = open(&bus).await;
        connect(&connection, &mut port).await;
        let mut paths = vec!["/".to_owned()];
        let mut methods = Vec::new();
        while let Some(path) = paths.pop() {
            let reply = call(&connection, &path, "org.freedesktop.DBus.Introspectable.Introspect", &()).await.unwrap();
            let xml: String = reply.body().deserialize().unwrap();
            paths.extend(names(&xml, "<node name=\"").map(|child| format!("{}/{child}", path.trim_end_matches('/'))));
            for interface in xml.split("<interface name=\"").skip(1) {
                let name = interface.split('"').next().unwrap();
                methods.extend(
                    names(interface, "<method name=\"").map(|method| (path.clone(), format!("{name}.{method}"))),
                );
            }
        }
        assert!(methods.len() > 40, "{methods:?}");
        let mut answers = 0;
        for (path, method) in &methods {
            let wrong = (7_u64, vec!["x"]);
            let options = HashMap::from([("offset", Variant::from("x")), ("type", Variant::from(7_u8))]);
            answers += usize::from(call(&connection, path, method, &wrong).await.is_err());
            answers += usize::from(call(&connection, path, method, &(vec![1_u8], &options)).await.is_err());
            answers += usize::from(call(&connection, "/nowhere", method, &()).await.is_err());
        }
        // libdbus describes every path, as one where there is nothing.
        let described = methods.iter().filter(|(_, method)| method.ends_with(".Introspect")).count();
        assert_eq!(answers, 3 * methods.len() - described, "all of the others are errors");
        // Nobody answers for the peripheral any more: what would wait for it ends with it, but for a connection, which is
        // tried for as long as it takes.
        drop(port);
        for (path, method) in methods.iter().filter(|(_, method)| !method.ends_with(".Connect")) {
            let _ = call(&connection, path, method, &()).await;
        }
        call(&connection, "/", "org.freedesktop.DBus.Peer.Ping", &()).await.unwrap();
    });
}
