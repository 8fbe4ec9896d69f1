//! The decisions of the built-in initiator about a Bluetooth LE link.

use brickproof_simulator::gatt::{
    AttError, ConnectionParameters, IoCapability, MTU_MAX, PairingAnswer, PairingAsk, Security,
};

/// What a notification is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A piece of an answer; the length in the answer's header says where it ends.
    Piece,
    /// A whole answer, whatever its header says.
    Whole,
    /// A whole answer; one that is not whole is thrown away.
    OnlyWhole,
}

/// What the built-in initiator decides about a link. The defaults are right; a mutant overrides one.
pub trait LinkPolicy: Sync {
    /// ATT MTU that is asked for.
    fn mtu(&self) -> u16 {
        MTU_MAX
    }

    /// Whether the MTU is asked for only when a packet needs more than one write.
    fn mtu_on_demand(&self) -> bool {
        false
    }

    /// Values written to the CCC descriptor of a new link, in order. The 0 clears what an earlier
    /// connection may have left in the reassembly buffer.
    fn ccc(&self) -> &'static [u16] {
        &[0, 1]
    }

    /// Whether notifications are switched on only after the first request of a link.
    fn late_notifications(&self, first_link: bool) -> bool {
        let _ = first_link;
        false
    }

    /// Whether a new link is set up like the first, or everything is taken for known.
    fn sets_up_again(&self) -> bool {
        true
    }

    /// Whether requests are written with a response.
    fn write_requests(&self) -> bool {
        false
    }

    /// A packet in the values of its writes; `value_max` bytes fit one write.
    fn fragments<'a>(&self, packet: &'a [u8], value_max: usize) -> Vec<&'a [u8]> {
        packet.chunks(value_max.max(1)).collect()
    }

    /// Whether the last fragments of this packet are never sent.
    fn abandons(&self, packet: &[u8]) -> bool {
        let _ = packet;
        false
    }

    /// What a notification is taken for.
    fn takes(&self) -> Takes {
        Takes::Piece
    }

    /// Whether it pairs when the target answers with this error.
    fn pairs_after(&self, error: AttError) -> bool {
        error.is_security()
    }

    /// What it brings to a pairing, and the least that must come of it; `before` counts the pairings of this link that
    /// were not enough. Just Works comes first, for it needs nobody.
    fn pairs_with(&self, before: u32) -> (IoCapability, Security) {
        if before == 0 {
            (IoCapability::NoInputNoOutput, Security::Encrypted)
        } else {
            (IoCapability::KeyboardDisplay, Security::Authenticated)
        }
    }

    /// What the user says when asked; `shown` is what the target shows.
    fn answers_pairing(&self, ask: PairingAsk, shown: u32) -> PairingAnswer {
        match ask {
            PairingAsk::EnterPasskey => PairingAnswer::Passkey(shown),
            PairingAsk::Compare(number) if number != shown => PairingAnswer::Refused,
            PairingAsk::Compare(_) | PairingAsk::ShowPasskey(_) => PairingAnswer::Same,
        }
    }

    /// Whether it wants to be told when attributes have moved, and looks again when it is.
    fn heeds_service_changed(&self) -> bool {
        true
    }

    /// Whether it takes the parameters that the target asks for.
    fn accepts(&self, wanted: ConnectionParameters) -> bool {
        let _ = wanted;
        true
    }
}

/// A well-behaved central.
#[derive(Debug, Clone, Copy, Default)]
pub struct GoodCentral;

impl LinkPolicy for GoodCentral {}
