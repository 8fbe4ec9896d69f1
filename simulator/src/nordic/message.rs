//! Messages of Nordic's protocols as the trace has them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::wire::{COMMAND, DATA, Payload, Request, Response, opcode};
use super::{Endpoint, calls, legacy};
use crate::device::program::Saying;

/// A message, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct DfuMessage {
    /// Which protocol: `secure-dfu`, `buttonless`, `legacy-dfu` or `silabs-ota`.
    pub protocol: String,
    /// The call, or the call that it answers.
    pub call: String,
    /// Bytes of a packet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub len: Option<u64>,
    /// Size of an object that is created.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub size: Option<u32>,
    /// Packets after which a receipt is notified.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prn: Option<u16>,
    /// Result of an answer: 1 is success.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub result: Option<u8>,
    /// Code of an extended error.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub extended: Option<u8>,
    /// Largest object.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_size: Option<u32>,
    /// Bytes received.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offset: Option<u32>,
    /// CRC-32 of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub crc: Option<u32>,
    /// Sizes of SoftDevice, bootloader and application.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sizes: Option<[u32; 3]>,
    /// What is updated: 1 SoftDevice, 2 bootloader, 4 application, or the sum of some.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mode: Option<u8>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// The protocol of an endpoint.
fn protocol(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::ControlPoint | Endpoint::Packet | Endpoint::Serial => "secure-dfu",
        Endpoint::Buttonless | Endpoint::BondedButtonless | Endpoint::ExperimentalButtonless => "buttonless",
        Endpoint::LegacyControlPoint | Endpoint::LegacyPacket | Endpoint::LegacyVersion => "legacy-dfu",
        Endpoint::OtaControl | Endpoint::OtaData => "silabs-ota",
    }
}

impl DfuMessage {
    /// A message of this protocol.
    #[must_use]
    pub fn new(endpoint: Endpoint, call: &str) -> Self {
        Self { protocol: protocol(endpoint).into(), call: call.into(), ..Self::default() }
    }

    /// A message of Legacy DFU.
    #[must_use]
    pub fn legacy(call: &str) -> Self {
        Self::new(Endpoint::LegacyControlPoint, call)
    }

    /// An answer of Legacy DFU to this call, or the acknowledgement of a frame.
    #[must_use]
    pub fn of_legacy_answer(value: &[u8], call: &str) -> Self {
        let mut message = Self::legacy(call);
        match legacy::wire::Answer::parse(value) {
            Some(legacy::wire::Answer::Response { status, .. }) => message.result = Some(status),
            Some(legacy::wire::Answer::Size(bytes)) => (message.result, message.offset) = (Some(1), Some(bytes)),
            Some(legacy::wire::Answer::Receipt(bytes)) => message.offset = Some(bytes),
            None if legacy::hci::acknowledged(value).is_some() => {}
            None => message.error = Some("no answer".into()),
        }
        message
    }

    /// A packet of this many bytes.
    #[must_use]
    pub fn packet(endpoint: Endpoint, call: &str, len: usize) -> Self {
        Self { len: Some(len as u64), ..Self::new(endpoint, call) }
    }

    /// A request of Secure DFU, while this object is current.
    #[must_use]
    pub fn of_request(value: &[u8], current: u8) -> (Self, &'static str) {
        match Request::parse(value) {
            Err(malformed) => {
                let message = Self::new(Endpoint::ControlPoint, calls::MALFORMED);
                (Self { error: Some(malformed.to_string()), ..message }, calls::MALFORMED)
            }
            Ok(request) => {
                let call = call_of(&request, current);
                let mut message = Self::new(Endpoint::ControlPoint, call);
                match request {
                    Request::Create { size, .. } => message.size = Some(size),
                    Request::SetPrn(prn) => message.prn = Some(prn),
                    Request::Write(data) => message.len = Some(data.len() as u64),
                    Request::Unknown(opcode) => message.error = Some(format!("opcode {opcode:#04x} is not known")),
                    _ => {}
                }
                (message, call)
            }
        }
    }

    /// A response of Secure DFU to this call.
    #[must_use]
    pub fn of_response(value: &[u8], call: &str) -> Self {
        let mut message = Self::new(Endpoint::ControlPoint, call);
        let Some(response) = Response::parse(value) else {
            message.error = Some("no response".into());
            return message;
        };
        message.result = Some(response.result);
        message.extended = response.extended;
        match response.payload {
            Payload::Crc { offset, crc } => (message.offset, message.crc) = (Some(offset), Some(crc)),
            Payload::Select { max_size, offset, crc } => {
                (message.max_size, message.offset, message.crc) = (Some(max_size), Some(offset), Some(crc));
            }
            _ => {}
        }
        message
    }

    /// What the program says.
    #[must_use]
    pub fn of_saying(saying: &Saying) -> Self {
        if saying.call.starts_with("legacy-") {
            return Self::of_legacy_answer(&saying.value, saying.call);
        }
        match saying.from {
            Endpoint::ControlPoint | Endpoint::Packet | Endpoint::Serial => {
                Self::of_response(&saying.value, saying.call)
            }
            Endpoint::Buttonless | Endpoint::BondedButtonless | Endpoint::ExperimentalButtonless => {
                Self { result: saying.value.get(2).copied(), ..Self::new(saying.from, saying.call) }
            }
            Endpoint::LegacyControlPoint | Endpoint::LegacyPacket | Endpoint::LegacyVersion => {
                Self::of_legacy_answer(&saying.value, saying.call)
            }
            Endpoint::OtaControl | Endpoint::OtaData => Self::new(saying.from, saying.call),
        }
    }

    /// A request to a buttonless service.
    #[must_use]
    pub fn of_buttonless(endpoint: Endpoint, value: &[u8]) -> (Self, &'static str) {
        let call = match value.first() {
            Some(1) => "enter-bootloader",
            Some(2) => "set-name",
            _ => calls::MALFORMED,
        };
        let message = Self::new(endpoint, call);
        (if call == "set-name" { Self { len: Some(value.len() as u64), ..message } } else { message }, call)
    }
}

/// The name of a request, while this object is current.
#[must_use]
pub fn call_of(request: &Request, current: u8) -> &'static str {
    let object = match request {
        Request::Create { object, .. } | Request::Select { object } => *object,
        _ => current,
    };
    match (request.opcode(), object) {
        (opcode::CREATE, COMMAND) => "create-command",
        (opcode::CREATE, DATA) => "create-data",
        (opcode::SELECT, COMMAND) => "select-command",
        (opcode::SELECT, DATA) => "select-data",
        (opcode::EXECUTE, COMMAND) => "execute-command",
        (opcode::EXECUTE, DATA) => "execute-data",
        (opcode::WRITE, DATA) => "data-packet",
        (opcode::WRITE, _) => "command-packet",
        (opcode::CRC, _) => "crc",
        (opcode::SET_PRN, _) => "set-prn",
        (opcode::PROTOCOL_VERSION, _) => "protocol-version",
        (opcode::MTU, _) => "mtu",
        (opcode::PING, _) => "ping",
        (opcode::HARDWARE_VERSION, _) => "hardware-version",
        (opcode::FIRMWARE_VERSION, _) => "firmware-version",
        (opcode::ABORT, _) => "abort",
        _ => calls::MALFORMED,
    }
}

/// A packet's name while this object is current.
#[must_use]
pub fn packet_call(current: u8) -> &'static str {
    if current == DATA { "data-packet" } else { "command-packet" }
}

/// The name of the call with this opcode, while this object is current.
#[must_use]
pub fn call_of_opcode(opcode: u8, current: u8) -> &'static str {
    let request = match opcode {
        opcode::CREATE => Request::Create { object: current, size: 0 },
        opcode::SELECT => Request::Select { object: current },
        opcode::CRC => Request::Crc,
        opcode::EXECUTE => Request::Execute,
        opcode::SET_PRN => Request::SetPrn(0),
        opcode::PROTOCOL_VERSION => Request::ProtocolVersion,
        opcode::MTU => Request::Mtu,
        opcode::PING => Request::Ping(0),
        opcode::HARDWARE_VERSION => Request::HardwareVersion,
        opcode::FIRMWARE_VERSION => Request::FirmwareVersion(0),
        opcode::ABORT => Request::Abort,
        other => Request::Unknown(other),
    };
    call_of(&request, current)
}
