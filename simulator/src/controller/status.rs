//! Error codes of the controller (Core specification, volume 1, part F).

/// Why a command was refused or a connection ended; 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub(super) u8);

impl Status {
    pub(super) const SUCCESS: Self = Self(0x00);
    pub(super) const UNKNOWN_COMMAND: Self = Self(0x01);
    pub(super) const UNKNOWN_CONNECTION: Self = Self(0x02);
    pub(super) const PIN_OR_KEY_MISSING: Self = Self(0x06);
    pub(super) const MEMORY_CAPACITY_EXCEEDED: Self = Self(0x07);
    pub(super) const CONNECTION_TIMEOUT: Self = Self(0x08);
    pub(super) const CONNECTION_LIMIT_EXCEEDED: Self = Self(0x09);
    pub(super) const CONNECTION_EXISTS: Self = Self(0x0B);
    pub(super) const COMMAND_DISALLOWED: Self = Self(0x0C);
    pub(super) const UNSUPPORTED_FEATURE: Self = Self(0x11);
    pub(super) const INVALID_PARAMETERS: Self = Self(0x12);
    pub(super) const TERMINATED_BY_LOCAL_HOST: Self = Self(0x16);
    pub(super) const UNSUPPORTED_REMOTE_FEATURE: Self = Self(0x1A);
    pub(super) const MIC_FAILURE: Self = Self(0x3D);
    pub(super) const ADVERTISING_TIMEOUT: Self = Self(0x3C);
    pub(super) const FAILED_TO_BE_ESTABLISHED: Self = Self(0x3E);
    pub(super) const UNKNOWN_ADVERTISING_IDENTIFIER: Self = Self(0x42);
    pub(super) const LIMIT_REACHED: Self = Self(0x43);

    /// Reasons that a host may give to `Disconnect` (volume 4, part E, 7.1.6).
    pub(super) fn is_reason(self) -> bool {
        matches!(self.0, 0x05 | 0x13 | 0x14 | 0x15 | 0x1A | 0x29 | 0x3B)
    }
}
