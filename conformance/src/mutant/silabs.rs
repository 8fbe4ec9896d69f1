//! Mutants of the built-in initiator for Silicon Labs' OTA, and its legal oddities.

use brickproof_simulator::gatt::{Uuid, WriteKind};
use brickproof_simulator::silabs::gatt::{APPLICATION_VERSION, APPLOADER_VERSION, CONTROL, OTA_VERSION};

use crate::initiator::link::Found;
use crate::initiator::policy::{Reporter, Truthful};
use crate::initiator::silabs::policy::{Encryption, GoodSilabs, SilabsPolicy, Start};
use crate::initiator::update::Report;

/// A changed initiator for Silicon Labs' OTA.
pub struct SilabsMutant {
    /// Its name.
    pub name: &'static str,
    /// The requirement it breaks.
    pub breaks: &'static str,
    /// Requirements that fall with it.
    pub also: &'static [&'static str],
    /// What it decides.
    pub policy: &'static dyn SilabsPolicy,
    /// What it says.
    pub reporter: &'static dyn Reporter,
}

/// A policy that answers some of the questions otherwise.
macro_rules! silabs_policy {
    ($($(#[$doc:meta])* $name:ident { $($method:item)* })*) => {
        $(
            $(#[$doc])*
            struct $name;

            impl SilabsPolicy for $name {
                $($method)*
            }
        )*
    };
}

silabs_policy! {
    ByName { fn looks_for_data(&self) -> bool { false } }
    KnownHandles { fn discovers_again(&self) -> bool { false } }
    SameAddress { fn is_device(&self, found: &Found, first: &Found) -> bool { found.address == first.address } }
    SameName { fn is_device(&self, found: &Found, first: &Found) -> bool { found.name == first.name } }
    LossIsFailure { fn expects_the_loss(&self) -> bool { false } }
    ControlByCommand { fn control_kind(&self) -> WriteKind { WriteKind::Command } }
    TwoBytes { fn control(&self, byte: u8) -> Vec<u8> { vec![byte, 0] } }
    OtherEnd { fn control(&self, byte: u8) -> Vec<u8> { vec![if byte == 3 { 5 } else { byte }] } }
    NoStart { fn start(&self) -> Start { Start::Never } }
    StartBehindData { fn start(&self) -> Start { Start::BehindData } }
    StartTwice { fn start(&self) -> Start { Start::Twice } }
    TooLong { fn value_len(&self, value_max: usize) -> usize { value_max / 4 * 4 + 4 } }
    NoMtu { fn mtu(&self, _: usize) -> Option<u16> { None } }
    OddValues { fn value_len(&self, value_max: usize) -> usize { value_max.min(244) - 2 } }
    Swapped {
        fn values(&self, mut values: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
            let middle = values.len() / 2;
            if middle > 0 {
                values.swap(middle - 1, middle);
            }
            values
        }
    }
    Repeated {
        fn values(&self, mut values: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
            let middle = values.len() / 2;
            if let Some(value) = values.get(middle).cloned() {
                values.insert(middle, value);
            }
            values
        }
    }
    LeftOut {
        fn values(&self, mut values: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
            if values.len() > 2 {
                values.remove(values.len() / 2);
            }
            values
        }
    }
    Altered {
        fn values(&self, mut values: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
            let middle = values.len() / 2;
            if let Some(byte) = values.get_mut(middle).and_then(|value| value.last_mut()) {
                *byte ^= 1;
            }
            values
        }
    }
    /// As a client did whose loop ran once too often.
    MuchPadding { fn padding(&self, len: usize) -> usize { len.next_multiple_of(4) + 8 - len } }
    EndsEarly { fn ends_early(&self) -> usize { 3 } }
    GoesOnBehindEnd { fn behind_the_end(&self) -> Option<Vec<u8>> { Some(vec![0xff; 4]) } }
    DeafForResult { fn heeds_result(&self) -> bool { false } }
    DeafForRefusals { fn heeds_refused_data(&self) -> bool { false } }
    HastyForResult { fn result_us(&self) -> u64 { 3_000_000 } }
    Stays { fn disconnects(&self) -> bool { false } }
    GoesOn { fn restarts(&self) -> bool { false } }
    OneTry { fn attempts(&self) -> u32 { 1 } }
    Unpaced { fn unanswered(&self) -> usize { 1000 } }
    Unchecked { fn checks_files(&self) -> bool { false } }
    NoLook { fn confirms(&self) -> bool { false } }
    WantsEncryption { fn encryption(&self) -> Encryption { Encryption::Needed } }
    Hasty { fn answer_us(&self) -> u64 { 5_000_000 } }
    AsGiven { fn orders_files(&self) -> bool { false } }
    FirstFileAlone { fn sends_all_files(&self) -> bool { false } }
    Probes { fn probes(&self) -> bool { true } }
    NoSecondStart { fn starts_again(&self) -> bool { false } }

    AllAnswered { fn unanswered(&self) -> usize { 0 } }
    WindowOf15 { fn unanswered(&self) -> usize { 15 } }
    TwentyBytes { fn value_len(&self, _: usize) -> usize { 20 } }
    SixtyFourBytes { fn value_len(&self, value_max: usize) -> usize { value_max.min(64) / 4 * 4 } }
    NoMtuForSmall { fn mtu(&self, len: usize) -> Option<u16> { (len > 32 * 1024).then_some(247) } }
    SmallMtu { fn mtu(&self, _: usize) -> Option<u16> { Some(100) } }
    LargeMtu { fn mtu(&self, _: usize) -> Option<u16> { Some(517) } }
    EntersAgain { fn enters_again(&self) -> bool { true } }
    Reads {
        fn reads(&self) -> &'static [Uuid] { &[APPLOADER_VERSION, OTA_VERSION, APPLICATION_VERSION, CONTROL] }
    }
    HasItClosed { fn has_it_closed(&self) -> bool { true } }
    LeavesFirst { fn waits_for_the_loss(&self) -> bool { false } }
    TriesEncryption { fn encryption(&self) -> Encryption { Encryption::Tried } }
    Slow { fn pause_us(&self) -> u64 { 20_000_000 } }
    VeryPatient {
        fn answer_us(&self) -> u64 { 60_000_000 }
        fn result_us(&self) -> u64 { 60_000_000 }
    }
    Stubborn { fn attempts(&self) -> u32 { 7 } }
}

/// Says that it went well, whatever the device has said.
struct NothingRefused;

impl Reporter for NothingRefused {
    fn report(&self, truth: Report) -> Report {
        let success = truth.success || truth.message.starts_with("the file: refused");
        Report { success, ..truth }
    }
}

/// All mutants: at least one for each requirement.
#[must_use]
pub fn all() -> Vec<SilabsMutant> {
    let mutant = |name, breaks, also, policy| SilabsMutant { name, breaks, also, policy, reporter: &Truthful };
    let mut all = vec![
        mutant("takes a device for an AppLoader by its name", "SIL-01", &[], &ByName),
        mutant("takes the handles of the application for those of the AppLoader", "SIL-02", &[], &KnownHandles),
        mutant("looks for the AppLoader under the address of the application", "SIL-03", &[], &SameAddress),
        mutant("looks for the AppLoader under the name of the application", "SIL-03", &[], &SameName),
        mutant("takes the loss of the link for a failure", "SIL-04", &[], &LossIsFailure),
        mutant("writes OTA Control by commands", "SIL-05", &[], &ControlByCommand),
        mutant("writes two bytes to OTA Control", "SIL-06", &[], &TwoBytes),
        mutant("ends with a byte that is reserved", "SIL-06", &[], &OtherEnd),
        mutant("sends data without a start", "SIL-07", &[], &NoStart),
        mutant("starts behind the first value", "SIL-07", &[], &StartBehindData),
        mutant("starts again in the middle", "SIL-07", &[], &StartTwice),
        mutant("sends values longer than a write", "SIL-08", &[], &TooLong),
        mutant("asks for no MTU", "SIL-09", &[], &NoMtu),
        mutant("sends values that are no whole words", "SIL-10", &[], &OddValues),
        mutant("swaps two values", "SIL-11", &[], &Swapped),
        mutant("sends a value twice", "SIL-11", &[], &Repeated),
        mutant("leaves a value out", "SIL-11", &[], &LeftOut),
        mutant("changes a byte", "SIL-11", &[], &Altered),
        mutant("sends much padding", "SIL-12", &[], &MuchPadding),
        mutant("ends before the last values", "SIL-13", &["SIL-14"], &EndsEarly),
        mutant("sends data behind the end", "SIL-14", &[], &GoesOnBehindEnd),
        mutant("does not look at the result", "SIL-15", &[], &DeafForResult),
        mutant("does not look at what is refused", "SIL-16", &[], &DeafForRefusals),
        mutant("does not wait for the result", "SIL-17", &[], &HastyForResult),
        mutant("does not end the link", "SIL-18", &["SIL-26"], &Stays),
        mutant("goes on where it was interrupted", "SIL-19", &[], &GoesOn),
        mutant("tries once", "SIL-20", &["SIL-28"], &OneTry),
        mutant("sends faster than flash is programmed", "SIL-21", &[], &Unpaced),
        mutant("does not look at the file", "SIL-22", &[], &Unchecked),
        mutant("does not look at what runs", "SIL-23", &[], &NoLook),
        mutant("wants the AppLoader to pair", "SIL-24", &[], &WantsEncryption),
        mutant("waits five seconds for an answer", "SIL-25", &[], &Hasty),
        mutant("sends the files as they are given", "SIL-26", &[], &AsGiven),
        mutant("sends the first file alone", "SIL-26", &[], &FirstFileAlone),
        mutant("connects to the AppLoader to look at it", "SIL-27", &[], &Probes),
        mutant("does not start again", "SIL-28", &[], &NoSecondStart),
    ];
    all.push(SilabsMutant {
        name: "says that what was refused went well",
        breaks: "SIL-15",
        also: &[],
        policy: &GoodSilabs,
        reporter: &NothingRefused,
    });
    all
}

/// Unusual initiators that do nothing wrong.
#[must_use]
pub fn legal_oddities() -> Vec<(&'static str, &'static dyn SilabsPolicy)> {
    vec![
        ("every value answered", &AllAnswered),
        ("fifteen values without an answer", &WindowOf15),
        ("values of 20 bytes", &TwentyBytes),
        ("values of 64 bytes", &SixtyFourBytes),
        ("no MTU asked for with a small file", &NoMtuForSmall),
        ("a small MTU", &SmallMtu),
        ("the largest MTU", &LargeMtu),
        ("the way into the AppLoader once more in there", &EntersAgain),
        ("reads of all versions, and of what cannot be read", &Reads),
        ("the device is asked to end the link", &HasItClosed),
        ("the link ended by the initiator behind the way into the AppLoader", &LeavesFirst),
        ("encryption tried, and done without", &TriesEncryption),
        ("long pauses", &Slow),
        ("answers waited for longer than they may take", &VeryPatient),
        ("seven tries", &Stubborn),
    ]
}
