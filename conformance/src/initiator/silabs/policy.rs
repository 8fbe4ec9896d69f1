//! The decisions of the built-in initiator for Silicon Labs' OTA. The defaults are right; a mutant overrides one.

use brickproof_simulator::gatt::{Uuid, WriteKind};
use brickproof_simulator::silabs::gatt::{DATA_MAX, SERVICE};

use crate::initiator::link::Found;

/// When it says that an upload begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Before the data, and its answer is waited for.
    First,
    /// Never.
    Never,
    /// Behind the first value.
    BehindData,
    /// Before the data, and once more in the middle of it.
    Twice,
}

/// Whether an AppLoader, which pairs with nobody, is asked for encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// No.
    Never,
    /// Yes, and an AppLoader that refuses is updated without.
    Tried,
    /// Yes, and an AppLoader that refuses is left.
    Needed,
}

/// What the built-in initiator decides.
pub trait SilabsPolicy: Sync {
    /// Whether a file is looked at before the device is.
    fn checks_files(&self) -> bool {
        true
    }

    /// Whether a bootloader goes before an application, however the files are given.
    fn orders_files(&self) -> bool {
        true
    }

    /// Whether all files are sent, and not the first one alone.
    fn sends_all_files(&self) -> bool {
        true
    }

    /// Whether the OTA Data characteristic decides what the device is, and not its name.
    fn looks_for_data(&self) -> bool {
        true
    }

    /// Whether attributes are looked for again behind the way into the AppLoader.
    fn discovers_again(&self) -> bool {
        true
    }

    /// Whether this is the device that was found as `first`, behind a reset.
    fn is_device(&self, found: &Found, first: &Found) -> bool {
        let named = matches!(found.name.as_deref(), Some("OTA" | "AppLoader"));
        let says_so = found.identities.contains(&first.address);
        found.address == first.address || says_so || named || found.services.contains(&SERVICE)
    }

    /// Whether it goes on when the link ends behind the way into the AppLoader.
    fn expects_the_loss(&self) -> bool {
        true
    }

    /// Whether the application ends the link behind the way into the AppLoader, and not the initiator.
    fn waits_for_the_loss(&self) -> bool {
        true
    }

    /// Whether 0x00 is written to an AppLoader as it was to its application, before the upload has its own.
    fn enters_again(&self) -> bool {
        false
    }

    /// What is read before an upload, whatever comes of it.
    fn reads(&self) -> &'static [Uuid] {
        &[]
    }

    /// How OTA Control is written.
    fn control_kind(&self) -> WriteKind {
        WriteKind::Request
    }

    /// What is written to OTA Control for this byte.
    fn control(&self, byte: u8) -> Vec<u8> {
        vec![byte]
    }

    /// When an upload is said to begin.
    fn start(&self) -> Start {
        Start::First
    }

    /// ATT MTU that is asked for before a file of so many bytes; `None` for none.
    fn mtu(&self, _: usize) -> Option<u16> {
        Some(247)
    }

    /// Bytes of a value, where so many fit a write.
    fn value_len(&self, value_max: usize) -> usize {
        (value_max.min(DATA_MAX) / 4 * 4).max(4)
    }

    /// Bytes 0xff behind a file of this length.
    fn padding(&self, len: usize) -> usize {
        len.next_multiple_of(4).saturating_sub(len)
    }

    /// The values of a file as they are sent.
    fn values(&self, values: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        values
    }

    /// Values without a response between two with one.
    fn unanswered(&self) -> usize {
        7
    }

    /// Values that are still to come when the end is said.
    fn ends_early(&self) -> usize {
        0
    }

    /// What is sent behind the end.
    fn behind_the_end(&self) -> Option<Vec<u8>> {
        None
    }

    /// Whether a refusal of the end is one.
    fn heeds_result(&self) -> bool {
        true
    }

    /// Whether it stops when data is refused.
    fn heeds_refused_data(&self) -> bool {
        true
    }

    /// How long the answer to the end is waited for, in microseconds.
    fn result_us(&self) -> u64 {
        30_000_000
    }

    /// How long any other answer is waited for, in microseconds.
    fn answer_us(&self) -> u64 {
        30_000_000
    }

    /// Whether the device is asked to end the link behind an upload.
    fn has_it_closed(&self) -> bool {
        false
    }

    /// Whether it ends the link behind an upload.
    fn disconnects(&self) -> bool {
        true
    }

    /// Whether an upload that was interrupted begins again.
    fn restarts(&self) -> bool {
        true
    }

    /// How often a file is tried.
    fn attempts(&self) -> u32 {
        4
    }

    /// Whether it tries again when the device did not take the start for one.
    fn starts_again(&self) -> bool {
        true
    }

    /// How long it waits before it tries again, in microseconds.
    fn pause_us(&self) -> u64 {
        5_000_000
    }

    /// Whether it looks for the new version in the end.
    fn confirms(&self) -> bool {
        true
    }

    /// Whether an AppLoader is asked for encryption.
    fn encryption(&self) -> Encryption {
        Encryption::Never
    }

    /// Whether it connects to an AppLoader to look at it first.
    fn probes(&self) -> bool {
        false
    }
}

/// A well-behaved initiator.
#[derive(Debug, Clone, Copy, Default)]
pub struct GoodSilabs;

impl SilabsPolicy for GoodSilabs {}
