//! From a request to its handler: the groups and their tables of commands.

use brickproof_flash_model::flash::Interruption;

use super::cbor::Writer;
use super::codes::{GroupError, SmpError, translated};
use super::config::ServerConfig;
use super::frame::Op;
use super::server::{Environment, Server};
use super::{
    basic_group, enumeration_group, file_group, image_group, os_group, settings_group, shell_group, statistics_group,
};

/// A request and the answer that is made for it.
pub(super) struct Exchange<'a> {
    /// What follows the header, to the end of the packet.
    pub(super) body: &'a [u8],
    /// The answer, inside its outermost map.
    pub(super) map: Writer,
    /// Why the request fails, in words.
    pub(super) reason: Option<&'static str>,
    /// A reset was accepted.
    pub(super) reset: bool,
    /// What a version 0 request is answered instead of the map.
    pub(super) translated: Option<u16>,
}

impl Exchange<'_> {
    /// Puts a failure of a group into the map, to which more may be added.
    pub(super) fn fail(&mut self, error: impl GroupError) {
        self.put_error(error.group(), error.code());
    }

    pub(super) fn put_error(&mut self, group: u16, code: u16) {
        self.map.text("err").begin_map();
        self.map.text("group").unsigned(group.into()).text("rc").unsigned(code.into());
        self.map.end();
        self.translated = translated(group, code).map(|error| error as u16);
    }
}

/// A failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Answered with `rc`; ends the packet.
    Smp(u16),
    /// Answered with `err` in version 1, with a translated `rc` in version 0.
    Group { group: u16, code: u16 },
    /// Not answered: power is gone.
    Interrupted(Interruption),
}

impl From<SmpError> for Failure {
    fn from(error: SmpError) -> Self {
        Self::Smp(error as u16)
    }
}

impl<E: GroupError> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Group { group: error.group(), code: error.code() }
    }
}

/// Handles one operation of one command.
pub(super) type Handler = fn(&mut Server, &mut Exchange<'_>, &mut Environment<'_, '_>) -> Result<(), Failure>;

/// A command of a group.
pub(super) struct Entry {
    /// Its number.
    pub(super) number: u8,
    /// Whether it is built in.
    pub(super) built: fn(&ServerConfig) -> bool,
    pub(super) read: Option<Handler>,
    pub(super) write: Option<Handler>,
}

/// A group.
pub(super) struct Group {
    pub(super) number: u16,
    /// What the details command calls it.
    pub(super) name: &'static str,
    pub(super) built: fn(&ServerConfig) -> bool,
    pub(super) commands: &'static [Entry],
}

impl Group {
    /// Size of the table of handlers, gaps included.
    pub(super) fn handlers(&self, config: &ServerConfig) -> u32 {
        let built = self.commands.iter().filter(|entry| (entry.built)(config));
        built.map(|entry| u32::from(entry.number) + 1).max().unwrap_or(0)
    }
}

/// All groups, in the order in which they register: by the name of what registers them.
pub(super) const GROUPS: [&Group; 8] = [
    &enumeration_group::GROUP,
    &file_group::GROUP,
    &image_group::GROUP,
    &os_group::GROUP,
    &settings_group::GROUP,
    &shell_group::GROUP,
    &statistics_group::GROUP,
    &basic_group::GROUP,
];

/// For commands and groups that no option leaves out.
pub(super) fn always(_: &ServerConfig) -> bool {
    true
}

/// The handler of an operation, if there is one.
pub(super) fn handler(config: &ServerConfig, group: u16, command: u8, op: Op) -> Option<Handler> {
    let group = GROUPS.into_iter().find(|known| known.number == group && (known.built)(config))?;
    let entry = group.commands.iter().find(|entry| entry.number == command && (entry.built)(config))?;
    match op {
        Op::Read => entry.read,
        Op::Write => entry.write,
        _ => None,
    }
}
