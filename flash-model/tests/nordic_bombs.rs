//! Packages that are made to hurt whoever reads them: each is refused, for its reason, within the limits of
//! `package_error.rs`, and before it costs more than they allow.

use brickproof_flash_model::image::nordic::package_error::{
    ENTRIES_MAX, FILE_MAX, MANIFEST_MAX, PackageError, PackageFault, UNPACKED_MAX,
};
use brickproof_flash_model::image::nordic::{Manifest, Package, crc32};

const MANIFEST: &[u8] = br#"{"manifest": {"application": {"bin_file": "a.bin", "dat_file": "a.dat"}}}"#;

/// A zip that is put together by hand: what its directory says need not be so.
#[derive(Default)]
struct Zip {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    entries: u16,
}

impl Zip {
    /// Bytes that are there; where they begin.
    fn local(&mut self, name: &str, packed: &[u8], method: u16, crc: u32, size: u32) -> u32 {
        let at = self.bytes.len() as u32;
        self.bytes.extend(b"PK\x03\x04\x14\0\0\0");
        self.bytes.extend(method.to_le_bytes());
        self.bytes.extend([0; 4]);
        self.numbers(crc, packed.len() as u32, size, name);
        self.bytes.extend([0, 0]);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(packed);
        at
    }

    fn numbers(&mut self, crc: u32, packed: u32, size: u32, name: &str) {
        [crc, packed, size].iter().for_each(|number| self.bytes.extend(number.to_le_bytes()));
        self.bytes.extend((name.len() as u16).to_le_bytes());
    }

    /// An entry of the directory.
    fn entry(&mut self, name: &str, at: u32, packed: u32, method: u16, crc: u32, size: u32) {
        let files = std::mem::take(&mut self.bytes);
        self.bytes.extend(b"PK\x01\x02\x14\x03\x14\0\0\0");
        self.bytes.extend(method.to_le_bytes());
        self.bytes.extend([0; 4]);
        self.numbers(crc, packed, size, name);
        self.bytes.extend([0; 8]);
        self.bytes.extend(0o100_644_u32.wrapping_shl(16).to_le_bytes());
        self.bytes.extend(at.to_le_bytes());
        self.bytes.extend(name.as_bytes());
        self.directory.append(&mut self.bytes);
        self.bytes = files;
        self.entries = self.entries.wrapping_add(1);
    }

    /// A file without compression, honest but for its size.
    fn stored(&mut self, name: &str, contents: &[u8], size: u32) {
        let crc = crc32(contents, 0);
        let at = self.local(name, contents, 0, crc, size);
        self.entry(name, at, contents.len() as u32, 0, crc, size);
    }

    fn finish(mut self) -> Vec<u8> {
        let at = self.bytes.len() as u32;
        let len = self.directory.len() as u32;
        self.bytes.append(&mut self.directory);
        self.bytes.extend(b"PK\x05\x06\0\0\0\0");
        self.bytes.extend(self.entries.to_le_bytes());
        self.bytes.extend(self.entries.to_le_bytes());
        self.bytes.extend(len.to_le_bytes());
        self.bytes.extend(at.to_le_bytes());
        self.bytes.extend([0, 0]);
        self.bytes
    }
}

/// A stream of deflate: so many bytes of zeros, a thousandth of them long.
fn zeros(len: usize) -> Vec<u8> {
    use std::io::{Cursor, Write};
    use zip::write::SimpleFileOptions;
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("z", SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated)).unwrap();
    writer.write_all(&vec![0; len]).unwrap();
    let zip = writer.finish().unwrap().into_inner();
    let directory = zip.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let packed = u32::from_le_bytes(zip[directory + 20..directory + 24].try_into().unwrap()) as usize;
    let name = usize::from(u16::from_le_bytes(zip[26..28].try_into().unwrap()));
    let extra = usize::from(u16::from_le_bytes(zip[28..30].try_into().unwrap()));
    zip[30 + name + extra..][..packed].to_vec()
}

fn refused(bytes: &[u8]) -> PackageError {
    Package::read("bomb.zip", bytes).unwrap_err()
}

#[test]
fn a_zip_by_hand_is_read() {
    let mut zip = Zip::default();
    zip.stored("manifest.json", MANIFEST, MANIFEST.len() as u32);
    zip.stored("a.bin", b"firmware", 8);
    zip.stored("a.dat", b"init", 4);
    let package = Package::read("good.zip", &zip.finish()).unwrap();
    assert_eq!((&package.images[0].firmware[..], &package.images[0].init[..]), (&b"firmware"[..], &b"init"[..]));
}

/// Many entries that are all the same few bytes of the file.
#[test]
fn entries_that_overlap_count_each() {
    let packed = zeros(1 << 20);
    let crc = crc32(&vec![0; 1 << 20], 0);
    let mut zip = Zip::default();
    zip.stored("manifest.json", MANIFEST, MANIFEST.len() as u32);
    let at = zip.local("a.bin", &packed, 8, crc, 1 << 20);
    for index in 0..20 {
        zip.entry(&format!("{index}.bin"), at, packed.len() as u32, 8, crc, 1 << 20);
    }
    let bytes = zip.finish();
    assert!(bytes.len() < 8000, "{}", bytes.len());
    let error = refused(&bytes);
    assert_eq!((error.fault, error.entry.as_deref()), (PackageFault::UnpackedSize, Some("15.bin")));
}

/// What an entry announces and what comes of it, in both directions.
#[test]
fn sizes_that_are_not_so() {
    for (announced, method) in [(100_u32, 8_u16), (2 << 20, 8), (3, 0), (5, 0)] {
        let (contents, packed) =
            if method == 8 { (vec![0; 1 << 20], zeros(1 << 20)) } else { (vec![7; 4], vec![7; 4]) };
        let crc = crc32(&contents, 0);
        let mut zip = Zip::default();
        zip.stored("manifest.json", MANIFEST, MANIFEST.len() as u32);
        let at = zip.local("a.bin", &packed, method, crc, announced);
        zip.entry("a.bin", at, packed.len() as u32, method, crc, announced);
        zip.stored("a.dat", b"init", 4);
        let fault = refused(&zip.finish()).fault;
        assert!(matches!(fault, PackageFault::SizeMismatch(_) | PackageFault::Damaged(_)), "{announced}: {fault:?}");
    }
}

/// 4 GiB announced, in one entry and in a sum that does not fit 32 bits.
#[test]
fn announced_sizes_do_not_wrap() {
    for count in [1, 2, 60] {
        let mut zip = Zip::default();
        zip.stored("manifest.json", MANIFEST, MANIFEST.len() as u32);
        (0..count).for_each(|index| zip.stored(&format!("{index}"), b"x", u32::MAX - 1));
        assert_eq!(refused(&zip.finish()).fault, PackageFault::UnpackedSize, "{count}");
    }
}

#[test]
fn a_manifest_has_its_limits() {
    let long = [MANIFEST, &vec![b' '; MANIFEST_MAX as usize]].concat();
    let mut zip = Zip::default();
    zip.stored("manifest.json", &long, long.len() as u32);
    assert_eq!(refused(&zip.finish()).fault, PackageFault::ManifestSize(long.len() as u64));
    // Nested as deep as it may be long.
    for text in ["[".repeat(MANIFEST_MAX as usize), "{\"manifest\":".repeat(5000)] {
        let mut zip = Zip::default();
        zip.stored("manifest.json", text.as_bytes(), text.len() as u32);
        assert!(matches!(refused(&zip.finish()).fault, PackageFault::Manifest(_)));
        assert!(Manifest::parse(text.as_bytes()).is_err());
    }
}

/// A directory of nothing but entries, as large as a file may be.
#[test]
fn a_directory_is_not_taken_for_its_length() {
    let entries = (FILE_MAX - 100) / 50;
    let mut zip = Zip::default();
    for index in 0..entries {
        zip.entry(&format!("{:04x}", index & 0xffff), 0, 0, 0, 0, 0);
    }
    // As many as the field holds.
    zip.entries = u16::MAX - 1;
    let bytes = zip.finish();
    assert!(bytes.len() <= FILE_MAX);
    let fault = refused(&bytes).fault;
    assert!(matches!(fault, PackageFault::EntryCount(count) if count > ENTRIES_MAX), "{fault:?}");
}

/// Ends of a directory wherever one looks, none of which is one.
#[test]
fn many_ends_are_none() {
    for end in [&b"PK\x05\x06"[..], b"PK\x05\x06\0\0\0\0\x01\0\x01\0\x2e\0\0\0\0\0\0\0\0\0", b"PK\x06\x07PK\x06\x06"] {
        let bytes = end.repeat(FILE_MAX / end.len());
        assert!(matches!(refused(&bytes).fault, PackageFault::NoZip(_)));
    }
}

/// The limits are what they say: one byte less is read.
#[test]
fn a_package_of_the_largest_size_is_read() {
    let rest = MANIFEST.len() + 4;
    for (more, refused) in [(0, false), (1, true)] {
        let firmware = vec![0x5a; UNPACKED_MAX as usize - rest + more];
        let mut zip = Zip::default();
        zip.stored("manifest.json", MANIFEST, MANIFEST.len() as u32);
        zip.stored("a.bin", &firmware, firmware.len() as u32);
        zip.stored("a.dat", b"init", 4);
        let read = Package::read("large.zip", &zip.finish());
        assert_eq!(read.is_err(), refused);
        assert!(read.is_ok() || read.unwrap_err().fault == PackageFault::UnpackedSize);
    }
}
