//! Explanations: what they say of known states, and that nothing in flash makes them panic or disagree with
//! the bootloader.

use std::fmt::Write;

use brickproof_flash_model::boot::mcuboot::explain::{Contents, Explanation, Names, TrailerText};
use brickproof_flash_model::boot::mcuboot::{Mcuboot, Mode, Options, Slot};
use brickproof_flash_model::flash::{Controller, Cut, Flash, TearModel, Uncut};
use brickproof_flash_model::image::mcuboot::{ImageBuilder, Sabotage, SigningKey, Verifier};
use brickproof_flash_model::layout::Layout;
use proptest::prelude::*;

struct Board {
    mcuboot: Mcuboot,
    layout: Layout,
    key: SigningKey,
}

fn board(mode: Mode) -> Board {
    let key = SigningKey::from_seed(b"tests").unwrap();
    let layout = Layout::preset("small8-a4").unwrap();
    let options = Options { mode, max_sectors: 8, ..Options::default() };
    let mcuboot = Mcuboot::new(&layout, options, Verifier::new(vec![key.public().clone()])).unwrap();
    Board { mcuboot, layout, key }
}

impl Board {
    fn image(&self, version: &str, len: usize) -> Vec<u8> {
        ImageBuilder::new(version.parse().unwrap()).header_size(32).generated_payload(len).sign(&self.key).unwrap()
    }

    fn with(&self, old: &[u8], new: &[u8]) -> Flash {
        let mut flash = self.layout.blank_flash();
        flash.load(self.mcuboot.area(Slot::Primary), 0, old).unwrap();
        let start = self.mcuboot.pair(0).unwrap().upload_offset(Slot::Secondary);
        flash.load(self.mcuboot.area(Slot::Secondary), start, new).unwrap();
        flash
    }

    fn pending(&self, old: usize, new: usize) -> Flash {
        let flash = self.with(&self.image("1.0.0", old), &self.image("2.0.0", new));
        self.change(flash, |mcuboot, flash| mcuboot.set_pending(flash, false).unwrap())
    }

    fn change(&self, mut flash: Flash, change: impl FnOnce(&Mcuboot, &mut Controller<'_>)) -> Flash {
        change(&self.mcuboot, &mut Controller::new(&mut flash, &mut Uncut));
        flash
    }

    fn booted(&self, flash: Flash) -> Flash {
        self.change(flash, |mcuboot, flash| {
            mcuboot.boot(flash).unwrap();
        })
    }

    fn cut(&self, mut flash: Flash, at: u64, tear: TearModel) -> Flash {
        let mut hook = Cut { at, tear };
        self.mcuboot.boot(&mut Controller::new(&mut flash, &mut hook)).unwrap_err();
        flash
    }

    fn explain(&self, flash: &Flash) -> Explanation {
        self.mcuboot.explain(flash, &Names { layout: &self.layout, recovers: false })
    }
}

fn trailer(text: &mut String, trailer: &TrailerText) {
    for field in trailer.fields.iter().filter(|_| !trailer.erased) {
        let mark = if field.torn { "!" } else { " " };
        writeln!(text, "  {mark} {:#x} {} [{}] {}", field.address, field.name, field.raw, field.meaning).unwrap();
    }
}

/// What changes from state to state.
fn render(explanation: &Explanation) -> String {
    let mut text = String::new();
    for slot in explanation.images.iter().flat_map(|pair| pair.slots.iter().chain(&pair.scratch)) {
        let contents = match &slot.contents {
            Contents::Empty => "empty".to_owned(),
            Contents::Unknown { begins } => format!("begins with {begins}"),
            Contents::Image(image) => format!(
                "{} of {} bytes{}, {}, signature {}",
                image.version,
                image.size,
                if image.begins == 0 { String::new() } else { format!(" from {:#x} on", image.begins) },
                image.problem.as_deref().unwrap_or("valid"),
                image.signature
            ),
        };
        writeln!(text, "{} {}: {contents}", slot.slot, slot.range).unwrap();
        trailer(&mut text, &slot.trailer);
    }
    for pair in &explanation.images {
        if let Some(swap) = &pair.swap {
            writeln!(text, "swap: {swap}").unwrap();
        }
        for row in pair.rows.iter().filter(|row| row.chosen) {
            writeln!(text, "row: {} -> {}", row.when, row.swap).unwrap();
        }
    }
    for step in &explanation.next_boot.steps {
        writeln!(text, "step: {step}").unwrap();
    }
    writeln!(text, "end: {}", explanation.next_boot.end).unwrap();
    if let Some(then) = &explanation.next_boot.after_it {
        writeln!(text, "then: {then}").unwrap();
    }
    for oddity in &explanation.wrong {
        writeln!(text, "wrong: [{}] {}: {}", oddity.id, oddity.slot, oddity.words).unwrap();
    }
    for remedy in &explanation.remedies {
        writeln!(text, "remedy: {}: {} -> {:?}", remedy.purpose, remedy.steps.join("; "), remedy.then).unwrap();
    }
    text
}

#[test]
fn states_of_swap_move() {
    let board = board(Mode::SwapMove);
    let small = |version| board.image(version, 9000);
    let pending = || board.pending(9000, 5000);
    let testing = || board.booted(pending());
    let secondary = board.mcuboot.area(Slot::Secondary);
    let bad = Sabotage::Signature.apply(&small("2.0.0")).unwrap();
    let mut all = String::new();
    for (name, flash) in [
        ("fresh", board.with(&small("1.0.0"), &[])),
        ("empty", board.layout.blank_flash()),
        ("pending", pending()),
        ("torn trailer", board.cut(pending(), 3, TearModel::FirstHalf)),
        ("moving", board.cut(pending(), 12, TearModel::FirstHalf)),
        ("exchanging", board.cut(pending(), 36, TearModel::Nothing)),
        ("testing", testing()),
        ("torn confirmation", {
            let mut flash = testing();
            let trailer = board.mcuboot.trailer(Slot::Primary);
            flash.load(trailer.area(), trailer.image_ok_offset(), &[0x41]).unwrap();
            flash
        }),
        ("reverting", board.cut(testing(), 20, TearModel::Nothing)),
        ("reverted", board.booted(testing())),
        ("confirmed", board.change(testing(), |mcuboot, flash| mcuboot.set_confirmed(flash).unwrap())),
        (
            "bad signature",
            board.change(board.with(&small("1.0.0"), &bad), |mcuboot, flash| {
                mcuboot.set_pending(flash, true).unwrap();
            }),
        ),
        ("unfinished upload", board.with(&small("1.0.0"), &small("2.0.0")[..4000])),
        ("brick with an update", board.with(&[], &small("2.0.0"))),
        ("moved up, trailer lost", {
            let mut flash = board.layout.blank_flash();
            flash.load(board.mcuboot.area(Slot::Primary), 0x1000, &small("1.0.0")).unwrap();
            flash
        }),
        ("for swap-offset", {
            let mut flash = board.with(&small("1.0.0"), &[]);
            flash.load(secondary, 0x1000, &small("2.0.0")).unwrap();
            flash
        }),
        ("wild", {
            let mut flash = board.with(&small("1.0.0"), &[]);
            let trailer = board.mcuboot.trailer(Slot::Primary);
            flash.load(trailer.area(), trailer.status_offset(3), &[1]).unwrap();
            flash.load(trailer.area(), trailer.status_offset(3) + 1, &[7]).unwrap();
            flash.load(trailer.area(), trailer.swap_info_offset(), &[0x17]).unwrap();
            flash.load(trailer.area(), trailer.magic_offset(), &trailer.magic()).unwrap();
            flash
        }),
    ] {
        writeln!(all, "== {name}\n{}", render(&board.explain(&flash))).unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn states_of_swap_scratch() {
    let board = board(Mode::SwapScratch);
    let small = || board.pending(9000, 5000);
    // Reaches into the sector of the trailer: its records begin in the scratch area.
    let large = || board.pending(28_800, 5000);
    let mut all = String::new();
    for (name, flash) in [
        ("pending", small()),
        ("exchanging", board.cut(small(), 24, TearModel::Nothing)),
        ("torn record", board.cut(small(), 12, TearModel::FirstHalf)),
        ("large, beside the trailer", board.cut(large(), 8, TearModel::Nothing)),
        ("large, later", board.cut(large(), 15, TearModel::Nothing)),
        ("testing", board.booted(small())),
    ] {
        writeln!(all, "== {name}\n{}", render(&board.explain(&flash))).unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn states_of_overwrite_only() {
    let board = board(Mode::OverwriteOnly { fast: true });
    let pending = || board.pending(9000, 5000);
    let mut all = String::new();
    for (name, flash) in [
        ("pending", pending()),
        ("copying", board.cut(pending(), 3, TearModel::FirstHalf)),
        ("updated", board.booted(pending())),
    ] {
        writeln!(all, "== {name}\n{}", render(&board.explain(&flash))).unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn states_of_swap_offset() {
    let board = board(Mode::SwapOffset);
    let pending = || board.pending(9000, 5000);
    let testing = || board.booted(pending());
    let mut all = String::new();
    for (name, flash) in [
        ("fresh", board.with(&board.image("1.0.0", 9000), &[])),
        ("pending", pending()),
        ("exchanging", board.cut(pending(), 30, TearModel::Nothing)),
        ("torn record", board.cut(pending(), 12, TearModel::FirstHalf)),
        ("testing", testing()),
        ("about to revert", board.cut(testing(), 6, TearModel::Nothing)),
        ("reverting", board.cut(testing(), 40, TearModel::Nothing)),
        ("reverted", board.booted(testing())),
        ("confirmed", board.booted(board.change(testing(), |mcuboot, flash| mcuboot.set_confirmed(flash).unwrap()))),
        ("in the first sector", {
            let mut flash = board.with(&board.image("1.0.0", 9000), &[]);
            flash.load(board.mcuboot.area(Slot::Secondary), 0, &board.image("2.0.0", 5000)).unwrap();
            board.change(flash, |mcuboot, flash| mcuboot.set_pending(flash, false).unwrap())
        }),
        ("brick with an update", board.with(&[], &board.image("2.0.0", 5000))),
    ] {
        writeln!(all, "== {name}\n{}", render(&board.explain(&flash))).unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn states_of_direct_xip() {
    let mut all = String::new();
    let board = board(Mode::DirectXip { revert: false });
    let (old, new) = (board.image("1.0.0", 9000), board.image("2.0.0", 5000));
    let bad = Sabotage::Signature.apply(&new).unwrap();
    for (name, flash) in [
        ("fresh", board.with(&old, &[])),
        ("updated", board.with(&old, &new)),
        ("older in the second slot", board.with(&new, &old)),
        ("unfinished upload", board.with(&old, &new[..4000])),
        ("bad signature", board.with(&old, &bad)),
        ("half erased", {
            let mut flash = board.with(&old, &new);
            flash.load(board.mcuboot.area(Slot::Secondary), 0, &[0xff; 0x1000]).unwrap();
            flash
        }),
        ("brick", board.with(&old[..4000], &bad)),
    ] {
        writeln!(all, "== {name}\n{}", render(&board.explain(&flash))).unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn states_of_direct_xip_with_revert() {
    let mut all = String::new();
    let board = board(Mode::DirectXip { revert: true });
    let (old, new) = (board.image("1.0.0", 9000), board.image("2.0.0", 5000));
    let confirmed = |flash| board.change(flash, |mcuboot, flash| mcuboot.set_confirmed(flash).unwrap());
    let uploaded = || confirmed(board.with(&old, &new));
    let pending = || board.change(uploaded(), |mcuboot, flash| mcuboot.set_pending(flash, false).unwrap());
    let testing = || board.booted(pending());
    let poked = |mut flash: Flash, offset: u32, byte: u8| {
        flash.load(board.mcuboot.area(Slot::Secondary), offset, &[byte]).unwrap();
        flash
    };
    let trailer = *board.mcuboot.trailer(Slot::Secondary);
    for (name, flash) in [
        ("fresh", confirmed(board.with(&old, &[]))),
        ("without a trailer", board.with(&old, &[])),
        ("uploaded", uploaded()),
        ("pending", pending()),
        ("testing", testing()),
        (
            "confirmed",
            board.change(testing(), |mcuboot, flash| {
                mcuboot.pair(0).unwrap().set_next_direct_xip(flash, Slot::Secondary, true).unwrap();
            }),
        ),
        ("given up", board.booted(testing())),
        ("being erased", board.cut(testing(), 2, TearModel::FirstHalf)),
        ("torn magic", poked(uploaded(), trailer.magic_offset(), 0x77)),
        ("torn copy_done", poked(pending(), trailer.copy_done_offset(), 0x41)),
        ("torn confirmation", poked(testing(), trailer.image_ok_offset(), 0x41)),
    ] {
        writeln!(all, "== {name}\n{}", render(&board.explain(&flash))).unwrap();
    }
    insta::assert_snapshot!(all);
}

/// Every cut, with every tear: the explanation says what the boot then does, and an interrupted update is
/// never called wrong in a way that would make somebody erase something.
#[test]
fn every_cut_is_explained() {
    for mode in [Mode::SwapMove, Mode::SwapScratch, Mode::SwapOffset, Mode::OverwriteOnly { fast: false }] {
        let board = board(mode);
        let pending = board.pending(9000, 5000);
        let mut whole = pending.clone();
        let operations = board.mcuboot.boot(&mut Controller::new(&mut whole, &mut Uncut)).unwrap().operations;
        for at in 0..operations {
            for tear in [TearModel::Nothing, TearModel::FirstHalf, TearModel::AllButLast] {
                let flash = board.cut(pending.clone(), at, tear);
                let explanation = board.explain(&flash);
                let mut copy = flash.clone();
                let boot = board.mcuboot.boot(&mut Controller::new(&mut copy, &mut Uncut)).unwrap();
                assert_eq!(explanation.next_boot.outcome == "boot", boot.outcome.is_boot());
                assert!(boot.outcome.is_boot(), "{mode:?} {at}");
                if explanation.images[0].swap.is_some() {
                    let steps: Vec<_> = explanation.remedies.iter().flat_map(|remedy| &remedy.steps).collect();
                    assert!(steps.iter().all(|step| step.starts_with("let the device")), "{mode:?} {at}: {steps:?}");
                }
            }
        }
    }
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        Just(Mode::SwapMove),
        Just(Mode::SwapScratch),
        Just(Mode::SwapOffset),
        Just(Mode::DirectXip { revert: false }),
        Just(Mode::DirectXip { revert: true }),
        Just(Mode::OverwriteOnly { fast: true }),
        Just(Mode::OverwriteOnly { fast: false }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nothing_in_flash_makes_it_panic(
        mode in mode(),
        old in proptest::option::of(100usize..20_000),
        new in proptest::option::of(100usize..20_000),
        pokes in proptest::collection::vec((0usize..3, any::<prop::sample::Index>(), any::<u8>()), 0..12),
        magics in any::<[bool; 3]>(),
    ) {
        let board = board(mode);
        let image = |version, len: Option<usize>| len.map(|len| board.image(version, len)).unwrap_or_default();
        let mut flash = board.with(&image("1.0.0", old), &image("2.0.0", new));
        let pair = board.mcuboot.pair(0).unwrap();
        let mut trailers = vec![*pair.trailer(Slot::Primary), *pair.trailer(Slot::Secondary)];
        trailers.extend(pair.scratch());
        for (trailer, magic) in trailers.iter().zip(magics) {
            if magic {
                flash.load(trailer.area(), trailer.magic_offset(), &trailer.magic()).unwrap();
            }
        }
        for (which, place, byte) in pokes {
            let trailer = trailers[which % trailers.len()];
            let start = trailer.area().len - trailer.len();
            // Half of them where fields are.
            let offset = if byte & 1 == 0 { start + place.index(trailer.len() as usize) as u32 }
                else { trailer.swap_size_offset() + place.index((trailer.area().len - trailer.swap_size_offset()) as usize) as u32 };
            flash.load(trailer.area(), offset, &[byte]).unwrap();
        }
        let explanation = board.explain(&flash);
        let boot = board.mcuboot.boot(&mut Controller::new(&mut flash, &mut Uncut)).unwrap();
        prop_assert_eq!(explanation.next_boot.outcome == "boot", boot.outcome.is_boot());
        prop_assert_eq!(explanation.next_boot.operations, boot.operations);
        if !boot.outcome.is_boot() {
            prop_assert!(!explanation.remedies.is_empty(), "a brick has a remedy");
        }
    }
}
