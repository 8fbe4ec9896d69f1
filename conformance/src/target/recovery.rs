//! The recovery of the bootloader in a target profile.

use brickproof_flash_model::source::Mistake;
use brickproof_simulator::smp::RecoveryConfig;
use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Recovery {
    receive_size: Option<u16>,
    echo: Option<bool>,
    params: Option<bool>,
    hashes: Option<bool>,
    image_state: Option<bool>,
    slot_info: Option<bool>,
    erase_progressively: Option<bool>,
    direct_upload: Option<bool>,
}

/// Smallest receive buffer of a recovery in bytes: one line (`BOOT_MAX_LINE_INPUT_LEN`).
const RECEIVE_SIZE_MIN: u16 = 128;

/// `word` is `recovery` of `[bootloader]`, `table` is `[recovery]`.
pub(super) fn read(
    word: Option<&Spanned<String>>,
    table: Option<&Spanned<Recovery>>,
    mistake: &dyn Fn(usize, String) -> Mistake,
) -> Result<Option<RecoveryConfig>, Mistake> {
    let recovery = match word.map_or("none", |word| word.get_ref()) {
        "none" => None,
        "serial" => Some(RecoveryConfig::default()),
        other => {
            let at = word.map_or(0, |word| word.span().start);
            return Err(mistake(at, format!("no recovery is called `{other}`")).remedy("`none` or `serial`"));
        }
    };
    let Some(table) = table else { return Ok(recovery) };
    let (at, built) = (table.span().start, table.get_ref());
    let Some(default) = recovery else {
        return Err(
            mistake(at, "there is no recovery to be built so".into()).remedy("recovery = \"serial\" in [bootloader]")
        );
    };
    let receive_size = built.receive_size.unwrap_or(default.receive_size);
    if receive_size < RECEIVE_SIZE_MIN {
        return Err(mistake(at, format!("a recovery receives at least {RECEIVE_SIZE_MIN} bytes")));
    }
    Ok(Some(RecoveryConfig {
        receive_size,
        echo: built.echo.unwrap_or(default.echo),
        params: built.params.unwrap_or(default.params),
        hashes: built.hashes.unwrap_or(default.hashes),
        image_state: built.image_state.unwrap_or(default.image_state),
        slot_info: built.slot_info.unwrap_or(default.slot_info),
        erase_progressively: built.erase_progressively.unwrap_or(default.erase_progressively),
        direct_upload: built.direct_upload.unwrap_or(default.direct_upload),
    }))
}
