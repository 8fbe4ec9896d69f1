//! Boards with a Legacy DFU bootloader in a world: from the application into DFU mode, an update, and back.

use std::sync::Arc;

use brickproof_flash_model::boot::nordic::softdevice::{synthetic_image, synthetic_softdevice};
use brickproof_flash_model::boot::nordic_legacy::{MBR_SIZE, NordicLegacy, Options, Settings};
use brickproof_flash_model::image::nordic::LegacyInitPacket;
use brickproof_flash_model::layout::Layout;
use brickproof_simulator::device::{Board, Persistent};
use brickproof_simulator::gatt::{AttError, CentralAction, GattEvent, Properties, Uuid, WriteKind};
use brickproof_simulator::nordic::legacy::hci::{self, SerialPacket};
use brickproof_simulator::nordic::legacy::wire::emit_sizes;
use brickproof_simulator::nordic::{Endpoint, LegacyBoard};
use brickproof_simulator::trace::{Kind, Wants};
use brickproof_simulator::world::{Carrier, Control, World};
use sha2::{Digest, Sha256};

const OLD_LEN: u32 = 0x1800;

/// A running target: SoftDevice, an application, and this bootloader.
fn world(options: Options, carrier: Carrier, change: impl FnOnce(&mut LegacyBoard)) -> World {
    on_layout("nordic-legacy17", options, carrier, change)
}

/// The same on a layout of its own, with an S140 where there is room for one.
fn on_layout(name: &str, options: Options, carrier: Carrier, change: impl FnOnce(&mut LegacyBoard)) -> World {
    let layout = Layout::preset(name).unwrap();
    let bootloader = NordicLegacy::new(&layout, options, None).unwrap();
    let mut flash = layout.blank_flash();
    let map = *bootloader.map();
    let (len, fwid) = if name == "nordic-legacy17" { (0x2f00, 0x81) } else { (0x24f00, 0xb6) };
    flash.load(map.whole(), MBR_SIZE, &synthetic_softdevice(len, fwid, 140, 6_001_001)).unwrap();
    let start = bootloader.bank_0_start(&flash).unwrap();
    flash.load(map.whole(), start, &synthetic_image(1, OLD_LEN)).unwrap();
    flash.load(map.bootloader(), 0, &synthetic_image(100, 0x1f00)).unwrap();
    flash.load(map.settings(), 0, &Settings::application(OLD_LEN, 0).to_bytes()).unwrap();
    let mut own = LegacyBoard::new(bootloader);
    change(&mut own);
    let board = Board::nordic_legacy("legacy", layout, own);
    let mut world = World::new(Arc::new(board), Persistent::new(flash), Wants::default());
    world.set_carrier(carrier);
    world.control(Control::Power(true));
    later(&mut world, 2_000_000);
    world
}

fn later(world: &mut World, us: u64) {
    let until = world.now() + us;
    world.advance(until);
}

fn told(world: &mut World) -> Vec<GattEvent> {
    std::iter::from_fn(|| world.take_gatt()).map(|(_, event)| event).collect()
}

/// Does something as central 1; what it is told once that has arrived.
fn act(world: &mut World, action: CentralAction) -> Vec<GattEvent> {
    world.central(1, action);
    while world.on_air(1) > 0 {
        later(world, 1_000);
    }
    told(world)
}

/// A connection with its handles.
struct Link {
    control: u16,
    packet: u16,
    version: Option<u16>,
    table: Arc<brickproof_simulator::gatt::Table>,
}

fn connect(world: &mut World) -> Link {
    assert_eq!(act(world, CentralAction::Connect), [GattEvent::Connected]);
    let events = act(world, CentralAction::Discover);
    let Some(GattEvent::Discovered(table)) = events.into_iter().next() else { panic!("nothing is found") };
    let handle = |endpoint: Endpoint| table.characteristic(endpoint.uuid()).map(|found| found.value_handle);
    let [control, packet] =
        [Endpoint::LegacyControlPoint, Endpoint::LegacyPacket].map(|endpoint| handle(endpoint).unwrap());
    Link { control, packet, version: handle(Endpoint::LegacyVersion), table }
}

impl Link {
    fn listen(&self, world: &mut World) {
        let handle = self.control + 1;
        let on = CentralAction::Write { handle, value: vec![1, 0], kind: WriteKind::Request };
        assert_eq!(act(world, on), [GattEvent::Written { handle }]);
    }

    fn ask(&self, world: &mut World, value: &[u8]) -> Vec<GattEvent> {
        let action = CentralAction::Write { handle: self.control, value: value.to_vec(), kind: WriteKind::Request };
        let mut events = act(world, action);
        later(world, 20_000);
        events.extend(told(world));
        events
    }

    fn send(&self, world: &mut World, value: &[u8]) -> Vec<GattEvent> {
        let action = CentralAction::Write { handle: self.packet, value: value.to_vec(), kind: WriteKind::Command };
        let mut events = act(world, action);
        later(world, 20_000);
        events.extend(told(world));
        events
    }

    fn read(&self, world: &mut World, handle: u16) -> Vec<u8> {
        match act(world, CentralAction::Read { handle, offset: 0 }).pop() {
            Some(GattEvent::Read { value, .. }) => value,
            other => panic!("{other:?}"),
        }
    }

    /// The values notified, after a while.
    fn heard(&self, world: &mut World, us: u64) -> Vec<Vec<u8>> {
        later(world, us);
        notified(&told(world))
    }
}

fn notified(events: &[GattEvent]) -> Vec<Vec<u8>> {
    let values = events.iter().filter_map(|event| match event {
        GattEvent::Notification { value, .. } => Some(value.clone()),
        _ => None,
    });
    values.collect()
}

/// From an application to DFU mode.
fn enter(world: &mut World) {
    let link = connect(world);
    link.listen(world);
    let events = link.ask(world, &[1, 4]);
    assert!(events.iter().any(|event| matches!(event, GattEvent::Disconnected { .. })), "{events:?}");
    later(world, 2_000_000);
}

/// A whole update over Bluetooth LE, with packets of this many bytes, up to activation.
fn update(world: &mut World, link: &Link, options: &Options, image: &[u8], size: usize) {
    let mut packet = LegacyInitPacket::new(image);
    (packet.device_type, packet.device_revision) = (options.device_type, options.device_revision);
    link.ask(world, &[1, 4]);
    link.send(world, &emit_sizes([0, 0, image.len() as u32]));
    assert_eq!(link.heard(world, 2_000_000), [[0x10, 1, 1]]);
    link.ask(world, &[2, 0]);
    link.send(world, &packet.emit());
    assert_eq!(notified(&link.ask(world, &[2, 1])), [[0x10, 2, 1]]);
    link.ask(world, &[3]);
    let said: Vec<_> = image.chunks(size).flat_map(|piece| notified(&link.send(world, piece))).collect();
    assert_eq!(said, [[0x10, 3, 1]]);
    assert_eq!(notified(&link.ask(world, &[4])), [[0x10, 4, 1]]);
    link.ask(world, &[5]);
    later(world, 5_000_000);
}

fn running(world: &World) -> Option<String> {
    world.state("end").and_then(|state| state.running)
}

fn hash(image: &[u8]) -> Option<String> {
    Some(Sha256::digest(image).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[test]
fn an_application_is_updated_over_bluetooth() {
    let options = Options::sdk11();
    let mut world = world(options, Carrier::Bluetooth, |_| {});
    let usual = world.advertisement().unwrap().address;
    assert_eq!(running(&world), hash(&synthetic_image(1, OLD_LEN)));
    enter(&mut world);
    let shown = world.advertisement().unwrap();
    assert_eq!((shown.name.as_deref(), shown.address), (Some("DfuTarg"), usual.next_in_last_byte()));
    let link = connect(&mut world);
    let version = link.version.unwrap();
    assert_eq!(link.read(&mut world, version), [8, 0]);
    link.listen(&mut world);
    let image = synthetic_image(2, 0x2800);
    update(&mut world, &link, &options, &image, 20);
    assert_eq!(running(&world), hash(&image));
    assert_eq!(world.advertisement().unwrap().address, usual);
    let link = connect(&mut world);
    let version = link.version.unwrap();
    assert_eq!(link.read(&mut world, version), [1, 0]);
    let calls: Vec<String> = world
        .take_records()
        .iter()
        .filter_map(|record| match &record.kind {
            Kind::Dfu { message, .. } => Some(message.call.clone()),
            _ => None,
        })
        .collect();
    for call in
        ["legacy-start", "legacy-sizes", "legacy-init-packet", "legacy-init-end", "legacy-packet", "legacy-activate"]
    {
        assert!(calls.iter().any(|known| known == call), "{call} is missing in {calls:?}");
    }
}

#[test]
fn adafruits_bootloader_is_updated_with_long_packets() {
    let options = Options::adafruit();
    let mut world = world(options, Carrier::Bluetooth, |_| {});
    enter(&mut world);
    assert_eq!(world.advertisement().unwrap().name.as_deref(), Some("AdaDFU"));
    let link = connect(&mut world);
    assert_eq!(act(&mut world, CentralAction::ExchangeMtu(517)), [GattEvent::Mtu(247)]);
    let packet = link.table.characteristic(Endpoint::LegacyPacket.uuid()).unwrap();
    assert!(packet.properties.has(Properties::WRITE) && packet.properties.has(Properties::WRITE_WITHOUT_RESPONSE));
    let model = link.table.characteristic(Uuid::MODEL_NUMBER).unwrap().value_handle;
    assert_eq!(link.read(&mut world, model), b"Feather nRF52840 Express");
    link.listen(&mut world);
    let image = synthetic_image(2, 0x2800);
    update(&mut world, &link, &options, &image, 244);
    assert_eq!(running(&world), hash(&image));
}

#[test]
fn the_mtu_is_what_the_code_answers() {
    for (options, asked, agreed) in [
        (Options::sdk11(), 517, 23),
        (Options::adafruit(), 100, 103),
        (Options::adafruit(), 185, 187),
        (Options::adafruit(), 247, 247),
    ] {
        let mut world = world(options, Carrier::Bluetooth, |_| {});
        connect(&mut world);
        assert_eq!(act(&mut world, CentralAction::ExchangeMtu(asked)), [GattEvent::Mtu(agreed)], "{asked}");
    }
}

#[test]
fn writes_that_are_refused() {
    let mut world = world(Options::sdk11(), Carrier::Bluetooth, |_| {});
    enter(&mut world);
    let link = connect(&mut world);
    let refused = |handle: u16, error: u8| vec![GattEvent::Error { handle, error: AttError(error) }];
    assert_eq!(link.ask(&mut world, &[7]), refused(link.control, 0xfd));
    link.listen(&mut world);
    let long = CentralAction::Write { handle: link.control, value: vec![7; 30], kind: WriteKind::Long };
    assert_eq!(act(&mut world, long), refused(link.control, 0x82));
    let request = CentralAction::Write { handle: link.packet, value: vec![0; 12], kind: WriteKind::Request };
    assert_eq!(
        act(&mut world, request),
        vec![GattEvent::Error { handle: link.packet, error: AttError::WRITE_NOT_PERMITTED }]
    );
    // What is too long for the MTU of 23 is lost.
    assert_eq!(link.send(&mut world, &[0; 21]), []);
    assert_eq!(notified(&link.ask(&mut world, &[7])), [[0x10, 7, 1, 0, 0, 0, 0]]);
}

/// Power is lost in the copy: what is started is part old, part new.
#[test]
fn a_torn_application_runs() {
    let options = Options::sdk11();
    let mut world = world(options, Carrier::Bluetooth, |_| {});
    enter(&mut world);
    let link = connect(&mut world);
    link.listen(&mut world);
    let image = synthetic_image(2, 0x2800);
    let mut packet = LegacyInitPacket::new(&image);
    packet.device_type = options.device_type;
    link.ask(&mut world, &[1, 4]);
    link.send(&mut world, &emit_sizes([0, 0, 0x2800]));
    link.heard(&mut world, 2_000_000);
    link.ask(&mut world, &[2, 0]);
    link.send(&mut world, &packet.emit());
    link.ask(&mut world, &[2, 1]);
    link.ask(&mut world, &[3]);
    image.chunks(20).for_each(|piece| drop(link.send(&mut world, piece)));
    assert_eq!(notified(&link.ask(&mut world, &[4])), [[0x10, 4, 1]]);
    // Three pages are erased, 85 ms each, and the first of 42 ms is written.
    link.ask(&mut world, &[5]);
    later(&mut world, 3 * 85_000 + 42_000);
    world.control(Control::Power(false));
    later(&mut world, 1_000_000);
    world.control(Control::Power(true));
    later(&mut world, 2_000_000);
    let runs = running(&world);
    assert!(runs.is_some() && runs != hash(&image) && runs != hash(&synthetic_image(1, OLD_LEN)), "{runs:?}");
}

/// Power is lost while Adafruit's single bank is erased: DFU mode is on the serial line, where nobody finds it.
#[test]
fn a_cut_update_is_out_of_reach() {
    let left = |default_to_ota: bool| {
        let options = Options { default_to_ota, ..Options::adafruit() };
        let mut world = world(options, Carrier::Bluetooth, |_| {});
        enter(&mut world);
        let link = connect(&mut world);
        link.listen(&mut world);
        link.ask(&mut world, &[1, 4]);
        link.send(&mut world, &emit_sizes([0, 0, 0x2800]));
        later(&mut world, 150_000);
        world.control(Control::Power(false));
        later(&mut world, 1_000_000);
        world.control(Control::Power(true));
        later(&mut world, 2_000_000);
        assert_eq!(running(&world), None);
        // The central notices that its connection is gone.
        later(&mut world, 5_000_000);
        told(&mut world);
        let shown = world.advertisement().and_then(|shown| shown.name);
        let connected = act(&mut world, CentralAction::Connect).contains(&GattEvent::Connected);
        assert_eq!(shown, connected.then(|| "AdaDFU".to_owned()));
        connected
    };
    assert_eq!([false, true].map(left), [false, true]);
}

#[test]
fn an_update_over_a_serial_line() {
    let options = Options::adafruit();
    let mut world = world(options, Carrier::Console, |own| own.starts_in_dfu = true);
    let image = synthetic_image(2, 0x2804);
    let mut packet = LegacyInitPacket::new(&image);
    (packet.device_type, packet.device_revision) = (options.device_type, options.device_revision);
    let mut packets = vec![
        SerialPacket::Start { mode: 4, sizes: [0, 0, image.len() as u32] },
        SerialPacket::Init([packet.emit(), vec![0, 0]].concat()),
    ];
    packets.extend(image.chunks(512).map(|piece| SerialPacket::Data(piece.to_vec())));
    packets.push(SerialPacket::Stop);
    for (packet, sequence) in packets.iter().zip(1_u8..) {
        world.receive(7, &hci::frame(&hci::packet(sequence, &packet.emit())));
        later(&mut world, 500_000);
        let sent: Vec<_> = std::iter::from_fn(|| world.take_sent()).collect();
        assert_eq!(sent, [(7, hci::frame(&hci::acknowledgement(sequence + 1)))], "{packet:?}");
    }
    later(&mut world, 2_000_000);
    assert_eq!(running(&world), hash(&image));
}

/// What the real tool sends is taken, frame by frame, and is what runs then (`golden/adafruit-nrfutil`).
#[test]
fn the_frames_of_the_real_tool_are_taken() {
    let layout = "nrf52840-adafruit-s140";
    let mut world = on_layout(layout, Options::adafruit(), Carrier::Console, |own| own.starts_in_dfu = true);
    let recorded = include_str!("golden/adafruit-nrfutil/serial.txt");
    let byte = |text: &[u8]| u8::from_str_radix(std::str::from_utf8(text).unwrap(), 16).unwrap();
    for (line, sequence) in recorded.lines().zip(1_u8..) {
        let bytes: Vec<u8> = line.as_bytes().chunks(2).map(byte).collect();
        let (number, payload) = hci::check(&bytes).unwrap();
        assert_eq!((number, hci::packet(sequence, payload)), (sequence, bytes.clone()));
        // An init packet has two bytes behind it, which are no whole word.
        let parsed = SerialPacket::parse(payload);
        assert_eq!(parsed.emit(), payload[..payload.len() / 4 * 4]);
        world.receive(7, &hci::frame(&bytes));
        later(&mut world, 500_000);
        assert_eq!(world.take_sent(), Some((7, hci::frame(&hci::acknowledgement(sequence + 1)))));
    }
    later(&mut world, 2_000_000);
    let expected = "6d41ce4dcb4226cbdcbb915e868ca00564d75f46dd128b0ce3c32f6ec0c644bd";
    assert_eq!(running(&world).as_deref(), Some(expected));
}
