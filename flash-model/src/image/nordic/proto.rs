//! The messages of the init packet (nrf5 sdk 17.1: `dfu-cc.proto`, proto2, package `dfu`), for writing.
//!
//! Enumerations are `uint32` here, which is the same on the wire: a broken packet may hold any number. What a device
//! reads is not what a protobuf library reads; see `decode.rs` for that.

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Hash {
    #[prost(uint32, required, tag = "1")]
    pub(super) hash_type: u32,
    #[prost(bytes = "vec", required, tag = "2")]
    pub(super) hash: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct BootValidation {
    #[prost(uint32, required, tag = "1")]
    pub(super) kind: u32,
    #[prost(bytes = "vec", required, tag = "2")]
    pub(super) bytes: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct InitCommand {
    #[prost(uint32, optional, tag = "1")]
    pub(super) fw_version: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) hw_version: Option<u32>,
    #[prost(uint32, repeated, packed = "true", tag = "3")]
    pub(super) sd_req: Vec<u32>,
    #[prost(uint32, optional, tag = "4")]
    pub(super) fw_type: Option<u32>,
    #[prost(uint32, optional, tag = "5")]
    pub(super) sd_size: Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    pub(super) bl_size: Option<u32>,
    #[prost(uint32, optional, tag = "7")]
    pub(super) app_size: Option<u32>,
    #[prost(message, optional, tag = "8")]
    pub(super) hash: Option<Hash>,
    #[prost(bool, optional, tag = "9")]
    pub(super) is_debug: Option<bool>,
    #[prost(message, repeated, tag = "10")]
    pub(super) boot_validation: Vec<BootValidation>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Command {
    #[prost(uint32, optional, tag = "1")]
    pub(super) op_code: Option<u32>,
    #[prost(message, optional, tag = "2")]
    pub(super) init: Option<InitCommand>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct SignedCommand {
    #[prost(message, required, tag = "1")]
    pub(super) command: Command,
    #[prost(uint32, required, tag = "2")]
    pub(super) signature_type: u32,
    #[prost(bytes = "vec", required, tag = "3")]
    pub(super) signature: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Packet {
    #[prost(message, optional, tag = "1")]
    pub(super) command: Option<Command>,
    #[prost(message, optional, tag = "2")]
    pub(super) signed_command: Option<SignedCommand>,
}

/// The last two fields of [`SignedCommand`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Signature {
    #[prost(uint32, required, tag = "2")]
    pub(super) kind: u32,
    #[prost(bytes = "vec", required, tag = "3")]
    pub(super) bytes: Vec<u8>,
}
