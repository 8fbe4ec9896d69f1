//! The commands that a controller knows (volume 4, part E, section 7), and the bits that announce them (6.27).

/// How a command is answered at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// By Command Complete.
    Complete,
    /// By Command Complete, whose parameters begin with the handle of the connection even when it was refused.
    CompleteWithHandle,
    /// By Command Status; its outcome is an event of its own.
    Status,
}

use Answered::{Complete, CompleteWithHandle, Status};

/// A command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) opcode: u16,
    /// Octet and bit in the mask of supported commands.
    pub(super) bit: (usize, u8),
    /// Length of its parameters, in bytes, where it is always the same.
    pub(super) length: Option<usize>,
    pub(super) answered: Answered,
    /// It is there with extended advertising only.
    pub(super) extended: bool,
}

macro_rules! commands {
    ($($name:ident = $opcode:literal, $octet:literal : $bit:literal, $length:expr, $answered:ident $(, $extended:ident)?;)*) => {
        $(pub(super) const $name: u16 = $opcode;)*
        /// Every command that is known.
        pub(super) const COMMANDS: &[Known] = &[
            $(Known {
                opcode: $opcode,
                bit: ($octet, $bit),
                length: $length,
                answered: $answered,
                extended: $(stringify!($extended).len() > 0 ||)? false,
            },)*
        ];
    };
}

commands! {
    DISCONNECT = 0x0406, 0:5, Some(3), Status;
    READ_REMOTE_VERSION = 0x041D, 2:7, Some(2), Status;
    SET_EVENT_MASK = 0x0C01, 5:6, Some(8), Complete;
    RESET = 0x0C03, 5:7, Some(0), Complete;
    READ_TRANSMIT_POWER = 0x0C2D, 10:2, Some(3), CompleteWithHandle;
    SET_EVENT_MASK_2 = 0x0C63, 22:2, Some(8), Complete;
    READ_LOCAL_VERSION = 0x1001, 14:3, Some(0), Complete;
    READ_LOCAL_COMMANDS = 0x1002, 14:4, Some(0), Complete;
    READ_LOCAL_FEATURES = 0x1003, 14:5, Some(0), Complete;
    READ_BUFFER_SIZE = 0x1005, 14:7, Some(0), Complete;
    READ_BD_ADDR = 0x1009, 15:1, Some(0), Complete;
    READ_RSSI = 0x1405, 15:5, Some(2), CompleteWithHandle;
    LE_SET_EVENT_MASK = 0x2001, 25:0, Some(8), Complete;
    LE_READ_BUFFER_SIZE = 0x2002, 25:1, Some(0), Complete;
    LE_READ_LOCAL_FEATURES = 0x2003, 25:2, Some(0), Complete;
    LE_SET_RANDOM_ADDRESS = 0x2005, 25:4, Some(6), Complete;
    LE_SET_ADVERTISING_PARAMETERS = 0x2006, 25:5, Some(15), Complete;
    LE_READ_ADVERTISING_TX_POWER = 0x2007, 25:6, Some(0), Complete;
    LE_SET_ADVERTISING_DATA = 0x2008, 25:7, Some(32), Complete;
    LE_SET_SCAN_RESPONSE_DATA = 0x2009, 26:0, Some(32), Complete;
    LE_SET_ADVERTISING_ENABLE = 0x200A, 26:1, Some(1), Complete;
    LE_SET_SCAN_PARAMETERS = 0x200B, 26:2, Some(7), Complete;
    LE_SET_SCAN_ENABLE = 0x200C, 26:3, Some(2), Complete;
    LE_CREATE_CONNECTION = 0x200D, 26:4, Some(25), Status;
    LE_CREATE_CONNECTION_CANCEL = 0x200E, 26:5, Some(0), Complete;
    LE_READ_ACCEPT_LIST_SIZE = 0x200F, 26:6, Some(0), Complete;
    LE_CLEAR_ACCEPT_LIST = 0x2010, 26:7, Some(0), Complete;
    LE_ADD_TO_ACCEPT_LIST = 0x2011, 27:0, Some(7), Complete;
    LE_REMOVE_FROM_ACCEPT_LIST = 0x2012, 27:1, Some(7), Complete;
    LE_CONNECTION_UPDATE = 0x2013, 27:2, Some(14), Status;
    LE_SET_HOST_CHANNEL_CLASSIFICATION = 0x2014, 27:3, Some(5), Complete;
    LE_READ_CHANNEL_MAP = 0x2015, 27:4, Some(2), CompleteWithHandle;
    LE_READ_REMOTE_FEATURES = 0x2016, 27:5, Some(2), Status;
    LE_ENCRYPT = 0x2017, 27:6, Some(32), Complete;
    LE_RAND = 0x2018, 27:7, Some(0), Complete;
    LE_ENABLE_ENCRYPTION = 0x2019, 28:0, Some(28), Status;
    LE_LTK_REQUEST_REPLY = 0x201A, 28:1, Some(18), CompleteWithHandle;
    LE_LTK_REQUEST_NEGATIVE_REPLY = 0x201B, 28:2, Some(2), CompleteWithHandle;
    LE_READ_SUPPORTED_STATES = 0x201C, 28:3, Some(0), Complete;
    LE_PARAMETER_REQUEST_REPLY = 0x2020, 33:4, Some(14), CompleteWithHandle;
    LE_PARAMETER_REQUEST_NEGATIVE_REPLY = 0x2021, 33:5, Some(3), CompleteWithHandle;
    LE_SET_DATA_LENGTH = 0x2022, 33:6, Some(6), CompleteWithHandle;
    LE_READ_DEFAULT_DATA_LENGTH = 0x2023, 33:7, Some(0), Complete;
    LE_WRITE_DEFAULT_DATA_LENGTH = 0x2024, 34:0, Some(4), Complete;
    LE_ADD_TO_RESOLVING_LIST = 0x2027, 34:3, Some(39), Complete;
    LE_REMOVE_FROM_RESOLVING_LIST = 0x2028, 34:4, Some(7), Complete;
    LE_CLEAR_RESOLVING_LIST = 0x2029, 34:5, Some(0), Complete;
    LE_READ_RESOLVING_LIST_SIZE = 0x202A, 34:6, Some(0), Complete;
    LE_SET_ADDRESS_RESOLUTION = 0x202D, 35:1, Some(1), Complete;
    LE_SET_PRIVATE_ADDRESS_TIMEOUT = 0x202E, 35:2, Some(2), Complete;
    LE_READ_MAXIMUM_DATA_LENGTH = 0x202F, 35:3, Some(0), Complete;
    LE_READ_PHY = 0x2030, 35:4, Some(2), CompleteWithHandle;
    LE_SET_DEFAULT_PHY = 0x2031, 35:5, Some(3), Complete;
    LE_SET_PHY = 0x2032, 35:6, Some(7), Status;
    LE_SET_ADVERTISING_SET_ADDRESS = 0x2035, 36:1, Some(7), Complete, extended;
    LE_SET_EXTENDED_ADVERTISING_PARAMETERS = 0x2036, 36:2, Some(25), Complete, extended;
    LE_SET_EXTENDED_ADVERTISING_DATA = 0x2037, 36:3, None, Complete, extended;
    LE_SET_EXTENDED_SCAN_RESPONSE_DATA = 0x2038, 36:4, None, Complete, extended;
    LE_SET_EXTENDED_ADVERTISING_ENABLE = 0x2039, 36:5, None, Complete, extended;
    LE_READ_MAXIMUM_ADVERTISING_DATA_LENGTH = 0x203A, 36:6, Some(0), Complete, extended;
    LE_READ_NUMBER_OF_ADVERTISING_SETS = 0x203B, 36:7, Some(0), Complete, extended;
    LE_REMOVE_ADVERTISING_SET = 0x203C, 37:0, Some(1), Complete, extended;
    LE_CLEAR_ADVERTISING_SETS = 0x203D, 37:1, Some(0), Complete, extended;
    LE_SET_EXTENDED_SCAN_PARAMETERS = 0x2041, 37:5, None, Complete, extended;
    LE_SET_EXTENDED_SCAN_ENABLE = 0x2042, 37:6, Some(6), Complete, extended;
    LE_EXTENDED_CREATE_CONNECTION = 0x2043, 37:7, None, Status, extended;
    LE_READ_TRANSMIT_POWER = 0x204B, 38:7, Some(0), Complete;
    LE_SET_PRIVACY_MODE = 0x204E, 39:2, Some(8), Complete;
}

/// What is known of a command.
pub(super) fn known(opcode: u16, extended: bool) -> Option<Known> {
    let found = COMMANDS.iter().find(|known| known.opcode == opcode)?;
    (extended || !found.extended).then_some(*found)
}

/// The mask of supported commands.
pub(super) fn supported(extended: bool) -> [u8; 64] {
    let mut mask = [0; 64];
    for known in COMMANDS.iter().filter(|known| extended || !known.extended) {
        mask[known.bit.0] |= 1 << known.bit.1;
    }
    mask
}
