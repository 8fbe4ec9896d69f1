//! The binary as its users start it.

use std::path::Path;
use std::process::{Command, Output};

pub(crate) fn brickproof(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_brickproof"))
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .expect("brickproof starts")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// A folder whose path is short and plain enough for sockets, whatever the one for temporary files is.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/tmp").expect("a folder")
}
