//! Initiators on SMP: after each sequence the device must start, and start one of the two images it was given. Every
//! answer must be a whole SMP packet with a CBOR map.

use std::sync::Arc;

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Mode, Options, Slot};
use brickproof_flash_model::flash::{Controller, Flash, Uncut};
use brickproof_flash_model::image::mcuboot::{ImageBuilder, Verifier, inspect};
use brickproof_flash_model::layout::Layout;
use brickproof_simulator::device::{Board, Persistent};
use brickproof_simulator::smp::cbor::Writer;
use brickproof_simulator::smp::{Command, Frame, Op, ServerConfig, SmpMessage, Version};
use brickproof_simulator::trace::Wants;
use brickproof_simulator::world::{Control, World};

use super::{Random, STEPS_MAX};

/// A device as it is before each sequence.
pub(super) struct Start {
    board: Arc<Board>,
    flash: Flash,
    images: [Vec<u8>; 2],
    hashes: [[u8; 32]; 2],
}

/// One start for each mode of the bootloader, and for small buffers.
pub(super) fn starts() -> Vec<Start> {
    let modes =
        [Mode::SwapMove, Mode::SwapScratch, Mode::OverwriteOnly { fast: false }, Mode::OverwriteOnly { fast: true }];
    modes.into_iter().flat_map(|mode| [2475, 96].map(|buffer_size| start(mode, buffer_size))).collect()
}

fn start(mode: Mode, buffer_size: u16) -> Start {
    let image = |version: &str, len: usize| {
        let version = version.parse().expect("a version");
        ImageBuilder::new(version).header_size(32).generated_payload(len).unsigned()
    };
    let images = [image("1.0.0", 3000), image("2.0.0", 5000)];
    let hashes = [0, 1].map(|index: usize| {
        inspect(&images[index].as_slice()).ok().and_then(|info| info.hash).expect("a good image has a hash")
    });
    let layout = Layout::preset("tiny4-a4").expect("a preset");
    let options = Options { mode, max_sectors: 4, ..Options::default() };
    // Without a key a matching hash is enough, and a boot takes microseconds.
    let mcuboot = Mcuboot::new(&layout, options, Verifier::default()).expect("the layout suits the mode");
    let mut flash = layout.blank_flash();
    flash.load(mcuboot.area(Slot::Primary), 0, &images[0]).expect("the image fits");
    let board = Board {
        smp: ServerConfig { buffer_size, ..ServerConfig::default() },
        ..Board::new("hostile", layout, mcuboot)
    };
    Start { board: Arc::new(board), flash, images, hashes }
}

struct Sequence<'a> {
    start: &'a Start,
    world: World,
    random: Random,
    /// Where the upload goes on, as the device says.
    offset: usize,
}

impl Sequence<'_> {
    fn run(&mut self) -> Result<(), String> {
        self.world.control(Control::Power(true));
        self.settle()?;
        for _ in 0..1 + self.random.below(STEPS_MAX) {
            self.step();
            // Not always to the end: the next packet may find the device at work.
            if self.random.one_in(4) {
                let pause = self.random.below(300_000);
                self.world.advance(self.world.now() + pause);
                self.drain()?;
            } else {
                self.settle()?;
            }
        }
        for power in [false, true, false, true] {
            self.world.control(Control::Power(power));
            self.settle()?;
        }
        if let Some(reason) = self.world.dead() {
            return Err(format!("bricked: {reason}"));
        }
        let running = self.world.device().and_then(|device| device.image()).and_then(|image| image.hash);
        match running {
            Some(hash) if self.start.hashes.contains(&hash) => Ok(()),
            Some(_) => Err("an image runs that nobody has made".into()),
            None => Err("nothing runs after the power is back".into()),
        }
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0 => self.world.control(Control::Power(false)),
            1 | 2 => self.world.control(Control::Power(true)),
            3 => self.world.control(Control::Reset),
            4 => {
                let up = !self.random.one_in(3);
                self.world.control(Control::Link(up));
            }
            _ => {
                let mut packet = self.request();
                while self.random.one_in(8) && packet.len() < 4000 {
                    packet.extend(self.request());
                }
                if self.random.one_in(6) {
                    self.spoil(&mut packet);
                }
                let peer = self.random.below(3);
                self.world.receive(peer, &packet);
            }
        }
    }

    fn request(&mut self) -> Vec<u8> {
        match self.random.below(10) {
            0..=4 => self.chunk(),
            5 | 6 => self.state(),
            7 => {
                let command = Command::ALL[self.random.below(Command::ALL.len() as u64) as usize];
                let body = self.body();
                self.frame(command.numbers(), &body)
            }
            8 => {
                let numbers = (self.random.below(70) as u16, self.random.below(10) as u8);
                let body = self.body();
                self.frame(numbers, &body)
            }
            _ => {
                let len = self.random.below(60);
                self.random.bytes(len)
            }
        }
    }

    fn frame(&mut self, (group, command): (u16, u8), body: &[u8]) -> Vec<u8> {
        let version = match self.random.below(12) {
            0 => Version::Undefined(2),
            1..=3 => Version::V0,
            _ => Version::V1,
        };
        let op = match self.random.below(12) {
            0 => Op::Undefined(5),
            1 => Op::WriteResponse,
            2..=4 => Op::Read,
            _ => Op::Write,
        };
        Frame { version, op, reserved: (0, 0), group, sequence: self.random.next() as u8, command }.emit(body)
    }

    fn chunk(&mut self) -> Vec<u8> {
        let image = &self.start.images[usize::from(!self.random.one_in(4))];
        let offset = if self.random.one_in(8) { self.random.below(9000) as usize } else { self.offset };
        let end = (offset + 1 + self.random.below(2000) as usize).min(image.len());
        let mut body = Writer::new();
        body.begin_map().text("off").unsigned(offset as u64);
        if offset == 0 && !self.random.one_in(10) {
            body.text("len").unsigned(if self.random.one_in(10) { self.random.number() } else { image.len() as u64 });
        }
        if self.random.one_in(3) {
            let len = self.random.below(40);
            body.text("sha").bytes(&self.random.bytes(len));
        }
        if self.random.one_in(6) {
            body.text("image").unsigned(self.random.number());
        }
        if self.random.one_in(6) {
            body.text("upgrade").boolean(self.random.one_in(2));
        }
        body.text("data").bytes(image.get(offset..end).unwrap_or_default()).end();
        self.frame(Command::ImageUpload.numbers(), &body.into_bytes())
    }

    fn state(&mut self) -> Vec<u8> {
        let mut body = Writer::new();
        body.begin_map();
        match self.random.below(4) {
            0 => {}
            1 => {
                let len = self.random.below(40);
                body.text("hash").bytes(&self.random.bytes(len));
            }
            which => {
                body.text("hash").bytes(&self.start.hashes[which as usize - 2]);
            }
        }
        body.text("confirm").boolean(self.random.one_in(3)).end();
        self.frame(Command::ImageState.numbers(), &body.into_bytes())
    }

    /// A map of keys that servers know, with values of any kind.
    fn body(&mut self) -> Vec<u8> {
        const KEYS: [&str; 14] = [
            "off",
            "data",
            "len",
            "sha",
            "hash",
            "confirm",
            "slot",
            "image",
            "d",
            "force",
            "name",
            "argv",
            "boot_mode",
            "query",
        ];
        let mut body = Writer::new();
        body.begin_map();
        for _ in 0..self.random.below(6) {
            body.text(KEYS[self.random.below(KEYS.len() as u64) as usize]);
            match self.random.below(6) {
                0 => body.unsigned(self.random.number()),
                1 => body.boolean(true),
                2 => body.text("s"),
                3 => body.begin_list().unsigned(1).text("x").end(),
                4 => body.begin_map().text("y").boolean(false).end(),
                _ => {
                    let len = self.random.below(100);
                    body.bytes(&self.random.bytes(len))
                }
            };
        }
        body.end();
        body.into_bytes()
    }

    fn spoil(&mut self, packet: &mut Vec<u8>) {
        if self.random.one_in(3) {
            let len = self.random.below(packet.len() as u64 + 1) as usize;
            packet.truncate(len);
        }
        for _ in 0..1 + self.random.below(4) {
            let len = packet.len() as u64;
            if let Some(byte) = packet.get_mut(self.random.below(len) as usize) {
                *byte ^= 1 << self.random.below(8);
            }
        }
    }

    /// Until nothing more is due, or a minute of the device has passed.
    fn settle(&mut self) -> Result<(), String> {
        let end = self.world.now() + 60_000_000;
        while let Some(due) = self.world.next_wake().filter(|due| *due <= end) {
            self.world.advance(due);
        }
        self.drain()
    }

    fn drain(&mut self) -> Result<(), String> {
        self.world.take_records();
        while let Some((_, packet)) = self.world.take_sent() {
            let answer = SmpMessage::parse(&packet);
            // A text is echoed as it came, UTF-8 or not, and only then a strict reader objects.
            if let Some(problem) = &answer.malformed
                && answer.known() != Some(Command::Echo)
            {
                return Err(format!("an answer that is none: {problem}"));
            }
            if answer.known() == Some(Command::ImageUpload)
                && let Some(offset) = answer.body.get("off").and_then(|off| off.number())
            {
                self.offset = usize::try_from(offset).unwrap_or(0);
            }
        }
        Ok(())
    }
}

/// One sequence.
pub(super) fn sequence(starts: &[Start], mut random: Random) -> Result<(), String> {
    let start = &starts[random.below(starts.len() as u64) as usize];
    let mut persistent = Persistent::new(start.flash.clone());
    if random.one_in(4) {
        // The second image waits already, marked for test.
        let Some(mcuboot) = start.board.mcuboot() else { panic!("a board of MCUboot") };
        persistent.flash.load(mcuboot.area(Slot::Secondary), 0, &start.images[1]).map_err(|error| error.to_string())?;
        let mut hook = Uncut;
        let mut controller = Controller::new(&mut persistent.flash, &mut hook);
        mcuboot.set_pending(&mut controller, random.one_in(2)).map_err(|error| error.to_string())?;
    }
    let wants = Wants { flash: false, messages: false };
    let world = World::new(Arc::clone(&start.board), persistent, wants);
    Sequence { start, world, random, offset: 0 }.run()
}
