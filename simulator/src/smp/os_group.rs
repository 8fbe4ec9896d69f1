//! The OS group (zephyr: `grp/os_mgmt/src/os_mgmt.c`).

use super::cbor::{MapReader, Type, Writer};
use super::codes::SmpError;
use super::server::{Failure, ServerConfig};

/// Answers with the text of the request; a missing one is empty.
pub(super) fn echo(body: &[u8], map: &mut Writer) -> Result<(), Failure> {
    let request = MapReader::read(body, [("d", Type::Text)]).map_err(|_| SmpError::Invalid)?;
    map.text("r").raw_text(request.text(0).unwrap_or_default());
    Ok(())
}

/// Buffer size and count; the body is not looked at.
pub(super) fn params(config: &ServerConfig, map: &mut Writer) {
    map.text("buf_size").unsigned(config.buffer_size.into());
    map.text("buf_count").unsigned(config.buffer_count.into());
}
