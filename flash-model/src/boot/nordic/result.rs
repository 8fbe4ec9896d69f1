//! What an uploader is told when a request is refused (nrf5 sdk 17.1: `nrf_dfu_req_handler.h`,
//! `nrf_dfu_handling_error.h`).

use std::fmt;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $number:literal, $text:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$about])* $variant = $number),+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The number on the wire.
            #[must_use]
            pub fn number(self) -> u8 {
                self as u8
            }

            /// What it says.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }

            /// The one with this number.
            #[must_use]
            pub fn of(number: u8) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.number() == number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} ({:#04x})", self.name(), self.number())
            }
        }
    };
}

codes! {
    /// `nrf_dfu_result_t`.
    ResultCode {
        /// `NRF_DFU_RES_CODE_INVALID`.
        Invalid = 0x00, "invalid";
        /// `NRF_DFU_RES_CODE_SUCCESS`.
        Success = 0x01, "success";
        /// `NRF_DFU_RES_CODE_OP_CODE_NOT_SUPPORTED`.
        OpCodeNotSupported = 0x02, "opcode not supported";
        /// `NRF_DFU_RES_CODE_INVALID_PARAMETER`.
        InvalidParameter = 0x03, "invalid parameter";
        /// `NRF_DFU_RES_CODE_INSUFFICIENT_RESOURCES`.
        InsufficientResources = 0x04, "insufficient resources";
        /// `NRF_DFU_RES_CODE_INVALID_OBJECT`.
        InvalidObject = 0x05, "invalid object";
        /// `NRF_DFU_RES_CODE_UNSUPPORTED_TYPE`.
        UnsupportedType = 0x07, "unsupported type";
        /// `NRF_DFU_RES_CODE_OPERATION_NOT_PERMITTED`.
        OperationNotPermitted = 0x08, "operation not permitted";
        /// `NRF_DFU_RES_CODE_OPERATION_FAILED`.
        OperationFailed = 0x0a, "operation failed";
        /// `NRF_DFU_RES_CODE_EXT_ERROR`: one byte more says what.
        ExtendedError = 0x0b, "extended error";
    }
}

codes! {
    /// `nrf_dfu_ext_error_code_t`.
    ExtendedError {
        /// `NRF_DFU_EXT_ERROR_NO_ERROR`.
        NoError = 0x00, "no error";
        /// `NRF_DFU_EXT_ERROR_INVALID_ERROR_CODE`.
        InvalidErrorCode = 0x01, "invalid error code";
        /// `NRF_DFU_EXT_ERROR_WRONG_COMMAND_FORMAT`.
        WrongCommandFormat = 0x02, "wrong command format";
        /// `NRF_DFU_EXT_ERROR_UNKNOWN_COMMAND`.
        UnknownCommand = 0x03, "unknown command";
        /// `NRF_DFU_EXT_ERROR_INIT_COMMAND_INVALID`.
        InitCommandInvalid = 0x04, "init command invalid";
        /// `NRF_DFU_EXT_ERROR_FW_VERSION_FAILURE`.
        FwVersionFailure = 0x05, "firmware version too low";
        /// `NRF_DFU_EXT_ERROR_HW_VERSION_FAILURE`.
        HwVersionFailure = 0x06, "hardware version does not match";
        /// `NRF_DFU_EXT_ERROR_SD_VERSION_FAILURE`.
        SdVersionFailure = 0x07, "SoftDevice version does not match";
        /// `NRF_DFU_EXT_ERROR_SIGNATURE_MISSING`.
        SignatureMissing = 0x08, "signature missing";
        /// `NRF_DFU_EXT_ERROR_WRONG_HASH_TYPE`.
        WrongHashType = 0x09, "wrong hash type";
        /// `NRF_DFU_EXT_ERROR_HASH_FAILED`.
        HashFailed = 0x0a, "hash failed";
        /// `NRF_DFU_EXT_ERROR_WRONG_SIGNATURE_TYPE`.
        WrongSignatureType = 0x0b, "wrong signature type";
        /// `NRF_DFU_EXT_ERROR_VERIFICATION_FAILED`.
        VerificationFailed = 0x0c, "verification failed";
        /// `NRF_DFU_EXT_ERROR_INSUFFICIENT_SPACE`.
        InsufficientSpace = 0x0d, "insufficient space";
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// With a result code alone.
    Code(ResultCode),
    /// With an extended error.
    Extended(ExtendedError),
}

impl Refusal {
    /// The bytes behind the opcode in a response: one, or two.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Code(code) => vec![code.number()],
            Self::Extended(error) => vec![ResultCode::ExtendedError.number(), error.number()],
        }
    }
}

impl From<ResultCode> for Refusal {
    fn from(code: ResultCode) -> Self {
        Self::Code(code)
    }
}

impl From<ExtendedError> for Refusal {
    fn from(error: ExtendedError) -> Self {
        Self::Extended(error)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => code.fmt(f),
            Self::Extended(error) => write!(f, "extended error: {error}"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_go_on_the_wire() {
        assert!(ResultCode::ALL.iter().all(|code| ResultCode::of(code.number()) == Some(*code)));
        assert!(ExtendedError::ALL.iter().all(|error| ExtendedError::of(error.number()) == Some(*error)));
        assert_eq!(ResultCode::of(0x06), None);
        assert_eq!(Refusal::from(ExtendedError::VerificationFailed).bytes(), [0x0b, 0x0c]);
        assert_eq!(Refusal::from(ResultCode::InvalidObject).bytes(), [0x05]);
        assert_eq!(
            Refusal::from(ExtendedError::SignatureMissing).to_string(),
            "extended error: signature missing (0x08)"
        );
    }
}
