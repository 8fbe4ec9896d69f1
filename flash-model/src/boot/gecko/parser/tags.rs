//! What stands in each tag.

use super::super::{Code, Gecko, Stop};
use super::writer::Writer;
use super::{BUFFER, Break, Data, Parser, State, Taker, word};
use crate::flash::FlashError;
use crate::image::gbl::{ApplicationData, TagKind};

/// Major version of the format.
const MAJOR_VERSION: u32 = 3;
/// A file is encrypted (`GBL_TYPE_ENCRYPTION_AESCCM`).
const TYPE_ENCRYPTED: u32 = 0x01;
/// A file is signed (`GBL_TYPE_SIGNATURE_ECDSA`).
const TYPE_SIGNED: u32 = 0x100;
/// The byte of a version of the secure engine that says what it is compatible with.
const SE_VERSION_MASK: u32 = 0x00ff_ffff;

/// What a file has (`BTL_IMAGE_CONTENT_*`), or what of it is wanted (`BTL_IMAGE_INSTRUCTION_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Contents {
    /// An application.
    pub application: bool,
    /// A bootloader.
    pub bootloader: bool,
    /// Firmware of the secure engine.
    pub se: bool,
}

impl Contents {
    /// All of it.
    pub const ALL: Self = Self { application: true, bootloader: true, se: true };
}

/// What is known of a file so far (`ImageProperties_t`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageProperties {
    /// What of it is wanted.
    pub instructions: Contents,
    /// What it has.
    pub contents: Contents,
    /// Its end has been read, and its CRC is right.
    pub completed: bool,
    /// It is signed as it must be.
    pub verified: bool,
    /// Version of its bootloader.
    pub bootloader_version: u32,
    /// Size of its bootloader in bytes, with the CRC behind it.
    pub bootloader_size: u32,
    /// Version of its secure engine firmware.
    pub se_version: u32,
    /// What its application is.
    pub application: ApplicationData,
}

impl Parser {
    /// Version and type (`parser_parseGblHeader`).
    pub(super) fn header(&mut self, input: &mut &[u8], gecko: &Gecko) -> Result<(), Break> {
        if self.tag_offset < 8 {
            let bytes = self.take(input, 8, BUFFER, true, None)?;
            if word(&bytes, 0) >> 24 != MAJOR_VERSION {
                return Err(self.fail(Code::Version));
            }
            let kind = word(&bytes, 4);
            let options = gecko.options();
            if kind & TYPE_ENCRYPTED != 0 {
                if !options.encryption {
                    // The code forgets to refuse what comes behind.
                    return Err(Break::Refused(Code::FileType));
                }
                self.encrypted = true;
            } else if options.encryption && options.require_encrypted {
                return Err(self.fail(Code::FileType));
            }
            if options.require_signed && kind & TYPE_SIGNED == 0 {
                return Err(self.fail(Code::FileType));
            }
        }
        self.state = State::Idle;
        Ok(())
    }

    pub(super) fn encryption_init(&mut self, input: &mut &[u8], gecko: &Gecko) -> Result<(), Break> {
        let _ = gecko;
        if self.tag_offset < 16 {
            let bytes = self.take(input, 16, BUFFER, true, None)?;
            let nonce = bytes.get(4..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default();
            self.cipher = Some((nonce, 0));
        }
        self.state = State::Idle;
        Ok(())
    }

    /// Which versions have to run (`parser_parseVersionDependency`). A tag that comes in two pieces is refused: the statements of
    /// the first are forgotten.
    pub(super) fn version_dependency(&mut self, input: &mut &[u8], taker: &mut Taker<'_, '_>) -> Result<(), Break> {
        let mut met = [true; 3];
        let mut statements = 0;
        let mut running = u32::MAX;
        while self.tag_offset < self.tag_length {
            let bytes = self.take(input, 8, BUFFER, true, None)?;
            let (image, statement) = (bytes.first().copied().unwrap_or(0), bytes.get(1).copied().unwrap_or(0));
            let wanted = word(&bytes, 4);
            let flash = taker.flash.flash();
            let gecko = taker.gecko;
            let result = match (image, &mut met) {
                (1, [application, _, _]) => {
                    match gecko.application_version(flash).map_err(Stop::from)? {
                        Some(version) => running = version,
                        None => *application = false,
                    }
                    application
                }
                (2, [_, bootloader, _]) => {
                    running = gecko.bootloader_version(flash).map_err(Stop::from)?;
                    bootloader
                }
                (3, [_, _, se]) if gecko.options().series_2 => {
                    running = gecko.options().se_version & SE_VERSION_MASK;
                    se
                }
                _ => return Err(self.fail(Code::Unexpected)),
            };
            let holds = match statement & 0x0e {
                0 => running < wanted,
                2 => running <= wanted,
                4 => running == wanted,
                6 => running >= wanted,
                8 => running > wanted,
                _ => return Err(self.fail(Code::Unexpected)),
            };
            let holds = holds != (statement & 1 != 0);
            match statement >> 4 & 0x0e {
                0 => *result &= holds,
                2 => *result |= holds,
                _ => return Err(self.fail(Code::Unexpected)),
            }
            *result ^= statement & 0x10 != 0;
            statements += 1;
        }
        if statements != self.tag_length / 8 {
            return Err(self.fail(Code::Unexpected));
        }
        if !taker.gecko.options().storage && met != [true; 3] {
            return Err(self.fail(Code::Version));
        }
        self.met = met;
        self.state = State::Idle;
        Ok(())
    }

    /// What the application is (`parser_parseApplicationInfo`).
    pub(super) fn application(&mut self, input: &mut &[u8], taker: &mut Taker<'_, '_>) -> Result<(), Break> {
        if self.tag_offset < self.tag_length {
            let len = usize::try_from(self.tag_length).unwrap_or(usize::MAX);
            let bytes = self.take(input, len, BUFFER, true, Some(taker.gecko))?;
            let mut data = [0; ApplicationData::LEN];
            data.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
            let application = ApplicationData::parse(&data);
            taker.properties.application = application;
            taker.properties.contents.application = true;
            let flash = taker.flash.flash();
            let gecko = taker.gecko;
            if gecko.options().version_check && !gecko.is_upgrade(flash, &application).map_err(Stop::from)? {
                return Err(self.fail(Code::Rejected));
            }
            if gecko.options().rollback_protection
                && (application.kind == 0
                    || !gecko.version_allowed(flash, application.version, false).map_err(Stop::from)?)
            {
                return Err(self.fail(Code::Rejected));
            }
        }
        self.state = State::Idle;
        Ok(())
    }

    /// Firmware of the secure engine (`parser_parseSe`).
    pub(super) fn se(&mut self, input: &mut &[u8], taker: &mut Taker<'_, '_>) -> Result<(), Break> {
        if self.tag_offset < 8 {
            let bytes = self.take(input, 8, BUFFER - 8, true, Some(taker.gecko))?;
            taker.properties.contents.se = true;
            taker.properties.se_version = word(&bytes, 4);
            if taker.properties.instructions.se {
                self.kept_back = self.tag_length.to_le_bytes();
                self.address = 0;
                self.received_se = true;
                if taker.callbacks.bootloader {
                    let id = TagKind::SeUpgrade.id();
                    taker.gecko.program_upgrade(taker.flash, 0, &id.to_le_bytes())?;
                    taker.gecko.program_upgrade(taker.flash, 8, &bytes)?;
                    self.address = 16;
                }
            }
        }
        self.state = State::Data(Data::Se);
        Ok(())
    }

    /// A bootloader (`parser_parseBootloader`).
    pub(super) fn bootloader(&mut self, input: &mut &[u8], taker: &mut Taker<'_, '_>) -> Result<(), Break> {
        if self.tag_offset < 8 {
            let bytes = self.take(input, 8, BUFFER, true, Some(taker.gecko))?;
            taker.properties.contents.bootloader = true;
            taker.properties.bootloader_version = word(&bytes, 0);
            taker.properties.bootloader_size = self.tag_length.wrapping_sub(8);
            if word(&bytes, 4) != taker.gecko.map().main_stage() {
                return Err(self.fail(Code::Unexpected));
            }
            self.received_bootloader = true;
            self.address = 0;
        }
        self.state = State::Data(Data::Bootloader);
        Ok(())
    }

    /// Where program data goes (`parser_parseProg`).
    pub(super) fn program(&mut self, input: &mut &[u8], gecko: &Gecko) -> Result<(), Break> {
        if self.tag_offset < 4 {
            let bytes = self.take(input, 4, BUFFER, true, Some(gecko))?;
            if self.tag_length > 4 {
                self.programming.address = word(&bytes, 0);
            }
        }
        self.state = State::Data(Data::Program);
        Ok(())
    }

    /// Bytes for someone else, in whole words (`parser_parseData`).
    pub(super) fn data(&mut self, data: Data, input: &mut &[u8], taker: &mut Taker<'_, '_>) -> Result<(), Break> {
        while self.tag_offset < self.tag_length {
            let left = usize::try_from(self.tag_length - self.tag_offset).unwrap_or(usize::MAX);
            let available = self.available(input);
            if available < left.min(4) {
                self.hold_back(input);
                return Err(Break::NeedsMore);
            }
            let mut len = left.min(BUFFER).min(available);
            if len >= 4 {
                len -= len % 4;
            }
            let mut bytes = self.take(input, len, BUFFER, true, Some(taker.gecko))?;
            bytes.resize(bytes.len().max(4), 0xff);
            match data {
                Data::Metadata => {}
                Data::Program if taker.callbacks.application => {
                    self.allowed_by_rollback(taker)?;
                    self.writer(taker).program(&bytes)?;
                }
                Data::Program => {}
                Data::Bootloader if taker.properties.instructions.bootloader && taker.callbacks.bootloader => {
                    let from = 4u32.checked_sub(self.address).and_then(|from| usize::try_from(from).ok());
                    if let Some(counter) = from.and_then(|from| bytes.get_mut(from..from + 4)) {
                        self.kept_back.copy_from_slice(counter);
                        counter.fill(0xff);
                    }
                    self.put_aside(&bytes, taker)?;
                }
                Data::Se if taker.properties.instructions.se && taker.callbacks.bootloader => {
                    self.put_aside(&bytes, taker)?;
                }
                Data::Bootloader | Data::Se => {}
            }
        }
        self.state = State::Idle;
        Ok(())
    }

    fn put_aside(&mut self, bytes: &[u8], taker: &mut Taker<'_, '_>) -> Result<(), Break> {
        taker.gecko.program_upgrade(taker.flash, self.address, bytes)?;
        self.address = self.address.wrapping_add(u32::try_from(bytes.len()).unwrap_or(0));
        Ok(())
    }

    fn writer<'t, 'f>(&'t mut self, taker: &'t mut Taker<'_, 'f>) -> Writer<'t, 'f> {
        Writer { programming: &mut self.programming, gecko: taker.gecko, flash: taker.flash }
    }

    fn allowed_by_rollback(&mut self, taker: &Taker<'_, '_>) -> Result<(), Break> {
        let ApplicationData { kind, version, .. } = taker.properties.application;
        let allowed = || -> Result<bool, FlashError> {
            Ok(kind != 0 && taker.gecko.version_allowed(taker.flash.flash(), version, true)?)
        };
        if taker.gecko.options().rollback_protection && !allowed().map_err(Stop::from)? {
            return Err(self.fail(Code::Rejected));
        }
        Ok(())
    }

    /// Program data that is compressed (`parser_parseCustomTag`). What is wrong with it does not end the file: the code goes
    /// on where it was.
    pub(super) fn custom(&mut self, input: &mut &[u8], taker: &mut Taker<'_, '_>) -> Result<(), Break> {
        if taker.callbacks.application {
            self.allowed_by_rollback(taker)?;
        }
        let decompresses = self.custom_tags && taker.callbacks.application;
        while self.tag_offset < self.tag_length {
            let required = if self.custom_tags { taker.decompressor.bytes_required(self.tag_offset) } else { 1 };
            let available = self.available(input);
            if available < required {
                self.hold_back(input);
                return Err(Break::NeedsMore);
            }
            let left = usize::try_from(self.tag_length - self.tag_offset).unwrap_or(usize::MAX);
            let bytes = self.take(input, left.min(BUFFER).min(available), BUFFER, true, Some(taker.gecko))?;
            if decompresses {
                let mut writer = Writer { programming: &mut self.programming, gecko: taker.gecko, flash: taker.flash };
                taker.decompressor.parse(&bytes, &mut writer)?.map_err(Break::Refused)?;
            }
        }
        if decompresses {
            let mut writer = Writer { programming: &mut self.programming, gecko: taker.gecko, flash: taker.flash };
            taker.decompressor.exit(&mut writer)?.map_err(Break::Refused)?;
        }
        self.state = State::Idle;
        Ok(())
    }
}
