//! Reading an init packet as a device does.
//!
//! The device has nanopb 0.3.6 with a callback of Nordic's (nrf5 sdk 17.1: `pb_decode.c`, and in `nrf_dfu_validation.c`
//! `pb_decoding_callback` and `stored_init_cmd_decode`), which differs from a full protobuf library:
//!
//! * the wire type of a field it knows is not looked at, except that a repeated number may come packed;
//! * a tag 0 ends a message. The message around it goes on right behind, but is shorter by the announced length;
//! * a tag that the end of its message cuts off ends the message without an error;
//! * a scalar or message that comes again replaces or completes the former one;
//! * numbers wider than their field are an error, for enumerations too, which have one byte (`-fshort-enums`);
//! * since SDK 15.3 the init command of a signed packet is read a second time from the signed bytes, which reach to the
//!   end of the command around it: what stands behind the init command there is read as fields of the init command.

use std::ops::Range;

use super::codes::{FwType, HashType, SignatureType, ValidationType};
use super::init_packet::{BootValidation, Hash, InitCommand, InitPacket, InitPacketError, Signature};

/// Which decoder a device has. nanopb is the same in all of them, what is around it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Decoder {
    /// SDK 12 and 13: at most 4 entries of `sd_req`, no boot validation, and signatures over too little when the init
    /// command has 128 bytes or more, so that no such packet is taken (nrf5 sdk 12.3: `dfu_req_handling.c`,
    /// `pb_decoding_callback`). Of two forms the signed one counts, of two init commands both.
    Sdk12,
    /// SDK 14: as SDK 12 with 16 entries (nrf5 sdk 14.2: `dfu-cc.pb.h`).
    Sdk14,
    /// SDK 15.0: as SDK 14, without the reset command (nrf5 sdk 15.0: `nrf_dfu_validation.c`).
    Sdk15,
    /// SDK 15.3 and later, and nrfutil 5 and later.
    #[default]
    Sdk15_3,
}

impl Decoder {
    fn sd_req_max(self) -> usize {
        if self == Self::Sdk12 { 4 } else { SD_REQ_MAX }
    }

    fn knows_reset(self) -> bool {
        matches!(self, Self::Sdk12 | Self::Sdk14)
    }

    fn knows_boot_validation(self) -> bool {
        self == Self::Sdk15_3
    }

    /// Whether two forms and two init commands are errors, and where the signed bytes begin and are read again.
    fn is_strict(self) -> bool {
        self == Self::Sdk15_3
    }
}

/// Most entries of `sd_req` (nrf5 sdk 17.1: `dfu-cc.options`, as all limits here).
const SD_REQ_MAX: usize = 16;
/// Most entries of `boot_validation`.
const BOOT_VALIDATION_MAX: usize = 3;
/// Longest hash in bytes.
const HASH_MAX: usize = 32;
/// Longest signature in bytes.
const SIGNATURE_MAX: usize = 64;

type Result<T> = std::result::Result<T, InitPacketError>;

const WIRE_VARINT: u8 = 0;
const WIRE_64BIT: u8 = 1;
const WIRE_STRING: u8 = 2;
const WIRE_32BIT: u8 = 5;

/// What is left of a message. `at + left` is never behind the end of `bytes`.
#[derive(Clone, Copy)]
struct Stream<'a> {
    bytes: &'a [u8],
    at: usize,
    left: usize,
}

struct Tag {
    number: u32,
    wire: u8,
}

impl<'a> Stream<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, left: bytes.len() }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let truncated = InitPacketError::Truncated { offset: self.at };
        if len > self.left {
            return Err(truncated);
        }
        let end = self.at.saturating_add(len);
        let taken = self.bytes.get(self.at..end).ok_or(truncated)?;
        self.at = end;
        self.left -= len;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        let offset = self.at;
        self.take(1)?.first().copied().ok_or(InitPacketError::Truncated { offset })
    }

    /// Up to `bits` bits; higher ones of the last byte are lost, as in nanopb.
    fn varint(&mut self, bits: u32) -> Result<u64> {
        let offset = self.at;
        let mut value = 0u64;
        let mut shift = 0;
        loop {
            if shift >= bits {
                return Err(InitPacketError::Varint { offset });
            }
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
    }

    fn varint32(&mut self) -> Result<u32> {
        // The cast drops what the 32-bit arithmetic of the device drops.
        self.varint(32).map(|value| value as u32)
    }

    fn tag(&mut self) -> Result<Option<Tag>> {
        match self.varint32() {
            Ok(0) => Ok(None),
            Ok(value) => Ok(Some(Tag { number: value >> 3, wire: (value & 7) as u8 })),
            Err(_) if self.left == 0 => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn message(&mut self) -> Result<Self> {
        let len = self.varint32()? as usize;
        if len > self.left {
            return Err(InitPacketError::Truncated { offset: self.at });
        }
        self.left -= len;
        Ok(Self { bytes: self.bytes, at: self.at, left: len })
    }

    fn close(&mut self, message: Self) {
        self.at = message.at;
    }

    fn skip(&mut self, wire: u8) -> Result<()> {
        let offset = self.at;
        match wire {
            WIRE_VARINT => while self.byte()? & 0x80 != 0 {},
            WIRE_64BIT => drop(self.take(8)?),
            WIRE_STRING => {
                let len = self.varint32()? as usize;
                self.take(len)?;
            }
            WIRE_32BIT => drop(self.take(4)?),
            _ => return Err(InitPacketError::WireType { offset, wire_type: wire }),
        }
        Ok(())
    }

    /// Reads a message to its end. `field` gives `false` for a field it does not know, and leaves it where it is.
    fn fields(&mut self, field: &mut dyn FnMut(&mut Self, &Tag) -> Result<bool>) -> Result<()> {
        while self.left > 0 {
            let Some(tag) = self.tag()? else { break };
            if !field(self, &tag)? {
                self.skip(tag.wire)?;
            }
        }
        Ok(())
    }

    fn number(&mut self, field: &'static str) -> Result<u32> {
        let value = self.varint(64)?;
        u32::try_from(value).map_err(|_| InitPacketError::TooLarge { field, value })
    }

    fn code(&mut self, field: &'static str) -> Result<u8> {
        let value = self.varint(64)?;
        u8::try_from(value).map_err(|_| InitPacketError::TooLarge { field, value })
    }

    /// A `bool` is read as a signed number of 32 bits that has to fit one byte.
    fn flag(&mut self, field: &'static str) -> Result<bool> {
        let value = self.varint(64)?;
        match i8::try_from(value as u32 as i32) {
            Ok(number) => Ok(number != 0),
            Err(_) => Err(InitPacketError::TooLarge { field, value }),
        }
    }

    fn blob(&mut self, field: &'static str, max: usize) -> Result<Vec<u8>> {
        let len = self.varint32()?;
        if len as usize > max {
            return Err(InitPacketError::TooLong { field, len, max });
        }
        Ok(self.take(len as usize)?.to_vec())
    }
}

/// A command of either form.
#[derive(Default)]
struct Form {
    op_code: Option<u8>,
    init: Option<InitCommand>,
}

/// What the first pass finds.
#[derive(Default)]
struct Found {
    unsigned: Option<Form>,
    signed: Option<Form>,
    /// The signed bytes: behind the length of the init command up to the end of the command around it.
    signed_bytes: Option<Range<usize>>,
    init_twice: bool,
    signature: Option<Signature>,
}

pub(super) fn init_packet(bytes: &[u8], decoder: Decoder) -> Result<InitPacket> {
    let mut found = Found::default();
    Stream::new(bytes).fields(&mut |stream, tag| {
        match tag.number {
            1 => {
                let mut message = stream.message()?;
                let mut form = found.unsigned.take().unwrap_or_default();
                command(&mut message, &mut form, &mut found, decoder)?;
                found.unsigned = Some(form);
                stream.close(message);
            }
            2 => {
                let mut message = stream.message()?;
                signed_command(&mut message, &mut found, decoder)?;
                stream.close(message);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if decoder.is_strict() && found.init_twice {
        return Err(InitPacketError::InitTwice);
    }
    let both = found.unsigned.is_some() && found.signed.is_some();
    let is_signed = found.signed.is_some();
    let signed = found.signed_bytes.ok_or(InitPacketError::InitMissing)?;
    if decoder.is_strict() && both {
        return Err(InitPacketError::BothForms);
    }
    let form = found.signed.or(found.unsigned).ok_or(InitPacketError::InitMissing)?;
    let mut command = form.init.ok_or(InitPacketError::InitMissing)?;
    if decoder.is_strict() && is_signed {
        let mut stream = Stream { bytes, at: signed.start, left: signed.len() };
        command = InitCommand::default();
        init_command(&mut stream, &mut command, decoder)?;
    }
    Ok(InitPacket { op_code: form.op_code, command, signature: found.signature, signed })
}

fn command(stream: &mut Stream<'_>, form: &mut Form, found: &mut Found, decoder: Decoder) -> Result<()> {
    stream.fields(&mut |stream, tag| {
        match tag.number {
            1 => form.op_code = Some(stream.code("op_code")?),
            2 => {
                let len_at = stream.at;
                let end = stream.at.saturating_add(stream.left);
                let mut message = stream.message()?;
                found.init_twice |= found.signed_bytes.is_some();
                // Before SDK 15.3 the length was taken to have one byte.
                let start = if decoder.is_strict() { message.at } else { len_at.saturating_add(1) };
                found.signed_bytes = Some(start..end);
                init_command(&mut message, form.init.get_or_insert_default(), decoder)?;
                stream.close(message);
            }
            3 if decoder.knows_reset() => reset_command(stream)?,
            _ => return Ok(false),
        }
        Ok(true)
    })
}

/// Nothing comes of it, but it has to be right.
fn reset_command(stream: &mut Stream<'_>) -> Result<()> {
    let mut timeout = None;
    let mut message = stream.message()?;
    message.fields(&mut |stream, tag| {
        if tag.number != 1 {
            return Ok(false);
        }
        timeout = Some(stream.number("reset.timeout")?);
        Ok(true)
    })?;
    stream.close(message);
    timeout.map(drop).ok_or(InitPacketError::Missing { field: "reset.timeout" })
}

fn signed_command(stream: &mut Stream<'_>, found: &mut Found, decoder: Decoder) -> Result<()> {
    let mut has_command = false;
    let mut form = found.signed.take().unwrap_or_default();
    let (mut kind, mut bytes) = (None, None);
    stream.fields(&mut |stream, tag| {
        match tag.number {
            1 => {
                has_command = true;
                let mut message = stream.message()?;
                command(&mut message, &mut form, found, decoder)?;
                stream.close(message);
            }
            2 => kind = Some(stream.code("signature_type")?),
            3 => bytes = Some(stream.blob("signature", SIGNATURE_MAX)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if !has_command {
        return Err(InitPacketError::Missing { field: "signed_command.command" });
    }
    let kind = SignatureType::from_code(kind.ok_or(InitPacketError::Missing { field: "signature_type" })?);
    let bytes = bytes.ok_or(InitPacketError::Missing { field: "signature" })?;
    found.signature = Some(Signature { kind, bytes });
    found.signed = Some(form);
    Ok(())
}

fn init_command(stream: &mut Stream<'_>, init: &mut InitCommand, decoder: Decoder) -> Result<()> {
    stream.fields(&mut |stream, tag| {
        match tag.number {
            1 => init.fw_version = Some(stream.number("fw_version")?),
            2 => init.hw_version = Some(stream.number("hw_version")?),
            3 => sd_req(stream, tag.wire, &mut init.sd_req, decoder.sd_req_max())?,
            4 => init.fw_type = Some(FwType::from_code(stream.code("type")?)),
            5 => init.sd_size = Some(stream.number("sd_size")?),
            6 => init.bl_size = Some(stream.number("bl_size")?),
            7 => init.app_size = Some(stream.number("app_size")?),
            8 => {
                let (kind, bytes) = coded_bytes(stream, ["hash.hash_type", "hash.hash"], HASH_MAX)?;
                init.hash = Some(Hash { kind: HashType::from_code(kind), bytes });
            }
            9 => init.is_debug = Some(stream.flag("is_debug")?),
            10 if decoder.knows_boot_validation() => {
                if init.boot_validation.len() >= BOOT_VALIDATION_MAX {
                    return Err(InitPacketError::TooMany { field: "boot_validation", max: BOOT_VALIDATION_MAX });
                }
                let fields = ["boot_validation.type", "boot_validation.bytes"];
                let (kind, bytes) = coded_bytes(stream, fields, SIGNATURE_MAX)?;
                init.boot_validation.push(BootValidation { kind: ValidationType::from_code(kind), bytes });
            }
            _ => return Ok(false),
        }
        Ok(true)
    })
}

fn sd_req(stream: &mut Stream<'_>, wire: u8, list: &mut Vec<u32>, max: usize) -> Result<()> {
    let too_many = InitPacketError::TooMany { field: "sd_req", max };
    if wire != WIRE_STRING {
        if list.len() >= max {
            return Err(too_many);
        }
        list.push(stream.number("sd_req")?);
        return Ok(());
    }
    let mut packed = stream.message()?;
    while packed.left > 0 {
        if list.len() >= max {
            return Err(too_many);
        }
        list.push(packed.number("sd_req")?);
    }
    stream.close(packed);
    Ok(())
}

/// A message of a required enumeration, field 1, and required bytes, field 2.
fn coded_bytes(stream: &mut Stream<'_>, names: [&'static str; 2], max: usize) -> Result<(u8, Vec<u8>)> {
    let [kind_name, bytes_name] = names;
    let (mut kind, mut bytes) = (None, None);
    let mut message = stream.message()?;
    message.fields(&mut |stream, tag| {
        match tag.number {
            1 => kind = Some(stream.code(kind_name)?),
            2 => bytes = Some(stream.blob(bytes_name, max)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    stream.close(message);
    let kind = kind.ok_or(InitPacketError::Missing { field: kind_name })?;
    Ok((kind, bytes.ok_or(InitPacketError::Missing { field: bytes_name })?))
}
