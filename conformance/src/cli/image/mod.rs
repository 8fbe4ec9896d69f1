//! `brickproof image`.

mod mcuboot;
mod nordic;
mod pack;
mod softdevices;

use std::path::{Path, PathBuf};

use brickproof_flash_model::image::mcuboot::PublicKey;
use clap::Subcommand;

use super::options::keys;
use super::{Failure, print, print_json, read_file};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show header and TLVs of MCUboot images, manifest and init packets of Nordic's DFU packages (.zip), init packets
    /// (.dat)
    Inspect {
        /// Image files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// As JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Check hash and signature as a bootloader does, and of packages sizes and manifest; exit code 1 when one does not pass
    Verify {
        /// Image files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// A PEM file with a trusted key; the development keys of brickproof if none is given
        #[arg(long = "key", value_name = "FILE")]
        keys: Vec<PathBuf>,
        /// Size of the slot in bytes, of MCUboot images
        #[arg(long, value_name = "BYTES")]
        slot_size: Option<u32>,
    },
    /// Make an MCUboot image of a binary, signed as the type of the key demands
    Sign(mcuboot::Sign),
    /// Make a package for Nordic's DFU, as nrfutil does, or one that is broken on purpose
    #[command(after_help = pack::AFTER_HELP)]
    Pack(pack::Pack),
}

pub(super) fn run(command: &Command) -> Result<u8, Failure> {
    match command {
        Command::Inspect { files, json } => inspect(files, *json),
        Command::Verify { files, keys, slot_size } => verify(files, keys, *slot_size),
        Command::Sign(arguments) => mcuboot::sign(arguments),
        Command::Pack(arguments) => pack::run(arguments),
    }
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A zip file: a package.
    Package,
    /// An init packet, by its name: nothing in it says so.
    InitPacket,
    /// Anything else.
    Mcuboot,
}

impl Kind {
    fn of(path: &Path, bytes: &[u8]) -> Self {
        let ends = |end: &str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(end));
        if bytes.starts_with(b"PK\x03\x04") || ends("zip") {
            Self::Package
        } else if ends("dat") {
            Self::InitPacket
        } else {
            Self::Mcuboot
        }
    }
}

/// What is said of a file: to a person, and to a program.
struct Shown {
    text: String,
    json: serde_json::Value,
}

fn inspect(files: &[PathBuf], json: bool) -> Result<u8, Failure> {
    let mut text = String::new();
    let mut all = Vec::new();
    for path in files {
        let bytes = read_file(path)?;
        let shown = match Kind::of(path, &bytes) {
            Kind::Package => nordic::package(path, &bytes)?,
            Kind::InitPacket => nordic::init_packet(path, &bytes)?,
            Kind::Mcuboot => mcuboot::show(path, &bytes)?,
        };
        text.push_str(&shown.text);
        all.push(shown.json);
    }
    if json {
        print_json(&all)?;
    } else {
        print(&text)?;
    }
    Ok(0)
}

fn verify(files: &[PathBuf], paths: &[PathBuf], slot_size: Option<u32>) -> Result<u8, Failure> {
    let given = keys(paths)?;
    let mut code = 0;
    for path in files {
        let bytes = read_file(path)?;
        let kind = Kind::of(path, &bytes);
        if kind != Kind::Mcuboot && slot_size.is_some() {
            return Err(Failure::Usage(format!(
                "{}: --slot-size is for MCUboot images\n  remedy: leave it out",
                path.display()
            )));
        }
        let name = path.display();
        let verified: Result<String, Vec<String>> = match kind {
            Kind::Package => nordic::verify_package(path, &bytes, &trusted(&given, nordic::development)?)?,
            Kind::InitPacket => nordic::verify_init_packet(&bytes, &trusted(&given, nordic::development)?)?,
            Kind::Mcuboot => mcuboot::verify(&bytes, &trusted(&given, mcuboot::development)?, slot_size),
        };
        match verified {
            Ok(what) => print(&format!("{name}: valid, {what}\n"))?,
            Err(faults) => {
                for fault in faults {
                    print(&format!("{name}: not valid: {fault}\n"))?;
                }
                code = 1;
            }
        }
    }
    Ok(code)
}

/// The keys that were given, or others.
fn trusted(
    given: &[PublicKey],
    others: impl Fn() -> Result<Vec<PublicKey>, Failure>,
) -> Result<Vec<PublicKey>, Failure> {
    if given.is_empty() { others() } else { Ok(given.to_vec()) }
}
