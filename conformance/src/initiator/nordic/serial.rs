//! Secure DFU over a serial line: every request is a frame, and so is every packet.
//!
//! | step | frame |
//! |---|---|
//! | is somebody there | ping, until it is answered |
//! | how long may a frame be | get MTU: the longest frame with every byte escaped |
//! | each image | as over Bluetooth LE, packets as requests with the opcode "write" |
//!
//! The device resets when an image is complete, and waits for the next one if it has no application to start.

use brickproof_flash_model::image::nordic::Package;
use brickproof_simulator::nordic::slip;
use brickproof_simulator::nordic::wire::{Payload, Request, Response, opcode};
use brickproof_simulator::trace::{InitiatorEvent, Kind, StepBy};
use brickproof_simulator::world::{Carrier, Peer, World};

use super::channel::{Came, Channel, ChannelError};
use super::policy::DfuPolicy;
use super::session::{Failure, Session};
use crate::initiator::update::Report;

/// Name of the one initiator there is.
const PEER: Peer = 1;
/// Bits per second.
const BAUD: u64 = 115_200;
/// Longest frame of a device that is taken, in bytes.
const FRAME_MAX: usize = 4096;
/// Between two pings, in microseconds.
const PING_US: u64 = 1_000_000;
/// Pings before the device is given up.
const PINGS: u8 = 30;

/// A serial line.
#[expect(async_fn_in_trait, reason = "a line stays on its thread, so its futures need not be Send")]
pub trait Line {
    /// Sends bytes.
    async fn send(&mut self, bytes: Vec<u8>);

    /// The next frame, or `None` when `timeout_us` has passed.
    async fn receive(&mut self, timeout_us: u64) -> Option<Vec<u8>>;

    /// Lets time pass.
    async fn sleep(&mut self, us: u64);

    /// The time in microseconds.
    fn now_us(&self) -> u64;

    /// Notes what the initiator is about to do.
    fn note(&mut self, event: InitiatorEvent);
}

/// A line into a world, on virtual time.
pub struct WorldLine<'a> {
    world: &'a mut World,
    decoder: slip::Decoder,
    waiting: std::vec::IntoIter<u8>,
}

impl<'a> WorldLine<'a> {
    /// A line into this world, whose target has a serial port from now on.
    pub fn new(world: &'a mut World) -> Self {
        world.set_carrier(Carrier::Console);
        Self { world, decoder: slip::Decoder::recovering(FRAME_MAX), waiting: Vec::new().into_iter() }
    }
}

impl Line for WorldLine<'_> {
    async fn send(&mut self, bytes: Vec<u8>) {
        // 10 bits a byte.
        let until = self.world.now() + bytes.len() as u64 * 10_000_000 / BAUD;
        self.world.advance(until);
        self.world.receive(PEER, &bytes);
    }

    async fn receive(&mut self, timeout_us: u64) -> Option<Vec<u8>> {
        let deadline = self.world.now() + timeout_us;
        loop {
            for byte in &mut self.waiting {
                if let Some(slip::Decoded::Frame(frame)) = self.decoder.push(byte) {
                    return Some(frame);
                }
            }
            if let Some((_, bytes)) = self.world.take_sent() {
                self.waiting = bytes.into_iter();
                continue;
            }
            match self.world.next_wake().filter(|due| *due <= deadline) {
                Some(due) => self.world.advance(due),
                None => {
                    self.world.advance(deadline);
                    return None;
                }
            }
        }
    }

    async fn sleep(&mut self, us: u64) {
        let until = self.world.now() + us;
        self.world.advance(until);
    }

    fn now_us(&self) -> u64 {
        self.world.now()
    }

    fn note(&mut self, event: InitiatorEvent) {
        self.world.record(Kind::Initiator(event));
    }
}

/// A channel over a serial line.
pub struct SerialChannel<'a, L> {
    /// The line.
    pub line: &'a mut L,
    policy: &'a dyn DfuPolicy,
    value_max: usize,
}

impl<'a, L: Line> SerialChannel<'a, L> {
    /// A channel over a line whose device takes so many bytes of data at once.
    pub fn new(line: &'a mut L, policy: &'a dyn DfuPolicy, value_max: usize) -> Self {
        Self { line, policy, value_max }
    }
}

impl<L: Line> Channel for SerialChannel<'_, L> {
    async fn request(&mut self, request: &Request) -> Result<(), ChannelError> {
        self.line.send(slip::encode(&self.policy.request_bytes(request))).await;
        Ok(())
    }

    async fn packet(&mut self, bytes: Vec<u8>) -> Result<(), ChannelError> {
        self.line.send(slip::encode(&Request::Write(bytes).emit())).await;
        Ok(())
    }

    async fn receive(&mut self, timeout_us: u64) -> Came {
        let end = self.line.now_us().saturating_add(timeout_us);
        loop {
            let left = end.saturating_sub(self.line.now_us());
            match self.line.receive(left).await {
                Some(frame) => {
                    if let Some(response) = Response::parse(&frame) {
                        return Came::Response(response);
                    }
                }
                None => return Came::Nothing,
            }
        }
    }

    fn value_max(&self) -> usize {
        self.value_max
    }

    async fn sleep(&mut self, us: u64) {
        self.line.sleep(us).await;
    }

    fn now_us(&self) -> u64 {
        self.line.now_us()
    }

    fn note(&mut self, event: InitiatorEvent) {
        self.line.note(event);
    }
}

/// Updates a device over a serial line; what it says at the end is true.
pub async fn run<L: Line>(line: &mut L, package: &[u8], policy: &dyn DfuPolicy) -> Report {
    match update(line, package, policy).await {
        Ok(()) => Report { success: true, message: "every image was taken".into() },
        Err(message) => Report { success: false, message },
    }
}

async fn update<L: Line>(line: &mut L, package: &[u8], policy: &dyn DfuPolicy) -> Result<(), String> {
    let package = Package::read("the package", package).map_err(|error| error.to_string())?;
    let mut session = 0;
    for image in &package.images {
        let (mut losses, mut sent) = (0, 0);
        loop {
            session += 1;
            line.note(InitiatorEvent::Step { step: "upload".into(), by: StepBy::Tool });
            let value_max = greet(line, policy).await?;
            let mut channel = SerialChannel::new(line, policy, value_max);
            match Session::new(&mut channel, policy, image, session).run(&mut sent).await {
                Ok(()) => break,
                // A line does not tell that it is interrupted: silence is all there is to see of it.
                Err(Failure::Silent(_)) if losses < policy.reconnects() => losses += 1,
                Err(failure) => return Err(format!("{}: {failure}", image.kind.key())),
            }
        }
    }
    Ok(())
}

/// Waits until the device answers; how many bytes of data it takes at once.
async fn greet<L: Line>(line: &mut L, policy: &dyn DfuPolicy) -> Result<usize, String> {
    let mut channel = SerialChannel::new(line, policy, 0);
    for id in 1..=PINGS {
        // A request always goes out on a line.
        let _ = channel.request(&Request::Ping(id)).await;
        match answer(&mut channel, opcode::PING, PING_US).await {
            None => continue,
            // Whatever the status is, somebody is there.
            Some(_) => {
                let _ = channel.request(&Request::Mtu).await;
                let mtu = match answer(&mut channel, opcode::MTU, policy.response_us()).await {
                    Some(Response { payload: Payload::Mtu(mtu), .. }) => mtu,
                    _ => return Err("the device does not tell its MTU".into()),
                };
                return Ok(usize::from(mtu.saturating_sub(1)) / 2 - usize::from(mtu > 2));
            }
        }
    }
    Err("the device does not answer".into())
}

async fn answer<C: Channel>(channel: &mut C, opcode: u8, timeout_us: u64) -> Option<Response> {
    let end = channel.now_us().saturating_add(timeout_us);
    loop {
        match channel.receive(end.saturating_sub(channel.now_us())).await {
            Came::Response(response) if response.request == opcode => return Some(response),
            Came::Response(_) => {}
            Came::Nothing | Came::Lost => return None,
        }
    }
}
