//! The built-in initiator on real time: a UDP socket.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use brickproof_simulator::trace::InitiatorEvent;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::wire::Wire;

/// A wire over UDP.
pub struct UdpWire {
    socket: UdpSocket,
    start: Instant,
    notes: mpsc::UnboundedSender<InitiatorEvent>,
    buffer: Vec<u8>,
}

impl UdpWire {
    /// A socket of its own, connected to the target; what the initiator notes goes to `notes`.
    ///
    /// # Errors
    /// From the operating system.
    pub async fn connect(
        target: SocketAddr,
        start: Instant,
        notes: mpsc::UnboundedSender<InitiatorEvent>,
    ) -> io::Result<Self> {
        let local: SocketAddr = if target.is_ipv4() { ([127, 0, 0, 1], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(local).await?;
        socket.connect(target).await?;
        Ok(Self { socket, start, notes, buffer: vec![0; 65_535] })
    }
}

impl Wire for UdpWire {
    async fn send(&mut self, packet: Vec<u8>) {
        // A packet that cannot be sent is a lost one: it is not answered.
        let _ = self.socket.send(&packet).await;
    }

    async fn receive(&mut self, timeout_us: u64) -> Option<Vec<u8>> {
        let received =
            tokio::time::timeout(Duration::from_micros(timeout_us), self.socket.recv(&mut self.buffer)).await;
        match received {
            Ok(Ok(len)) => Some(self.buffer[..len].to_vec()),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    async fn sleep(&mut self, us: u64) {
        tokio::time::sleep(Duration::from_micros(us)).await;
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn note(&mut self, event: InitiatorEvent) {
        let _ = self.notes.send(event);
    }
}
