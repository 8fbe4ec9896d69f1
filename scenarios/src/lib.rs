//! Data that travels inside the binary: suites, targets, initiators, requirements, keys.
//!
//! | folder | one file is |
//! |---|---|
//! | `suites/` | a scenario: what is asked, what goes wrong, what must hold |
//! | `targets/` | a target profile: flash, bootloader, server, battery |
//! | `initiators/` | an initiator profile: the commands of a tool and its known failures |
//! | `apps/` | what a person is told to do in an app |
//! | `known/` | what is known to fail when the built-in initiator acts as another client |
//! | `requirements/` | requirements with level, source and the scenarios that exercise them |
//! | `keys/` | the keys that sign the images made here; no secrets |
//!
//! This crate knows only names and text; `brickproof` reads them.

use include_dir::{Dir, File, include_dir};

static SUITES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/suites");
static TARGETS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/targets");
static INITIATORS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/initiators");
static REQUIREMENTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/requirements");

static APPS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/apps");
static KNOWN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/known");

/// The private ECDSA P-256 key that signs images made by brickproof, PKCS#8 PEM. It protects nothing.
pub const DEVELOPMENT_KEY: &str = include_str!("../keys/brickproof-development.pem");

/// The key of a product that was not left with a debug key: as public as the others, and not known as one of them.
pub const PRODUCTION_KEY: &str = include_str!("../keys/brickproof-production.pem");

/// The same for bootloaders that take RSA-2048.
pub const DEVELOPMENT_KEY_RSA_2048: &str = include_str!("../keys/brickproof-development-rsa-2048.pem");

/// The same for bootloaders that take Ed25519.
pub const DEVELOPMENT_KEY_ED25519: &str = include_str!("../keys/brickproof-development-ed25519.pem");

/// One bundled file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bundled {
    /// Its path in the folder without `.toml`: the name it goes by.
    pub name: &'static str,
    /// Its contents.
    pub text: &'static str,
}

/// All scenarios, by name.
#[must_use]
pub fn suites() -> Vec<Bundled> {
    bundled(&SUITES)
}

/// All target profiles, by name.
#[must_use]
pub fn targets() -> Vec<Bundled> {
    bundled(&TARGETS)
}

/// All initiator profiles, by name.
#[must_use]
pub fn initiators() -> Vec<Bundled> {
    bundled(&INITIATORS)
}

/// A program that drives a library, which a bundled initiator profile names.
#[must_use]
pub fn driver(name: &str) -> Option<&'static str> {
    INITIATORS.get_file(name)?.contents_utf8()
}

/// All files of requirements, by name.
#[must_use]
pub fn requirements() -> Vec<Bundled> {
    bundled(&REQUIREMENTS)
}

/// All apps, by name.
#[must_use]
pub fn apps() -> Vec<Bundled> {
    bundled(&APPS)
}

/// All files of known failures, by the initiator they are about.
#[must_use]
pub fn known() -> Vec<Bundled> {
    bundled(&KNOWN)
}

fn bundled(dir: &'static Dir<'static>) -> Vec<Bundled> {
    let mut files: Vec<&File<'_>> = Vec::new();
    let mut open = vec![dir];
    while let Some(dir) = open.pop() {
        files.extend(dir.files());
        open.extend(dir.dirs());
    }
    let mut all: Vec<Bundled> = files
        .into_iter()
        .filter_map(|file| {
            let name = file.path().to_str()?.strip_suffix(".toml")?;
            Some(Bundled { name, text: file.contents_utf8()? })
        })
        .collect();
    all.sort_by_key(|bundled| bundled.name);
    all
}
