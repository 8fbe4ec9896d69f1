//! What a controller does at the commands of its host (volume 4, part E, section 7).
//!
//! Each command is answered once, at once, by the event that the specification names; what else it leads to comes after
//! that. A command that is not known, or too short or too long, is refused.

mod advertising;
mod baseline;
mod connection;
mod encryption;
mod lists;
mod scanning;

use super::Ether;
use super::codec::{Fields, Reader};
use super::host::code;
use super::opcode::{self as op, Answered};
use super::status::Status;
pub(super) use baseline::{VERSION, features};

/// Commands that a host may send before it waits for an answer.
const COMMANDS_AT_ONCE: u8 = 1;

/// What a command returns behind its status, or why it was refused.
type Outcome = Result<Fields, Status>;

impl Ether {
    /// A command of a host; what is not even the head of one is dropped.
    pub(super) fn command_packet(&mut self, controller: usize, packet: &[u8]) {
        let mut reader = Reader::new(packet);
        let Ok(opcode) = reader.u16() else { return };
        let place = self.controllers[controller].waiting();
        let (answered, outcome) = match op::known(opcode, self.settings.extended) {
            None => (Answered::Status, Err(Status::UNKNOWN_COMMAND)),
            Some(known) => {
                let outcome = parameters(reader, known.length)
                    .and_then(|parameters| self.carry_out(controller, opcode, Reader::new(parameters)));
                (known.answered, outcome)
            }
        };
        let answer = match (answered, outcome) {
            (Answered::Status, outcome) => {
                let status = outcome.err().unwrap_or(Status::SUCCESS);
                Fields::new().status(status).u8(COMMANDS_AT_ONCE).u16(opcode).event(code::COMMAND_STATUS)
            }
            (answered, outcome) => {
                let fields = Fields::new().u8(COMMANDS_AT_ONCE).u16(opcode);
                let fields = match outcome {
                    Ok(returned) => fields.status(Status::SUCCESS).bytes(&returned.0),
                    Err(status) if answered == Answered::CompleteWithHandle => {
                        let handle = packet.get(3..5).unwrap_or(&[0, 0]);
                        fields.status(status).bytes(handle)
                    }
                    Err(status) => fields.status(status),
                };
                fields.event(code::COMMAND_COMPLETE)
            }
        };
        self.controllers[controller].insert(place, answer);
    }

    fn carry_out(&mut self, on: usize, opcode: u16, p: Reader<'_>) -> Outcome {
        match opcode {
            op::DISCONNECT => self.disconnect(on, p),
            op::READ_REMOTE_VERSION => self.read_remote_version(on, p),
            op::RESET => self.reset(on),
            op::SET_EVENT_MASK
            | op::SET_EVENT_MASK_2
            | op::LE_SET_EVENT_MASK
            | op::READ_LOCAL_VERSION
            | op::READ_LOCAL_COMMANDS
            | op::READ_LOCAL_FEATURES
            | op::READ_BUFFER_SIZE
            | op::READ_BD_ADDR
            | op::LE_READ_BUFFER_SIZE
            | op::LE_READ_LOCAL_FEATURES
            | op::LE_READ_SUPPORTED_STATES
            | op::LE_READ_TRANSMIT_POWER
            | op::LE_READ_ADVERTISING_TX_POWER
            | op::LE_READ_MAXIMUM_DATA_LENGTH
            | op::LE_READ_DEFAULT_DATA_LENGTH
            | op::LE_WRITE_DEFAULT_DATA_LENGTH
            | op::LE_SET_DEFAULT_PHY
            | op::LE_SET_RANDOM_ADDRESS
            | op::LE_SET_HOST_CHANNEL_CLASSIFICATION
            | op::LE_RAND
            | op::LE_ENCRYPT => self.baseline(on, opcode, p),
            op::LE_READ_ACCEPT_LIST_SIZE
            | op::LE_CLEAR_ACCEPT_LIST
            | op::LE_ADD_TO_ACCEPT_LIST
            | op::LE_REMOVE_FROM_ACCEPT_LIST
            | op::LE_ADD_TO_RESOLVING_LIST
            | op::LE_REMOVE_FROM_RESOLVING_LIST
            | op::LE_CLEAR_RESOLVING_LIST
            | op::LE_READ_RESOLVING_LIST_SIZE
            | op::LE_SET_ADDRESS_RESOLUTION
            | op::LE_SET_PRIVATE_ADDRESS_TIMEOUT
            | op::LE_SET_PRIVACY_MODE => self.lists(on, opcode, p),
            op::LE_SET_ADVERTISING_PARAMETERS => self.set_advertising_parameters(on, p),
            op::LE_SET_ADVERTISING_DATA => self.set_advertising_data(on, p, false),
            op::LE_SET_SCAN_RESPONSE_DATA => self.set_advertising_data(on, p, true),
            op::LE_SET_ADVERTISING_ENABLE => self.set_advertising_enable(on, p),
            op::LE_SET_ADVERTISING_SET_ADDRESS => self.set_advertising_set_address(on, p),
            op::LE_SET_EXTENDED_ADVERTISING_PARAMETERS => self.set_extended_advertising_parameters(on, p),
            op::LE_SET_EXTENDED_ADVERTISING_DATA => self.set_extended_advertising_data(on, p, false),
            op::LE_SET_EXTENDED_SCAN_RESPONSE_DATA => self.set_extended_advertising_data(on, p, true),
            op::LE_SET_EXTENDED_ADVERTISING_ENABLE => self.set_extended_advertising_enable(on, p),
            op::LE_READ_MAXIMUM_ADVERTISING_DATA_LENGTH => self.read_maximum_advertising_data_length(on),
            op::LE_READ_NUMBER_OF_ADVERTISING_SETS => self.read_number_of_advertising_sets(on),
            op::LE_REMOVE_ADVERTISING_SET => self.remove_advertising_set(on, p),
            op::LE_CLEAR_ADVERTISING_SETS => self.clear_advertising_sets(on),
            op::LE_SET_SCAN_PARAMETERS => self.set_scan_parameters(on, p),
            op::LE_SET_SCAN_ENABLE => self.set_scan_enable(on, p),
            op::LE_SET_EXTENDED_SCAN_PARAMETERS => self.set_extended_scan_parameters(on, p),
            op::LE_SET_EXTENDED_SCAN_ENABLE => self.set_extended_scan_enable(on, p),
            op::LE_CREATE_CONNECTION => self.create_connection(on, p),
            op::LE_EXTENDED_CREATE_CONNECTION => self.extended_create_connection(on, p),
            op::LE_CREATE_CONNECTION_CANCEL => self.create_connection_cancel(on),
            op::LE_CONNECTION_UPDATE => self.connection_update(on, p),
            op::LE_PARAMETER_REQUEST_REPLY => self.parameter_request_reply(on, p),
            op::LE_PARAMETER_REQUEST_NEGATIVE_REPLY => self.parameter_request_negative_reply(on, p),
            op::LE_READ_REMOTE_FEATURES => self.read_remote_features(on, p),
            op::LE_READ_CHANNEL_MAP => self.read_channel_map(on, p),
            op::LE_SET_DATA_LENGTH => self.set_data_length(on, p),
            op::LE_READ_PHY => self.read_phy(on, p),
            op::LE_SET_PHY => self.set_phy(on, p),
            op::READ_RSSI => self.read_rssi(on, p),
            op::READ_TRANSMIT_POWER => self.read_transmit_power(on, p),
            op::LE_ENABLE_ENCRYPTION => self.enable_encryption(on, p),
            op::LE_LTK_REQUEST_REPLY => self.ltk_request_reply(on, p),
            op::LE_LTK_REQUEST_NEGATIVE_REPLY => self.ltk_request_negative_reply(on, p),
            _ => Err(Status::UNKNOWN_COMMAND),
        }
    }

    /// Everything is as after power on, and links are gone without a word: their other ends find out by themselves.
    fn reset(&mut self, on: usize) -> Outcome {
        self.forget_links(on);
        self.controllers[on].reset();
        Ok(Fields::new())
    }
}

/// The parameters of a command, if they are as long as they say and as they have to be.
fn parameters(mut reader: Reader<'_>, expected: Option<usize>) -> Result<&[u8], Status> {
    let length = usize::from(reader.u8()?);
    if expected.is_some_and(|expected| expected != length) {
        return Err(Status::INVALID_PARAMETERS);
    }
    let parameters = reader.bytes(length)?;
    reader.end()?;
    Ok(parameters)
}
