//! A bond that an application of Nordic's shares with its bootloader: who can connect, with which keys, and what is
//! switched on.

use brickproof_flash_model::boot::nordic::softdevice::{synthetic_image, synthetic_softdevice};
use brickproof_flash_model::boot::nordic::{Nordic, Options as NordicOptions};
use brickproof_flash_model::boot::{nordic_legacy, nordic_legacy::NordicLegacy};
use brickproof_flash_model::sweep::nordic::{Installed, factory};
use brickproof_simulator::gatt::{Address, PairingFailure, Uuid};
use brickproof_simulator::nordic::legacy::Sharing;
use brickproof_simulator::nordic::{Buttonless, Endpoint, LegacyBoard, NordicBoard, Writes};
use brickproof_simulator::trace::{CccdRecord, LinkEvent};
use brickproof_simulator::world::{Action, Count, Fault, Trigger};

use super::*;

const UNREACHABLE: [GattEvent; 1] = [GattEvent::Unreachable];
const CHANGED_FROM: u8 = 0x0c;

fn started(board: Board, persistent: Persistent) -> World {
    let mut world = World::new(Arc::new(board), persistent, Wants::default());
    world.set_carrier(Carrier::Bluetooth);
    world.control(Control::Power(true));
    later(&mut world, 2_000_000);
    world.take_records();
    world
}

/// An application that shares its bond, and a bootloader that demands it.
fn bonded(change: impl FnOnce(&mut NordicBoard)) -> World {
    let layout = Layout::preset("nordic24").unwrap();
    let nordic = Nordic::new(&layout, NordicOptions::default(), None).unwrap();
    let installed = Installed {
        softdevice: &synthetic_softdevice(0x2f00, 0x101, 132, 7_000_000),
        application: &synthetic_image(1, 0x1800),
        application_version: 1,
        bootloader: &synthetic_image(100, 0x1f00),
        bootloader_version: 1,
    };
    let flash = factory(&nordic, layout.blank_flash(), &installed).unwrap();
    let mut own = NordicBoard::new(nordic);
    own.dfu.requires_bonds = true;
    own.dfu.next_address = false;
    own.buttonless = Buttonless::Bonded;
    change(&mut own);
    let mut board = Board::nordic("bonded", layout, own);
    (board.gatt.pace, board.gatt.discovery_us) = (None, 0);
    started(board, Persistent::new(flash))
}

/// The same of SDK 11.
fn legacy(sharing: Sharing) -> World {
    let layout = Layout::preset("nordic-legacy17").unwrap();
    let bootloader = NordicLegacy::new(&layout, nordic_legacy::Options::sdk11(), None).unwrap();
    let mut flash = layout.blank_flash();
    let map = *bootloader.map();
    let softdevice = synthetic_softdevice(0x2f00, 0x81, 132, 2_000_001);
    flash.load(map.whole(), nordic_legacy::MBR_SIZE, &softdevice).unwrap();
    let start = bootloader.bank_0_start(&flash).unwrap();
    flash.load(map.whole(), start, &synthetic_image(1, 0x1800)).unwrap();
    flash.load(map.bootloader(), 0, &synthetic_image(100, 0x1f00)).unwrap();
    flash.load(map.settings(), 0, &nordic_legacy::Settings::application(0x1800, 0).to_bytes()).unwrap();
    let mut own = LegacyBoard::new(bootloader);
    own.sharing = sharing;
    let mut board = Board::nordic_legacy("legacy", layout, own);
    (board.gatt.pace, board.gatt.discovery_us) = (None, 0);
    started(board, Persistent::new(flash))
}

fn act_as(world: &mut World, central: u64, action: CentralAction) -> Vec<GattEvent> {
    world.central(central, action);
    told(world)
}

fn pair(world: &mut World, central: u64) -> Vec<GattEvent> {
    let action = CentralAction::Pair { capability: IoCapability::NoInputNoOutput, wanted: Security::Encrypted };
    act_as(world, central, action)
}

/// Handles of a value and its descriptor.
fn handles(world: &mut World, uuid: Uuid) -> (u16, u16) {
    let (table, _) = world.attribute_table();
    let characteristic = table.characteristic(uuid).unwrap();
    (characteristic.value_handle, characteristic.ccc().unwrap_or(0))
}

fn request(world: &mut World, central: u64, handle: u16, value: &[u8]) -> Vec<GattEvent> {
    act_as(world, central, CentralAction::Write { handle, value: value.to_vec(), kind: WriteKind::Request })
}

/// A central pairs, asks to be told of changed attributes, and enters the bootloader.
fn enters(world: &mut World, central: u64) {
    assert_eq!(act_as(world, central, CentralAction::Connect), [GattEvent::Connected]);
    assert_eq!(pair(world, central), [GattEvent::Secured { level: Security::Encrypted, bonded: true }]);
    let (_, changed) = handles(world, Uuid::SERVICE_CHANGED);
    request(world, central, changed, &[2, 0]);
    ask(world, central);
    later(world, 3_000_000);
    assert!(world.device().unwrap().dfu_mode().is_some());
    told(world);
}

/// Asks the application for its bootloader, and confirms the answer.
fn ask(world: &mut World, central: u64) {
    let (value, descriptor) = handles(world, Endpoint::BondedButtonless.uuid());
    assert_eq!(request(world, central, descriptor, &[2, 0]), [GattEvent::Written { handle: descriptor }]);
    request(world, central, value, &[1]);
    later(world, 200_000);
    assert_eq!(told(world), [GattEvent::Indication { handle: value, value: vec![0x20, 1, 1] }]);
    act_as(world, central, CentralAction::Confirm);
}

fn comes_back(world: &mut World, central: u64) {
    assert_eq!(act_as(world, central, CentralAction::Connect), [GattEvent::Connected]);
}

#[test]
fn the_central_of_the_bond_is_the_only_one() {
    let mut world = bonded(|_| {});
    let address = world.advertisement().unwrap().address;
    // Two centrals have a bond with the application.
    comes_back(&mut world, 2);
    pair(&mut world, 2);
    act_as(&mut world, 2, CentralAction::Disconnect);
    enters(&mut world, 1);

    let shown = world.advertisement().unwrap();
    assert_eq!((shown.address, shown.flags), (address, 0x04));
    for stranger in [2, 3] {
        assert_eq!(act_as(&mut world, stranger, CentralAction::Connect), UNREACHABLE);
    }
    comes_back(&mut world, 1);
    let (value, descriptor) = handles(&mut world, Endpoint::ControlPoint.uuid());
    assert_eq!(
        request(&mut world, 1, value, &[6, 1]),
        [GattEvent::Error { handle: value, error: AttError::INSUFFICIENT_ENCRYPTION }]
    );
    let (packet, _) = handles(&mut world, Endpoint::Packet.uuid());
    request(&mut world, 1, packet, &[0; 20]);
    let events = pair(&mut world, 1);
    assert_eq!(events.first(), Some(&GattEvent::Secured { level: Security::Encrypted, bonded: true }));
    request(&mut world, 1, descriptor, &[1, 0]);
    let answered = request(&mut world, 1, value, &[6, 1]);
    assert!(matches!(answered.last(), Some(GattEvent::Notification { .. })), "{answered:?}");
}

/// Without an identity key there is nothing to tell a central by: it advertises to everybody, and has keys of one.
#[test]
fn without_an_identity_key_everybody_connects_and_one_encrypts() {
    let mut world = bonded(|_| {});
    world.set_identity_keys(false);
    comes_back(&mut world, 2);
    pair(&mut world, 2);
    act_as(&mut world, 2, CentralAction::Disconnect);
    let address = world.advertisement().unwrap().address;
    enters(&mut world, 1);
    let shown = world.advertisement().unwrap();
    assert_eq!((shown.address, shown.flags), (address, 0x06));

    for (stranger, why) in [(2, "no keys of this central"), (3, "does not pair")] {
        comes_back(&mut world, stranger);
        world.take_records();
        assert_eq!(
            pair(&mut world, stranger),
            [GattEvent::PairingFailed(PairingFailure::PairingNotSupported)],
            "{stranger}"
        );
        let said = world.take_records().into_iter().any(
            |record| matches!(record.kind, Kind::Link(LinkEvent::PairingFailed { reason, .. }) if reason.contains(why)),
        );
        assert!(said, "{why}");
        let (value, _) = handles(&mut world, Endpoint::ControlPoint.uuid());
        assert_eq!(
            request(&mut world, stranger, value, &[6, 1]),
            [GattEvent::Error { handle: value, error: AttError::INSUFFICIENT_AUTHENTICATION }]
        );
        act_as(&mut world, stranger, CentralAction::Disconnect);
    }
    comes_back(&mut world, 1);
    assert!(matches!(pair(&mut world, 1).first(), Some(GattEvent::Secured { .. })));
}

#[test]
fn a_central_that_has_lost_its_keys_is_locked_out() {
    let mut world = bonded(|_| {});
    enters(&mut world, 1);
    act_as(&mut world, 1, CentralAction::ForgetKeys);
    comes_back(&mut world, 1);
    let failed = [GattEvent::PairingFailed(PairingFailure::PairingNotSupported)];
    assert_eq!(pair(&mut world, 1), failed);
    // In the application, too: it has a bond with that central.
    later(&mut world, 125_000_000);
    told(&mut world);
    assert!(world.device().unwrap().dfu_mode().is_none());
    comes_back(&mut world, 1);
    assert_eq!(pair(&mut world, 1), failed);
}

#[test]
fn encryption_switches_off_what_was_on_and_indicates_service_changed() {
    let mut world = bonded(|_| {});
    enters(&mut world, 1);
    let changed = |handle| GattEvent::Indication { handle, value: vec![CHANGED_FROM, 0, 0xff, 0xff] };
    for _ in 0..2 {
        comes_back(&mut world, 1);
        let (service_changed, _) = handles(&mut world, Uuid::SERVICE_CHANGED);
        let (value, descriptor) = handles(&mut world, Endpoint::ControlPoint.uuid());
        // The descriptor itself is open, and the first one that is touched.
        assert_eq!(
            request(&mut world, 1, descriptor, &[1, 0]),
            [changed(service_changed), GattEvent::Written { handle: descriptor }]
        );
        assert_eq!(
            pair(&mut world, 1),
            [GattEvent::Secured { level: Security::Encrypted, bonded: true }, changed(service_changed)]
        );
        assert_eq!(request(&mut world, 1, value, &[6, 1]), [GattEvent::Error { handle: value, error: AttError(0xfd) }]);
        assert_eq!(request(&mut world, 1, descriptor, &[1, 0]), [GattEvent::Written { handle: descriptor }]);
        let answered = request(&mut world, 1, value, &[6, 1]);
        assert!(matches!(answered.last(), Some(GattEvent::Notification { .. })), "{answered:?}");
        act_as(&mut world, 1, CentralAction::Disconnect);
    }
    // Nothing of it is kept: the application restores what it knew, and says once that attributes have changed.
    later(&mut world, 125_000_000);
    world.take_records();
    for expected in [1, 0] {
        comes_back(&mut world, 1);
        let events = pair(&mut world, 1);
        assert_eq!(events.len(), 1 + expected, "{events:?}");
        act_as(&mut world, 1, CentralAction::Disconnect);
    }
    let restored = |record: &brickproof_simulator::trace::Record| matches!(&record.kind, Kind::Cccd(CccdRecord { by, indications: true, .. }) if by == "restored");
    assert_eq!(world.take_records().iter().filter(|record| restored(record)).count(), 4, "two descriptors, twice");
}

#[test]
fn every_bond_is_told_of_an_entry() {
    let mut world = bonded(|_| {});
    comes_back(&mut world, 2);
    pair(&mut world, 2);
    let (service_changed, descriptor) = handles(&mut world, Uuid::SERVICE_CHANGED);
    request(&mut world, 2, descriptor, &[2, 0]);
    act_as(&mut world, 2, CentralAction::Disconnect);
    enters(&mut world, 1);
    later(&mut world, 125_000_000);
    told(&mut world);
    comes_back(&mut world, 2);
    let value = vec![CHANGED_FROM, 0, 0xff, 0xff];
    assert_eq!(pair(&mut world, 2).last(), Some(&GattEvent::Indication { handle: service_changed, value }));
}

/// The bond outlives a power loss in DFU mode, and is gone from the settings with the start of an application.
#[test]
fn the_bond_lies_in_the_settings() {
    let mut world = bonded(|_| {});
    enters(&mut world, 1);
    later(&mut world, 125_000_000);
    assert!(world.device().unwrap().dfu_mode().is_none());
    comes_back(&mut world, 1);
    pair(&mut world, 1);
    // Asked again, though the words were written before: the bootloader has erased them.
    ask(&mut world, 1);
    later(&mut world, 3_000_000);
    assert!(world.device().unwrap().dfu_mode().is_some());
}

/// A bootloader that demands a bond and has none ends in its error handler, again and again.
#[test]
fn without_a_bond_there_is_no_dfu_mode() {
    let world = bonded(|own| own.starts_in_dfu = true);
    let device = world.device().unwrap();
    // The button is held at the first start only.
    assert_eq!((device.dfu_mode(), device.persistent().boots), (None, 2));
    let mut world = bonded(|own| own.dfu.requires_bonds = false);
    enters(&mut world, 1);
    let shown = world.advertisement().unwrap();
    assert_eq!(shown.flags, 0x06, "a bootloader without bonds advertises to everybody");
    comes_back(&mut world, 3);
    assert_eq!(pair(&mut world, 3), [GattEvent::PairingFailed(PairingFailure::PairingNotSupported)]);
}

#[test]
fn a_request_to_the_packet_characteristic_is_a_matter_of_the_softdevice() {
    for (writes, kind, taken) in [
        (Writes::Strict, WriteKind::Request, false),
        (Writes::Lenient, WriteKind::Request, true),
        (Writes::Lenient, WriteKind::Long, false),
    ] {
        let mut world = bonded(|own| {
            (own.dfu.requires_bonds, own.dfu.writes) = (false, writes);
        });
        enters(&mut world, 1);
        comes_back(&mut world, 1);
        let (table, _) = world.attribute_table();
        let packet = table.characteristic(Endpoint::Packet.uuid()).unwrap();
        assert_eq!(packet.properties, Endpoint::Packet.properties(), "what it says of itself is the same");
        let handle = packet.value_handle;
        let write = CentralAction::Write { handle, value: vec![0; 20], kind };
        let expected = if taken {
            GattEvent::Written { handle }
        } else {
            GattEvent::Error { handle, error: AttError::WRITE_NOT_PERMITTED }
        };
        assert_eq!(act(&mut world, write), [expected], "{writes:?} {kind:?}");
    }
}

#[test]
fn a_legacy_bootloader_is_told_of_the_central_that_asks() {
    let enter = |world: &mut World| {
        let (value, descriptor) = handles(world, Endpoint::LegacyControlPoint.uuid());
        request(world, 1, descriptor, &[1, 0]);
        request(world, 1, value, &[1, 4]);
        later(world, 3_000_000);
        told(world);
    };
    let next = |address: Address| address.next_in_last_byte();
    for (sharing, pairs, identified) in [
        (Sharing::None, false, true),
        (Sharing::Address, false, true),
        (Sharing::Bond, false, true),
        (Sharing::Bond, true, false),
        (Sharing::Bond, true, true),
    ] {
        let mut world = legacy(sharing);
        world.set_identity_keys(identified);
        let address = world.advertisement().unwrap().address;
        comes_back(&mut world, 1);
        if pairs {
            assert!(matches!(pair(&mut world, 1)[..], [GattEvent::Secured { bonded: true, .. }]));
        }
        enter(&mut world);
        let shown = world.advertisement().unwrap();
        let alone = sharing != Sharing::None;
        let whitelisted = pairs && identified;
        assert_eq!(shown.address, if alone { address } else { next(address) }, "{sharing:?}");
        assert_eq!(shown.name.is_none(), alone && !whitelisted, "directed advertising has no data: {sharing:?}");
        assert_eq!(shown.flags == 0x04, whitelisted, "{sharing:?}");
        let stranger = act_as(&mut world, 2, CentralAction::Connect);
        assert_eq!(stranger, if alone { UNREACHABLE } else { [GattEvent::Connected] }, "{sharing:?}");
        act_as(&mut world, 2, CentralAction::Disconnect);
        comes_back(&mut world, 1);
        let events = pair(&mut world, 1);
        let expected = if pairs {
            GattEvent::Secured { level: Security::Encrypted, bonded: true }
        } else {
            GattEvent::PairingFailed(PairingFailure::PairingNotSupported)
        };
        assert_eq!(events.first(), Some(&expected), "{sharing:?}");
        act_as(&mut world, 1, CentralAction::Disconnect);
        // 64 s of directed advertising, 120 s otherwise.
        later(&mut world, 80_000_000);
        assert_eq!(world.device().unwrap().legacy_mode().is_some(), !alone || whitelisted, "{sharing:?}");
    }
}

/// The answer to an entry never gets there: the words are written, so the next one is refused, and its confirmation is
/// taken for that of the first.
#[test]
fn an_entry_that_was_not_confirmed_comes_later() {
    let mut world = bonded(|_| {});
    comes_back(&mut world, 1);
    pair(&mut world, 1);
    let (value, descriptor) = handles(&mut world, Endpoint::BondedButtonless.uuid());
    request(&mut world, 1, descriptor, &[2, 0]);
    request(&mut world, 1, value, &[1]);
    act(&mut world, CentralAction::Disconnect);
    later(&mut world, 1_000_000);
    assert!(world.device().unwrap().dfu_mode().is_none());
    told(&mut world);

    comes_back(&mut world, 1);
    pair(&mut world, 1);
    let answered = request(&mut world, 1, value, &[1]);
    assert_eq!(answered.last(), Some(&GattEvent::Indication { handle: value, value: vec![0x20, 1, 4] }));
    act(&mut world, CentralAction::Confirm);
    later(&mut world, 2_000_000);
    assert!(world.device().unwrap().dfu_mode().is_some());
}

/// Nothing leaves while the link is down, and the SoftDevice keeps one notification; the bootloader does not look at what
/// becomes of the next.
#[test]
fn notifications_that_cannot_wait_are_lost() {
    for (queue, expected) in [(Some(1), 1), (Some(2), 2), (None, 3)] {
        let mut world = bonded(|own| {
            (own.dfu.requires_bonds, own.dfu.hvn_queue) = (false, queue);
        });
        enters(&mut world, 1);
        comes_back(&mut world, 1);
        let (value, descriptor) = handles(&mut world, Endpoint::ControlPoint.uuid());
        request(&mut world, 1, descriptor, &[1, 0]);
        let trigger = Trigger::CallAnswer { name: "select".into(), count: Count { nth: 1, times: u32::MAX } };
        let action = Action::DelayAnswer { by_us: 1_000_000 };
        world.control(Control::Fault(Fault { id: "late".into(), trigger, action }));
        for _ in 0..3 {
            assert_eq!(request(&mut world, 1, value, &[6, 1]), [GattEvent::Written { handle: value }]);
        }
        world.control(Control::Link(false));
        later(&mut world, 2_000_000);
        assert_eq!(told(&mut world), []);
        world.take_records();
        world.control(Control::Link(true));
        assert_eq!(told(&mut world).len(), expected, "{queue:?}");
    }
}
