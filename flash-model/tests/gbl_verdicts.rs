//! What the parser of devices says about GBL files, good and broken, and what we say.

use std::io::Write;
use std::path::{Path, PathBuf};

use brickproof_flash_model::image::gbl::{
    Comparison, Compression, Dependency, Device, EncryptionKey, FirmwareBuilder, Gbl, GblBuilder, ImageType, Pieces,
    Running, Sabotage, SabotageKeys, Severity, Tag, Trust, verify,
};
use brickproof_flash_model::image::mcuboot::SigningKey;
use serde_json::Value;

const BASE: u32 = 0x0801_2000;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gbl")
}

fn signer() -> SigningKey {
    SigningKey::from_pem(&std::fs::read_to_string(golden().join("sign.pem")).unwrap()).unwrap()
}

fn secret() -> EncryptionKey {
    EncryptionKey::read("aes.txt", &std::fs::read_to_string(golden().join("aes.txt")).unwrap()).unwrap()
}

/// As `verdicts/record.c` is.
fn device(build: &str) -> Device {
    Device {
        trust: Trust::from(signer().public().clone()),
        decryption: Some(secret()),
        communication: build != "storage",
        require_signature: build == "signed",
        running: Some(Running { application: Some(4), bootloader: 0x0204_0000, se: Some(0x0001_0203) }),
        application_area: Some(BASE..0x0808_0000),
        bootloader_address: Some(0x0800_0000),
        decompress_limit: 1 << 20,
        ..Device::default()
    }
}

fn random(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 16).unwrap()
}

/// Good files, each of them broken in every way, with bytes changed at random, and with random version dependencies.
fn files() -> Vec<Vec<u8>> {
    let (key, secret) = (signer(), secret());
    let firmware = FirmwareBuilder::new(BASE).version(5);
    let mut image = firmware.build();
    image.truncate(100);
    let start = || GblBuilder::new().application(&firmware.data());
    let plain = || start().program(BASE, &image);
    let packed = |compression, at| start().compressed_program(compression, at, &image).unwrap();
    let everything = || {
        packed(Compression::Lzma, BASE)
            .dependency(Dependency::new(ImageType::Application, Comparison::AtLeast, 3))
            .se_upgrade(0x0001_0204, &[1; 20])
            .bootloader(0x0204_0001, 0x0800_0000, &[2; 20])
            .metadata(b"metadata")
            .plain_program(BASE + 0x4000, &[7; 33])
            .compressed_program(Compression::Lz4, BASE + 0x8000, &[8; 70])
            .unwrap()
    };
    let goods = [
        plain(),
        plain().encrypt(&secret, [1; 12]),
        plain().encrypt(&secret, [1; 12]).pieces(Pieces::One),
        packed(Compression::Lzma, BASE),
        packed(Compression::Lz4, BASE),
        everything(),
        everything().encrypt(&secret, [1; 12]),
    ];
    let mut files = Vec::new();
    let mut state = 0x0123_4567_89ab_cdef;
    for (index, builder) in goods.iter().enumerate() {
        let (unsigned, signed) = (builder.unsigned().unwrap(), builder.sign(&key).unwrap());
        let keys = SabotageKeys { signing: Some(&key), encryption: Some(&secret) };
        if [0, 1, 6].contains(&index) {
            files.extend(Sabotage::ALL.into_iter().filter_map(|sabotage| sabotage.apply(&signed, keys).ok()));
        }
        for (file, count) in [(unsigned, 14), (signed, 10)] {
            files.extend((0..count).map(|_| mutant(&file, &mut state)));
            files.push(file);
        }
    }
    for _ in 0..60 {
        let count = 1 + random(&mut state) % 3;
        let builder = (0..count).fold(GblBuilder::new().metadata(b"few"), |builder, _| {
            let near = [4, 0x0204_0000, 0x0001_0203][random(&mut state) % 3];
            let entry = Dependency {
                image_code: u8::try_from(1 + random(&mut state) % 12 * 3 % 4).unwrap(),
                statement: u8::try_from(random(&mut state) % 0x3a).unwrap(),
                reserved: 0,
                version: near + u32::try_from(random(&mut state) % 3).unwrap() - 1,
            };
            builder.dependency(entry)
        });
        files.push(builder.unsigned().unwrap());
    }
    files
}

fn mutant(file: &[u8], state: &mut u64) -> Vec<u8> {
    let headers: Vec<usize> = Gbl::read(file).unwrap().tags().iter().map(Tag::start).collect();
    let mut broken = file.to_vec();
    for _ in 0..=random(state) % 2 {
        // Near a header more often than not.
        let near = headers[random(state) % headers.len()] + random(state) % 16;
        let at = if random(state).is_multiple_of(3) { random(state) % file.len() } else { near.min(file.len() - 1) };
        let bit = 1 << (random(state) % 8);
        broken[at] = if random(state).is_multiple_of(2) { random(state).to_le_bytes()[0] } else { broken[at] ^ bit };
    }
    // Most of the time with a CRC that is right again.
    if !random(state).is_multiple_of(4)
        && let Ok(gbl) = Gbl::read(&broken)
        && let Some(crc) = gbl.crc()
    {
        let end = gbl.content_len();
        broken[end - 4..end].copy_from_slice(&crc.computed.to_le_bytes());
    }
    broken
}

/// Every record in the golden folder. Where `BRICKPROOF_GBL_VERDICTS` names a folder, the files are written there for the
/// parser of devices (`verdicts/record.py`).
#[test]
fn what_a_device_stops_at_is_found_first() {
    if let Some(folder) = std::env::var_os("BRICKPROOF_GBL_VERDICTS").map(PathBuf::from) {
        for (index, file) in files().iter().enumerate() {
            std::fs::File::create(folder.join(format!("{index:04}.gbl"))).unwrap().write_all(file).unwrap();
        }
    }
    let (mut accepted, mut refused, mut lost) = (0, 0, 0);
    for line in std::fs::read_to_string(golden().join("verdicts/verdicts.jsonl")).unwrap().lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let hex = record["file"].as_str().unwrap().as_bytes();
        let pairs = hex.chunks(2).map(|pair| str::from_utf8(pair).unwrap());
        let file: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        for build in ["radio", "signed", "storage"] {
            let report = verify(&file, &device(build));
            let errors: Vec<_> = report.findings.iter().filter(|found| found.severity == Severity::Error).collect();
            let verdict = record[build].as_str().unwrap();
            let agrees = match verdict {
                // What no parser notices has no code.
                "accepted" => errors.iter().all(|found| found.code.is_none()),
                "waits" | "hangs" | "crashes" => errors.first().is_some_and(|found| found.code.is_none()),
                code => {
                    errors.first().is_some_and(|found| found.code.is_none_or(|found| format!("{found:#06x}") == code))
                }
            };
            assert!(agrees, "{build}: {verdict}, not {errors:#?}\n{line}");
            *(match verdict {
                "accepted" => &mut accepted,
                "waits" | "hangs" | "crashes" => &mut lost,
                _ => &mut refused,
            }) += 1;
        }
    }
    assert!(accepted > 100 && refused > 100 && lost > 20, "{accepted} accepted, {refused} refused, {lost} lost");
}
