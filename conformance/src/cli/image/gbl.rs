//! GBL files of Silicon Labs' Gecko bootloader.

use std::fmt::Write;
use std::path::Path;

use brickproof_flash_model::image::gbl::application::signature_type;
use brickproof_flash_model::image::gbl::content::bootloader_version_words;
use brickproof_flash_model::image::gbl::dependency::words;
use brickproof_flash_model::image::gbl::device::DeviceCertificate;
use brickproof_flash_model::image::gbl::{
    ApplicationData, ApplicationProperties, BootRules, Certificate, Compression, Content, Decrypted, Device,
    EncryptionKey, Finding, Gbl, ImageType, Report, Running, Severity, Tag, TagKind, Trust, check_application,
    compress, decompress, verify,
};
use brickproof_flash_model::image::mcuboot::PublicKey;
use brickproof_flash_model::image::nordic::crc32;
use brickproof_simulator::trace::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::Failure;
use super::super::silabs_files::{Pieces, application_at};
use super::{Shown, Verified, nordic};
use crate::scenario::gbl::UNPACKED_MAX;
use crate::target::Target;

/// What is in a file; `key` shows what is encrypted.
pub(super) fn show(path: &Path, bytes: &[u8], key: Option<&EncryptionKey>) -> Result<Shown, Failure> {
    let name = path.display();
    // What is damaged behind its header is shown as far as it goes.
    let (gbl, _) = Gbl::scan(bytes).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    let header = gbl.header();
    let mut text = format!("{name}\n");
    let _ = writeln!(
        text,
        "  a GBL file, version {}, type {}; {} bytes, {} behind its end",
        header.version >> 24,
        header.flag_words(),
        gbl.content_len(),
        gbl.padding().len()
    );
    let decrypted = key.filter(|_| gbl.tag(TagKind::EncryptionInit).is_some());
    let decrypted = decrypted.and_then(|key| gbl.decrypt(key).ok());
    let mut rows = Vec::new();
    let mut unpacked_left = UNPACKED_MAX;
    let mut inside = decrypted.as_ref().map(Decrypted::pieces);
    for tag in gbl.tags() {
        rows.push(row(&gbl, tag, bytes, false, &mut unpacked_left));
        let piece = inside.as_mut().filter(|_| tag.kind == Some(TagKind::EncryptionData)).and_then(Iterator::next);
        let Some((decrypted, piece)) = decrypted.as_ref().zip(piece) else { continue };
        let tags = decrypted.tags().iter().filter(|tag| piece.contains(&tag.start()));
        rows.extend(tags.map(|tag| row(&gbl, tag, decrypted.bytes(), true, &mut unpacked_left)));
    }
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    for row in &rows {
        let mark = if row.inside { "+" } else { " " };
        let line = format!("  {mark} {:#08x}  {:<width$}  {:>7}  {}", row.at, row.name, row.len, row.says);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let firmware = firmware(&gbl, key);
    for line in &firmware {
        let _ = writeln!(text, "  firmware   {line}");
    }
    let signed_hash = hex(&gbl.signed_hash());
    let _ = writeln!(text, "  {}  {signed_hash}", if gbl.signature().is_some() { "signed   " } else { "to sign  " });
    let faults = faults(bytes, key);
    if !faults.is_empty() {
        text.push_str("  what does not fit\n");
    }
    for fault in &faults {
        let _ = writeln!(text, "    {fault}");
    }
    let sha256 = hex(&Sha256::digest(bytes));
    let _ = writeln!(text, "  file sha256 {sha256}");
    let application = application_info(&gbl, decrypted.as_ref());
    let json = json!({
        "file": name.to_string(), "kind": "gbl", "version": header.version >> 24, "flags": header.flags,
        "signed": gbl.says_signed(), "encrypted": gbl.is_encrypted(), "len": gbl.content_len(),
        "padding": gbl.padding().len(), "application": application.as_ref().map(application_json),
        "dependencies": words(&gbl.dependencies()), "tags": rows.iter().map(|row| row.json.clone()).collect::<Vec<_>>(),
        "firmware": firmware, "signed_sha256": signed_hash,
        "crc": gbl.crc().map(|crc| json!({ "stored": crc.stored, "computed": crc.computed })),
        "faults": faults, "file_sha256": sha256,
    });
    Ok(Shown { text, json })
}

/// A tag as a line.
struct Row {
    inside: bool,
    at: usize,
    name: String,
    len: u32,
    says: String,
    json: Value,
}

fn row(gbl: &Gbl<'_>, tag: &Tag, stream: &[u8], inside: bool, unpacked_left: &mut usize) -> Row {
    let (says, more) = match Content::read(tag, stream) {
        Ok(content) => content_words(gbl, tag, &content, unpacked_left),
        Err(error) => (format!("NOT read: {}", error.fault), json!({})),
    };
    let mut json = json!({
        "tag": tag.name().to_string(), "id": tag.id, "offset": tag.start(), "inside": inside, "len": tag.length,
        "says": says,
    });
    if let (Some(object), Some(more)) = (json.as_object_mut(), more.as_object()) {
        object.extend(more.clone());
    }
    Row { inside, at: tag.start(), name: tag.name().to_string(), len: tag.length, says, json }
}

/// What a tag says, in words and for programs.
fn content_words(gbl: &Gbl<'_>, tag: &Tag, content: &Content<'_>, unpacked_left: &mut usize) -> (String, Value) {
    match content {
        Content::Header(header) => {
            (format!("version {:#010x}, {}", header.version, header.flag_words()), json!({ "version": header.version }))
        }
        Content::Dependencies(entries) => {
            let words = words(entries);
            (words.join(", "), json!({ "dependencies": words }))
        }
        Content::EncryptionInit(init) => {
            let nonce = hex(&init.nonce);
            (format!("{} bytes, nonce {nonce}", init.length), json!({ "length": init.length, "nonce": nonce }))
        }
        Content::Application(data) => (application_words(data), application_json(data)),
        Content::SeUpgrade { size, version, blob } => {
            let words = format!("version {}, {size} bytes", se_version(*version));
            (words, json!({ "version": version, "size": size, "blob_size": blob.len() }))
        }
        Content::Bootloader { version, address, image } => {
            let whole = image.split_last_chunk::<4>().is_some_and(|(image, crc)| crc32(image, 0).to_le_bytes() == *crc);
            let words = format!(
                "version {}, for {address:#x}, {} bytes, CRC-32 {}",
                bootloader_version_words(*version),
                image.len(),
                if whole { "right" } else { "WRONG" }
            );
            let version_words = bootloader_version_words(*version);
            let json = json!({
                "version": version, "version_words": version_words, "address": address, "size": image.len(),
                "crc_right": whole,
            });
            (words, json)
        }
        Content::Program { address, data } => program_words(tag, *address, data, unpacked_left),
        Content::Delta { crc, size, address, patch } => {
            let words =
                format!("a patch of {} bytes for {size} bytes at {address:#x}, CRC-32 {crc:#010x}", patch.len());
            (words, json!({ "address": address, "size": size, "crc": crc }))
        }
        Content::Certificate(certificate) => certificate_words(certificate),
        Content::Signature(signature) => {
            let signer = signer(gbl);
            let by = signer.unwrap_or("of a key that is not known here");
            (format!("ECDSA P-256, {by}"), json!({ "signature": hex(signature), "signer": signer }))
        }
        Content::End(_) => match gbl.crc() {
            Some(crc) if crc.stored == crc.computed => (format!("CRC-32 {:#010x}, right", crc.stored), json!({})),
            Some(crc) => (format!("CRC-32 {:#010x}, WRONG: it is {:#010x}", crc.stored, crc.computed), json!({})),
            None => (String::new(), json!({})),
        },
        Content::Metadata(_) | Content::EncryptionData(_) => (String::new(), json!({})),
        Content::Other(_) => ("UNKNOWN".into(), json!({})),
    }
}

fn program_words(tag: &Tag, address: u32, data: &[u8], unpacked_left: &mut usize) -> (String, Value) {
    let range = |len: usize| format!("{address:#x}..{:#x}", u64::from(address) + len as u64);
    let Some(compression) = tag.kind.and_then(Compression::of) else {
        return (range(data.len()), json!({ "address": address, "size": data.len() }));
    };
    match decompress(compression, data, *unpacked_left) {
        Ok(unpacked) => {
            let len = unpacked.bytes.len();
            *unpacked_left = unpacked_left.saturating_sub(len);
            let memory = match compression {
                Compression::Lz4 => None,
                Compression::Lzma => compress::LzmaHeader::parse(data).ok().and_then(|header| header.device_fault()),
            };
            let note = memory.map_or(String::new(), |fault| format!("; {fault}"));
            let words = format!("{}, {len} bytes packed into {}{note}", range(len), data.len());
            (words, json!({ "address": address, "size": len, "packed_size": data.len() }))
        }
        Err(fault) => {
            let words = format!("at {address:#x}, NOT unpacked: {fault}");
            (words, json!({ "address": address, "size": null, "packed_size": data.len(), "problem": fault.id() }))
        }
    }
}

fn certificate_words(certificate: &Certificate) -> (String, Value) {
    let known = nordic::known_keys();
    let issuer = known.iter().find(|(_, key)| certificate.verify(key)).map(|(name, _)| *name);
    let words = format!(
        "version {}, for the key {}..., signed by a key {}",
        certificate.version,
        hex(certificate.key.get(..8).unwrap_or_default()),
        issuer.unwrap_or("that is not known here")
    );
    let json = json!({ "version": certificate.version, "key": hex(&certificate.key), "issuer": issuer });
    (words, json)
}

/// Who has signed, where that is known.
fn signer(gbl: &Gbl<'_>) -> Option<&'static str> {
    nordic::known_keys().into_iter().find(|(_, key)| gbl.verify(key) == Some(true)).map(|(name, _)| name)
}

fn application_words(data: &ApplicationData) -> String {
    let capabilities =
        if data.capabilities == 0 { String::new() } else { format!(", capabilities {:#x}", data.capabilities) };
    format!("version {}, type {}{capabilities}, product {}", data.version, data.type_words(), hex(&data.product_id))
}

fn application_json(data: &ApplicationData) -> Value {
    json!({
        "version": data.version, "type": data.kind, "type_words": data.type_words(),
        "capabilities": data.capabilities, "product_id": hex(&data.product_id),
    })
}

/// `1.2.3`.
fn se_version(version: u32) -> String {
    format!("{}.{}.{}", version >> 16 & 0xff, version >> 8 & 0xff, version & 0xff)
}

/// What the file says of its application.
fn application_info(gbl: &Gbl<'_>, decrypted: Option<&Decrypted>) -> Option<ApplicationData> {
    let of = |content: Content<'_>| match content {
        Content::Application(data) => Some(data),
        _ => None,
    };
    if let Some(tag) = gbl.tag(TagKind::Application) {
        return gbl.content(tag).ok().and_then(of);
    }
    let inside = decrypted?;
    let tag = inside.tags().iter().find(|tag| tag.kind == Some(TagKind::Application))?;
    inside.content(tag).ok().and_then(of)
}

fn programs(gbl: &Gbl<'_>, key: Option<&EncryptionKey>) -> Option<Pieces> {
    gbl.programs(key, UNPACKED_MAX).ok()
}

/// What the firmware in it says about itself, a line for each piece that has properties.
fn firmware(gbl: &Gbl<'_>, key: Option<&EncryptionKey>) -> Vec<String> {
    let programs = programs(gbl, key).unwrap_or_default();
    let lines = programs.iter().filter_map(|(address, bytes)| {
        let properties = ApplicationProperties::read(bytes, *address)?;
        let protection = match properties.signature_type {
            signature_type::NONE => "nothing at its end".to_owned(),
            signature_type::ECDSA_P256 => format!("signed at {:#x}", properties.signature_location),
            signature_type::CRC32 => format!("a CRC-32 at {:#x}", properties.signature_location),
            other => format!("signature type {other}"),
        };
        Some(format!("{address:#x}: {}, {protection}", application_words(&properties.application)))
    });
    lines.collect()
}

/// All that is wrong with a file but for signatures, whatever device it is for.
fn faults(bytes: &[u8], key: Option<&EncryptionKey>) -> Vec<String> {
    let device = Device { decryption: key.cloned(), delta: true, ..Device::default() };
    let found = verify(bytes, &device).findings.into_iter();
    found.filter(|finding| finding.severity > Severity::Note).map(|finding| finding_words(&finding)).collect()
}

fn finding_words(finding: &Finding) -> String {
    let code = finding.code.map_or(String::new(), |code| format!(" (device error {code:#06x})"));
    format!("{} [{}]: {}{code}", finding.place, finding.id, finding.message)
}

/// What a file is verified for.
pub(super) struct Rules<'a> {
    /// Its rules, if it is for one.
    pub(super) target: Option<&'a Target>,
    /// Keys that are trusted, instead of those of the target or of brickproof.
    pub(super) keys: &'a [PublicKey],
    pub(super) encryption_key: Option<&'a EncryptionKey>,
    pub(super) slot_size: Option<u32>,
}

/// What there is to say of a file that a device takes: what is in it, and warnings; or all that is wrong.
pub(super) fn verify_file(bytes: &[u8], rules: &Rules<'_>) -> Result<Verified, Failure> {
    let scanned = Gbl::scan(bytes).ok();
    let gbl = scanned.as_ref().map(|(gbl, _)| gbl);
    let own = match rules.target {
        None => None,
        Some(target) => Some(target.of_silabs().ok_or_else(|| {
            Failure::Usage(format!(
                "--target {}: it has no Gecko bootloader\n  remedy: one that has, like efr32mg22-apploader",
                target.name
            ))
        })?),
    };
    let mut device = match rules.target.zip(own) {
        Some((target, own)) => own.device(&target.layout)?,
        None => Device::default(),
    };
    device.decryption = rules.encryption_key.cloned().or(device.decryption);
    device.lacks_decryption_key &= device.decryption.is_none();
    device.slot_size = rules.slot_size.or(device.slot_size);
    // Which application runs is not known, so that what depends on it is not evaluated.
    let entries = gbl.map(Gbl::dependencies).unwrap_or_default();
    if let Some(own) = own.filter(|_| entries.iter().all(|entry| entry.image() != Some(ImageType::Application))) {
        let options = own.options();
        let se = options.series_2.then_some(options.se_version);
        device.running = Some(Running { application: None, bootloader: own.bootloader_version(), se });
    }
    let keys = match (rules.keys, own) {
        ([], Some(_)) => Vec::new(),
        ([], None) => nordic::development()?,
        (given, _) => given.to_vec(),
    };
    if let Some(key) = keys.iter().find(|key| key.p256_point().is_err()) {
        let kind = key.signature_type();
        return Err(Failure::Usage(format!(
            "--key: a key for {kind}, and a Gecko bootloader takes ECDSA P-256 only\n  remedy: the public key of the bootloader"
        )));
    }
    let has_certificate = gbl.is_some_and(|gbl| gbl.tag(TagKind::Certificate).is_some());
    let trusting = |key: &PublicKey| {
        let certificate = match &device.certificate {
            Some(own) => Some(own.version),
            // Nobody has said what the device is built for.
            None => (own.is_none() && has_certificate).then_some(0),
        };
        let certificate = certificate.map(|version| DeviceCertificate { key: key.clone(), version });
        Device { trust: Trust::from(key.clone()), certificate, ..device.clone() }
    };
    let devices: Vec<Device> = if keys.is_empty() { vec![device] } else { keys.iter().map(trusting).collect() };
    let reports = devices.iter().map(|device| (verify(bytes, device), device));
    // The key that takes it, or the first.
    let Some((report, device)) =
        reports.reduce(|one, other| if other.0.is_good() && !one.0.is_good() { other } else { one })
    else {
        return Err(Failure::Harness("no device to verify for".into()));
    };
    let started = rules.target.zip(own).map(|(target, own)| own.boot_rules(&target.layout)).transpose()?;
    Ok(verdict(gbl, &report, device, started.as_ref()))
}

fn verdict(gbl: Option<&Gbl<'_>>, report: &Report, device: &Device, started: Option<&BootRules>) -> Verified {
    let of = |severity: Severity| {
        let findings = report.findings.iter().filter(move |finding| finding.severity == severity);
        findings.map(finding_words).collect::<Vec<_>>()
    };
    let Some(gbl) = gbl.filter(|_| report.is_good()) else { return Err(of(Severity::Error)) };
    let key = device.decryption.as_ref();
    let decrypted = key.filter(|_| gbl.tag(TagKind::EncryptionInit).is_some());
    let decrypted = decrypted.and_then(|key| gbl.decrypt(key).ok());
    let application = application_info(gbl, decrypted.as_ref());
    if let (Some(rules), Some(programs)) = (started, programs(gbl, key).filter(|programs| !programs.is_empty())) {
        let start = rules.application_start;
        // Where it begins elsewhere, that is a finding already.
        let image = application_at(Path::new(""), &programs, start).ok();
        let rules = BootRules { trust: device.trust.clone(), certificate: device.certificate.clone(), ..rules.clone() };
        if let Some(Err(fault)) = image.map(|image| check_application(&image, start, &rules)) {
            return Err(vec![format!("[not-started]: it is installed, and never started: {fault}")]);
        }
    }
    let tags = gbl.tags().iter().chain(decrypted.iter().flat_map(Decrypted::tags));
    let has = |kind: TagKind| tags.clone().any(|tag| tag.kind == Some(kind));
    let mut parts = Vec::new();
    if has(TagKind::SeUpgrade) {
        parts.push("secure engine firmware".to_owned());
    }
    if has(TagKind::Bootloader) {
        parts.push("bootloader".into());
    }
    if let Some(data) = application {
        parts.push(format!("application, version {}", data.version));
    } else if tags.clone().any(|tag| tag.kind.is_some_and(TagKind::is_program)) {
        parts.push("programs without application info".into());
    }
    if parts.is_empty() {
        parts.push(if gbl.is_encrypted() { "encrypted" } else { "nothing to install" }.into());
    }
    let signed = match (gbl.signature().is_some(), &device.trust, signer(gbl)) {
        (false, ..) => "; nothing is signed: anybody can have made it".to_owned(),
        (true, Trust::Unknown, _) => "; its signature was not checked".into(),
        (true, _, Some(everybody)) => format!("; signed, {everybody}"),
        (true, _, None) => "; signed".into(),
    };
    let notes = [Severity::Warning, Severity::Note]
        .into_iter()
        .flat_map(|severity| of(severity).into_iter().map(move |words| format!("{}: {words}", severity.name())));
    Ok((format!("{}{signed}", parts.join(" and ")), notes.collect()))
}
