//! Images of MCUboot.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use brickproof_flash_model::image::mcuboot::{
    ImageBuilder, ImageError, ImageInfo, ImageVersion, PublicKey, Sabotage, SignatureType, SigningKey, Verifier,
    inspect, known_development_key, tlv, words,
};
use brickproof_simulator::trace::hex;
use clap::Args;
use sha2::{Digest, Sha256};

use super::super::{Failure, print, read_file, write_file};
use super::Shown;

/// The keys of brickproof, one of each type.
const DEVELOPMENT_KEYS: [&str; 3] = [
    brickproof_scenarios::DEVELOPMENT_KEY,
    brickproof_scenarios::DEVELOPMENT_KEY_RSA_2048,
    brickproof_scenarios::DEVELOPMENT_KEY_ED25519,
];

#[derive(Debug, Args)]
pub(in super::super) struct Sign {
    /// The binary that becomes the payload
    input: PathBuf,
    /// The image
    output: PathBuf,
    /// MAJOR.MINOR.REVISION+BUILD
    #[arg(long)]
    version: ImageVersion,
    /// A PEM file with a private key; the development key of brickproof if none is given
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Offset of the payload in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 0x200, value_parser = clap::value_parser!(u16).range(32..))]
    header_size: u16,
    /// Security counter, in the protected TLVs
    #[arg(long, value_name = "NUMBER")]
    security_counter: Option<u32>,
    /// Another image that this one needs, and its least version
    #[arg(long = "dependency", value_name = "IMAGE,VERSION", value_parser = dependency)]
    dependencies: Vec<(u8, ImageVersion)>,
    /// Break one thing on purpose: hash, signature, key, truncated, size, magic, tlv-length or tlv-magic
    #[arg(long = "break", value_name = "WHAT")]
    sabotage: Option<Sabotage>,
}

/// `IMAGE,VERSION`.
fn dependency(text: &str) -> Result<(u8, ImageVersion), String> {
    let parsed = text.split_once(',').and_then(|(image, version)| Some((image.parse().ok()?, version.parse().ok()?)));
    parsed.ok_or_else(|| "expected IMAGE,VERSION, like 1,2.0.0".into())
}

/// What is in an image.
pub(super) fn show(path: &Path, bytes: &[u8]) -> Result<Shown, Failure> {
    let mut text = String::new();
    let name = path.display();
    let info = inspect(&bytes).map_err(|error| Failure::Usage(format!("{name}: no MCUboot image: {error}")))?;
    let header = info.header;
    let sha256 = hex(&Sha256::digest(bytes));
    let trailing = bytes.len() as u64 - u64::from(info.total_len);
    let tlvs: Vec<_> = info
        .tlvs
        .iter()
        .map(|(kind, protected, value)| {
            serde_json::json!({
                "type": kind, "name": tlv::name(*kind), "meaning": words::tlv_type(*kind), "protected": protected,
                "len": value.len(), "value": hex(value), "says": tlv_says(*kind, value),
            })
        })
        .collect();
    let _ = writeln!(text, "{name}");
    let _ =
        writeln!(text, "  version {}, {} bytes of image, {trailing} bytes behind it", header.version, info.total_len);
    let set = words::header_flags(header.flags);
    let set = if set.is_empty() { String::new() } else { format!(" ({})", set.join(", ")) };
    let _ = writeln!(
        text,
        "  header {:#x} bytes, payload {} bytes, flags {:#x}{set}, load address {:#x}",
        header.header_size, header.image_size, header.flags, header.load_address
    );
    if let Some(file) = info.development_key() {
        let _ = writeln!(text, "  {}", debug_key(file));
    }
    for (kind, protected, value) in &info.tlvs {
        let area = if *protected { "protected " } else { "" };
        let shown = hex(&value[..value.len().min(32)]);
        let more = if value.len() > 32 { "..." } else { "" };
        let _ = writeln!(
            text,
            "  {area}{} ({kind:#06x}): {}\n    {} bytes: {shown}{more}",
            tlv::name(*kind),
            words::tlv_type(*kind),
            value.len()
        );
        if let Some(says) = tlv_says(*kind, value) {
            let _ = writeln!(text, "    {says}");
        }
    }
    let _ = writeln!(text, "  file sha256 {sha256}");
    let json = serde_json::json!({
        "file": name.to_string(), "version": header.version.to_string(), "header_size": header.header_size,
        "payload_size": header.image_size, "flags": header.flags, "flag_names": words::header_flags(header.flags), "load_address": header.load_address,
        "total_len": info.total_len, "hash": info.hash.map(|hash| hex(&hash)), "file_sha256": sha256, "tlvs": tlvs,
        "signature": info.signature_type().map(SignatureType::name), "development_key": info.development_key(),
        "security_counter": info.security_counter(),
    });
    Ok(Shown { text, json })
}

/// What the value of a TLV says; of a key also whether everybody has it.
fn tlv_says(kind: u16, value: &[u8]) -> Option<String> {
    let known = match kind {
        tlv::KEY_HASH => known_development_key(value),
        tlv::PUBLIC_KEY => known_development_key(&Sha256::digest(value)),
        _ => None,
    };
    if let Some(file) = known {
        return Some(format!("a DEBUG KEY that everybody has: {file}"));
    }
    words::tlv_value(kind, value)
}

/// What is said of an image that anybody could have signed.
fn debug_key(file: &str) -> String {
    format!("signed with a debug key: the private key is published as {file}")
}

/// The keys of brickproof.
pub(super) fn development() -> Result<Vec<PublicKey>, Failure> {
    let read = |pem: &str| PublicKey::from_pem(pem).map_err(|error| Failure::Harness(error.to_string()));
    DEVELOPMENT_KEYS.into_iter().map(read).collect()
}

/// Whether a bootloader that trusts these keys takes an image: what there is to say of it, or why not.
pub(super) fn verify(bytes: &[u8], trusted: &[PublicKey], slot_size: Option<u32>) -> Result<String, Vec<String>> {
    // A bootloader looks at a slot, which is larger than the image in it.
    let mut slot = bytes.to_vec();
    slot.push(0xff);
    let info = inspect(&bytes).ok();
    let verified = verifier(trusted, info.as_ref()).verify(&slot.as_slice(), slot_size.unwrap_or(u32::MAX));
    let verified = verified.map_err(|error| {
        // Of the file, not of the slot.
        let error = match error {
            ImageError::TooShort { .. } => ImageError::TooShort { len: u32::try_from(bytes.len()).unwrap_or(u32::MAX) },
            other => other,
        };
        vec![error.to_string()]
    })?;
    let note =
        info.and_then(|info| info.development_key()).map_or(String::new(), |file| format!("; {}", debug_key(file)));
    Ok(format!("hash {}{note}", hex(&verified.hash)))
}

/// A bootloader takes one type of signature: here the one that the image has, if there is a key for it.
fn verifier(trusted: &[PublicKey], info: Option<&ImageInfo>) -> Verifier {
    let kind = info.and_then(ImageInfo::signature_type);
    let fitting: Vec<_> = trusted.iter().filter(|key| Some(key.signature_type()) == kind).cloned().collect();
    Verifier::new(if fitting.is_empty() { trusted.to_vec() } else { fitting })
}

pub(super) fn sign(arguments: &Sign) -> Result<u8, Failure> {
    let payload = read_file(&arguments.input)?;
    if payload.len() > 64 << 20 {
        return Err(Failure::Usage(format!("{}: more than 64 MiB", arguments.input.display())));
    }
    let pem = match &arguments.key {
        Some(path) => String::from_utf8_lossy(&read_file(path)?).into_owned(),
        None => brickproof_scenarios::DEVELOPMENT_KEY.to_owned(),
    };
    let key = SigningKey::from_pem(&pem).map_err(|error| {
        let name = arguments.key.as_ref().map_or("development key".to_owned(), |path| path.display().to_string());
        Failure::Usage(format!("{name}: {error}"))
    })?;
    let mut builder = ImageBuilder::new(arguments.version).header_size(arguments.header_size).payload(payload);
    if let Some(counter) = arguments.security_counter {
        builder = builder.security_counter(counter);
    }
    for (image, version) in &arguments.dependencies {
        builder = builder.dependency(*image, *version);
    }
    let image = builder.sign(&key).map_err(|error| Failure::Harness(error.to_string()))?;
    let image = match arguments.sabotage {
        None => image,
        Some(sabotage) => sabotage.apply(&image).map_err(|error| Failure::Harness(error.to_string()))?,
    };
    write_file(&arguments.output, &image)?;
    let hash = inspect(&image.as_slice()).ok().and_then(|info| info.hash).map_or("none".into(), |hash| hex(&hash));
    print(&format!(
        "{}: {} bytes, version {}, hash {hash}\n",
        arguments.output.display(),
        image.len(),
        arguments.version
    ))?;
    Ok(0)
}
