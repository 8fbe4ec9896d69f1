//! Mutants that break the rules of image states.

use brickproof_simulator::smp::{Field, SmpMessage, Version};

use super::{Mutant, policy, report};
use crate::initiator::policy::{Mark, Policy, Reporter};
use crate::initiator::update::{Entry, Job, Report};

pub(super) fn all() -> Vec<Mutant> {
    vec![
        policy("uploads without asking what is there", "STA-01", &["STA-09", "STA-13"], &NeverAsks),
        policy("uploads what is there already", "STA-01", &[], &UploadsAgain),
        policy("marks by the hash of the file", "STA-02", &[], &FileHash),
        policy("marks by an invented hash, in version 0", "STA-02", &[], &InventedHash),
        policy("marks by half a hash", "STA-02", &[], &HalfHash),
        policy("resets without marking", "STA-03", &["STA-08"], &NeverMarks),
        policy("resets although marking was refused", "STA-04", &["SMP-08", "STA-03"], &Stubborn),
        policy("does not look whether the mark is there", "STA-05", &[], &Trusting),
        policy("makes the image permanent at once", "STA-06", &[], &Permanent),
        policy("confirms without looking", "STA-07", &[], &Blind),
        report(
            "reports success whatever happened",
            "STA-08",
            &["RST-05", "SMP-08", "STA-04", "STA-13", "UPL-08", "UPL-09"],
            &Liar,
        ),
        policy("uploads into a slot in use", "STA-09", &[], &Rude),
        policy("needs every flag in a list", "STA-10", &[], &NeedsFlags),
        policy("needs a hash of 32 bytes in every entry", "STA-10", &[], &NeedsHashes),
        policy("needs an image in a list", "STA-10", &[], &NeedsImages),
        policy("swaps in one image after the other", "STA-11", &[], &OneByOne),
        policy("uploads every image as the first", "STA-11", &[], &NoNumber),
        policy("exchanges the numbers of two images", "STA-11", &["STA-05"], &WrongNumber),
        policy("marks whatever the bootloader does", "STA-12", &[], &Marker),
        policy("never asks what the bootloader does", "STA-12", &[], &NeverAsksMode),
        policy("offers an older image all the same", "STA-13", &[], &GoesBack),
        policy("takes the first entry for the running image", "STA-10", &[], &TakesTheFirst),
    ]
}

struct NeverAsks;

impl Policy for NeverAsks {
    fn looks_before_uploading(&self) -> bool {
        false
    }
}

struct UploadsAgain;

impl Policy for UploadsAgain {
    fn skips_what_is_there(&self) -> bool {
        false
    }
}

struct FileHash;

impl Policy for FileHash {
    fn hash(&self, job: &Job) -> Vec<u8> {
        job.sha256.to_vec()
    }
}

struct InventedHash;

impl Policy for InventedHash {
    fn version(&self) -> Version {
        Version::V0
    }

    fn hash(&self, job: &Job) -> Vec<u8> {
        job.tlv_hash.iter().map(|byte| !byte).collect()
    }
}

struct HalfHash;

impl Policy for HalfHash {
    fn hash(&self, job: &Job) -> Vec<u8> {
        job.tlv_hash[..16].to_vec()
    }
}

struct NeverMarks;

impl Policy for NeverMarks {
    fn marks(&self) -> Mark {
        Mark::Nothing
    }
}

struct Stubborn;

impl Policy for Stubborn {
    fn heeds_a_refused_mark(&self) -> bool {
        false
    }
}

struct Trusting;

impl Policy for Trusting {
    fn verifies_the_mark(&self) -> bool {
        false
    }
}

struct Permanent;

impl Policy for Permanent {
    fn marks(&self) -> Mark {
        Mark::Confirm
    }
}

struct Blind;

impl Policy for Blind {
    fn looks_before_confirming(&self) -> bool {
        false
    }
}

struct Liar;

impl Reporter for Liar {
    fn report(&self, _: Report) -> Report {
        Report { success: true, message: "done".into() }
    }
}

struct Rude;

impl Policy for Rude {
    fn clears_the_way(&self) -> bool {
        false
    }
}

/// The entries of a list as they came.
fn entries(list: &SmpMessage) -> &[Field] {
    list.body.get("images").and_then(Field::list).unwrap_or_default()
}

struct NeedsFlags;

impl Policy for NeedsFlags {
    fn finds_fault_with(&self, list: &SmpMessage) -> Option<&'static str> {
        let lacks = |image: &Field| image.get("pending").and(image.get("confirmed")).is_none();
        entries(list).iter().any(lacks).then_some("a flag is missing")
    }
}

struct NeedsHashes;

impl Policy for NeedsHashes {
    fn finds_fault_with(&self, list: &SmpMessage) -> Option<&'static str> {
        let lacks = |image: &Field| image.get("hash").and_then(Field::hex).is_none_or(|hash| hash.len() != 64);
        entries(list).iter().any(lacks).then_some("a hash is missing")
    }
}

struct NeedsImages;

impl Policy for NeedsImages {
    fn finds_fault_with(&self, list: &SmpMessage) -> Option<&'static str> {
        entries(list).is_empty().then_some("no image")
    }
}

struct OneByOne;

impl Policy for OneByOne {
    fn resets_between_images(&self) -> bool {
        true
    }
}

struct NoNumber;

impl Policy for NoNumber {
    fn image_number(&self, _: &Job) -> Option<u32> {
        None
    }
}

struct WrongNumber;

impl Policy for WrongNumber {
    fn image_number(&self, job: &Job) -> Option<u32> {
        job.number.map(|number| 1 - number.min(1))
    }
}

struct Marker;

impl Policy for Marker {
    fn heeds_the_mode(&self) -> bool {
        false
    }
}

struct NeverAsksMode;

impl Policy for NeverAsksMode {
    fn asks_bootloader(&self) -> bool {
        false
    }
}

struct GoesBack;

impl Policy for GoesBack {
    fn heeds_no_downgrade(&self) -> bool {
        false
    }
}

struct TakesTheFirst;

impl Policy for TakesTheFirst {
    fn running<'l>(&self, images: &'l [Entry]) -> Option<&'l Entry> {
        images.first()
    }
}
