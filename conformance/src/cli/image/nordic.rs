//! Packages and init packets of Nordic's DFU.

use std::fmt::Write;
use std::path::Path;

use brickproof_flash_model::image::mcuboot::PublicKey;
use brickproof_flash_model::image::nordic::init_packet::INIT_PACKET_MAX;
use brickproof_flash_model::image::nordic::{
    FwType, ImageKind, InitPacket, LegacyExtension, LegacyInitPacket, Package, PackageImage, SignatureType, verify,
};
use brickproof_simulator::trace::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::Failure;
use super::{Shown, softdevices};

/// The key that brickproof signs with where nobody gives another.
pub(super) fn development() -> Result<Vec<PublicKey>, Failure> {
    let key = PublicKey::from_pem(brickproof_scenarios::DEVELOPMENT_KEY);
    Ok(vec![key.map_err(|error| Failure::Harness(error.to_string()))?])
}

/// An init packet of either protocol.
enum Init {
    Secure(Box<InitPacket>),
    Legacy(LegacyInitPacket),
}

impl Init {
    /// Of a file, of which nobody says which it is.
    fn guess(bytes: &[u8]) -> Result<Self, String> {
        InitPacket::parse(bytes).map(|packet| Self::Secure(Box::new(packet))).or_else(|error| {
            match LegacyInitPacket::parse(bytes) {
                // Almost anything reads as one with an unknown extension.
                Ok(packet) if !matches!(packet.extension, LegacyExtension::Other(_)) => Ok(Self::Legacy(packet)),
                _ => Err(error.to_string()),
            }
        })
    }

    fn of(legacy: bool, bytes: &[u8]) -> Result<Self, String> {
        if legacy {
            LegacyInitPacket::parse(bytes).map(Self::Legacy).map_err(|error| error.to_string())
        } else {
            InitPacket::parse(bytes).map(|packet| Self::Secure(Box::new(packet))).map_err(|error| error.to_string())
        }
    }

    /// What is in it. `bytes`: the packet; `firmware`: what it is said to be for.
    fn show(&self, bytes: &[u8], firmware: Option<&[u8]>) -> Shown {
        match self {
            Self::Secure(packet) => show_secure(packet, bytes, firmware),
            Self::Legacy(packet) => show_legacy(packet, bytes, firmware),
        }
    }
}

/// Whether what is said of the firmware is so.
fn matches_words(matches: Option<bool>) -> &'static str {
    match matches {
        Some(true) => ", that of the firmware",
        Some(false) => ", NOT that of the firmware",
        None => "",
    }
}

fn show_secure(packet: &InitPacket, bytes: &[u8], firmware: Option<&[u8]>) -> Shown {
    let command = &packet.command;
    let mut text = String::new();
    let said = |number: Option<u32>| number.map_or("not said".to_owned(), |number| number.to_string());
    let fw_type = command.fw_type.map_or("not said".to_owned(), |kind| kind.to_string());
    let _ = writeln!(text, "    type       {fw_type}, version {}", version(command.fw_version));
    let _ = writeln!(text, "    hardware   {}", version(command.hw_version));
    let _ = writeln!(text, "    SoftDevice {}", softdevices::list(&command.sd_req));
    let [softdevice, bootloader, application] = [command.sd_size, command.bl_size, command.app_size].map(said);
    let _ =
        writeln!(text, "    bytes      SoftDevice {softdevice}, bootloader {bootloader}, application {application}");
    // In the packet it is in reverse order.
    let hash = command.hash.as_ref().map(|hash| {
        let natural: Vec<u8> = hash.bytes.iter().rev().copied().collect();
        let matches = firmware.map(|firmware| Sha256::digest(firmware).as_slice() == natural);
        (hash.kind.to_string(), hex(&natural), matches)
    });
    match &hash {
        Some((kind, value, matches)) => {
            let _ = writeln!(text, "    hash       {kind} {value}{}", matches_words(*matches));
        }
        None => text.push_str("    hash       none\n"),
    }
    let signer = signer(packet, bytes);
    match &packet.signature {
        Some(signature) => {
            let by = signer.map_or(String::new(), |signer| format!(", {signer}"));
            let _ = writeln!(text, "    signature  {}{by}\n               {}", signature.kind, hex(&signature.bytes));
        }
        None => text.push_str("    signature  none: the packet is not signed\n"),
    }
    for validation in &command.boot_validation {
        let value = if validation.bytes.is_empty() { String::new() } else { format!(" {}", hex(&validation.bytes)) };
        let _ = writeln!(text, "    each boot  {}{value}", validation.kind);
    }
    if packet.is_debug() {
        text.push_str("    debug      debug builds of the bootloader skip the checks of versions\n");
    }
    let validations: Vec<Value> = command
        .boot_validation
        .iter()
        .map(|validation| json!({ "type": validation.kind.to_string(), "value": hex(&validation.bytes) }))
        .collect();
    let json = json!({
        "protocol": "secure-dfu", "len": bytes.len(), "op_code": packet.op_code,
        "type": command.fw_type.map(|kind| kind.to_string()), "fw_version": command.fw_version,
        "hw_version": command.hw_version, "sd_req": command.sd_req, "sd_size": command.sd_size,
        "bl_size": command.bl_size, "app_size": command.app_size,
        "hash": hash.map(|(kind, value, matches)| json!({ "type": kind, "value": value, "matches": matches })),
        "is_debug": command.is_debug, "boot_validation": validations,
        "signature": packet.signature.as_ref().map(|signature| json!({
            "type": signature.kind.to_string(), "value": hex(&signature.bytes), "by": signer,
        })),
    });
    Shown { text, json }
}

/// A version; all ones are what nrfutil writes when nobody says one.
fn version(version: Option<u32>) -> String {
    match version {
        None => "not said".into(),
        Some(u32::MAX) => "any (0xffffffff)".into(),
        Some(version) => version.to_string(),
    }
}

fn show_legacy(packet: &LegacyInitPacket, bytes: &[u8], firmware: Option<&[u8]>) -> Shown {
    let mut text = String::new();
    let any = |number: u16| if number == u16::MAX { "any (0xffff)".to_owned() } else { format!("{number:#06x}") };
    let _ = writeln!(text, "    version    {}", version(Some(packet.application_version)));
    let _ = writeln!(text, "    device     type {}, revision {}", any(packet.device_type), any(packet.device_revision));
    let sd_req: Vec<u32> = packet.sd_req.iter().map(|id| u32::from(*id)).collect();
    let _ = writeln!(text, "    SoftDevice {}", softdevices::list(&sd_req));
    let matches = firmware.and_then(|firmware| packet.extension.matches(firmware));
    let words = matches_words(matches);
    let extension = match &packet.extension {
        LegacyExtension::Crc16(crc) | LegacyExtension::IdCrc16(crc) => {
            let _ = writeln!(text, "    CRC        {crc:#06x}{words}\n    signature  none: the packet cannot have one");
            json!({ "crc16": crc })
        }
        LegacyExtension::Sha256 { len, hash } => {
            let _ = writeln!(text, "    bytes      {len}\n    hash       SHA-256 {}{words}", hex(hash));
            text.push_str("    signature  none: the packet is not signed\n");
            json!({ "len": len, "sha256": hex(hash) })
        }
        LegacyExtension::Signed { len, hash, signature } => {
            let _ = writeln!(text, "    bytes      {len}\n    hash       SHA-256 {}{words}", hex(hash));
            let by = known_keys().into_iter().find(|(_, key)| packet.verify(key));
            let by = by.map_or(String::new(), |(name, _)| format!(", {name}"));
            let _ = writeln!(text, "    signature  ECDSA_P256_SHA256{by}\n               {}", hex(signature));
            json!({ "len": len, "sha256": hex(hash), "signature": hex(signature) })
        }
        LegacyExtension::Other(extension) => {
            let _ = writeln!(text, "    extension  unknown: {}", hex(extension));
            json!({ "unknown": hex(extension) })
        }
    };
    let json = json!({
        "protocol": "legacy-dfu", "len": bytes.len(), "application_version": packet.application_version,
        "device_type": packet.device_type, "device_revision": packet.device_revision, "sd_req": packet.sd_req,
        "extension": extension, "matches": matches,
    });
    Shown { text, json }
}

/// The keys that everybody has.
pub(super) fn known_keys() -> Vec<(&'static str, PublicKey)> {
    let keys = [
        ("of brickproof's development key, which everybody has", brickproof_scenarios::DEVELOPMENT_KEY),
        ("of brickproof's production key, which everybody has", brickproof_scenarios::PRODUCTION_KEY),
    ];
    keys.into_iter().filter_map(|(name, pem)| Some((name, PublicKey::from_pem(pem).ok()?))).collect()
}

/// Who has signed, where that is known.
fn signer(packet: &InitPacket, bytes: &[u8]) -> Option<&'static str> {
    let (signature, signed) = (packet.signature.as_ref()?, packet.signed_bytes(bytes)?);
    known_keys().into_iter().find(|(_, key)| verify(key, signed, &signature.bytes)).map(|(name, _)| name)
}

/// What is in an init packet.
pub(super) fn init_packet(path: &Path, bytes: &[u8]) -> Result<Shown, Failure> {
    let name = path.display();
    let init = Init::guess(bytes).map_err(|error| Failure::Usage(format!("{name}: no init packet: {error}")))?;
    let Shown { text, mut json } = init.show(bytes, None);
    let protocol = if matches!(init, Init::Legacy(_)) { "Legacy" } else { "Secure" };
    let sha256 = hex(&Sha256::digest(bytes));
    if let Some(object) = json.as_object_mut() {
        object.insert("file".into(), name.to_string().into());
        object.insert("kind".into(), "init-packet".into());
        object.insert("file_sha256".into(), sha256.clone().into());
    }
    let text =
        format!("{name}\n  an init packet of {protocol} DFU, {} bytes\n{text}  file sha256 {sha256}\n", bytes.len());
    Ok(Shown { text, json })
}

fn read_package(path: &Path, bytes: &[u8]) -> Result<Package, Failure> {
    Package::read(&path.display().to_string(), bytes).map_err(|error| Failure::Usage(error.to_string()))
}

/// What is in a package.
pub(super) fn package(path: &Path, bytes: &[u8]) -> Result<Shown, Failure> {
    let package = read_package(path, bytes)?;
    let name = path.display();
    let legacy = package.is_legacy();
    let format = package.dfu_version.map_or(String::new(), |version| format!(", dfu_version {version}"));
    let images = if package.images.len() == 1 { "1 image" } else { "several images, one update after the other" };
    let protocol = if legacy { "Legacy" } else { "Secure" };
    let mut text = format!("{name}\n  a package of {protocol} DFU{format}: {images}\n");
    let mut shown = Vec::new();
    for image in &package.images {
        let _ = writeln!(
            text,
            "  {}  {} ({} bytes), {} ({} bytes)",
            image.kind.key(),
            image.entry.bin_file,
            image.firmware.len(),
            image.entry.dat_file,
            image.init.len()
        );
        let init = match Init::of(legacy, &image.init) {
            Ok(init) => {
                let Shown { text: told, json } = init.show(&image.init, Some(&image.firmware));
                text.push_str(&told);
                json
            }
            Err(error) => {
                let _ = writeln!(text, "    NO init packet: {error}");
                json!({ "error": error })
            }
        };
        shown.push(json!({
            "kind": image.kind.key(), "bin_file": image.entry.bin_file, "dat_file": image.entry.dat_file,
            "firmware_size": image.firmware.len(), "firmware_sha256": hex(&Sha256::digest(&image.firmware)),
            "init": init, "manifest": image.entry,
        }));
    }
    let faults = faults(path, &package);
    if !faults.is_empty() {
        text.push_str("  what does not fit\n");
    }
    for fault in &faults {
        let _ = writeln!(text, "    {fault}");
    }
    let sha256 = hex(&Sha256::digest(bytes));
    let _ = writeln!(text, "  file sha256 {sha256}");
    let json = json!({
        "file": name.to_string(), "kind": "dfu-package",
        "protocol": if legacy { "legacy-dfu" } else { "secure-dfu" }, "dfu_version": package.dfu_version,
        "images": shown, "faults": faults, "file_sha256": sha256,
    });
    Ok(Shown { text, json })
}

/// All that is wrong with a package but for signatures.
fn faults(path: &Path, package: &Package) -> Vec<String> {
    let found = package.verify(&path.display().to_string()).err().unwrap_or_default();
    let word = |entry: &Option<String>, fault: String| match entry {
        Some(entry) => format!("`{}`: {fault}", entry.escape_debug()),
        None => fault,
    };
    let mut faults: Vec<String> = found.iter().map(|error| word(&error.entry, error.fault.to_string())).collect();
    if !package.is_legacy() {
        for image in &package.images {
            let own = InitPacket::parse(&image.init).map_or(Vec::new(), |packet| refused(&packet, &image.init));
            faults.extend(own.into_iter().map(|fault| format!("`{}`: {fault}", image.entry.dat_file)));
        }
    }
    faults
}

/// Why any device refuses an init packet that can be read, but for hash and signature.
fn refused(packet: &InitPacket, bytes: &[u8]) -> Vec<String> {
    let command = &packet.command;
    let mut faults = Vec::new();
    if bytes.len() > INIT_PACKET_MAX {
        faults.push(format!(
            "the init packet has {} bytes, and no device takes more than {INIT_PACKET_MAX}",
            bytes.len()
        ));
    }
    if command.hw_version.is_none() {
        faults.push("the init packet does not say for which hardware: every device refuses it".into());
    }
    if command.fw_version.is_none() && command.fw_type != Some(FwType::Softdevice) {
        faults.push("the init packet has no version: every device refuses it".into());
    }
    faults
}

/// Whether one of the keys has signed; who, or why not.
fn signed(packet: &InitPacket, bytes: &[u8], trusted: &[PublicKey]) -> Result<(), String> {
    let Some(signature) = &packet.signature else { return Err("the init packet is not signed".into()) };
    if signature.kind != SignatureType::EcdsaP256Sha256 {
        return Err(format!(
            "the signature is of the type {}, and devices take ECDSA_P256_SHA256 only",
            signature.kind
        ));
    }
    let signed = packet.signed_bytes(bytes).unwrap_or_default();
    if trusted.iter().any(|key| verify(key, signed, &signature.bytes)) {
        return Ok(());
    }
    Err("the signature of the init packet is not valid, or of another key".into())
}

/// A key that can never have signed.
fn check_keys(trusted: &[PublicKey]) -> Result<(), Failure> {
    match trusted.iter().find(|key| key.p256_point().is_err()) {
        Some(key) => Err(Failure::Usage(format!(
            "--key: a key for {}, and Nordic's DFU takes ECDSA P-256 only\n  remedy: the public key of the bootloader",
            key.signature_type()
        ))),
        None => Ok(()),
    }
}

/// What there is to say of a package that is as it should be, or all that is wrong.
pub(super) fn verify_package(
    path: &Path,
    bytes: &[u8],
    trusted: &[PublicKey],
) -> Result<Result<String, Vec<String>>, Failure> {
    check_keys(trusted)?;
    let package = read_package(path, bytes)?;
    let mut faults = faults(path, &package);
    for image in &package.images {
        if let Err(fault) = image_signed(&package, image, trusted) {
            faults.push(format!("`{}`: {fault}", image.entry.dat_file));
        }
    }
    if !faults.is_empty() {
        return Ok(Err(faults));
    }
    let names: Vec<String> = package.images.iter().map(words).collect();
    let unsigned = package.images.iter().any(|image| !is_signed(&package, image));
    let note = if unsigned { "; nothing is signed: anybody can have made it" } else { "; signed" };
    Ok(Ok(format!("{}{note}", names.join(", then "))))
}

/// `application, hash ...`.
fn words(image: &PackageImage) -> String {
    let kind = match image.kind {
        ImageKind::SoftdeviceBootloader => "SoftDevice and bootloader",
        ImageKind::Softdevice => "SoftDevice",
        ImageKind::Bootloader => "bootloader",
        ImageKind::Application => "application",
    };
    format!("{kind}, hash {}", hex(&Sha256::digest(&image.firmware)))
}

/// In Legacy DFU most packets have a CRC and no more.
fn is_signed(package: &Package, image: &PackageImage) -> bool {
    let legacy = || LegacyInitPacket::parse(&image.init).map(|packet| packet.extension);
    !package.is_legacy() || matches!(legacy(), Ok(LegacyExtension::Signed { .. }))
}

fn image_signed(package: &Package, image: &PackageImage, trusted: &[PublicKey]) -> Result<(), String> {
    // What cannot be read is a fault already.
    match Init::of(package.is_legacy(), &image.init) {
        Ok(Init::Secure(packet)) => signed(&packet, &image.init, trusted),
        Ok(Init::Legacy(packet)) => legacy_signed(&packet, trusted),
        Err(_) => Ok(()),
    }
}

fn legacy_signed(packet: &LegacyInitPacket, trusted: &[PublicKey]) -> Result<(), String> {
    let signed = matches!(packet.extension, LegacyExtension::Signed { .. });
    if !signed || trusted.iter().any(|key| packet.verify(key)) {
        return Ok(());
    }
    Err("the signature of the init packet is not valid, or of another key".into())
}

/// The same of an init packet, without the firmware that it is for.
pub(super) fn verify_init_packet(bytes: &[u8], trusted: &[PublicKey]) -> Result<Result<String, Vec<String>>, Failure> {
    check_keys(trusted)?;
    Ok(match Init::guess(bytes) {
        Err(error) => Err(vec![error]),
        Ok(Init::Secure(packet)) => {
            let mut faults = refused(&packet, bytes);
            faults.extend(signed(&packet, bytes, trusted).err());
            if faults.is_empty() {
                Ok("signed; the firmware is not here, and its hash was not checked".into())
            } else {
                Err(faults)
            }
        }
        Ok(Init::Legacy(packet)) => {
            let signed =
                if matches!(packet.extension, LegacyExtension::Signed { .. }) { "signed" } else { "not signed" };
            legacy_signed(&packet, trusted)
                .map(|()| format!("{signed}; the firmware is not here, and was not checked"))
                .map_err(|fault| vec![fault])
        }
    })
}
