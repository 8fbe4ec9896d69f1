//! What is known of bootloaders: findings of a sweep that are theirs, with the evidence. Any other finding is a mistake.

use super::Story;
use crate::boot::mcuboot::Mode;
use crate::flash::Tear;
use crate::sweep::label::{Cut, Part};
use crate::sweep::{CutPlace, Finding, Tears};

/// What a property may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The bootloader's mode.
    pub mode: Mode,
    /// What the application does.
    pub story: Story,
    /// Sectors of the old and the new image.
    pub sectors: [u32; 2],
    /// Older images are refused.
    pub downgrade_prevention: bool,
    /// There are several images.
    pub several: bool,
}

/// A property of a bootloader.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Its name.
    pub id: &'static str,
    /// What happens, in a sentence.
    pub title: &'static str,
    /// How one knows.
    pub evidence: &'static str,
    /// What an initiator or a product can do about it.
    pub remedy: &'static str,
    /// Which invariants it breaks.
    pub invariants: &'static [&'static str],
    /// With so many cuts or more.
    pub cuts: usize,
    /// Only with a torn operation.
    pub torn: bool,
    /// What the last cut interrupts.
    at: At,
    applies: fn(&Facts) -> bool,
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// No cut at all.
    Nowhere,
    /// Whatever it is, or no cut.
    Anywhere,
    /// Behind the last operation of a boot, or inside the one that sets copy_done, when enough of it is written.
    Behind,
    /// Before or inside one of these operations.
    Of(&'static [&'static str]),
    /// Inside one of these.
    Torn(&'static [&'static str]),
    /// Anywhere behind an erase of a trailer of which one end was done; only in tear models that end it at any field.
    HalfErasedTrailer,
}

impl Known {
    /// The property that a finding shows, of a sweep with these tears.
    #[must_use]
    pub fn of(finding: &Finding, facts: &Facts, tears: Tears) -> Option<&'static Self> {
        ALL.iter().find(|known| known.shows_in(finding, facts, tears))
    }

    fn shows_in(&self, finding: &Finding, facts: &Facts, tears: Tears) -> bool {
        let cuts = &finding.path.0;
        let here = match (self.at, finding.cause.map(|cause| cause.cut)) {
            (At::Nowhere, None) | (At::Behind, Some(Cut::Behind)) | (At::Anywhere, _) => true,
            (At::Behind, Some(Cut::Torn(action))) => action.target.ends_with("copy_done"),
            (At::Of(actions), Some(Cut::Before(action) | Cut::Torn(action)))
            | (At::Torn(actions), Some(Cut::Torn(action))) => actions.contains(&action.to_string().as_str()),
            (At::HalfErasedTrailer, _) => {
                let trailer = |cut| matches!(cut, Cut::Torn(action) if action.erase && action.part == Part::Trailer);
                let end = |place| matches!(place, CutPlace::Inside(_, Tear::Prefix(_) | Tear::Suffix(_)));
                let mut all = cuts.iter().zip(&finding.labels);
                matches!(tears, Tears::Adversarial | Tears::Units)
                    && all.any(|(place, label)| end(*place) && trailer(label.cut))
            }
            _ => false,
        };
        here && self.invariants.contains(&finding.violation.invariant)
            && cuts.len() >= self.cuts
            && (!self.torn || cuts.iter().any(|cut| cut.is_torn()))
            && (self.applies)(facts)
    }
}

fn erases(facts: &Facts) -> bool {
    facts.story == Story::TestThenErase
}

fn swaps(facts: &Facts) -> bool {
    matches!(facts.mode, Mode::SwapMove | Mode::SwapScratch | Mode::SwapOffset)
}

/// All of them.
pub const ALL: &[Known] = &[
    Known {
        id: "no-revert",
        title: "The mode has no way back: what was installed stays, confirmed or not",
        evidence: "By design: MCUboot, docs/design.md, \"Overwrite-only\" and \"Direct-xip\"",
        remedy: "Choose a mode with revert where an update may fail in the field",
        invariants: &["revert"],
        cuts: 0,
        torn: false,
        at: At::Nowhere,
        applies: |facts| matches!(facts.mode, Mode::OverwriteOnly { .. } | Mode::DirectXip { revert: false }),
    },
    Known {
        id: "trial-lost",
        title: "Power lost between copy_done, whole or torn behind its first byte, and the start of the new image is taken for a failure of that: it is reverted untried",
        evidence: "Recorded from the real boot code (a torn copy_done whose first byte is written); loader.c, boot_set_copy_done before the image starts; direct-XIP: boot_select_or_erase",
        remedy: "After the reset, look which image runs; when it is the old one, ask again",
        invariants: &["trial"],
        cuts: 1,
        torn: false,
        at: At::Behind,
        applies: |facts| swaps(facts) || facts.mode == Mode::DirectXip { revert: true },
    },
    Known {
        id: "torn-copy-done",
        title: "A torn copy_done is neither set nor unset, and no row of the table asks for a revert: the test image stays",
        evidence: "bootutil_public.c, boot_flag_decode gives BOOT_FLAG_BAD, and boot_swap_tables wants BOOT_FLAG_SET",
        remedy: "Confirm, or have the image reset itself and check the slot's flags",
        invariants: &["revert"],
        cuts: 1,
        torn: true,
        at: At::Torn(&["program of primary copy_done"]),
        applies: swaps,
    },
    Known {
        id: "torn-image-ok",
        title: "A torn image_ok of a request for good fits no row of the table: the request and every later one does nothing",
        evidence: "bootutil_public.c, boot_set_next writes nothing when the magic is good; boot_swap_tables knows no BOOT_FLAG_BAD",
        remedy: "Erase the slot and upload again when an acknowledged request was not carried out",
        invariants: &["trial"],
        cuts: 1,
        torn: true,
        at: At::Torn(&["program of secondary image_ok"]),
        applies: |facts| swaps(facts) || matches!(facts.mode, Mode::OverwriteOnly { .. }),
    },
    Known {
        id: "revert-forgotten",
        title: "Two cuts lose the revert: a torn secondary trailer is not written again, and then the primary one is lost",
        evidence: "swap_move.c and swap_offset.c, fixup_revert mends BOOT_MAGIC_UNSET only (pull request 2100 lets the revert begin with any magic)",
        remedy: "None for the initiator: the device runs the unconfirmed image; it can be told by its flags",
        invariants: &["revert"],
        cuts: 2,
        torn: true,
        at: At::Of(&PRIMARY_TRAILER),
        applies: |facts| matches!(facts.mode, Mode::SwapMove | Mode::SwapOffset),
    },
    Known {
        id: "revert-forgotten-scratch",
        title: "Two cuts lose the revert: before the swap info comes to the primary trailer, and while the scratch trailer is built again",
        evidence: "Recorded from the real boot code (swap-scratch, double-revert)",
        remedy: "None for the initiator: the device runs the unconfirmed image; it can be told by its flags",
        invariants: &["revert"],
        cuts: 2,
        torn: false,
        at: At::Of(&SCRATCH_TRAILER),
        applies: |facts| facts.mode == Mode::SwapScratch,
    },
    Known {
        id: "torn-swap-info",
        title: "A torn swap info that half an erase of the scratch area lets count stops every boot at an assertion",
        evidence: "loader.c, context_boot_go asserts that the swap type exists",
        remedy: "None: the device needs a programmer",
        invariants: &["boots"],
        cuts: 2,
        torn: true,
        at: At::Of(&SCRATCH_TRAILER),
        applies: |facts| facts.mode == Mode::SwapScratch,
    },
    Known {
        id: "torn-scratch-erase",
        title: "The last erase of a swap is torn so that the data of the scratch area are gone and its trailer is not: the part is copied once more, from nothing",
        evidence: "swap_scratch.c, boot_swap_sectors erases the scratch area when the primary trailer is whole; data and trailer share its last sector when the images reach the trailer",
        remedy: "A scratch area with a sector more than a step needs, or images that end before the sector of the trailer",
        invariants: &["boots"],
        cuts: 1,
        torn: true,
        at: At::Torn(&["erase of the trailer of the scratch area"]),
        applies: |facts| facts.mode == Mode::SwapScratch,
    },
    Known {
        id: "offset-no-tlv-area",
        title: "Two cuts during a revert leave an image whose TLV area is looked for in the wrong sector: nothing boots",
        evidence: "Recorded from the real boot code (swap-offset, double-revert: five pairs)",
        remedy: "None: the device needs a programmer. An update with fewer sectors than the installed image is not affected",
        invariants: &["boots"],
        cuts: 2,
        torn: false,
        at: At::Of(&["erase of the trailer of the secondary slot"]),
        applies: |facts| facts.mode == Mode::SwapOffset && facts.sectors[1] >= facts.sectors[0],
    },
    Known {
        id: "offset-shorter-update",
        title: "One cut in the last step of a swap to a shorter image: the last sector of the old image is not saved, and there is no way back",
        evidence: "swap_offset.c, boot_read_image_header compares the step, counted from 1, with last_idx, counted from 0: in the last step the header of the new image is taken for that of the old one, and swap_run skips what it takes for unused",
        remedy: "Pad updates so that they are no two sectors shorter than what is installed",
        invariants: &["revert"],
        cuts: 1,
        torn: false,
        at: At::Of(&["erase in the secondary slot", "program in the secondary slot"]),
        applies: shorter,
    },
    Known {
        id: "offset-shorter-update-for-ever",
        title: "As offset-shorter-update, with a revert that is asked for at every boot and cannot be done: each boot erases the secondary trailer again",
        evidence: "As offset-shorter-update; loader.c, boot_validate_slot clears a stuck revert in swap-move only (pull request 2199)",
        remedy: "Pad updates so that they are no two sectors shorter than what is installed",
        invariants: &["rest"],
        cuts: 1,
        torn: false,
        at: At::Of(&["erase in the secondary slot", "program in the secondary slot"]),
        applies: shorter,
    },
    Known {
        id: "offset-one-sector",
        title: "When both images fit one sector, one cut while that sector is exchanged leaves no header where it is looked for: nothing boots",
        evidence: "swap_offset.c, boot_read_image_header compares the step, counted from 1, with last_idx, counted from 0",
        remedy: "Images of more than one sector",
        invariants: &["boots"],
        cuts: 1,
        torn: false,
        at: At::Of(&[
            "erase of the header of the primary slot",
            "program of the header of the primary slot",
            "erase of the header of the secondary slot",
        ]),
        applies: |facts| facts.mode == Mode::SwapOffset && facts.sectors == [1, 1],
    },
    Known {
        id: "stuck-revert",
        title: "The old image was erased before the new one was confirmed: every boot asks for the revert again, and erases the secondary trailer again",
        evidence: "loader.c, boot_validate_slot clears a stuck revert in swap-move only (pull request 2199)",
        remedy: "Confirm before the other slot is erased; servers refuse an erase meanwhile",
        invariants: &["rest"],
        cuts: 0,
        torn: false,
        at: At::Anywhere,
        applies: |facts| erases(facts) && matches!(facts.mode, Mode::SwapScratch | Mode::SwapOffset),
    },
    Known {
        id: "erased-before-confirmed",
        title: "The old image was erased before the new one was confirmed, which is given up at the next reset: nothing boots",
        evidence: "loader.c, boot_select_or_erase erases an image that was started once and is not confirmed",
        remedy: "Confirm before the other slot is erased; servers refuse an erase meanwhile",
        invariants: &["boots"],
        cuts: 0,
        torn: false,
        at: At::Anywhere,
        applies: |facts| erases(facts) && facts.mode == Mode::DirectXip { revert: true },
    },
    Known {
        id: "bad-primary-magic",
        title: "A trailer that was torn while it was being written leaves a bad magic in the primary slot: nothing can be confirmed any more",
        evidence: "bootutil_public.c, boot_set_next gives BOOT_EBADVECT for BOOT_MAGIC_BAD",
        remedy: "Update once more: the swap writes the trailer anew",
        invariants: &["request"],
        cuts: 2,
        torn: true,
        at: At::Of(&[
            "program of primary magic",
            "erase of the trailer of the primary slot",
            "program of scratch swap info",
            "program of scratch image_ok",
            "program of scratch swap size",
            "program of scratch magic",
            "erase of the trailer of the scratch area",
        ]),
        applies: swaps,
    },
    Known {
        id: "revert-refused-as-downgrade",
        title: "With downgrade prevention, one cut at the start of a revert loses it: the next boot finds a request for good, refuses it as a downgrade, and erases the old image",
        evidence: "swap_move.c, fixup_revert marks the old image as a request for good before the primary trailer says revert; loader.c, check_downgrade_prevention is asked for that, and is not for a revert",
        remedy: "None for the initiator: the device runs the unconfirmed image; it can be told by its flags",
        invariants: &["revert"],
        cuts: 1,
        torn: false,
        at: At::Of(&REVERT_BEGINS),
        applies: |facts| facts.downgrade_prevention && facts.mode == Mode::SwapMove,
    },
    Known {
        id: "several-images-trailer-twice",
        title: "In a bootloader for several images, a swap that is resumed at its start writes its trailer once more: a second cut there loses the request when the secondary trailer was torn",
        evidence: "loader.c, context_boot_go resets the status that was read when there are several images, so that swap_run begins with the trailer (as pull request 830 did for one image)",
        remedy: "After the reset, look which image runs; when it is the old one, ask again",
        invariants: &["trial"],
        cuts: 2,
        torn: true,
        at: At::Of(&PRIMARY_TRAILER),
        applies: |facts| facts.several && facts.mode == Mode::SwapMove,
    },
    Known {
        id: "half-erased-trailer",
        title: "An erase that ends between two fields of a trailer leaves some of them, which are believed",
        evidence: "Found by this sweep in the model of the real code, and not recorded from it; MCUboot looks at each field of a trailer for itself. A NOR sector is erased as a whole: no data sheet promises, or rules out, that one part of it is erased first",
        remedy: "Where the flash may do so: none in MCUboot; sweep with the tears `fields` for all else",
        invariants: &["boots", "trial", "revert", "confirmed", "request", "rest"],
        cuts: 1,
        torn: true,
        at: At::HalfErasedTrailer,
        applies: swaps,
    },
];

/// What is done to the trailer of the scratch area when its part of a swap begins.
const SCRATCH_TRAILER: [&str; 5] = [
    "program of scratch swap info",
    "program of scratch image_ok",
    "program of scratch swap size",
    "program of scratch magic",
    "erase of the trailer of the scratch area",
];

/// What is done to the primary trailer when a swap begins.
const PRIMARY_TRAILER: [&str; 6] = [
    "program of primary swap info",
    "program of primary image_ok",
    "program of primary swap size",
    "program of primary TLV sizes",
    "program of primary magic",
    "erase of the trailer of the primary slot",
];

/// The same up to where the request for good in the secondary trailer is gone.
const REVERT_BEGINS: [&str; 6] = [
    "program of primary swap info",
    "program of primary image_ok",
    "program of primary swap size",
    "program of primary magic",
    "erase of the trailer of the primary slot",
    "erase of the trailer of the secondary slot",
];

fn shorter(facts: &Facts) -> bool {
    facts.mode == Mode::SwapOffset && facts.sectors[0] >= facts.sectors[1] + 2
}
