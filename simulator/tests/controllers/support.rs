//! Hosts, an air, and an account of what they say to each other that a person can read.

use std::fmt::Write;

use brickproof_simulator::controller::{Address, Ether, Random, Settings};

pub(crate) const CENTRAL: usize = 0;
pub(crate) const PERIPHERAL: usize = 1;
/// The first handle that a controller gives.
pub(crate) const HANDLE: u16 = 1;

/// Parameters of connections: interval in 1.25 ms, timeout in 10 ms.
pub(crate) const INTERVAL: u16 = 24;
pub(crate) const TIMEOUT: u16 = 42;

/// Two controllers, the time, and what was said.
pub(crate) struct Bench {
    pub(crate) ether: Ether,
    pub(crate) now: u64,
    lines: String,
    /// Everything that the hosts have got: when, who, what.
    pub(crate) got: Vec<(u64, usize, Vec<u8>)>,
}

impl Bench {
    pub(crate) fn new(settings: Settings) -> Self {
        let mut ether = Ether::new(settings, Random::new(1));
        for number in 0..2 {
            ether.add_controller(Address::public([0, 0xAA, 1, 0, 0, number]));
        }
        Self { ether, now: 0, lines: String::new(), got: Vec::new() }
    }

    /// Extended and legacy events of both are heard by the hosts.
    pub(crate) fn heard(settings: Settings) -> Self {
        let mut bench = Self::new(settings);
        for host in [CENTRAL, PERIPHERAL] {
            bench.command(host, 0x0C01, &[0xFF; 8]);
            bench.command(host, 0x2001, &[0xFF; 8]);
        }
        bench.forget();
        bench
    }

    /// A connection between the two, with everything that follows it by itself behind it.
    pub(crate) fn connected(settings: Settings) -> Self {
        let mut bench = Self::heard(settings);
        bench.advertise();
        bench.connect();
        bench.wait(1_000_000);
        assert_eq!((bench.ether.connections(CENTRAL), bench.ether.connections(PERIPHERAL)), (1, 1));
        bench.forget();
        bench
    }

    /// The peripheral advertises, connectable, every 20 ms and a little.
    pub(crate) fn advertise(&mut self) {
        let mut parameters = vec![0x20, 0, 0x20, 0, 0, 0, 0];
        parameters.extend([0; 6]);
        parameters.extend([7, 0]);
        self.command(PERIPHERAL, 0x2006, &parameters);
        self.command(PERIPHERAL, 0x2008, &data(&[2, 1, 6]));
        self.command(PERIPHERAL, 0x2009, &data(b"\x06\x09proof"));
        self.command(PERIPHERAL, 0x200A, &[1]);
    }

    /// The central connects to the peripheral.
    pub(crate) fn connect(&mut self) {
        let mut parameters = vec![0x10, 0, 0x10, 0, 0, 0];
        parameters.extend([1, 0, 0, 1, 0xAA, 0]);
        parameters.push(0);
        for value in [INTERVAL, INTERVAL, 0, TIMEOUT, 0, 0] {
            parameters.extend(value.to_le_bytes());
        }
        self.command(CENTRAL, 0x200D, &parameters);
    }

    pub(crate) fn command(&mut self, host: usize, opcode: u16, parameters: &[u8]) {
        let mut packet = vec![1];
        packet.extend(opcode.to_le_bytes());
        packet.push(parameters.len() as u8);
        packet.extend(parameters);
        self.say(host, "<", &format!("{} {}", command(opcode), hex::encode(parameters)));
        self.ether.host_packet(host, self.now, &packet);
        self.collect();
    }

    /// A command whose parameters begin with the connection's handle.
    pub(crate) fn on_link(&mut self, host: usize, opcode: u16, parameters: &[u8]) {
        self.command(host, opcode, &[&HANDLE.to_le_bytes(), parameters].concat());
    }

    pub(crate) fn data(&mut self, host: usize, bytes: &[u8]) {
        let mut packet = vec![2];
        packet.extend(HANDLE.to_le_bytes());
        packet.extend((bytes.len() as u16).to_le_bytes());
        packet.extend(bytes);
        self.say(host, "<", &format!("data, {} bytes", bytes.len()));
        self.ether.host_packet(host, self.now, &packet);
        self.collect();
    }

    /// Lets time pass, from one thing that happens to the next.
    pub(crate) fn wait(&mut self, us: u64) {
        let end = self.now + us;
        while let Some(at) = self.ether.next_wake().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.ether.advance(self.now);
            self.collect();
        }
        self.now = end;
        self.ether.advance(end);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some((host, packet)) = self.ether.take() {
            self.say(host, ">", &packet_text(&packet));
            self.got.push((self.now, host, packet));
        }
    }

    fn say(&mut self, host: usize, arrow: &str, text: &str) {
        let who = ["central   ", "peripheral"][host];
        let (ms, us) = (self.now / 1000, self.now % 1000);
        let _ = writeln!(self.lines, "{ms:>5}.{us:03} {who} {arrow} {}", text.trim_end());
    }

    /// What was said since the last time.
    pub(crate) fn said(&mut self) -> String {
        std::mem::take(&mut self.lines)
    }

    pub(crate) fn forget(&mut self) {
        self.lines.clear();
        self.got.clear();
    }

    /// When and why a host was told that its connection is over.
    pub(crate) fn ended(&self, host: usize) -> Option<(u64, u8)> {
        let ends = self.got.iter().filter(|(_, who, packet)| *who == host && packet[..2] == [4, 5]);
        ends.map(|(at, _, packet)| (*at, packet[6])).next()
    }

    /// The bytes that have arrived at a host, and the credits that it has got back.
    pub(crate) fn received(&self, host: usize) -> (Vec<u8>, usize) {
        let mine = || self.got.iter().filter(|(_, who, _)| *who == host).map(|(.., packet)| packet);
        let bytes = mine().filter(|packet| packet[0] == 2).flat_map(|packet| packet[5..].to_vec()).collect();
        let credits = mine().filter(|packet| packet[..2] == [4, 0x13]).map(|packet| usize::from(packet[6])).sum();
        (bytes, credits)
    }
}

/// Advertising data as the legacy commands want it: length, and 31 bytes.
pub(crate) fn data(bytes: &[u8]) -> Vec<u8> {
    let mut data = vec![bytes.len() as u8];
    data.extend(bytes);
    data.resize(32, 0);
    data
}

fn packet_text(packet: &[u8]) -> String {
    let rest = |from: usize| hex::encode(&packet[from..]);
    match packet {
        [2, low, high, ..] => {
            let start = if high >> 4 & 3 == 1 { "continued" } else { "start" };
            format!("data of {}, {start}, {} bytes", u16::from(*low) | u16::from(high & 15) << 8, packet.len() - 5)
        }
        [4, 0x0E, _, _, low, high, status, ..] => {
            format!("Command Complete: {}, status {status:02x} {}", command(u16::from_le_bytes([*low, *high])), rest(7))
        }
        [4, 0x0F, _, status, _, low, high] => {
            format!("Command Status: {}, status {status:02x}", command(u16::from_le_bytes([*low, *high])))
        }
        [4, 0x3E, _, subevent, ..] => format!("{} {}", subevent_name(*subevent), rest(4)),
        [4, code, ..] => format!("{} {}", event_name(*code), rest(3)),
        _ => rest(0),
    }
}

fn event_name(code: u8) -> String {
    let name = match code {
        0x05 => "Disconnection Complete",
        0x08 => "Encryption Change",
        0x0C => "Read Remote Version Information Complete",
        0x13 => "Number Of Completed Packets",
        0x1A => "Data Buffer Overflow",
        0x30 => "Encryption Key Refresh Complete",
        other => return format!("event {other:02x}"),
    };
    name.to_owned()
}

fn subevent_name(subevent: u8) -> String {
    let name = match subevent {
        0x01 => "LE Connection Complete",
        0x02 => "LE Advertising Report",
        0x03 => "LE Connection Update Complete",
        0x04 => "LE Read Remote Features Complete",
        0x05 => "LE Long Term Key Request",
        0x06 => "LE Remote Connection Parameter Request",
        0x07 => "LE Data Length Change",
        0x0A => "LE Enhanced Connection Complete",
        0x0C => "LE PHY Update Complete",
        0x0D => "LE Extended Advertising Report",
        0x11 => "LE Scan Timeout",
        0x12 => "LE Advertising Set Terminated",
        0x13 => "LE Scan Request Received",
        other => return format!("LE event {other:02x}"),
    };
    name.to_owned()
}

fn command(opcode: u16) -> String {
    let name = match opcode {
        0x0406 => "Disconnect",
        0x041D => "Read Remote Version Information",
        0x0C01 => "Set Event Mask",
        0x0C03 => "Reset",
        0x2001 => "LE Set Event Mask",
        0x2005 => "LE Set Random Address",
        0x2006 => "LE Set Advertising Parameters",
        0x2008 => "LE Set Advertising Data",
        0x2009 => "LE Set Scan Response Data",
        0x200A => "LE Set Advertising Enable",
        0x200B => "LE Set Scan Parameters",
        0x200C => "LE Set Scan Enable",
        0x200D => "LE Create Connection",
        0x200E => "LE Create Connection Cancel",
        0x2011 => "LE Add Device To Accept List",
        0x2013 => "LE Connection Update",
        0x2016 => "LE Read Remote Features",
        0x2019 => "LE Enable Encryption",
        0x201A => "LE Long Term Key Request Reply",
        0x201B => "LE Long Term Key Request Negative Reply",
        0x2020 => "LE Remote Connection Parameter Request Reply",
        0x2021 => "LE Remote Connection Parameter Request Negative Reply",
        0x2022 => "LE Set Data Length",
        0x2024 => "LE Write Suggested Default Data Length",
        0x2032 => "LE Set PHY",
        0x2035 => "LE Set Advertising Set Random Address",
        0x2036 => "LE Set Extended Advertising Parameters",
        0x2037 => "LE Set Extended Advertising Data",
        0x2038 => "LE Set Extended Scan Response Data",
        0x2039 => "LE Set Extended Advertising Enable",
        0x203C => "LE Remove Advertising Set",
        0x2041 => "LE Set Extended Scan Parameters",
        0x2042 => "LE Set Extended Scan Enable",
        0x2043 => "LE Extended Create Connection",
        other => return format!("command {other:04x}"),
    };
    name.to_owned()
}
