//! The socket pairs that programs get from `AcquireWrite` and `AcquireNotify`.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::task::Poll;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::daemon::SocketId;

/// Longest packet that is read in bytes; what is behind it is cut off, as BlueZ does.
const PACKET_MAX: usize = 512;

/// Packets of one socket that are taken at once: more than the kernel keeps, so that usually nothing is left.
const PACKETS_MAX: usize = 1024;

/// What has come from a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Arrived {
    /// A packet.
    Packet(SocketId, Vec<u8>),
    /// The program has closed its end.
    Closed(SocketId),
}

/// Our ends.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    ends: BTreeMap<SocketId, AsyncFd<OwnedFd>>,
}

impl Sockets {
    /// Makes a pair; the program's end.
    pub(super) fn open(&mut self, id: SocketId) -> io::Result<OwnedFd> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        self.ends.insert(id, watch(ours)?);
        Ok(theirs)
    }

    pub(super) fn close(&mut self, id: SocketId) {
        self.ends.remove(&id);
    }

    /// Sends a packet; a program that does not read loses it.
    pub(super) fn send(&self, id: SocketId, packet: &[u8]) {
        if let Some(end) = self.ends.get(&id) {
            let _ = send(end, packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        }
    }

    /// Waits until there may be something to take.
    pub(super) async fn ready(&self) {
        poll_fn(|context| {
            let ready = self.ends.values().any(|end| end.poll_read_ready(context).is_ready());
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Everything that has arrived by now, in the order of each socket. A closed end is told once.
    pub(super) fn take(&mut self) -> Vec<Arrived> {
        let mut arrived = Vec::new();
        for (id, end) in &self.ends {
            let mut buffer = [0; PACKET_MAX];
            for _ in 0..PACKETS_MAX {
                // The readiness that tokio keeps lags behind what is asked here directly.
                match recv(end, &mut buffer, RecvFlags::DONTWAIT) {
                    Ok((len, _)) if len > 0 => arrived.push(Arrived::Packet(*id, buffer[..len].to_vec())),
                    Err(Errno::AGAIN) => {
                        // Nothing is left: the event loop need not come back for it.
                        let _ = end.try_io(Interest::READABLE, |_| Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                        break;
                    }
                    Err(Errno::INTR) => {}
                    Ok(_) | Err(_) => {
                        arrived.push(Arrived::Closed(*id));
                        break;
                    }
                }
            }
        }
        for closed in &arrived {
            if let Arrived::Closed(id) = closed {
                self.ends.remove(id);
            }
        }
        arrived
    }
}

/// The safe way in is deprecated for the sake of types that lie about their descriptor; this one does not.
#[expect(deprecated, reason = "its successor is unsafe")]
fn watch(end: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(end)
}
