//! The serial air: a pty between a world and an initiator, and the world's side of the console.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Options, Slot};
use brickproof_flash_model::image::mcuboot::{ImageBuilder, SigningKey, Verifier};
use brickproof_flash_model::layout::Layout;
use brickproof_simulator::air::{SerialAir, SerialPort};
use brickproof_simulator::device::{Board, Persistent};
use brickproof_simulator::smp::console::{Decoder, encode};
use brickproof_simulator::smp::{Frame, Op, ServerConfig, SmpMessage, Version};
use brickproof_simulator::trace::{Direction, Kind, Record, SerialPart, Wants};
use brickproof_simulator::world::{Carrier, Control, World};

fn board() -> (Board, Persistent) {
    let key = SigningKey::from_seed(&[7; 32]).unwrap();
    let layout = Layout::preset("tiny4-a4").unwrap();
    let options = Options { max_sectors: 4, ..Options::default() };
    let mcuboot = Mcuboot::new(&layout, options, Verifier::new(vec![key.public().clone()])).unwrap();
    let image = ImageBuilder::new("1.0.0".parse().unwrap()).header_size(32).generated_payload(3000).sign(&key).unwrap();
    let mut flash = layout.blank_flash();
    flash.load(mcuboot.area(Slot::Primary), 0, &image).unwrap();
    let board = Board {
        smp: ServerConfig { buffer_size: 256, ..ServerConfig::default() },
        start_us: 100_000,
        ..Board::new("tiny", layout, mcuboot)
    };
    (board, Persistent::new(flash))
}

fn console_world() -> World {
    let (board, persistent) = board();
    let mut world = World::new(Arc::new(board), persistent, Wants::default());
    world.set_carrier(Carrier::Console);
    world
}

fn echo(text: &[u8]) -> Vec<u8> {
    let mut body = vec![0xbf, 0x61, b'd', 0x78, text.len() as u8];
    body.extend_from_slice(text);
    body.push(0xff);
    Frame { version: Version::V1, op: Op::Write, reserved: (0, 0), group: 0, sequence: 3, command: 0 }.emit(&body)
}

fn frames(records: &[Record]) -> Vec<(Direction, SerialPart, Option<&str>, Option<&str>)> {
    let frame = |record: &Record| match &record.kind {
        Kind::SerialFrame { .. } => Some(record.n),
        _ => None,
    };
    let known: Vec<u64> = records.iter().filter_map(frame).collect();
    records
        .iter()
        .filter(|record| known.contains(&record.n))
        .map(|record| match &record.kind {
            Kind::SerialFrame { direction, part, error, lost, .. } => {
                (*direction, *part, error.as_deref(), lost.as_deref())
            }
            _ => unreachable!(),
        })
        .collect()
}

/// The packets that the target has sent.
fn answers(world: &mut World) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::new(4096);
    let mut packets = Vec::new();
    while let Some((_, bytes)) = world.take_sent() {
        let lines: Vec<_> = bytes.iter().filter_map(|byte| decoder.push(*byte)).collect();
        packets.extend(lines.into_iter().filter_map(|line| line.packet.unwrap()));
    }
    packets
}

#[test]
fn a_request_of_several_frames_is_answered_in_frames() {
    let mut world = console_world();
    world.control(Control::Power(true));
    world.advance(200_000);
    world.take_records();
    for frame in encode(&echo(&[b'x'; 150])) {
        world.receive(1, &frame);
        world.receive(1, b"[00:00:01.000] <inf> a line of the log\r\n");
    }
    let answered = answers(&mut world);
    assert_eq!(answered.len(), 1);
    assert_eq!(SmpMessage::parse(&answered[0]).name.as_deref(), Some("echo"));
    let records = world.take_records();
    use Direction::{FromTarget, ToTarget};
    use SerialPart::{Continuation, Start, Text};
    assert_eq!(
        frames(&records),
        [
            (ToTarget, Start, None, None),
            (ToTarget, Text, None, None),
            (ToTarget, Continuation, None, None),
            (FromTarget, Start, None, None),
            (FromTarget, Continuation, None, None),
            (ToTarget, Text, None, None),
        ]
    );
    let datagram = records.iter().find(|record| matches!(record.kind, Kind::Datagram { direction: ToTarget, .. }));
    let cause = datagram.and_then(|record| record.cause).unwrap();
    assert!(matches!(&records[(cause - records[0].n) as usize].kind, Kind::SerialFrame { part: Continuation, .. }));
}

#[test]
fn frame_errors_are_in_the_trace_and_nothing_is_answered() {
    let mut world = console_world();
    world.control(Control::Power(true));
    world.advance(200_000);
    world.take_records();
    world.receive(1, b"\x04\x14AAAA\n\x06\x09AANBWOQ=\n");
    world.receive(1, &encode(&[0; 300]).concat());
    assert!(answers(&mut world).is_empty());
    let records = world.take_records();
    let errors: Vec<_> = frames(&records).into_iter().map(|(_, _, error, _)| error.unwrap_or("").to_owned()).collect();
    assert_eq!(
        errors,
        [
            "a continuation frame, and no packet has begun",
            "the CRC is wrong",
            "",
            "",
            "more than the packet buffer of 256 bytes",
            "a continuation frame, and no packet has begun",
        ]
    );
}

#[test]
fn a_reset_loses_what_was_collected_and_dark_lines_are_lost() {
    let mut world = console_world();
    let request = encode(&echo(&[b'x'; 150]));
    world.receive(1, &request[0]);
    world.control(Control::Power(true));
    world.advance(200_000);
    world.receive(1, &request[0]);
    world.control(Control::Reset);
    world.receive(1, &request[1]);
    world.advance(400_000);
    world.receive(1, &request[1]);
    assert!(answers(&mut world).is_empty());
    assert_eq!(world.lost(), 2);
    let records = world.take_records();
    let lost: Vec<_> = frames(&records).into_iter().map(|(_, _, error, lost)| (error.is_some(), lost)).collect();
    let expected =
        [(false, Some("the target has no power")), (false, None), (true, Some("the target is starting")), (true, None)];
    assert_eq!(lost, expected);
    // What is sent whole is answered.
    world.receive(1, &request.concat());
    assert_eq!(answers(&mut world).len(), 1);
}

async fn read(port: &SerialPort, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let mut buffer = [0; 64];
        let read = tokio::time::timeout(Duration::from_secs(10), port.read(&mut buffer)).await.unwrap().unwrap();
        bytes.extend_from_slice(&buffer[..read]);
    }
    bytes
}

#[tokio::test]
async fn bytes_go_both_ways_unchanged_and_the_port_survives_its_clients() {
    let mut air = SerialAir::open().unwrap();
    // Bytes that a terminal would change, or act on.
    let bytes: Vec<u8> = (0..=255).collect();
    for _ in 0..2 {
        let client = SerialPort::open(air.path()).unwrap();
        client.write(&bytes).await.unwrap();
        let mut got = Vec::new();
        while got.len() < bytes.len() {
            let (_, more) = tokio::time::timeout(Duration::from_secs(10), air.receive()).await.unwrap().unwrap();
            got.extend_from_slice(more);
        }
        assert_eq!(got, bytes);
        assert_eq!(air.send(&bytes), 0);
        assert_eq!(read(&client, bytes.len()).await, bytes);
    }
    air.set_present(false).unwrap();
    assert!(air.path().exists(), "a port that is not of USB stays");
}

#[tokio::test]
async fn what_nobody_reads_is_lost_and_counted() {
    let air = SerialAir::open().unwrap();
    let lost = air.send(&vec![b'x'; 1 << 20]);
    assert!(lost > 0 && lost < 1 << 20, "{lost}");
}

#[tokio::test]
async fn the_port_of_a_usb_device_goes_away_and_comes_back_at_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let mut air = SerialAir::open_usb(folder.path()).unwrap();
    let path = air.path().to_path_buf();
    assert!(!path.exists());
    assert_eq!(air.send(b"hello"), 5);
    air.set_present(true).unwrap();
    let before = SerialPort::open(&path).unwrap();
    assert_eq!(air.send(b"hello"), 0);
    assert_eq!(read(&before, 5).await, b"hello");
    air.set_present(false).unwrap();
    assert!(!path.exists());
    let mut buffer = [0; 8];
    let gone = tokio::time::timeout(Duration::from_secs(10), before.read(&mut buffer)).await.unwrap();
    assert!(gone.is_err() || gone.unwrap() == 0, "the client sees that the device has gone");
    air.set_present(true).unwrap();
    let after = SerialPort::open(&path).unwrap();
    assert_eq!(air.send(b"again"), 0);
    assert_eq!(read(&after, 5).await, b"again");
    drop(air);
    assert!(!Path::new(&path).is_symlink());
}
