//! DFU mode against a second, smaller reading of the code: whatever is written in whatever order, both say the same, and
//! nothing that is not documented.

use std::collections::VecDeque;

use brickproof_flash_model::boot::nordic_legacy::{Options, Transport};
use brickproof_flash_model::image::nordic::{LegacyInitPacket, crc16};
use proptest::prelude::*;

use super::tests::Bench;
use super::wire::emit_sizes;
use crate::device::program::{Input, Output};

/// Bytes of bank 1 on the layout of the tests, and the size of a page.
const BANK: usize = 0x4000;
const PAGE: usize = 0x1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Idle,
    Preparing,
    Ready,
    Init,
    Data,
    Stuck,
    Valid,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Work {
    Erase(usize),
    Settings,
    Write { at: usize, bytes: Vec<u8>, last: bool },
    Nothing,
}

/// What is known of DFU mode of SDK 11 with two banks: an application goes to bank 1, a SoftDevice to bank 0.
#[derive(Debug)]
struct Model {
    at: At,
    mode: u8,
    size: u32,
    received: u32,
    init: Vec<u8>,
    crc: u16,
    expects: Option<u8>,
    prn: (u16, u16),
    bytes: u32,
    work: VecDeque<Work>,
    buffers: usize,
    stuck: bool,
    connected: bool,
    dead: bool,
    banks: [Vec<u8>; 2],
    bank: usize,
    /// Bank 0 is to be given up when flash is erased: what sizes that came later, and were refused, say counts, too.
    gives_up: bool,
}

impl Model {
    fn new(bank_0: Vec<u8>) -> Self {
        Self {
            at: At::Idle,
            mode: 0,
            size: 0,
            received: 0,
            init: Vec::new(),
            crc: 0,
            expects: None,
            prn: (0, 0),
            bytes: 0,
            work: VecDeque::new(),
            buffers: 8,
            stuck: false,
            connected: true,
            dead: false,
            banks: [bank_0, vec![0xff; BANK]],
            bank: 1,
            gives_up: false,
        }
    }

    fn ask(&mut self, value: &[u8]) -> Vec<Vec<u8>> {
        let answer = |opcode: u8, status: u8| vec![vec![0x10, opcode, status]];
        match value {
            [] => vec![],
            [1 | 2] => answer(value[0], 6),
            [8] | [8, _] => answer(8, 3),
            [1, mode, ..] => {
                (self.expects, self.mode) = (Some(1), *mode);
                vec![]
            }
            [2, 1, ..] => {
                self.expects = Some(2);
                let status = match (self.at, self.received) {
                    (At::Init, 0) => match LegacyInitPacket::parse(&self.init) {
                        Ok(packet) if packet.sd_req.iter().any(|id| [0xfffe, 0x81].contains(id)) => {
                            let extension = packet.extension.emit();
                            self.crc = u16::from_le_bytes([extension[0], extension[1]]);
                            self.at = At::Data;
                            1
                        }
                        _ => {
                            self.init.clear();
                            6
                        }
                    },
                    _ => 2,
                };
                answer(2, status)
            }
            [2, ..] => {
                self.expects = Some(2);
                vec![]
            }
            [3, ..] => {
                self.expects = Some(3);
                vec![]
            }
            [4, ..] if self.at != At::Data || self.received != self.size => answer(4, 2),
            [4, ..] => {
                let found = crc16(&self.banks[self.bank][..self.size as usize], 0xffff);
                self.at = if found == self.crc { At::Valid } else { At::Stuck };
                answer(4, if found == self.crc { 1 } else { 5 })
            }
            [5 | 6, ..] => {
                self.dead = value[0] == 6 || self.at != At::Valid;
                vec![]
            }
            [7, ..] => vec![[&[0x10, 7, 1][..], &self.bytes.to_le_bytes()].concat()],
            [8, low, high, ..] => {
                let packets = u16::from_le_bytes([*low, *high]);
                self.prn = (packets, packets);
                vec![]
            }
            [other, ..] => answer(*other, 3),
        }
    }

    fn send(&mut self, value: &[u8]) -> Vec<Vec<u8>> {
        let answer = |opcode: u8, status: u8| vec![vec![0x10, opcode, status]];
        match self.expects {
            Some(1) => match self.sizes(value) {
                0 => vec![],
                status => answer(1, status),
            },
            Some(2) => {
                if self.at == At::Ready {
                    self.at = At::Init;
                }
                let filled = value.len().div_ceil(4) * 4;
                if self.at != At::Init || self.received > 0 {
                    return answer(2, 2);
                }
                if self.init.len() + filled > 128 {
                    return answer(2, 6);
                }
                self.init.extend(value);
                self.init.extend(std::iter::repeat_n(0, filled - value.len()));
                vec![]
            }
            Some(_) => match self.data(value) {
                Ok(said) => said,
                Err(status) => answer(3, status),
            },
            None => vec![],
        }
    }

    /// The status of an answer, or 0 for none yet.
    fn sizes(&mut self, value: &[u8]) -> u8 {
        if value.len() != 12 {
            return 3;
        }
        let size = |index: usize| u32::from_le_bytes(value[4 * index..][..4].try_into().unwrap());
        let sizes = [size(0), size(1), size(2)];
        if self.mode & 4 != 0 && self.mode & 3 != 0 || sizes.iter().any(|size| size % 4 != 0) {
            return 3;
        }
        self.size = sizes[0].wrapping_add(sizes[1]).wrapping_add(sizes[2]);
        let softdevice = self.mode & 1 != 0;
        // Bootloader area, two pages, with the MBR's page; all of the region, or half of it.
        if sizes[1] > 0x3000 || self.size > if softdevice { 0x8000 } else { 0x4000 } {
            return 4;
        }
        self.gives_up = softdevice;
        if self.at != At::Idle {
            return 2;
        }
        self.at = At::Preparing;
        self.bank = usize::from(!softdevice);
        let pages = if softdevice { (self.size as usize).div_ceil(PAGE).max(1) } else { BANK / PAGE };
        self.work.push_back(Work::Erase(pages));
        0
    }

    fn data(&mut self, value: &[u8]) -> Result<Vec<Vec<u8>>, u8> {
        if !value.len().is_multiple_of(4) {
            return Err(3);
        }
        if self.buffers == 0 {
            return Err(6);
        }
        if value.len() > 32 {
            return Err(4);
        }
        if self.at != At::Data {
            return Err(2);
        }
        let locked = self.received == u32::MAX;
        let end = self.received.wrapping_add(value.len() as u32);
        if end > self.size {
            self.received = u32::MAX;
            return Err(4);
        }
        if locked {
            return Err(6);
        }
        let at = std::mem::replace(&mut self.received, end) as usize;
        self.bytes += value.len() as u32;
        self.buffers -= 1;
        if value.is_empty() {
            if self.work.is_empty() {
                self.stuck = true;
            } else {
                self.work.push_back(Work::Nothing);
            }
        } else {
            let last = end == self.size;
            self.work.push_back(Work::Write { at, bytes: value.to_vec(), last });
            if last {
                return Ok(vec![]);
            }
        }
        if self.prn.0 == 0 {
            return Ok(vec![]);
        }
        self.prn.1 = self.prn.1.wrapping_sub(1);
        if self.prn.1 != 0 {
            return Ok(vec![]);
        }
        self.prn.1 = self.prn.0;
        Ok(vec![[&[0x11][..], &self.bytes.to_le_bytes()].concat()])
    }

    /// One piece of flash work is done; `None` when there is none.
    fn work(&mut self) -> Option<Vec<Vec<u8>>> {
        if self.stuck {
            return None;
        }
        let said = match self.work.pop_front()? {
            Work::Erase(pages) => {
                self.banks[self.bank][..pages * PAGE].fill(0xff);
                if self.at != At::Preparing {
                    return Some(vec![]);
                }
                self.at = At::Ready;
                if self.gives_up {
                    self.work.extend([Work::Settings, Work::Settings]);
                }
                vec![vec![0x10, 1, 1]]
            }
            Work::Settings => vec![],
            Work::Write { at, bytes, last } => {
                self.banks[self.bank][at..at + bytes.len()].copy_from_slice(&bytes);
                let heard = self.at == At::Data;
                self.buffers += usize::from(heard);
                if heard && last { vec![vec![0x10, 3, 1]] } else { vec![] }
            }
            Work::Nothing => {
                self.dead = true;
                vec![]
            }
        };
        if !said.is_empty() && !self.connected {
            self.dead = true;
            return Some(vec![]);
        }
        Some(said)
    }

    /// What an uploader would do next.
    fn next(&self, image: &[u8]) -> Step {
        let at = self.received as usize;
        match (self.at, self.expects) {
            (At::Idle, Some(1)) if self.mode == 4 => Step::Send(emit_sizes([0, 0, image.len() as u32])),
            (At::Idle, _) => Step::Ask(vec![1, 4]),
            (At::Preparing, _) => Step::Work,
            (At::Ready, Some(2)) => Step::Send(LegacyInitPacket::new(image).emit()),
            (At::Ready, _) => Step::Ask(vec![2, 0]),
            (At::Init, _) => Step::Ask(vec![2, 1]),
            (At::Data, Some(3)) if at < image.len() => Step::Send(image[at..image.len().min(at + 20)].to_vec()),
            (At::Data, Some(3)) if self.work.is_empty() => Step::Ask(vec![4]),
            (At::Data, Some(3)) => Step::Work,
            (At::Data, _) => Step::Ask(vec![3]),
            (At::Stuck | At::Valid, _) => Step::Ask(vec![5]),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Ask(Vec<u8>),
    Send(Vec<u8>),
    Work,
    Leave,
    Come,
    /// What an uploader would do.
    Next,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = |max: usize| prop::collection::vec(any::<u8>(), 0..max);
    let small = (0_u32..4, 0_u32..4, 0_u32..64).prop_map(|(a, b, c)| Step::Send(emit_sizes([a * 4, b * 4, c * 4])));
    prop_oneof![
        12 => Just(Step::Next),
        3 => Just(Step::Work),
        2 => (0_u8..10, bytes(3)).prop_map(|(opcode, rest)| Step::Ask([vec![opcode], rest].concat())),
        1 => (0_u8..8).prop_map(|mode| Step::Ask(vec![1, mode])),
        1 => (0_u16..4).prop_map(|packets| Step::Ask(vec![8, packets as u8, 0])),
        1 => bytes(5).prop_map(Step::Ask),
        1 => bytes(21).prop_map(Step::Send),
        1 => (0_usize..12).prop_map(|words| Step::Send(vec![7; words * 4])),
        1 => small,
        1 => prop_oneof![Just(Step::Leave), Just(Step::Come)],
    ]
}

/// Whether an answer is in the documentation.
fn is_documented(value: &[u8]) -> bool {
    match value {
        [0x10, 7, 1, bytes @ ..] if bytes.len() == 4 => true,
        [0x11, bytes @ ..] => bytes.len() == 4,
        [0x10, request, status] => match request {
            1 => matches!(status, 1..=4 | 6),
            2 => matches!(status, 1 | 2 | 6),
            3 => matches!(status, 1..=4 | 6),
            4 => matches!(status, 1 | 2 | 5),
            _ => *status == 3,
        },
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn both_readings_say_the_same(steps in prop::collection::vec(step(), 0..80), len in 1_u32..30) {
        let image = super::tests::image(len * 4);
        let mut bench = Bench::new(Options::sdk11(), Transport::Ble);
        let mut bank_0 = vec![0xff; 0x8000];
        bench.board.bootloader.map().read(&bench.flash, 0x4000, &mut bank_0).unwrap();
        let mut model = Model::new(bank_0);
        for step in steps {
            let step = if matches!(step, Step::Next) { model.next(&image) } else { step };
            let (said, expected) = match &step {
                // Nothing can be written without a connection.
                Step::Ask(_) | Step::Send(_) if !model.connected => continue,
                Step::Ask(value) => (bench.ask(value), model.ask(value)),
                Step::Send(value) => (bench.send(value), model.send(value)),
                Step::Work => (bench.work_once().unwrap_or_default(), model.work().unwrap_or_default()),
                Step::Leave => {
                    model.connected = false;
                    (bench.tell(Input::Disconnected), vec![])
                }
                Step::Come => {
                    model.connected = true;
                    (bench.tell(Input::Connected { bonded: false }), vec![])
                }
                Step::Next => unreachable!("replaced above"),
            };
            prop_assert_eq!(&said, &expected, "{:?} {:?}", step, model);
            prop_assert!(said.iter().all(|value| is_documented(value)), "{:02x?}", said);
            prop_assert_eq!(bench.resets(), model.dead, "{:?} {:?}", step, model);
            if model.dead || matches!(&step, Step::Ask(value) if value.first() == Some(&5)) {
                break;
            }
            let progress = (model.at != At::Idle).then_some((model.bytes, model.size));
            prop_assert_eq!(bench.mode.progress(), progress);
            prop_assert_eq!(bench.mode.server().buffers_used(), 8 - model.buffers);
        }
        // What was activated runs to its end.
        if !model.dead && model.at == At::Valid && bench.did.contains(&Output::Disconnect) {
            bench.work();
            prop_assert!(bench.resets() || model.stuck);
        }
    }

    /// The same of Adafruit's and of a serial line, for which there is no second reading: nothing panics, and nothing is said
    /// that is not documented.
    #[test]
    fn nothing_else_is_said(steps in prop::collection::vec(step(), 0..60), serial in any::<bool>()) {
        let transport = if serial { Transport::Serial } else { Transport::Ble };
        let mut bench = Bench::new(Options::adafruit(), transport);
        for step in steps {
            let said = match step {
                Step::Ask(value) => bench.ask(&value),
                Step::Send(value) if serial => {
                    let frame = super::hci::packet(1, &value);
                    bench.tell(Input::Written { to: crate::nordic::Endpoint::Serial, value: &frame })
                }
                Step::Send(value) => bench.send(&value),
                Step::Leave => bench.tell(Input::Disconnected),
                Step::Come => bench.tell(Input::Connected { bonded: false }),
                Step::Work | Step::Next => bench.work_once().unwrap_or_default(),
            };
            let documented = |value: &Vec<u8>| if serial { super::hci::acknowledged(value).is_some() } else { is_documented(value) };
            prop_assert!(said.iter().all(documented), "{:02x?}", said);
        }
    }
}
