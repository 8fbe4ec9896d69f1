//! All that a device would find in a file, in its order (simplicity sdk: `btl_gbl_parser.c`).
//!
//! | finding | code | what it means |
//! |---|---|---|
//! | `not-gbl`, `gbl-version-4` | 0x1001 | not a file that can be read |
//! | `truncated`, `no-end`, `too-many-tags`, `too-large` | | the device waits for more, or no tool makes such a file |
//! | `slot-size` | 0x0402 | longer than the storage slot |
//! | `header-version` | 0x1009 | not version 3 |
//! | `header-flags` | | bits that mean nothing |
//! | `header-twice` | | a header behind the first tag: what a device makes of it is up to what is in it |
//! | `encryption-required`, `encryption-not-supported`, `signature-required` | 0x100A | the header says what the device does not take |
//! | `unknown-tag`, `unsupported-tag` | 0x1008 | an id that nobody, or this device does not know |
//! | `tag-order` | 0x100E | behind a tag that has to come later, or there twice |
//! | `tag-in-clear`, `tag-inside` | 0x1001 | on the wrong side of the encryption |
//! | `tag-length` | by kind | not as long as its kind is; where that is one length a device reads so many bytes all the same |
//! | `encryption-not-announced`, `encryption-init-missing`, `encryption-length` | | the parts of the encryption disagree |
//! | `not-decrypted` | | no key to look inside with |
//! | `encryption-key-missing` | 0x1008 | encrypted, and the device has no key |
//! | `wrong-encryption-key` | 0x1008 | encrypted with another key |
//! | `split-tag`, `empty-tag-at-end` | 0x1008 | a tag over two pieces, which no device reads |
//! | `dependency-invalid` | 0x1001 | a version dependency that means nothing |
//! | `dependency-not-met` | 0x1009 | a version that does not run |
//! | `dependency-tags` | | several tags, of which a bootloader with storage takes the last |
//! | `not-newer`, `other-product` | 0x100C | the check of versions refuses the application |
//! | `bootloader-address` | 0x1001 | a bootloader for another place |
//! | `bootloader-crc`, `se-size` | | what is installed will be refused |
//! | `unaligned`, `outside-application` | | programs that are not programmed while the device reports success |
//! | `programs-overlap`, `no-vectors` | | programs that do not make one application |
//! | `lz4-*`, `lzma-*`, `decompressed-size` | 0x13.. | see [`CompressionFault`](super::compress::CompressionFault) |
//! | `certificate-not-supported`, `certificate-version`, `certificate-signature` | 0x1006 | |
//! | `signature`, `signature-key`, `signature-missing` | 0x1006 | |
//! | `signature-not-checked`, `certificate-not-checked` | | no key to check with |
//! | `crc` | 0x1005 | |
//! | `nothing-to-install`, `no-application-info` | | a file that changes nothing |
//! | `trailing`, `not-whole-words` | | what is behind the end |

use std::fmt;

use super::content::file_type;
use super::crypt::Decrypted;
use super::dependency::Results;
use super::device::Device;
use super::error::{GblError, GblFault, Place, codes};
use super::read::Gbl;
use super::tag::TagKind;
use super::verify_programs::Programs;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know.
    Note,
    /// Taken, but hardly meant.
    Warning,
    /// Refused, or not done what the file says.
    Error,
}

impl Severity {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its name, which stays as it is.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// Error code of the device, where it has one.
    pub code: Option<u16>,
    /// What it is and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({}): {}", self.severity.name(), self.place, self.id, self.message)?;
        match self.code {
            Some(code) => write!(f, " (device error {code:#06x})"),
            None => Ok(()),
        }
    }
}

/// All about a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// In the order in which a device comes across them.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether a device does what the file says.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }

    /// The first error: what the device stops at.
    #[must_use]
    pub fn first_error(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.severity == Severity::Error)
    }

    /// Whether there is a finding of this name.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.findings.iter().any(|finding| finding.id == id)
    }
}

/// Checks a file for a device.
///
/// The device stops at its first error; the findings behind it are what would be wrong still.
#[must_use]
pub fn verify(bytes: &[u8], device: &Device) -> Report {
    let (gbl, fault) = match Gbl::scan(bytes) {
        Ok(found) => found,
        Err(error) => return Report { findings: vec![unreadable(&error)] },
    };
    let decrypted = device.decryption.as_ref().filter(|_| gbl.tag(TagKind::EncryptionInit).is_some());
    let decrypted = decrypted.and_then(|key| Decrypted::of(&gbl, key).ok());
    let mut check = Check {
        device,
        gbl: &gbl,
        decrypted: decrypted.as_ref().map(|(decrypted, _)| decrypted),
        inside_fault: decrypted.as_ref().and_then(|(_, fault)| fault.clone()),
        floor: 0,
        before: None,
        results: None,
        certificate: None,
        programs: Programs::default(),
        decompress_left: device.decompress_limit,
        decompress_faults: 0,
        findings: Vec::new(),
    };
    check.slot();
    check.header();
    check.tags();
    if let Some(error) = fault {
        check.findings.push(unreadable(&error));
    }
    check.end();
    Report { findings: check.findings }
}

fn unreadable(error: &GblError) -> Finding {
    let (id, code) = match error.fault {
        GblFault::NotGbl(_) | GblFault::Ebl | GblFault::Short(_) => ("not-gbl", Some(codes::UNEXPECTED)),
        GblFault::Version4 => ("gbl-version-4", Some(codes::UNEXPECTED)),
        GblFault::TooLarge(_) => ("too-large", None),
        GblFault::TooManyTags => ("too-many-tags", None),
        GblFault::NoEnd => ("no-end", None),
        GblFault::Length { .. } => ("tag-length", None),
        _ => ("truncated", None),
    };
    Finding { id, severity: Severity::Error, place: error.place, code, message: error.fault.to_string() }
}

/// A check under way.
pub(super) struct Check<'a> {
    pub(super) device: &'a Device,
    pub(super) gbl: &'a Gbl<'a>,
    pub(super) decrypted: Option<&'a Decrypted>,
    pub(super) inside_fault: Option<GblError>,
    /// The lowest rank that the next tag may have.
    pub(super) floor: u32,
    /// The tag that set it.
    pub(super) before: Option<TagKind>,
    /// Of the last version dependency tag.
    pub(super) results: Option<(Results, Place, String)>,
    /// Whether the certificate holds.
    pub(super) certificate: Option<bool>,
    pub(super) programs: Programs,
    /// How much may still come out of compressed programs.
    pub(super) decompress_left: usize,
    /// Programs that could not be decompressed. After a few the rest is left alone, as each may cost as much as a good file.
    pub(super) decompress_faults: u32,
    pub(super) findings: Vec<Finding>,
}

impl Check<'_> {
    pub(super) fn error(&mut self, id: &'static str, place: Place, code: Option<u16>, message: String) {
        self.findings.push(Finding { id, severity: Severity::Error, place, code, message });
    }

    pub(super) fn warn(&mut self, id: &'static str, place: Place, message: String) {
        self.findings.push(Finding { id, severity: Severity::Warning, place, code: None, message });
    }

    pub(super) fn note(&mut self, id: &'static str, place: Place, message: String) {
        self.findings.push(Finding { id, severity: Severity::Note, place, code: None, message });
    }

    fn slot(&mut self) {
        let len = self.gbl.bytes().len();
        let Some(slot) = self.device.slot_size else { return };
        if usize::try_from(slot).is_ok_and(|slot| slot < len) {
            let message = format!("the file has {len} bytes, the slot {slot}: compress it, or use a larger slot");
            self.error(
                "slot-size",
                Place::File(usize::try_from(slot).unwrap_or(0)),
                Some(codes::STORAGE_ADDRESS),
                message,
            );
        }
    }

    fn header(&mut self) {
        let header = self.gbl.header();
        let (version, flags) = (Place::File(8), Place::File(12));
        if !header.is_version_3() {
            let message = GblFault::Version(header.version).to_string();
            self.error("header-version", version, Some(codes::VERSION), message);
        }
        let encrypted = self.gbl.is_encrypted();
        if encrypted && !self.device.encryption {
            let message = "the file is encrypted, the device cannot decrypt: make it without encryption";
            self.error("encryption-not-supported", flags, Some(codes::FILETYPE), message.to_owned());
        }
        if !encrypted && self.device.require_encryption {
            let message = "the file is not encrypted, the device asks for it: encrypt it";
            self.error("encryption-required", flags, Some(codes::FILETYPE), message.to_owned());
        }
        if self.device.require_signature && !self.gbl.says_signed() {
            let message = "the header does not say that the file is signed, the device asks for it: sign it";
            self.error("signature-required", flags, Some(codes::FILETYPE), message.to_owned());
        }
        let unknown = header.flags & !(file_type::ENCRYPTED | file_type::SIGNED);
        if unknown != 0 {
            self.warn("header-flags", flags, format!("the type bits {unknown:#x} mean nothing: make the file again"));
        }
    }

    fn end(&mut self) {
        let end = self.gbl.tag(TagKind::End).map_or(self.gbl.end_place(), |tag| tag.place);
        match self.gbl.crc() {
            Some(crc) if crc.stored != crc.computed => {
                let message = format!(
                    "the CRC is {:#010x}, the file says {:#010x}: it is damaged, copy it again",
                    crc.computed, crc.stored
                );
                self.error("crc", end, Some(codes::CRC), message);
            }
            None if self.gbl.tag(TagKind::End).is_some() => {
                let message = "no 4 bytes of a CRC behind the end tag: the file is truncated, copy it again";
                self.error("truncated", end, None, message.to_owned());
            }
            _ => {}
        }
        // Without an end nobody gets there.
        if self.gbl.tag(TagKind::Signature).is_none() && self.gbl.tag(TagKind::End).is_some() {
            let says = self.gbl.says_signed();
            let message = "the header says that the file is signed, but there is no signature: sign it";
            if says && self.device.require_signature {
                self.error("signature-missing", end, Some(codes::SIGNATURE), message.to_owned());
            } else if says {
                self.warn("signature-missing", end, message.to_owned());
            }
        }
        self.dependencies_at_end();
        self.programs_at_end();
        self.contents_at_end(end);
        self.padding();
    }

    /// A bootloader with storage comes to this in the end, and not at all when what it brings runs already.
    fn dependencies_at_end(&mut self) {
        let Some((results, place, asked)) = self.results.take().filter(|_| !self.device.communication) else { return };
        if !results.all() && !self.programs.runs_already {
            self.dependency_not_met(place, &asked);
        }
    }

    fn contents_at_end(&mut self, end: Place) {
        let hidden = self.gbl.is_encrypted() && self.decrypted.is_none();
        if hidden {
            return;
        }
        let found = &self.programs;
        if found.ranges.is_empty() && !found.has_delta && !found.has_bootloader && !found.has_se {
            let message = "no program, bootloader or secure engine firmware in the file: a device changes nothing";
            self.warn("nothing-to-install", end, message.to_owned());
        } else if !found.ranges.is_empty() && !found.has_application {
            let message = "programs without application info: a bootloader with storage finds no application (0x0405)";
            self.warn("no-application-info", end, message.to_owned());
        }
    }

    fn padding(&mut self) {
        let (padding, place) = (self.gbl.padding(), self.gbl.end_place());
        if padding.len() > 3 || padding.iter().any(|byte| *byte != 0xff) {
            let message = format!(
                "{} bytes behind the end, which nothing covers and no device reads; the tools write at most 3 bytes 0xff",
                padding.len()
            );
            self.note("trailing", place, message);
        }
        if !self.gbl.bytes().len().is_multiple_of(4) {
            let message =
                "the file does not fill whole words: an uploader that cuts it into pieces may not send the rest";
            self.note("not-whole-words", place, message.to_owned());
        }
    }
}
