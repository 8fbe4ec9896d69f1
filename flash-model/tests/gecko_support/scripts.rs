//! The scripts, by build of the bootloader. Files are put together by hand here: most are wrong in a way that no builder
//! makes.

use aes::Aes128;
use brickproof_flash_model::image::gbl::TagKind;
use brickproof_flash_model::image::nordic::crc32;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};

/// First address of an application behind an AppLoader, behind a storage bootloader, and on Series 1.
const APPLOADER: u32 = 0x0801_2000;
const STORAGE: u32 = 0x0800_6000;
const SERIES_1: u32 = 0x4000;
const PRODUCT: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const MAGIC: [u8; 16] =
    [0x13, 0xb7, 0x79, 0xfa, 0xc9, 0x25, 0xdd, 0xb7, 0xad, 0xf3, 0xcf, 0xe0, 0xf1, 0xb6, 0x14, 0xb8];
/// What files are encrypted with.
pub(crate) const AES_KEY: [u8; 16] =
    [0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f];
/// A whole update.
const UPDATE: &str = "run\nconnect\nversions\nstart\nsend CHUNK\nfinish\ndisconnect\n";
/// An update of a device that has an application.
const UPDATE_OF_OLD: &str = "run 202 f00f\nconnect\nstart\nsend 244\nfinish\ndisconnect\n";

/// A script: its build and name, and its lines.
pub(crate) type Script = (String, String);

/// The key of the vendor, of the certificate, or of someone else.
#[derive(Clone, Copy)]
enum Key {
    Vendor = 1,
    Certified,
    Other,
}

impl Key {
    fn signing(self) -> SigningKey {
        SigningKey::from_slice(&[self as u8; 32]).unwrap()
    }

    fn public(self) -> [u8; 64] {
        self.signing().verifying_key().to_sec1_point(false).as_bytes()[1..].try_into().unwrap()
    }

    fn sign(self, bytes: &[u8]) -> Vec<u8> {
        let signature: Signature = self.signing().sign(bytes);
        signature.to_bytes().to_vec()
    }
}

/// What signatures are checked with.
pub(crate) fn public_key() -> [u8; 64] {
    Key::Vendor.public()
}

fn put(data: &mut [u8], at: usize, words: &[u32]) {
    for (n, word) in words.iter().enumerate() {
        data[at + 4 * n..at + 4 * n + 4].copy_from_slice(&word.to_le_bytes());
    }
}

/// Firmware that can be compressed, with properties; the same bytes as in `compressed.py`.
fn firmware(size: usize, base: u32, version: u32, seed: u32) -> Vec<u8> {
    let mut data = bare_firmware(size, base, seed);
    put(&mut data, 52, &[base + 0x100]);
    data[0x100..0x110].copy_from_slice(&MAGIC);
    put(&mut data, 0x110, &[1, 0, 0, 0x20, version, 0]);
    data[0x128..0x138].copy_from_slice(&PRODUCT);
    put(&mut data, 0x138, &[0]);
    data
}

fn bare_firmware(size: usize, base: u32, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut data: Vec<u8> = (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        })
        .collect();
    for at in (0..size.saturating_sub(64)).step_by(96) {
        data.copy_within(64..112, at);
    }
    put(&mut data, 0, &[0x2000_1000, base + 0x181]);
    data
}

/// Firmware with a signature behind it: by a key, or of another type.
fn signed_firmware(version: u32, kind: u32, key: Key, certificate: Option<&[u8]>) -> Vec<u8> {
    let mut data = firmware(0x300, APPLOADER, version, 1);
    put(&mut data, 0x114, &[kind, APPLOADER + 0x300]);
    if let Some(certificate) = certificate {
        put(&mut data, 0x110, &[0x101]);
        put(&mut data, 0x138, &[APPLOADER + 0x180]);
        data[0x180..0x180 + 136].copy_from_slice(certificate);
    }
    let signature = if kind == 2 { crc32(&data, 0).to_le_bytes().to_vec() } else { key.sign(&data) };
    data.extend(signature);
    data
}

/// A bootloader, with its size in its properties and a CRC behind it.
pub(crate) fn bootloader(size: usize, base: u32, version: u32) -> Vec<u8> {
    let mut data = firmware(size, base, version, 9);
    put(&mut data, 0x118, &[size as u32, 0x40]);
    let crc = crc32(&data, 0);
    data.extend(crc.to_le_bytes());
    data
}

fn certificate(key: Key, version: u32, by: Key) -> Vec<u8> {
    let mut data = vec![1, 0, 0, 0];
    data.extend(key.public());
    data.extend(version.to_le_bytes());
    let signature = by.sign(&data);
    data.extend(signature);
    data
}

fn raw_tag(id: u32, payload: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes(), &(payload.len() as u32).to_le_bytes(), payload].concat()
}

fn tag(kind: TagKind, payload: &[u8]) -> Vec<u8> {
    raw_tag(kind.id(), payload)
}

fn header(kind: u32) -> Vec<u8> {
    tag(TagKind::Header, &[0x0300_0000u32.to_le_bytes(), kind.to_le_bytes()].concat())
}

fn info(version: u32) -> Vec<u8> {
    tag(
        TagKind::Application,
        &[0x20u32, version, 0].map(u32::to_le_bytes).concat().into_iter().chain(PRODUCT).collect::<Vec<_>>(),
    )
}

fn at(address: u32, data: &[u8]) -> Vec<u8> {
    [&address.to_le_bytes(), data].concat()
}

fn program(address: u32, data: &[u8]) -> Vec<u8> {
    tag(TagKind::EraseProgram, &at(address, data))
}

fn end(tags: &[&[u8]]) -> Vec<u8> {
    let mut file = tags.concat();
    file.extend(TagKind::End.id().to_le_bytes());
    file.extend(4u32.to_le_bytes());
    let crc = crc32(&file, 0);
    file.extend(crc.to_le_bytes());
    file
}

fn signed_by(key: Key, tags: &[&[u8]]) -> Vec<u8> {
    let file = tags.concat();
    let signature = tag(TagKind::Signature, &key.sign(&file));
    end(&[&file, &signature])
}

fn encrypted(parts: &[Vec<u8>], key: [u8; 16]) -> Vec<u8> {
    let nonce: [u8; 12] = std::array::from_fn(|n| 0xa0 + n as u8);
    let mut block = [0; 16];
    block[0] = 2;
    block[1..13].copy_from_slice(&nonce);
    block[15] = 1;
    let mut stream = Ctr128BE::<Aes128>::new(&key.into(), &block.into());
    let len = parts.iter().map(Vec::len).sum::<usize>() as u32;
    let mut tags = tag(TagKind::EncryptionInit, &[len.to_le_bytes().as_slice(), &nonce].concat());
    for part in parts {
        let mut part = part.clone();
        stream.apply_keystream(&mut part);
        tags.extend(tag(TagKind::EncryptionData, &part));
    }
    tags
}

fn statement(image: u8, statement: u8, version: u32) -> Vec<u8> {
    [&[image, statement, 0, 0], version.to_le_bytes().as_slice()].concat()
}

fn new_bootloader(version: u32, base: u32, image: &[u8]) -> Vec<u8> {
    tag(TagKind::Bootloader, &[&version.to_le_bytes(), &base.to_le_bytes(), image].concat())
}

fn secure_engine(version: u32) -> Vec<u8> {
    tag(TagKind::SeUpgrade, &[&100u32.to_le_bytes(), &version.to_le_bytes(), [0; 100].as_slice()].concat())
}

macro_rules! compressed {
    ($name:literal) => {
        include_bytes!(concat!("../golden/gecko/compressed/", $name)).as_slice()
    };
}

fn lzma(address: u32, data: &[u8]) -> Vec<u8> {
    tag(TagKind::ProgramLzma, &at(address, data))
}

fn lz4(address: u32, data: &[u8]) -> Vec<u8> {
    tag(TagKind::ProgramLz4, &at(address, data))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn in_flash(address: u32, bytes: &[u8]) -> String {
    format!("flash {address:x} {}\n", hex(bytes))
}

/// The keys of a device.
fn keys(lock_bits: u32, offset: u32) -> String {
    in_flash(lock_bits + 0x286, &AES_KEY) + &in_flash(lock_bits + offset, &public_key())
}

fn with_bit(data: &[u8], at: usize) -> Vec<u8> {
    let mut data = data.to_vec();
    let at = at % data.len();
    data[at] ^= 0x40;
    data
}

/// Every script.
pub(crate) fn scripts() -> Vec<Script> {
    let mut all = apploader();
    all.extend(policies());
    all.extend(certificates());
    all.extend(versions());
    all.extend(rollback());
    for build in ["storage", "storage-overlap"] {
        all.extend(storage(build));
    }
    all.extend(series_1());
    all
}

fn small() -> Vec<u8> {
    firmware(0x300, APPLOADER, 2, 1)
}

/// A file with this in place of a program, in the clear.
fn file(tags: &[&[u8]]) -> Vec<u8> {
    end(&[&[header(0).as_slice(), &info(2)].concat(), &tags.concat()])
}

/// Files for an AppLoader, by name.
fn files() -> Vec<(String, Vec<u8>)> {
    let small = small();
    let big = firmware(12_000, APPLOADER, 2, 3);
    let p = |data: &[u8]| program(APPLOADER, data);
    let plain = file(&[&p(&small)]);
    let secret = |parts: &[Vec<u8>], key| end(&[&header(1), &encrypted(parts, key)]);
    let app = p(&small);
    let mut bad_crc = plain.clone();
    let last = bad_crc.len() - 1;
    bad_crc[last] ^= 1;
    let with_header = |payload: &[u8]| end(&[&tag(TagKind::Header, payload), &info(2), &app]);
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let with_info = |payload: &[u8]| end(&[&header(0), &tag(TagKind::Application, payload), &app]);
    let lzma_at = |data: &[u8]| file(&[&lzma(APPLOADER, data)]);
    let lz4_at = |data: &[u8]| file(&[&lz4(APPLOADER, data)]);
    let image = bootloader(0x1000, 0x0800_0000, 0x0206_0000);
    let newer = |image: &[u8]| new_bootloader(0x0206_0000, 0x0800_0000, image);
    let depends = |statements: &[Vec<u8>]| {
        end(&[&header(0), &tag(TagKind::VersionDependency, &statements.concat()), &info(2), &app])
    };
    let mut all: Vec<(String, Vec<u8>)> = [
        ("plain", plain.clone()),
        ("big", file(&[&p(&big)])),
        ("odd", file(&[&p(&small[..0x2fd])])),
        ("two-regions", file(&[&app, &program(APPLOADER + 0x4000, b"hello wo")])),
        ("region-first", file(&[&program(APPLOADER + 0x4004, b"hello world!"), &app])),
        ("unaligned", file(&[&app, &program(APPLOADER + 0x4002, b"hello world!")])),
        ("below", file(&[&program(0x0800_0000, &small)])),
        ("over-the-end", file(&[&program(0x0804_ff00, &small)])),
        ("at-zero", file(&[&program(0, &small)])),
        ("signed", signed_by(Key::Vendor, &[&header(0x100), &info(2), &app])),
        ("bad-signature", signed_by(Key::Other, &[&header(0x100), &info(2), &app])),
        ("no-signature", end(&[&header(0x100), &info(2), &app])),
        ("bad-crc", bad_crc),
        ("encrypted", secret(&[info(2), app.clone()], AES_KEY)),
        ("encrypted-one", secret(&[[info(2), app.clone()].concat()], AES_KEY)),
        ("encrypted-split", secret(&[[info(2), app[..100].to_vec()].concat(), app[100..].to_vec()], AES_KEY)),
        ("encrypted-empty", secret(&[[info(2), p(&[])].concat(), app.clone()], AES_KEY)),
        ("encrypted-header", secret(&[[info(2), app[..8].to_vec()].concat(), app[8..].to_vec()], AES_KEY)),
        ("encrypted-other-key", secret(&[info(2), app.clone()], [0; 16])),
        ("encrypted-in-the-clear", end(&[&header(1), &info(2), &app])),
        ("clear-but-encrypted", end(&[&header(0), &encrypted(&[info(2), app.clone()], AES_KEY)])),
        ("encrypted-signed", {
            signed_by(Key::Vendor, &[&header(0x101), &encrypted(&[info(2), app.clone()], AES_KEY)])
        }),
        ("lzma", lzma_at(compressed!("big.lzma"))),
        ("lzma-small", lzma_at(compressed!("small.lzma"))),
        ("lzma-page", lzma_at(compressed!("page.lzma"))),
        ("lzma-odd", lzma_at(compressed!("odd.lzma"))),
        ("lzma-zeros", lzma_at(compressed!("zeros.lzma"))),
        ("lzma-lc3", lzma_at(compressed!("lc3.lzma"))),
        ("lzma-dictionary", lzma_at(compressed!("dictionary.lzma"))),
        ("lzma-dictionary-4k", lzma_at(compressed!("dictionary-4k.lzma"))),
        ("lzma-lp2", lzma_at(compressed!("lp2.lzma"))),
        ("lzma-tail", lzma_at(&[compressed!("small.lzma"), &[0; 100]].concat())),
        ("lzma-long-tail", lzma_at(&[compressed!("small.lzma"), &[0; 2000]].concat())),
        ("lzma-short", lzma_at(&compressed!("small.lzma")[..9])),
        ("lzma-two", {
            let both =
                [lzma(APPLOADER, compressed!("small.lzma")), lzma(APPLOADER + 0x2000, compressed!("small.lzma"))];
            file(&[&both[0], &both[1]])
        }),
        ("lz4", lz4_at(compressed!("big.lz4"))),
        ("lz4-small", lz4_at(compressed!("small.lz4"))),
        ("lz4-odd", lz4_at(compressed!("odd.lz4"))),
        ("lz4-zeros", lz4_at(compressed!("zeros.lz4"))),
        ("lz4-cut", lz4_at(&compressed!("big.lz4")[..1000])),
        ("lz4-back", lz4_at(b"\x44abcd\x10\x00\x8012345678")),
        ("lz4-back-far", file(&[&lz4(0x0804_f000, b"\x44abcd\x10\xf0\x8012345678")])),
        ("lz4-no-offset", lz4_at(b"\x44abcd\x00\x00")),
        ("metadata", { file(&[&tag(TagKind::Metadata, b"some thing"), &app, &tag(TagKind::Metadata, b"x")]) }),
        ("no-info", end(&[&header(0), &app])),
        ("order", end(&[&header(0), &app, &info(2)])),
        ("twice", end(&[&header(0), &info(2), &info(2), &app])),
        ("unknown", file(&[&raw_tag(0xf80a_0af8, &[0; 40]), &app])),
        ("version-4", [raw_tag(0x84a6_17eb, &[0; 100])].concat()),
        ("version-2", with_header(&words(&[0x0200_0000, 0]))),
        ("two-headers", end(&[&header(0), &header(0), &info(2), &app])),
        ("three-headers", end(&[&header(0), &header(0), &header(0), &info(2), &app])),
        ("other-format", vec![0; 104]),
        ("long-header", with_header(&words(&[0x0300_0000, 0, 0]))),
        ("long-info", with_info(&[words(&[0x20, 2, 0]), vec![0; 48]].concat())),
        ("very-long-info", with_info(&[words(&[0x20, 2, 0]), vec![0; 148]].concat())),
        ("short-info", with_info(&words(&[0x20, 2]))),
        ("empty-info", with_info(&[])),
        ("empty-program", file(&[&p(&[]), &app])),
        ("tiny-program", file(&[&tag(TagKind::EraseProgram, b"ab"), &app])),
        ("long-signature", end(&[&header(0x100), &info(2), &app, &tag(TagKind::Signature, &[0; 80])])),
        ("certificate", file(&[&app, &tag(TagKind::Certificate, &[0; 136])])),
        ("depends-or", depends(&[statement(2, 4, 1), statement(2, 0x24, 0x0205_0000)])),
        ("depends-not", depends(&[statement(2, 4, 1), statement(2, 0x10, 1)])),
        ("depends-odd", depends(&[statement(2, 4, 0x0205_0000), vec![1]])),
        ("bootloader", end(&[&header(0), &newer(&image)])),
        ("bootloader-and-application", file(&[&newer(&image), &app])),
        ("old-bootloader", {
            let old = bootloader(0x1000, 0x0800_0000, 0x0204_0000);
            end(&[&header(0), &new_bootloader(0x0204_0000, 0x0800_0000, &old)])
        }),
        ("bootloader-elsewhere", end(&[&header(0), &new_bootloader(0x0206_0000, 0, &image)])),
        ("bootloader-bad-crc", end(&[&header(0), &newer(&with_bit(&image, 0xfff))])),
        ("tiny-bootloader", end(&[&header(0), &newer(b"0123456789")])),
        ("secure-engine", end(&[&header(0), &secure_engine(0x0102_0305), &info(2), &app])),
        ("info-before-secure-engine", file(&[&secure_engine(0x0102_0305), &app])),
        ("old-secure-engine", file(&[&secure_engine(0x0102_0303), &app])),
        ("secure-engine-and-bootloader", {
            end(&[&header(0), &secure_engine(0x0102_0303), &newer(&image[..0x800]), &app])
        }),
        ("over-upgrade", {
            let bytes: Vec<u8> = (0..=255).collect();
            file(&[&app, &program(0x0801_8000, &bytes)])
        }),
        ("nothing", end(&[&header(0)])),
        ("truncated", plain[..500].to_vec()),
        ("crc32", file(&[&p(&signed_firmware(2, 2, Key::Vendor, None))])),
        ("bad-crc32", file(&[&p(&with_bit(&signed_firmware(2, 2, Key::Vendor, None), 0x301))])),
        ("signature-kind-7", file(&[&p(&signed_firmware(2, 7, Key::Vendor, None))])),
        ("signed-application", file(&[&p(&signed_firmware(2, 1, Key::Vendor, None))])),
        ("application-of-another", file(&[&p(&signed_firmware(2, 1, Key::Other, None))])),
        ("no-properties", file(&[&p(&bare_firmware(0x300, APPLOADER, 1))])),
        ("stack-pointer", file(&[&p(&[&0x3000_0000u32.to_le_bytes(), &small[4..]].concat())])),
        ("program-counter", file(&[&p(&[&small[..4], &0x0700_0000u32.to_le_bytes(), &small[8..]].concat())])),
        ("properties-2", file(&[&p(&[&small[..0x110], &2u32.to_le_bytes(), &small[0x114..]].concat())])),
    ]
    .into_iter()
    .map(|(name, file)| (name.to_owned(), file))
    .collect();
    for at in [20, 60, 100, 300, 700, 2000, 5000] {
        all.push((format!("lzma-bit-{at}"), lzma_at(&with_bit(compressed!("big.lzma"), at))));
        all.push((format!("lzma-cut-{at}"), lzma_at(&compressed!("big.lzma")[..at])));
    }
    let statements = [
        (1, 2, 2),
        (1, 4, 2),
        (1, 0, 3),
        (1, 8, 1),
        (1, 6, 9),
        (2, 4, 0x0205_0000),
        (2, 5, 0x0205_0000),
        (3, 4, 0x02_0304),
        (4, 4, 0),
        (1, 0xa, 0),
        (1, 0x44, 0),
    ];
    for (n, (image, what, version)) in statements.into_iter().enumerate() {
        all.push((format!("depends-{n}"), depends(&[statement(image, what, version)])));
    }
    all
}

fn named(name: &str) -> Vec<u8> {
    files().into_iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name}")).1
}

fn update(before: &str, file: &[u8], chunk: usize) -> String {
    format!("{before}file {}\n{}", hex(file), UPDATE.replace("CHUNK", &chunk.to_string()))
}

fn apploader() -> Vec<Script> {
    let keys = keys(0x0804_e000, 0x34c);
    let mut all = Vec::new();
    let mut add = |name: String, lines: String| all.push((format!("apploader/{name}"), format!("{keys}{lines}")));
    for (name, file) in files() {
        let chunks: &[usize] = if file.len() > 3000 { &[244] } else { &[244, 20, 64, 7, 3000] };
        for chunk in chunks {
            add(format!("{name}.{chunk}"), update("", &file, *chunk));
        }
    }
    add("plain.1".into(), update("", &named("plain"), 1));
    add("encrypted.1".into(), update("", &named("encrypted"), 1));
    let plain = format!("file {}\n", hex(&named("plain")));
    add("old".into(), in_flash(APPLOADER, &firmware(0x300, APPLOADER, 1, 42)) + "run\n");
    for (cut, tear) in (0..9).flat_map(|cut| [(cut, 0), (cut, 1)]) {
        let again = "run\nconnect\nstart\nsend 244\nfinish\ndisconnect\n";
        add(format!("cut-{cut}.{tear}"), format!("{plain}cut {cut} {tear}\n{again}{again}"));
    }
    let whole = "run\nconnect\nstart\nsend 244\nfinish\n";
    add("again".into(), format!("{plain}{whole}start\nsend 244 1\nfinish\ndisconnect\n"));
    let bad = format!("file {}\n", hex(&named("lzma-bit-300")));
    add("again-behind-bad-lzma".into(), format!("{bad}{whole}start\nsend 244\nfinish\ndisconnect\n"));
    let rest = "connect\nstart\nsend 100\nfinish\ndisconnect\n";
    add("half".into(), format!("{plain}run\nconnect\nstart\nsend 244 2\nfinish\ndisconnect\n{rest}"));
    let padded = [named("plain"), vec![0xff; 3]].concat();
    add("padding".into(), update("", &padded, 244));
    add("padding-by-itself".into(), update("", &padded, padded.len() - 3));
    add("probe".into(), "run\nconnect\ndisconnect\nconnect\ndisconnect\n".into());
    add("only-finish".into(), "run\nconnect\nfinish\ndisconnect\n".into());
    all
}

/// What must be signed or encrypted, or cannot be.
fn policies() -> Vec<Script> {
    let keys = keys(0x0804_e000, 0x34c);
    let p = |data: &[u8]| signed_by(Key::Vendor, &[&header(0x100), &info(2), &program(APPLOADER, data)]);
    let mut all = Vec::new();
    let mut add = |build: &str, name: &str, file: &[u8], chunk: usize| {
        all.push((format!("{build}/{name}.{chunk}"), update(&keys, file, chunk)));
    };
    for name in [
        "plain",
        "signed",
        "encrypted",
        "clear-but-encrypted",
        "lzma-small",
        "lz4-small",
        "depends-0",
        "odd",
        "encrypted-signed",
    ] {
        add("plain", name, &named(name), 244);
    }
    for name in
        ["plain", "signed", "encrypted", "encrypted-signed", "bad-signature", "no-signature", "encrypted-in-the-clear"]
    {
        add("strict", name, &named(name), 244);
    }
    let signed = [
        ("secure-boot", p(&signed_firmware(2, 1, Key::Vendor, None))),
        ("secure-boot-of-another", p(&signed_firmware(2, 1, Key::Other, None))),
        ("secure-boot-unsigned", p(&small())),
        ("secure-boot-no-properties", p(&bare_firmware(0x300, APPLOADER, 1))),
    ];
    for chunk in [244, 20] {
        for name in ["plain", "signed", "bad-signature", "no-signature", "encrypted-signed"] {
            add("signed", name, &named(name), chunk);
        }
        for (name, file) in &signed {
            add("signed", name, file, chunk);
        }
    }
    all
}

/// The bootloader has a certificate of version 5.
fn certificates() -> Vec<Script> {
    use Key::{Certified, Other, Vendor};
    let own = keys(0x0804_e000, 0x34c) + &in_flash(0x0800_0200, &certificate(Vendor, 5, Vendor));
    let certified = |version| certificate(Certified, version, Vendor);
    let direct = signed_firmware(2, 1, Vendor, None);
    let app = |version| signed_firmware(2, 1, Certified, Some(&certified(version)));
    let made = |by: Key, firmware: &[u8], certificate: Option<&[u8]>| {
        let certificate = certificate.map_or(Vec::new(), |payload| tag(TagKind::Certificate, payload));
        signed_by(by, &[&header(0x100), &info(2), &program(APPLOADER, firmware), &certificate])
    };
    let all = [
        ("direct", made(Vendor, &direct, None)),
        ("certified", made(Certified, &app(6), Some(&certified(6)))),
        ("application-direct", made(Certified, &direct, Some(&certified(6)))),
        ("old", made(Certified, &direct, Some(&certified(4)))),
        ("application-old", made(Certified, &app(4), Some(&certified(5)))),
        ("forged", made(Certified, &direct, Some(&certificate(Certified, 6, Other)))),
        ("signed-by-another", made(Vendor, &direct, Some(&certified(6)))),
        ("no-signature", {
            end(&[&header(0x100), &info(2), &program(APPLOADER, &direct), &tag(TagKind::Certificate, &certified(6))])
        }),
        ("long", made(Certified, &direct, Some(&[certified(6), vec![0; 4]].concat()))),
    ];
    all.iter()
        .flat_map(|(name, file)| {
            [244, 20].map(|chunk| (format!("certificates/{name}.{chunk}"), update(&own, file, chunk)))
        })
        .collect()
}

/// Only higher versions of the same product are taken.
fn versions() -> Vec<Script> {
    let keys = keys(0x0804_e000, 0x34c);
    let file = format!("file {}\n", hex(&named("plain")));
    let old = |version, product: [u8; 16]| {
        let mut data = firmware(0x300, APPLOADER, version, 42);
        data[0x128..0x138].copy_from_slice(&product);
        in_flash(APPLOADER, &data)
    };
    let all = [
        ("from-1", old(1, PRODUCT)),
        ("from-2", old(2, PRODUCT)),
        ("from-3", old(3, PRODUCT)),
        ("other-product", old(1, [0; 16])),
        ("nothing", String::new()),
        ("no-properties", in_flash(APPLOADER, &bare_firmware(0x300, APPLOADER, 1))),
    ];
    all.map(|(name, before)| (format!("versions/{name}"), format!("{keys}{before}{file}{UPDATE_OF_OLD}"))).into()
}

/// Versions that were started are remembered at the end of the bootloader.
fn rollback() -> Vec<Script> {
    let keys = keys(0x0804_e000, 0x34c);
    let word = |index: u32, word: u32| in_flash(APPLOADER - 4 * (index + 1), &word.to_le_bytes());
    let seen = |versions: &[u32]| (0..).zip(versions).map(|(index, version)| word(index, *version)).collect::<String>();
    let cases = [
        ("nothing", String::new()),
        ("1", seen(&[1])),
        ("1-2", seen(&[1, 2])),
        ("1-2-3", seen(&[1, 2, 3])),
        ("full", seen(&[1; 6])),
        ("full-2", seen(&[1, 1, 1, 1, 1, 2])),
        ("highest", word(6, 0x1234_dcba)),
        ("forget", seen(&[1, 2, 3]) + &word(7, 0x5839_fbac)),
        ("junk", word(6, 0x0403_0201)),
    ];
    let file = |version| {
        end(&[&header(0), &info(version), &program(APPLOADER, &signed_firmware(version, 1, Key::Vendor, None))])
    };
    let mut all = Vec::new();
    for (name, before) in cases {
        for version in 1..=3 {
            let lines = update(&format!("{keys}{before}"), &file(version), 244) + "run\n";
            all.push((format!("rollback/{name}.{version}"), lines));
        }
    }
    all
}

fn storage(build: &str) -> Vec<Script> {
    const SLOT: u32 = 0x0803_0000;
    let keys = keys(0x0804_e000, 0x34c);
    let small = firmware(0x300, STORAGE, 2, 1);
    let app = program(STORAGE, &small);
    let mut bad_crc = file(&[&app]);
    let last = bad_crc.len() - 1;
    bad_crc[last] ^= 1;
    let image = bootloader(0x1000, 0x0800_0000, 0x0206_0000);
    let newer = |image: &[u8]| new_bootloader(0x0206_0000, 0x0800_0000, image);
    let same = bootloader(0x800, 0x0800_0000, 0x0205_0000);
    let old = bootloader(0x1000, 0x0800_0000, 0x0204_0000);
    let higher = tag(TagKind::VersionDependency, &statement(2, 8, 0x0205_0000));
    let same = new_bootloader(0x0205_0000, 0x0800_0000, &same);
    let files = [
        ("plain", file(&[&app])),
        ("big", file(&[&program(STORAGE, &firmware(12_000, STORAGE, 2, 3))])),
        ("signed", signed_by(Key::Vendor, &[&header(0x100), &info(2), &app])),
        ("encrypted", end(&[&header(1), &encrypted(&[info(2), app.clone()], AES_KEY)])),
        ("bad-crc", bad_crc),
        ("lzma", file(&[&lzma(STORAGE, compressed!("storage.lzma"))])),
        ("lzma-bit", file(&[&lzma(STORAGE, &with_bit(compressed!("storage.lzma"), 3000))])),
        ("lz4", file(&[&lz4(STORAGE, compressed!("storage.lz4"))])),
        ("lz4-cut", file(&[&lz4(STORAGE, &compressed!("storage.lz4")[..1000])])),
        ("lz4-no-offset", file(&[&lz4(STORAGE, b"\x44abcd\x00\x00")])),
        ("no-info", end(&[&header(0), &app])),
        ("depends", end(&[&header(0), &higher, &info(2), &app])),
        ("depends-behind-bootloader", end(&[&header(0), &higher, &info(2), &same, &app])),
        ("bootloader", end(&[&header(0), &newer(&image)])),
        ("bootloader-and-application", file(&[&newer(&image), &app])),
        ("old-bootloader", file(&[&new_bootloader(0x0204_0000, 0x0800_0000, &old), &app])),
        ("bootloader-bad-crc", file(&[&newer(&with_bit(&image, 0xfff)), &app])),
        ("secure-engine", file(&[&secure_engine(0x0102_0305), &app])),
        ("old-secure-engine", file(&[&secure_engine(0x0102_0303), &app])),
        ("truncated", file(&[&app])[..500].to_vec()),
        ("empty", vec![0xff; 8]),
        ("version-4", named("version-4")),
        ("elsewhere", file(&[&program(0, &small)])),
        ("into-the-slot", file(&[&app, &program(SLOT, &[0; 64])])),
    ];
    let mut all = Vec::new();
    let mut add = |name: &str, lines: String| all.push((format!("{build}/{name}"), format!("{keys}{lines}")));
    let before = in_flash(STORAGE, &firmware(0x300, STORAGE, 1, 42));
    for (name, file) in &files {
        let slot = in_flash(SLOT, file);
        add(&format!("{name}.asked"), format!("{before}{slot}run 202 f00f\n"));
        add(&format!("{name}.power"), format!("{before}{slot}run\n"));
        add(&format!("{name}.no-application"), format!("{slot}run\n"));
    }
    add("nothing", "run\n".into());
    add("nothing-but-application", format!("{before}run 202 f00f\n"));
    let slot = in_flash(SLOT, &files[0].1);
    for (cut, tear) in (0..18).flat_map(|cut| [(cut, 0), (cut, 1)]) {
        add(&format!("cut-{cut}.{tear}"), format!("{before}{slot}cut {cut} {tear}\nrun 202 f00f\nrun\n"));
    }
    all
}

fn series_1() -> Vec<Script> {
    const SLOT: u32 = 0x1_0000;
    let keys = keys(0x0fe0_4000, 0x34a);
    let app = program(SERIES_1, &firmware(0x900, SERIES_1, 2, 1));
    let newer = new_bootloader(0x0206_0000, 0x800, &bootloader(0x1000, 0x800, 0x0206_0000));
    let files = [
        ("plain", file(&[&app])),
        ("half-words", file(&[&app, &program(0x8002, b"hello worl")])),
        ("signed", signed_by(Key::Vendor, &[&header(0x100), &info(2), &app])),
        ("encrypted", end(&[&header(1), &encrypted(&[info(2), app.clone()], AES_KEY)])),
        ("bootloader", end(&[&header(0), &newer])),
        ("bootloader-and-application", file(&[&newer, &app])),
        ("secure-engine", file(&[&secure_engine(0x0102_0305), &app])),
        ("certificate", file(&[&app, &tag(TagKind::Certificate, &[0; 136])])),
        (
            "depends",
            end(&[&header(0), &tag(TagKind::VersionDependency, &statement(2, 4, 0x0205_0000)), &info(2), &app]),
        ),
        ("lz4", file(&[&lz4(SERIES_1, compressed!("series-1.lz4"))])),
    ];
    let before = in_flash(SERIES_1, &firmware(0x300, SERIES_1, 1, 42));
    let mut all = Vec::new();
    for (name, file) in &files {
        let slot = in_flash(SLOT, file);
        all.push((format!("series-1/{name}.asked"), format!("{keys}{before}{slot}run 202 f00f\n")));
        all.push((format!("series-1/{name}.no-application"), format!("{keys}{slot}run\n")));
    }
    all
}
