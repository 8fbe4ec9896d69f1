//! EFR32 boards in a world: in place by the AppLoader, through a slot, and what goes wrong on the way.

use std::sync::Arc;

use brickproof_flash_model::boot::gecko::{Gecko, Options};
use brickproof_flash_model::image::gbl::{Compression, FirmwareBuilder, GblBuilder};
use brickproof_flash_model::image::nordic::crc32;
use brickproof_flash_model::layout::Layout;
use brickproof_simulator::device::{Battery, Board, Endpoint, Persistent};
use brickproof_simulator::gatt::{
    AddressKind, Advertisement, AttError, CentralAction, ConnectionParameters, GattEvent, IoCapability, Security, Uuid,
    WriteKind,
};
use brickproof_simulator::silabs::gatt::{
    APPLICATION_VERSION, APPLOADER_VERSION, BOOTLOADER_VERSION, OTA_VERSION, result,
};
use brickproof_simulator::silabs::{Address, Erasing, SilabsBoard};
use brickproof_simulator::trace::Wants;
use brickproof_simulator::world::{Action, Carrier, Control, Count, Fault, Trigger, World};

const BOOTLOADER_VERSION_NUMBER: u32 = 0x0205_0000;

/// A bootloader with its CRC.
fn bootloader(base: u32) -> Vec<u8> {
    let mut image = FirmwareBuilder::bootloader(base, BOOTLOADER_VERSION_NUMBER).size(0x400).build();
    let crc = crc32(&image, 0);
    image.extend(crc.to_le_bytes());
    image
}

fn firmware(gecko: &Gecko, version: u32) -> Vec<u8> {
    FirmwareBuilder::new(gecko.map().application_start()).size(12_000).version(version).build()
}

fn file(gecko: &Gecko, version: u32) -> Vec<u8> {
    GblBuilder::new().firmware(gecko.map().application_start(), &firmware(gecko, version)).unsigned().unwrap()
}

/// A running target with an application of version 1, and a file with version 2.
fn world(options: Options, change: impl FnOnce(&mut SilabsBoard)) -> (World, Vec<u8>) {
    world_with(options, change, |_| {})
}

fn world_with(
    options: Options,
    change: impl FnOnce(&mut SilabsBoard),
    arrange: impl FnOnce(&mut Board),
) -> (World, Vec<u8>) {
    let layout = Layout::preset(if options.storage { "gecko40-storage" } else { "gecko40-apploader" }).unwrap();
    let gecko = Gecko::new(&layout, options).unwrap();
    let mut flash = layout.blank_flash();
    flash.load(layout.area("bootloader").unwrap(), 0, &bootloader(gecko.map().main_stage())).unwrap();
    flash.load(layout.area("application").unwrap(), 0, &firmware(&gecko, 1)).unwrap();
    let update = file(&gecko, 2);
    let mut own = SilabsBoard::new(gecko);
    change(&mut own);
    let mut board = Board::silabs("efr32", layout, own);
    arrange(&mut board);
    let mut world = World::new(Arc::new(board), Persistent::new(flash), Wants::default());
    world.set_carrier(Carrier::Bluetooth);
    world.control(Control::Power(true));
    later(&mut world, 5_000_000);
    (world, update)
}

fn later(world: &mut World, us: u64) {
    let until = world.now() + us;
    world.advance(until);
}

fn told(world: &mut World) -> Vec<GattEvent> {
    std::iter::from_fn(|| world.take_gatt()).map(|(_, event)| event).collect()
}

/// Does something as central 1; what it is told within a second.
fn act(world: &mut World, action: CentralAction) -> Vec<GattEvent> {
    world.central(1, action);
    while world.on_air(1) > 0 {
        later(world, 1_000);
    }
    let mut events = told(world);
    for _ in 0..100 {
        if !events.is_empty() {
            break;
        }
        later(world, 10_000);
        events.extend(told(world));
    }
    events
}

/// A connection with its handles.
struct Link {
    control: u16,
    data: Option<u16>,
    table: Arc<brickproof_simulator::gatt::Table>,
}

fn connect(world: &mut World) -> Link {
    assert_eq!(act(world, CentralAction::Connect), [GattEvent::Connected]);
    let Some(GattEvent::Discovered(table)) = act(world, CentralAction::Discover).into_iter().next() else {
        panic!("nothing is found")
    };
    act(world, CentralAction::ExchangeMtu(247));
    let handle = |uuid: Uuid| table.characteristic(uuid).map(|found| found.value_handle);
    Link {
        control: handle(Endpoint::OtaControl.uuid()).unwrap(),
        data: handle(Endpoint::OtaData.uuid()),
        table: table.clone(),
    }
}

impl Link {
    fn write(&self, world: &mut World, handle: u16, value: &[u8]) -> Result<(), AttError> {
        let action = CentralAction::Write { handle, value: value.to_vec(), kind: WriteKind::Request };
        let events = act(world, action);
        match events.first() {
            Some(GattEvent::Written { .. }) => Ok(()),
            Some(GattEvent::Error { error, .. }) => Err(*error),
            other => panic!("{other:?}"),
        }
    }

    fn control(&self, world: &mut World, byte: u8) -> Result<(), AttError> {
        self.write(world, self.control, &[byte])
    }

    fn send(&self, world: &mut World, file: &[u8]) -> Result<(), AttError> {
        file.chunks(244).try_for_each(|piece| self.write(world, self.data.unwrap(), piece))
    }

    fn version(&self, world: &mut World, uuid: Uuid) -> u32 {
        let handle = self.table.characteristic(uuid).unwrap().value_handle;
        match act(world, CentralAction::Read { handle, offset: 0 }).pop() {
            Some(GattEvent::Read { value, .. }) => u32::from_le_bytes(value.try_into().unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

fn running(world: &World) -> Option<String> {
    world.device().and_then(|device| device.image()).map(|image| image.version.clone())
}

/// From the application into the AppLoader.
fn enter(world: &mut World) -> Link {
    let link = connect(world);
    assert_eq!(link.data, None);
    assert_eq!(link.control(world, 0), Ok(()));
    later(world, 3_000_000);
    assert!(matches!(told(world)[..], [GattEvent::Disconnected { .. }]));
    let link = connect(world);
    assert!(link.data.is_some());
    link
}

#[test]
fn an_update_in_place() {
    let (mut world, file) = world(Options::apploader(), |_| {});
    assert_eq!(running(&world).as_deref(), Some("1"));
    let link = enter(&mut world);
    assert_eq!(running(&world), None);
    assert_eq!(link.version(&mut world, BOOTLOADER_VERSION), BOOTLOADER_VERSION_NUMBER);
    assert_eq!(link.version(&mut world, APPLICATION_VERSION), 1);
    assert_eq!(link.send(&mut world, &file), Err(result::WRONG_STATE));
    assert_eq!(link.control(&mut world, 0), Ok(()));
    assert_eq!(link.send(&mut world, &file), Ok(()));
    assert_eq!(link.control(&mut world, 3), Ok(()));
    act(&mut world, CentralAction::Disconnect);
    later(&mut world, 3_000_000);
    assert_eq!(running(&world).as_deref(), Some("2"));
}

#[test]
fn a_power_loss_in_place_leaves_the_apploader() {
    let (mut world, file) = world(Options::apploader(), |_| {});
    let link = enter(&mut world);
    link.control(&mut world, 0).unwrap();
    link.send(&mut world, &file[..5000]).unwrap();
    world.control(Control::Power(false));
    world.control(Control::Power(true));
    later(&mut world, 30_000_000);
    told(&mut world);
    assert_eq!(running(&world), None);
    let link = connect(&mut world);
    link.control(&mut world, 0).unwrap();
    link.send(&mut world, &file).unwrap();
    assert_eq!(link.control(&mut world, 3), Ok(()));
    act(&mut world, CentralAction::Disconnect);
    later(&mut world, 3_000_000);
    assert_eq!(running(&world).as_deref(), Some("2"));
}

#[test]
fn what_is_wrong_with_a_file_is_the_answer_from_then_on() {
    let (mut world, mut file) = world(Options::apploader(), |_| {});
    let last = file.len() - 1;
    file[last] ^= 1;
    let link = enter(&mut world);
    link.control(&mut world, 0).unwrap();
    assert_eq!(link.send(&mut world, &file), Err(result::CRC));
    assert_eq!(link.control(&mut world, 3), Err(result::CRC));
    assert_eq!(link.control(&mut world, 0), Ok(()));
    act(&mut world, CentralAction::Disconnect);
    later(&mut world, 3_000_000);
    assert_eq!(running(&world), None);
}

#[test]
fn too_much_without_a_response_is_lost() {
    let (mut world, file) = world(Options::apploader(), |own| own.ota.queue = 4);
    let link = enter(&mut world);
    link.control(&mut world, 0).unwrap();
    for piece in file.chunks(244) {
        let handle = link.data.unwrap();
        world.central(1, CentralAction::Write { handle, value: piece.to_vec(), kind: WriteKind::Command });
    }
    later(&mut world, 5_000_000);
    assert_eq!(told(&mut world), []);
    assert!(link.control(&mut world, 3).is_err());
}

#[test]
fn an_update_through_a_slot() {
    for erasing in [Erasing::Blocks, Erasing::Beside] {
        let (mut world, file) = world(Options::storage(), |own| own.ota.erasing = erasing);
        let link = connect(&mut world);
        assert_eq!(link.control(&mut world, 0), Ok(()));
        assert_eq!(link.send(&mut world, &file), Ok(()));
        assert_eq!(link.control(&mut world, 3), Ok(()));
        assert_eq!(running(&world).as_deref(), Some("1"));
        act(&mut world, CentralAction::Disconnect);
        later(&mut world, 10_000_000);
        assert_eq!(running(&world).as_deref(), Some("2"));
    }
}

#[test]
fn a_slot_takes_whole_words_only() {
    let (mut world, file) = world(Options::storage(), |_| {});
    let link = connect(&mut world);
    link.control(&mut world, 0).unwrap();
    assert_eq!(link.write(&mut world, link.data.unwrap(), &file[..182]), Err(result::TOO_BIG));
    later(&mut world, 1_000_000);
    assert_eq!(link.control(&mut world, 0), Ok(()));
}

/// What is advertised by the application, and by the AppLoader.
fn advertised(change: impl FnOnce(&mut SilabsBoard)) -> [Advertisement; 2] {
    let (mut world, _) = world(Options::apploader(), change);
    let application = world.advertisement().unwrap();
    let link = connect(&mut world);
    link.control(&mut world, 0).unwrap();
    later(&mut world, 3_000_000);
    [application, world.advertisement().unwrap()]
}

#[test]
fn an_apploader_shows_its_name_its_power_and_the_address_of_the_device() {
    let [application, apploader] = advertised(|own| own.ota.name = "a name of eighteen bytes and more".into());
    assert_eq!(application.other, []);
    assert_eq!(apploader.name.as_deref(), Some("a name of eighteen"));
    assert_eq!((apploader.flags, apploader.tx_power), (0x06, Some(0)));
    assert_eq!((apploader.address, apploader.address_kind), (application.address, application.address_kind));
    let [a, b, c, d, e, f] = application.address.0;
    assert_eq!(apploader.other, [(0x1b, vec![f, e, d, c, b, a, 1])]);

    let [_, apploader] = advertised(|own| own.ota.kind_first = true);
    assert_eq!(apploader.name.as_deref(), Some("OTA"));
    assert_eq!(apploader.other, [(0x1b, vec![1, f, e, d, c, b, a])]);
}

#[test]
fn an_apploader_with_an_address_of_its_own_still_shows_the_usual_one() {
    let random = |own: &mut SilabsBoard| own.ota.address = Address::StaticRandom;
    let [application, apploader] = advertised(random);
    assert_ne!(apploader.address, application.address);
    assert_eq!(apploader.address_kind, AddressKind::Random);
    assert_eq!(apploader.address.0[0] & 0xc0, 0xc0);
    let [a, b, c, d, e, f] = application.address.0;
    assert_eq!(apploader.other, [(0x1b, vec![f, e, d, c, b, a, 1])]);
    assert_eq!(advertised(random)[1], apploader);
}

/// Microseconds from the answer to a request for the AppLoader until the connection ends.
fn leaves_after(change: impl FnOnce(&mut SilabsBoard), parameters: ConnectionParameters) -> u64 {
    let (mut world, _) = world_with(Options::apploader(), change, |board| board.gatt.parameters = parameters);
    let link = connect(&mut world);
    let handle = link.control;
    world.central(1, CentralAction::Write { handle, value: vec![9, 9], kind: WriteKind::Request });
    let mut answered = None;
    loop {
        match (told(&mut world).pop(), answered) {
            (Some(GattEvent::Written { .. }), None) => answered = Some(world.now()),
            (Some(GattEvent::Disconnected { reason: 0x13, .. }), Some(asked)) => return world.now() - asked,
            (None, _) => {
                let due = world.next_wake().unwrap();
                world.advance(due);
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_application_leaves_after_so_many_intervals_and_a_second_at_least() {
    let slow = ConnectionParameters { interval_min: 80, interval_max: 81, latency: 3, timeout: 600 };
    let quick = ConnectionParameters { interval_min: 6, interval_max: 6, latency: 0, timeout: 400 };
    // 81 * 1.25 ms * 4 * 5, in whole milliseconds.
    assert_eq!(leaves_after(|_| {}, slow), 2_025_000);
    assert_eq!(leaves_after(|own| own.ota.reboot_intervals = 3, slow), 1_215_000);
    let odd = ConnectionParameters { interval_max: 101, latency: 2, ..slow };
    assert_eq!(leaves_after(|own| own.ota.reboot_intervals = 3, odd), 1_137_000);
    assert_eq!(leaves_after(|_| {}, quick), 1_000_000);
    assert_eq!(leaves_after(|own| own.ota.reboot_us = 10_000, quick), 38_000);
}

/// Values that are read, by UUID; what is not there is missing.
fn read(world: &mut World, link: &Link, uuid: Uuid) -> Option<Vec<u8>> {
    let handle = link.table.characteristic(uuid)?.value_handle;
    match act(world, CentralAction::Read { handle, offset: 0 }).pop() {
        Some(GattEvent::Read { value, .. }) => Some(value),
        other => panic!("{other:?}"),
    }
}

const VERSIONS: [Uuid; 4] = [APPLOADER_VERSION, OTA_VERSION, BOOTLOADER_VERSION, APPLICATION_VERSION];

#[test]
fn an_apploader_shows_its_versions_and_an_application_may() {
    let change = |own: &mut SilabsBoard| own.ota.apploader_version = [1, 2, 3, 0x0b17];
    let (mut world, _) = world(Options::apploader(), change);
    let link = connect(&mut world);
    assert_eq!(VERSIONS.map(|uuid| read(&mut world, &link, uuid)), [const { None }; 4]);
    link.control(&mut world, 0).unwrap();
    later(&mut world, 3_000_000);
    told(&mut world);
    let link = connect(&mut world);
    let all = [vec![1, 0, 2, 0, 3, 0, 0x17, 0x0b], vec![3], vec![0, 0, 5, 2], vec![1, 0, 0, 0]].map(Some);
    assert_eq!(VERSIONS.map(|uuid| read(&mut world, &link, uuid)), all);
    assert_eq!(read(&mut world, &link, Uuid::DEVICE_NAME), Some(b"OTA".to_vec()));

    let (mut world, _) = self::world(Options::apploader(), |own| {
        own.ota.application_versions = true;
        change(own);
    });
    let link = connect(&mut world);
    assert_eq!(VERSIONS.map(|uuid| read(&mut world, &link, uuid)), all);
}

#[test]
fn an_older_ota_has_two_versions() {
    let (mut world, _) = world(Options::apploader(), |own| own.ota.ota_version = 2);
    let link = enter(&mut world);
    let read = VERSIONS.map(|uuid| read(&mut world, &link, uuid));
    assert_eq!(read, [Some(vec![2, 0, 0, 0, 0, 0, 0, 0]), Some(vec![2]), None, None]);
}

#[test]
fn neither_characteristic_can_be_read() {
    let (mut world, _) = world(Options::apploader(), |_| {});
    let link = enter(&mut world);
    for handle in [link.control, link.data.unwrap()] {
        let event = act(&mut world, CentralAction::Read { handle, offset: 0 }).pop();
        assert_eq!(event, Some(GattEvent::Error { handle, error: AttError::READ_NOT_PERMITTED }));
    }
}

#[test]
fn the_service_and_the_mtu_are_what_the_board_has() {
    let service = Uuid::from_bits(0x1234);
    let (mut world, _) =
        world_with(Options::apploader(), |own| own.ota.service = service, |board| board.gatt.mtu = 100);
    let link = enter(&mut world);
    assert!(link.table.services.iter().any(|found| found.uuid == service));
    assert_eq!(act(&mut world, CentralAction::ExchangeMtu(247)), [GattEvent::Mtu(100)]);
    assert_eq!(link.control(&mut world, 0), Ok(()));
    let data = link.data.unwrap();
    assert_eq!(link.write(&mut world, data, &[0; 98]), Err(AttError::INVALID_LENGTH));

    let (world, _) = self::world(Options::apploader(), |own| own.ota.mtu = 64);
    assert_eq!(world.board().gatt.mtu, 64);
}

#[test]
fn an_application_asks_for_a_link_that_an_apploader_does_not() {
    let (mut world, file) = world(Options::apploader(), |own| own.access = Security::Encrypted);
    let link = connect(&mut world);
    assert_eq!(link.control(&mut world, 0), Err(AttError::INSUFFICIENT_AUTHENTICATION));
    let pair = CentralAction::Pair { capability: IoCapability::NoInputNoOutput, wanted: Security::Encrypted };
    let secured = act(&mut world, pair.clone());
    assert!(matches!(secured[..], [GattEvent::Secured { .. }]), "{secured:?}");
    assert_eq!(link.control(&mut world, 0), Ok(()));
    later(&mut world, 3_000_000);
    told(&mut world);
    // The AppLoader pairs with nobody, and knows nothing of the bond.
    let link = connect(&mut world);
    let failed = act(&mut world, pair);
    assert!(matches!(failed[..], [GattEvent::PairingFailed(_)]), "{failed:?}");
    assert_eq!(link.control(&mut world, 0), Ok(()));
    assert_eq!(link.send(&mut world, &file), Ok(()));
    assert_eq!(link.control(&mut world, 3), Ok(()));
}

#[test]
fn a_button_that_is_held_starts_the_apploader_once() {
    let (mut world, _) = world(Options::apploader(), |own| own.starts_in_bootloader = true);
    assert_eq!(running(&world), None);
    let link = connect(&mut world);
    assert!(link.data.is_some());
    act(&mut world, CentralAction::Disconnect);
    later(&mut world, 3_000_000);
    assert_eq!(running(&world).as_deref(), Some("1"));
}

#[test]
fn a_command_to_control_is_not_heard() {
    let (mut world, _) = world(Options::apploader(), |_| {});
    let handle = connect(&mut world).control;
    world.central(1, CentralAction::Write { handle, value: vec![0], kind: WriteKind::Command });
    later(&mut world, 10_000_000);
    assert_eq!(told(&mut world), []);
    let long = CentralAction::Write { handle, value: vec![0], kind: WriteKind::Long };
    assert_eq!(act(&mut world, long), [GattEvent::Error { handle, error: AttError::REQUEST_NOT_SUPPORTED }]);
    assert_eq!(running(&world).as_deref(), Some("1"));
}

#[test]
fn a_low_battery_is_that_of_the_board() {
    let (mut world, _) = world(Options::apploader(), |own| own.ota.low_battery = Some(AttError(0x80)));
    let link = connect(&mut world);
    world.control(Control::Battery(Battery { percent: 1 }));
    assert_eq!(link.control(&mut world, 0), Err(AttError(0x80)));
    world.control(Control::Battery(Battery { percent: 90 }));
    assert_eq!(link.control(&mut world, 0), Ok(()));
}

#[test]
fn an_answer_is_for_the_request_that_it_answers() {
    let (mut world, _) = world(Options::storage(), |_| {});
    let link = connect(&mut world);
    // Nobody has begun: this is never answered.
    let (control, data) = (link.control, link.data.unwrap());
    let write = |handle: u16| CentralAction::Write { handle, value: vec![0; 4], kind: WriteKind::Request };
    world.central(1, write(data));
    later(&mut world, 1_000_000);
    assert_eq!(told(&mut world), []);
    assert_eq!(act(&mut world, write(control)), [GattEvent::Written { handle: control }]);
    // Nor is it when its connection has ended.
    act(&mut world, CentralAction::Disconnect);
    let link = connect(&mut world);
    world.central(1, write(data));
    act(&mut world, CentralAction::Disconnect);
    connect(&mut world);
    assert_eq!(link.control(&mut world, 0), Ok(()));
}

#[test]
fn a_device_that_hangs_is_not_there_until_its_power_is_cycled() {
    let lz4 = Options { lz4: true, ..Options::apploader() };
    let (mut world, file) = world(lz4, |_| {});
    let link = enter(&mut world);
    let start = world.board().as_silabs().unwrap().bootloader.map().application_start();
    // A match of what comes right behind it.
    let mut payload = start.to_le_bytes().to_vec();
    payload.extend([0x4f, 1, 2, 3, 4, 0, 0, 0xff, 0xff, 0, 0x10, 1]);
    let endless = GblBuilder::new().part(Compression::Lz4.tag_kind(), payload).unsigned().unwrap();
    link.control(&mut world, 0).unwrap();
    let handle = link.data.unwrap();
    world.central(1, CentralAction::Write { handle, value: endless, kind: WriteKind::Request });
    later(&mut world, 60_000_000);
    assert_eq!(told(&mut world), []);
    act(&mut world, CentralAction::Disconnect);
    later(&mut world, 60_000_000);
    told(&mut world);
    assert_eq!(world.advertisement(), None);
    assert_eq!(act(&mut world, CentralAction::Connect), [GattEvent::Unreachable]);
    world.control(Control::Power(false));
    world.control(Control::Power(true));
    later(&mut world, 5_000_000);
    told(&mut world);
    let link = connect(&mut world);
    link.control(&mut world, 0).unwrap();
    assert_eq!(link.send(&mut world, &file), Ok(()));
    assert_eq!(link.control(&mut world, 3), Ok(()));
}

/// Sends a file of which the answer to one piece is lost; the piece is sent again, or not.
fn with_a_lost_answer(options: Options, again: bool) -> (Option<String>, Result<(), AttError>) {
    let in_place = !options.storage;
    let (mut world, file) = world(options, |_| {});
    let link = if in_place { enter(&mut world) } else { connect(&mut world) };
    link.control(&mut world, 0).unwrap();
    let trigger = Trigger::CallAnswer { name: "ota-data".into(), count: Count::once(2) };
    world.control(Control::Fault(Fault { id: "lost".into(), trigger, action: Action::LoseAnswer }));
    let handle = link.data.unwrap();
    for (n, piece) in file.chunks(240).enumerate() {
        if n == 1 {
            world.central(1, CentralAction::Write { handle, value: piece.to_vec(), kind: WriteKind::Request });
            later(&mut world, 10_000_000);
            assert_eq!(told(&mut world), []);
            if !again {
                continue;
            }
        }
        let _ = link.write(&mut world, handle, piece);
    }
    let end = link.control(&mut world, 3);
    act(&mut world, CentralAction::Disconnect);
    later(&mut world, 10_000_000);
    (running(&world), end)
}

#[test]
fn a_piece_whose_answer_is_lost_has_arrived() {
    let running = |version: &str| Some(version.to_owned());
    assert_eq!(with_a_lost_answer(Options::apploader(), false), (running("2"), Ok(())));
    // Sent twice it is no file any more; what is stored in a slot says so to nobody.
    let (none, end) = with_a_lost_answer(Options::apploader(), true);
    assert_eq!(none, None);
    assert!(end.is_err(), "{end:?}");
    assert_eq!(with_a_lost_answer(Options::storage(), false), (running("2"), Ok(())));
    assert_eq!(with_a_lost_answer(Options::storage(), true), (running("1"), Ok(())));
}
