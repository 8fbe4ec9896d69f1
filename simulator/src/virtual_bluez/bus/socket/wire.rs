//! Messages out of a socket, with the file descriptors that travel with them.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;
use zbus::Message;
use zbus::connection::socket::ReadHalf;
use zbus::export::async_trait::async_trait;

use super::super::limits::MESSAGE_MAX;

/// File descriptors in one message (`max_message_unix_fds`).
const DESCRIPTORS_MAX: usize = 16;
/// File descriptors that the kernel passes at a time.
const DESCRIPTORS_AT_ONCE: usize = 253;
/// Bytes of a header up to where its length is known.
const PRIMARY_HEADER: usize = 16;

/// Reads one message after the other.
#[derive(Debug)]
pub(super) struct Reader {
    half: Half,
    count: u64,
}

impl Reader {
    pub(super) fn new(stream: Arc<UnixStream>) -> Self {
        Self { half: Half { stream, frame: Frame::default() }, count: 0 }
    }

    /// The next message, checked from its first byte to its last.
    pub(super) async fn next(&mut self) -> zbus::Result<Message> {
        self.count += 1;
        let message = self.half.receive_message(self.count, &mut Vec::new(), &mut Vec::new()).await?;
        message.body().validate()?;
        Ok(message)
    }
}

/// What zbus reads from: never beyond the end of a message, so that file descriptors stay with theirs.
#[derive(Debug)]
struct Half {
    stream: Arc<UnixStream>,
    frame: Frame,
}

#[async_trait]
impl ReadHalf for Half {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let (count, descriptors) = self.stream.async_io(Interest::READABLE, || receive(&self.stream, buffer)).await?;
        self.frame.advance(&buffer[..count], descriptors.len())?;
        Ok((count, descriptors))
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

fn receive(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_ONCE))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(stream, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    Ok((received.bytes, descriptors))
}

/// Where in a message the stream is, to refuse one that is too long before there is room made for it.
#[derive(Debug, Default)]
struct Frame {
    header: [u8; PRIMARY_HEADER],
    /// Bytes of this message so far.
    position: usize,
    /// Bytes of this message, once that is known.
    length: usize,
    descriptors: usize,
}

impl Frame {
    fn advance(&mut self, bytes: &[u8], descriptors: usize) -> io::Result<()> {
        let refuse = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidData, text));
        let known = PRIMARY_HEADER.saturating_sub(self.position).min(bytes.len());
        let start = self.position.min(PRIMARY_HEADER);
        self.header[start..start + known].copy_from_slice(&bytes[..known]);
        self.position += bytes.len();
        self.descriptors += descriptors;
        if self.descriptors > DESCRIPTORS_MAX {
            return refuse("too many file descriptors in a message");
        }
        if known > 0 && start + known == PRIMARY_HEADER {
            let number = |at: usize| {
                let bytes = [self.header[at], self.header[at + 1], self.header[at + 2], self.header[at + 3]];
                u64::from(match self.header[0] {
                    b'B' => u32::from_be_bytes(bytes),
                    _ => u32::from_le_bytes(bytes),
                })
            };
            let length = PRIMARY_HEADER as u64 + number(12).next_multiple_of(8) + number(4);
            match usize::try_from(length) {
                Ok(length) if length <= MESSAGE_MAX => self.length = length,
                _ => return refuse("a message is too long"),
            }
        }
        if self.position >= PRIMARY_HEADER && self.position >= self.length {
            *self = Self::default();
        }
        Ok(())
    }
}
