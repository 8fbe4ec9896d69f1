//! What is known of uploads that lose their power: findings with the evidence. Any other finding is a mistake.

use brickproof_flash_model::boot::mcuboot::Mode;
use brickproof_flash_model::sweep::mcuboot::{self, Facts};
use brickproof_flash_model::sweep::{Finding, Property, Tears};

/// A property of server, initiator or bootloader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub id: &'static str,
    /// What happens, in a sentence.
    pub title: &'static str,
    /// How one knows.
    pub evidence: &'static str,
    /// What an initiator or a product can do about it.
    pub remedy: &'static str,
}

const TRAILER_LEFT_BEHIND: Known = Known {
    id: "trailer-left-behind",
    title: "The bootloader erases a marked image that is not valid, and power is lost between its header and its trailer: the empty slot stays pending, and every upload is refused",
    evidence: "loader.c, boot_validate_slot removes such a trailer in swap modes only (its comment names mcumgr); img_mgmt.c, img_mgmt_slot_in_use counts a pending slot as in use, and img_mgmt_erase looks only where an image can be read",
    remedy: "Erase the slot by command, which is allowed where no image can be read, and upload again",
};

impl Known {
    /// The property that a finding of a sweep with these tears shows: one of uploads, or of the bootloader itself
    /// ([`mcuboot::Known`]).
    #[must_use]
    pub fn of(finding: &Finding, facts: &Facts, tears: Tears) -> Option<Self> {
        let own = matches!(facts.mode, Mode::OverwriteOnly { .. })
            && finding.violation.invariant == "update"
            && finding.violation.what == NO_FREE_SLOT
            && finding.path.0.len() >= 2;
        if own {
            return Some(TRAILER_LEFT_BEHIND);
        }
        mcuboot::Known::of(finding, facts, tears).map(|known| Self {
            id: known.id,
            title: known.title,
            evidence: known.evidence,
            remedy: known.remedy,
        })
    }
}

impl<Facts> From<&Property<Facts>> for Known {
    fn from(known: &Property<Facts>) -> Self {
        Self { id: known.id, title: known.title, evidence: known.evidence, remedy: known.remedy }
    }
}

/// What the initiator says of `IMG_MGMT_ERR_NO_FREE_SLOT`.
const NO_FREE_SLOT: &str = "the device refuses the image: group 1, error 9";
