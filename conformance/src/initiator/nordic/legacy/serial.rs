//! A package for Legacy DFU over a serial line with Adafruit's bootloader: every packet has a number and is acknowledged,
//! and the acknowledgement says nothing of what becomes of it.

use brickproof_flash_model::image::nordic::PackageImage;
use brickproof_simulator::nordic::legacy::hci::{SerialPacket, acknowledged, frame, packet};
use brickproof_simulator::trace::{InitiatorEvent, StepBy};

use super::{mode, read, sizes};
use crate::initiator::nordic::serial::Line;
use crate::initiator::update::Report;

/// Bytes of the image in a packet.
const PIECE: usize = 512;
/// Bytes of a page.
const PAGE: usize = 4096;
/// To erase a page takes so long, in microseconds (nRF52 product specifications, NVMC).
const ERASE_US: u64 = 89_700;
/// How long it waits for an acknowledgement, in microseconds.
const ACKNOWLEDGED_US: u64 = 1_000_000;
/// How often a packet is sent.
const TRIES: u32 = 5;
/// Longest erasure at the start: of a whole region, in pages.
const PAGES_MAX: u64 = 256;

/// Updates a device over a serial line. The device does not say at the end whether it took the image.
pub async fn run<L: Line>(line: &mut L, package: &[u8]) -> Report {
    match update(line, package).await {
        Ok(()) => Report { success: true, message: "every image was sent and acknowledged".into() },
        Err(message) => Report { success: false, message },
    }
}

async fn update<L: Line>(line: &mut L, package: &[u8]) -> Result<(), String> {
    let package = read(package)?;
    let last = package.images.len().saturating_sub(1);
    for (index, image) in package.images.iter().enumerate() {
        line.note(InitiatorEvent::Step { step: "upload".into(), by: StepBy::Tool });
        send_image(line, image).await.map_err(|why| format!("{}: {why}", image.kind.key()))?;
        if index < last {
            // It is copied, which nothing tells the end of, and the device starts again.
            line.sleep(2 * pages(image.firmware.len()) * ERASE_US).await;
        }
    }
    Ok(())
}

fn pages(len: usize) -> u64 {
    len.div_ceil(PAGE) as u64
}

async fn send_image<L: Line>(line: &mut L, image: &PackageImage) -> Result<(), String> {
    let mut sequence = 0;
    let mut next = || {
        sequence = (sequence + 1) & 7;
        sequence
    };
    let start = SerialPacket::Start { mode: mode(image), sizes: sizes(image) };
    send(line, next(), &start).await?;
    line.sleep((pages(image.firmware.len()) + 1).min(PAGES_MAX) * ERASE_US).await;
    let mut init = image.init.clone();
    init.resize(init.len().next_multiple_of(4), 0);
    send(line, next(), &SerialPacket::Init(init)).await?;
    for piece in image.firmware.chunks(PIECE) {
        let mut piece = piece.to_vec();
        piece.resize(piece.len().next_multiple_of(4), 0xff);
        send(line, next(), &SerialPacket::Data(piece)).await?;
    }
    send(line, next(), &SerialPacket::Stop).await
}

/// Sends a packet until it is acknowledged.
async fn send<L: Line>(line: &mut L, sequence: u8, what: &SerialPacket) -> Result<(), String> {
    let bytes = frame(&packet(sequence, &what.emit()));
    for _ in 0..TRIES {
        line.send(bytes.clone()).await;
        let end = line.now_us().saturating_add(ACKNOWLEDGED_US);
        while let Some(frame) = line.receive(end.saturating_sub(line.now_us())).await {
            if acknowledged(&frame) == Some((sequence + 1) & 7) {
                return Ok(());
            }
        }
    }
    Err(format!("the device does not acknowledge packet {sequence}"))
}
