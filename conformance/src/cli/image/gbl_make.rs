//! `brickproof image gbl`.

use std::path::{Path, PathBuf};

use brickproof_flash_model::image::gbl::content::{bootloader_version, bootloader_version_words};
use brickproof_flash_model::image::gbl::{
    ApplicationData, ApplicationProperties, Certificate, Compression, Dependency, EncryptionKey, Gbl, GblBuilder,
    Sabotage, SabotageKeys,
};
use brickproof_flash_model::image::mcuboot::SigningKey;
use brickproof_flash_model::image::nordic::crc32;
use clap::{Args, ValueEnum};
use sha2::{Digest, Sha256};

use super::super::options::{encryption_key, not_p256, number};
use super::super::silabs_files::{Pieces, firmware};
use super::super::{Failure, print, read_file, write_file};

/// What `--help` says behind the options.
pub(super) const AFTER_HELP: &str = "\
The options are mostly named as those of `commander gbl create`. What the application is (version, type, product) is taken \
from its own properties; the options change it in the file alone.

A certificate (--certificate-key) is for the key that signs the file (--sign), as Series 2 bootloaders with certificates want \
it. Encryption is AES-128 in counter mode; the nonce is made from key and contents, so that no two files share it.

--break: crc, signature, key, unsigned, no-signature, certificate, truncated, no-end, header-version, address, unaligned, \
order, application-twice, unknown-tag, tag-length, corrupt-lzma, lzma-no-end, lzma-memory, bomb, corrupt-lz4, \
lz4-offset-zero, encryption-key, split-tags, clear-tags, dependency, downgrade or product-id. With --from it breaks a file \
that there is; one that is signed or encrypted needs its keys then, too.";

#[derive(Debug, Args)]
pub(in super::super) struct Make {
    /// The file, FILE.gbl
    output: PathBuf,
    /// The application: S-records (.s37) or Intel HEX by extension, otherwise raw
    #[arg(long, alias = "application", value_name = "FILE")]
    app: Option<PathBuf>,
    /// Where a raw application belongs, when its properties do not say so
    #[arg(long, value_name = "ADDRESS", value_parser = number, requires = "app")]
    address: Option<u32>,
    /// Version of the application in the file
    #[arg(long, value_name = "N", value_parser = number)]
    app_version: Option<u32>,
    /// The product it is for: 32 hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = product_id)]
    product_id: Option<ProductId>,
    /// A bootloader: .s37, .hex or raw, with its CRC-32 behind it or without
    #[arg(long, value_name = "FILE")]
    bootloader: Option<PathBuf>,
    /// Its version, when its properties do not say so: 2.5.0
    #[arg(long, value_name = "VERSION", value_parser = version, requires = "bootloader")]
    bootloader_version: Option<u32>,
    /// Firmware of the secure engine, as Silicon Labs ships it (.seu)
    #[arg(long, alias = "seupgrade", value_name = "FILE", requires = "se_version")]
    se_upgrade: Option<PathBuf>,
    /// Its version: 0x010203 is 1.2.3
    #[arg(long, value_name = "N", value_parser = number, requires = "se_upgrade")]
    se_version: Option<u32>,
    /// Bytes that the bootloader hands on
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// A version that has to run: "application >= 2", "bootloader > 2.4.0", "se == 66051"; several have to hold together
    #[arg(long = "dependency", value_name = "WORDS")]
    dependencies: Vec<Dependency>,
    /// Compress the application
    #[arg(long, value_enum)]
    compress: Option<CompressionName>,
    /// Encrypt it: a file with 32 hexadecimal digits, or a token file
    #[arg(long, value_name = "FILE")]
    encrypt: Option<PathBuf>,
    /// Sign it: a PEM file with a private key, ECDSA P-256; or `development` for that of brickproof
    #[arg(long, value_name = "KEY")]
    sign: Option<String>,
    /// Add a certificate for the key of --sign, signed by this private key: a PEM file, or `development`
    #[arg(long, value_name = "KEY", requires = "sign")]
    certificate_key: Option<String>,
    /// Version of the certificate
    #[arg(long, value_name = "N", value_parser = number, requires = "certificate_key", default_value_t = 1)]
    certificate_version: u32,
    /// Take this file instead of making one, to break it
    #[arg(long, value_name = "FILE", requires = "sabotage", conflicts_with_all = ["app", "bootloader", "se_upgrade", "metadata", "dependencies", "compress", "certificate_key"])]
    from: Option<PathBuf>,
    /// Break one thing on purpose: see below
    #[arg(long = "break", value_name = "WHAT")]
    sabotage: Option<Sabotage>,
}

/// Sixteen bytes.
#[derive(Debug, Clone, Copy)]
struct ProductId([u8; 16]);

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompressionName {
    Lz4,
    Lzma,
}

fn version(text: &str) -> Result<u32, String> {
    bootloader_version(text)
}

fn product_id(text: &str) -> Result<ProductId, String> {
    // The same digits as of a key.
    let digits = EncryptionKey::read("", text).map_err(|_| "expected 32 hexadecimal digits".to_owned())?;
    Ok(ProductId(*digits.bytes()))
}

/// What says where an application belongs.
const FOR_ADDRESS: &str =
    "a .s37 or .hex file, which says its addresses, or --address, like 0x08006000 on an EFR32MG24";

/// How a key comes about that files are signed with.
const NEW_KEY: &str = "one of `openssl ecparam -name prime256v1 -genkey -noout -out key.pem`, or `development`";

/// A private key from a file, or of brickproof's by its name.
fn signing_key(name: &str) -> Result<SigningKey, Failure> {
    let pem = match name {
        "development" if !Path::new(name).exists() => brickproof_scenarios::DEVELOPMENT_KEY.to_owned(),
        "production" if !Path::new(name).exists() => brickproof_scenarios::PRODUCTION_KEY.to_owned(),
        path => String::from_utf8_lossy(&read_file(Path::new(path))?).into_owned(),
    };
    let key = SigningKey::from_pem(&pem).map_err(|error| not_p256(name, &error, NEW_KEY))?;
    // Refused now, and not where it signs.
    key.public().p256_point().map_err(|_| {
        let kind = key.public().signature_type();
        Failure::Usage(format!(
            "{name}: a key for {kind}, and GBL files are signed with ECDSA P-256\n  remedy: {NEW_KEY}"
        ))
    })?;
    Ok(key)
}

pub(super) fn run(arguments: &Make) -> Result<u8, Failure> {
    let wrong = |message: &str, remedy: &str| Err(Failure::Usage(format!("{message}\n  remedy: {remedy}")));
    if !arguments.output.extension().is_some_and(|end| end.eq_ignore_ascii_case("gbl")) {
        return wrong("uploaders know a GBL file by its name", "the name ends in .gbl");
    }
    let key = arguments.sign.as_deref().map(signing_key).transpose()?;
    let encryption = arguments.encrypt.as_deref().map(encryption_key).transpose()?;
    let mut note = None;
    let mut file = match &arguments.from {
        Some(path) => read_file(path)?,
        None => {
            let has_some = [&arguments.app, &arguments.bootloader, &arguments.se_upgrade, &arguments.metadata]
                .iter()
                .any(|part| part.is_some());
            if !has_some {
                return wrong(
                    "there is nothing to put into the file",
                    "--app, --bootloader, --se-upgrade or --metadata FILE",
                );
            }
            make(arguments, key.as_ref(), encryption.as_ref(), &mut note)?
        }
    };
    if let Some(sabotage) = arguments.sabotage {
        let keys = SabotageKeys { signing: key.as_ref(), encryption: encryption.as_ref() };
        let broken = sabotage.apply(&file, keys);
        file = broken.map_err(|error| {
            let from = arguments.from.as_ref().map_or(String::new(), |path| format!("{}: ", path.display()));
            Failure::Usage(format!("{from}--break {}: {error}", sabotage.name()))
        })?;
    }
    write_file(&arguments.output, &file)?;
    if let Some(note) = note {
        eprintln!("brickproof: {note}");
    }
    let type_words = Gbl::scan(&file).map_or("broken".into(), |(gbl, _)| gbl.header().flag_words());
    let broken = arguments.sabotage.map_or(String::new(), |sabotage| format!("; broken: {}", sabotage.name()));
    print(&format!("{}: {} bytes, GBL, type {type_words}{broken}\n", arguments.output.display(), file.len()))?;
    Ok(0)
}

/// Nothing goes where no device has flash, or where a device programs nothing and reports success.
fn check_places(path: &Path, pieces: &Pieces) -> Result<(), Failure> {
    let name = path.display();
    for (address, bytes) in pieces {
        let mistake = |what: &str, remedy: &str| {
            let len = bytes.len();
            Err(Failure::Usage(format!("{name}: {len} bytes at {address:#x} {what}\n  remedy: {remedy}")))
        };
        if !address.is_multiple_of(4) {
            return mistake(
                "are not at a multiple of 4, and a device programs whole words",
                "link it for such an address, and with --address give that",
            );
        }
        // The last byte may be at 0xffffffff.
        if u64::from(*address).checked_add(bytes.len() as u64).is_none_or(|end| end > 1 << 32) {
            return mistake(
                "go past the end of all addresses, 0x100000000",
                "the --address where the application of the target begins",
            );
        }
    }
    Ok(())
}

/// `note`: what is to be said once there is a file.
fn make(
    arguments: &Make,
    key: Option<&SigningKey>,
    encryption: Option<&EncryptionKey>,
    note: &mut Option<String>,
) -> Result<Vec<u8>, Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::Usage(error.to_string());
    let mut builder =
        arguments.dependencies.iter().fold(GblBuilder::new(), |builder, entry| builder.dependency(*entry));
    if let (Some(path), Some(version)) = (&arguments.se_upgrade, arguments.se_version) {
        builder = builder.se_upgrade(version, &read_file(path)?);
    }
    if let Some(path) = &arguments.bootloader {
        builder = bootloader(builder, path, arguments)?;
    }
    if let Some(path) = &arguments.metadata {
        builder = builder.metadata(&read_file(path)?);
    }
    if let Some(path) = &arguments.app {
        let pieces = firmware(path, arguments.address, FOR_ADDRESS)?;
        check_places(path, &pieces)?;
        if let Some(data) = application_data(arguments, &pieces) {
            builder = builder.application(&data);
        } else {
            let name = path.display();
            *note = Some(format!(
                "{name}: the application says nothing about itself; --app-version N adds that, without it a storage bootloader installs nothing"
            ));
        }
        for (address, bytes) in &pieces {
            builder = match arguments.compress {
                None => builder.program(*address, bytes),
                Some(name) => {
                    let compression = match name {
                        CompressionName::Lz4 => Compression::Lz4,
                        CompressionName::Lzma => Compression::Lzma,
                    };
                    builder.compressed_program(compression, *address, bytes).map_err(|error| usage(&error))?
                }
            };
        }
    }
    if let Some(encryption) = encryption {
        // Of all that goes in, and of the key: the same for the same file, and for no other one.
        let all = [builder.unsigned().map_err(|error| usage(&error))?, encryption.bytes().to_vec()].concat();
        let mut nonce = [0; 12];
        nonce.iter_mut().zip(Sha256::digest(all)).for_each(|(to, from)| *to = from);
        builder = builder.encrypt(encryption, nonce);
    }
    if let (Some(issuer), Some(key)) = (&arguments.certificate_key, key) {
        let issuer = signing_key(issuer)?;
        let certificate = Certificate::new(key.public(), arguments.certificate_version, &issuer);
        builder = builder.certificate(certificate.map_err(|error| usage(&error))?);
    }
    let file = match key {
        Some(key) => builder.sign(key),
        None => builder.unsigned(),
    };
    file.map_err(|error| usage(&error))
}

/// What the file says of its application: its own properties, but for what options change. `None` when neither says anything.
fn application_data(arguments: &Make, pieces: &Pieces) -> Option<ApplicationData> {
    let own = pieces.iter().find_map(|(address, bytes)| {
        ApplicationProperties::read(bytes, *address).or_else(|| ApplicationProperties::find(bytes, *address))
    });
    let changed = arguments.app_version.is_some() || arguments.product_id.is_some();
    let own = own.map(|properties| properties.application);
    // The type of a Bluetooth application.
    let mut data = own.or_else(|| changed.then(|| ApplicationData { kind: 0x20, ..ApplicationData::default() }))?;
    if let Some(version) = arguments.app_version {
        data.version = version;
    }
    if let Some(ProductId(id)) = arguments.product_id {
        data.product_id = id;
    }
    Some(data)
}

fn bootloader(builder: GblBuilder, path: &Path, arguments: &Make) -> Result<GblBuilder, Failure> {
    let name = path.display();
    let mistake = |what: &str, remedy: &str| Failure::Usage(format!("{name}: {what}\n  remedy: {remedy}"));
    let pieces = firmware(path, None, "a .s37 or .hex file, which says its addresses")?;
    let [(address, image)] = pieces.as_slice() else {
        return Err(mistake("it is in several pieces", "the main bootloader alone, without what is around it"));
    };
    let properties = ApplicationProperties::read(image, *address);
    let version = arguments.bootloader_version.or(properties.map(|properties| properties.application.version));
    let version = version.ok_or_else(|| mistake("nothing in it says its version", "--bootloader-version 2.5.0"))?;
    // One that has its CRC-32 behind it is not given another.
    let bare = match image.split_last_chunk::<4>() {
        Some((bare, crc)) if crc32(bare, 0).to_le_bytes() == *crc => bare,
        _ => image,
    };
    eprintln!("brickproof: {name}: version {}, for {address:#x}", bootloader_version_words(version));
    Ok(builder.bootloader(version, *address, bare))
}
