//! Agreement with the real Gecko bootloader of the Simplicity SDK 2024.6.0 (`golden/gecko`).

mod gecko_support;

use brickproof_flash_model::boot::gecko::Options;
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
        let all = Options { lz4: true, lzma: true, version_dependency: true, upgrade_size: 0x6000, ..Options::apploader() };
        let key: [u8; 64] = std::fs::read("/tmp/gs-key").ok().and_then(|k| k.try_into().ok()).unwrap_or([0; 64]);
        let aes: [u8; 16] = std::array::from_fn(|i| 0x10 + i as u8);
        let (layout, options) = match build {
            "apploader" => ("gecko40-apploader", Options { public_key: Some(key), encryption_key: Some(aes), ..all }),
            _ => panic!(),
        };
        // Vectors and properties of a bootloader.
        let mut bootloader = vec![0xff; 0x200];
        bootloader[52..56].copy_from_slice(&0x0800_0100u32.to_le_bytes());
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
