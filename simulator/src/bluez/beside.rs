//! A connection to the bus beside bluer's, for what bluer does not do.
//!
//! It sees bluetoothd go: bluer only hears what bluetoothd says itself, and who is killed says nothing. And it holds
//! the agent, in the role of the target's user: with bluer an agent that may allow a pairing without a question (`RequestAuthorization`) always counts as
//! one with a display and two buttons, and Just Works could not be played.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, ObjectPath};

use super::centrals::{Ask, next};
use crate::gatt::{Address, IoCapability};

const PATH: &str = "/brickproof/agent";
const INTERFACE: &str = "org.bluez.Agent1";
/// The signal of the bus when bluetoothd comes or goes.
const OWNER_CHANGES: &str = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.bluez'";
const MANAGER: &str = "org.bluez.AgentManager1";
/// What an agent says that does not want to.
const REJECTED: &str = "org.bluez.Error.Rejected";

/// Which pairings are ours.
struct Own {
    /// The path below which the devices of the adapter are.
    adapter: String,
    /// The end of the path of the target, as another adapter of this machine has it.
    peer: String,
}

/// What is asked as [`Ask`]s of the actor; dropping it takes the agent back.
#[derive(Debug)]
pub(super) struct Beside {
    task: JoinHandle<()>,
}

impl Beside {
    /// Watches bluetoothd. With a `capability`, registers the default agent for pairings with this adapter, at this
    /// end and at one on the same machine; all others are refused.
    ///
    /// # Errors
    /// From the bus or bluetoothd.
    pub(super) async fn open(
        adapter: &str,
        address: Address,
        capability: Option<IoCapability>,
        asks: mpsc::UnboundedSender<Ask>,
    ) -> zbus::Result<Self> {
        let connection = Connection::system().await?;
        let stream = MessageStream::from(&connection);
        let peer = format!("/dev_{}", address.to_string().replace(':', "_"));
        let own = Own { adapter: format!("/org/bluez/{adapter}/"), peer };
        let task = tokio::task::spawn_local(answer(stream, connection.clone(), own, asks));
        let beside = Self { task };
        let bus = Some("org.freedesktop.DBus");
        connection.call_method(bus, "/org/freedesktop/DBus", bus, "AddMatch", &OWNER_CHANGES).await?;
        if let Some(capability) = capability {
            let path = ObjectPath::from_static_str_unchecked(PATH);
            let (name, manager) = (Some("org.bluez"), Some(MANAGER));
            let body = (&path, word(capability));
            connection.call_method(name, "/org/bluez", manager, "RegisterAgent", &body).await?;
            connection.call_method(name, "/org/bluez", manager, "RequestDefaultAgent", &path).await?;
        }
        Ok(beside)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // bluetoothd forgets an agent whose connection is closed.
        self.task.abort();
    }
}

/// The word of bluetoothd.
fn word(capability: IoCapability) -> &'static str {
    match capability {
        IoCapability::DisplayOnly => "DisplayOnly",
        IoCapability::DisplayYesNo => "DisplayYesNo",
        IoCapability::KeyboardOnly => "KeyboardOnly",
        IoCapability::NoInputNoOutput => "NoInputNoOutput",
        IoCapability::KeyboardDisplay => "KeyboardDisplay",
    }
}

async fn answer(mut stream: MessageStream, connection: Connection, own: Own, asks: mpsc::UnboundedSender<Ask>) {
    while let Some(Ok(message)) = next(&mut stream).await {
        if is_end_of_bluetoothd(&message) {
            let _ = asks.send(Ask::Gone("bluetoothd is gone".into()));
        }
        let header = message.header();
        let ours = header.interface().is_some_and(|interface| interface.as_str() == INTERFACE);
        if header.message_type() != Type::MethodCall || !ours {
            continue;
        }
        let member = header.member().map(ToString::to_string).unwrap_or_default();
        let reply = if allows(&message, &member, &own, &asks) {
            Message::method_return(&header).build(&())
        } else {
            Message::error(&header, REJECTED).build(&"nobody is there to answer that")
        };
        if let Ok(reply) = reply {
            let _ = connection.send(&reply).await;
        }
    }
}

fn is_end_of_bluetoothd(message: &Message) -> bool {
    let header = message.header();
    let changed = header.message_type() == Type::Signal
        && header.sender().is_some_and(|sender| sender.as_str() == "org.freedesktop.DBus")
        && header.member().is_some_and(|member| member.as_str() == "NameOwnerChanged");
    let owner = message.body().deserialize::<(String, String, String)>();
    changed && owner.is_ok_and(|(name, _, new)| name == "org.bluez" && new.is_empty())
}

/// Whether the user of the target says yes; what he is shown is told on.
fn allows(message: &Message, member: &str, own: &Own, asks: &mpsc::UnboundedSender<Ask>) -> bool {
    let body = message.body();
    let device = match member {
        "Release" | "Cancel" => return true,
        "DisplayPasskey" => {
            body.deserialize::<(ObjectPath<'_>, u32, u16)>().map(|(path, passkey, _)| (path, Some(passkey)))
        }
        "RequestConfirmation" => body.deserialize::<(ObjectPath<'_>, u32)>().map(|(path, number)| (path, Some(number))),
        "AuthorizeService" => body.deserialize::<(ObjectPath<'_>, String)>().map(|(path, _)| (path, None)),
        "RequestAuthorization" => body.deserialize::<ObjectPath<'_>>().map(|path| (path, None)),
        // A keyboard, or BR/EDR.
        _ => return false,
    };
    let Ok((path, number)) = device else { return false };
    let path = path.as_str();
    if !path.starts_with(&own.adapter) {
        // Where a tool on this machine has no agent, bluetoothd asks the default one for it, too.
        return number.is_none() && path.ends_with(&own.peer);
    }
    if let Some(number) = number {
        let _ = asks.send(Ask::Shown { member: member.to_owned(), number });
    }
    true
}
