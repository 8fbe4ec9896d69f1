//! A bond that an application of Nordic's shares with its bootloader, and what DFU mode makes of it.
//!
//! | in DFU mode | what happens |
//! |---|---|
//! | another central connects | nothing, where the central of the bond has given its identity key |
//! | the link is encrypted | Service Changed is as it was in the application, all else is switched off; if it was on, it is indicated |
//! | a descriptor is read or written for the first time on a link | the same before that |
//!
//! So a subscription that comes before the encryption is gone with it (nrf5 sdk 17.1: `nrf_dfu_ble.c`,
//! `service_changed_send`; nrf5 sdk 11: `dfu_transport_ble.c`, `service_change_indicate`).

use std::sync::Arc;

use crate::device::attributes::{Attributes, Behind};
use crate::device::nordic::Takes;
use crate::device::program::Input;
use crate::gatt::Uuid;
use crate::nordic::{Endpoint, SharedBond};
use crate::smp::gatt::{INDICATE, NOTIFY, Pairing};
use crate::world::{Carrier, Peer, World};

/// All handles, as a Service Changed has them: first and last (zephyr: `subsys/bluetooth/host/gatt.c`,
/// `db_hash_commit`).
const ALL_HANDLES: [u8; 4] = [0x01, 0x00, 0xff, 0xff];

impl World {
    /// Whether centrals give an identity key when they pair, as phones do. BlueZ does with privacy only (linux:
    /// `net/bluetooth/smp.c`, `build_pairing_cmd`), which is off unless it is asked for.
    pub fn set_identity_keys(&mut self, given: bool) {
        self.links.nameless = !given;
    }

    fn takes(&self) -> Takes {
        self.device().map_or(Takes::Everybody, |device| device.takes())
    }

    pub(super) fn is_in_dfu_mode(&self) -> bool {
        self.takes() != Takes::Everybody
    }

    /// How the program that runs pairs.
    pub(super) fn pairing_now(&self) -> Pairing {
        if self.is_in_dfu_mode() { Pairing::REFUSED } else { self.board.gatt.pairing }
    }

    /// What an application shares of this central.
    fn shared_of(&self, central: Peer, keyed: bool, service_changed: u16) -> SharedBond {
        // What controllers have agreed on is not known.
        let identified = !self.links.nameless && self.carrier != Carrier::Adapter;
        SharedBond::of(central, identified, keyed, service_changed)
    }

    /// Whether the program that runs has keys of this central.
    pub(super) fn knows(&self, central: Peer) -> bool {
        let bonded = self.links.bonds.contains_key(&central);
        match self.takes() {
            Takes::Everybody => bonded,
            Takes::Shared { bond, .. } => {
                bonded && bond.is_some_and(|bond| bond.has_key() && bond.key == self.shared_of(central, true, 0).key)
            }
        }
    }

    /// Whether the program that runs does not answer this central. Where controllers have made the connection, it is
    /// there.
    pub(super) fn is_shut_out(&self, central: Peer) -> bool {
        match self.takes() {
            Takes::Shared { bond: Some(bond), only: true } if self.carrier != Carrier::Adapter => {
                bond.address != self.shared_of(central, true, 0).address
            }
            _ => false,
        }
    }

    /// An application that is asked for its bootloader looks at who asks.
    pub(super) fn tell_who_asks(&mut self, number: u64, to: Endpoint) {
        if !matches!(to, Endpoint::BondedButtonless | Endpoint::LegacyControlPoint) {
            return;
        }
        let Some(link) = self.links.get(number) else { return };
        let (_, descriptor) = link.attributes.service_changed;
        let service_changed = link.server.configured.get(&descriptor).copied().unwrap_or(0);
        let (central, bonded) = (link.central, link.server.bonded);
        let bond = self.shared_of(central, bonded, service_changed);
        self.tell_program(Input::AskedBy(bond), None);
    }

    /// The application wants every central that it has a bond with to be told of other attributes.
    pub(in crate::world) fn attributes_change(&mut self) {
        for bond in self.links.bonds.values_mut() {
            bond.changed = true;
        }
    }

    /// A descriptor is read or written: DFU mode is asked for what was written to descriptors before.
    pub(super) fn initialise_at(&mut self, number: u64, handle: u16) {
        let first = self.links.get(number).is_some_and(|link| {
            let attribute = link.attributes.get(handle);
            !link.initialised
                && attribute.is_some_and(|attribute| matches!(attribute.behind, Behind::Configuration { .. }))
        });
        if first {
            self.initialise(number);
        }
    }

    /// DFU mode says what was written to descriptors before: to Service Changed, in the application.
    pub(super) fn initialise(&mut self, number: u64) {
        let Takes::Shared { bond: Some(bond), .. } = self.takes() else { return };
        let Some(link) = self.links.get(number) else { return };
        link.initialised = true;
        let attributes = Arc::clone(&link.attributes);
        let (value, changed) = attributes.service_changed;
        let on = link.server.configured.iter().filter(|(descriptor, bits)| **bits != 0 && **descriptor != changed);
        let others: Vec<u16> = on.map(|(descriptor, _)| *descriptor).collect();
        let was = link.server.configured.get(&changed).copied().unwrap_or(0);
        for descriptor in others {
            self.configure(number, descriptor, 0, "restored");
        }
        let bits = bond.service_changed & (NOTIFY | INDICATE);
        if bits != was {
            self.configure(number, changed, bits, "restored");
        }
        if bits & INDICATE != 0 {
            let range = self.changed_handles(&attributes);
            self.send_value(number, value, changed, &range);
        }
    }

    /// What a Service Changed says: with Nordic's, the services of the SoftDevice are not among it.
    pub(super) fn changed_handles(&self, attributes: &Attributes) -> [u8; 4] {
        if self.board.as_nordic().is_none() && self.board.as_legacy().is_none() {
            return ALL_HANDLES;
        }
        let own = attributes.table.services.iter().find(|service| ![Uuid::GAP, Uuid::GATT].contains(&service.uuid));
        let [low, high] = own.map_or(1, |service| service.handle).to_le_bytes();
        [low, high, 0xff, 0xff]
    }
}
