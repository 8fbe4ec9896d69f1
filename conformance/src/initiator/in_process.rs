//! The built-in initiator on virtual time: function calls into the world, whose clock it moves.
//!
//! [`InProcess`] hands over packets, [`Console`] the lines of a serial port.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use brickproof_simulator::smp::console::{Decoder, encode};
use brickproof_simulator::trace::{InitiatorEvent, Kind};
use brickproof_simulator::world::{Carrier, Peer, World};

use super::wire::{Tamper, Wire};

/// Name of the one initiator there is.
const PEER: Peer = 1;

/// A wire that is the world itself.
pub struct InProcess<'a> {
    world: &'a mut World,
}

impl<'a> InProcess<'a> {
    /// A wire into this world.
    pub fn new(world: &'a mut World) -> Self {
        Self { world }
    }
}

impl Wire for InProcess<'_> {
    async fn send(&mut self, packet: Vec<u8>) {
        self.world.receive(PEER, &packet);
    }

    async fn receive(&mut self, timeout_us: u64) -> Option<Vec<u8>> {
        let deadline = self.world.now() + timeout_us;
        loop {
            if let Some((_, packet)) = self.world.take_sent() {
                return Some(packet);
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

/// Longest packet that is received over a console, in bytes.
const PACKET_MAX: usize = 65_535;

/// A wire into the world that is a serial port: packets travel as lines.
pub struct Console<'a> {
    inner: InProcess<'a>,
    tamper: &'a dyn Tamper,
    decoder: Decoder,
    /// Bytes that have arrived and are not looked at yet.
    waiting: std::vec::IntoIter<u8>,
}

impl<'a> Console<'a> {
    /// A wire into this world, whose target has a serial port from now on; its lines are tampered with.
    pub fn new(world: &'a mut World, tamper: &'a dyn Tamper) -> Self {
        world.set_carrier(Carrier::Console);
        Self {
            inner: InProcess::new(world),
            tamper,
            decoder: Decoder::new(PACKET_MAX),
            waiting: Vec::new().into_iter(),
        }
    }
}

impl Wire for Console<'_> {
    async fn send(&mut self, packet: Vec<u8>) {
        self.inner.send(self.tamper.lines(encode(&packet).concat())).await;
    }

    async fn receive(&mut self, timeout_us: u64) -> Option<Vec<u8>> {
        let deadline = self.inner.now_us() + timeout_us;
        loop {
            // Lines without a marker are the shell's or the log's; broken frames are as good as lost.
            for byte in &mut self.waiting {
                if let Some(Ok(Some(packet))) = self.decoder.push(byte).map(|line| line.packet) {
                    return Some(packet);
                }
            }
            let left = deadline.checked_sub(self.inner.now_us())?;
            self.waiting = self.inner.receive(left).await?.into_iter();
        }
    }

    async fn sleep(&mut self, us: u64) {
        self.inner.sleep(us).await;
    }

    fn now_us(&self) -> u64 {
        self.inner.now_us()
    }

    fn note(&mut self, event: InitiatorEvent) {
        self.inner.note(event);
    }
}

/// Runs a future that never waits for anything but the virtual clock.
///
/// # Panics
/// When the future waits for something else, which no wire of this module does.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("a wire on virtual time never waits"),
    }
}
