//! GBL files: whatever is in them, they are read, verified, decrypted and unpacked within limits; a file that is verified as
//! good is taken by the bootloader, and it makes no difference in which pieces it comes.
#![no_main]

use std::sync::OnceLock;

use brickproof_flash_model::boot::gecko::{AppLoader, Entry, Gecko, Options, Stop};
use brickproof_flash_model::flash::{Controller, Flash, Uncut};
use brickproof_flash_model::image::gbl::{
    ApplicationProperties, BootRules, Certificate, Compression, Dependency, Device, EncryptionKey, FirmwareBuilder, Gbl,
    GblBuilder, TagKind, Trust, check_application, compress, decompress, read_public_key, verify,
};
use brickproof_flash_model::image::mcuboot::SigningKey;
use brickproof_flash_model::image::nordic::crc32;
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::sweep::gecko::{Installed, factory};
use libfuzzer_sys::fuzz_target;

/// Most bytes that the programs of a file unpack to: more than the flash of these devices.
const UNPACKED_MAX: usize = 1 << 18;
/// More boots than any installation takes.
const BOOTS_MAX: usize = 8;

struct Target {
    gecko: Gecko,
    flash: Flash,
    device: Device,
    key: SigningKey,
    /// Good files.
    files: Vec<Vec<u8>>,
}

fn target() -> &'static Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let layout = Layout::preset("gecko40-apploader").expect("a preset");
        let key = SigningKey::from_seed(b"fuzz").expect("a key");
        let encryption = EncryptionKey::new([7; 16]);
        let options = Options {
            lz4: true,
            lzma: true,
            version_dependency: true,
            public_key: key.public().p256_point().ok(),
            encryption_key: Some(*encryption.bytes()),
            ..Options::apploader()
        };
        let gecko = Gecko::new(&layout, options).expect("fits");
        let (start, main_stage) = (gecko.map().application_start(), gecko.map().main_stage());
        let bootloader = FirmwareBuilder::bootloader(main_stage, 1 << 24).size(0x400).build();
        let whole = [bootloader.as_slice(), &crc32(&bootloader, 0).to_le_bytes()].concat();
        let application = FirmwareBuilder::new(start).size(0x900).build();
        let installed = Installed { bootloader: &whole, application: &application, slot: &[] };
        let flash = factory(&gecko, layout.blank_flash(), &installed).expect("fits");
        let device = Device {
            trust: Trust::from(key.public().clone()),
            decryption: Some(encryption.clone()),
            application_area: Some(start..gecko.map().application_end()),
            bootloader_address: Some(main_stage),
            decompress_limit: UNPACKED_MAX,
            ..Device::default()
        };
        let image = FirmwareBuilder::new(start).version(2).size(0x600).build();
        let data = FirmwareBuilder::new(start).version(2).size(0x600).data();
        let plain = GblBuilder::new().firmware(start, &image);
        let packed = |compression| {
            let builder = GblBuilder::new().application(&data).compressed_program(compression, start, &image);
            builder.expect("packs")
        };
        let depends: Dependency = "application >= 1".parse().expect("words");
        let certificate = Certificate::new(key.public(), 1, &key).expect("a certificate");
        let new = FirmwareBuilder::bootloader(main_stage, 2 << 24).size(0x400).build();
        let files = [
            plain.unsigned(),
            plain.sign(&key),
            plain.clone().dependency(depends).encrypt(&encryption, [9; 12]).sign(&key),
            plain.clone().bootloader(2 << 24, main_stage, &new).metadata(b"fuzz").unsigned(),
            plain.clone().certificate(certificate).sign(&key),
            packed(Compression::Lz4).unsigned(),
            packed(Compression::Lzma).unsigned(),
        ];
        let files = files.into_iter().map(|file| file.expect("a file")).collect();
        Target { gecko, flash, device, key, files }
    })
}

/// All that reads a file.
fn readers(file: &[u8]) {
    let target = target();
    let devices = [
        Device { decompress_limit: UNPACKED_MAX, ..Device::default() },
        Device { communication: false, slot_size: Some(0x1000), series_2: false, ..target.device.clone() },
        target.device.clone(),
    ];
    for device in &devices {
        let _ = verify(file, device).is_good();
    }
    let Ok((gbl, fault)) = Gbl::scan(file) else { return };
    assert_eq!(Gbl::read(file).is_ok(), fault.is_none());
    for tag in gbl.tags() {
        let _ = gbl.content(tag);
    }
    let _ = (gbl.crc(), gbl.dependencies(), gbl.signed_hash(), gbl.verify_chain(target.key.public()));
    for key in [None, target.device.decryption.as_ref()] {
        if let Ok(programs) = gbl.programs(key, UNPACKED_MAX) {
            let len: usize = programs.iter().map(|(_, bytes)| bytes.len()).sum();
            assert!(len <= UNPACKED_MAX, "{len}");
            let [first, ..] = programs.as_slice() else { continue };
            let rules = BootRules {
                flash: 0..target.gecko.map().flash_end(),
                ram: target.gecko.options().ram.clone(),
                application_start: first.0,
                secure_boot: true,
                trust: target.device.trust.clone(),
                certificate: None,
                crc32: true,
            };
            let _ = check_application(&first.1, first.0, &rules);
            let _ = check_application(&first.1, first.0, &BootRules { secure_boot: false, ..rules });
            let _ = ApplicationProperties::find(&first.1, first.0);
        }
    }
}

/// What an AppLoader makes of a file in such pieces, and the flash behind it.
fn taken(file: &[u8], piece: usize) -> (Result<Result<(), u16>, &'static str>, Flash) {
    let target = target();
    let mut flash = target.flash.clone();
    let mut hook = Uncut;
    let mut controller = Controller::new(&mut flash, &mut hook);
    let mut loader = AppLoader::default();
    loader.start();
    let mut result = Ok(Ok(()));
    for piece in file.chunks(piece.max(1)) {
        result = match loader.data(&target.gecko, &mut controller, piece) {
            Ok(Ok(())) => continue,
            Ok(Err(code)) => Ok(Err(code.number())),
            Err(Stop::Interrupted(_)) => panic!("nothing interrupts"),
            Err(Stop::Fault(_)) => Err("a fault"),
            Err(Stop::Hang(_)) => Err("it hangs"),
        };
        break;
    }
    if result == Ok(Ok(())) {
        result = Ok(loader.finish().map_err(|code| code.number()));
        let _ = loader.disconnect(&target.gecko, &mut controller, &mut Entry::default());
    }
    (result, flash)
}

/// A file to the device: in pieces of any size, and then it boots.
fn uploads(file: &[u8], piece: u8) {
    let target = target();
    let good = verify(file, &target.device).is_good();
    // What is behind the end is none of the parser's.
    let len = Gbl::scan(file).map_or(file.len(), |(gbl, _)| gbl.content_len());
    let file = file.get(..len).unwrap_or_default();
    let (result, flash) = taken(file, 244);
    let (other, other_flash) = taken(file, usize::from(piece));
    // With which error a file is refused, and behind how much of it, depends on what the parser can hold back of a piece.
    let taken = result == Ok(Ok(()));
    // Of several version dependencies the parser forgets the first ones at the end of a piece, and refuses the tag.
    let several = Gbl::scan(file).is_ok_and(|(gbl, _)| {
        gbl.tags().iter().any(|tag| tag.kind == Some(TagKind::VersionDependency) && tag.length > 8)
    });
    if !several {
        assert_eq!(taken, other == Ok(Ok(())), "{result:?} {other:?}");
        assert!(!taken || flash.devices()[0].sha256() == other_flash.devices()[0].sha256());
    }
    assert!(!good || taken, "verified as good: {result:?}");
    let mut flash = flash;
    let _ = target.gecko.explain(&flash, Entry::default());
    let mut entry = Entry::default();
    for _ in 0..BOOTS_MAX {
        let mut hook = Uncut;
        target.gecko.boot(&mut Controller::new(&mut flash, &mut hook), &mut entry).expect("nothing interrupts");
    }
}

/// The same with the CRC that it has to have, where there is an end.
fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    let end = Gbl::scan(&file).ok().and_then(|(gbl, _)| gbl.tag(TagKind::End).map(|tag| tag.payload.clone()));
    if let Some(end) = end.filter(|end| end.len() == 4) {
        let crc = crc32(&file[..end.start], 0).to_le_bytes();
        file[end].copy_from_slice(&crc);
    }
    file
}

/// Tags of any kind and length, between a header and an end.
fn of_tags(mut rest: &[u8]) -> Vec<u8> {
    let mut file = [TagKind::Header.id().to_le_bytes(), 8u32.to_le_bytes(), 0x0300_0000u32.to_le_bytes()].concat();
    let flags = rest.first().map_or(0, |byte| u32::from(byte & 1) | u32::from(byte >> 1 & 1) << 8);
    file.extend(flags.to_le_bytes());
    rest = rest.get(1..).unwrap_or_default();
    while let [kind, len, behind @ ..] = rest {
        let kind = TagKind::ALL[usize::from(*kind) % TagKind::ALL.len()];
        let (payload, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        rest = behind;
        file.extend(kind.id().to_le_bytes());
        file.extend((payload.len() as u32).to_le_bytes());
        file.extend(payload);
    }
    file.extend(TagKind::End.id().to_le_bytes());
    file.extend([4, 0, 0, 0, 0, 0, 0, 0]);
    sealed(file)
}

fn streams(bytes: &[u8]) {
    for compression in [Compression::Lz4, Compression::Lzma] {
        if let Ok(unpacked) = decompress(compression, bytes, UNPACKED_MAX) {
            assert!(unpacked.bytes.len() <= UNPACKED_MAX);
        }
        let packed = compress(compression, bytes).expect("packs");
        assert_eq!(decompress(compression, &packed, bytes.len()).expect("unpacks").bytes, bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (read_public_key("key", text), EncryptionKey::read("key", text), text.parse::<Dependency>());
    }
}

fuzz_target!(|input: &[u8]| {
    let [kind, piece, rest @ ..] = input else { return };
    match kind % 4 {
        0 => {
            readers(rest);
            uploads(rest, *piece);
        }
        1 => {
            let file = of_tags(rest);
            readers(&file);
            uploads(&file, *piece);
        }
        2 => {
            // A good file with some bytes changed: a place, and what is put there.
            let files = &target().files;
            let mut file = files[usize::from(kind >> 2) % files.len()].clone();
            for change in rest.chunks_exact(4) {
                let at = usize::from(u16::from_le_bytes([change[0], change[1]]) & 0x7fff);
                if change[1] & 0x80 != 0 {
                    file.truncate(at.max(16));
                } else if let Some(byte) = file.get_mut(at) {
                    *byte ^= change[2];
                }
            }
            let file = if piece & 1 != 0 { sealed(file) } else { file };
            readers(&file);
            uploads(&file, *piece);
        }
        _ => streams(rest),
    }
});
