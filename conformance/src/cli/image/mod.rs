//! `brickproof image`.

mod gbl;
mod gbl_make;
mod mcuboot;
mod nordic;
mod pack;
mod softdevices;

use std::path::{Path, PathBuf};

use brickproof_flash_model::image::mcuboot::PublicKey;
use clap::Subcommand;

use super::options::{encryption_key, keys, p256_keys};
use super::silabs_files::is_gbl;
use super::{Failure, print, print_json, read_file};
use crate::library;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show header and TLVs of MCUboot images, manifest and init packets of Nordic's DFU packages (.zip), init packets
    /// (.dat), tags of Silicon Labs' GBL files (.gbl)
    Inspect {
        /// Image files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// GBL files: a file with the key that they are encrypted with, 32 hexadecimal digits or a token file
        #[arg(long, value_name = "FILE")]
        encryption_key: Option<PathBuf>,
        /// As JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Check hash and signature as a bootloader does, of packages sizes and manifest, of GBL files all tags; exit code 1 when
    /// one does not pass
    Verify {
        /// Image files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// A PEM file with a trusted key, or a token file of Silicon Labs'; the development keys of brickproof if none is
        /// given
        #[arg(long = "key", value_name = "FILE")]
        keys: Vec<PathBuf>,
        /// Size of the slot in bytes, of MCUboot images and GBL files
        #[arg(long, value_name = "BYTES")]
        slot_size: Option<u32>,
        /// GBL files: by the rules and with the keys of this target, a profile or a path to a .toml file
        #[arg(long)]
        target: Option<String>,
        /// GBL files: a file with the key that they are encrypted with, 32 hexadecimal digits or a token file
        #[arg(long, value_name = "FILE")]
        encryption_key: Option<PathBuf>,
    },
    /// Make an MCUboot image of a binary, signed as the type of the key demands
    Sign(mcuboot::Sign),
    /// Make a package for Nordic's DFU, as nrfutil does, or one that is broken on purpose
    #[command(after_help = pack::AFTER_HELP)]
    Pack(pack::Pack),
    /// Make a GBL file for Silicon Labs' Gecko bootloader, as Simplicity Commander does, or one that is broken on purpose
    #[command(after_help = gbl_make::AFTER_HELP)]
    Gbl(Box<gbl_make::Make>),
}

pub(super) fn run(command: &Command) -> Result<u8, Failure> {
    match command {
        Command::Inspect { files, encryption_key, json } => inspect(files, encryption_key.as_deref(), *json),
        Command::Verify { files, keys, slot_size, target, encryption_key } => {
            let asked =
                Asked { slot_size: *slot_size, target: target.as_deref(), encryption_key: encryption_key.as_deref() };
            verify(files, keys, &asked)
        }
        Command::Sign(arguments) => mcuboot::sign(arguments),
        Command::Pack(arguments) => pack::run(arguments),
        Command::Gbl(arguments) => gbl_make::run(arguments),
    }
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A zip file: a package.
    Package,
    /// An init packet, by its name: nothing in it says so.
    InitPacket,
    /// A file for a Gecko bootloader.
    Gbl,
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
        } else if is_gbl(path, bytes) {
            Self::Gbl
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

fn inspect(files: &[PathBuf], encryption: Option<&Path>, json: bool) -> Result<u8, Failure> {
    let encryption = encryption.map(encryption_key).transpose()?;
    let mut text = String::new();
    let mut all = Vec::new();
    for path in files {
        let bytes = read_file(path)?;
        let shown = match Kind::of(path, &bytes) {
            Kind::Package => nordic::package(path, &bytes)?,
            Kind::InitPacket => nordic::init_packet(path, &bytes)?,
            Kind::Gbl => gbl::show(path, &bytes, encryption.as_ref())?,
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

/// Of a valid file what there is to say, and notes; of another one all that is wrong.
type Verified = Result<(String, Vec<String>), Vec<String>>;

/// What only some kinds of files are asked.
struct Asked<'a> {
    slot_size: Option<u32>,
    target: Option<&'a str>,
    encryption_key: Option<&'a Path>,
}

impl Asked<'_> {
    /// Nothing is asked of a file that it has no answer to.
    fn check(&self, path: &Path, kind: Kind) -> Result<(), Failure> {
        let mcuboot_or_gbl = kind == Kind::Mcuboot || kind == Kind::Gbl;
        let refused = [
            (self.slot_size.is_some() && !mcuboot_or_gbl, "--slot-size is for MCUboot images and GBL files"),
            (self.target.is_some() && kind != Kind::Gbl, "--target is for GBL files"),
            (self.encryption_key.is_some() && kind != Kind::Gbl, "--encryption-key is for GBL files"),
        ];
        match refused.into_iter().find(|(refused, _)| *refused) {
            Some((_, what)) => Err(Failure::Usage(format!("{}: {what}\n  remedy: leave it out", path.display()))),
            None => Ok(()),
        }
    }
}

fn verify(files: &[PathBuf], paths: &[PathBuf], asked: &Asked<'_>) -> Result<u8, Failure> {
    // Of GBL files only, other types of keys are not worth a word.
    let of_gbl = !files.is_empty() && files.iter().all(|path| is_gbl(path, &[]));
    let given = if of_gbl { p256_keys(paths)? } else { keys(paths)? };
    let target = asked.target.map(library::target).transpose()?;
    let encryption = asked.encryption_key.map(encryption_key).transpose()?;
    let mut code = 0;
    for path in files {
        let bytes = read_file(path)?;
        let kind = Kind::of(path, &bytes);
        asked.check(path, kind)?;
        let name = path.display();
        let alone = |what: String| (what, Vec::new());
        let verified: Verified = match kind {
            Kind::Package => nordic::verify_package(path, &bytes, &trusted(&given, nordic::development)?)?.map(alone),
            Kind::InitPacket => nordic::verify_init_packet(&bytes, &trusted(&given, nordic::development)?)?.map(alone),
            Kind::Gbl => {
                let rules = gbl::Rules {
                    target: target.as_ref(),
                    keys: &given,
                    encryption_key: encryption.as_ref(),
                    slot_size: asked.slot_size,
                };
                gbl::verify_file(&bytes, &rules)?
            }
            Kind::Mcuboot => {
                mcuboot::verify(&bytes, &trusted(&given, mcuboot::development)?, asked.slot_size).map(alone)
            }
        };
        match verified {
            Ok((what, notes)) => {
                print(&format!("{name}: valid, {what}\n"))?;
                for note in notes {
                    print(&format!("{name}: {note}\n"))?;
                }
            }
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
