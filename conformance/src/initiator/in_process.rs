//! The built-in initiator on virtual time: function calls into the world, whose clock it moves.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use brickproof_simulator::trace::{InitiatorEvent, Kind};
use brickproof_simulator::world::{Peer, World};

use super::wire::Wire;

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
