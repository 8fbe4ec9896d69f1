//! What a device finds tag by tag.

use std::ops::Range;

use super::certificate::Certificate;
use super::content::{ApplicationData, Content, bootloader_version_words};
use super::crypt::Decrypted;
use super::dependency::{Dependency, evaluate, words};
use super::device::Trust;
use super::error::{GblError, GblFault, Place, codes};
use super::tag::{TAG_HEADER_LEN, Tag, TagKind};
use super::verify::Check;
use crate::image::mcuboot::PublicKey;

impl<'a> Check<'a> {
    pub(super) fn tags(&mut self) {
        let mut pieces = self.decrypted.into_iter().flat_map(Decrypted::pieces);
        let has_init = self.gbl.tag(TagKind::EncryptionInit).is_some();
        let mut is_first_piece = true;
        // The first header is read before there is an order.
        for tag in self.gbl.tags().iter().skip(1) {
            self.tag(tag, self.gbl.bytes(), None);
            if tag.kind != Some(TagKind::EncryptionData) {
                continue;
            }
            if is_first_piece {
                self.first_piece(tag, has_init);
                is_first_piece = false;
            }
            if let (Some(decrypted), Some(piece)) = (self.decrypted, pieces.next()) {
                let starts = |tag: &&Tag| piece.contains(&tag.start());
                for inner in decrypted.tags().iter().filter(starts) {
                    self.tag(inner, decrypted.bytes(), Some(&piece));
                }
                self.inside_fault(&piece);
            }
        }
    }

    /// What is wrong inside, where the device comes to it.
    fn inside_fault(&mut self, piece: &Range<usize>) {
        let is_here = |error: &mut GblError| matches!(error.place, Place::Inside(offset) if piece.contains(&offset));
        let Some(GblError { place, fault }) = self.inside_fault.take_if(is_here) else { return };
        let (id, code) = match fault {
            GblFault::WrongKey(_) => ("wrong-encryption-key", Some(codes::UNKNOWN_TAG)),
            _ => ("truncated", None),
        };
        self.error(id, place, code, fault.to_string());
    }

    fn first_piece(&mut self, tag: &Tag, has_init: bool) {
        if !self.gbl.is_encrypted() {
            let message = "encrypted data in a file whose header does not say so: make the file again";
            self.warn("encryption-not-announced", tag.place, message.to_owned());
        }
        if !has_init {
            let message = "encrypted data without an encryption init tag: a device decrypts with what it has left";
            self.error("encryption-init-missing", tag.place, None, message.to_owned());
        } else if self.device.lacks_decryption_key {
            // It decrypts with erased bytes, and what comes out is no tag.
            let message = "the file is encrypted, and the target has no encryption-key: give it the key, or make the file without encryption";
            self.error("encryption-key-missing", tag.place, Some(codes::UNKNOWN_TAG), message.to_owned());
        } else if self.decrypted.is_none() {
            let message = "what is encrypted is not checked: give the key";
            self.note("not-decrypted", tag.place, message.to_owned());
        }
    }

    /// `piece`: of the decrypted data, for a tag that starts in it.
    fn tag(&mut self, tag: &Tag, stream: &'a [u8], piece: Option<&Range<usize>>) {
        let Some(kind) = tag.kind else {
            // With another key there is nothing but noise, which is said once.
            if !matches!(self.inside_fault, Some(GblError { fault: GblFault::WrongKey(_), .. })) || piece.is_none() {
                let message = format!("no tag has the id {}: make the file again", tag.name());
                self.error("unknown-tag", tag.place, Some(codes::UNKNOWN_TAG), message);
            }
            return;
        };
        if !self.supports(kind) {
            let message = format!("the device does not know tag {}: make the file without it", kind.name());
            self.error("unsupported-tag", tag.place, Some(codes::UNKNOWN_TAG), message);
        } else {
            self.order(tag, kind);
        }
        if kind == TagKind::Header {
            // The first one is read elsewhere.
            let message = "a second header, which a device takes for that of another file: make the file again";
            self.error("header-twice", tag.place, None, message.to_owned());
        }
        self.side(tag, kind, piece.is_some());
        let content = Content::read(tag, stream);
        if let Err(error) = &content {
            self.length(kind, error, tag.length);
        }
        if let Some(piece) = piece {
            self.piece(tag, kind, piece);
        }
        if let Ok(content) = content {
            self.content(tag, kind, content);
        }
    }

    fn supports(&self, kind: TagKind) -> bool {
        let device = self.device;
        match kind {
            TagKind::VersionDependency => device.dependencies,
            TagKind::EncryptionInit | TagKind::EncryptionData => device.encryption,
            TagKind::SeUpgrade | TagKind::Certificate => device.series_2,
            TagKind::ProgramLz4 => device.lz4,
            TagKind::ProgramLzma => device.lzma,
            TagKind::Delta => device.delta,
            TagKind::DeltaLz4 => device.delta && device.lz4,
            TagKind::DeltaLzma => device.delta && device.lzma,
            TagKind::EncryptionHeader => false,
            _ => true,
        }
    }

    fn order(&mut self, tag: &Tag, kind: TagKind) {
        let rank = kind.rank();
        if rank < self.floor {
            let before = self.before.map_or("header", TagKind::name);
            let message = if self.before == Some(kind) {
                format!("a second tag {}, of which a file has one: make the file again", kind.name())
            } else {
                format!("tag {} behind tag {before}, before which it has to be: make the file again", kind.name())
            };
            self.error("tag-order", tag.place, Some(codes::TAG_ORDER), message);
        } else if kind != TagKind::EncryptionData {
            self.floor = rank.saturating_add(u32::from(kind.is_single()));
            self.before = Some(kind);
        }
    }

    fn side(&mut self, tag: &Tag, kind: TagKind, inside: bool) {
        if !self.gbl.is_encrypted() {
            return;
        }
        if inside && kind.is_always_clear() {
            let message = format!("tag {} is encrypted, it has to be in clear: make the file again", kind.name());
            self.error("tag-inside", tag.place, Some(codes::UNEXPECTED), message);
        }
        if !inside && !kind.is_always_clear() {
            let message = format!("tag {} is in clear in an encrypted file: make the file again", kind.name());
            self.error("tag-in-clear", tag.place, Some(codes::UNEXPECTED), message);
        }
    }

    /// The parser leaves the piece when it has read as many bytes as the piece has, wherever in a tag it is then
    /// (`gbl_advanceParser`); a header that ends there it no longer decrypts (`gbl_parseHeader`).
    fn piece(&mut self, tag: &Tag, kind: TagKind, piece: &Range<usize>) {
        if tag.payload.end > piece.end {
            let message = format!(
                "tag {} goes on in the next encryption data tag, whose header a device takes for content: make one encryption \
                 data tag for each tag",
                kind.name()
            );
            self.error("split-tag", tag.place, Some(codes::UNKNOWN_TAG), message);
        } else if tag.payload.is_empty() && tag.start().saturating_add(TAG_HEADER_LEN) == piece.end {
            let message = format!(
                "tag {} without content at the end of an encryption data tag, which a device does not decrypt: leave it out",
                kind.name()
            );
            self.error("empty-tag-at-end", tag.place, Some(codes::UNKNOWN_TAG), message);
        }
    }

    fn length(&mut self, kind: TagKind, error: &GblError, length: u32) {
        let message = error.fault.to_string();
        let code = match kind {
            TagKind::End => return self.warn("tag-length", error.place, message),
            // Up to the buffer of the parser: what is missing is zero, what is too much is left out. Above, the code depends on
            // how the file is cut into writes.
            TagKind::Application if length <= 64 => return self.warn("tag-length", error.place, message),
            TagKind::VersionDependency => Some(codes::UNEXPECTED),
            // The parser reads on into the next tag.
            TagKind::Program | TagKind::EraseProgram | TagKind::SeUpgrade | TagKind::Bootloader => {
                Some(codes::UNKNOWN_TAG)
            }
            // Where a kind has one length the device reads that many bytes, whatever the tag says, and takes what is behind
            // them for the next tag.
            _ => None,
        };
        self.error("tag-length", error.place, code, message);
    }

    fn content(&mut self, tag: &Tag, kind: TagKind, content: Content<'a>) {
        match content {
            Content::Dependencies(entries) => self.dependencies(tag, &entries),
            Content::EncryptionInit(init) => {
                let found = self.gbl.tags().iter().filter(|tag| tag.kind == Some(TagKind::EncryptionData));
                let found = found.fold(0u64, |sum, tag| sum.saturating_add(tag.length.into()));
                if u64::from(init.length) != found {
                    let message = format!("{} bytes announced, {found} encrypted: make the file again", init.length);
                    self.warn("encryption-length", tag.place, message);
                }
            }
            Content::Application(data) => self.application(tag, &data),
            Content::SeUpgrade { size, version, blob } => {
                self.programs.has_se = true;
                let runs = self.device.running.and_then(|running| running.se);
                self.programs.runs_already |= runs == Some(version);
                if usize::try_from(size) != Ok(blob.len()) {
                    let message = format!("{size} bytes announced, {} there: make the file again", blob.len());
                    self.warn("se-size", tag.place, message);
                }
            }
            Content::Bootloader { version, address, image } => self.bootloader(tag, version, address, image),
            Content::Program { address, data } => self.program(tag, kind, address, data),
            Content::Delta { address, .. } => {
                self.programs.has_delta = true;
                self.aligned(tag, address);
            }
            // A second one is in the wrong order.
            Content::Certificate(certificate) if self.gbl.tag(kind) == Some(tag) => self.certificate(tag, &certificate),
            Content::Signature(_) if self.gbl.tag(kind) == Some(tag) => self.signature(tag),
            _ => {}
        }
    }

    fn dependencies(&mut self, tag: &Tag, entries: &[Dependency]) {
        let place = |index: usize| tag.place.plus(TAG_HEADER_LEN).plus(index.saturating_mul(8));
        let is_valid = |entry: &Dependency| {
            entry.image().is_some() && entry.comparison().is_some() && entry.connective().is_some()
        };
        if let Some(index) = entries.iter().position(|entry| !is_valid(entry)) {
            let message = "a version dependency of a type or with a statement that is none: make the file again";
            return self.error("dependency-invalid", place(index), Some(codes::UNEXPECTED), message.to_owned());
        }
        if self.results.is_some() && !self.device.communication {
            let message =
                "a second version dependency tag: a bootloader with storage forgets the first, put all into one";
            self.warn("dependency-tags", tag.place, message.to_owned());
        }
        let Some(running) = &self.device.running else { return };
        match evaluate(entries, running) {
            None => {
                let message =
                    "a version of a secure engine is asked for, and there is none: make the file for this chip";
                self.error("dependency-invalid", tag.place, Some(codes::UNEXPECTED), message.to_owned());
            }
            Some(results) => {
                // Enough to know what is meant.
                let mut asked = words(entries.get(..16).unwrap_or(entries)).join(", ");
                if entries.len() > 16 {
                    asked.push_str(", and more");
                }
                if self.device.communication && !results.all() {
                    self.dependency_not_met(tag.place, &asked);
                }
                self.results = Some((results, tag.place, asked));
            }
        }
    }

    pub(super) fn dependency_not_met(&mut self, place: Place, asked: &str) {
        let running = self.device.running.unwrap_or_default();
        let application = running.application.map_or("none".to_owned(), |version| version.to_string());
        let bootloader = bootloader_version_words(running.bootloader);
        let message =
            format!("asks for {asked}; application {application} and bootloader {bootloader} run: update them first");
        self.error("dependency-not-met", place, Some(codes::VERSION), message);
    }

    fn application(&mut self, tag: &Tag, data: &ApplicationData) {
        self.programs.has_application = true;
        let Some(installed) = self.device.installed else { return };
        if data.version <= installed.version {
            let message = format!(
                "version {} is not newer than {}, which is installed: raise it",
                data.version, installed.version
            );
            self.error("not-newer", tag.place, Some(codes::REJECTED), message);
        }
        if data.product_id != installed.product_id {
            let message = "the application is for another product: make it for this one";
            self.error("other-product", tag.place, Some(codes::REJECTED), message.to_owned());
        }
    }

    fn certificate(&mut self, tag: &Tag, certificate: &Certificate) {
        let Some(own) = self.device.certificate.clone() else {
            self.certificate = Some(false);
            if self.device.trust == Trust::Unknown {
                let message = "the certificate is not checked: give the key that signed it";
                return self.note("certificate-not-checked", tag.place, message.to_owned());
            }
            let message = "the device was not built for certificates: sign the file with its key";
            return self.error("certificate-not-supported", tag.place, Some(codes::SIGNATURE), message.to_owned());
        };
        let is_old = certificate.version < own.version;
        if is_old {
            let message = format!(
                "the certificate has version {}, that of the bootloader {}: make a newer one",
                certificate.version, own.version
            );
            self.error("certificate-version", tag.place, Some(codes::SIGNATURE), message);
        }
        let holds = certificate.verify(&own.key);
        if !holds {
            let message = "the certificate is not signed by the key of the bootloader's: sign it with that one";
            self.error("certificate-signature", tag.place, Some(codes::SIGNATURE), message.to_owned());
        }
        self.certificate = Some(holds && !is_old);
    }

    fn signature(&mut self, tag: &Tag) {
        let key = match (&self.device.certificate, self.certificate) {
            (_, Some(true)) => self.key_of_certificate(),
            // Its own finding.
            (_, Some(false)) => return,
            (Some(own), None) => Some(own.key.clone()),
            (None, None) => match &self.device.trust {
                Trust::Key(key) => Some(key.as_ref().clone()),
                Trust::Nothing => None,
                Trust::Unknown => {
                    let message = "the signature is not checked: give the public key";
                    return self.note("signature-not-checked", tag.place, message.to_owned());
                }
            },
        };
        let Some(key) = key else {
            let message = "the file is signed, the device has no key to check it with: give it the key, or do not sign";
            return self.error("signature-key", tag.place, Some(codes::SIGNATURE), message.to_owned());
        };
        if self.gbl.verify(&key) == Some(false) {
            let message = "the signature does not hold: the file was changed, or signed with another key";
            self.error("signature", tag.place, Some(codes::SIGNATURE), message.to_owned());
        }
    }

    fn key_of_certificate(&self) -> Option<PublicKey> {
        match self.gbl.content(self.gbl.tag(TagKind::Certificate)?) {
            Ok(Content::Certificate(certificate)) => certificate.public_key().ok(),
            _ => None,
        }
    }
}
