//! Random uploaders of all sorts.

use std::sync::OnceLock;

use brickproof_flash_model::flash::TearModel;
use proptest::prelude::*;

use super::model::{Built, Model, at};
use super::packets::{Known, all};
use super::{Bench, PAGE};
use crate::device::program::Input;

fn known() -> &'static [Known] {
    static KNOWN: OnceLock<Vec<Known>> = OnceLock::new();
    KNOWN.get_or_init(all)
}

#[derive(Debug, Clone)]
enum Step {
    Ask(Vec<u8>),
    Send(Vec<u8>),
    Work,
    /// All flash work.
    Rest,
    Wait(u64),
    Leave,
    Come,
    Cut,
    Tear(TearModel),
    /// What an uploader of this package would do, so many times.
    Next(usize, usize, usize),
}

fn built() -> impl Strategy<Value = Built> {
    let flag = any::<bool>;
    let rare = || prop::bool::weighted(0.2);
    (flag(), flag(), (rare(), rare(), prop::bool::weighted(0.7)), (rare(), prop::bool::weighted(0.7), rare())).prop_map(
        |(reduced, saves, (single, force_dual, signed), (downgrades, same_version, debug))| Built {
            reduced,
            saves,
            single,
            force_dual,
            signed,
            downgrades,
            same_version,
            debug,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = |max: usize| prop::collection::vec(any::<u8>(), 0..max);
    let size = prop_oneof![
        Just(0),
        Just(1),
        Just(0x80),
        Just(0x104),
        Just(141),
        Just(512),
        Just(513),
        Just(PAGE - 4),
        Just(PAGE),
        Just(PAGE + 4),
        Just(PAGE + 0x104),
        Just(2 * PAGE),
        Just(u32::MAX),
        Just(u32::MAX - PAGE + 1),
        0_u32..9000,
        any::<u32>(),
    ];
    let package = prop_oneof![3 => Just(0_usize), 3 => Just(1_usize), 4 => 0..known().len()];
    let more = prop_oneof![4 => 1_usize..6, 3 => 20_usize..60, 1 => Just(300_usize)];
    let chunk = prop_oneof![3 => Just(244_usize), 2 => Just(20_usize), 1 => Just(64_usize), 1 => 1_usize..100];
    prop_oneof![
        14 => (package, more, chunk).prop_map(|(package, times, chunk)| Step::Next(package, times, chunk)),
        3 => Just(Step::Work),
        2 => Just(Step::Rest),
        2 => (0_u8..16, bytes(7)).prop_map(|(opcode, rest)| Step::Ask([vec![opcode], rest].concat())),
        3 => (prop_oneof![4 => 1_u8..3, 1 => any::<u8>()], size)
            .prop_map(|(kind, size)| Step::Ask([&[1, kind][..], &size.to_le_bytes()].concat())),
        2 => prop_oneof![4 => 1_u8..3, 1 => any::<u8>()].prop_map(|kind| Step::Ask(vec![6, kind])),
        2 => prop_oneof![Just(vec![4]), Just(vec![3])].prop_map(Step::Ask),
        1 => (0_u8..5, prop::bool::weighted(0.1)).prop_map(|(n, high)| Step::Ask(vec![2, n, u8::from(high)])),
        1 => bytes(9).prop_map(Step::Ask),
        1 => bytes(245).prop_map(Step::Send),
        1 => (0_usize..62, 1_usize..24).prop_map(|(words, _)| Step::Send(vec![7; words * 4])),
        1 => prop_oneof![Just(1_000_000), Just(119_000_000), Just(120_000_000)].prop_map(Step::Wait),
        1 => prop_oneof![Just(Step::Leave), Just(Step::Come)],
        1 => Just(Step::Cut),
        1 => prop_oneof![
            Just(TearModel::FirstHalf),
            Just(TearModel::AllButLast),
            any::<u64>().prop_map(TearModel::Noise)
        ]
        .prop_map(Step::Tear),
    ]
}

impl Model<'_> {
    /// What an uploader would do next.
    fn next(&mut self, package: &Known, chunk: usize) -> Step {
        let (size, offset) = (self.get(at::COMMAND_SIZE), self.get(at::COMMAND_OFFSET) as usize);
        if self.queued() > 12 || self.buffers_free() < 3 {
            return Step::Work;
        }
        if !self.valid {
            let right = size as usize == package.bytes.len()
                && package.bytes.starts_with(&self.settings[at::INIT_COMMAND..][..offset.min(512)]);
            return match (self.current, right) {
                (_, false) => Step::Ask([&[1, 1][..], &(package.bytes.len() as u32).to_le_bytes()].concat()),
                (1, true) if offset < package.bytes.len() => {
                    Step::Send(package.bytes[offset..package.bytes.len().min(offset + chunk)].to_vec())
                }
                (1, true) => Step::Ask(vec![4]),
                (_, true) => Step::Ask(vec![6, 1]),
            };
        }
        // Whatever was accepted: the image of that.
        let image = self.init.map_or(&package.image, |known| &known.image);
        let [object, offset, last] =
            [at::OBJECT_SIZE, at::IMAGE_OFFSET, at::IMAGE_OFFSET_LAST].map(|offset| self.get(offset));
        let rest = self.size.saturating_sub(last).min(PAGE);
        let end = (last + object).min(image.len() as u32);
        match self.current {
            2 if object == 0 && rest > 0 => Step::Ask([&[1, 2][..], &rest.to_le_bytes()].concat()),
            2 if offset < end => {
                Step::Send(image[offset as usize..(end as usize).min(offset as usize + chunk)].to_vec())
            }
            2 => Step::Ask(vec![4]),
            _ => Step::Ask(vec![6, 2]),
        }
    }
}

/// Both, and whether they are of one mind.
struct Pair<'a> {
    bench: Bench,
    model: Model<'a>,
    connected: bool,
    /// Something was.
    refused: bool,
}

impl Pair<'static> {
    fn new(built: Built) -> Self {
        let mut bench = Bench::new(built);
        assert!(!bench.boot());
        let model = Model::start(built, known(), bench.bytes(), 0).unwrap();
        Self { bench, model, connected: true, refused: false }
    }

    /// Power is back, or the device has reset. False where the stored init packet is the end of it.
    fn restart(&mut self) -> Result<bool, TestCaseError> {
        let before = self.bench.bytes();
        let activated = self.bench.boot();
        let built = self.model.built;
        // What an activation does is not the subject here: the model takes it as it is.
        let flash = if activated { self.bench.bytes() } else { before };
        let model = Model::start(built, known(), flash, self.bench.now_us);
        prop_assert_eq!(self.bench.mode.is_some(), model.is_some());
        let Some(model) = model else { return Ok(false) };
        self.model = model;
        if activated {
            self.model.inactive_at = self.bench.timer().unwrap();
        }
        self.connected = true;
        self.same_flash("after a start")?;
        Ok(true)
    }

    fn same_flash(&self, step: &str) -> Result<(), TestCaseError> {
        let found = self.bench.bytes();
        if found != self.model.flash {
            let at = found.iter().zip(&self.model.flash).position(|(one, other)| one != other).unwrap();
            let of = |flash: &[u8]| format!("{:02x?}", &flash[at / 16 * 16..][..32]);
            prop_assert!(false, "{}: flash at {:#x}: {} and {}", step, at, of(&found), of(&self.model.flash));
        }
        Ok(())
    }

    /// False when nothing more can come.
    fn step(&mut self, step: &Step) -> Result<bool, TestCaseError> {
        let (said, expected) = match step {
            // Nothing can be written without a connection.
            Step::Ask(_) | Step::Send(_) if !self.connected => return Ok(true),
            Step::Ask(value) => (self.bench.ask(value), self.model.ask(value, self.bench.now_us)),
            Step::Send(value) => (self.bench.send(value), self.model.send(value)),
            Step::Work => (self.bench.work().unwrap_or_default(), self.model.work().unwrap_or_default()),
            Step::Rest => {
                while self.model.busy() && !self.model.closed {
                    if !self.step(&Step::Work)? {
                        return Ok(false);
                    }
                }
                return Ok(true);
            }
            Step::Wait(us) => {
                // Without room for the backup there is no reset: no flash is so slow.
                while self.model.queued() > 14 {
                    if !self.step(&Step::Work)? {
                        return Ok(false);
                    }
                }
                self.bench.now_us += us;
                self.model.at(self.bench.now_us);
                (self.bench.due(), vec![])
            }
            Step::Leave => {
                self.connected = false;
                self.model.disconnected();
                (self.bench.tell(Input::Disconnected), vec![])
            }
            Step::Come => {
                self.connected = true;
                (self.bench.tell(Input::Connected { bonded: false }), vec![])
            }
            Step::Cut => return self.restart(),
            Step::Tear(tear) => {
                self.bench.tear(*tear);
                return self.restart();
            }
            Step::Next(package, times, chunk) => {
                self.refused = false;
                for _ in 0..*times {
                    let next = self.model.next(&known()[*package], *chunk);
                    if !self.step(&next)? {
                        return Ok(false);
                    }
                    if self.refused {
                        break;
                    }
                }
                return Ok(true);
            }
        };
        prop_assert_eq!(&said, &expected, "{:?}", step);
        self.refused |= said.iter().any(|said| said[2] != 1);
        if self.model.closed {
            while !self.model.resets && self.model.work().is_some() {}
            prop_assert!(self.model.resets, "{:?}", step);
            self.bench.finish();
            prop_assert!(self.bench.resets, "{:?}", step);
            self.same_flash(&format!("reset behind {step:?}"))?;
            return self.restart();
        }
        prop_assert!(!self.bench.resets, "{:?}", step);
        if !matches!(step, Step::Send(_)) {
            self.same_flash(&format!("{step:?}"))?;
        }
        prop_assert_eq!(self.bench.timer().unwrap(), self.model.inactive_at, "{:?}", step);
        Ok(true)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn both_readings_say_the_same(built in built(), steps in prop::collection::vec(step(), 0..60)) {
        let mut pair = Pair::new(built);
        for step in &steps {
            if !pair.step(step)? {
                break;
            }
        }
    }
}
