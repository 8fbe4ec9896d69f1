//! Agreement with the real Gecko bootloader of the Simplicity SDK 2024.6.0 (`golden/gecko`).

mod gecko_support;

use brickproof_flash_model::boot::gecko::{Options, OwnCertificate};
use gecko_support::Player;

#[test]
fn tries() {
    let folder = std::path::PathBuf::from(std::env::var("GS").unwrap_or("/tmp/gs".into()));
    let mut bad = 0;
    let records = std::fs::read_to_string("/tmp/records.jsonl").unwrap();
    for line in records.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = record["case"].as_str().unwrap();
        let script = std::fs::read_to_string(folder.join(name)).unwrap();
        let build = name.split('/').next().unwrap();
                let key: [u8; 64] = std::fs::read("/tmp/gs-key").ok().and_then(|k| k.try_into().ok()).unwrap_or([0; 64]);
        let aes: [u8; 16] = std::array::from_fn(|i| 0x10 + i as u8);
        let keys = Options { public_key: Some(key), encryption_key: Some(aes), upgrade_size: 0x18000, ..Options::apploader() };
        let all = Options { lz4: true, lzma: true, ..keys.clone() };
        let signed = Options { require_signed: true, secure_boot: true, ..all.clone() };
        let storage = Options { storage: true, upgrade_offset: 0x8000, ..all.clone() };
        let (layout, options) = match build {
            "apploader" => ("gecko40-apploader", Options { version_dependency: true, ..all }),
            "plain" => ("gecko40-apploader", Options { encryption: false, ..keys }),
            "strict" => ("gecko40-apploader", Options { require_signed: true, require_encrypted: true, ..all }),
            "signed" => ("gecko40-apploader", Options { version_dependency: true, ..signed }),
            "certificates" => ("gecko40-apploader", Options { certificate: Some(OwnCertificate { version: 5, key }), ..signed }),
            "versions" => ("gecko40-apploader", Options { version_check: true, ..all }),
            "rollback" => ("gecko40-apploader", Options { secure_boot: true, rollback_protection: true, ..all }),
            "storage" => ("gecko40-storage", Options { version_dependency: true, ..storage }),
            "storage-overlap" => ("gecko40-storage", Options { upgrade_offset: 0x2c000, ..storage }),
            "series-1" => ("gecko64-series-1", Options { series_2: false, upgrade_offset: 0x8000, upgrade_size: 0x4000, ..storage }),
            _ => panic!(),
        };
        let base: u32 = if build == "series-1" { 0x800 } else { 0x0800_0000 };
        // Vectors and properties of a bootloader.
        let mut bootloader = vec![0xff; 0x200];
        bootloader[52..56].copy_from_slice(&(base + 0x100).to_le_bytes());
        bootloader[0x100..0x110].copy_from_slice(&[0x13, 0xb7, 0x79, 0xfa, 0xc9, 0x25, 0xdd, 0xb7, 0xad, 0xf3, 0xcf, 0xe0, 0xf1, 0xb6, 0x14, 0xb8]);
        bootloader[0x110..0x118].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
        bootloader[0x118..0x11c].copy_from_slice(&0x1fcu32.to_le_bytes());
        bootloader[0x11c..0x120].copy_from_slice(&0x40u32.to_le_bytes());
        bootloader[0x120..0x124].copy_from_slice(&0x0205_0000u32.to_le_bytes());
        let crc = brickproof_flash_model::image::nordic::crc32(&bootloader[..0x1fc], 0);
        bootloader[0x1fc..].copy_from_slice(&crc.to_le_bytes());
        let said = Player::new(layout, options, &bootloader).play(&script);
        let want: Vec<String> = record["said"].as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_owned()).collect();
        if said != want {
            bad += 1;
            let at = said.iter().zip(&want).position(|(a, b)| a != b).unwrap_or(said.len().min(want.len()));
            eprintln!("{name}: at {at}\n  ours {:?}\n  real {:?}", &said[at.saturating_sub(2)..said.len().min(at + 6)], &want[at.saturating_sub(2)..want.len().min(at + 6)]);
        }
    }
    assert_eq!(bad, 0);
}
