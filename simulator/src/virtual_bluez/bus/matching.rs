//! Whether a message meets a match rule.

use std::cell::OnceCell;

use zbus::message::{Header, Type};
use zbus::{Message, ObjectPath, Signature, Structure, Variant};

use super::names::Names;
use super::rule::{ArgumentRule, MatchRule, PathRule};
use super::{BUS_NAME, ClientId};

/// A message on its way, with what rules ask for at hand.
pub(super) struct Passing<'m> {
    message: &'m Message,
    header: Header<'m>,
    /// Who sends it; nobody is the bus itself.
    sender: Option<ClientId>,
    /// Which client it is for; nobody for broadcasts and for the bus itself.
    recipient: Option<ClientId>,
    first: OnceCell<Option<Argument>>,
    all: OnceCell<Vec<Option<Argument>>>,
}

/// An argument that rules can ask for.
#[derive(Debug, Clone)]
enum Argument {
    Text(String),
    Path(String),
}

impl<'m> Passing<'m> {
    pub(super) fn new(message: &'m Message, sender: Option<ClientId>, recipient: Option<ClientId>) -> Self {
        let (first, all) = (OnceCell::new(), OnceCell::new());
        Self { message, header: message.header(), sender, recipient, first, all }
    }

    /// Whether it meets the rule; a monitor sees what is for others, too.
    pub(super) fn meets(&self, rule: &MatchRule, names: &Names, monitor: bool) -> bool {
        let header = &self.header;
        rule.kind.is_none_or(|kind| kind == self.message.message_type())
            && same(rule.interface.as_deref(), header.interface().map(|value| value.as_str()))
            && same(rule.member.as_deref(), header.member().map(|value| value.as_str()))
            && self.meets_path(rule)
            && self.meets_addresses(rule, names, rule.eavesdrop || monitor)
            && rule.arguments.iter().all(|(index, rule)| self.meets_argument(*index, rule))
    }

    fn meets_path(&self, rule: &MatchRule) -> bool {
        let path = self.header.path().map(|path| path.as_str());
        match (&rule.path, path) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(PathRule::Exact(wanted)), Some(path)) => wanted == path,
            (Some(PathRule::Namespace(root)), Some(_)) if root == "/" => true,
            (Some(PathRule::Namespace(root)), Some(path)) => {
                path.strip_prefix(root.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }

    fn meets_addresses(&self, rule: &MatchRule, names: &Names, eavesdrop: bool) -> bool {
        let sender = rule.sender.as_deref().is_none_or(|wanted| match self.sender {
            Some(sender) => names.owner(wanted) == Some(sender),
            None => wanted == BUS_NAME,
        });
        let destination = self.header.destination();
        let addressed = match (&rule.destination, destination) {
            (None, destination) => eavesdrop || destination.is_none(),
            (Some(_), None) => false,
            (Some(wanted), Some(destination)) => {
                eavesdrop
                    && match self.recipient {
                        Some(recipient) => names.owner(wanted) == Some(recipient),
                        None => destination.as_str() == wanted,
                    }
            }
        };
        sender && addressed
    }

    fn meets_argument(&self, index: u8, rule: &ArgumentRule) -> bool {
        let Some(argument) = self.argument(index) else { return false };
        match (rule, argument) {
            (ArgumentRule::Exact(wanted), Argument::Text(text)) => text == wanted,
            (ArgumentRule::Path(wanted), Argument::Text(text) | Argument::Path(text)) => {
                text == wanted
                    || (wanted.ends_with('/') && text.starts_with(wanted.as_str()))
                    || (text.ends_with('/') && wanted.starts_with(text.as_str()))
            }
            (ArgumentRule::Namespace(root), Argument::Text(text)) => {
                text.strip_prefix(root.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }
            (ArgumentRule::Exact(_) | ArgumentRule::Namespace(_), Argument::Path(_)) => false,
        }
    }

    fn argument(&self, index: u8) -> Option<&Argument> {
        // Most rules ask for the first one, which can be had without reading the others.
        match index {
            0 => self.first.get_or_init(|| first(self.message)).as_ref(),
            _ => self.all.get_or_init(|| all(self.message)).get(usize::from(index))?.as_ref(),
        }
    }
}

fn same(wanted: Option<&str>, value: Option<&str>) -> bool {
    wanted.is_none() || wanted == value
}

fn first(message: &Message) -> Option<Argument> {
    let body = message.body();
    let kind = match body.signature() {
        Signature::Structure(fields) => fields.iter().next()?.clone(),
        single => single.clone(),
    };
    match kind {
        Signature::Str => body.deserialize_ignore_signature::<&str>().ok().map(|text| Argument::Text(text.to_owned())),
        Signature::ObjectPath => {
            let path = body.deserialize_ignore_signature::<ObjectPath<'_>>().ok()?;
            Some(Argument::Path(path.as_str().to_owned()))
        }
        _ => None,
    }
}

fn all(message: &Message) -> Vec<Option<Argument>> {
    let body = message.body();
    let Ok(arguments) = body.deserialize::<Structure<'_>>() else { return vec![first(message)] };
    let argument = |value: &Variant<'_>| match value {
        Variant::Str(text) => Some(Argument::Text(text.as_str().to_owned())),
        Variant::ObjectPath(path) => Some(Argument::Path(path.as_str().to_owned())),
        _ => None,
    };
    arguments.fields().iter().map(argument).collect()
}

/// Whether the message is a call.
pub(super) fn is_call(message: &Message) -> bool {
    message.message_type() == Type::MethodCall
}
