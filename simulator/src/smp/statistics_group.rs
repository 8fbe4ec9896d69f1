//! The statistics group (zephyr: `grp/stat_mgmt/src/stat_mgmt.c`).

use super::cbor::{MapReader, Type};
use super::codes::{SmpError, StatisticsError, group};
use super::dispatch::{Entry, Exchange, Failure, Group, always};
use super::server::{Environment, Server};

/// Longest name in bytes, with a byte for its end (`CONFIG_MCUMGR_GRP_STAT_MAX_NAME_LEN`).
const NAME_LEN: usize = 32;

fn data(server: &mut Server, exchange: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result<(), Failure> {
    let request = MapReader::read(exchange.body, [("name", Type::Text)]).map_err(|_| SmpError::Invalid)?;
    let name = request.text(0).unwrap_or_default();
    if name.is_empty() || name.len() >= NAME_LEN {
        return Err(SmpError::Invalid.into());
    }
    let groups = server.config.statistics.as_deref().unwrap_or_default();
    let counters = groups.iter().find(|group| group.name.as_bytes() == name).ok_or(StatisticsError::InvalidName)?;
    exchange.success(&server.config);
    exchange.map.text("name").raw_text(name).text("fields").begin_map();
    for (name, value) in &counters.fields {
        exchange.map.text(name).unsigned((*value).into());
    }
    exchange.map.end();
    Ok(())
}

/// Always with `rc: 0`, whatever the build says.
fn list(server: &mut Server, exchange: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result<(), Failure> {
    exchange.map.text("rc").unsigned(0).text("stat_list").begin_list();
    for group in server.config.statistics.iter().flatten() {
        exchange.map.text(&group.name);
    }
    exchange.map.end();
    Ok(())
}

pub(super) const GROUP: Group = Group {
    number: group::STATISTICS,
    name: "stat mgmt",
    built: |config| config.statistics.is_some(),
    commands: &[
        Entry { number: 0, built: always, read: Some(data), write: None },
        Entry { number: 1, built: always, read: Some(list), write: None },
    ],
};
