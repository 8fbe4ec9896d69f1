//! The `brickproof` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    brickproof::cli::main()
}
