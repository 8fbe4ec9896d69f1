//! Scripts for the recorder of the real bootloader (`golden/gecko`), played on the model.

pub(crate) mod scripts;

use std::iter::Peekable;

use brickproof_flash_model::boot::gecko::{AppLoader, Cause, Entry, Gecko, Options, Outcome, ResetInfo, Stop, reason};
use brickproof_flash_model::flash::{Controller, Flash, Hook, Interruption, Operation, OperationKind, Tear, Verdict};
use brickproof_flash_model::image::nordic::crc32;
use brickproof_flash_model::layout::Layout;

/// Boots that follow each other without a power loss, at most.
const RESETS_MAX: usize = 20;

/// Writes down what happens to flash, and loses power.
#[derive(Default)]
struct Scribe {
    said: Vec<String>,
    base: u32,
    /// Below is the bootloader, which begins there.
    from: u32,
    main_stage: u32,
    operations: u64,
    cut: Option<(u64, u32)>,
    copies: bool,
}

impl Hook for Scribe {
    fn before(&mut self, operation: &Operation<'_>, _: &Flash) -> Verdict {
        let address = self.base + operation.offset;
        // The bootloader is erased from its start on; versions that were started are at its end.
        if address < self.from && (self.copies || address == self.main_stage) {
            if !std::mem::replace(&mut self.copies, true) {
                self.said.push("bootloader".into());
            }
            return Verdict::Proceed;
        }
        self.said.push(match operation.kind {
            OperationKind::Erase { .. } => format!("e {address:08x}"),
            OperationKind::Program { data } => format!("w {address:08x} {} {:08x}", data.len(), crc32(data, 0)),
        });
        let at = self.operations;
        self.operations += 1;
        match self.cut {
            Some((cut, tear)) if cut == at => match (tear, operation.kind) {
                (0, _) => Verdict::Interrupt(Interruption::PowerLoss),
                (_, OperationKind::Erase { len }) => Verdict::Tear(Tear::Prefix(len / 2), Interruption::PowerLoss),
                (_, OperationKind::Program { data }) => {
                    Verdict::Tear(Tear::Prefix(data.len() as u32 / 8 * 4), Interruption::PowerLoss)
                }
            },
            _ => Verdict::Proceed,
        }
    }
}

/// How a start ends.
enum End {
    Application,
    Reset,
    Power,
    Halt,
    Waits,
}

/// A device that a script is played on.
pub(crate) struct Player {
    gecko: Gecko,
    flash: Flash,
    entry: Entry,
    scribe: Scribe,
    file: Vec<u8>,
    sent: usize,
}

impl Player {
    /// A device with an erased flash but for its bootloader.
    pub(crate) fn new(layout: &str, options: Options, bootloader: &[u8]) -> Self {
        let layout = Layout::preset(layout).unwrap();
        let gecko = Gecko::new(&layout, options).unwrap();
        let mut flash = layout.blank_flash();
        flash.load(layout.area("bootloader").unwrap(), 0, bootloader).unwrap();
        let base = gecko.map().flash_base();
        let (from, main_stage) = (gecko.map().application_start(), gecko.map().main_stage());
        let scribe = Scribe { base, from, main_stage, ..Scribe::default() };
        Self { gecko, flash, entry: Entry::default(), scribe, file: Vec::new(), sent: 0 }
    }

    /// Plays a script: what the recorder would have said.
    pub(crate) fn play(mut self, script: &str) -> Vec<String> {
        let mut lines = script.lines().peekable();
        let mut runs = false;
        let mut resets = 0;
        self.scribe.said.push("recorded".into());
        while resets < RESETS_MAX {
            if !runs {
                let Some(line) = lines.next() else { break };
                match line.split_whitespace().collect::<Vec<_>>()[..] {
                    ["flash", address, bytes] => {
                        let address = u32::from_str_radix(address, 16).unwrap();
                        let bytes = hex(bytes);
                        // The keys of Series 1 are in no flash of the model.
                        if let Some((area, offset)) = self.gecko.map().place(address, bytes.len() as u32) {
                            self.flash.load(area, offset, &bytes).unwrap();
                        }
                    }
                    ["file", bytes] => (self.file, self.sent) = (hex(bytes), 0),
                    ["cut", at, tear] => {
                        self.scribe.cut = Some((at.parse().unwrap(), tear.parse().unwrap()));
                        self.scribe.operations = 0;
                    }
                    ["run"] => {
                        runs = true;
                        self.entry = Entry::default();
                    }
                    ["run", reason, signature] => {
                        let [reason, signature] = [reason, signature].map(|n| u16::from_str_radix(n, 16).unwrap());
                        runs = true;
                        self.entry =
                            Entry { cause: Cause::Software, info: ResetInfo { reason, signature }, ..Entry::default() };
                    }
                    // The rest is for an AppLoader that does not wait any more.
                    _ => {}
                }
                continue;
            }
            resets += 1;
            let end = self.start(&mut lines);
            let word = match end {
                End::Application => "app".into(),
                End::Reset => {
                    let ResetInfo { reason, signature } = self.entry.info;
                    format!("reset {reason:04x} {signature:04x}")
                }
                End::Power => "power".into(),
                End::Halt => "halt".into(),
                End::Waits => "waits".into(),
            };
            self.scribe.said.push(word);
            if matches!(end, End::Application | End::Halt) {
                self.left();
            }
            if matches!(end, End::Power) {
                self.scribe.cut = None;
            }
            runs = matches!(end, End::Reset);
            // There is no first stage where it is recorded.
            if runs && self.entry.info.reason == reason::UPGRADE {
                self.scribe.said.push("bootloader".into());
                self.left();
                self.scribe.said.push("power".into());
                self.scribe.cut = None;
                runs = false;
            }
        }
        self.scribe.said
    }

    fn left(&mut self) {
        let (start, end) = (self.gecko.map().application_start(), self.gecko.map().flash_end());
        let mut crc = 0;
        self.gecko.map().visit(&self.flash, start, end - start, |piece| crc = crc32(piece, crc)).unwrap();
        self.scribe.said.push(format!("flash {crc:08x}"));
    }

    fn start<'s>(&mut self, lines: &mut Peekable<impl Iterator<Item = &'s str>>) -> End {
        self.scribe.copies = false;
        let boot = self.gecko.boot(&mut Controller::new(&mut self.flash, &mut self.scribe), &mut self.entry);
        if self.scribe.copies {
            self.left();
            return End::Power;
        }
        match boot.map(|boot| boot.outcome) {
            Err(_) => End::Power,
            Ok(Outcome::Application) => End::Application,
            Ok(Outcome::Reset { reason }) => self.reset(reason),
            Ok(Outcome::Fault { .. }) => {
                self.scribe.said.push("fault".into());
                End::Reset
            }
            Ok(Outcome::Halted { .. }) => End::Halt,
            Ok(Outcome::Brick { reason }) => panic!("{reason}"),
            Ok(Outcome::AppLoader) => self.apploader(lines),
        }
    }

    /// Only the secure engine brings the device back to the bootloader by itself.
    fn reset(&mut self, reason: u16) -> End {
        if reason != reason::BOOTLOAD {
            return End::Reset;
        }
        self.scribe.said.push("secure-engine".into());
        self.left();
        End::Power
    }

    fn apploader<'s>(&mut self, lines: &mut Peekable<impl Iterator<Item = &'s str>>) -> End {
        self.scribe.said.push("apploader".into());
        let mut loader = AppLoader::default();
        if lines.next() != Some("connect") {
            self.left();
            return End::Waits;
        }
        loop {
            let Some(line) = lines.next() else {
                self.left();
                return End::Waits;
            };
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["start"] => {
                    loader.start();
                    self.sent = 0;
                    self.scribe.said.push("s 0000".into());
                }
                ["send", chunk] => {
                    if let Err(end) = self.send(&mut loader, chunk.parse().unwrap(), usize::MAX) {
                        return end;
                    }
                }
                ["send", chunk, times] => {
                    if let Err(end) = self.send(&mut loader, chunk.parse().unwrap(), times.parse().unwrap()) {
                        return end;
                    }
                }
                ["finish"] => {
                    let code = loader.finish().err().map_or(0, |code| code.number());
                    self.scribe.said.push(format!("f {code:04x}"));
                }
                ["disconnect"] => {
                    let mut flash = Controller::new(&mut self.flash, &mut self.scribe);
                    let ended = loader.disconnect(&self.gecko, &mut flash, &mut self.entry);
                    if self.scribe.copies {
                        self.left();
                        return End::Power;
                    }
                    return match ended {
                        Ok(Outcome::Reset { reason }) => self.reset(reason),
                        _ => End::Power,
                    };
                }
                ["versions"] => {
                    let bootloader = self.gecko.bootloader_version(&self.flash).unwrap();
                    let application = self.gecko.application_version(&self.flash).unwrap().unwrap_or(0);
                    self.scribe.said.push(format!("v {bootloader:08x} {application:08x}"));
                }
                ["power"] => return End::Power,
                _ => panic!("what is `{line}`?"),
            }
        }
    }

    fn send(&mut self, loader: &mut AppLoader, chunk: usize, times: usize) -> Result<(), End> {
        for _ in 0..times {
            let Some(piece) = self.file.get(self.sent..).filter(|rest| !rest.is_empty()) else { break };
            let piece = piece[..chunk.min(piece.len())].to_vec();
            let mut flash = Controller::new(&mut self.flash, &mut self.scribe);
            let answer = loader.data(&self.gecko, &mut flash, &piece);
            self.sent += piece.len();
            match answer {
                Ok(Ok(())) => {}
                Ok(Err(code)) => {
                    self.scribe.said.push(format!("d {} {:04x}", self.sent, code.number()));
                    break;
                }
                Err(Stop::Interrupted(_)) => return Err(End::Power),
                Err(Stop::Fault(_)) => {
                    self.scribe.said.push("fault".into());
                    self.entry.reset(reason::FATAL);
                    return Err(End::Reset);
                }
                Err(Stop::Hang(_)) => return Err(End::Halt),
            }
        }
        Ok(())
    }
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}
