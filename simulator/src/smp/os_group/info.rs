//! What runs on what, as `uname` says it.

use super::super::cbor::{MapReader, Type};
use super::super::codes::{OsError, SmpError};
use super::super::dispatch::Exchange;
use super::super::server::{Environment, Server};
use super::Result;

/// Longest output in bytes, with a byte for its end (`CONFIG_MCUMGR_GRP_OS_INFO_MAX_RESPONSE_SIZE`).
const OUTPUT_MAX: usize = 256;

/// The texts that the letters of `format` ask for, always in the same order; none asks for the name of
/// the kernel, `a` for all.
pub(super) fn read(server: &mut Server, exchange: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result {
    let request = MapReader::read(exchange.body, [("format", Type::Text)]).map_err(|_| SmpError::Invalid)?;
    let Some(texts) = &server.config.info else { return Ok(()) };
    let parts = [
        (b's', Some("Zephyr")),
        (b'n', Some(texts.node.as_str())),
        (b'r', Some(texts.release.as_str())),
        (b'v', Some(texts.version.as_str())),
        (b'b', texts.build_date.as_deref()),
        (b'm', Some(texts.machine.as_str())),
        (b'p', Some(texts.processor.as_str())),
        (b'i', Some(texts.platform.as_str())),
        (b'o', Some(texts.os.as_str())),
    ];
    let format = match request.text(0).unwrap_or_default() {
        b"" => b"s",
        format => format,
    };
    let known = |letter: &u8| *letter == b'a' || parts.iter().any(|(known, text)| known == letter && text.is_some());
    if !format.iter().all(known) {
        return Err(OsError::InvalidFormat.into());
    }
    let wanted = |letter: u8| format.contains(&b'a') || format.contains(&letter);
    let texts: Vec<&str> = parts.iter().filter(|(letter, _)| wanted(*letter)).filter_map(|(_, text)| *text).collect();
    let output = texts.join(" ");
    if output.len() >= OUTPUT_MAX {
        return Err(SmpError::TooLarge.into());
    }
    exchange.map.text("output").text(&output);
    Ok(())
}
