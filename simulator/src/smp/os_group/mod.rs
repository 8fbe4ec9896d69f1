//! The OS group (zephyr: `grp/os_mgmt/src/os_mgmt.c`).

mod datetime;
mod info;
mod tasks;

use super::cbor::{MapReader, Type};
use super::codes::{OsError, SmpError, group};
use super::dispatch::{Entry, Exchange, Failure, Group, always};
use super::server::{Environment, Server};

type Result<T = ()> = std::result::Result<T, Failure>;

/// Answers with the text of the request; a missing one is empty.
fn echo(_: &mut Server, exchange: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result {
    let request = MapReader::read(exchange.body, [("d", Type::Text)]).map_err(|_| SmpError::Invalid)?;
    exchange.map.text("r").raw_text(request.text(0).unwrap_or_default());
    Ok(())
}

/// Accepts a reset. What cannot be read of the request counts as not said; builds without the options
/// for it do not look at the request at all.
fn reset(server: &mut Server, exchange: &mut Exchange<'_>, device: &mut Environment<'_, '_>) -> Result {
    let config = &server.config;
    let keys = [("force", Type::Boolean), ("boot_mode", Type::Unsigned)];
    let request = if config.reset_boot_mode {
        MapReader::read_what_is_there(exchange.body, keys)
    } else {
        // Only `force` is a known key then.
        let [force, _] = keys;
        MapReader::read_what_is_there(exchange.body, [force, ("", Type::Unsigned)])
    };
    let boot_mode = match request.unsigned(1).filter(|_| config.reset_boot_mode).map(u8::try_from) {
        Some(Err(_)) => return Err(SmpError::Invalid.into()),
        Some(Ok(mode)) => Some(mode),
        None => None,
    };
    if let Some(rc) = config.reset_hook
        && request.boolean(0) != Some(true)
    {
        return Err(Failure::Smp(rc));
    }
    if let Some(mode) = boot_mode {
        device.retained.boot_mode = mode;
    }
    exchange.reset = true;
    Ok(())
}

/// Buffer size and count; the body is not looked at.
fn params(server: &mut Server, exchange: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result {
    exchange.map.text("buf_size").unsigned(server.config.buffer_size.into());
    exchange.map.text("buf_count").unsigned(server.config.buffer_count.into());
    Ok(())
}

/// The name of the bootloader, or what the query asks for.
fn bootloader_info(server: &mut Server, exchange: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result {
    let request = MapReader::read(exchange.body, [("query", Type::Text)]).map_err(|_| SmpError::Invalid)?;
    let config = &server.config;
    match (request.text(0), config.active_b0_slot) {
        (None, _) => {
            exchange.map.text("bootloader").text("MCUboot");
        }
        (Some(b"mode"), _) => {
            exchange.map.text("mode").signed(config.bootloader.number(config.zephyr));
            if config.no_downgrade && config.zephyr.names_all_modes() {
                exchange.map.text("no-downgrade").boolean(true);
            }
        }
        (Some(b"active_b0_slot"), Some(slot)) => {
            exchange.map.text("active").unsigned(slot.into());
        }
        // The number of the group's failure, but sent as one of the protocol, with either version.
        (Some(_), _) => return Err(Failure::Smp(OsError::NoAnswer as u16)),
    }
    Ok(())
}

pub(super) const GROUP: Group = Group {
    number: group::OS,
    name: "os mgmt",
    built: always,
    commands: &[
        Entry { number: 0, built: always, read: Some(echo), write: Some(echo) },
        Entry { number: 2, built: |config| config.task_statistics.is_some(), read: Some(tasks::read), write: None },
        Entry { number: 4, built: |config| config.datetime, read: Some(datetime::read), write: Some(datetime::write) },
        Entry { number: 5, built: always, read: None, write: Some(reset) },
        Entry { number: 6, built: |config| config.params, read: Some(params), write: None },
        Entry { number: 7, built: |config| config.info.is_some(), read: Some(info::read), write: None },
        Entry { number: 8, built: |config| config.bootloader_info, read: Some(bootloader_info), write: None },
    ],
};
