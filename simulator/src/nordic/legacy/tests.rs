//! DFU mode by itself: a bench that does its flash work, and what it says byte for byte.

use brickproof_flash_model::boot::nordic::softdevice::{synthetic_image, synthetic_softdevice};
use brickproof_flash_model::boot::nordic_legacy::options::gpregret;
use brickproof_flash_model::boot::nordic_legacy::{
    BankCode, MBR_SIZE, NordicLegacy, Options, Settings, State, Transport,
};
use brickproof_flash_model::flash::{Controller, Flash, Uncut};
use brickproof_flash_model::image::nordic::LegacyInitPacket;
use brickproof_flash_model::layout::Layout;

use super::hci::{self, SerialPacket};
use super::mode::{Entered, LegacyMode};
use super::wire::emit_sizes;
use super::{LegacyBoard, Sharing};
use crate::device::program::{Input, Output, Surroundings};
use crate::device::{Battery, Retained};
use crate::nordic::{Endpoint, SharedBond};

/// An application of an update.
pub(super) fn image(len: u32) -> Vec<u8> {
    synthetic_image(2, len)
}

/// The init packet for it.
pub(super) fn init_packet(options: &Options, image: &[u8]) -> Vec<u8> {
    let mut packet = LegacyInitPacket::new(image);
    (packet.device_type, packet.device_revision) = (options.device_type, options.device_revision);
    packet.emit()
}

/// DFU mode and its flash.
pub(super) struct Bench {
    pub(super) board: LegacyBoard,
    pub(super) flash: Flash,
    pub(super) retained: Retained,
    pub(super) mode: LegacyMode,
    pub(super) now_us: u64,
    /// What it does beside what it says.
    pub(super) did: Vec<Output>,
}

impl Bench {
    pub(super) fn new(options: Options, transport: Transport) -> Self {
        Self::with(options, transport, |_| {})
    }

    pub(super) fn with(options: Options, transport: Transport, change: impl FnOnce(&mut LegacyBoard)) -> Self {
        let layout = Layout::preset("nordic-legacy17").unwrap();
        let mut board = LegacyBoard::new(NordicLegacy::new(&layout, options, None).unwrap());
        change(&mut board);
        let mut flash = layout.blank_flash();
        let map = *board.bootloader.map();
        flash.load(map.whole(), MBR_SIZE, &synthetic_softdevice(0x2f00, 0x81, 132, 2_000_000)).unwrap();
        let old = synthetic_image(1, 0x1000);
        flash.load(map.whole(), 0x4000, &old).unwrap();
        flash.load(map.settings(), 0, &Settings::application(0x1000, 0).to_bytes()).unwrap();
        let entered = Entered {
            reason: "the test asks for it".into(),
            transport,
            timeout_us: u64::from(options.inactivity_timeout_ms) * 1000,
        };
        let peer = match board.sharing {
            Sharing::None => None,
            sharing => Some(SharedBond::of(1, true, sharing == Sharing::Bond, 0)),
        };
        let mode = LegacyMode::start(entered, peer, 0);
        let mut bench = Self { board, flash, retained: Retained::default(), mode, now_us: 0, did: Vec::new() };
        if transport == Transport::Ble {
            bench.tell(Input::Connected { bonded: false });
        }
        bench
    }

    /// Tells it something; what it says to that.
    pub(super) fn tell(&mut self, input: Input<'_>) -> Vec<Vec<u8>> {
        let mut around = Surroundings {
            flash: &self.flash,
            retained: &mut self.retained,
            battery: Battery::default(),
            now_us: self.now_us,
        };
        self.mode.input(&self.board, input, &mut around, None);
        let mut said = Vec::new();
        while let Some(output) = self.mode.take_output() {
            match output {
                Output::Say(saying) => said.push(saying.value),
                other => self.did.push(other),
            }
        }
        said
    }

    pub(super) fn ask(&mut self, value: &[u8]) -> Vec<Vec<u8>> {
        self.tell(Input::Written { to: Endpoint::LegacyControlPoint, value })
    }

    pub(super) fn send(&mut self, value: &[u8]) -> Vec<Vec<u8>> {
        self.tell(Input::Written { to: Endpoint::LegacyPacket, value })
    }

    /// Does one job; `None` when there is none.
    pub(super) fn work_once(&mut self) -> Option<Vec<Vec<u8>>> {
        let job = self.mode.job()?.clone();
        let map = *self.board.bootloader.map();
        let mut uncut = Uncut;
        let mut controller = Controller::new(&mut self.flash, &mut uncut);
        let done = job.step.is_some_and(|step| step.run(map.whole(), map.page(), &mut controller).is_ok());
        Some(self.tell(Input::Flashed { done }))
    }

    /// Does all of the flash work.
    pub(super) fn work(&mut self) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        while let Some(more) = self.work_once() {
            said.extend(more);
        }
        said
    }

    /// An upload up to before its data.
    pub(super) fn begin(&mut self, image: &[u8]) {
        assert_eq!(self.ask(&[1, 4]), [[0; 0]; 0]);
        assert_eq!(self.send(&emit_sizes([0, 0, image.len() as u32])), [[0; 0]; 0]);
        assert_eq!(self.work(), [[0x10, 1, 1]]);
        let init = init_packet(self.board.bootloader.options(), image);
        self.ask(&[2, 0]);
        for piece in init.chunks(20) {
            assert_eq!(self.send(piece), [[0; 0]; 0]);
        }
        assert_eq!(self.ask(&[2, 1]), [[0x10, 2, 1]]);
        self.ask(&[3]);
    }

    pub(super) fn resets(&self) -> bool {
        self.did.iter().any(|output| matches!(output, Output::Reset(_)))
    }

    pub(super) fn settings(&self) -> Settings {
        self.board.bootloader.settings(&self.flash).unwrap()
    }
}

#[test]
fn an_update_byte_for_byte() {
    for options in [Options::sdk11(), Options::sdk11_single_bank(), Options::adafruit()] {
        let mut bench = Bench::new(options, Transport::Ble);
        let image = image(100);
        assert_eq!(bench.ask(&[8, 2, 0]), [[0; 0]; 0]);
        bench.begin(&image);
        let mut said = Vec::new();
        for piece in image.chunks(20) {
            said.extend(bench.send(piece));
        }
        // After the second and the fourth packet; the fifth completes the image.
        assert_eq!(said, [[0x11, 40, 0, 0, 0], [0x11, 80, 0, 0, 0]]);
        assert_eq!(bench.work(), [[0x10, 3, 1]]);
        assert_eq!(bench.ask(&[7]), [[0x10, 7, 1, 100, 0, 0, 0]]);
        assert_eq!(bench.ask(&[4]), [[0x10, 4, 1]]);
        assert_eq!(bench.ask(&[5]), [[0; 0]; 0]);
        assert_eq!(bench.did, [Output::StopAdvertising, Output::Disconnect]);
        assert_eq!(bench.next_reset(), Vec::<Vec<u8>>::new());
        assert!(bench.resets());
        assert_eq!(bench.settings(), Settings::application(100, 0));
        assert_eq!(bench.retained.gpregret, 0);
    }
}

impl Bench {
    fn next_reset(&mut self) -> Vec<Vec<u8>> {
        self.tell(Input::Disconnected);
        self.work()
    }
}

#[test]
fn what_is_wrong_has_its_answer() {
    let mut bench = Bench::new(Options::sdk11(), Transport::Ble);
    assert_eq!(bench.send(&[1; 20]), [[0; 0]; 0]);
    assert_eq!(bench.ask(&[1]), [[0x10, 1, 6]]);
    assert_eq!(bench.ask(&[2]), [[0x10, 2, 6]]);
    assert_eq!(bench.ask(&[8, 1]), [[0x10, 8, 3]]);
    assert_eq!(bench.ask(&[9]), [[0x10, 9, 3]]);
    assert_eq!(bench.ask(&[4]), [[0x10, 4, 2]]);
    assert_eq!(bench.ask(&[2, 1]), [[0x10, 2, 2]]);
    assert_eq!(bench.send(&[0; 4]), [[0x10, 2, 2]]);
    bench.ask(&[3]);
    assert_eq!(bench.send(&[0; 20]), [[0x10, 3, 2]]);
    assert_eq!(bench.send(&[0; 19]), [[0x10, 3, 3]]);
    bench.ask(&[1, 4]);
    assert_eq!(bench.send(&[0; 11]), [[0x10, 1, 3]]);
    assert_eq!(bench.send(&emit_sizes([0, 0, 5])), [[0x10, 1, 3]]);
    assert_eq!(bench.send(&emit_sizes([0, 0, 0x4004])), [[0x10, 1, 4]]);
    bench.ask(&[1, 5]);
    assert_eq!(bench.send(&emit_sizes([4, 0, 4])), [[0x10, 1, 3]]);
    assert_eq!(bench.mode.dfu().state(), State::Idle);
    let image = image(100);
    bench.begin(&image);
    bench.ask(&[1, 4]);
    assert_eq!(bench.send(&emit_sizes([0, 0, 100])), [[0x10, 1, 2]]);
    bench.ask(&[3]);
    for piece in image[..80].chunks(20) {
        bench.send(piece);
        bench.work();
    }
    assert_eq!(bench.ask(&[4]), [[0x10, 4, 2]]);
    assert_eq!(bench.send(&[0; 20]), [[0; 0]; 0]);
    assert_eq!(bench.send(&[0; 4]), [[0x10, 3, 4]]);
    assert_eq!(bench.send(&[0; 4]), [[0x10, 3, 6]]);
    assert_eq!(bench.ask(&[4]), [[0x10, 4, 2]]);
    assert!(!bench.resets());
}

#[test]
fn an_init_packet_may_be_tried_again() {
    let mut bench = Bench::new(Options { device_type: 7, ..Options::sdk11() }, Transport::Ble);
    let image = image(40);
    bench.ask(&[1, 4]);
    bench.send(&emit_sizes([0, 0, 40]));
    assert_eq!(bench.work(), [[0x10, 1, 1]]);
    bench.ask(&[2, 0]);
    bench.send(&LegacyInitPacket::new(&image).emit());
    assert_eq!(bench.ask(&[2, 1]), [[0x10, 2, 6]]);
    assert_eq!(bench.send(&[0; 128]), [[0; 0]; 0]);
    assert_eq!(bench.send(&[0; 1]), [[0x10, 2, 6]]);
    assert_eq!(bench.ask(&[2, 1]), [[0x10, 2, 6]]);
    bench.send(&init_packet(bench.board.bootloader.options(), &image));
    assert_eq!(bench.ask(&[2, 1]), [[0x10, 2, 1]]);
    assert_eq!(bench.ask(&[2, 1]), [[0x10, 2, 2]]);
}

#[test]
fn eight_packets_are_room_for_eight() {
    let mut bench = Bench::new(Options::sdk11(), Transport::Ble);
    let image = image(400);
    bench.begin(&image);
    let said: Vec<_> = image.chunks(20).take(10).flat_map(|piece| bench.send(piece)).collect();
    assert_eq!(said, [[0x10, 3, 6], [0x10, 3, 6]]);
    assert!(bench.did.iter().any(|output| matches!(output, Output::Dropped { pool: "packet buffers", size: 8, .. })));
    assert_eq!(bench.work_once().unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!((bench.send(&image[160..180]), bench.mode.server().buffers_used()), (Vec::new(), 8));
    // What was dropped is not counted.
    assert_eq!(bench.ask(&[7]), [[0x10, 7, 1, 180, 0, 0, 0]]);
    // Adafruit's has room for 16 packets of 600 bytes.
    let mut bench = Bench::new(Options::adafruit(), Transport::Ble);
    bench.begin(&image);
    let said: Vec<_> = image.chunks(20).flat_map(|piece| bench.send(piece)).collect();
    assert_eq!(said.len(), 4);
}

#[test]
fn validating_too_early_is_a_wrong_crc_for_ever() {
    let mut bench = Bench::new(Options::sdk11(), Transport::Ble);
    let image = image(40);
    bench.begin(&image);
    image.chunks(20).for_each(|piece| assert!(bench.send(piece).is_empty()));
    assert_eq!(bench.ask(&[4]), [[0x10, 4, 5]]);
    // The answer to the data never comes, and nothing helps but a reset.
    assert_eq!(bench.work(), Vec::<Vec<u8>>::new());
    assert_eq!(bench.ask(&[4]), [[0x10, 4, 2]]);
    bench.ask(&[1, 4]);
    assert_eq!(bench.send(&emit_sizes([0, 0, 40])), [[0x10, 1, 2]]);
    bench.ask(&[5]);
    assert!(bench.resets());
    assert_eq!(bench.settings(), Settings::application(0x1000, 0));
}

#[test]
fn an_answer_to_nobody_resets_the_device() {
    let mut bench = Bench::new(Options::sdk11(), Transport::Ble);
    bench.ask(&[1, 4]);
    bench.send(&emit_sizes([0, 0, 40]));
    bench.tell(Input::Disconnected);
    assert!(!bench.resets());
    assert_eq!(bench.work(), Vec::<Vec<u8>>::new());
    assert!(bench.resets());
}

#[test]
fn an_empty_packet_stops_the_flash_driver() {
    let mut bench = Bench::new(Options::sdk11(), Transport::Ble);
    let image = image(40);
    bench.begin(&image);
    assert_eq!(bench.send(&[]), Vec::<Vec<u8>>::new());
    bench.send(&image[..20]);
    assert!(bench.work_once().is_none());
    // Behind another packet, it is the error handler that sees it.
    let mut bench = Bench::new(Options::sdk11(), Transport::Ble);
    bench.begin(&image);
    bench.send(&image[..20]);
    bench.send(&[]);
    bench.work();
    assert!(bench.resets());
}

#[test]
fn time_without_activity_ends_it() {
    let mut bench = Bench::new(Options::sdk11(), Transport::Ble);
    assert_eq!(bench.mode.next_timer(), Some(120_000_000));
    bench.now_us = 50_000_000;
    // A request is no activity, sizes that are taken are.
    bench.ask(&[1, 4]);
    assert_eq!(bench.mode.next_timer(), Some(120_000_000));
    bench.send(&emit_sizes([0, 0, 40]));
    assert_eq!(bench.mode.next_timer(), Some(170_000_000));
    bench.now_us = 170_000_000;
    bench.tell(Input::Due);
    assert!(bench.resets());
    assert!(bench.did.contains(&Output::Disconnect));
    assert_eq!((bench.mode.next_timer(), bench.retained.gpregret), (None, 0));
}

#[test]
fn directed_advertising_ends() {
    let shared = |board: &mut LegacyBoard| board.sharing = Sharing::Address;
    let mut bench = Bench::with(Options::sdk11(), Transport::Ble, shared);
    assert!(bench.mode.peer().is_some());
    bench.now_us = 1_000_000;
    bench.tell(Input::Disconnected);
    assert_eq!(bench.mode.next_timer(), Some(65_000_000));
    bench.now_us = 65_000_000;
    bench.tell(Input::Due);
    assert!(bench.resets());
}

/// `06` into the middle of an image, or without an application, leads back to DFU mode on Bluetooth LE.
#[test]
fn adafruits_comes_back_to_dfu_mode() {
    let left = |steps: &dyn Fn(&mut Bench)| {
        let mut bench = Bench::new(Options::adafruit(), Transport::Ble);
        steps(&mut bench);
        bench.ask(&[6]);
        assert!(bench.resets());
        bench.retained.gpregret
    };
    assert_eq!(left(&|_| {}), 0);
    assert_eq!(left(&|bench| bench.begin(&image(40))), gpregret::OTA);
    assert_eq!(
        left(&|bench| {
            bench.begin(&image(40));
            bench.send(&image(40));
        }),
        gpregret::OTA
    );
    // With two banks the old application is there, and only the middle of an image counts.
    let mut bench = Bench::new(Options { single_bank: false, ..Options::adafruit() }, Transport::Ble);
    bench.begin(&image(40));
    bench.send(&image(40));
    bench.work();
    bench.ask(&[6]);
    assert_eq!(bench.retained.gpregret, 0);
    // An error handler does not ask for it.
    let mut bench = Bench::new(Options::adafruit(), Transport::Ble);
    bench.ask(&[1, 4]);
    bench.send(&emit_sizes([0, 0, 40]));
    bench.tell(Input::Disconnected);
    bench.work();
    assert!(bench.resets());
    assert_eq!((bench.retained.gpregret, bench.settings().bank_0), (0, BankCode::App));
}

fn frames(bench: &mut Bench, packets: &[SerialPacket]) -> Vec<Vec<u8>> {
    let mut said = Vec::new();
    for (index, packet) in packets.iter().enumerate() {
        let frame = hci::packet(index as u8 + 1, &packet.emit());
        said.extend(bench.tell(Input::Written { to: Endpoint::Serial, value: &frame }));
        said.extend(bench.work());
    }
    said
}

/// Init packet and data as adafruit-nrfutil sends them: two bytes behind the init packet, 512 bytes of data.
fn serial_update(options: &Options, image: &[u8]) -> Vec<SerialPacket> {
    let mut init = init_packet(options, image);
    init.extend([0, 0]);
    let mut packets =
        vec![SerialPacket::Start { mode: 4, sizes: [0, 0, image.len() as u32] }, SerialPacket::Init(init)];
    packets.extend(image.chunks(512).map(|piece| SerialPacket::Data(piece.to_vec())));
    packets.push(SerialPacket::Stop);
    packets
}

#[test]
fn an_update_over_a_serial_line() {
    let options = Options::adafruit();
    let mut bench = Bench::new(options, Transport::Serial);
    let image = image(0x1404);
    let packets = serial_update(&options, &image);
    let acknowledged = frames(&mut bench, &packets);
    let expected: Vec<_> = (0..packets.len() as u8).map(|index| hci::acknowledgement(index + 2).to_vec()).collect();
    assert_eq!(acknowledged, expected);
    assert!(bench.resets());
    assert_eq!((bench.settings(), bench.retained.gpregret), (Settings::application(0x1404, 0), 0));
    let map = *bench.board.bootloader.map();
    let mut there = vec![0; image.len()];
    map.read(&bench.flash, 0x4000, &mut there).unwrap();
    assert_eq!(there, image);
}

#[test]
fn what_is_wrong_on_a_serial_line() {
    let options = Options::adafruit();
    let image = image(0x400);
    let good = serial_update(&options, &image);
    let resets = |packets: &[SerialPacket]| {
        let mut bench = Bench::new(options, Transport::Serial);
        frames(&mut bench, packets);
        (bench.resets(), bench.settings().bank_0)
    };
    let start = |sizes: [u32; 3]| SerialPacket::Start { mode: 4, sizes };
    assert_eq!(resets(&[start([0, 0, 0xffff_fff0])]), (true, BankCode::App));
    // A second start, and an init packet for another device.
    assert_eq!(resets(&[good[0].clone(), good[0].clone()]), (true, BankCode::Invalid));
    let other = SerialPacket::Init(LegacyInitPacket::new(&image).emit());
    assert_eq!(resets(&[good[0].clone(), other]), (true, BankCode::Invalid));
    // Data that is missing, or wrong: nobody is told, and DFU mode stays.
    let missing = [&good[..3], &good[4..]].concat();
    assert_eq!(resets(&missing), (false, BankCode::Invalid));
    let mut wrong = good.clone();
    wrong[2] = SerialPacket::Data(vec![0; 512]);
    assert_eq!(resets(&wrong), (false, BankCode::Invalid));
    assert_eq!(resets(&[SerialPacket::Stop, SerialPacket::Other(2)]), (false, BankCode::App));
    assert_eq!(resets(&good), (true, BankCode::App));
}

#[test]
fn nothing_is_heard_while_flash_is_at_work() {
    let options = Options::adafruit();
    let mut bench = Bench::new(options, Transport::Serial);
    let packets = serial_update(&options, &image(0x400));
    let sent: Vec<_> =
        packets.iter().zip(1_u8..).map(|(packet, sequence)| hci::packet(sequence, &packet.emit())).collect();
    let written = |value| Input::Written { to: Endpoint::Serial, value };
    assert_eq!(bench.tell(written(&sent[0])), [hci::acknowledgement(2)]);
    for frame in &sent[1..] {
        assert_eq!(bench.tell(written(frame)), [[0; 0]; 0]);
    }
    assert_eq!(bench.work().len(), packets.len() - 1);
    assert!(bench.resets());
}
