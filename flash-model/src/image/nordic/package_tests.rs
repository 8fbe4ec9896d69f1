use proptest::prelude::*;

use super::*;
use crate::image::mcuboot::SigningKey;
use crate::image::nordic::builder::{InitPacketBuilder, SoftdeviceInfo, application_binary, bootloader_binary};
use crate::image::nordic::package_error::{ENTRIES_MAX, FILE_MAX, UNPACKED_MAX};

fn application() -> PackageImage {
    let firmware = application_binary(3, 1000);
    let key = SigningKey::from_seed(b"package").unwrap();
    let init = InitPacketBuilder::application(&firmware).fw_version(3).hw_version(52).sign(&key).unwrap();
    PackageImage::new(ImageKind::Application, init, firmware)
}

fn bootloader() -> PackageImage {
    let firmware = bootloader_binary(2, 600);
    let init = InitPacketBuilder::bootloader(&firmware).unsigned().unwrap();
    PackageImage::new(ImageKind::Bootloader, init, firmware)
}

fn softdevice_bootloader() -> PackageImage {
    let builder =
        InitPacketBuilder::softdevice_bootloader(&SoftdeviceInfo::S140_7_2_0.binary(9000), &bootloader_binary(2, 600));
    PackageImage::new(ImageKind::SoftdeviceBootloader, builder.unsigned().unwrap(), builder.firmware())
}

/// A zip with these entries.
fn zip_of(entries: &[(&str, &[u8])], options: SimpleFileOptions) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, contents) in entries {
        zip.start_file(*name, options).unwrap();
        zip.write_all(contents).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

const MANIFEST: &[u8] = br#"{"manifest": {"application": {"bin_file": "a.bin", "dat_file": "a.dat"}}}"#;
const STORED: SimpleFileOptions = SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::Stored);
const DEFLATED: SimpleFileOptions = SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::Deflated);

fn fault_of(bytes: &[u8]) -> PackageFault {
    Package::read("bad.zip", bytes).unwrap_err().fault
}

/// Changes a 16-bit or 32-bit field of the first entry, in both of its headers.
fn patch(zip: &mut [u8], local: usize, central: usize, value: &[u8]) {
    let directory = zip.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    for at in [local, directory + central] {
        zip[at..at + value.len()].copy_from_slice(value);
    }
}

#[test]
fn what_is_written_reads_back() {
    let package = Package::new(vec![application(), softdevice_bootloader()]);
    assert_eq!(package.images[0].kind, ImageKind::SoftdeviceBootloader);
    package.verify("made.zip").unwrap();
    let bytes = package.write("made.zip").unwrap();
    assert_eq!(bytes, package.write("made.zip").unwrap());
    assert_eq!(Package::read("made.zip", &bytes).unwrap(), package);
}

#[test]
fn legacy_packages_read_back() {
    let firmware = application_binary(3, 1000);
    let (softdevice, bootloader) = (SoftdeviceInfo::S140_6_1_1.binary(9000), bootloader_binary(2, 600));
    let both = [&softdevice[..], &bootloader].concat();
    let key = SigningKey::from_seed(b"package").unwrap();
    let plain = LegacyInitPacket::new(&firmware);
    for packet in [plain.clone(), plain.sign(&firmware, &key).unwrap()] {
        let package = Package::legacy(vec![
            PackageImage::legacy(ImageKind::Application, &packet, firmware.clone()),
            PackageImage::legacy_softdevice_bootloader(&LegacyInitPacket::new(&both), &softdevice, &bootloader),
        ]);
        assert!(package.is_legacy());
        assert_eq!(package.dfu_version, Some(packet.extension.dfu_version()));
        package.verify("legacy.zip").unwrap();
        let read = Package::read("legacy.zip", &package.write("legacy.zip").unwrap()).unwrap();
        assert_eq!(read, package);
        let sizes = read.image(ImageKind::SoftdeviceBootloader).unwrap().entry.part_sizes();
        assert_eq!(sizes, Some(PartSizes { bl_size: 600, sd_size: 9000 }));
    }
}

#[test]
fn only_known_combinations_are_right() {
    let softdevice = || {
        let firmware = SoftdeviceInfo::S140_7_2_0.binary(9000);
        let init = InitPacketBuilder::softdevice(&firmware).unsigned().unwrap();
        PackageImage::new(ImageKind::Softdevice, init, firmware)
    };
    for images in [
        vec![application()],
        vec![bootloader()],
        vec![softdevice()],
        vec![softdevice_bootloader()],
        vec![softdevice(), application()],
        vec![softdevice_bootloader(), application()],
    ] {
        Package::new(images).verify("good.zip").unwrap();
    }
    for images in [
        vec![],
        vec![bootloader(), application()],
        vec![softdevice(), bootloader()],
        vec![softdevice_bootloader(), bootloader()],
        vec![application(), application()],
    ] {
        assert_eq!(Package::new(images).verify("bad.zip").unwrap_err().len(), 1);
    }
    let error = Package::new(vec![bootloader(), application()]).verify("bad.zip").unwrap_err().remove(0);
    assert_eq!(
        error.to_string(),
        "bad.zip: `manifest.json`: a package with bootloader and application is not possible: make one package for each"
    );
}

#[test]
fn what_does_not_agree_is_found() {
    let mut wrong = application();
    wrong.kind = ImageKind::Bootloader;
    let mut longer = application();
    longer.firmware.push(0);
    let mut sizes = softdevice_bootloader();
    sizes.entry.info_read_only_metadata = Some(PartSizes { bl_size: 1, sd_size: 2 });
    let mut no_init = application();
    no_init.init.clear();
    for (image, expected) in [
        (wrong, "is of type APPLICATION, the manifest says bootloader"),
        (longer, "announces 1000 bytes, the firmware has 1001"),
        (sizes, "the manifest says other sizes"),
        (no_init, "no init packet (the init packet has no init command)"),
    ] {
        let faults = Package::new(vec![image]).verify("bad.zip").unwrap_err();
        assert!(faults[0].to_string().contains(expected), "{}", faults[0]);
    }
    let packet = LegacyInitPacket::new(b"firmware");
    let mut said = PackageImage::legacy(ImageKind::Application, &packet, b"firmware".to_vec());
    said.entry.init_packet_data = Some(InitPacketData { device_type: Some(1), ..InitPacketData::default() });
    let other = PackageImage::legacy(ImageKind::Application, &packet, b"other".to_vec());
    for (image, expected) in [(said, "other init packet data"), (other, "hash or CRC of the firmware")] {
        let faults = Package::legacy(vec![image]).verify("bad.zip").unwrap_err();
        assert!(faults[0].to_string().contains(expected), "{}", faults[0]);
    }
}

#[test]
fn compressed_packages_and_foreign_entries_are_fine() {
    let entries: [(&str, &[u8]); 5] = [
        ("__MACOSX/._a.bin", b"attributes"),
        ("manifest.json", MANIFEST),
        ("a.bin", &[0; 5000]),
        ("a.dat", b"init"),
        ("readme.txt", b"hello"),
    ];
    for options in [STORED, DEFLATED] {
        let package = Package::read("zip.zip", &zip_of(&entries, options)).unwrap();
        assert_eq!((package.images[0].firmware.len(), &package.images[0].init[..]), (5000, &b"init"[..]));
    }
}

#[test]
fn what_is_no_package_is_explained() {
    assert!(matches!(fault_of(b"PK nothing"), PackageFault::NoZip(_)));
    assert_eq!(fault_of(&vec![0; FILE_MAX + 1]), PackageFault::FileSize(FILE_MAX + 1));
    assert_eq!(fault_of(&zip_of(&[("x/manifest.json", MANIFEST)], STORED)), PackageFault::ManifestMissing);
    assert_eq!(fault_of(&zip_of(&[("manifest.json", br#"{"manifest": {}}"#)], STORED)), PackageFault::NoImage);
    let missing = zip_of(&[("manifest.json", MANIFEST), ("a.bin", b"")], STORED);
    assert_eq!(
        Package::read("bad.zip", &missing).unwrap_err().to_string(),
        "bad.zip: `a.dat`: named by the manifest for the application but not in the zip: add it or correct the name"
    );
    let long = [MANIFEST, &[b' '; 70_000]].concat();
    assert!(matches!(fault_of(&zip_of(&[("manifest.json", &long)], DEFLATED)), PackageFault::ManifestSize(_)));
    assert!(matches!(fault_of(&zip_of(&[("manifest.json", b"[]")], STORED)), PackageFault::Manifest(_)));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["../a.bin", "/a.bin", "x/../../a.bin", "C:\\a.bin", "x\\a.bin", "./a.bin", "x//a.bin", "\u{0}"] {
        let bytes = zip_of(&[("manifest.json", MANIFEST), ("aaaaaaaaaaaaaaaa", b"")], STORED);
        // The writer cleans names, so they are put in afterwards.
        let placed = format!("{name:a<16}");
        let mut bytes = bytes;
        while let Some(at) = bytes.windows(16).position(|window| window == b"aaaaaaaaaaaaaaaa") {
            bytes[at..at + 16].copy_from_slice(placed.as_bytes());
        }
        let error = Package::read("bad.zip", &bytes).unwrap_err();
        assert_eq!((error.fault, error.entry), (PackageFault::Path, Some(placed)), "{name}");
    }
    let mut image = application();
    image.entry.bin_file = "../a.bin".to_owned();
    assert_eq!(Package::new(vec![image.clone()]).write("bad.zip").unwrap_err().fault, PackageFault::Path);
    image.entry.bin_file = image.entry.dat_file.clone();
    assert_eq!(Package::new(vec![image]).write("bad.zip").unwrap_err().fault, PackageFault::DuplicateName);
}

#[test]
fn links_encryption_and_other_compression_are_refused() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_symlink("manifest.json", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    assert_eq!(fault_of(&zip.finish().unwrap().into_inner()), PackageFault::NoFile);

    let mut encrypted = zip_of(&[("manifest.json", MANIFEST)], STORED);
    patch(&mut encrypted, 6, 8, &[1, 0]);
    assert_eq!(fault_of(&encrypted), PackageFault::Encrypted);

    let mut method = zip_of(&[("manifest.json", MANIFEST)], STORED);
    patch(&mut method, 8, 10, &[12, 0]);
    assert!(matches!(fault_of(&method), PackageFault::Compression(_)));
}

#[test]
fn duplicates_and_crowds_are_refused() {
    let mut bytes = zip_of(&[("manifest.json", MANIFEST), ("manifest.jsom", b"{}")], STORED);
    while let Some(at) = bytes.windows(4).position(|window| window == b"jsom") {
        bytes[at + 3] = b'n';
    }
    assert_eq!(fault_of(&bytes), PackageFault::DuplicateName);
    let names: Vec<_> = (0..=ENTRIES_MAX).map(|index| format!("{index}")).collect();
    let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (&name[..], &b""[..])).collect();
    assert_eq!(fault_of(&zip_of(&entries, STORED)), PackageFault::EntryCount(ENTRIES_MAX + 1));
}

#[test]
fn bombs_are_refused() {
    let half = vec![0; UNPACKED_MAX as usize / 2 + 1];
    let announced = zip_of(&[("a.bin", &half), ("a.dat", &half), ("manifest.json", MANIFEST)], DEFLATED);
    assert!(announced.len() < 40_000);
    assert_eq!(fault_of(&announced), PackageFault::UnpackedSize);

    // One that announces little.
    let mut bytes = zip_of(&[("a.bin", &half), ("a.dat", b""), ("manifest.json", MANIFEST)], DEFLATED);
    patch(&mut bytes, 22, 24, &100u32.to_le_bytes());
    let fault = fault_of(&bytes);
    assert!(matches!(fault, PackageFault::SizeMismatch(100) | PackageFault::Damaged(_)), "{fault:?}");

    // One file named twice counts twice.
    let manifest = br#"{"manifest": {"application": {"bin_file": "a.bin", "dat_file": "a.bin"}}}"#;
    assert_eq!(
        fault_of(&zip_of(&[("a.bin", &half), ("manifest.json", manifest)], DEFLATED)),
        PackageFault::UnpackedSize
    );
}

#[test]
fn damage_is_found() {
    let mut bytes = Package::new(vec![application()]).write("good.zip").unwrap();
    let at = bytes.windows(8).position(|window| window == &application().firmware[..8]).unwrap();
    bytes[at] ^= 1;
    assert!(matches!(fault_of(&bytes), PackageFault::Damaged(_)));
}

proptest! {
    #[test]
    fn any_damage_is_read_without_a_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        compressed in any::<bool>(),
    ) {
        let options = if compressed { DEFLATED } else { STORED };
        let entries: [(&str, &[u8]); 3] = [("manifest.json", MANIFEST), ("a.bin", &[7; 100]), ("a.dat", b"init")];
        let mut bytes = zip_of(&entries, options);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let cut = cut.index(bytes.len() * 4);
        bytes.truncate(cut);
        if let Ok(package) = Package::read("damaged.zip", &bytes) {
            prop_assert!(package.images.iter().all(|image| image.firmware.len() <= 1000));
        }
    }
}
