//! Mutants of the built-in initiator for Legacy DFU, and its legal oddities.

use crate::initiator::nordic::legacy::policy::LegacyPolicy;

/// A changed initiator for Legacy DFU.
pub struct LegacyMutant {
    /// Its name.
    pub name: &'static str,
    /// The requirement it breaks.
    pub breaks: &'static str,
    /// Requirements that fall with it.
    pub also: &'static [&'static str],
    /// What it decides.
    pub policy: &'static dyn LegacyPolicy,
}

/// A policy that answers one of the questions otherwise.
macro_rules! legacy_policy {
    ($($name:ident { $($method:item)* })*) => {
        $(
            struct $name;

            impl LegacyPolicy for $name {
                $($method)*
            }
        )*
    };
}

legacy_policy! {
    NoVersion { fn reads_version(&self) -> bool { false } }
    AllSizes {
        fn sizes(&self, sizes: [u32; 3]) -> Vec<u8> {
            let some = sizes.into_iter().max().unwrap_or(0);
            [some; 3].map(u32::to_le_bytes).concat()
        }
    }
    OneSize {
        fn sizes(&self, sizes: [u32; 3]) -> Vec<u8> {
            sizes.into_iter().max().unwrap_or(0).to_le_bytes().to_vec()
        }
    }
    NoWaitForErase { fn waits_for_start(&self) -> bool { false } }
    StartsAgain { fn resets_what_is_there(&self) -> bool { false } }
    BareInitPacket { fn frames_init_packet(&self) -> bool { false } }
    NoWaitForInit { fn waits_for_init(&self) -> bool { false } }
    OddPackets { fn packet_len(&self, value_max: usize) -> usize { value_max - 2 } }
    NoWaitForReceipts { fn waits_for_receipts(&self) -> bool { false } }
    BlindForReceipts { fn checks_receipts(&self) -> bool { false } }
    NoValidation { fn validates(&self) -> bool { false } }
    DeafForValidation { fn heeds_validation(&self) -> bool { false } }
    LeavesAfterError { fn resets_after_error(&self) -> bool { false } }
    NoReceipts { fn prn(&self) -> u16 { 0 } }
    EachPacket { fn prn(&self) -> u16 { 1 } }
    SmallPackets { fn packet_len(&self, _: usize) -> usize { 8 } }
    NoMtu { fn mtu(&self) -> Option<u16> { None } }
}

/// All mutants: at least one for each requirement.
#[must_use]
pub fn all() -> Vec<LegacyMutant> {
    let mutant = |name, breaks, also, policy| LegacyMutant { name, breaks, also, policy };
    vec![
        mutant("does not look at the version", "NL-01", &[], &NoVersion),
        mutant("says three sizes where one is due", "NL-02", &[], &AllSizes),
        mutant("says one size only", "NL-02", &[], &OneSize),
        mutant("does not wait until flash is erased", "NL-03", &[], &NoWaitForErase),
        mutant("starts again in the middle of an upload", "NL-04", &[], &StartsAgain),
        mutant("sends the init packet bare", "NL-05", &[], &BareInitPacket),
        mutant("does not wait for the answer to the init packet", "NL-05", &[], &NoWaitForInit),
        mutant("sends packets that are not whole words", "NL-06", &[], &OddPackets),
        mutant("does not wait for receipts", "NL-07", &[], &NoWaitForReceipts),
        mutant("does not compare receipts", "NL-07", &[], &BlindForReceipts),
        mutant("does not have the image checked", "NL-08", &[], &NoValidation),
        mutant("activates what is not valid", "NL-08", &[], &DeafForValidation),
        mutant("leaves the device in the upload after an error", "NL-09", &[], &LeavesAfterError),
    ]
}

/// Unusual initiators that do nothing wrong.
#[must_use]
pub fn legal_oddities() -> Vec<(&'static str, &'static dyn LegacyPolicy)> {
    vec![
        ("no receipts", &NoReceipts),
        ("a receipt for each packet", &EachPacket),
        ("packets of 8 bytes", &SmallPackets),
        ("no MTU asked for", &NoMtu),
    ]
}
