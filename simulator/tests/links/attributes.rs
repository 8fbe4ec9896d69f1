//! Attributes of a target: what can be read and written, what is notified, what it advertises.

use std::collections::BTreeMap;

use brickproof_flash_model::image::mcuboot::inspect;
use brickproof_simulator::device::{Battery, VendorCharacteristic, VendorService, static_address};
use brickproof_simulator::gatt::{Properties, Table, Uuid};
use brickproof_simulator::smp::{Field, RecoveryConfig};
use brickproof_simulator::trace::AttRecord;
use brickproof_simulator::world::{Action, Carrier, Count, Fault, Trigger, request};

use super::*;

fn table(world: &mut World) -> Arc<Table> {
    match act(world, CentralAction::Discover).as_slice() {
        [GattEvent::Discovered(table)] => Arc::clone(table),
        other => panic!("{other:?}"),
    }
}

/// Handles of the value of a characteristic, and of its descriptor (0 where there is none).
fn handles(world: &mut World, uuid: Uuid) -> (u16, u16) {
    let table = table(world);
    let characteristic = table.characteristic(uuid).unwrap();
    (characteristic.value_handle, characteristic.ccc().unwrap_or(0))
}

fn read_at(world: &mut World, handle: u16, offset: u16) -> Result<Vec<u8>, AttError> {
    match act(world, CentralAction::Read { handle, offset }).as_slice() {
        [GattEvent::Read { value, .. }] => Ok(value.clone()),
        [GattEvent::Error { error, .. }] => Err(*error),
        other => panic!("{other:?}"),
    }
}

fn read(world: &mut World, uuid: Uuid) -> Result<Vec<u8>, AttError> {
    let (handle, _) = handles(world, uuid);
    read_at(world, handle, 0)
}

fn vendor(board: &mut Board) {
    let characteristic = |number, properties, trigger: Option<&str>| VendorCharacteristic {
        uuid: Uuid::short(number),
        properties,
        value: vec![0xaa; 30],
        trigger: trigger.map(str::to_owned),
    };
    board.peripheral.services.push(VendorService {
        uuid: Uuid::short(0xfff0),
        characteristics: vec![
            characteristic(0xfff1, Properties::WRITE.and(Properties::READ), None),
            characteristic(0xfff2, Properties::WRITE, Some("bootloader")),
            characteristic(0xfff3, Properties::READ, None),
        ],
    });
}

fn atts(world: &mut World) -> Vec<AttRecord> {
    let records = world.take_records().into_iter();
    records.filter_map(|record| if let Kind::Att(att) = record.kind { Some(att) } else { None }).collect()
}

/// Runs the image that waits in the secondary slot.
fn update(world: &mut World) {
    let area = world.board().mcuboot().unwrap().area(Slot::Secondary);
    let source = brickproof_flash_model::image::mcuboot::SlotSource { flash: &world.persistent().unwrap().flash, area };
    let hash = inspect(&source).unwrap().hash.unwrap();
    let fields = BTreeMap::from([
        ("hash".to_owned(), Field::Bytes(brickproof_simulator::trace::hex(&hash))),
        ("confirm".to_owned(), Field::Boolean(true)),
    ]);
    world.receive(99, &request(Op::Write, 1, 0, &fields));
    later(world, 1_000_000);
    world.control(Control::Reset);
    later(world, 60_000_000);
    assert!(world.serving());
    while world.take_sent().is_some() {}
}

#[test]
fn reads_have_offsets_and_permissions() {
    let mut world = world_with(GattConfig::default(), vendor);
    act(&mut world, CentralAction::Connect);
    assert_eq!(read(&mut world, Uuid::DEVICE_NAME).unwrap(), b"links");
    assert_eq!(read(&mut world, Uuid::MANUFACTURER_NAME).unwrap(), b"brickproof");
    assert_eq!(read(&mut world, Uuid::BATTERY_LEVEL).unwrap(), [100]);
    let (handle, _) = handles(&mut world, Uuid::short(0xfff3));
    assert_eq!(read_at(&mut world, handle, 28).unwrap(), [0xaa; 2]);
    assert!(read_at(&mut world, handle, 30).unwrap().is_empty());
    assert_eq!(read_at(&mut world, handle, 31), Err(AttError::INVALID_OFFSET));
    assert_eq!(read_at(&mut world, VALUE, 0), Err(AttError::READ_NOT_PERMITTED));
    assert_eq!(read_at(&mut world, 0x99, 0), Err(AttError::INVALID_HANDLE));
    assert_eq!(read_at(&mut world, CCC, 0).unwrap(), [0, 0]);
    act(&mut world, write(CCC, &[1, 0], false));
    assert_eq!(read_at(&mut world, CCC, 0).unwrap(), [1, 0]);
    // The declaration of the SMP characteristic.
    assert_eq!(read_at(&mut world, 0x11, 0).unwrap()[..3], [0x14, 0x12, 0]);
    let names: Vec<String> = atts(&mut world).into_iter().map(|att| att.name).collect();
    assert!(names.contains(&"read-blob-request".into()) && names.contains(&"read-response".into()));
}

#[test]
fn only_smp_is_protected_and_reads_of_its_descriptor_with_it() {
    let mut world = world(GattConfig { access: Security::Encrypted, ..GattConfig::default() });
    act(&mut world, CentralAction::Connect);
    assert!(read(&mut world, Uuid::FIRMWARE_REVISION).is_ok());
    assert_eq!(read_at(&mut world, CCC, 0), Err(AttError::INSUFFICIENT_AUTHENTICATION));
}

#[test]
fn long_writes_come_in_pieces_and_short_ones_must_fit() {
    let mut world = world_with(GattConfig::default(), vendor);
    act(&mut world, CentralAction::Connect);
    let (handle, _) = handles(&mut world, Uuid::short(0xfff1));
    world.take_records();
    let value: Vec<u8> = (0..40).collect();
    let long = |handle, value: &[u8]| CentralAction::Write { handle, value: value.to_vec(), kind: WriteKind::Long };
    assert_eq!(
        act(&mut world, write(handle, &value, false)),
        [GattEvent::Error { handle, error: AttError::INVALID_LENGTH }]
    );
    assert_eq!(act(&mut world, long(handle, &value)), [GattEvent::Written { handle }]);
    let pieces: Vec<_> = atts(&mut world).into_iter().map(|att| (att.name, att.len, att.error)).collect();
    let piece = |name: &str, len| (name.to_owned(), len, None);
    assert_eq!(pieces[0], ("write-request".to_owned(), 40, Some(0x0d)));
    assert_eq!(
        pieces[1..],
        [
            piece("prepare-write-request", 18),
            piece("prepare-write-request", 18),
            piece("prepare-write-request", 4),
            piece("execute-write-request", 0)
        ]
    );
    assert_eq!(read_at(&mut world, handle, 0).unwrap(), value);
    let refused = |error| [GattEvent::Error { handle, error }];
    assert_eq!(act(&mut world, long(handle, &[0; 513])), refused(AttError::INVALID_LENGTH));
    assert_eq!(act(&mut world, write(handle, &[1], true)), [], "it cannot be written without response");
    let error = AttError::WRITE_NOT_PERMITTED;
    assert_eq!(act(&mut world, long(VALUE, &value)), [GattEvent::Error { handle: VALUE, error }]);
    assert_eq!(atts(&mut world).last().unwrap().name, "prepare-write-request", "refused at its first piece");
    assert_eq!(act(&mut world, long(CCC, &[1, 0])), [GattEvent::Written { handle: CCC }]);
    world.control(Control::Reset);
    later(&mut world, 5_000_000);
    told(&mut world);
    act(&mut world, CentralAction::Connect);
    assert_eq!(read_at(&mut world, handle, 0).unwrap(), [0xaa; 30], "RAM is lost with a reset");
}

#[test]
fn a_write_to_a_trigger_is_an_event_and_a_moment_for_faults() {
    for to in ["bootloader", "fff2", "0000fff2-0000-1000-8000-00805f9b34fb"] {
        let mut world = world_with(GattConfig::default(), vendor);
        let trigger = Trigger::Write { to: to.into(), count: Count::once(2) };
        world.control(Control::Fault(Fault { id: "trigger".into(), trigger, action: Action::Reset }));
        act(&mut world, CentralAction::Connect);
        let (handle, _) = handles(&mut world, Uuid::short(0xfff2));
        assert_eq!(act(&mut world, write(handle, &[1], false)), [GattEvent::Written { handle }]);
        assert!(world.serving());
        assert_eq!(act(&mut world, write(handle, &[1], false)), [GattEvent::Written { handle }]);
        assert!(!world.serving(), "it was reset, after the answer");
        let written = |record: &brickproof_simulator::trace::Record| matches!(&record.kind, Kind::Application { event } if event == "its trigger `bootloader` is written");
        assert_eq!(world.take_records().iter().filter(|record| written(record)).count(), 2);
    }
}

#[test]
fn the_charge_is_notified_to_those_who_want_it() {
    let mut world = world(GattConfig { connections: 2, ..GattConfig::default() });
    act(&mut world, CentralAction::Connect);
    world.central(2, CentralAction::Connect);
    told(&mut world);
    let (handle, descriptor) = handles(&mut world, Uuid::BATTERY_LEVEL);
    act(&mut world, write(descriptor, &[1, 0], false));
    world.control(Control::Battery(Battery { percent: 30 }));
    let events: Vec<_> = std::iter::from_fn(|| world.take_gatt()).collect();
    assert_eq!(events, [(1, GattEvent::Notification { handle, value: vec![30] })]);
    world.control(Control::Link(false));
    world.control(Control::Battery(Battery { percent: 20 }));
    assert_eq!(told(&mut world), []);
    world.control(Control::Link(true));
    assert_eq!(told(&mut world), [GattEvent::Notification { handle, value: vec![20] }]);
}

#[test]
fn the_firmware_revision_is_that_of_the_image_that_runs() {
    let mut world = world(GattConfig::default());
    act(&mut world, CentralAction::Connect);
    assert!(read(&mut world, Uuid::FIRMWARE_REVISION).unwrap().starts_with(b"1.0.0"));
    update(&mut world);
    told(&mut world);
    act(&mut world, CentralAction::Connect);
    assert!(read(&mut world, Uuid::FIRMWARE_REVISION).unwrap().starts_with(b"2.0.0"));
}

#[test]
fn bonded_centrals_are_told_that_attributes_have_moved() {
    for (bonding, asks) in [(true, true), (true, false), (false, true)] {
        let mut world = world(GattConfig { moving_handles: true, bonding, ..GattConfig::default() });
        let pair = CentralAction::Pair { capability: IoCapability::NoInputNoOutput, wanted: Security::Encrypted };
        act(&mut world, CentralAction::Connect);
        let (changed, descriptor) = handles(&mut world, Uuid::SERVICE_CHANGED);
        if asks {
            act(&mut world, write(descriptor, &[2, 0], false));
        }
        act(&mut world, pair.clone());
        act(&mut world, write(CCC, &[1, 0], false));
        update(&mut world);
        told(&mut world);
        assert_eq!(act(&mut world, CentralAction::Connect), [GattEvent::Connected]);
        let events = act(&mut world, pair.clone());
        let indication = GattEvent::Indication { handle: changed, value: vec![1, 0, 0xff, 0xff] };
        assert_eq!(events.contains(&indication), bonding && asks, "{events:?}");
        assert_eq!(read_at(&mut world, CCC, 0), Err(AttError::INVALID_HANDLE), "what was subscribed to is gone");
        // Once is enough.
        act(&mut world, CentralAction::Disconnect);
        act(&mut world, CentralAction::Connect);
        assert!(!act(&mut world, pair).contains(&indication));
    }
}

#[test]
fn what_overruns_the_buffers_of_a_busy_device_is_lost_and_recorded() {
    let mut world = world_with(GattConfig { mtu: 517, ..GattConfig::default() }, |board| board.smp.buffer_count = 3);
    connected(&mut world);
    act(&mut world, CentralAction::ExchangeMtu(517));
    world.take_records();
    // Erasing a slot takes long: the request holds a buffer, its answer another.
    let erase = request(Op::Write, 1, 5, &BTreeMap::new());
    act(&mut world, write(VALUE, &erase, true));
    for _ in 0..3 {
        act(&mut world, write(VALUE, &echo(b"x"), true));
    }
    let dropped =
        |record: &brickproof_simulator::trace::Record| matches!(&record.kind, Kind::Resource { size: 3 | 384, .. });
    let records = world.take_records();
    assert_eq!(records.iter().filter(|record| dropped(record)).count(), 2, "{records:#?}");
    later(&mut world, 10_000_000);
    assert_eq!(answers(&told(&mut world)).len(), 2, "of four requests");
}

#[test]
fn advertising_follows_the_target() {
    let mut world = world_with(GattConfig::default(), |board| board.peripheral.changes_address = true);
    let first = world.advertisement().unwrap();
    assert_eq!((first.name.as_deref(), first.address), (Some("links"), static_address("links")));
    act(&mut world, CentralAction::Connect);
    assert_eq!(world.advertisement(), None, "it has one connection");
    act(&mut world, CentralAction::Disconnect);
    world.control(Control::Link(false));
    assert_eq!(world.advertisement(), None);
    world.control(Control::Link(true));
    assert!(world.advertisement().is_some());
    world.control(Control::Reset);
    assert_eq!(world.advertisement(), None, "it starts");
    later(&mut world, 5_000_000);
    assert_eq!(world.advertisement().unwrap().address, first.address.plus(1));
    world.control(Control::Power(false));
    assert_eq!(world.advertisement(), None);
}

#[test]
fn a_recovery_has_no_bluetooth() {
    for carrier in [Carrier::Direct, Carrier::Bluetooth] {
        let mut world = world_with(GattConfig::default(), |board| board.recovery = Some(RecoveryConfig::default()));
        world.set_carrier(carrier);
        let layout = &world.board().layout;
        let partition = |slot| {
            let area = world.board().mcuboot().unwrap().area(slot);
            layout
                .partitions
                .iter()
                .map(|found| found.name.clone())
                .find(|name| layout.area(name) == Some(area))
                .unwrap()
        };
        let names = [Slot::Primary, Slot::Secondary].map(partition);
        for (number, name) in names.into_iter().enumerate() {
            let action = Action::StrayWrite { partition: name, offset: 0 };
            let trigger = Trigger::After { us: 0 };
            world.control(Control::Fault(Fault { id: format!("{number}"), trigger, action }));
        }
        later(&mut world, 1);
        world.control(Control::Reset);
        later(&mut world, 5_000_000);
        assert!(world.device().unwrap().recovery().is_some());
        assert_eq!(world.serving(), carrier == Carrier::Direct);
        assert_eq!(world.advertisement(), None);
        assert_eq!(act(&mut world, CentralAction::Connect), [GattEvent::Unreachable]);
    }
}

#[test]
fn connections_take_their_time_fail_and_are_given_up() {
    let mut world = world(GattConfig { connect_delay_us: 200_000, ..GattConfig::default() });
    let fails = |nth| Trigger::Connect(Count { nth, times: 2 });
    world.control(Control::Fault(Fault { id: "f".into(), trigger: fails(2), action: Action::ConnectFails }));
    for expected in [GattEvent::Connected, GattEvent::Unreachable, GattEvent::Unreachable, GattEvent::Connected] {
        assert_eq!(act(&mut world, CentralAction::Connect), []);
        later(&mut world, 199_999);
        assert_eq!(told(&mut world), []);
        later(&mut world, 1);
        assert_eq!(told(&mut world), [expected]);
        act(&mut world, CentralAction::Disconnect);
    }
    act(&mut world, CentralAction::Connect);
    assert_eq!(act(&mut world, CentralAction::Disconnect), [GattEvent::Unreachable]);
    later(&mut world, 1_000_000);
    assert_eq!(told(&mut world), []);
}
