//! DFU mode of a Legacy DFU bootloader: the server, its timers, and how an update ends.
//!
//! | what ends it | what is sent | then |
//! |---|---|---|
//! | `05`, and the image was checked | the connection is ended at once | the image is activated, and the device resets |
//! | `05` otherwise, `06` | the same | the device resets |
//! | nothing accepted for 120 s, 360 s with Adafruit's | the same | the device resets |
//! | an error that the code does not expect | nothing | the device resets |
//! | 64 s without the central that an application has named | nothing | the device resets |
//!
//! All but the fourth start the application at once, if there is one, which is the same as a reset. Adafruit's bootloader
//! comes back to DFU mode on Bluetooth LE when a central was there and no application is, or `06` came into the middle of
//! an image; a reset by its error handler does not.

use std::collections::VecDeque;

use brickproof_flash_model::boot::nordic_legacy::options::gpregret;
use brickproof_flash_model::boot::nordic_legacy::{Dfu, Kind, Transport};

use super::config::LegacyBoard;
use super::serial::{self, SerialServer};
use super::server::{LegacyServer, Said};
use crate::device::program::{Input, Output, Saying, Surroundings};
use crate::nordic::queue::Job;
use crate::nordic::{Endpoint, SharedBond};
use crate::trace::Cause;

/// 50 rounds of directed advertising, in microseconds (`APP_DIRECTED_ADV_TIMEOUT`).
const DIRECTED_US: u64 = 50 * 1_280_000;

/// DFU mode.
#[derive(Debug, Clone)]
pub struct LegacyMode {
    /// Why the bootloader stays.
    pub(super) reason: String,
    transport: Transport,
    server: LegacyServer,
    serial: SerialServer,
    /// Who is to come, if the application has said that.
    peer: Option<SharedBond>,
    timeout_us: u64,
    inactive_at: Option<u64>,
    directed_until: Option<u64>,
    was_connected: bool,
    over: bool,
    outputs: VecDeque<Output>,
}

/// How DFU mode was come to.
#[derive(Debug, Clone)]
pub struct Entered {
    /// Why the bootloader stays.
    pub reason: String,
    /// Where it waits.
    pub transport: Transport,
    /// Without activity, it ends after this time, in microseconds.
    pub timeout_us: u64,
}

impl LegacyMode {
    /// DFU mode begins at `now_us`; `peer` is what the application has told of a central.
    #[must_use]
    pub fn start(entered: Entered, peer: Option<SharedBond>, now_us: u64) -> Self {
        let Entered { reason, transport, timeout_us } = entered;
        let mut mode = Self {
            reason,
            transport,
            server: LegacyServer::default(),
            serial: SerialServer::default(),
            peer: peer.filter(|_| transport == Transport::Ble),
            timeout_us,
            inactive_at: Some(now_us.saturating_add(timeout_us)),
            directed_until: None,
            was_connected: false,
            over: false,
            outputs: VecDeque::new(),
        };
        mode.advertises_from(now_us);
        mode
    }

    /// Advertising that is directed to a central without an identity key has an end.
    fn advertises_from(&mut self, now_us: u64) {
        let directed = self.peer.is_some_and(|peer| !peer.is_identified());
        self.directed_until = directed.then(|| now_us.saturating_add(DIRECTED_US));
    }

    /// Where it waits for an uploader.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The central that it advertises to, from the address of the application; `None`: to everybody.
    #[must_use]
    pub fn peer(&self) -> Option<SharedBond> {
        self.peer
    }

    /// The server on Bluetooth LE.
    #[must_use]
    pub fn server(&self) -> &LegacyServer {
        &self.server
    }

    /// The upload, by either way.
    #[must_use]
    pub fn dfu(&self) -> &Dfu {
        match self.transport {
            Transport::Ble => self.server.dfu(),
            Transport::Serial => self.serial.dfu(),
        }
    }

    /// Bytes of an update received, and its size.
    #[must_use]
    pub fn progress(&self) -> Option<(u32, u32)> {
        match self.transport {
            Transport::Ble => self.server.progress(),
            Transport::Serial => self.serial.progress(),
        }
    }

    /// What it does next.
    pub fn take_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When it wants to be told that its time has come, in microseconds.
    #[must_use]
    pub fn next_timer(&self) -> Option<u64> {
        if self.over {
            return None;
        }
        [self.inactive_at, self.directed_until].into_iter().flatten().min()
    }

    /// The flash work that is to be done now.
    pub(crate) fn job(&self) -> Option<&Job> {
        match (self.over, self.transport) {
            (true, _) => None,
            (false, Transport::Ble) => self.server.job(),
            (false, Transport::Serial) => self.serial.job(),
        }
    }

    /// Something happens; `refuses` is the answer to sizes while the battery is low.
    pub fn input(&mut self, board: &LegacyBoard, input: Input<'_>, around: &mut Surroundings<'_>, refuses: Option<u8>) {
        if self.over {
            return;
        }
        match (input, self.transport) {
            (Input::Connected { .. }, Transport::Ble) => {
                self.server.connected(true);
                (self.was_connected, self.directed_until) = (true, None);
            }
            (Input::Disconnected, Transport::Ble) => {
                self.server.connected(false);
                self.advertises_from(around.now_us);
            }
            (Input::Written { to: Endpoint::LegacyControlPoint, value }, Transport::Ble) => {
                self.server.requested(board, value, around.flash);
            }
            (Input::Written { to: Endpoint::LegacyPacket, value }, Transport::Ble) => {
                self.server.packet(board, value, around.flash, refuses);
            }
            (Input::Written { to: Endpoint::Serial, value }, Transport::Serial) => {
                self.serial.received(board, value, around.flash);
            }
            (Input::Flashed { done }, Transport::Ble) => self.server.flashed(board, around.flash, done),
            (Input::Flashed { done }, Transport::Serial) => self.serial.flashed(board, around.flash, done),
            (Input::Due, _) => self.due(board, around),
            _ => {}
        }
        while !self.over
            && let Some(said) = self.server.take_said()
        {
            self.say(board, said, around);
        }
        while !self.over
            && let Some(said) = self.serial.take_said()
        {
            self.say_serial(board, said, around);
        }
    }

    fn due(&mut self, board: &LegacyBoard, around: &mut Surroundings<'_>) {
        let past = |at: Option<u64>| at.is_some_and(|at| at <= around.now_us);
        let why = if past(self.inactive_at) {
            "was inactive for too long"
        } else if past(self.directed_until) {
            "the central that it waits for has not come"
        } else {
            return;
        };
        self.outputs.push_back(Output::Note(why.into()));
        self.close(board);
        self.reset(board, around, false);
    }

    /// Carries out what the server says.
    fn say(&mut self, board: &LegacyBoard, said: Said, around: &mut Surroundings<'_>) {
        match said {
            Said::Answer(answer, call) => self.outputs.push_back(Output::Say(Saying {
                from: Endpoint::LegacyControlPoint,
                value: answer.emit(),
                call,
                indicated: false,
            })),
            Said::Active => self.active(around),
            Said::Dropped { what } => {
                let size = board.dfu.buffers as u64;
                self.outputs.push_back(Output::Dropped { pool: "packet buffers", size, what });
            }
            Said::Reset => {
                self.close(board);
                self.reset(board, around, self.server.dfu().is_incomplete());
            }
            Said::Activating => {
                self.inactive_at = None;
                self.directed_until = None;
                // It takes long enough for the end of the connection to reach the central.
                self.outputs.extend([Output::StopAdvertising, Output::Disconnect]);
            }
            Said::Completed => self.reset(board, around, false),
            Said::Fault(why) => self.fault(&why),
            Said::Note(words) => self.outputs.push_back(Output::Note(words)),
        }
    }

    fn say_serial(&mut self, board: &LegacyBoard, said: serial::Said, around: &mut Surroundings<'_>) {
        match said {
            serial::Said::Acknowledged(bytes, call) => self.outputs.push_back(Output::Say(Saying {
                from: Endpoint::Serial,
                value: bytes.to_vec(),
                call,
                indicated: false,
            })),
            serial::Said::Active => self.active(around),
            serial::Said::Dropped => {
                self.outputs.push_back(Output::Dropped {
                    pool: "frames on their way",
                    size: 0,
                    what: "a frame".into(),
                });
            }
            serial::Said::Activating => self.inactive_at = None,
            serial::Said::Completed => self.reset(board, around, false),
            serial::Said::Fault(why) => self.fault(&why),
            serial::Said::Note(words) => self.outputs.push_back(Output::Note(words)),
        }
    }

    fn active(&mut self, around: &Surroundings<'_>) {
        self.inactive_at = Some(around.now_us.saturating_add(self.timeout_us));
    }

    fn close(&mut self, board: &LegacyBoard) {
        if board.dfu.says_goodbye && self.transport == Transport::Ble {
            self.outputs.extend([Output::StopAdvertising, Output::Disconnect]);
        }
    }

    fn fault(&mut self, why: &str) {
        self.over = true;
        self.outputs.push_back(Output::Note(format!("the error handler resets the device: {why}")));
        self.outputs.push_back(Output::Reset(Cause::SoftReset));
    }

    /// Leaves DFU mode; `again` asks Adafruit's bootloader to come back to it.
    fn reset(&mut self, board: &LegacyBoard, around: &mut Surroundings<'_>, again: bool) {
        self.over = true;
        let bootloader = &board.bootloader;
        if bootloader.options().kind == Kind::Adafruit && self.was_connected {
            let installs = bootloader.settings(around.flash).is_ok_and(|settings| settings.installs());
            let starts = !installs && matches!(bootloader.unbootable(around.flash), Ok(None));
            if again || !starts {
                around.retained.gpregret = gpregret::OTA;
            }
        }
        self.outputs.push_back(Output::Reset(Cause::SoftReset));
    }
}
