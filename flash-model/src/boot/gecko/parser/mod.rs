//! The parser of the bootloader: it takes a GBL file in pieces of any size, and flash changes on the way (simplicity sdk:
//! `btl_gbl_parser.c`).
//!
//! It holds back at most 64 bytes. What it answers depends in a few places on where the pieces end; it is so here too.
//!
//! | module | what it does |
//! |---|---|
//! | this | pieces, tag headers, their order, decryption |
//! | `tags` | what stands in each tag |
//! | `check` | certificate, signature, CRC, and what was kept back |
//! | `writer` | program data on its way to flash |
//! | `decompress`, `lz4`, `lzma` | program data that is compressed |

mod check;
mod decompress;
mod lz4;
mod lzma;
mod tags;
mod writer;

use aes::Aes128;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use sha2::{Digest, Sha256};

use super::{Code, Gecko, Stop};
use crate::flash::Controller;
use crate::image::gbl::TagKind;
use crate::image::nordic::crc32;

pub use decompress::Decompressor;
pub use tags::{Contents, ImageProperties};
use writer::Programming;

/// Most bytes that are held back, and read at once (`GBL_PARSER_BUFFER_SIZE`).
const BUFFER: usize = 64;
/// The CRC-32 of anything with its own CRC-32 behind it.
const CRC_RESIDUE: u32 = 0x2144_df1c;
/// Flags in front of a nonce (`btl_initAesCcm`).
const COUNTER_FLAGS: u8 = 0x02;

/// What becomes of the bytes of a file (`BootloaderParserCallbacks_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Callbacks {
    /// Program data is programmed.
    pub application: bool,
    /// A bootloader, or firmware of the secure engine, is put aside.
    pub bootloader: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Init,
    Header,
    Idle,
    EncryptionInit,
    VersionDependency,
    Application,
    Se,
    Bootloader,
    Program,
    /// The payload behind the fixed part of such a tag.
    Data(Data),
    Custom,
    Certificate,
    Signature,
    Finalize,
    Done,
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Data {
    Se,
    Bootloader,
    Program,
    Metadata,
}

/// Why a piece is not read any further.
enum Break {
    /// What is left has been held back.
    NeedsMore,
    Refused(Code),
    Stopped(Stop),
}

impl From<Stop> for Break {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

/// Who takes what a file has.
pub struct Taker<'t, 'f> {
    /// The bootloader.
    pub gecko: &'t Gecko,
    /// Its flash.
    pub flash: &'t mut Controller<'f>,
    /// What becomes of the bytes.
    pub callbacks: Callbacks,
    /// What is known of the file.
    pub properties: &'t mut ImageProperties,
    /// The decoders.
    pub decompressor: &'t mut Decompressor,
}

/// A parser in the middle of a file (`ParserContext_t`).
#[derive(Debug, Clone)]
pub struct Parser {
    state: State,
    custom_tags: bool,
    encrypted: bool,
    held: Vec<u8>,
    tag_length: u32,
    tag_offset: u32,
    /// Inside of encrypted data: how much of that tag has been read, and its length.
    container: Option<(u32, u32)>,
    /// Nonce, and how much of the key stream is used.
    cipher: Option<([u8; 12], u64)>,
    crc: u32,
    hash: Sha256,
    order: u32,
    signed: bool,
    certificate: Option<check::Certificate>,
    received_bootloader: bool,
    received_se: bool,
    /// Where the bytes of a bootloader go.
    address: u32,
    /// The word of a bootloader, or of secure engine firmware, that comes last.
    kept_back: [u8; 4],
    programming: Programming,
    /// Whether the version dependencies are met, by type of image.
    met: [bool; 3],
}

impl Parser {
    /// A parser that has read nothing (`parser_init`). With `custom_tags`, compressed data is decompressed, and not skipped.
    #[must_use]
    pub fn new(custom_tags: bool) -> Self {
        Self {
            state: State::Init,
            custom_tags,
            encrypted: false,
            held: Vec::new(),
            tag_length: 0,
            tag_offset: 0,
            container: None,
            cipher: None,
            crc: 0,
            hash: Sha256::new(),
            order: 0,
            signed: false,
            certificate: None,
            received_bootloader: false,
            received_se: false,
            address: 0,
            kept_back: [0xff; 4],
            programming: Programming::default(),
            met: [true; 3],
        }
    }

    /// Which version dependencies are not met so far, one bit for each type of image.
    pub(super) fn unmet(&self) -> u32 {
        self.met.iter().enumerate().map(|(kind, met)| u32::from(!met) << kind).sum()
    }

    /// Reads the next piece of a file (`parser_parse`).
    ///
    /// # Errors
    /// [`Stop`]: power is lost, or the device hangs. Inside, why the file is refused.
    pub fn parse(&mut self, piece: &[u8], taker: &mut Taker<'_, '_>) -> Result<Result<(), Code>, Stop> {
        let mut input = piece;
        while !input.is_empty() {
            let before = self.state;
            match self.step(&mut input, taker) {
                Ok(()) if self.state == State::Done => return Ok(Ok(())),
                Ok(()) => {}
                Err(Break::NeedsMore) => return Ok(Ok(())),
                Err(Break::Stopped(stop)) => return Err(stop),
                Err(Break::Refused(code)) => {
                    if matches!(before, State::Idle | State::Error) {
                        taker.properties.verified = false;
                    }
                    return Ok(Err(code));
                }
            }
        }
        Ok(Ok(()))
    }

    fn step(&mut self, input: &mut &[u8], taker: &mut Taker<'_, '_>) -> Result<(), Break> {
        match self.state {
            State::Init => {
                let id = self.tag_header(input, taker.gecko)?;
                if id != TagKind::Header.id() {
                    return Err(self.fail(Code::Unexpected));
                }
                self.state = State::Header;
                Ok(())
            }
            State::Header => self.header(input, taker.gecko),
            State::Idle => self.new_tag(input, taker),
            State::EncryptionInit => self.encryption_init(input, taker.gecko),
            State::VersionDependency => self.version_dependency(input, taker),
            State::Application => self.application(input, taker),
            State::Se => self.se(input, taker),
            State::Bootloader => self.bootloader(input, taker),
            State::Program => self.program(input, taker.gecko),
            State::Data(data) => self.data(data, input, taker),
            State::Custom => self.custom(input, taker),
            State::Certificate => self.certificate(input, taker),
            State::Signature => self.signature(input, taker),
            State::Finalize => self.finalize(input, taker),
            State::Done | State::Error => Err(Break::Refused(Code::Eof)),
        }
    }

    /// Refuses the file, and all that comes behind.
    fn fail(&mut self, code: Code) -> Break {
        self.state = State::Error;
        Break::Refused(code)
    }

    fn available(&self, input: &[u8]) -> usize {
        self.held.len().saturating_add(input.len())
    }

    /// Holds back what is left of the piece, if there is room (`gbl_storeData`).
    fn hold_back(&mut self, input: &mut &[u8]) -> bool {
        if input.is_empty() || self.available(input) > BUFFER {
            return false;
        }
        self.held.extend_from_slice(input);
        *input = &[];
        true
    }

    /// `len` bytes, of which at most `room` fit (`gbl_getData`).
    fn take(
        &mut self,
        input: &mut &[u8],
        len: usize,
        room: usize,
        hash: bool,
        key: Option<&Gecko>,
    ) -> Result<Vec<u8>, Break> {
        if self.available(input) < len {
            return Err(if self.hold_back(input) { Break::NeedsMore } else { self.fail(Code::Buffer) });
        }
        if len > room {
            return Err(self.fail(Code::Unexpected));
        }
        let held = len.min(self.held.len());
        let mut bytes: Vec<u8> = self.held.drain(..held).collect();
        let (fresh, rest) = input.split_at(len - held);
        bytes.extend_from_slice(fresh);
        *input = rest;
        self.crc = crc32(&bytes, self.crc);
        if hash {
            self.hash.update(&bytes);
        }
        if let Some(gecko) = key
            && self.container.is_some()
        {
            self.decrypt(&mut bytes, gecko);
        }
        self.advance(u32::try_from(len).unwrap_or(u32::MAX));
        Ok(bytes)
    }

    fn advance(&mut self, len: u32) {
        if let Some((offset, length)) = &mut self.container {
            *offset = offset.wrapping_add(len);
            if *offset >= *length {
                self.container = None;
            }
        }
        self.tag_offset = self.tag_offset.wrapping_add(len);
    }

    fn decrypt(&mut self, bytes: &mut [u8], gecko: &Gecko) {
        // Without an initialisation the C code runs over a context of zeros.
        let (nonce, used) = self.cipher.get_or_insert(([0; 12], 0));
        let mut block = [0; 16];
        block[0] = COUNTER_FLAGS;
        block[1..13].copy_from_slice(nonce);
        block[15] = 1;
        let mut stream = Ctr128BE::<Aes128>::new(gecko.encryption_key().into(), &block.into());
        if stream.try_seek(*used).is_ok() && stream.try_apply_keystream(bytes).is_ok() {
            *used = used.saturating_add(bytes.len() as u64);
        }
    }

    /// Id and length of the next tag (`gbl_parseHeader`).
    fn tag_header(&mut self, input: &mut &[u8], gecko: &Gecko) -> Result<u32, Break> {
        let mut bytes = self.take(input, 8, 8, false, None)?;
        // The last tag header of encrypted data that has nothing behind it is taken for one in the clear.
        let inside = self.container.is_some();
        if inside {
            self.hash.update(&bytes);
            self.decrypt(&mut bytes, gecko);
        }
        let word = |at: usize| word(&bytes, at);
        let (id, length) = (word(0), word(4));
        if !inside && id != TagKind::Signature.id() && id != TagKind::End.id() {
            self.hash.update(&bytes);
        }
        (self.tag_length, self.tag_offset) = (length, 0);
        Ok(id)
    }

    /// A tag begins (`parser_parseNewTagHeader`).
    fn new_tag(&mut self, input: &mut &[u8], taker: &mut Taker<'_, '_>) -> Result<(), Break> {
        let id = self.tag_header(input, taker.gecko)?;
        let options = taker.gecko.options();
        let Some(kind) = TagKind::of_id(id).filter(|kind| options.knows(*kind)) else {
            return Err(self.fail(Code::UnknownTag));
        };
        if kind.rank() < self.order {
            return Err(self.fail(Code::TagOrder));
        }
        if kind != TagKind::EncryptionData {
            self.order = kind.rank() + u32::from(kind.is_single());
        }
        if self.encrypted && kind.is_always_clear() == self.container.is_some() {
            return Err(self.fail(Code::Unexpected));
        }
        self.state = match kind {
            TagKind::Header => State::Header,
            TagKind::VersionDependency => State::VersionDependency,
            TagKind::EncryptionInit => State::EncryptionInit,
            TagKind::Application => State::Application,
            TagKind::SeUpgrade => State::Se,
            TagKind::Bootloader => State::Bootloader,
            TagKind::Program | TagKind::EraseProgram => State::Program,
            TagKind::Metadata => State::Data(Data::Metadata),
            TagKind::EncryptionData => {
                self.container = Some((0, self.tag_length));
                State::Idle
            }
            TagKind::Certificate => State::Certificate,
            TagKind::Signature => State::Signature,
            TagKind::End => State::Finalize,
            _ => {
                if self.custom_tags {
                    taker.decompressor.enter(kind);
                }
                State::Custom
            }
        };
        Ok(())
    }
}

/// A little-endian word; what is not there is 0.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}
