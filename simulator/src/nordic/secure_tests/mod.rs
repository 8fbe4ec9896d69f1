//! DFU mode of the Secure DFU bootloader against a second reading of the C code of SDK 17.1, whatever is asked, written,
//! lost or cut in whatever order: what is said byte for byte, and flash after each step.

mod model;
mod packets;
mod properties;
mod tests;
mod validation;

use brickproof_flash_model::boot::nordic::softdevice::{synthetic_image, synthetic_softdevice};
use brickproof_flash_model::boot::nordic::{Entry, FlashStep, Nordic, Options, Outcome};
use brickproof_flash_model::flash::{Controller, Cut, Flash, TearModel, Uncut};
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::sweep::nordic::{Installed, factory};

use super::dfu_mode::DfuMode;
use super::{Endpoint, NordicBoard};
use crate::device::program::{Input, Output, Surroundings};
use crate::device::{Battery, Retained};
use model::Built;

/// Layout `nordic24`.
const FLASH: usize = 0x18000;
const PAGE: u32 = 0x1000;
const REGION_END: u32 = 0x13000;
const BOOTLOADER_SIZE: u32 = 0x2000;
const BACKUP: usize = 0x16000;
const SETTINGS: usize = 0x17000;

/// Firmware id of the installed SoftDevice.
const FWID: u16 = 0x0101;

/// A board in DFU mode, and its flash.
struct Bench {
    board: NordicBoard,
    flash: Flash,
    retained: Retained,
    /// `None`: the stored init packet was refused.
    mode: Option<DfuMode>,
    now_us: u64,
    resets: bool,
}

impl Bench {
    /// SoftDevice of 3 pages, application of less than 2 in version 1, bootloader in version 1.
    fn new(built: Built) -> Self {
        let layout = Layout::preset("nordic24").unwrap();
        let options = Options {
            save_progress: built.saves,
            single_bank: built.single,
            force_dual_bank: built.force_dual,
            require_signed_app: built.signed,
            app_downgrade_prevention: !built.downgrades,
            accept_same_version: built.same_version,
            debug: built.debug,
            ..Options::default()
        };
        let nordic = Nordic::new(&layout, options, Some(packets::key().public().clone())).unwrap();
        let installed = Installed {
            softdevice: &synthetic_softdevice(0x2f00, FWID, 132, 7_000_000),
            application: &synthetic_image(1, 0x1800),
            application_version: 1,
            bootloader: &synthetic_image(100, 0x1f00),
            bootloader_version: 1,
        };
        let flash = factory(&nordic, layout.blank_flash(), &installed).unwrap();
        let mut board = NordicBoard::new(nordic);
        board.dfu.reduced_protocol = built.reduced;
        // Nothing takes time but flash work and what the test lets pass.
        (board.dfu.validation_us, board.dfu.completion_us) = (0, 0);
        Self { board, flash, retained: Retained::default(), mode: None, now_us: 0, resets: false }
    }

    /// Boots with the button held until DFU mode; whether an update was activated.
    fn boot(&mut self) -> bool {
        let mut activated = false;
        for _ in 0..8 {
            let mut entry = Entry { button: true, ..Entry::default() };
            let mut uncut = Uncut;
            let boot =
                self.board.bootloader.boot(&mut Controller::new(&mut self.flash, &mut uncut), &mut entry).unwrap();
            match boot.outcome {
                Outcome::Reset => activated = true,
                Outcome::DfuMode { timeout_us, .. } => {
                    activated |= timeout_us != 120_000_000;
                    self.start(timeout_us);
                    return activated;
                }
                // A stored init packet that is not whole: the bootloader ends in its error handler, every time.
                Outcome::Fault { .. } => {
                    self.mode = None;
                    return activated;
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("resets for ever");
    }

    fn start(&mut self, timeout_us: u64) {
        self.resets = false;
        let around = Surroundings {
            flash: &self.flash,
            retained: &mut self.retained,
            battery: Battery::default(),
            now_us: self.now_us,
        };
        self.mode = DfuMode::start(&self.board, "the button is held".into(), Some(timeout_us), &around).ok();
        self.tell(Input::Connected { bonded: false });
    }

    /// Tells it something; what it says to that.
    fn tell(&mut self, input: Input<'_>) -> Vec<Vec<u8>> {
        let Some(mode) = &mut self.mode else { return vec![] };
        let around = Surroundings {
            flash: &self.flash,
            retained: &mut self.retained,
            battery: Battery::default(),
            now_us: self.now_us,
        };
        mode.input(&self.board, input, &around, None);
        let mut said = Vec::new();
        while let Some(output) = mode.take_output() {
            match output {
                Output::Say(saying) => said.push(saying.value),
                Output::Reset(_) => self.resets = true,
                _ => {}
            }
        }
        said
    }

    /// Tells it that its time has come for as long as it is due.
    fn due(&mut self) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        while self.timer().is_some_and(|at| at <= self.now_us) {
            said.extend(self.tell(Input::Due));
        }
        said
    }

    fn timer(&self) -> Option<u64> {
        self.mode.as_ref().filter(|_| !self.resets)?.next_timer()
    }

    fn ask(&mut self, value: &[u8]) -> Vec<Vec<u8>> {
        let mut said = self.tell(Input::Written { to: Endpoint::ControlPoint, value });
        said.extend(self.due());
        said
    }

    fn send(&mut self, value: &[u8]) -> Vec<Vec<u8>> {
        let mut said = self.tell(Input::Written { to: Endpoint::Packet, value });
        said.extend(self.due());
        said
    }

    /// Does one job; `None` when there is none.
    fn work(&mut self) -> Option<Vec<Vec<u8>>> {
        let job = self.mode.as_ref().filter(|_| !self.resets)?.job()?.clone();
        let map = *self.board.bootloader.map();
        let mut uncut = Uncut;
        let mut controller = Controller::new(&mut self.flash, &mut uncut);
        let done = job.step.is_some_and(|step| step.run(map.whole(), map.page(), &mut controller).is_ok());
        let mut said = self.tell(Input::Flashed { done });
        said.extend(self.due());
        Some(said)
    }

    /// Power is lost in the job that is to be done.
    fn tear(&mut self, tear: TearModel) {
        let Some(step) = self.mode.as_ref().and_then(DfuMode::job).and_then(|job| job.step.clone()) else { return };
        let map = *self.board.bootloader.map();
        let mut cut = Cut { at: 0, tear };
        let mut controller = Controller::new(&mut self.flash, &mut cut);
        // Done only where there is nothing to do.
        let done = step.run(map.whole(), map.page(), &mut controller).is_ok();
        assert!(!done || matches!(&step, FlashStep::Store { bytes, .. } if bytes.is_empty()));
    }

    /// The device is about to reset: time and flash work up to there.
    fn finish(&mut self) {
        for _ in 0..200 {
            if self.work().is_none() && !self.resets {
                self.now_us += 200_000;
                self.due();
            }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; FLASH];
        self.board.bootloader.map().read(&self.flash, 0, &mut bytes).unwrap();
        bytes
    }
}
