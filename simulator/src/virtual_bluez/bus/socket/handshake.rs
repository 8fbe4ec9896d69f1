//! The lines that a client and a bus exchange before the first message.

use std::io;

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

use super::super::Credentials;

/// Bytes of one line; the longest that clients send has some 50.
const LINE_MAX: usize = 1024;
/// Lines until the client is authenticated; it needs 3 to 5.
const LINES_MAX: usize = 32;

/// A connection on which messages can begin.
#[derive(Debug)]
pub(super) struct Authenticated {
    pub(super) stream: UnixStream,
    pub(super) credentials: Credentials,
    /// Whether the client can receive file descriptors.
    pub(super) descriptors: bool,
}

/// Authenticates a client, and reads not one byte of what follows.
pub(super) async fn authenticate(mut stream: UnixStream, guid: &str) -> io::Result<Authenticated> {
    let peer = stream.peer_cred()?;
    let credentials = Credentials { uid: peer.uid(), pid: peer.pid().and_then(|pid| u32::try_from(pid).ok()) };
    if credentials.uid != rustix::process::geteuid().as_raw() && credentials.uid != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    if stream.read_u8().await? != 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut handshake = Handshake::new(credentials.uid, guid);
    for _ in 0..LINES_MAX {
        let line = read_line(&mut stream).await?;
        match handshake.line(&line) {
            Step::Answer(answer) => stream.write_all(format!("{answer}\r\n").as_bytes()).await?,
            Step::Begin => {
                return Ok(Authenticated { stream, credentials, descriptors: handshake.descriptors });
            }
            Step::Fail => break,
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// A line without its end.
async fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        if line.len() > LINE_MAX {
            return Err(invalid());
        }
        // What comes behind the line may be a message with file descriptors, which must be read in another way.
        let mut buffer = [0; LINE_MAX];
        let peek = || Ok(recv(&*stream, &mut buffer, RecvFlags::PEEK)?.1);
        let there = stream.async_io(Interest::READABLE, peek).await?;
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let there = &mut buffer[..there];
        let wanted = there.iter().position(|byte| *byte == b'\n').map_or(there.len(), |end| end + 1);
        stream.read_exact(&mut there[..wanted]).await?;
        line.extend_from_slice(&there[..wanted]);
    }
    let text = line.strip_suffix(b"\r\n").ok_or_else(invalid)?;
    String::from_utf8(text.to_vec()).map_err(|_| invalid())
}

/// What comes of a line.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Answer(String),
    Begin,
    /// The connection is of no use.
    Fail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Auth,
    Data,
    Begin,
}

/// The side of the bus; only `EXTERNAL` is offered, which means what the kernel says of the other side.
#[derive(Debug)]
struct Handshake<'g> {
    uid: u32,
    guid: &'g str,
    state: State,
    descriptors: bool,
}

impl<'g> Handshake<'g> {
    fn new(uid: u32, guid: &'g str) -> Self {
        Self { uid, guid, state: State::Auth, descriptors: false }
    }

    fn line(&mut self, line: &str) -> Step {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match (self.state, command) {
            (State::Auth, "AUTH") => match rest.split_once(' ').unwrap_or((rest, "")) {
                ("EXTERNAL", "") => {
                    self.state = State::Data;
                    Step::Answer("DATA".to_owned())
                }
                ("EXTERNAL", identity) => self.check(identity),
                _ => self.reject(),
            },
            (State::Data, "DATA") => self.check(rest),
            (_, "CANCEL" | "ERROR") => self.reject(),
            (State::Begin, "BEGIN") => Step::Begin,
            (_, "BEGIN") => Step::Fail,
            (State::Begin, "NEGOTIATE_UNIX_FD") => {
                self.descriptors = true;
                Step::Answer("AGREE_UNIX_FD".to_owned())
            }
            (State::Auth | State::Data | State::Begin, _) => Step::Answer("ERROR \"Unknown command\"".to_owned()),
        }
    }

    /// The identity is the user's number in decimal digits, and these in hexadecimal ones; nothing is whoever it is.
    fn check(&mut self, identity: &str) -> Step {
        let digits: String = self.uid.to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        if !identity.is_empty() && !identity.eq_ignore_ascii_case(&digits) {
            return self.reject();
        }
        self.state = State::Begin;
        Step::Answer(format!("OK {}", self.guid))
    }

    fn reject(&mut self) -> Step {
        self.state = State::Auth;
        Step::Answer("REJECTED EXTERNAL".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(lines: &[&str]) -> Vec<Step> {
        let mut handshake = Handshake::new(1000, "1234");
        lines.iter().map(|line| handshake.line(line)).collect()
    }

    fn said(text: &str) -> Step {
        Step::Answer(text.to_owned())
    }

    #[test]
    fn clients_say_who_they_are_at_once_or_when_asked() {
        let libdbus = answers(&["AUTH EXTERNAL 31303030", "NEGOTIATE_UNIX_FD", "BEGIN"]);
        assert_eq!(libdbus, [said("OK 1234"), said("AGREE_UNIX_FD"), Step::Begin]);
        let sd_bus = answers(&["AUTH EXTERNAL", "DATA", "NEGOTIATE_UNIX_FD", "BEGIN"]);
        assert_eq!(sd_bus, [said("DATA"), said("OK 1234"), said("AGREE_UNIX_FD"), Step::Begin]);
        assert_eq!(answers(&["AUTH EXTERNAL", "DATA 31303030"])[1], said("OK 1234"));
    }

    #[test]
    fn others_are_rejected_and_may_try_again() {
        let rejected = said("REJECTED EXTERNAL");
        let lines = ["AUTH", "AUTH DBUS_COOKIE_SHA1 30", "AUTH EXTERNAL 30", "AUTH EXTERNAL", "CANCEL"];
        let steps = answers(&lines);
        assert_eq!([&steps[0], &steps[1], &steps[2], &steps[4]], [&rejected; 4]);
        assert_eq!(answers(&["AUTH EXTERNAL 30", "AUTH EXTERNAL 31303030"])[1], said("OK 1234"));
    }

    #[test]
    fn nothing_begins_without_authentication() {
        assert_eq!(answers(&["BEGIN"]), [Step::Fail]);
        assert_eq!(answers(&["AUTH EXTERNAL", "BEGIN"])[1], Step::Fail);
        for step in answers(&["NEGOTIATE_UNIX_FD", "", "FOO"]) {
            assert_eq!(step, said("ERROR \"Unknown command\""));
        }
    }
}
