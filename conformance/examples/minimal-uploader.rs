//! An uploader of eighty lines, as a stranger would write one: no dependency, no crate of brickproof.
//!
//! `brickproof run --air udp -- target/debug/examples/minimal-uploader {address} {image}`
//!
//! It uploads, tests, resets, waits, confirms. It retransmits, follows the offsets and looks which image
//! runs before it confirms; with `--careless` it does none of the latter.

use std::net::UdpSocket;
use std::process::ExitCode;
use std::time::{Duration, Instant};

struct Client {
    socket: UdpSocket,
    sequence: u8,
}

impl Client {
    /// Sends a request up to `tries` times; the answer behind its header.
    fn ask(&mut self, op: u8, group: u8, command: u8, body: &[u8], tries: u32) -> Result<Vec<u8>, String> {
        self.sequence = self.sequence.wrapping_add(1);
        let len = (body.len() as u16).to_be_bytes();
        let mut packet = vec![0x08 | op, 0, len[0], len[1], 0, group, self.sequence, command];
        packet.extend_from_slice(body);
        let mut buffer = [0; 4096];
        for _ in 0..tries {
            self.socket.send(&packet).map_err(|error| error.to_string())?;
            while let Ok(len) = self.socket.recv(&mut buffer) {
                if len >= 8 && buffer[6] == self.sequence {
                    let answer = buffer[8..len].to_vec();
                    let failed = [&b"\x62rc"[..], b"\x63err"].iter().any(|key| find(&answer, key).is_some());
                    return if failed { Err(format!("request {group}/{command} was refused")) } else { Ok(answer) };
                }
            }
        }
        Err(format!("request {group}/{command} was not answered"))
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

fn number(major: u8, value: usize) -> Vec<u8> {
    let mut head = vec![major << 5 | 26];
    head.extend_from_slice(&(value as u32).to_be_bytes());
    head
}

fn read_number(bytes: &[u8]) -> usize {
    let width = match bytes.first() {
        Some(first @ 0..=23) => return usize::from(*first),
        Some(24) => 1,
        Some(25) => 2,
        _ => 4,
    };
    bytes.iter().skip(1).take(width).fold(0, |value, byte| value << 8 | usize::from(*byte))
}

fn main() -> ExitCode {
    match update() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("minimal-uploader: {message}");
            ExitCode::FAILURE
        }
    }
}

fn update() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, flags @ ..] = arguments.as_slice() else {
        return Err("usage: ADDRESS IMAGE [--careless]".into());
    };
    let careless = flags.iter().any(|flag| flag == "--careless");
    let image = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let hash_at = (0..image.len() - 36).rev().find(|at| image[*at..].starts_with(&[0x10, 0, 0x20, 0]));
    let hash = &image[hash_at.ok_or("the image has no hash")? + 4..][..32];

    let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    socket.connect((address.as_str(), 1337)).map_err(|error| error.to_string())?;
    socket.set_read_timeout(Some(Duration::from_secs(2))).map_err(|error| error.to_string())?;
    let mut client = Client { socket, sequence: 0 };

    let mut offset = 0;
    while offset < image.len() {
        let chunk = &image[offset..(offset + 1024).min(image.len())];
        let mut body = vec![0xbf];
        body.extend([&b"\x63off"[..], &number(0, offset)].concat());
        if offset == 0 {
            body.extend([&b"\x63len"[..], &number(0, image.len())].concat());
        }
        body.extend([&b"\x64data"[..], &number(2, chunk.len()), chunk, &[0xff]].concat());
        let answer = client.ask(2, 1, 1, &body, 8)?;
        let returned = find(&answer, b"\x63off").map(|at| read_number(&answer[at + 4..]));
        offset = if careless { offset + chunk.len() } else { returned.ok_or("no offset in the answer")? };
    }
    client.ask(2, 1, 0, &[&b"\xa2\x64hash\x58\x20"[..], hash, b"\x67confirm\xf4"].concat(), 1)?;
    // The device may be gone before its answer gets through.
    let _ = client.ask(2, 0, 5, &[0xa0], 1);
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(500));
    let list = loop {
        if let Ok(list) = client.ask(0, 1, 0, &[0xa0], 1) {
            break list;
        }
        if start.elapsed() > Duration::from_secs(120) {
            return Err("the device does not come back".into());
        }
    };
    // The running image is the first in the list.
    let running = find(&list, b"\x64hash").map(|at| &list[at + 7..]);
    if !careless && running.is_none_or(|running| !running.starts_with(hash)) {
        return Err("the old image runs: the update was refused or reverted".into());
    }
    client.ask(2, 1, 0, b"\xa1\x67confirm\xf5", 1).map(|_| ())
}
