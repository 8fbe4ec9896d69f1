//! The enumeration group (zephyr: `grp/enum_mgmt/src/enum_mgmt.c`).

use super::cbor::{MapReader, Type};
use super::codes::{EnumerationError, SmpError, group};
use super::config::ServerConfig;
use super::dispatch::{Entry, Exchange, Failure, GROUPS, Group, always};
use super::server::{Environment, Server};

/// Largest index that is looked for.
const INDEX_MAX: u32 = 65_535;

/// Number, name and table size of each group: first those that are built in, then those of vendors.
fn groups(config: &ServerConfig) -> Vec<(u16, &'static str, u32)> {
    let built = GROUPS.into_iter().filter(|group| (group.built)(config));
    let mut groups: Vec<_> = built.map(|group| (group.number, group.name, group.handlers(config))).collect();
    for command in &config.vendor {
        let handlers = u32::from(command.command) + 1;
        match groups.iter_mut().find(|(number, ..)| *number == command.group) {
            Some((.., known)) => *known = handlers.max(*known),
            None => groups.push((command.group, "", handlers)),
        }
    }
    groups
}

fn count(server: &mut Server, exchange: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result<(), Failure> {
    exchange.map.text("count").unsigned(groups(&server.config).len() as u64);
    Ok(())
}

fn list(server: &mut Server, exchange: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result<(), Failure> {
    exchange.map.text("groups").begin_list();
    for (number, ..) in groups(&server.config) {
        exchange.map.unsigned(number.into());
    }
    exchange.map.end();
    Ok(())
}

fn single(server: &mut Server, exchange: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result<(), Failure> {
    let request = MapReader::read(exchange.body, [("index", Type::Unsigned)]).map_err(|_| SmpError::Invalid)?;
    let index = request.unsigned(0).unwrap_or(0);
    if index > INDEX_MAX {
        return Err(SmpError::Invalid.into());
    }
    let groups = groups(&server.config);
    let (number, ..) = groups.get(index as usize).ok_or(EnumerationError::IndexTooLarge)?;
    exchange.map.text("group").unsigned((*number).into());
    if index as usize + 1 == groups.len() {
        exchange.map.text("end").boolean(true);
    }
    Ok(())
}

/// Details of the groups in the list of the request, of all when it is empty or missing.
fn details(server: &mut Server, exchange: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result<(), Failure> {
    let request = MapReader::read(exchange.body, [("groups", Type::Numbers)]).map_err(|_| SmpError::Invalid)?;
    let wanted = request.numbers(0).unwrap_or_default();
    exchange.map.text("groups").begin_list();
    for (number, name, handlers) in groups(&server.config) {
        // The server keeps 16 bits of what is asked for.
        if !wanted.is_empty() && !wanted.iter().any(|asked| *asked as u16 == number) {
            continue;
        }
        exchange.map.begin_map().text("group").unsigned(number.into());
        exchange.map.text("name").text(name).text("handlers").unsigned(handlers.into()).end();
    }
    exchange.map.end();
    Ok(())
}

pub(super) const GROUP: Group = Group {
    number: group::ENUMERATION,
    name: "enum mgmt",
    built: |config| config.enumeration.is_some(),
    commands: &[
        Entry { number: 0, built: always, read: Some(count), write: None },
        Entry { number: 1, built: always, read: Some(list), write: None },
        Entry { number: 2, built: always, read: Some(single), write: None },
        Entry {
            number: 3,
            built: |config| config.enumeration.is_some_and(|group| group.details),
            read: Some(details),
            write: None,
        },
    ],
};
