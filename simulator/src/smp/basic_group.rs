//! The Zephyr basic group (zephyr: `grp/zephyr_basic/src/basic_mgmt.c`).

use brickproof_flash_model::flash::FlashError;

use super::codes::{StorageError, group};
use super::dispatch::{Entry, Exchange, Failure, Group, always};
use super::server::{Environment, Server};

/// Erases the storage partition, and what was saved in it; the answer comes after that.
fn storage_erase(
    server: &mut Server,
    exchange: &mut Exchange<'_>,
    device: &mut Environment<'_, '_>,
) -> Result<(), Failure> {
    // Without the partition the group would not have been built.
    let area = device.storage.ok_or(StorageError::FlashOpen)?;
    let mut at = 0;
    while at < area.len {
        let sector = device
            .flash
            .geometry(area)
            .and_then(|geometry| geometry.sector_at(area.offset + at))
            .ok_or(StorageError::FlashConfigQuery)?;
        device.flash.erase(area, at, sector.size).map_err(|error| match error {
            FlashError::Interrupted(interruption) => Failure::Interrupted(interruption),
            FlashError::Refused(_) | FlashError::ReadFault { .. } => StorageError::FlashErase.into(),
        })?;
        // The first erased sector takes the store with it.
        device.kept.settings.clear();
        at += sector.size.max(1);
    }
    let _ = (server, exchange);
    Ok(())
}

pub(super) const GROUP: Group = Group {
    number: group::ZEPHYR_BASIC,
    name: "zephyr basic mgmt",
    built: |config| config.storage_erase,
    commands: &[Entry { number: 0, built: always, read: None, write: Some(storage_erase) }],
};
