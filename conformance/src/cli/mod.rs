//! The command line.

mod boot;
mod controllers;
mod doctor;
mod dump;
mod explain_parts;
mod explain_text;
mod image;
mod list;
mod new;
mod nordic_files;
mod options;
mod run;
mod silabs_files;
mod simulate;
mod sweep;

use std::fmt;
use std::process::ExitCode;

use brickproof_flash_model::source::Mistake;
use brickproof_simulator::bluez::OpenError;
use clap::{CommandFactory, Parser, Subcommand};

/// Bad usage or input.
const EXIT_USAGE: u8 = 2;
/// The harness itself is at fault.
const EXIT_HARNESS: u8 = 3;

/// Reads Intel HEX as `boot --flash` does; the number of its records. For fuzzing.
///
/// # Errors
/// What is wrong with the file, in words.
pub fn read_hex(bytes: &[u8]) -> Result<usize, String> {
    dump::count_records(std::path::Path::new("dump.hex"), bytes).map_err(|failure| failure.to_string())
}

/// Reads Motorola S-records as `image gbl --app` does; the number of pieces. For fuzzing.
///
/// # Errors
/// What is wrong with the file, in words.
pub fn read_srec(bytes: &[u8]) -> Result<usize, String> {
    let pieces = dump::pieces(std::path::Path::new("app.s37"), bytes);
    pieces.map(|pieces| pieces.len()).map_err(|failure| failure.to_string())
}

/// A simulated target for firmware updates that loses power on purpose, and a judge of what updates it
#[derive(Debug, Parser)]
#[command(name = "brickproof", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios: an initiator against a target on which something goes wrong
    Run(run::Arguments),
    /// Play a target until it is told to stop
    Simulate(simulate::Arguments),
    /// Say what the bootloader would do with a flash dump, and why
    Boot(boot::Arguments),
    /// Try every power loss there is, however many, while an update is installed
    #[command(after_help = sweep::AFTER_HELP)]
    Sweep(sweep::Arguments),
    /// Look at update images, check and sign them
    #[command(subcommand)]
    Image(image::Command),
    /// Show what there is: one id a line, first
    List(list::Arguments),
    /// Start a scenario, a target, a layout or an initiator of your own
    New(new::Arguments),
    /// Play virtual Bluetooth LE controllers for the kernel of this machine (root, module hci_vhci)
    Controllers(controllers::Arguments),
    /// Say what works on this machine and what is missing for the rest
    Doctor,
    /// Clean up behind another process: see `runner::guard`
    #[command(name = crate::runner::site::GUARD, hide = true)]
    Guard,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Why a command did not do its work.
#[derive(Debug)]
enum Failure {
    /// Bad usage or input.
    Usage(String),
    /// The harness itself is at fault.
    Harness(String),
}

impl Failure {
    /// An adapter cannot be used: the wrong one was asked for, or there is no Bluetooth to speak of.
    fn adapter(error: &OpenError) -> Self {
        if error.is_choice() { Self::Usage(error.to_string()) } else { Self::Harness(error.to_string()) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Harness(message) => f.write_str(message),
        }
    }
}

impl From<Mistake> for Failure {
    fn from(mistake: Mistake) -> Self {
        Self::Usage(mistake.to_string())
    }
}

/// Reads the arguments and does what they say; the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Boot(arguments) => boot::run(&arguments),
        Command::Sweep(arguments) => sweep::run(&arguments),
        Command::Image(command) => image::run(&command),
        Command::List(arguments) => list::run(&arguments),
        Command::New(arguments) => new::run(&arguments),
        Command::Controllers(arguments) => controllers::run(&arguments),
        Command::Doctor => doctor::run(),
        Command::Guard => crate::runner::guard::main().map(|()| 0).map_err(|error| Failure::Harness(error.to_string())),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "brickproof", &mut std::io::stdout());
            Ok(0)
        }
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("brickproof: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { EXIT_USAGE } else { EXIT_HARNESS })
        }
    }
}

/// Prints a result; a reader that has gone away is no failure, a full disk is one.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::{ErrorKind, Write};
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Harness(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a result as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| Failure::Harness(error.to_string()))?;
    text.push('\n');
    print(&text)
}

/// A file that was named on the command line.
fn read_file(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

fn write_file(path: &std::path::Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}
