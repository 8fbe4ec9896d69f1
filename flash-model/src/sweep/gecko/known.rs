//! What is known of the bootloader: findings of a sweep that are its own, with the evidence. Any other finding is a mistake.

use crate::sweep::Finding;
use crate::sweep::nordic::Property;

/// What a property may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The file goes into a storage slot first; otherwise an AppLoader puts it into its place.
    pub storage: bool,
    /// The chip is of Series 2.
    pub series_2: bool,
    /// The file has an application.
    pub application: bool,
    /// The file has a newer bootloader.
    pub bootloader: bool,
    /// An application starts only with the right signature.
    pub secure_boot: bool,
    /// Or the right CRC-32.
    pub crc: bool,
    /// The bootloader takes newer applications only.
    pub version_check: bool,
    /// The file is for certain versions of the application only.
    pub depends: bool,
    /// Data of the file is compressed and wrong.
    pub corrupt: bool,
    /// The application of the file reaches to where a new bootloader is put aside.
    pub covers_staging: bool,
}

/// A property of the bootloader.
pub type Known = Property<Facts>;

impl Known {
    /// The property that a finding shows.
    #[must_use]
    pub fn of(finding: &Finding, facts: &Facts) -> Option<&'static Self> {
        Self::shown(ALL, finding, facts)
    }
}

/// All of them.
pub const ALL: &[Known] = &[];
