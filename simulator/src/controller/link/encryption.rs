//! Starting encryption (volume 6, part B, 5.1.3), without a cipher: what an eavesdropper would see is not modelled, only
//! what the hosts are told. Both ends have the same long term key, or the first encrypted packet fails its check.

use super::super::Ether;
use super::super::codec::Fields;
use super::super::host::{code, le};
use super::super::status::Status;
use super::control::Control;
use super::{CENTRAL, Kind, Link, PERIPHERAL};

/// A step of the procedures.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    PauseRequest,
    PauseResponse,
    Request {
        random: u64,
        diversifier: u16,
    },
    Response,
    StartRequest,
    /// The first encrypted packet of an end: it shows which key the sender has.
    StartResponse {
        key: [u8; 16],
    },
}

impl Step {
    /// Length of its payload, in bytes.
    pub(super) fn length(self) -> usize {
        match self {
            Self::Request { .. } => 23,
            Self::Response => 13,
            _ => 1,
        }
    }
}

/// How far an end is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    /// Central: waits for the peripheral to pause.
    Pausing,
    /// Peripheral: paused.
    Paused,
    /// Central: waits until the peripheral has the key.
    Requested,
    /// Peripheral: waits for its host.
    AwaitingKey,
    /// Waits for the other's first encrypted packet.
    Starting,
}

/// The encryption of one end.
#[derive(Debug, Default)]
pub(in super::super) struct Encryption {
    on: bool,
    /// The link was encrypted before.
    refreshes: bool,
    state: State,
    key: [u8; 16],
    random: u64,
    diversifier: u16,
}

impl Encryption {
    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// No data goes out while encryption starts.
    pub(super) fn holds_data(&self) -> bool {
        self.state != State::Idle
    }

    /// Whether the host has to say which key it is.
    pub(in super::super) fn awaits_key(&self) -> bool {
        self.state == State::AwaitingKey
    }
}

impl Link {
    fn step_of(&mut self, end: usize, step: Step) {
        self.ends[end].control.push_back(Control::Encryption(step));
    }

    /// The central's host wants encryption.
    pub(in super::super) fn encrypt(&mut self, random: u64, diversifier: u16, key: [u8; 16]) {
        let encryption = &mut self.ends[CENTRAL].encryption;
        let refreshes = encryption.on;
        let state = if refreshes { State::Pausing } else { State::Requested };
        *encryption = Encryption { on: refreshes, refreshes, state, key, random, diversifier };
        self.step_of(CENTRAL, if refreshes { Step::PauseRequest } else { Step::Request { random, diversifier } });
    }

    /// The peripheral's host has the key.
    pub(in super::super) fn have_key(&mut self, key: [u8; 16]) {
        let encryption = &mut self.ends[PERIPHERAL].encryption;
        encryption.key = key;
        encryption.state = State::Starting;
        self.step_of(PERIPHERAL, Step::StartRequest);
    }

    /// The peripheral's host has no key: refused, and if the link was encrypted before, the end of it.
    pub(in super::super) fn have_no_key(&mut self) {
        let encryption = &mut self.ends[PERIPHERAL].encryption;
        encryption.state = State::Idle;
        if encryption.refreshes {
            self.terminate(PERIPHERAL, Status::PIN_OR_KEY_MISSING);
        } else {
            self.reject(PERIPHERAL, Kind::Encryption, Status::PIN_OR_KEY_MISSING);
        }
    }
}

impl Ether {
    pub(super) fn encryption_step(&mut self, link: &mut Link, end: usize, step: Step) {
        let encryption = &mut link.ends[end].encryption;
        match (step, encryption.state) {
            (Step::PauseRequest, State::Idle) if end == PERIPHERAL => {
                (encryption.on, encryption.refreshes, encryption.state) = (false, true, State::Paused);
                link.step_of(end, Step::PauseResponse);
            }
            (Step::PauseResponse, State::Pausing) => {
                (encryption.on, encryption.state) = (false, State::Requested);
                let (random, diversifier) = (encryption.random, encryption.diversifier);
                link.step_of(end, Step::Request { random, diversifier });
            }
            (Step::Request { random, diversifier }, State::Idle | State::Paused) if end == PERIPHERAL => {
                encryption.state = State::AwaitingKey;
                link.step_of(end, Step::Response);
                let Some(controller) = link.ends[end].controller else { return };
                if self.controllers[controller].hears_le(le::LTK_REQUEST) {
                    let fields = Fields::new().u16(link.ends[end].handle).u64(random).u16(diversifier);
                    self.controllers[controller].le_event(le::LTK_REQUEST, &fields);
                } else {
                    link.have_no_key();
                }
            }
            (Step::StartRequest, State::Requested) => {
                encryption.state = State::Starting;
                let key = encryption.key;
                link.step_of(end, Step::StartResponse { key });
            }
            (Step::StartResponse { key }, State::Starting) => {
                if key != encryption.key {
                    // The packet fails its check: the end is gone without a word (volume 6, part B, 5.1.3.1).
                    return self.leave(link, end, Status::MIC_FAILURE);
                }
                encryption.state = State::Idle;
                encryption.on = true;
                if end == PERIPHERAL {
                    link.step_of(end, Step::StartResponse { key });
                }
                self.tell_encryption(link, end, Status::SUCCESS);
            }
            // The response carries only what a cipher needs; anything else does not come from an end of ours.
            _ => {}
        }
    }

    /// The peripheral refuses encryption.
    pub(super) fn encryption_refused(&mut self, link: &mut Link, end: usize, reason: Status) {
        link.ends[end].encryption.state = State::Idle;
        self.tell_encryption(link, end, reason);
    }

    fn tell_encryption(&mut self, link: &mut Link, end: usize, status: Status) {
        let side = &mut link.ends[end];
        side.answered(Kind::Encryption);
        let Some(controller) = side.controller else { return };
        let fields = Fields::new().status(status).u16(side.handle);
        if side.encryption.refreshes {
            self.controllers[controller].event(code::ENCRYPTION_KEY_REFRESH_COMPLETE, fields);
        } else {
            let fields = fields.u8(side.encryption.on.into());
            self.controllers[controller].event(code::ENCRYPTION_CHANGE, fields);
        }
    }
}
