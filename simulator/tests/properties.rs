//! What must hold whatever an initiator sends and whenever power goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Options, Slot};
use brickproof_flash_model::flash::TearModel;
use brickproof_flash_model::image::mcuboot::{ImageBuilder, SigningKey, Verifier};
use brickproof_flash_model::layout::Layout;
use brickproof_simulator::device::{Behaviour, Board, Persistent};
use brickproof_simulator::smp::cbor::{MapEncoding, Writer};
use brickproof_simulator::smp::config::{
    Counters, Enumeration, Files, InfoTexts, Settings, ShellCommand, Task, TaskStatistics, TooLarge,
};
use brickproof_simulator::smp::{BootloaderMode, Command, Frame, Op, ServerConfig, SmpMessage, Version, ZephyrRelease};
use brickproof_simulator::trace::{BootRecord, Cause, FlashResult, Kind, Wants};
use brickproof_simulator::world::{Action, Control, Fault, SwapFilter, Trigger, World};
use proptest::prelude::*;

struct Setup {
    world: World,
    old: Vec<u8>,
    new: Vec<u8>,
    hashes: [[u8; 32]; 2],
}

fn setup(new_len: usize, behaviour: Behaviour) -> Setup {
    setup_with(new_len, behaviour, ServerConfig::default().buffer_count)
}

fn setup_with(new_len: usize, behaviour: Behaviour, buffer_count: u8) -> Setup {
    setup_server(new_len, behaviour, ServerConfig { buffer_size: 1024, buffer_count, ..ServerConfig::default() })
}

fn setup_server(new_len: usize, behaviour: Behaviour, smp: ServerConfig) -> Setup {
    let key = SigningKey::from_seed(b"tests").unwrap();
    let image = |version: &str, len: usize| {
        ImageBuilder::new(version.parse().unwrap()).header_size(32).generated_payload(len).sign(&key).unwrap()
    };
    let (old, new) = (image("1.0.0", 3000), image("2.0.0", new_len));
    let hash = |image: &[u8]| brickproof_flash_model::image::mcuboot::inspect(&image).unwrap().hash.unwrap();
    let hashes = [hash(&old), hash(&new)];
    let layout = Layout::preset("tiny4-a4").unwrap();
    let options = Options { max_sectors: 4, ..Options::default() };
    let mcuboot = Mcuboot::new(&layout, options, Verifier::new(vec![key.public().clone()])).unwrap();
    let mut flash = layout.blank_flash();
    flash.load(mcuboot.area(Slot::Primary), 0, &old).unwrap();
    let board = Board {
        smp,
        start_us: 100_000,
        behaviours: vec![(hashes[1], behaviour)],
        ..Board::new("tiny", layout, mcuboot)
    };
    let mut world = World::new(Arc::new(board), Persistent::new(flash), Wants::default());
    world.control(Control::Power(true));
    settle(&mut world);
    Setup { world, old, new, hashes }
}

/// Until nothing more is due by itself, or a minute has passed.
fn settle(world: &mut World) {
    let end = world.now() + 60_000_000;
    while let Some(due) = world.next_wake().filter(|due| *due <= end) {
        world.advance(due);
    }
}

fn request(command: Command, op: Op, sequence: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
    let (group, number) = command.numbers();
    Frame { version: Version::V1, op, reserved: (0, 0), group, sequence, command: number }.emit(body.as_ref())
}

fn chunk(image: &[u8], offset: usize, len: usize) -> Vec<u8> {
    let end = (offset + len).min(image.len());
    let mut body = Writer::new();
    body.begin_map().text("off").unsigned(offset as u64);
    if offset == 0 {
        body.text("len").unsigned(image.len() as u64);
    }
    body.text("data").bytes(&image[offset.min(end)..end]).end();
    request(Command::ImageUpload, Op::Write, 1, body.into_bytes())
}

fn state(hash: Option<&[u8]>, confirm: bool) -> Vec<u8> {
    let mut body = Writer::new();
    body.begin_map();
    if let Some(hash) = hash {
        body.text("hash").bytes(hash);
    }
    body.text("confirm").boolean(confirm).end();
    request(Command::ImageState, Op::Write, 2, body.into_bytes())
}

impl Setup {
    /// Uploads the new image, chunk by chunk, following the offsets.
    fn upload(&mut self) {
        let mut offset = 0;
        while offset < self.new.len() {
            let packet = chunk(&self.new, offset, 800);
            offset = self.ask(&packet).body.get("off").and_then(|off| off.number()).unwrap() as usize;
        }
    }

    fn ask(&mut self, packet: &[u8]) -> SmpMessage {
        self.world.receive(1, packet);
        loop {
            if let Some((_, answer)) = self.world.take_sent() {
                return SmpMessage::parse(&answer);
            }
            let due = self.world.next_wake().expect("an answer is due");
            self.world.advance(due);
        }
    }

    fn boots(&mut self) -> Vec<BootRecord> {
        let records = self.world.take_records().into_iter();
        records.filter_map(|record| if let Kind::Boot(boot) = record.kind { Some(boot) } else { None }).collect()
    }

    fn running(&self) -> Option<[u8; 32]> {
        self.world.device().and_then(|device| device.image().and_then(|image| image.hash))
    }
}

/// A server with every group and command.
fn everything() -> ServerConfig {
    ServerConfig {
        task_statistics: Some(TaskStatistics {
            tasks: (0..5).map(|n| Task { name: format!("{n}{}", "x".repeat(40)), ..Task::default() }).collect(),
            ..TaskStatistics::default()
        }),
        info: Some(InfoTexts::default()),
        bootloader_info: true,
        datetime: true,
        reset_boot_mode: true,
        slot_info: true,
        enumeration: Some(Enumeration { details: true }),
        settings: Some(Settings { values: BTreeMap::from([("a/b".into(), vec![1, 2])]), ..Settings::default() }),
        statistics: Some(vec![Counters { name: "a".into(), fields: vec![("b".into(), 1)] }]),
        files: Some(Files { files: BTreeMap::from([("/lfs1/a".into(), vec![7; 500])]), ..Files::default() }),
        shell: Some(vec![ShellCommand { line: "a".into(), ..ShellCommand::default() }]),
        storage_erase: true,
        ..ServerConfig::default()
    }
}

/// Servers of many builds. All of them believe in a bootloader that moves images, as the one of the board does.
fn any_server() -> impl Strategy<Value = ServerConfig> {
    let flags = proptest::collection::vec(any::<bool>(), 16);
    let too_large = prop_oneof![
        Just(TooLarge::Slot),
        Just(TooLarge::Sysbuild { footer: 64 }),
        Just(TooLarge::BootloaderInfo { max: 3000 }),
    ];
    let mode = prop_oneof![
        Just(BootloaderMode::SwapMove),
        Just(BootloaderMode::SwapScratch),
        Just(BootloaderMode::OverwriteOnly),
    ];
    let sizes = (64u16..1500, prop_oneof![Just(32u32), Just(512), Just(4096)]);
    (flags, too_large, mode, sizes, 3u8..5, 0u8..8).prop_map(
        |(flags, too_large, bootloader, (buffer_size, write_block), major, minor)| ServerConfig {
            buffer_size,
            write_block,
            zephyr: ZephyrRelease { major, minor },
            too_large,
            bootloader,
            original_protocol: flags[0],
            legacy_rc: flags[1],
            verbose_errors: flags[2],
            map_encoding: if flags[3] { MapEncoding::Definite } else { MapEncoding::Indefinite },
            datetime_ms: flags[4],
            reset_hook: flags[5].then_some(10),
            no_downgrade: flags[6],
            image_check: flags[7],
            progressive_erase: flags[8],
            frugal_list: flags[9],
            allow_erase_pending: flags[10],
            version_compare_build: flags[11],
            allow_confirm_non_active_slot: flags[12],
            direct_upload: flags[13],
            reject_mismatched_slot: flags[14],
            active_b0_slot: flags[15].then_some(1),
            ..everything()
        },
    )
}

/// A body with the keys of all commands, most of them with the right type.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let keys = [
        "d",
        "force",
        "boot_mode",
        "format",
        "query",
        "datetime",
        "hash",
        "confirm",
        "image",
        "data",
        "len",
        "off",
        "sha",
        "upgrade",
        "slot",
        "name",
        "val",
        "max_size",
        "type",
        "argv",
        "index",
        "groups",
        "unknown",
    ];
    let value = prop_oneof![
        any::<u64>().prop_map(|number| {
            let mut w = Writer::new();
            w.unsigned(number);
            w.into_bytes()
        }),
        (0u64..600).prop_map(|number| {
            let mut w = Writer::new();
            w.unsigned(number);
            w.into_bytes()
        }),
        any::<i64>().prop_map(|number| {
            let mut w = Writer::new();
            w.signed(number);
            w.into_bytes()
        }),
        any::<bool>().prop_map(|value| {
            let mut w = Writer::new();
            w.boolean(value);
            w.into_bytes()
        }),
        proptest::collection::vec(any::<u8>(), 0..60).prop_map(|bytes| {
            let mut w = Writer::new();
            w.bytes(&bytes);
            w.into_bytes()
        }),
        prop_oneof![
            Just("a"),
            Just("a/b"),
            Just("/lfs1/a"),
            Just("/lfs1/b"),
            Just("/lfs1"),
            Just("mode"),
            Just("sha256"),
            Just("2024-01-02T03:04:05"),
            Just(""),
        ]
        .prop_map(|text| {
            let mut w = Writer::new();
            w.text(text);
            w.into_bytes()
        }),
        proptest::collection::vec(0u64..80, 0..4).prop_map(|numbers| {
            let mut w = Writer::new();
            w.begin_list();
            for number in numbers {
                w.unsigned(number);
            }
            w.end();
            w.into_bytes()
        }),
        Just(b"\x81\x61a".to_vec()),
    ];
    (proptest::collection::vec((proptest::sample::select(keys.to_vec()), value), 0..7), 0usize..40).prop_map(
        |(pairs, cut)| {
            let mut body = vec![0xbf];
            for (key, value) in pairs {
                let mut w = Writer::new();
                w.text(key);
                body.extend(w.into_bytes());
                body.extend(value);
            }
            body.push(0xff);
            // Now and then the end is missing.
            if cut < 4 {
                body.truncate(body.len() - cut.min(body.len()));
            }
            body
        },
    )
}

#[derive(Debug, Clone)]
enum Step {
    Chunk { offset: usize, len: usize },
    NextChunk { len: usize },
    Test,
    Confirm,
    ConfirmOther,
    Erase,
    Reset,
    Garbage(Vec<u8>),
    PowerOff,
    PowerOn,
    Pin,
    Link(bool),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0usize..4000, 1usize..900).prop_map(|(offset, len)| Step::Chunk { offset, len }),
        8 => (200usize..900).prop_map(|len| Step::NextChunk { len }),
        3 => Just(Step::Test),
        2 => Just(Step::Confirm),
        1 => Just(Step::ConfirmOther),
        1 => Just(Step::Erase),
        3 => Just(Step::Reset),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Step::Garbage),
        2 => Just(Step::PowerOff),
        4 => Just(Step::PowerOn),
        1 => Just(Step::Pin),
        1 => any::<bool>().prop_map(Step::Link),
        6 => (0u64..900_000).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Any sequence of requests, link losses and cuts leaves a target that boots the old or the new image.
    #[test]
    fn never_bricked(steps in proptest::collection::vec(step(), 1..60)) {
        let mut setup = setup(2500, Behaviour::WaitsToBeConfirmed);
        for step in steps {
            let hashes = setup.hashes;
            let packet = match step {
                Step::Chunk { offset, len } => Some(chunk(&setup.new, offset, len)),
                Step::NextChunk { len } => {
                    let offset = setup.world.device().and_then(|device| device.upload(setup.world.board())).map_or(0, |(offset, _)| offset);
                    Some(chunk(&setup.new, offset as usize, len))
                }
                Step::Test => Some(state(Some(&hashes[1]), false)),
                Step::Confirm => Some(state(None, true)),
                Step::ConfirmOther => Some(state(Some(&hashes[1]), true)),
                Step::Erase => Some(request(Command::ImageErase, Op::Write, 3, vec![0xa0])),
                Step::Reset => Some(request(Command::Reset, Op::Write, 4, vec![0xa0])),
                Step::Garbage(bytes) => Some(bytes),
                Step::PowerOff => { setup.world.control(Control::Power(false)); None }
                Step::PowerOn => { setup.world.control(Control::Power(true)); None }
                Step::Pin => { setup.world.control(Control::Reset); None }
                Step::Link(up) => { setup.world.control(Control::Link(up)); None }
                Step::Pass(us) => { let until = setup.world.now() + us; setup.world.advance(until); None }
            };
            if let Some(packet) = packet {
                setup.world.receive(1, &packet);
            }
            while setup.world.take_sent().is_some() {}
        }
        setup.world.control(Control::Power(true));
        settle(&mut setup.world);
        prop_assert_eq!(setup.world.dead(), None);
        let running = setup.running().expect("an image runs");
        prop_assert!(setup.hashes.contains(&running));
    }

    #[test]
    fn a_cut_anywhere_in_an_update_ends_in_one_of_the_images(permille in 0u16..=1000, tear in 0u8..3, off_us in 0u64..3_000_000) {
        let mut setup = setup(2500, Behaviour::WaitsToBeConfirmed);
        setup.upload();
        setup.ask(&state(Some(&setup.hashes[1].clone()), false));
        let tear = [TearModel::Nothing, TearModel::FirstHalf, TearModel::AllButLast][usize::from(tear)];
        setup.world.control(Control::Fault(Fault {
            id: "cut".into(),
            trigger: Trigger::SwapProgress { permille, swap: SwapFilter::Any, tear },
            action: Action::PowerLoss { for_us: Some(off_us) },
        }));
        setup.ask(&request(Command::Reset, Op::Write, 4, vec![0xa0]));
        settle(&mut setup.world);
        let running = setup.running().expect("an image runs");
        prop_assert!(setup.hashes.contains(&running));
        prop_assert_ne!(setup.old.len(), 0);
    }

    #[test]
    fn hostile_packets_are_survived(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 1..20)) {
        let mut setup = setup_server(600, Behaviour::WaitsToBeConfirmed, everything());
        for packet in packets {
            let _ = SmpMessage::parse(&packet);
            setup.world.receive(1, &packet);
            // The same bytes behind a header that a server looks at.
            let known = Command::ALL[usize::from(packet.first().copied().unwrap_or(0)) % Command::ALL.len()];
            let (group, command) = known.numbers();
            let op = if packet.get(1).is_some_and(|byte| byte & 1 == 0) { Op::Read } else { Op::Write };
            let frame = Frame { version: Version::V1, op, reserved: (0, 0), group, sequence: 9, command };
            setup.world.receive(1, &frame.emit(&packet));
            let until = setup.world.now() + 400_000;
            setup.world.advance(until);
        }
        setup.world.control(Control::Power(true));
        settle(&mut setup.world);
        prop_assert_eq!(setup.running(), Some(setup.hashes[0]));
    }

    /// Whatever is asked of any command of any build, each answer is one map that fits the buffer, and the old
    /// image still starts.
    #[test]
    fn every_command_of_every_build_answers_with_a_map(
        config in any_server(),
        requests in proptest::collection::vec((proptest::sample::select(Command::ALL.to_vec()), any::<bool>(), any::<bool>(), any_body()), 1..30),
    ) {
        let buffer_size = usize::from(config.buffer_size);
        let mut setup = setup_server(600, Behaviour::WaitsToBeConfirmed, config);
        for (command, read, old, body) in requests {
            let (group, number) = command.numbers();
            let (op, version) = (if read { Op::Read } else { Op::Write }, if old { Version::V0 } else { Version::V1 });
            setup.world.receive(1, &Frame { version, op, reserved: (0, 0), group, sequence: 9, command: number }.emit(&body));
            let until = setup.world.now() + 600_000;
            setup.world.advance(until);
            while let Some((_, answer)) = setup.world.take_sent() {
                prop_assert!(answer.len() <= buffer_size);
                let message = SmpMessage::parse(&answer);
                prop_assert_eq!(message.malformed, None, "{:02x?}", answer);
                prop_assert_eq!((message.group, message.command), (group, number));
            }
        }
        setup.world.control(Control::Power(true));
        settle(&mut setup.world);
        prop_assert_eq!(setup.running(), Some(setup.hashes[0]));
    }

    #[test]
    fn frames_round_trip(first in 0u8..=255, flags: u8, group: u16, sequence: u8, command: u8, body in proptest::collection::vec(any::<u8>(), 0..50)) {
        let mut packet = vec![first, flags, 0, body.len() as u8];
        packet.extend(group.to_be_bytes());
        packet.extend([sequence, command]);
        packet.extend(&body);
        let (frame, payload) = Frame::parse(&packet).unwrap();
        prop_assert_eq!(frame.emit(&packet[payload]), packet);
    }
}

#[test]
fn a_cut_from_outside_in_the_middle_of_a_swap_is_a_cut_at_that_time() {
    let mut setup = setup(2500, Behaviour::WaitsToBeConfirmed);
    setup.upload();
    setup.ask(&state(Some(&setup.hashes[1].clone()), false));
    setup.ask(&request(Command::Reset, Op::Write, 4, vec![0xa0]));
    // The reset comes after 250 ms; the swap erases for longer than a second.
    let until = setup.world.now() + 700_000;
    setup.world.advance(until);
    assert_eq!(setup.running(), None, "the bootloader is at work");
    setup.world.control(Control::Power(false));
    assert!(!setup.world.powered());
    let before: Vec<_> = setup.world.take_records();
    let done = |kind: &Kind, result: &FlashResult| matches!(kind, Kind::Flash(op) if op.result == *result);
    assert_eq!(before.iter().filter(|record| done(&record.kind, &FlashResult::Torn)).count(), 1);
    assert!(before.iter().all(|record| record.at_us <= until), "nothing was recorded that had not happened yet");
    let interrupted =
        setup.world.board().mcuboot().unwrap().interrupted_swap(&setup.world.persistent().unwrap().flash).unwrap();
    assert!(interrupted.is_some(), "the swap is half done");
    setup.world.control(Control::Power(true));
    settle(&mut setup.world);
    assert_eq!(setup.running(), Some(setup.hashes[1]));
    let boots = setup.boots();
    assert_eq!(boots.len(), 1);
    assert_eq!((boots[0].cause, boots[0].swapped.as_deref()), (Cause::PowerOn, Some("test")));
}

#[test]
fn an_image_that_hangs_is_reset_by_the_watchdog_and_reverted() {
    let mut setup = setup(2500, Behaviour::Hangs { watchdog_us: 4_000_000 });
    setup.upload();
    setup.ask(&state(Some(&setup.hashes[1].clone()), false));
    setup.ask(&request(Command::Reset, Op::Write, 4, vec![0xa0]));
    settle(&mut setup.world);
    assert_eq!(setup.running(), Some(setup.hashes[0]));
    let causes: Vec<_> = setup.boots().iter().map(|boot| boot.cause).collect();
    assert_eq!(causes, [Cause::PowerOn, Cause::SoftReset, Cause::Watchdog]);
}

#[test]
fn what_waits_in_every_buffer_is_answered() {
    let mut setup = setup_with(2500, Behaviour::WaitsToBeConfirmed, u8::MAX);
    setup.world.receive(1, &chunk(&setup.new.clone(), 0, 800));
    let echo = request(Command::Echo, Op::Write, 5, [0xa1, 0x61, b'd', 0x61, b'x']);
    let waiting = usize::from(u8::MAX) - 2;
    for _ in 0..waiting {
        setup.world.receive(1, &echo);
    }
    assert!(setup.world.take_sent().is_none(), "the erase of the first chunk is under way");
    settle(&mut setup.world);
    let answers = std::iter::from_fn(|| setup.world.take_sent()).count();
    assert_eq!(answers, 1 + waiting);
}

#[test]
fn an_image_that_confirms_itself_stays() {
    let mut setup = setup(2500, Behaviour::ConfirmsItself { after_us: 1_000_000 });
    setup.upload();
    setup.ask(&state(Some(&setup.hashes[1].clone()), false));
    setup.ask(&request(Command::Reset, Op::Write, 4, vec![0xa0]));
    settle(&mut setup.world);
    setup.world.control(Control::Reset);
    settle(&mut setup.world);
    assert_eq!(setup.running(), Some(setup.hashes[1]));
}

#[test]
fn more_requests_than_buffers_are_dropped_and_counted() {
    let mut setup = setup(2500, Behaviour::WaitsToBeConfirmed);
    // The erase of a written slot keeps the server busy while more arrives.
    setup.ask(&chunk(&setup.new.clone(), 0, 800));
    setup.world.take_records();
    for _ in 0..8 {
        setup.world.receive(1, &request(Command::ImageErase, Op::Write, 3, vec![0xa0]));
    }
    let dropped =
        setup.world.take_records().iter().filter(|record| matches!(record.kind, Kind::Resource { .. })).count();
    // One in work, two waiting, one buffer for the answer.
    assert_eq!(dropped, 5);
}
