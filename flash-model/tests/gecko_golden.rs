//! Agreement with the real Gecko bootloader of the Simplicity SDK 2024.6.0: every answer, every flash operation, every
//! reset (`golden/gecko`).
//!
//! `BRICKPROOF_WRITE_GECKO=FOLDER` writes the scripts that the recorder is run with.

mod gecko_support;

use std::collections::BTreeMap;
use std::path::Path;

use brickproof_flash_model::boot::gecko::{Options, OwnCertificate};
use gecko_support::{Player, scripts};
use serde::Deserialize;

/// What the recorder says of a script.
#[derive(Debug, Deserialize)]
struct Record {
    case: String,
    said: Vec<String>,
}

const RECORDS: &str = include_str!("golden/gecko/records.jsonl");

/// The layout, the options and the main stage of a build of `record.sh`.
fn build(name: &str) -> (&'static str, Options, u32) {
    let keys = Options {
        public_key: Some(scripts::public_key()),
        encryption_key: Some(scripts::AES_KEY),
        ..Options::apploader()
    };
    let all = Options { lz4: true, lzma: true, ..keys.clone() };
    let signed = Options { require_signed: true, secure_boot: true, ..all.clone() };
    let storage = Options { storage: true, upgrade_offset: 0x8000, ..all.clone() };
    let own = OwnCertificate { version: 5, key: scripts::public_key() };
    let (layout, options) = match name {
        "apploader" => ("gecko40-apploader", Options { version_dependency: true, ..all }),
        "plain" => ("gecko40-apploader", Options { encryption: false, ..keys }),
        "strict" => ("gecko40-apploader", Options { require_signed: true, require_encrypted: true, ..all }),
        "signed" => ("gecko40-apploader", Options { version_dependency: true, ..signed }),
        "certificates" => ("gecko40-apploader", Options { certificate: Some(own), ..signed }),
        "versions" => ("gecko40-apploader", Options { version_check: true, ..all }),
        "rollback" => ("gecko40-apploader", Options { secure_boot: true, rollback_protection: true, ..all }),
        "storage" => ("gecko40-storage", Options { version_dependency: true, ..storage }),
        "storage-overlap" => ("gecko40-storage", Options { upgrade_offset: 0x2c000, ..storage }),
        "series-1" => ("gecko64-series-1", Options { series_2: false, upgrade_size: 0x4000, ..storage }),
        _ => panic!("there is no build `{name}`"),
    };
    (layout, options, if name == "series-1" { 0x800 } else { 0x0800_0000 })
}

#[test]
fn it_does_what_the_real_one_does() {
    let scripts = scripts::scripts();
    if let Some(folder) = std::env::var_os("BRICKPROOF_WRITE_GECKO") {
        for (name, script) in &scripts {
            let path = Path::new(&folder).join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, script).unwrap();
        }
        return;
    }
    let mut records: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in RECORDS.lines() {
        let record: Record = serde_json::from_str(line).unwrap();
        records.insert(record.case, record.said);
    }
    assert_eq!(records.len(), scripts.len());
    for (name, script) in &scripts {
        let (layout, options, main_stage) = build(name.split('/').next().unwrap());
        let bootloader = scripts::bootloader(0x1fc, main_stage, 0x0205_0000);
        let said = Player::new(layout, options, &bootloader).play(script);
        let wanted = &records[name];
        let differs = said.iter().zip(wanted).position(|(ours, real)| ours != real);
        let at = differs.unwrap_or(said.len().min(wanted.len())).saturating_sub(2);
        let (ours, real) = (said.get(at..).unwrap_or_default(), wanted.get(at..).unwrap_or_default());
        let first = |lines: &[String]| lines.iter().take(8).cloned().collect::<Vec<_>>();
        assert!(said == *wanted, "{name}, from line {at} on: ours {:?}, real {:?}", first(ours), first(real));
    }
}
