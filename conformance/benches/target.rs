//! Throughput of a played target, and what it costs in memory.
//!
//! `cargo bench -p brickproof`

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use brickproof::library;
use brickproof::runner::live::Live;
use brickproof::scenario::TimingSpec;
use brickproof_flash_model::boot::mcuboot::Slot;
use brickproof_flash_model::image::mcuboot::{ImageBuilder, SigningKey};
use brickproof_simulator::air::{Air, UdpAir};
use brickproof_simulator::device::Persistent;
use brickproof_simulator::smp::cbor::Writer;
use brickproof_simulator::smp::{Command, Frame, Op, Version};
use brickproof_simulator::trace::Wants;
use brickproof_simulator::world::{Control, World};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const TARGET: &str = "nrf52840-mcuboot-swap-move";
const QUIET: Wants = Wants { flash: false, messages: false };

fn world(buffer_size: u16) -> World {
    let target = library::target(TARGET).expect("bundled");
    let mut board = target.board(TimingSpec::default(), 0.0, Vec::new()).expect("bundled");
    board.smp.buffer_size = buffer_size;
    let mut flash = target.layout.blank_flash();
    let image = image(64 << 10);
    flash.load(board.mcuboot().expect("it has MCUboot").area(Slot::Primary), 0, &image).expect("it fits");
    let mut world = World::new(Arc::new(board), Persistent::new(flash), QUIET);
    world.control(Control::Power(true));
    world.advance(1_000_000);
    assert!(world.serving());
    world
}

fn image(len: usize) -> Vec<u8> {
    let key = SigningKey::from_pem(brickproof_scenarios::DEVELOPMENT_KEY).expect("bundled");
    ImageBuilder::new("1.0.0".parse().expect("a version")).generated_payload(len).sign(&key).expect("signed")
}

/// The packets of an upload.
fn chunks(image: &[u8], data: usize) -> Vec<Vec<u8>> {
    let (group, command) = Command::ImageUpload.numbers();
    let frame = Frame { version: Version::V1, op: Op::Write, reserved: (0, 0), group, sequence: 0, command };
    image
        .chunks(data)
        .enumerate()
        .map(|(index, piece)| {
            let mut body = Writer::new();
            body.begin_map().text("off").unsigned((index * data) as u64);
            if index == 0 {
                body.text("len").unsigned(image.len() as u64);
            }
            body.text("data").bytes(piece).end();
            frame.emit(&body.into_bytes())
        })
        .collect()
}

fn in_process(criterion: &mut Criterion) {
    let image = image(256 << 10);
    let packets = chunks(&image, 4096);
    let mut world = world(4200);
    let mut group = criterion.benchmark_group("upload");
    group.throughput(Throughput::Bytes(image.len() as u64));
    group.bench_function("in-process, 4 KiB chunks", |bencher| {
        bencher.iter(|| {
            for packet in &packets {
                world.receive(1, packet);
                assert!(world.take_sent().is_some());
            }
        });
    });
    group.finish();
}

/// A target on UDP in a thread of its own.
fn play(stop: &Arc<AtomicBool>) -> (SocketAddr, std::thread::JoinHandle<()>) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let stop = Arc::clone(stop);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let air = UdpAir::bind(([127, 0, 0, 1], 0).into()).expect("a port");
            let mut world = world(2475);
            sender.send(air.address().expect("an address")).expect("the benchmark waits");
            let mut live = Live::new(&mut world, Air::Udp(air));
            while !stop.load(Ordering::Relaxed) {
                live.catch_up().await;
                let _ = tokio::time::timeout(Duration::from_millis(50), live.next()).await;
            }
        });
    });
    (receiver.recv().expect("an address"), thread)
}

fn udp(criterion: &mut Criterion) {
    let stop = Arc::new(AtomicBool::new(false));
    let (address, thread) = play(&stop);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(address).expect("loopback");
    let image = image(256 << 10);
    let packets = chunks(&image, 2430);
    let mut buffer = [0; 4096];
    let mut group = criterion.benchmark_group("upload");
    group.throughput(Throughput::Bytes(image.len() as u64));
    group.bench_function(format!("udp, stop and wait, {} round trips", packets.len()), |bencher| {
        bencher.iter(|| {
            for packet in &packets {
                socket.send(packet).expect("sent");
                socket.recv(&mut buffer).expect("answered");
            }
        });
    });
    group.finish();
    stop.store(true, Ordering::Relaxed);
    thread.join().expect("the target ends");
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn memory(_: &mut Criterion) {
    const TARGETS: usize = 64;
    let before = resident();
    let worlds: Vec<World> = (0..TARGETS)
        .map(|_| {
            let mut world = world(2475);
            for packet in chunks(&image(300 << 10), 2430) {
                world.receive(1, &packet);
                world.take_sent();
            }
            world
        })
        .collect();
    let each = (resident() - before) / worlds.len();
    println!("memory: {} KiB resident for each of {TARGETS} targets with 1 MiB of flash and two images", each / 1024);
}

criterion_group!(benches, in_process, udp, memory);
criterion_main!(benches);
