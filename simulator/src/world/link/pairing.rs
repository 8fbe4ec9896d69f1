//! Pairing, and keys that were kept.
//!
//! | the central | what happens |
//! |---|---|
//! | has keys that reach what it wants, and so has the target | the link is encrypted with them, subscriptions are restored |
//! | has none, or too weak ones | a pairing by the method of both sides; its keys replace the old ones |
//! | has thrown its keys away, and the target has not | the same; Just Works is refused unless `replaces_bonds` (zephyr: `smp.c`, `update_keys_check`; nrf5 sdk 17.1: `security_dispatcher.c`, `allow_repairing`) |
//! | does anything but encrypt with the keys of a shared bond, in DFU mode of Nordic's | "pairing not supported" (nrf5 sdk 17.1: `nrf_dfu_ble.c`, `BLE_GAP_EVT_SEC_PARAMS_REQUEST`) |
//!
//! A target that can show or ask something demands protection against somebody in the middle, as Zephyr's does
//! (`smp.c`, `get_auth`). Every central knows LE Secure Connections.

use std::sync::Arc;

use super::{Bond, LINKS_MAX, Link};
use crate::device::program::Input;
use crate::gatt::{
    CentralAction, GattEvent, IoCapability, Method, PairingAnswer, PairingAsk, PairingFailure, Security,
};
use crate::trace::{Kind, LinkEvent};
use crate::world::{Peer, World};

/// A pairing that nobody goes on with is over (Core specification, volume 3, part H, 3.4), in microseconds.
const TIMEOUT_US: u64 = 30_000_000;
/// How long the user of the target takes to enter a passkey, in microseconds.
const ENTRY_US: u64 = 500_000;

/// A pairing under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ongoing {
    /// The target does not know of it, or not any more.
    Unheard,
    /// The user of the central is asked.
    Asked { ask: PairingAsk, level: Security, until: u64 },
    /// The user of the target enters what the central shows; it waits for the link where that is down.
    Entering { level: Security, until: Option<u64> },
}

impl Link {
    /// The target has forgotten the connection.
    pub(super) fn forget_pairing(&mut self) {
        let asked = self.actions.iter().any(|action| matches!(action, CentralAction::Pair { .. }));
        if self.pairing.is_some() || asked {
            self.pairing = Some(Ongoing::Unheard);
        }
    }

    pub(super) fn pairing_due(&self) -> Option<u64> {
        match self.pairing {
            Some(Ongoing::Asked { until, .. }) => Some(until),
            Some(Ongoing::Entering { until, .. }) => until,
            Some(Ongoing::Unheard) | None => None,
        }
    }
}

impl World {
    /// A central has no keys of this target any more; the target keeps its own.
    pub(super) fn keys_forgotten(&mut self, central: Peer) {
        if let Some(bond) = self.links.bonds.get_mut(&central) {
            bond.central_has = false;
        }
    }

    /// The same of all of them.
    pub(in crate::world) fn all_keys_forgotten(&mut self) {
        for bond in self.links.bonds.values_mut() {
            bond.central_has = false;
        }
    }

    pub(super) fn pair(&mut self, number: u64, capability: IoCapability, wanted: Security) {
        let config = self.pairing_now();
        let nordic = self.board.as_nordic().is_some() || self.board.as_legacy().is_some();
        let Some(link) = self.links.get(number).filter(|link| link.pairing.is_none()) else { return };
        let (central, bonded, reached) = (link.central, link.server.bonded, link.server.security);
        let bond = self.links.bonds.get(&central).filter(|_| bonded);
        let target_has = bond.map(|bond| bond.security);
        let missed = !bonded && self.links.bonds.get(&central).is_some_and(|bond| bond.central_has);
        let kept = bond.filter(|bond| bond.central_has).map(|bond| bond.security).filter(|level| *level >= wanted);
        if let Some(level) = kept {
            return self.secured(number, level, true);
        }
        if reached > Security::Plain && reached >= wanted {
            return self.tell_link(number, GattEvent::Secured { level: reached, bonded: false });
        }
        let Some(own) = config.capability else {
            let why = if missed { "the target has no keys of this central" } else { "the target does not pair" };
            return self.pairing_failed(number, PairingFailure::PairingNotSupported, why);
        };
        let secure = config.secure_connections;
        let protected = wanted >= Security::Authenticated || own != IoCapability::NoInputNoOutput;
        let method = Method::of(capability, own, protected, secure);
        let level = method.level(secure);
        self.record(Kind::Link(LinkEvent::Pairing {
            connection: number,
            method: method.name().into(),
            secure_connections: secure,
        }));
        if let Some((id, action)) = self.faults.at_pairing() {
            self.fire(&id, &action);
            let up = self.link;
            match self.links.get(number) {
                None => return,
                Some(link) if link.forgotten => {
                    link.pairing = Some(Ongoing::Unheard);
                    return;
                }
                // Repeated by the controller until the link is back or given up.
                Some(link) if !up => return link.actions.push(CentralAction::Pair { capability, wanted }),
                Some(_) => {}
            }
        }
        let unsafer = match target_has {
            Some(Security::Encrypted) => method == Method::JustWorks && !config.replaces_bonds,
            Some(known) => level < known,
            None => false,
        };
        if level < wanted || unsafer {
            let why = if unsafer { "the target has better keys of this central, or as good ones" } else { "" };
            let failure = if unsafer && nordic {
                PairingFailure::PairingNotSupported
            } else {
                PairingFailure::AuthenticationRequirements
            };
            return self.pairing_failed(number, failure, why);
        }
        let until = self.now + TIMEOUT_US;
        let (ongoing, ask) = match method {
            Method::JustWorks => return self.secured(number, level, false),
            Method::EnterPasskey => {
                let ask = PairingAsk::EnterPasskey;
                (Ongoing::Asked { ask, level, until }, ask)
            }
            Method::Compare => {
                let ask = PairingAsk::Compare(config.passkey);
                (Ongoing::Asked { ask, level, until }, ask)
            }
            Method::ShowPasskey => {
                let until = Some(self.now + ENTRY_US);
                (Ongoing::Entering { level, until }, PairingAsk::ShowPasskey(config.passkey))
            }
        };
        if let Some(link) = self.links.get(number) {
            link.pairing = Some(ongoing);
        }
        self.tell_link(number, GattEvent::PairingAsks(ask));
    }

    pub(super) fn pairing_answered(&mut self, number: u64, answer: PairingAnswer) {
        let passkey = self.board.gatt.pairing.passkey;
        let Some(link) = self.links.get(number) else { return };
        let (failure, level) = match (link.pairing, answer) {
            (None | Some(Ongoing::Unheard), _) => return,
            (Some(Ongoing::Entering { level, .. }), PairingAnswer::Refused) => {
                (Some(PairingFailure::PasskeyEntryFailed), level)
            }
            // That it is shown.
            (Some(Ongoing::Entering { .. }), _) => return,
            (Some(Ongoing::Asked { ask: PairingAsk::Compare(_), level, .. }), answer) => {
                ((answer != PairingAnswer::Same).then_some(PairingFailure::NumericComparisonFailed), level)
            }
            (Some(Ongoing::Asked { level, .. }), PairingAnswer::Passkey(given)) => {
                ((given != passkey).then_some(PairingFailure::ConfirmValueFailed), level)
            }
            (Some(Ongoing::Asked { level, .. }), _) => (Some(PairingFailure::PasskeyEntryFailed), level),
        };
        match failure {
            Some(failure) => self.pairing_failed(number, failure, ""),
            None => self.secured(number, level, false),
        }
    }

    /// A pairing comes to its end by itself; `false` when none does.
    pub(super) fn step_pairings(&mut self) -> bool {
        let (now, up) = (self.now, self.link);
        let due = |link: &&mut Link| link.pairing_due().is_some_and(|due| due <= now);
        let Some(link) = self.links.links.iter_mut().find(due) else { return false };
        let number = link.number;
        match link.pairing {
            Some(Ongoing::Entering { level, .. }) if !up => {
                link.pairing = Some(Ongoing::Entering { level, until: None });
            }
            Some(Ongoing::Entering { level, .. }) => self.secured(number, level, false),
            _ => self.pairing_failed(number, PairingFailure::UnspecifiedReason, "nobody has answered for 30 s"),
        }
        true
    }

    /// The link is back: what was entered meanwhile arrives.
    pub(super) fn pairing_goes_on(&mut self, number: u64) {
        let now = self.now;
        if let Some(link) = self.links.get(number)
            && let Some(Ongoing::Entering { until: until @ None, .. }) = &mut link.pairing
        {
            *until = Some(now);
        }
    }

    /// The link ends, and a pairing with it.
    pub(super) fn pairing_ends_with(&mut self, number: u64) {
        let Some(link) = self.links.get(number) else { return };
        let asked = link.actions.iter().any(|action| matches!(action, CentralAction::Pair { .. }));
        if link.pairing.is_some() || asked {
            self.pairing_failed(number, PairingFailure::Disconnected, "");
        }
    }

    fn pairing_failed(&mut self, number: u64, failure: PairingFailure, why: &str) {
        if let Some(link) = self.links.get(number) {
            link.pairing = None;
        }
        let reason = if why.is_empty() { failure.words().to_owned() } else { format!("{}: {why}", failure.words()) };
        self.record(Kind::Link(LinkEvent::PairingFailed { connection: number, reason }));
        self.tell_link(number, GattEvent::PairingFailed(failure));
    }

    fn secured(&mut self, number: u64, level: Security, with_kept_keys: bool) {
        let bonding = self.board.gatt.bonding;
        let bonds = self.links.bonds.len();
        let Some(link) = self.links.get(number) else { return };
        let again = with_kept_keys && link.server.security == level;
        link.pairing = None;
        link.server.security = level;
        let central = link.central;
        let (configured, table) = (link.server.configured.clone(), Arc::clone(&link.attributes.table));
        let known = self.links.bonds.contains_key(&central);
        let bonded = with_kept_keys || (bonding && (known || bonds < LINKS_MAX));
        if let Some(link) = self.links.get(number) {
            link.server.bonded = bonded;
        }
        if again {
            return self.tell_link(number, GattEvent::Secured { level, bonded });
        }
        self.record(Kind::Link(LinkEvent::Security { connection: number, level, with_kept_keys }));
        if bonded && !with_kept_keys {
            let bond = Bond { security: level, central_has: true, configured, table, changed: false };
            self.links.bonds.insert(central, bond);
        }
        self.tell_link(number, GattEvent::Secured { level, bonded });
        if bonded {
            self.tell_program(Input::Bonded, None);
        }
        if self.is_in_dfu_mode() {
            self.initialise(number);
        } else if with_kept_keys {
            self.restore(number);
        }
    }

    /// The controllers have protected a link; keys and subscriptions are theirs.
    pub(super) fn secured_by_controllers(&mut self, number: u64, level: Security, bonded: bool) {
        let Some(link) = self.links.get(number).filter(|link| link.server.security < level) else { return };
        link.server.security = level;
        link.server.bonded = bonded;
        self.record(Kind::Link(LinkEvent::Security { connection: number, level, with_kept_keys: false }));
    }

    /// What a known central had switched on is on again, where there still is something to switch on.
    fn restore(&mut self, number: u64) {
        let Some(link) = self.links.get(number) else { return };
        let (central, attributes) = (link.central, Arc::clone(&link.attributes));
        let Some(bond) = self.links.bonds.get(&central) else { return };
        for (descriptor, bits) in bond.configured.clone() {
            let there = attributes.get(descriptor).is_some_and(|attribute| {
                matches!(attribute.behind, crate::device::attributes::Behind::Configuration { .. })
            });
            if there && bits != 0 {
                self.configure(number, descriptor, bits, "restored");
            }
        }
        self.tell_service_changed(number);
    }
}
