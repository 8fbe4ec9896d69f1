//! The decisions of the built-in initiator for Legacy DFU. The defaults are right; a mutant overrides one.

/// What the built-in initiator decides.
pub trait LegacyPolicy: Sync {
    /// Whether the version characteristic decides if there is an application or its bootloader.
    fn reads_version(&self) -> bool {
        true
    }

    /// ATT MTU that is asked for; `None` for none.
    fn mtu(&self) -> Option<u16> {
        Some(247)
    }

    /// The packets with the sizes.
    fn sizes(&self, sizes: [u32; 3]) -> Vec<u8> {
        brickproof_simulator::nordic::legacy::wire::emit_sizes(sizes)
    }

    /// Whether it waits until flash is erased before the init packet.
    fn waits_for_start(&self) -> bool {
        true
    }

    /// How long flash may take to be erased, in microseconds.
    fn start_us(&self) -> u64 {
        60_000_000
    }

    /// Whether an upload that is still there is ended by a reset.
    fn resets_what_is_there(&self) -> bool {
        true
    }

    /// Whether the init packet is framed by its two requests.
    fn frames_init_packet(&self) -> bool {
        true
    }

    /// Whether the answer to the init packet is waited for.
    fn waits_for_init(&self) -> bool {
        true
    }

    /// Longest packet of the image, where so many bytes fit a write.
    fn packet_len(&self, value_max: usize) -> usize {
        (value_max / 4 * 4).max(4)
    }

    /// Packets between two receipts; 0 for none.
    fn prn(&self) -> u16 {
        8
    }

    /// Whether it waits for each receipt.
    fn waits_for_receipts(&self) -> bool {
        true
    }

    /// Whether the count of bytes in a receipt is compared.
    fn checks_receipts(&self) -> bool {
        true
    }

    /// How long it waits for an answer or a receipt, in microseconds.
    fn answer_us(&self) -> u64 {
        10_000_000
    }

    /// Whether the image is checked before it is activated.
    fn validates(&self) -> bool {
        true
    }

    /// Whether an image that is not valid is left alone.
    fn heeds_validation(&self) -> bool {
        true
    }

    /// Whether the device is reset after an error.
    fn resets_after_error(&self) -> bool {
        true
    }

    /// Whether it comes back after a lost link, how often.
    fn reconnects(&self) -> u32 {
        5
    }

    /// How long it waits before it looks for the device again, in microseconds.
    fn reconnect_pause_us(&self) -> u64 {
        500_000
    }
}

/// A well-behaved initiator.
#[derive(Debug, Clone, Copy, Default)]
pub struct GoodLegacy;

impl LegacyPolicy for GoodLegacy {}
