//! Whether a file is what it says: certificate, signature, CRC (simplicity sdk: `btl_gbl_parser.c`).

use sha2::{Digest, Sha256};

use super::super::{Code, Stop};
use super::{BUFFER, Break, CRC_RESIDUE, Parser, State, Taker, word};

/// A certificate, as much of it as has been read (`ApplicationCertificate_t`).
#[derive(Debug, Clone, Default)]
pub(super) struct Certificate {
    /// Structure version, flags, key, version: what is signed of it.
    signed: Vec<u8>,
    valid: bool,
}

impl Certificate {
    fn key(&self) -> Option<[u8; 64]> {
        self.signed.get(4..68).and_then(|key| key.first_chunk()).copied()
    }
}

impl Parser {
    /// A certificate, one field at a time (`parser_verifyCertificate`).
    pub(super) fn certificate(&mut self, input: &mut &[u8], taker: &mut Taker<'_, '_>) -> Result<(), Break> {
        let options = taker.gecko.options();
        let Some(own) = options.certificate.as_ref() else { return Err(self.fail(Code::Signature)) };
        let len = match self.tag_offset {
            0..4 => 4,
            4..68 => 64,
            68..72 => 4,
            _ => {
                let bytes = self.take(input, 64, BUFFER, true, None)?;
                let certificate = self.certificate.get_or_insert_default();
                let hash: [u8; 32] = Sha256::digest(&certificate.signed).into();
                let signature = bytes.first_chunk().copied().unwrap_or([0; 64]);
                if !taker.gecko.verify(&hash, &signature, &own.key) {
                    return Err(self.fail(Code::Signature));
                }
                certificate.valid = true;
                self.state = State::Idle;
                return Ok(());
            }
        };
        let bytes = self.take(input, len, BUFFER, true, None)?;
        let certificate = self.certificate.get_or_insert_default();
        certificate.signed.extend_from_slice(&bytes);
        if certificate.signed.len() == 72 && own.version > word(&certificate.signed, 68) {
            return Err(self.fail(Code::Signature));
        }
        Ok(())
    }

    /// A signature over everything before (`parser_checkSignature`).
    pub(super) fn signature(&mut self, input: &mut &[u8], taker: &mut Taker<'_, '_>) -> Result<(), Break> {
        if !self.signed {
            let bytes = self.take(input, 64, BUFFER, false, None)?;
            let signature = bytes.first_chunk().copied().unwrap_or([0; 64]);
            let hash: [u8; 32] = std::mem::take(&mut self.hash).finalize().into();
            let options = taker.gecko.options();
            let of_certificate =
                self.certificate.as_ref().filter(|certificate| certificate.valid).and_then(Certificate::key);
            let own = options.certificate.as_ref().map(|certificate| certificate.key);
            let key = of_certificate.or(own).or(options.public_key);
            if !key.is_some_and(|key| taker.gecko.verify(&hash, &signature, &key)) {
                taker.properties.verified = false;
                return Err(self.fail(Code::Signature));
            }
            taker.properties.verified = true;
            self.signed = true;
        }
        self.state = State::Idle;
        Ok(())
    }

    /// The end: the CRC, and what was kept back is programmed (`parser_finalize`).
    pub(super) fn finalize(&mut self, input: &mut &[u8], taker: &mut Taker<'_, '_>) -> Result<(), Break> {
        let gecko = taker.gecko;
        self.take(input, 4, BUFFER, false, None)?;
        if self.crc != CRC_RESIDUE {
            return Err(self.fail(Code::Crc));
        }
        let options = gecko.options();
        if !options.require_signed {
            taker.properties.verified = true;
        } else if !self.signed {
            taker.properties.verified = false;
            return Err(self.fail(Code::Signature));
        }
        if options.storage && self.met != [true; 3] {
            let flash = taker.flash.flash();
            // After an upgrade the file is read again, and what it depends on has changed.
            let upgraded = self.received_se && options.se_version == taker.properties.se_version
                || self.received_bootloader
                    && gecko.bootloader_version(flash).map_err(Stop::from)? == taker.properties.bootloader_version;
            if !upgraded {
                return Err(self.fail(Code::Version));
            }
        }
        if taker.properties.verified {
            if taker.callbacks.bootloader {
                if self.received_bootloader {
                    gecko.program_upgrade(taker.flash, 4, &self.kept_back)?;
                }
                if self.received_se {
                    gecko.program_upgrade(taker.flash, 4, &self.kept_back)?;
                }
            }
            if taker.callbacks.application && self.programming.address != 0 {
                self.programming.release(gecko, taker.flash)?;
            }
        }
        taker.properties.completed = true;
        self.state = State::Done;
        Ok(())
    }
}
