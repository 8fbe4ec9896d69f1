//! The init packet of Secure DFU: what an image is, and who says so (nrf5 sdk 17.1: `dfu-cc.proto`).

use std::ops::Range;

use prost::Message;
use thiserror::Error;

use super::codes::{FwType, HashType, SignatureType, ValidationType};
use super::{decode, proto};

pub use super::decode::Decoder;

/// Longest init packet in bytes that a device takes since SDK 15.3; before it was 256
/// (nrf5 sdk 17.1: `nrf_dfu_types.h`, `INIT_COMMAND_MAX_SIZE`).
pub const INIT_PACKET_MAX: usize = 512;
/// The only operation code of an init packet.
pub const OP_CODE_INIT: u8 = 1;

/// Why a device cannot read an init packet. It answers all of them alike.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InitPacketError {
    /// Bytes are missing.
    #[error("the init packet ends inside the field at byte {offset}")]
    Truncated {
        /// Offset in the packet, in bytes.
        offset: usize,
    },
    /// A number that does not end.
    #[error("the number at byte {offset} of the init packet does not end")]
    Varint {
        /// Offset in the packet, in bytes.
        offset: usize,
    },
    /// A field that cannot be skipped.
    #[error("the field before byte {offset} of the init packet has the wire type {wire_type}, which does not exist")]
    WireType {
        /// Offset in the packet behind the tag, in bytes.
        offset: usize,
        /// Wire type.
        wire_type: u8,
    },
    /// A number wider than its field.
    #[error("{value} is too large for the field {field} of the init packet")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// What is there.
        value: u64,
    },
    /// More bytes than a device has room for.
    #[error("the field {field} of the init packet has {len} bytes, a device takes at most {max}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// What is announced, in bytes.
        len: u32,
        /// Limit in bytes.
        max: usize,
    },
    /// More entries than a device has room for.
    #[error("the field {field} of the init packet has more than {max} entries")]
    TooMany {
        /// The field.
        field: &'static str,
        /// Most entries.
        max: usize,
    },
    /// A required field is not there.
    #[error("the init packet has no field {field}")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// Both a command and a signed command.
    #[error("the init packet has a signed and an unsigned command")]
    BothForms,
    /// No init command.
    #[error("the init packet has no init command")]
    InitMissing,
    /// Two init commands.
    #[error("the init packet has more than one init command")]
    InitTwice,
}

/// The hash of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hash {
    /// How it was made.
    pub kind: HashType,
    /// SHA-256 with its bytes in reverse order; at most 32 bytes.
    pub bytes: Vec<u8>,
}

/// What the bootloader checks of one image at every boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootValidation {
    /// What.
    pub kind: ValidationType,
    /// For a signature: r and s, each with its bytes in reverse order. Otherwise empty. At most 64 bytes.
    pub bytes: Vec<u8>,
}

/// What the image is. `None`: the field is absent, which the checks of a device tell from zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InitCommand {
    /// Version of the image; for a SoftDevice with a bootloader that of the bootloader.
    pub fw_version: Option<u32>,
    /// Hardware that it is for.
    pub hw_version: Option<u32>,
    /// Firmware ids of the SoftDevices of which one must be there; at most 16.
    pub sd_req: Vec<u32>,
    /// What it replaces; field `type` of the schema.
    pub fw_type: Option<FwType>,
    /// Size of the SoftDevice in bytes.
    pub sd_size: Option<u32>,
    /// Size of the bootloader in bytes.
    pub bl_size: Option<u32>,
    /// Size of the application in bytes.
    pub app_size: Option<u32>,
    /// Hash of the image; of SoftDevice and bootloader together, if both are in it.
    pub hash: Option<Hash>,
    /// Whether a debug build of the bootloader may skip the version checks.
    pub is_debug: Option<bool>,
    /// For each image, SoftDevice first; at most 3.
    pub boot_validation: Vec<BootValidation>,
}

/// A signature over the init command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// How it was made.
    pub kind: SignatureType,
    /// r and s, each with its bytes in reverse order: 64 bytes; at most as many.
    pub bytes: Vec<u8>,
}

/// An init packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitPacket {
    /// [`OP_CODE_INIT`]; no device looks at it.
    pub op_code: Option<u8>,
    /// What the image is.
    pub command: InitCommand,
    /// `None`: the packet is of the unsigned form.
    pub signature: Option<Signature>,
    /// Which bytes of the packet a signature is over: from the body of the init command to the end of the command
    /// around it.
    pub signed: Range<usize>,
}

impl InitCommand {
    /// Bytes that the whole image has, as a device counts them: absent sizes are 0, and a sum wraps. `None` for a type
    /// that is absent or has no meaning (nrf5 sdk 17.1: `nrf_dfu_validation.c`, `update_data_size_get`).
    #[must_use]
    pub fn image_size(&self) -> Option<u32> {
        let [sd, bl, app] = [self.sd_size, self.bl_size, self.app_size].map(|size| size.unwrap_or(0));
        match self.fw_type? {
            FwType::Application | FwType::ExternalApplication => Some(app),
            FwType::Softdevice => Some(sd),
            FwType::Bootloader => Some(bl),
            FwType::SoftdeviceBootloader => Some(sd.wrapping_add(bl)),
            FwType::Other(_) => None,
        }
    }

    /// The body of the command as nrfutil writes it: fields in the order of their tags, `sd_req` packed. These are the
    /// bytes that are signed.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        self.message().encode_to_vec()
    }

    fn message(&self) -> proto::InitCommand {
        proto::InitCommand {
            fw_version: self.fw_version,
            hw_version: self.hw_version,
            sd_req: self.sd_req.clone(),
            fw_type: self.fw_type.map(|kind| kind.code().into()),
            sd_size: self.sd_size,
            bl_size: self.bl_size,
            app_size: self.app_size,
            hash: self
                .hash
                .as_ref()
                .map(|hash| proto::Hash { hash_type: hash.kind.code().into(), hash: hash.bytes.clone() }),
            is_debug: self.is_debug,
            boot_validation: self
                .boot_validation
                .iter()
                .map(|entry| proto::BootValidation { kind: entry.kind.code().into(), bytes: entry.bytes.clone() })
                .collect(),
        }
    }
}

impl InitPacket {
    /// A packet with this command; of the unsigned form without a signature.
    #[must_use]
    pub fn new(command: InitCommand, signature: Option<Signature>) -> Self {
        let mut packet = Self { op_code: Some(OP_CODE_INIT), command, signature, signed: 0..0 };
        packet.signed = packet.signed_when_emitted();
        packet
    }

    /// Reads a packet and takes exactly what a device with SDK 15.3 or later takes.
    ///
    /// # Errors
    /// [`InitPacketError`]: a device answers "invalid object" (05).
    pub fn parse(bytes: &[u8]) -> Result<Self, InitPacketError> {
        Self::parse_as(bytes, Decoder::default())
    }

    /// As [`InitPacket::parse`], for devices with other decoders.
    ///
    /// # Errors
    /// As there.
    pub fn parse_as(bytes: &[u8], decoder: Decoder) -> Result<Self, InitPacketError> {
        decode::init_packet(bytes, decoder)
    }

    /// The bytes of the packet, as nrfutil writes them.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let command = self.command_message();
        let packet = match &self.signature {
            None => proto::Packet { command: Some(command), signed_command: None },
            Some(signature) => {
                let signed = proto::SignedCommand {
                    command,
                    signature_type: signature.kind.code().into(),
                    signature: signature.bytes.clone(),
                };
                proto::Packet { command: None, signed_command: Some(signed) }
            }
        };
        packet.encode_to_vec()
    }

    /// The bytes that a signature is over; `None` when `packet` is not the one this was read from.
    #[must_use]
    pub fn signed_bytes<'a>(&self, packet: &'a [u8]) -> Option<&'a [u8]> {
        packet.get(self.signed.clone())
    }

    /// Whether the packet says it is for debug builds.
    #[must_use]
    pub fn is_debug(&self) -> bool {
        self.command.is_debug.unwrap_or(false)
    }

    fn command_message(&self) -> proto::Command {
        proto::Command { op_code: self.op_code.map(u32::from), init: Some(self.command.message()) }
    }

    /// The signed bytes are the last of the command, and the command is the last of the unsigned packet; in a signed one
    /// the type and the signature follow.
    fn signed_when_emitted(&self) -> Range<usize> {
        let behind = self.signature.as_ref().map_or(0, |signature| {
            let fields = proto::Signature { kind: signature.kind.code().into(), bytes: signature.bytes.clone() };
            fields.encoded_len()
        });
        let end = self.emit().len().saturating_sub(behind);
        end.saturating_sub(self.command.message().encoded_len())..end
    }
}

#[cfg(test)]
#[path = "init_packet_tests.rs"]
mod tests;
