//! Random initiators of an application with a slot, against the second reading.

use brickproof_flash_model::boot::gecko::{Options, reason};
use brickproof_flash_model::image::gbl::{FirmwareBuilder, GblBuilder};
use proptest::prelude::*;

use super::model::{Event, Model, Status};
use super::{Bench, SLOT, Said, board, small};
use crate::device::Endpoint;
use crate::device::program::Input;
use crate::silabs::slot::State;
use crate::silabs::{Erasing, Program};

#[derive(Debug, Clone)]
enum Step {
    Control(Vec<u8>),
    /// By a request, or without one.
    Data(Vec<u8>, bool),
    /// So many pieces of the file, of so many words.
    File {
        pieces: usize,
        words: usize,
        acked: bool,
    },
    /// Words that are no file.
    Fill {
        pieces: usize,
        words: usize,
    },
    Leave,
    Wait(u64),
    /// What follows, so many steps, happens while the flash is busy.
    Busy(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Control(vec![0])),
        3 => Just(Step::Control(vec![3])),
        1 => prop::collection::vec(prop_oneof![Just(4), Just(0), any::<u8>()], 0..3).prop_map(Step::Control),
        2 => (prop::collection::vec(prop_oneof![Just(0xff), any::<u8>()], 0..14), any::<bool>())
            .prop_map(|(value, acked)| Step::Data(value, acked)),
        6 => (1..14_usize, 1..61_usize, any::<bool>())
            .prop_map(|(pieces, words, acked)| Step::File { pieces, words, acked }),
        1 => (1..6_usize, 20..61_usize).prop_map(|(pieces, words)| Step::Fill { pieces, words }),
        3 => Just(Step::Leave),
        2 => (0..4000_u64).prop_map(Step::Wait),
        2 => (1..4_usize).prop_map(Step::Busy),
    ]
}

/// What an initiator does in order, more often than chance would have it.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let proper = (1..61_usize, any::<bool>()).prop_map(|(words, acked)| {
        let file = Step::File { pieces: 300, words, acked };
        vec![Step::Control(vec![0]), file, Step::Control(vec![3]), Step::Leave]
    });
    let full = (0..6_u32, 0..3_usize).prop_map(|(log, words)| {
        let (pieces, words_each) = ((256 >> log) as usize, 1 << log);
        let more = Step::Data(vec![1; words * 4], true);
        vec![Step::Control(vec![0]), Step::Fill { pieces, words: words_each }, more]
    });
    let part = prop_oneof![1 => proper, 1 => full, 8 => step().prop_map(|step| vec![step])];
    prop::collection::vec(part, 1..16).prop_map(|parts| parts.concat())
}

/// Both of them.
struct Pair {
    bench: Bench,
    model: Model,
    file: Vec<u8>,
    offset: usize,
    /// Steps for which the flash is still busy.
    busy: usize,
    connection: u8,
}

impl Pair {
    fn new(dirty: &[u8], verify_us: u64, erasing: Erasing) -> Self {
        let layout = small();
        let options = Options { upgrade_offset: 0x1800, upgrade_size: 0x400, ..Options::storage() };
        let mut own = board(&layout, options);
        (own.ota.verify_us, own.ota.erasing, own.ota.queue) = (verify_us, erasing, usize::MAX);
        let start = own.bootloader.map().application_start();
        let image = FirmwareBuilder::new(start).size(FirmwareBuilder::MIN_SIZE).build();
        let file = GblBuilder::new().firmware(start, &image).unsigned().unwrap();
        let mut flash = layout.blank_flash();
        flash.load(layout.area("slot-0").unwrap(), 0, dirty).unwrap();
        let mut slot = vec![0xff; SLOT.1 as usize];
        slot[..dirty.len()].copy_from_slice(dirty);
        let model = Model::new(&own.bootloader, &flash, &slot, verify_us, erasing == Erasing::Deaf);
        Self { bench: Bench::application(own, flash), model, file, offset: 0, busy: 0, connection: 1 }
    }

    fn data(&mut self, value: &[u8], acked: bool) {
        let request = if acked {
            Some(self.bench.ask(Endpoint::OtaData, value))
        } else {
            self.bench.send(value);
            None
        };
        let connection = self.connection;
        self.model.event(Event::Write { connection, control: false, value: value.to_vec(), request });
    }

    fn act(&mut self, step: &Step) {
        match step {
            Step::Control(value) => {
                if value.first() == Some(&0) {
                    self.offset = 0;
                }
                let request = Some(self.bench.ask(Endpoint::OtaControl, value));
                let connection = self.connection;
                self.model.event(Event::Write { connection, control: true, value: value.clone(), request });
            }
            Step::Data(value, acked) => self.data(value, *acked),
            Step::File { pieces, words, acked } => {
                let file = self.file.clone();
                // Who is not answered does not ask on and on.
                let pieces = if self.busy > 0 { &4.min(*pieces) } else { pieces };
                for piece in file[self.offset.min(file.len())..].chunks(words * 4).take(*pieces) {
                    self.offset += piece.len();
                    self.data(piece, *acked);
                    self.rest();
                }
            }
            Step::Fill { pieces, words } => {
                for _ in 0..if self.busy > 0 { 4.min(*pieces) } else { *pieces } {
                    self.data(&vec![0x5a; words * 4], true);
                    self.rest();
                }
            }
            Step::Leave => {
                self.bench.tell(Input::Disconnected);
                self.model.event(Event::Closed { connection: self.connection });
                self.connection = self.connection % 4 + 1;
                self.bench.tell(Input::Connected { bonded: false });
            }
            Step::Wait(us) => {
                self.busy = 0;
                self.rest();
                self.bench.wait(*us);
                self.model.wait(*us);
                self.rest();
            }
            Step::Busy(steps) => {
                self.busy = *steps;
                self.bench.begin_work();
                return;
            }
        }
        self.busy = self.busy.saturating_sub(1);
        self.rest();
    }

    /// Lets flash work come to its end.
    fn rest(&mut self) {
        if self.busy > 0 {
            return;
        }
        self.bench.settle();
        while self.model.erasing {
            self.model.erased();
        }
    }

    fn slot(&self) -> Option<State> {
        match &self.bench.program {
            Program::Slot(application) => Some(application.state()),
            _ => None,
        }
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(&self.bench.said, &self.model.said);
        prop_assert_eq!(&self.bench.bytes(SLOT.0, SLOT.1), &self.model.slot);
        let state = match self.model.status {
            Status::Uninit => State::Uninit,
            Status::Ready => State::Ready,
            Status::DownloadBegin => State::Begin,
            Status::DownloadEnd => State::End,
            Status::Disconnect => State::Close,
            Status::Verify => State::Verify,
            Status::WaitForReboot => State::Reboot,
            Status::Init | Status::ReadFlash | Status::Erase | Status::Finalize | Status::Error => {
                return Err(TestCaseError::fail("the model is not at rest"));
            }
        };
        prop_assert_eq!(self.slot(), Some(state));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn whatever_an_initiator_does(
        dirty in prop_oneof![Just(vec![]), prop::collection::vec(any::<u8>(), 1..1024)],
        verify_us in prop_oneof![Just(0), 1..300_u64],
        deaf in any::<bool>(),
        steps in steps(),
    ) {
        let erasing = if deaf { Erasing::Deaf } else { Erasing::Blocks };
        let mut pair = Pair::new(&dirty, verify_us, erasing);
        pair.rest();
        pair.compare()?;
        for step in &steps {
            pair.act(step);
            if pair.bench.resets() && pair.model.said.contains(&Said::Reset) {
                prop_assert_eq!(pair.bench.info().reason, reason::BOOTLOAD);
                prop_assert_eq!(&pair.bench.said, &pair.model.said);
                return Ok(());
            }
            if pair.busy == 0 {
                pair.compare()?;
            }
        }
        pair.busy = 0;
        pair.rest();
        pair.compare()?;
    }
}

/// The random initiators come to the ends that there are, at least as this one does.
#[test]
fn a_proper_update_comes_to_its_end_in_both() {
    let mut pair = Pair::new(&[1], 100, Erasing::Blocks);
    pair.rest();
    let file = Step::File { pieces: 300, words: 5, acked: true };
    for step in [Step::Control(vec![0]), file, Step::Control(vec![3]), Step::Leave] {
        pair.act(&step);
    }
    assert_eq!(pair.slot(), Some(State::Verify));
    pair.compare().unwrap();
    // Eight pieces with all of the slot, or the one behind the end of the file, and one to say so.
    pair.act(&Step::Wait(899));
    assert!(!pair.bench.resets());
    pair.act(&Step::Wait(1));
    assert_eq!(pair.bench.said, pair.model.said);
    assert!(pair.bench.resets());
}
