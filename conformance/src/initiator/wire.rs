//! What the built-in initiator needs of the world around it.

use brickproof_simulator::trace::InitiatorEvent;

/// Carries packets and owns the clock of an initiator.
///
/// Times are in microseconds since the start of the run.
#[expect(async_fn_in_trait, reason = "a wire stays on its thread, so its futures need not be Send")]
pub trait Wire {
    /// Sends a packet; it may be lost.
    async fn send(&mut self, packet: Vec<u8>);

    /// The next packet, or `None` when `timeout_us` has passed.
    async fn receive(&mut self, timeout_us: u64) -> Option<Vec<u8>>;

    /// Largest packet in bytes that goes over the air in one piece, where larger ones are put together by a
    /// target that may not be able to; `None` where that is no question.
    async fn one_write(&mut self) -> Option<usize> {
        None
    }

    /// Lets time pass; packets that arrive meanwhile are kept.
    async fn sleep(&mut self, us: u64);

    /// The time.
    fn now_us(&self) -> u64;

    /// Notes what the initiator is about to do.
    fn note(&mut self, event: InitiatorEvent);
}

/// Changes packets on their way to the target.
pub trait Tamper: Sync {
    /// The packet that is sent instead.
    fn sent(&self, packet: Vec<u8>) -> Vec<u8> {
        packet
    }

    /// The datagrams in which a packet travels.
    fn datagrams(&self, packet: Vec<u8>) -> Vec<Vec<u8>> {
        vec![self.sent(packet)]
    }

    /// The bytes that are sent instead of these lines of a serial port.
    fn lines(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
}

/// Changes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Untouched;

impl Tamper for Untouched {}

/// A wire whose packets are tampered with.
pub struct Tampered<'a, W> {
    wire: W,
    tamper: &'a dyn Tamper,
}

impl<'a, W: Wire> Tampered<'a, W> {
    /// Wraps a wire.
    pub fn new(wire: W, tamper: &'a dyn Tamper) -> Self {
        Self { wire, tamper }
    }
}

impl<W: Wire> Wire for Tampered<'_, W> {
    async fn send(&mut self, packet: Vec<u8>) {
        for datagram in self.tamper.datagrams(packet) {
            self.wire.send(datagram).await;
        }
    }

    async fn receive(&mut self, timeout_us: u64) -> Option<Vec<u8>> {
        self.wire.receive(timeout_us).await
    }

    async fn one_write(&mut self) -> Option<usize> {
        self.wire.one_write().await
    }

    async fn sleep(&mut self, us: u64) {
        self.wire.sleep(us).await;
    }

    fn now_us(&self) -> u64 {
        self.wire.now_us()
    }

    fn note(&mut self, event: InitiatorEvent) {
        self.wire.note(event);
    }
}
