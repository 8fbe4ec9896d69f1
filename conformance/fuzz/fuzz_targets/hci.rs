//! HCI packets from two hosts, pauses between them, to controllers that are connected with each other: every command
//! is answered at once and once, and no host is told more than the bounds of its transport.
#![no_main]

use brickproof_simulator::controller::{Address, Ether, Random, Settings};
use libfuzzer_sys::fuzz_target;

const COMMAND: u8 = 1;
const DATA: u8 = 2;
const EVENT: u8 = 4;
/// Kinds of a step.
const KINDS: u8 = 4;

struct Hosts {
    ether: Ether,
    now: u64,
}

impl Hosts {
    /// Packets for the hosts; how many of them answer this opcode.
    fn take(&mut self, asked: Option<(usize, [u8; 2])>) -> usize {
        let mut answers = 0;
        while let Some((host, packet)) = self.ether.take() {
            match packet[0] {
                EVENT => {
                    assert_eq!(packet.len(), 3 + usize::from(packet[2]), "an event of another length than it says")
                }
                DATA => assert_eq!(packet.len(), 5 + usize::from(u16::from_le_bytes([packet[3], packet[4]]))),
                other => panic!("a packet of type {other} for a host"),
            }
            let named = match packet[..2] {
                [EVENT, 0x0E] => &packet[4..6],
                [EVENT, 0x0F] => &packet[5..7],
                _ => continue,
            };
            answers += usize::from(asked.is_some_and(|(who, opcode)| who == host && opcode == named));
        }
        answers
    }

    fn wait(&mut self, us: u64) {
        self.now += us;
        self.ether.advance(self.now);
        self.take(None);
    }

    fn command(&mut self, host: usize, opcode: u16, parameters: &[u8]) {
        let opcode = opcode.to_le_bytes();
        let packet = [&[COMMAND], &opcode[..], &[parameters.len() as u8], parameters].concat();
        // What is due now is said first.
        self.wait(0);
        self.ether.host_packet(host, self.now, &packet);
        assert_eq!(self.take(Some((host, opcode))), 1, "answers to {opcode:02x?} with {parameters:02x?}");
    }

    /// One advertises, the other connects, with the commands of version 4.
    fn connect(&mut self) {
        for host in [0, 1] {
            self.command(host, 0x0C01, &[0xFF; 8]);
            self.command(host, 0x2001, &[0xFF; 8]);
        }
        self.command(1, 0x2006, &[0x20, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0]);
        self.command(1, 0x200A, &[1]);
        let peer = [1, 0, 0, 1, 0xAA, 0];
        let parameters =
            [&[0x10, 0, 0x10, 0, 0, 0][..], &peer, &[0], &[24, 0, 24, 0, 0, 0, 42, 0, 0, 0, 0, 0]].concat();
        self.command(0, 0x200D, &parameters);
        self.wait(500_000);
        assert_eq!((self.ether.connections(0), self.ether.connections(1)), (1, 1));
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((flags, mut rest)) = input.split_first() else { return };
    let settings = Settings { extended: flags & 1 != 0, ..Settings::default() };
    let mut ether = Ether::new(settings, Random::new(u64::from(*flags)));
    for number in 0..2 {
        ether.add_controller(Address::public([0, 0xAA, 1, 0, 0, number]));
    }
    let mut hosts = Hosts { ether, now: 0 };
    if flags & 2 != 0 {
        hosts.connect();
    }
    if flags & 4 != 0 {
        hosts.ether.set_loss(0.3);
    }
    // A step: which host and what, a length, as many bytes.
    while let [what, len, next @ ..] = rest {
        let (bytes, next) = next.split_at(usize::from(*len).min(next.len()));
        rest = next;
        let host = usize::from(what & 1);
        match (what >> 1) % KINDS {
            0 => {
                let [low, high, parameters @ ..] = bytes else { continue };
                hosts.command(host, u16::from_le_bytes([*low, *high]), parameters);
            }
            1 => {
                hosts.ether.host_packet(host, hosts.now, bytes);
                hosts.take(None);
            }
            2 => {
                let length = (bytes.len() as u16).to_le_bytes();
                let packet = [&[DATA, 1, 0][..], &length, bytes].concat();
                hosts.ether.host_packet(host, hosts.now, &packet);
                hosts.take(None);
            }
            // A second at most: a supervision timeout is reached by some of them.
            _ => hosts.wait(u64::from(*len) * 4000),
        }
    }
});
