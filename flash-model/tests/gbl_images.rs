//! GBL files: against files of pygbl, and ours for pygbl.

use std::path::{Path, PathBuf};

use brickproof_flash_model::image::gbl::device::DeviceCertificate;
use brickproof_flash_model::image::gbl::{
    ApplicationData, Certificate, Comparison, Compression, CompressionFault, Connective, Content, Dependency, Device,
    EncryptionKey, FirmwareBuilder, Gbl, GblBuilder, GblFault, ImageType, Pieces, Report, TagKind, Trust, dependency,
    public_key_token_file, read_public_key, verify,
};
use brickproof_flash_model::image::mcuboot::{PublicKey, SigningKey};
use serde_json::{Value, json};

fn read(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gbl").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(name: &str) -> String {
    String::from_utf8(read(name)).unwrap()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const BASE: u32 = 0x6000;
const NONCE: [u8; 12] = [0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab];

fn info() -> ApplicationData {
    let product_id = std::array::from_fn(|index| index as u8);
    ApplicationData { kind: 0x20, version: 2, capabilities: 0x55, product_id }
}

fn secret() -> EncryptionKey {
    EncryptionKey::read("aes.txt", &text("aes.txt")).unwrap()
}

fn signer() -> SigningKey {
    SigningKey::from_pem(&text("sign.pem")).unwrap()
}

fn root() -> PublicKey {
    read_public_key("root-public.pem", &text("root-public.pem")).unwrap()
}

/// Knows the keys of the files.
fn device() -> Device {
    Device {
        trust: Trust::from(signer().public().clone()),
        decryption: Some(secret()),
        application_area: Some(BASE..0x8_0000),
        ..Device::default()
    }
}

fn plain() -> GblBuilder {
    GblBuilder::new().application(&info()).program(BASE, &read("code.bin"))
}

#[test]
fn keys_are_read_from_the_files_of_the_tools() {
    assert_eq!(to_hex(secret().bytes()), "101112131415161718191a1b1c1d1e1f");
    let public = read_public_key("sign-public.txt", &text("sign-public.txt")).unwrap();
    assert_eq!(&public, signer().public());
    assert_eq!(public_key_token_file(&public).unwrap(), text("sign-public.txt"));
}

#[test]
fn the_same_tags_give_the_files_of_pygbl() {
    let encrypted = plain().encrypt(&secret(), NONCE);
    for (name, builder) in [("plain", plain()), ("encrypted", encrypted)] {
        let file = read(&format!("{name}.gbl"));
        assert_eq!(builder.unsigned().unwrap(), file, "{name}");
        assert_eq!(verify(&file, &device()), Report::default(), "{name}");
    }
    // Signatures are drawn at random there; all else is the same.
    let root = SigningKey::from_seed(b"golden root").unwrap();
    assert_eq!(root.public(), &self::root());
    let certificate = Certificate::new(signer().public(), 3, &root).unwrap();
    for (name, builder) in [
        ("signed", plain()),
        ("encrypted-signed", plain().encrypt(&secret(), NONCE)),
        ("certificate", plain().certificate(certificate)),
    ] {
        let (theirs, ours) = (read(&format!("{name}.gbl")), builder.sign(&signer()).unwrap());
        let (theirs, ours) = (Gbl::read(&theirs).unwrap(), Gbl::read(&ours).unwrap());
        assert_eq!(theirs.verify(signer().public()), Some(true), "{name}");
        assert_eq!(theirs.verify(&self::root()), Some(false), "{name}");
        assert_eq!(theirs.tags(), ours.tags(), "{name}");
        let end =
            ours.tag(TagKind::Certificate).map_or(ours.signature().unwrap().0.len(), |tag| tag.payload.start + 72);
        assert_eq!(theirs.bytes()[..end], ours.bytes()[..end], "{name}");
    }
}

#[test]
fn signed_files_are_good_and_certificates_hold() {
    for name in ["signed.gbl", "encrypted-signed.gbl"] {
        assert_eq!(verify(&read(name), &Device { require_signature: true, ..device() }), Report::default(), "{name}");
    }
    let file = read("certificate.gbl");
    let gbl = Gbl::read(&file).unwrap();
    assert_eq!(gbl.verify_chain(&root()), Some(true));
    assert_eq!(gbl.verify_chain(signer().public()), Some(false));
    let device = Device { certificate: Some(DeviceCertificate { key: root(), version: 3 }), ..device() };
    assert_eq!(verify(&file, &device), Report::default());
}

#[test]
fn compressed_files_have_the_same_program_inside() {
    for name in ["plain.gbl", "lzma.gbl", "lz4.gbl", "lzma-encrypted.gbl"] {
        let file = read(name);
        let gbl = Gbl::read(&file).unwrap();
        let key = secret();
        assert_eq!(gbl.programs(Some(&key), 509).unwrap(), [(BASE, read("code.bin"))], "{name}");
        let bomb = GblFault::Compressed(CompressionFault::TooLarge { limit: 508 });
        assert_eq!(gbl.programs(Some(&key), 508).unwrap_err().fault, bomb, "{name}");
        assert_eq!(gbl.programs(None, 509).is_err(), gbl.is_encrypted(), "{name}");
        assert_eq!(verify(&file, &device()), Report::default(), "{name}");
    }
}

#[test]
fn a_file_with_everything() {
    let file = read("everything.gbl");
    let gbl = Gbl::read(&file).unwrap();
    let names: Vec<_> = gbl.tags().iter().map(|tag| tag.name().to_string()).collect();
    assert_eq!(
        names,
        [
            "header",
            "version-dependency",
            "application-info",
            "se-upgrade",
            "bootloader",
            "metadata",
            "program",
            "erase-program",
            "end"
        ]
    );
    let words = dependency::words(&gbl.dependencies());
    assert_eq!(words, ["application >= 1", "bootloader of any version", "secure engine >= 1.2.3"]);
    let content = |kind| gbl.content(gbl.tag(kind).unwrap()).unwrap();
    assert_eq!(content(TagKind::Application), Content::Application(info()));
    assert_eq!(content(TagKind::Metadata), Content::Metadata(b"golden"));
    assert!(matches!(
        content(TagKind::Bootloader),
        Content::Bootloader { version: 0x0204_0001, address: 0x0800_0000, image } if image.len() == 204
    ));
    assert!(matches!(
        content(TagKind::SeUpgrade),
        Content::SeUpgrade { size: 40, version: 0x0001_0204, blob } if blob.len() == 40
    ));
    assert_eq!(verify(&file, &device()), Report::default());
}

#[test]
fn patches_are_recognised_where_they_are_known() {
    let file = read("delta.gbl");
    let gbl = Gbl::read(&file).unwrap();
    let deltas: Vec<_> = gbl.tags().iter().filter(|tag| tag.kind.is_some_and(TagKind::is_program)).collect();
    assert_eq!(deltas.len(), 3);
    for tag in deltas {
        let Ok(Content::Delta { crc, size, address, patch }) = gbl.content(tag) else { panic!("{}", tag.name()) };
        assert_eq!((crc, size, address, patch.len()), (0x1122_3344, 1000, BASE, 30));
    }
    assert!(verify(&file, &device()).has("unsupported-tag"));
    assert!(verify(&file, &Device { delta: true, ..device() }).is_good());
}

#[test]
fn other_formats_are_refused_by_name() {
    assert_eq!(Gbl::read(&read("version-4.gbl")).unwrap_err().fault, GblFault::Version4);
    assert_eq!(Gbl::read(&read("ember.ebl")).unwrap_err().fault, GblFault::Ebl);
}

/// What pygbl has to find in a file: tags inside come where the pieces are.
fn expected(file: &[u8], programs: &[(u32, Vec<u8>)], signed: bool, encrypted: bool) -> Value {
    let gbl = Gbl::read(file).unwrap();
    let inside = encrypted.then(|| gbl.decrypt(&secret()).unwrap());
    let tags = |tags: &[brickproof_flash_model::image::gbl::Tag]| tags.iter().map(|tag| tag.id).collect::<Vec<_>>();
    json!({
        "tags": tags(gbl.tags()),
        "inside": inside.map(|inside| tags(inside.tags())),
        "signed": signed,
        "encryption_key": encrypted.then(|| to_hex(secret().bytes())),
        "application": gbl.tag(TagKind::Application).is_some() || encrypted,
        "dependencies": gbl.dependencies().iter().map(|entry| to_hex(&entry.emit())).collect::<Vec<_>>(),
        "programs": programs.iter().map(|(address, data)| json!([address, to_hex(data)])).collect::<Vec<_>>(),
        "padding": to_hex(gbl.padding()),
    })
}

/// One file of each combination. Where `BRICKPROOF_GBL_FILES` names a folder, they are written there for the tools of others
/// (`.ci/gbl-files`), with what has to be found in them beside.
#[test]
fn files_of_every_combination_are_good() {
    let folder = std::env::var_os("BRICKPROOF_GBL_FILES").map(PathBuf::from);
    let firmware = FirmwareBuilder::new(BASE).version(3).product_id([7; 16]).size(6001);
    let image = firmware.sign(&signer()).unwrap();
    let root = SigningKey::from_seed(b"golden root").unwrap();
    let certificate = Certificate::new(signer().public(), 3, &root).unwrap();
    let entries = [
        Dependency::new(ImageType::Application, Comparison::AtLeast, 2),
        Dependency::new(ImageType::Application, Comparison::Equal, 0).joined(Connective::Or),
        Dependency::new(ImageType::Bootloader, Comparison::Less, 0x0204_0000).negated(),
    ];
    let start = || GblBuilder::new().application(&firmware.data());
    let extra = vec![0x5a; 33];
    let bodies = [
        ("plain", start().program(BASE, &image), vec![(BASE, image.clone())]),
        ("lz4", start().compressed_program(Compression::Lz4, BASE, &image).unwrap(), vec![(BASE, image.clone())]),
        ("lzma", start().compressed_program(Compression::Lzma, BASE, &image).unwrap(), vec![(BASE, image.clone())]),
        (
            "everything",
            entries
                .into_iter()
                .fold(start(), GblBuilder::dependency)
                .se_upgrade(0x0001_0204, &[1; 40])
                .bootloader(0x0204_0001, 0, &[2; 100])
                .metadata(b"metadata")
                .plain_program(BASE, &image)
                .compressed_program(Compression::Lzma, 0xa000, &extra)
                .unwrap()
                .compressed_program(Compression::Lz4, 0xb000, &extra)
                .unwrap()
                .padding(5),
            vec![(BASE, image.clone()), (0xa000, extra.clone()), (0xb000, extra)],
        ),
    ];
    for (name, body, programs) in &bodies {
        let encryptions = [
            ("", body.clone()),
            ("-encrypted", body.clone().encrypt(&secret(), NONCE)),
            ("-one-piece", body.clone().encrypt(&secret(), NONCE).pieces(Pieces::One)),
            ("-cut", body.clone().encrypt(&secret(), NONCE).pieces(Pieces::Bytes(777))),
        ];
        for (encryption, builder) in encryptions {
            let encrypted = !encryption.is_empty();
            for (signing, file) in [
                ("", builder.unsigned().unwrap()),
                ("-signed", builder.sign(&signer()).unwrap()),
                ("-certificate", builder.clone().certificate(certificate).sign(&signer()).unwrap()),
            ] {
                let own = DeviceCertificate { key: root.public().clone(), version: 3 };
                let certificate = signing.ends_with("certificate").then_some(own);
                let report = verify(&file, &Device { certificate, ..device() });
                let name = format!("{name}{encryption}{signing}");
                assert_eq!(&Gbl::read(&file).unwrap().programs(Some(&secret()), 8000).unwrap(), programs, "{name}");
                let errors: Vec<_> = report
                    .findings
                    .iter()
                    .filter(|found| found.id != "trailing" && found.id != "not-whole-words")
                    .collect();
                // Cut tags are read by tools, not by devices.
                let is_cut = encryption == "-cut";
                assert_eq!(errors.iter().any(|found| found.id == "split-tag"), is_cut, "{name}: {errors:?}");
                assert!(is_cut || errors.is_empty(), "{name}: {errors:?}");
                if let Some(folder) = &folder {
                    let expected = expected(&file, programs, !signing.is_empty(), encrypted);
                    std::fs::write(folder.join(format!("{name}.gbl")), &file).unwrap();
                    std::fs::write(folder.join(format!("{name}.json")), expected.to_string()).unwrap();
                }
            }
        }
    }
}
