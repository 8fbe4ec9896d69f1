//! Requests, packets and responses of Secure DFU, whatever carries them.

use brickproof_simulator::nordic::Endpoint;
use brickproof_simulator::nordic::wire::{Request, Response};
use brickproof_simulator::trace::InitiatorEvent;

use super::policy::DfuPolicy;
use crate::initiator::link::{Heard, Link, LinkError};

/// Why something could not be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelError {
    /// The link has ended.
    Lost,
    /// The device does not take it.
    Refused(String),
}

impl From<LinkError> for ChannelError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Gone => Self::Lost,
            error => Self::Refused(error.to_string()),
        }
    }
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// A response.
    Response(Response),
    /// Nothing, for as long as it was waited for.
    Nothing,
    /// The link has ended.
    Lost,
}

/// What carries Secure DFU.
#[expect(async_fn_in_trait, reason = "a channel stays on its thread, so its futures need not be Send")]
pub trait Channel {
    /// Sends a request.
    ///
    /// # Errors
    /// [`ChannelError`].
    async fn request(&mut self, request: &Request) -> Result<(), ChannelError>;

    /// Sends a packet.
    ///
    /// # Errors
    /// [`ChannelError`].
    async fn packet(&mut self, bytes: Vec<u8>) -> Result<(), ChannelError>;

    /// What comes next.
    async fn receive(&mut self, timeout_us: u64) -> Came;

    /// Bytes that fit a packet.
    fn value_max(&self) -> usize;

    /// Lets time pass.
    async fn sleep(&mut self, us: u64);

    /// The time in microseconds.
    fn now_us(&self) -> u64;

    /// Notes what the initiator is about to do.
    fn note(&mut self, event: InitiatorEvent);
}

/// A channel over the characteristics of the bootloader.
pub struct BleChannel<'a, L> {
    /// The link.
    pub link: &'a mut L,
    policy: &'a dyn DfuPolicy,
    mtu: u16,
}

impl<'a, L: Link> BleChannel<'a, L> {
    /// A channel over a link whose MTU is this.
    pub fn new(link: &'a mut L, policy: &'a dyn DfuPolicy, mtu: u16) -> Self {
        Self { link, policy, mtu }
    }
}

impl<L: Link> Channel for BleChannel<'_, L> {
    async fn request(&mut self, request: &Request) -> Result<(), ChannelError> {
        let bytes = self.policy.request_bytes(request);
        Ok(self.link.write(Endpoint::ControlPoint, bytes, self.policy.control_kind()).await?)
    }

    async fn packet(&mut self, bytes: Vec<u8>) -> Result<(), ChannelError> {
        Ok(self.link.write(Endpoint::Packet, bytes, self.policy.packet_kind()).await?)
    }

    async fn receive(&mut self, timeout_us: u64) -> Came {
        let end = self.link.now_us().saturating_add(timeout_us);
        loop {
            let left = end.saturating_sub(self.link.now_us());
            match self.link.hear(left).await {
                // What is no response is nobody's.
                Some(Heard::Notified(Endpoint::ControlPoint, value)) => {
                    if let Some(response) = Response::parse(&value) {
                        return Came::Response(response);
                    }
                }
                Some(Heard::Disconnected) => return Came::Lost,
                Some(Heard::Indicated(..)) => self.link.confirm().await,
                Some(Heard::Notified(..)) => {}
                None if self.link.is_connected() => return Came::Nothing,
                None => return Came::Lost,
            }
        }
    }

    fn value_max(&self) -> usize {
        usize::from(self.mtu.saturating_sub(3))
    }

    async fn sleep(&mut self, us: u64) {
        self.link.sleep(us).await;
    }

    fn now_us(&self) -> u64 {
        self.link.now_us()
    }

    fn note(&mut self, event: InitiatorEvent) {
        self.link.note(event);
    }
}
