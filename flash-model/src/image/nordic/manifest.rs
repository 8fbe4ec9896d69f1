//! `manifest.json` of a package (pc-nrfutil: `manifest.py`; Adafruit nrfutil: `manifest.py`).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::codes::FwType;
use super::legacy::{LegacyExtension, LegacyInitPacket};

/// What an image of a package is, in the order in which they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageKind {
    /// SoftDevice and bootloader as one image.
    SoftdeviceBootloader,
    /// SoftDevice.
    Softdevice,
    /// Bootloader.
    Bootloader,
    /// Application, of this chip or of another one.
    Application,
}

impl ImageKind {
    /// All of them, in the order in which they are sent.
    pub const ALL: [Self; 4] = [Self::SoftdeviceBootloader, Self::Softdevice, Self::Bootloader, Self::Application];

    /// Its key in the manifest.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::SoftdeviceBootloader => "softdevice_bootloader",
            Self::Softdevice => "softdevice",
            Self::Bootloader => "bootloader",
            Self::Application => "application",
        }
    }

    /// Whether an init packet of this type belongs to it.
    #[must_use]
    pub fn takes(self, fw_type: FwType) -> bool {
        match self {
            Self::SoftdeviceBootloader => fw_type == FwType::SoftdeviceBootloader,
            Self::Softdevice => fw_type == FwType::Softdevice,
            Self::Bootloader => fw_type == FwType::Bootloader,
            Self::Application => matches!(fw_type, FwType::Application | FwType::ExternalApplication),
        }
    }

    /// Start of its file names when nobody says otherwise.
    pub(super) fn file_stem(self) -> &'static str {
        match self {
            Self::SoftdeviceBootloader => "sd_bl",
            Self::Softdevice => "softdevice",
            Self::Bootloader => "bootloader",
            Self::Application => "application",
        }
    }
}

/// Sizes of the two parts of a SoftDevice with a bootloader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSizes {
    /// Size of the bootloader in bytes.
    pub bl_size: u32,
    /// Size of the SoftDevice in bytes.
    pub sd_size: u32,
}

/// A legacy init packet as the manifest repeats it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InitPacketData {
    /// Version of the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_version: Option<u32>,
    /// Revision of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_revision: Option<u16>,
    /// Type of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_type: Option<u16>,
    /// Id of the extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ext_packet_id: Option<u32>,
    /// CRC-16 of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware_crc16: Option<u16>,
    /// SHA-256 of the image in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware_hash: Option<String>,
    /// Length of the image in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware_length: Option<u32>,
    /// Signature in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_packet_ecds: Option<String>,
    /// Firmware ids of SoftDevices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub softdevice_req: Option<Vec<u16>>,
}

impl InitPacketData {
    /// What the manifest says of this packet.
    #[must_use]
    pub fn of(packet: &LegacyInitPacket) -> Self {
        let text = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut data = Self {
            application_version: Some(packet.application_version),
            device_revision: Some(packet.device_revision),
            device_type: Some(packet.device_type),
            softdevice_req: Some(packet.sd_req.clone()),
            ..Self::default()
        };
        match &packet.extension {
            LegacyExtension::Crc16(crc) => data.firmware_crc16 = Some(*crc),
            LegacyExtension::IdCrc16(crc) => {
                data.ext_packet_id = Some(0);
                data.firmware_crc16 = Some(*crc);
            }
            LegacyExtension::Sha256 { len, hash } => {
                data.ext_packet_id = Some(1);
                data.firmware_length = Some(*len);
                data.firmware_hash = Some(text(hash));
            }
            LegacyExtension::Signed { len, hash, signature } => {
                data.ext_packet_id = Some(2);
                data.firmware_length = Some(*len);
                data.firmware_hash = Some(text(hash));
                data.init_packet_ecds = Some(text(signature));
            }
            LegacyExtension::Other(_) => {}
        }
        data
    }

    /// Whether nothing that is said here is different in `other`.
    #[must_use]
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        fn agree<T: PartialEq>(here: Option<&T>, there: Option<&T>) -> bool {
            here.is_none() || here == there
        }
        agree(self.application_version.as_ref(), other.application_version.as_ref())
            && agree(self.device_revision.as_ref(), other.device_revision.as_ref())
            && agree(self.device_type.as_ref(), other.device_type.as_ref())
            && agree(self.ext_packet_id.as_ref(), other.ext_packet_id.as_ref())
            && agree(self.firmware_crc16.as_ref(), other.firmware_crc16.as_ref())
            && agree(self.firmware_hash.as_ref(), other.firmware_hash.as_ref())
            && agree(self.firmware_length.as_ref(), other.firmware_length.as_ref())
            && agree(self.init_packet_ecds.as_ref(), other.init_packet_ecds.as_ref())
            && agree(self.softdevice_req.as_ref(), other.softdevice_req.as_ref())
    }
}

/// What the manifest says of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// Name of the firmware in the zip.
    pub bin_file: String,
    /// Size of the bootloader, where legacy packages have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bl_size: Option<u32>,
    /// Name of the init packet in the zip.
    pub dat_file: String,
    /// Sizes of the parts, where packages of Secure DFU have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info_read_only_metadata: Option<PartSizes>,
    /// The init packet again, in legacy packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_packet_data: Option<InitPacketData>,
    /// Size of the SoftDevice, where legacy packages have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sd_size: Option<u32>,
}

impl ManifestEntry {
    /// Sizes of the two parts of a SoftDevice with a bootloader.
    #[must_use]
    pub fn part_sizes(&self) -> Option<PartSizes> {
        let legacy = || Some(PartSizes { bl_size: self.bl_size?, sd_size: self.sd_size? });
        self.info_read_only_metadata.or_else(legacy)
    }
}

/// A manifest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ManifestEntry>,
    /// The bootloader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootloader: Option<ManifestEntry>,
    /// Version of the package format; only legacy packages have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dfu_version: Option<f64>,
    /// The SoftDevice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softdevice: Option<ManifestEntry>,
    /// SoftDevice and bootloader as one image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softdevice_bootloader: Option<ManifestEntry>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    manifest: Manifest,
}

impl Manifest {
    /// Reads the text of a manifest. Keys without a meaning are skipped, as uploaders on phones do.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        // The library takes a list of the values for an object; nobody else does.
        let inner = |kind: ImageKind| ["", "/info_read_only_metadata", "/init_packet_data"].map(|part| (kind, part));
        let paths = ImageKind::ALL.into_iter().flat_map(inner);
        let paths = paths.map(|(kind, part)| format!("/manifest/{}{part}", kind.key()));
        for path in [String::new(), "/manifest".to_owned()].into_iter().chain(paths) {
            if value.pointer(&path).is_some_and(Value::is_array) {
                return Err(format!("a list instead of an object at `{path}/`"));
            }
        }
        Ok(document.manifest)
    }

    /// The text of the manifest, as nrfutil writes it.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
        // Nothing here can fail: the keys are text, and memory takes all that is written.
        let written = Document { manifest: self.clone() }.serialize(&mut serializer);
        debug_assert!(written.is_ok());
        text
    }

    /// The entry of this kind.
    #[must_use]
    pub fn entry(&self, kind: ImageKind) -> Option<&ManifestEntry> {
        match kind {
            ImageKind::SoftdeviceBootloader => self.softdevice_bootloader.as_ref(),
            ImageKind::Softdevice => self.softdevice.as_ref(),
            ImageKind::Bootloader => self.bootloader.as_ref(),
            ImageKind::Application => self.application.as_ref(),
        }
    }

    /// Sets the entry of this kind.
    pub fn set_entry(&mut self, kind: ImageKind, entry: ManifestEntry) {
        let place = match kind {
            ImageKind::SoftdeviceBootloader => &mut self.softdevice_bootloader,
            ImageKind::Softdevice => &mut self.softdevice,
            ImageKind::Bootloader => &mut self.bootloader,
            ImageKind::Application => &mut self.application,
        };
        *place = Some(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_and_nulls_are_skipped() {
        let text = br#"{"comment": 1, "manifest": {"future": [], "bootloader": null, "application":
            {"bin_file": "a.bin", "dat_file": "a.dat", "init_packet_data": null, "colour": "blue"}}}"#;
        let manifest = Manifest::parse(text).unwrap();
        assert_eq!(manifest.application.unwrap().dat_file, "a.dat");
        assert_eq!(manifest.bootloader, None);
    }

    #[test]
    fn what_is_no_manifest_is_explained() {
        for (text, expected) in [
            (&b""[..], "EOF"),
            (b"{}", "missing field `manifest`"),
            (br#"{"manifest": {"application": {"bin_file": "a.bin"}}}"#, "missing field `dat_file`"),
            (br#"{"manifest": {"application": {"bin_file": 3}}}"#, "expected a string at line 1"),
            (&[br#"{"a":"#, &[b'['; 300][..], &[b']'; 300], br#","manifest":{}}"#].concat(), "recursion limit"),
            (br#"[{"application": null}]"#, "a list instead of an object at `/`"),
            (br#"{"manifest": {"application": ["a", null, "b", null, null, null]}}"#, "at `/manifest/application/`"),
        ] {
            let error = Manifest::parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
