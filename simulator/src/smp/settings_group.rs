//! The settings group (zephyr: `grp/settings_mgmt/src/settings_mgmt.c`).
//!
//! A setting has a value in RAM, which is read and written, and a saved one, which a restart or the load
//! command takes into RAM. Delete removes the saved value only; the one in RAM stays until the restart,
//! and then is the default. The first part of a key, up to the slash, names who handles it: a key whose
//! first part nobody has is "root key not found", another one that is not there is "key not found".

use super::cbor::{MapReader, Type};
use super::codes::{SettingsError, SmpError, group};
use super::config::Settings;
use super::dispatch::{Entry, Exchange, Failure, Group, always};
use super::server::{Environment, Server};

type Result<T = ()> = std::result::Result<T, Failure>;

fn settings(server: &Server) -> Result<&Settings> {
    // The table has no commands without them.
    server.config.settings.as_ref().ok_or(SmpError::NotSupported.into())
}

/// A name that is not too long.
fn checked<'a>(server: &Server, name: Option<&'a [u8]>) -> Result<&'a [u8]> {
    match name.unwrap_or_default() {
        [] => Err(SmpError::Invalid.into()),
        name if name.len() >= settings(server)?.name_len => Err(SettingsError::KeyTooLong.into()),
        name => Ok(name),
    }
}

/// The key with this name.
fn known(server: &Server, name: &[u8]) -> Result<String> {
    let root = |key: &[u8]| key.split(|byte| *byte == b'/').next().map(<[u8]>::to_vec);
    let mut keys = server.settings.keys();
    if let Some(key) = keys.find(|key| key.as_bytes() == name) {
        return Ok(key.clone());
    }
    let handled = server.settings.keys().any(|key| root(key.as_bytes()) == root(name));
    Err(if handled { SettingsError::KeyNotFound } else { SettingsError::RootKeyNotFound }.into())
}

fn read(server: &mut Server, exchange: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result {
    let request = MapReader::read(exchange.body, [("name", Type::Text), ("max_size", Type::Unsigned)])
        .map_err(|_| SmpError::Invalid)?;
    let name = checked(server, request.text(0))?;
    let limit = settings(server)?.value_len;
    let asked = request.unsigned(1).unwrap_or(limit);
    let key = known(server, name)?;
    let value = &server.settings[&key];
    exchange.map.text("val").bytes(&value[..value.len().min(asked.min(limit) as usize)]);
    if asked > limit {
        exchange.map.text("max_size").unsigned(limit.into());
    }
    Ok(())
}

fn write(server: &mut Server, exchange: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result {
    let request =
        MapReader::read(exchange.body, [("name", Type::Text), ("val", Type::Bytes)]).map_err(|_| SmpError::Invalid)?;
    let name = checked(server, request.text(0))?;
    let limit = settings(server)?.value_len;
    let key = known(server, name)?;
    let value = request.bytes(1).unwrap_or_default();
    if value.len() > limit as usize {
        return Err(SettingsError::Unknown.into());
    }
    server.settings.insert(key, value.to_vec());
    Ok(())
}

/// Deletes what is saved; that nothing is saved is no failure.
fn delete(server: &mut Server, exchange: &mut Exchange<'_>, device: &mut Environment<'_, '_>) -> Result {
    let request = MapReader::read(exchange.body, [("name", Type::Text)]).map_err(|_| SmpError::Invalid)?;
    let name = checked(server, request.text(0))?;
    device.kept.settings.retain(|key, _| key.as_bytes() != name);
    Ok(())
}

/// What is written counts at once here, so there is nothing to do.
fn commit(_: &mut Server, _: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result {
    Ok(())
}

fn load(server: &mut Server, _: &mut Exchange<'_>, device: &mut Environment<'_, '_>) -> Result {
    for (key, value) in &mut server.settings {
        if let Some(saved) = device.kept.settings.get(key) {
            value.clone_from(saved);
        }
    }
    Ok(())
}

fn save(server: &mut Server, _: &mut Exchange<'_>, device: &mut Environment<'_, '_>) -> Result {
    device.kept.settings.clone_from(&server.settings);
    Ok(())
}

pub(super) const GROUP: Group = Group {
    number: group::SETTINGS,
    name: "settings mgmt",
    built: |config| config.settings.is_some(),
    commands: &[
        Entry { number: 0, built: always, read: Some(read), write: Some(write) },
        Entry { number: 1, built: always, read: None, write: Some(delete) },
        Entry { number: 2, built: always, read: None, write: Some(commit) },
        Entry { number: 3, built: always, read: Some(load), write: Some(save) },
    ],
};
