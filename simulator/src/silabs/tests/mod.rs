//! What runs on an EFR32 board, without a world around it.

mod apploader;
mod config;
mod in_place;
mod model;
mod properties;
mod slot;

use brickproof_flash_model::boot::gecko::{Gecko, Options, ResetInfo};
use brickproof_flash_model::flash::{Controller, Flash, Uncut};
use brickproof_flash_model::image::gbl::{FirmwareBuilder, GblBuilder};
use brickproof_flash_model::layout::Layout;

use super::{Program, SilabsBoard};
use crate::device::program::{Input, Output, Surroundings};
use crate::device::{Battery, Endpoint, Retained};
use crate::gatt::AttError;

/// A flash of 16 pages of 512 bytes, with a slot of two of them.
const SMALL: &str = r#"
schema = 1
name = "small"
[[device]]
name = "internal"
base = 0x8000000
sectors = [[16, 512]]
program-unit = 4
[[partition]]
name = "bootloader"
device = "internal"
offset = 0x0
size = 0x800
[[partition]]
name = "application"
device = "internal"
offset = 0x800
size = 0x800
[[partition]]
name = "slot-0"
device = "internal"
offset = 0x1000
size = 0x400
[[partition]]
name = "lock-bits"
device = "internal"
offset = 0x1e00
size = 0x200
"#;
/// Address and size of that slot.
const SLOT: (u32, u32) = (0x800_1000, 0x400);

fn small() -> Layout {
    Layout::parse("small", SMALL).unwrap()
}

/// A board with this flash.
fn board(layout: &Layout, options: Options) -> SilabsBoard {
    SilabsBoard::new(Gecko::new(layout, options).unwrap())
}

/// An application for a board, and a file with it.
fn firmware(board: &SilabsBoard, version: u32, size: usize) -> (Vec<u8>, Vec<u8>) {
    let start = board.bootloader.map().application_start();
    let image = FirmwareBuilder::new(start).size(size).version(version).build();
    let file = GblBuilder::new().firmware(start, &image).unsigned().unwrap();
    (image, file)
}

/// An answer, or the end of all.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    /// To this request.
    Answer(u64, Result<(), AttError>),
    Disconnect,
    Reset,
    Fault,
    Dropped(u64),
    Silent,
}

/// A program on its board.
struct Bench {
    board: SilabsBoard,
    flash: Flash,
    /// The flash before the work that is under way.
    before: Option<Flash>,
    retained: Retained,
    program: Program,
    low: bool,
    now_us: u64,
    requests: u64,
    said: Vec<Said>,
}

impl Bench {
    fn new(board: SilabsBoard, flash: Flash, program: impl FnOnce(&SilabsBoard, &Flash) -> Program) -> Self {
        let program = program(&board, &flash);
        Self {
            board,
            flash,
            before: None,
            retained: Retained::default(),
            program,
            low: false,
            now_us: 0,
            requests: 0,
            said: Vec::new(),
        }
    }

    fn application(board: SilabsBoard, flash: Flash) -> Self {
        Self::new(board, flash, Program::application)
    }

    fn apploader(board: SilabsBoard, flash: Flash) -> Self {
        Self::new(board, flash, |_, _| Program::apploader("for a test".into()))
    }

    fn tell(&mut self, input: Input<'_>) {
        let mut around = Surroundings {
            flash: self.before.as_ref().unwrap_or(&self.flash),
            retained: &mut self.retained,
            battery: Battery::default(),
            now_us: self.now_us,
        };
        self.program.input(&self.board, input, &mut around, self.low);
        while let Some(output) = self.program.take_output() {
            self.said.push(match output {
                Output::Answer { request, answer } => Said::Answer(request, answer),
                Output::Disconnect => Said::Disconnect,
                Output::Reset(_) => Said::Reset,
                Output::Fault(_) => Said::Fault,
                Output::Dropped { size, .. } => Said::Dropped(size),
                Output::StopAdvertising => Said::Silent,
                Output::Say(_) | Output::AttributesChange => panic!("not of this family: {output:?}"),
                Output::Note(_) => continue,
            });
        }
    }

    /// Asks by a request.
    fn ask(&mut self, to: Endpoint, value: &[u8]) -> u64 {
        self.requests += 1;
        let request = self.requests;
        self.tell(Input::Asked { request, to, value });
        request
    }

    /// Writes data without a response.
    fn send(&mut self, value: &[u8]) {
        self.tell(Input::Written { to: Endpoint::OtaData, value });
    }

    /// Begins what the flash is needed for, if anything; whether there was something.
    fn begin_work(&mut self) -> bool {
        if self.before.is_some() || !self.program.has_flash_work(&self.board) {
            return false;
        }
        self.before = Some(self.flash.clone());
        let info = self.retained.reset_info;
        self.program.do_flash_work(&self.board, &mut Controller::new(&mut self.flash, &mut Uncut), info).unwrap();
        true
    }

    /// Ends it.
    fn end_work(&mut self) {
        if self.before.take().is_some() {
            self.tell(Input::Flashed { done: true });
        }
    }

    /// All flash work that there is.
    fn settle(&mut self) {
        self.end_work();
        for _ in 0..1000 {
            if self.resets() || !self.begin_work() {
                return;
            }
            self.end_work();
        }
        panic!("the work never ends");
    }

    fn wait(&mut self, us: u64) {
        let until = self.now_us + us;
        while let Some(due) = self.program.next_timer().filter(|due| *due <= until) {
            self.now_us = self.now_us.max(due);
            self.tell(Input::Due);
            self.settle();
            if self.resets() {
                break;
            }
        }
        self.now_us = until;
    }

    fn resets(&self) -> bool {
        self.said.contains(&Said::Reset)
    }

    fn take_said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    /// What is answered to a request in the end.
    fn result(&mut self, to: Endpoint, value: &[u8]) -> Option<Result<(), AttError>> {
        let request = self.ask(to, value);
        self.settle();
        self.said.iter().find_map(|said| match said {
            Said::Answer(of, answer) if *of == request => Some(*answer),
            _ => None,
        })
    }

    fn control(&mut self, byte: u8) -> Result<(), AttError> {
        self.result(Endpoint::OtaControl, &[byte]).unwrap()
    }

    fn data(&mut self, value: &[u8]) -> Result<(), AttError> {
        self.result(Endpoint::OtaData, value).unwrap()
    }

    /// Sends a file by requests, as far as it is taken.
    fn file(&mut self, file: &[u8]) -> Result<(), AttError> {
        file.chunks(244).try_for_each(|piece| self.data(piece))
    }

    fn info(&self) -> ResetInfo {
        self.retained.reset_info
    }

    fn bytes(&self, address: u32, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.board.bootloader.map().read(&self.flash, address, &mut bytes).unwrap();
        bytes
    }
}
