//! Messages on their way to one client.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, sendmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use zbus::Message;

/// Messages that wait for a client: a minute of notifications at the pace of a fast link.
const MESSAGES_MAX: usize = 65_536;
/// Bytes that wait for a client; signals share theirs among all clients.
const BYTES_MAX: usize = 32 << 20;
/// File descriptors that the kernel passes at a time.
const DESCRIPTORS_MAX: usize = 253;

/// The queue of one client; empty as long as it reads.
#[derive(Debug)]
pub(super) struct Outbox {
    stream: Arc<UnixStream>,
    /// Whether the client can receive file descriptors.
    descriptors: bool,
    waiting: RefCell<Waiting>,
    /// Something waits.
    more: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Message>,
    bytes: usize,
    /// Bytes of the first message that are sent already.
    sent: usize,
    /// It has not read for too long, or cannot be written to.
    given_up: bool,
}

impl Outbox {
    pub(super) fn new(stream: Arc<UnixStream>, descriptors: bool) -> Rc<Self> {
        Rc::new(Self { stream, descriptors, waiting: RefCell::default(), more: Notify::new() })
    }

    /// Sends what the socket takes and keeps the rest.
    pub(super) fn send(&self, message: &Message) {
        if !self.descriptors && !message.data().fds().is_empty() {
            return;
        }
        let mut waiting = self.waiting.borrow_mut();
        let full = waiting.messages.len() >= MESSAGES_MAX || waiting.bytes + message.data().len() > BYTES_MAX;
        if waiting.given_up || full {
            return self.give_up(&mut waiting);
        }
        let idle = waiting.messages.is_empty();
        waiting.bytes += message.data().len();
        waiting.messages.push_back(message.clone());
        if idle {
            match self.flush(&mut waiting) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.more.notify_one(),
                Err(_) => self.give_up(&mut waiting),
            }
        }
    }

    /// Sends what waits, whenever the socket has room again; ends only with the connection.
    pub(super) async fn run(self: Rc<Self>) {
        loop {
            self.more.notified().await;
            loop {
                if self.stream.writable().await.is_err() {
                    return;
                }
                let mut waiting = self.waiting.borrow_mut();
                match self.flush(&mut waiting) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return self.give_up(&mut waiting),
                }
            }
        }
    }

    /// Sends until nothing waits, or until the socket is full.
    fn flush(&self, waiting: &mut Waiting) -> io::Result<()> {
        while let Some(message) = waiting.messages.front() {
            let data = message.data();
            while waiting.sent < data.len() {
                // They travel with the first byte.
                let descriptors: Vec<_> = match waiting.sent {
                    0 => data.fds().iter().map(AsFd::as_fd).collect(),
                    _ => Vec::new(),
                };
                let bytes = &data[waiting.sent..];
                waiting.sent +=
                    self.stream.try_io(Interest::WRITABLE, || transmit(&self.stream, bytes, &descriptors))?;
            }
            waiting.bytes -= data.len();
            waiting.sent = 0;
            waiting.messages.pop_front();
        }
        Ok(())
    }

    /// Ends the connection from this side; the reader finds out.
    fn give_up(&self, waiting: &mut Waiting) {
        *waiting = Waiting { given_up: true, ..Waiting::default() };
        let _ = rustix::net::shutdown(&*self.stream, Shutdown::Both);
    }
}

fn transmit(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many file descriptors in a message"));
    }
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}
