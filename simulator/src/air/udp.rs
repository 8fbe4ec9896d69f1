//! SMP over UDP: one datagram is one packet, both ways.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;

use crate::world::Peer;

/// Initiators that are remembered; then the oldest is forgotten.
const PEERS_MAX: usize = 256;
/// Longest datagram in bytes.
const DATAGRAM_MAX: usize = 65_535;

/// A UDP socket of the target.
///
/// It stays bound while the target is dark, so that what is sent then is lost silently and not refused.
#[derive(Debug)]
pub struct UdpAir {
    socket: UdpSocket,
    /// The same socket, to be asked without the event loop.
    direct: std::net::UdpSocket,
    peers: VecDeque<(Peer, SocketAddr)>,
    next_peer: Peer,
    buffer: Vec<u8>,
}

impl UdpAir {
    /// Binds a socket.
    ///
    /// # Errors
    /// From the operating system: address in use, not local, not permitted.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let direct = std::net::UdpSocket::bind(address)?;
        direct.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(direct.try_clone()?)?;
        Ok(Self { socket, direct, peers: VecDeque::new(), next_peer: 1, buffer: vec![0; DATAGRAM_MAX] })
    }

    /// Where the target is reached.
    ///
    /// # Errors
    /// From the operating system.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next datagram and who sent it. Dropping the future loses nothing.
    ///
    /// # Errors
    /// From the operating system.
    pub async fn receive(&mut self) -> io::Result<(Peer, &[u8])> {
        let (len, from) = self.socket.recv_from(&mut self.buffer).await?;
        let peer = self.peer(from);
        Ok((peer, &self.buffer[..len]))
    }

    /// A datagram that is already there, and who sent it.
    pub fn poll(&mut self) -> Option<(Peer, &[u8])> {
        let (len, from) = self.direct.recv_from(&mut self.buffer).ok()?;
        let peer = self.peer(from);
        Some((peer, &self.buffer[..len]))
    }

    fn peer(&mut self, from: SocketAddr) -> Peer {
        let known = self.peers.iter().find(|(_, address)| *address == from).map(|(peer, _)| *peer);
        known.unwrap_or_else(|| {
            if self.peers.len() == PEERS_MAX {
                self.peers.pop_front();
            }
            let peer = self.next_peer;
            self.next_peer += 1;
            self.peers.push_back((peer, from));
            peer
        })
    }

    /// Sends a datagram; one to a forgotten or vanished initiator is lost, as on a network.
    pub async fn send(&self, peer: Peer, packet: &[u8]) {
        let Some((_, address)) = self.peers.iter().find(|(known, _)| *known == peer) else { return };
        // Usually there is room in the socket; if not, the event loop waits for it.
        if self.direct.send_to(packet, address).is_err() {
            let _ = self.socket.send_to(packet, address).await;
        }
    }
}
