//! The battery and what the application makes of it.

use crate::smp::{Refused, SmpError};

/// Charge in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Battery {
    /// 0 to 100.
    pub percent: u8,
}

impl Default for Battery {
    fn default() -> Self {
        Self { percent: 100 }
    }
}

/// What an application refuses while the battery is low.
///
/// No protocol prescribes it: Zephyr offers a hook that sees every chunk of an upload and may answer
/// with any code. The default refuses every chunk below 20 % with "access denied".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatteryPolicy {
    /// Charge in percent below which uploads are refused; 0 never refuses.
    pub threshold: u8,
    /// The `rc` of the answer.
    pub rc: u16,
}

impl Default for BatteryPolicy {
    fn default() -> Self {
        Self { threshold: 20, rc: SmpError::AccessDenied as u16 }
    }
}

impl BatteryPolicy {
    pub(super) fn refuses(self, battery: Battery) -> Option<Refused> {
        (battery.percent < self.threshold).then_some(Refused { rc: self.rc })
    }
}
