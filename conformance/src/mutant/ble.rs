//! Mutants that break the rules of SMP over Bluetooth LE, and of the device's buffers.
//!
//! A [`Link`] is a policy that decides about the link and nothing else.

use brickproof_simulator::gatt::{AttError, ConnectionParameters};
use brickproof_simulator::smp::{Command, SmpMessage};

use super::{Mutant, policy};
use crate::initiator::link_policy::{LinkPolicy, Takes};
use crate::initiator::policy::{DEFAULT_BUFFER, Policy};

pub(super) fn all() -> Vec<Mutant> {
    vec![
        policy("subscribes after the first request", "BLE-01", &[], &Link(LateSubscriber)),
        policy("writes with response", "BLE-02", &[], &Link(Careful)),
        policy("writes more than the MTU allows", "BLE-03", &[], &Link(TooLong)),
        policy("cuts packets inside the header", "BLE-04", &[], &Link(CutsHeaders)),
        policy("breaks packets off and starts again", "BLE-05", &["BLE-04"], &BreaksOff),
        policy("takes reassembly for granted", "BLE-06", &[], &TakesReassembly),
        policy("sends more than a buffer holds", "BLE-07", &["SER-01", "STA-10"], &Oversized),
        policy("sends more chunks than there are buffers", "BLE-08", &["UPL-07"], &Flood),
        policy("takes a notification for an answer", "BLE-09", &[], &Link(TakesWhole)),
        policy("throws pieces of answers away", "BLE-09", &[], &Link(ThrowsPieces)),
        policy("gives up at insufficient authentication", "BLE-10", &[], &Link(PairsOnlyAfterEncryption)),
        policy("gives up at insufficient encryption", "BLE-10", &[], &Link(PairsOnlyAfterAuthentication)),
        policy("refuses short intervals", "BLE-11", &[], &Link(KeepsParameters)),
        policy("takes a new link for the old one", "RST-04", &["BLE-03", "SMP-14"], &Link(Remembers)),
    ]
}

/// Centrals that are unusual and do nothing wrong.
pub(super) fn oddities() -> Vec<(&'static str, &'static dyn Policy)> {
    vec![
        ("small fragments, the header alone first", &Link(SmallFragments)),
        ("an MTU that is only asked for when something does not fit", &Link(LateMtu)),
        ("the MTU of a telephone", &Link(SmallMtu)),
        ("notifications switched on, off and on again", &Link(Restless)),
    ]
}

/// An initiator that is unusual only as a central.
pub(super) struct Link<L>(pub(super) L);

impl<L: LinkPolicy> Policy for Link<L> {
    fn link(&self) -> &dyn LinkPolicy {
        &self.0
    }
}

struct LateSubscriber;

impl LinkPolicy for LateSubscriber {
    fn late_notifications(&self, first_link: bool) -> bool {
        first_link
    }
}

struct Careful;

impl LinkPolicy for Careful {
    fn write_requests(&self) -> bool {
        true
    }
}

struct TooLong;

impl LinkPolicy for TooLong {
    fn fragments<'a>(&self, packet: &'a [u8], value_max: usize) -> Vec<&'a [u8]> {
        // The header of the Attribute Protocol is forgotten.
        packet.chunks(value_max + 3).collect()
    }
}

struct CutsHeaders;

impl LinkPolicy for CutsHeaders {
    fn fragments<'a>(&self, packet: &'a [u8], value_max: usize) -> Vec<&'a [u8]> {
        if packet.len() <= value_max {
            return vec![packet];
        }
        let (start, rest) = packet.split_at(4);
        std::iter::once(start).chain(rest.chunks(value_max)).collect()
    }
}

/// Its packets have two fragments, of which some are sent without the second.
struct BreaksOff;

impl Policy for BreaksOff {
    fn packet_max(&self, told: Option<usize>, one_write: Option<usize>) -> usize {
        match (told, one_write) {
            (Some(told), Some(one_write)) => told.min(one_write + 100),
            (None, Some(one_write)) => one_write.min(DEFAULT_BUFFER),
            _ => told.unwrap_or(DEFAULT_BUFFER),
        }
    }

    fn link(&self) -> &dyn LinkPolicy {
        self
    }
}

impl LinkPolicy for BreaksOff {
    fn abandons(&self, packet: &[u8]) -> bool {
        const SOME: u8 = 16;
        let message = SmpMessage::parse(packet);
        message.known() == Some(Command::ImageUpload) && message.sequence % SOME == SOME - 1
    }
}

struct TakesReassembly;

impl Policy for TakesReassembly {
    fn packet_max(&self, told: Option<usize>, _: Option<usize>) -> usize {
        told.unwrap_or(DEFAULT_BUFFER)
    }
}

struct Oversized;

impl Policy for Oversized {
    fn packet_max(&self, told: Option<usize>, one_write: Option<usize>) -> usize {
        match (told, one_write) {
            (Some(told), _) => told + 256,
            (None, Some(one_write)) => one_write.min(DEFAULT_BUFFER),
            (None, None) => DEFAULT_BUFFER,
        }
    }
}

struct Flood;

impl Policy for Flood {
    fn window(&self, buffers: Option<usize>) -> usize {
        buffers.unwrap_or(1)
    }
}

struct TakesWhole;

impl LinkPolicy for TakesWhole {
    fn takes(&self) -> Takes {
        Takes::Whole
    }
}

struct ThrowsPieces;

impl LinkPolicy for ThrowsPieces {
    fn takes(&self) -> Takes {
        Takes::OnlyWhole
    }
}

struct PairsOnlyAfterEncryption;

impl LinkPolicy for PairsOnlyAfterEncryption {
    fn pairs_after(&self, error: AttError) -> bool {
        error == AttError::INSUFFICIENT_ENCRYPTION
    }
}

struct PairsOnlyAfterAuthentication;

impl LinkPolicy for PairsOnlyAfterAuthentication {
    fn pairs_after(&self, error: AttError) -> bool {
        error == AttError::INSUFFICIENT_AUTHENTICATION
    }
}

struct KeepsParameters;

impl LinkPolicy for KeepsParameters {
    fn accepts(&self, _: ConnectionParameters) -> bool {
        false
    }
}

struct Remembers;

impl LinkPolicy for Remembers {
    fn sets_up_again(&self) -> bool {
        false
    }
}

struct SmallFragments;

impl LinkPolicy for SmallFragments {
    fn fragments<'a>(&self, packet: &'a [u8], value_max: usize) -> Vec<&'a [u8]> {
        if packet.len() <= value_max {
            return vec![packet];
        }
        let (header, rest) = packet.split_at(8);
        std::iter::once(header).chain(rest.chunks(value_max.min(100))).collect()
    }
}

struct LateMtu;

impl LinkPolicy for LateMtu {
    fn mtu_on_demand(&self) -> bool {
        true
    }
}

struct SmallMtu;

impl LinkPolicy for SmallMtu {
    fn mtu(&self) -> u16 {
        185
    }
}

struct Restless;

impl LinkPolicy for Restless {
    fn ccc(&self) -> &'static [u16] {
        &[1, 0, 1]
    }
}
