//! The bus over its socket, with clients of zbus and with bytes by hand.

use std::future::{Future, poll_fn};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Pair;
use std::path::Path;
use std::pin::Pin;

use brickproof_simulator::virtual_bluez::bus::socket::{Incoming, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};
use zbus::connection::Builder;
use zbus::export::futures_core::Stream;
use zbus::{Connection, Message, MessageStream};

use crate::serve::Server;
use crate::support::{BUS, to_bus};

/// Runs a test with a bus on a socket.
fn with_bus<F: Future<Output = ()>>(test: impl FnOnce(String, std::path::PathBuf) -> F) {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let path = folder.path().join("bus");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let listener = Listener::bind(&path).unwrap();
        let address = listener.address().to_owned();
        let server = spawn_local(Server::new(listener).run());
        test(address, path.clone()).await;
        assert!(!server.is_finished());
        server.abort();
    });
    assert!(!path.exists());
}

async fn connect(address: &str) -> Connection {
    Builder::address(address).build().await.unwrap()
}

async fn call<B>(client: &Connection, destination: &str, member: &str, body: &B) -> zbus::Result<Message>
where
    B: serde::Serialize + zbus::DynamicType,
{
    client.call_method(Some(destination), "/", None::<&str>, member, body).await
}

async fn next(stream: &mut MessageStream) -> Message {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await.unwrap().unwrap()
}

/// A connection without a library: authenticated, but without Hello.
async fn raw(path: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(&greeting()).await.unwrap();
    let mut answer = [0; 3 + 32 + 2];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"OK "));
    stream
}

fn greeting() -> Vec<u8> {
    let uid: String =
        rustix::process::geteuid().as_raw().to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").into_bytes()
}

/// Whatever is left to be read, until the connection is closed.
async fn rest(stream: &mut UnixStream) -> usize {
    let mut count = 0;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return count,
            Ok(read) => count += read,
        }
    }
}

#[test]
fn a_client_gets_a_name_and_calls_the_service() {
    with_bus(|address, path| async move {
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let client = connect(&address).await;
        assert_eq!(client.unique_name().unwrap().as_str(), ":1.1");
        call(&client, "org.bluez", "Echo", &()).await.unwrap();
        let reply = call(&client, BUS, "GetConnectionUnixProcessID", &":1.1").await.unwrap();
        assert_eq!(reply.body().deserialize::<u32>().unwrap(), std::process::id());
        let error = call(&client, "x.y", "Echo", &()).await.unwrap_err();
        assert!(error.to_string().contains("ServiceUnknown"), "{error}");
    });
}

#[test]
fn hello_may_come_with_the_handshake() {
    with_bus(|_, path| async move {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let bytes = [&greeting()[..], to_bus("Hello", &()).data(), to_bus("GetId", &()).data()].concat();
        // In pieces, as a stream may deliver it.
        for piece in bytes.chunks(7) {
            stream.write_all(piece).await.unwrap();
        }
        let mut answer = vec![0; 400];
        stream.read_exact(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("OK ") && text.contains(":1.1") && text.contains("NameAcquired"), "{text}");
    });
}

#[test]
fn signals_follow_match_rules() {
    with_bus(|address, _| async move {
        let (sender, receiver) = (connect(&address).await, connect(&address).await);
        let mut stream = MessageStream::from(&receiver);
        call(&receiver, BUS, "AddMatch", &"type='signal',interface='t.t',arg0path='/org/bluez/'").await.unwrap();
        for path in ["/org/other", "/org/bluez/hci0"] {
            let path = zbus::ObjectPath::from_static_str(path).unwrap();
            sender.send(&Message::signal("/", "t.t", "S").build(&path).unwrap()).await.unwrap();
        }
        let signal = loop {
            let message = next(&mut stream).await;
            if message.header().interface().is_some_and(|interface| interface.as_str() == "t.t") {
                break message;
            }
        };
        let body = signal.body();
        assert_eq!(body.deserialize::<zbus::ObjectPath<'_>>().unwrap().as_str(), "/org/bluez/hci0");
        assert_eq!(signal.header().sender().unwrap().as_str(), ":1.1");
    });
}

#[test]
fn file_descriptors_travel_both_ways() {
    with_bus(|address, _| async move {
        let (one, two) = (connect(&address).await, connect(&address).await);
        let mut stream = MessageStream::from(&two);
        let (near, far) = Pair::pair().unwrap();
        let answering = async {
            let asked = loop {
                let message = next(&mut stream).await;
                if message.header().member().is_some_and(|member| member.as_str() == "Take") {
                    break message;
                }
            };
            let body = asked.body();
            let (text, descriptor): (&str, zbus::Fd<'_>) = body.deserialize().unwrap();
            assert_eq!(text, "take it");
            // It goes back, and is the same socket still.
            two.send(&Message::method_return(&asked.header()).build(&descriptor).unwrap()).await.unwrap();
        };
        let taken = ("take it", zbus::Fd::from(&far));
        let asking = call(&one, ":1.2", "Take", &taken);
        let (reply, ()) = tokio::join!(asking, answering);
        let reply = reply.unwrap();
        let body = reply.body();
        let back: zbus::Fd<'_> = body.deserialize().unwrap();
        let mut back = Pair::from(back.as_fd().try_clone_to_owned().unwrap());
        std::io::Write::write_all(&mut &near, b"x").unwrap();
        let mut byte = [0];
        back.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");

        let reply = call(&one, "org.bluez", "Acquire", &()).await.unwrap();
        let body = reply.body();
        let (descriptor, mtu): (zbus::Fd<'_>, u16) = body.deserialize().unwrap();
        assert_eq!(mtu, 247);
        let mut text = [0; 2];
        Pair::from(descriptor.as_fd().try_clone_to_owned().unwrap()).read_exact(&mut text).unwrap();
        assert_eq!(&text, b"hi");
    });
}

#[test]
fn callers_of_a_client_that_dies_get_an_error() {
    with_bus(|address, _| async move {
        let (one, two) = (connect(&address).await, connect(&address).await);
        let mut stream = MessageStream::from(&two);
        let dying = async {
            while next(&mut stream).await.header().member().is_none_or(|member| member.as_str() != "Wait") {}
            drop(stream);
            two.close().await.unwrap();
        };
        let (reply, ()) = tokio::join!(call(&one, ":1.2", "Wait", &()), dying);
        let error = reply.unwrap_err().to_string();
        assert!(error.contains("NoReply"), "{error}");
        let reply = call(&one, BUS, "NameHasOwner", &":1.2").await.unwrap();
        assert!(!reply.body().deserialize::<bool>().unwrap());
    });
}

#[test]
fn who_does_not_read_is_disconnected_and_disturbs_nobody() {
    with_bus(|address, path| async move {
        let mut deaf = raw(&path).await;
        let flood = Message::method_call("/", "Flood").destination("org.bluez").build(&60_000u32).unwrap();
        deaf.write_all(&[&to_bus("Hello", &()).data()[..], flood.data()].concat()).await.unwrap();
        let client = connect(&address).await;
        while call(&client, BUS, "NameHasOwner", &":1.1").await.unwrap().body().deserialize::<bool>().unwrap() {}
        call(&client, "org.bluez", "Echo", &()).await.unwrap();
        // What the kernel holds is still read, and nothing of what the bus held.
        assert!(rest(&mut deaf).await < 16 << 20);
    });
}

#[test]
fn who_reads_late_gets_everything_in_order() {
    with_bus(|address, path| async move {
        let mut late = raw(&path).await;
        let flood = Message::method_call("/", "Flood").destination("org.bluez").build(&10_000u32).unwrap();
        late.write_all(&[&to_bus("Hello", &()).data()[..], flood.data()].concat()).await.unwrap();
        call(&connect(&address).await, "org.bluez", "Echo", &()).await.unwrap();
        let mut count = 0;
        while count < 10_000 * 1024 {
            count += late.read(&mut [0; 4096]).await.unwrap();
        }
    });
}

#[test]
fn garbage_closes_its_own_connection_only() {
    with_bus(|address, path| async move {
        let client = connect(&address).await;
        let long = vec![b'x'; 5000];
        let before: [&[u8]; 7] = [
            b"\n",
            b"x",
            b"\0\n",
            b"\0\xff\xfe\r\n",
            b"\0BEGIN\r\n",
            b"\0AUTH EXTERNAL\r\nBEGIN\r\n",
            &[b"\0", &long[..]].concat(),
        ];
        for bytes in before {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            rest(&mut stream).await;
            call(&client, "org.bluez", "Echo", &()).await.unwrap();
        }
        let hello = to_bus("Hello", &());
        let mut huge = hello.data()[..16].to_vec();
        huge[4..8].copy_from_slice(&(100u32 << 20).to_le_bytes());
        let mut body = to_bus("NameHasOwner", &"x.y").data().to_vec();
        let end = body.len() - 1;
        body[end] = b'x';
        let zeros = vec![0; 64];
        for bytes in [&huge, &zeros, &long, &body] {
            let mut stream = raw(&path).await;
            stream.write_all(bytes).await.unwrap();
            rest(&mut stream).await;
            call(&client, "org.bluez", "Echo", &()).await.unwrap();
        }
        // Half a message waits for its other half.
        let mut stream = raw(&path).await;
        stream.write_all(&hello.data()[..50]).await.unwrap();
        call(&client, "org.bluez", "Echo", &()).await.unwrap();
        stream.write_all(&hello.data()[50..]).await.unwrap();
        assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
    });
}

#[test]
fn nobody_waits_for_clients_that_say_nothing() {
    with_bus(|address, path| async move {
        let mut silent = Vec::new();
        for _ in 0..100 {
            silent.push(UnixStream::connect(&path).await.unwrap());
        }
        let client = connect(&address).await;
        call(&client, "org.bluez", "Echo", &()).await.unwrap();
        // The oldest were sent away.
        assert_eq!(rest(&mut silent[0]).await, 0);
    });
}

#[test]
fn dropping_the_listener_closes_everything() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let path = folder.path().join("bus");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let mut listener = Listener::bind(&path).unwrap();
        let connecting = spawn_local({
            let path = path.clone();
            async move { raw(&path).await }
        });
        let Incoming::Opened(token, credentials) = listener.next().await else { panic!("no client") };
        assert_eq!(credentials.pid, Some(std::process::id()));
        let mut stream = connecting.await.unwrap();
        listener.send(token, &to_bus("Hello", &()));
        stream.write_all(to_bus("Hello", &()).data()).await.unwrap();
        assert!(matches!(listener.next().await, Incoming::Message(from, _) if from == token));
        drop(listener);
        assert_eq!(rest(&mut stream).await, to_bus("Hello", &()).data().len());
        assert!(!path.exists());
        assert!(UnixStream::connect(&path).await.is_err());
    });
}

#[test]
fn paths_that_not_every_client_can_read_are_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        for (path, expected) in
            [("/tmp/a b", "letters, digits"), (&*format!("/tmp/{}", "x".repeat(120)), "107 are allowed")]
        {
            let error = Listener::bind(Path::new(path)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    });
}
