//! Swap-scratch, swap-offset, overwrite-only, direct-XIP and the build options of MCUboot: what no cut may do, and
//! what each option changes.

use brickproof_flash_model::boot::mcuboot::{
    Boot, Counters, Decision, Downgrade, Mcuboot, Mode, Options, Outcome, Place, Slot, SwapType,
};
use brickproof_flash_model::flash::{Controller, Count, Cut, Flash, TearModel, Uncut};
use brickproof_flash_model::image::mcuboot::{ImageBuilder, SigningKey, Verifier};
use brickproof_flash_model::layout::Layout;
use proptest::prelude::*;

const FAST: Mode = Mode::OverwriteOnly { fast: true };
const OVERWRITE: Mode = Mode::OverwriteOnly { fast: false };
const XIP: Mode = Mode::DirectXip { revert: false };
const XIP_REVERT: Mode = Mode::DirectXip { revert: true };

struct Board {
    mcuboot: Mcuboot,
    layout: Layout,
    key: SigningKey,
}

impl Board {
    fn new(layout: &str, options: Options) -> Self {
        Self::with(Layout::preset(layout).unwrap(), options)
    }

    fn with(layout: Layout, options: Options) -> Self {
        let key = SigningKey::from_seed(b"tests").unwrap();
        let mcuboot = Mcuboot::new(&layout, options, Verifier::new(vec![key.public().clone()])).unwrap();
        Self { mcuboot, layout, key }
    }

    fn builder(version: &str, len: usize) -> ImageBuilder {
        ImageBuilder::new(version.parse().unwrap()).header_size(32).generated_payload(len)
    }

    fn load(&self, flash: &mut Flash, image: usize, slot: Slot, builder: &ImageBuilder) {
        let pair = self.mcuboot.pair(image).unwrap();
        flash.load(pair.area(slot), pair.upload_offset(slot), &builder.sign(&self.key).unwrap()).unwrap();
    }

    fn pend(&self, flash: &mut Flash, image: usize, permanent: bool) {
        self.mcuboot.pair(image).unwrap().set_pending(&mut Controller::new(flash, &mut Uncut), permanent).unwrap();
    }

    fn confirm(&self, flash: &mut Flash) {
        self.mcuboot.set_confirmed(&mut Controller::new(flash, &mut Uncut)).unwrap();
    }

    /// Both images in place, the update requested.
    fn requested(&self, old: &ImageBuilder, new: &ImageBuilder, permanent: bool) -> Flash {
        let mut flash = self.layout.blank_flash();
        self.load(&mut flash, 0, Slot::Primary, old);
        self.load(&mut flash, 0, Slot::Secondary, new);
        self.pend(&mut flash, 0, permanent);
        flash
    }

    fn boot(&self, flash: &mut Flash) -> Boot {
        self.mcuboot.boot(&mut Controller::new(flash, &mut Uncut)).unwrap()
    }

    fn boot_with(&self, flash: &mut Flash, counters: &mut Counters) -> Boot {
        self.mcuboot.boot_with(&mut Controller::new(flash, &mut Uncut), counters).unwrap()
    }

    fn version(&self, flash: &mut Flash) -> String {
        version(&self.boot(flash))
    }

    fn in_slot(&self, flash: &Flash, image: usize, slot: Slot) -> Option<String> {
        use brickproof_flash_model::image::mcuboot::inspect;
        let source = self.mcuboot.pair(image).unwrap().image_source(flash, slot);
        inspect(&source).ok().map(|info| info.header.version.to_string())
    }

    fn operations(&self, flash: &Flash) -> u64 {
        let mut count = Count::default();
        self.mcuboot.boot(&mut Controller::new(&mut flash.clone(), &mut count)).unwrap();
        count.operations
    }
}

fn version(boot: &Boot) -> String {
    match &boot.outcome {
        Outcome::Boot { header, .. } => header.version.to_string(),
        other => format!("{other:?}"),
    }
}

fn options(mode: Mode) -> Options {
    Options { mode, max_sectors: 8, ..Options::default() }
}

#[test]
fn overwrite_only_installs_for_good() {
    for mode in [OVERWRITE, FAST] {
        let board = Board::new("small8-a4", options(mode));
        let mut flash = board.requested(&Board::builder("1.0.0", 9000), &Board::builder("2.0.0", 5000), false);
        let boot = board.boot(&mut flash);
        assert_eq!(version(&boot), "2.0.0");
        assert_eq!(boot.swapped(), Some(SwapType::Permanent));
        assert_eq!(board.version(&mut flash), "2.0.0", "unconfirmed, and nothing to go back to");
        assert_eq!(board.in_slot(&flash, 0, Slot::Secondary), None);
        assert_eq!(board.operations(&flash), 0);
    }
}

#[test]
fn a_backup_is_kept_where_that_is_asked_for() {
    let board = Board::new("small8-a4", Options { keep_backup: true, ..options(FAST) });
    let mut flash = board.requested(&Board::builder("1.0.0", 9000), &Board::builder("2.0.0", 5000), false);
    assert_eq!(board.version(&mut flash), "2.0.0");
    assert_eq!(board.in_slot(&flash, 0, Slot::Secondary).as_deref(), Some("2.0.0"));
    assert_eq!(board.operations(&flash), 0);
}

#[test]
fn swap_scratch_needs_a_scratch_area_of_the_size_of_a_sector() {
    let layout = Layout::preset("nrf5340").unwrap();
    let mistake = Mcuboot::new(&layout, options(Mode::SwapScratch), Verifier::default()).unwrap_err().to_string();
    assert!(mistake.contains("`scratch`"), "{mistake}");
    let mut layout = Layout::preset("stm32f429").unwrap();
    // The storage partition has one sector of 64 KiB, the slots have sectors of 128 KiB.
    let storage = layout.area("storage").unwrap();
    layout
        .partitions
        .iter_mut()
        .filter(|partition| partition.name == "scratch")
        .for_each(|scratch| scratch.area = storage);
    let board = Board::with(layout, options(Mode::SwapScratch));
    assert_eq!(board.mcuboot.max_image_size(), 0);
    let mut flash = board.requested(&Board::builder("1.0.0", 900), &Board::builder("2.0.0", 900), true);
    let boot = board.boot(&mut flash);
    assert!(matches!(boot.decisions[0], Decision::SlotsIncompatible(_)), "{:?}", boot.decisions);
}

#[test]
fn unequal_sectors_and_two_devices_swap_and_swap_back() {
    let nrf5340 = Options { max_sectors: 256, ..Options::default() };
    let stm32 = Options { mode: Mode::SwapScratch, max_sectors: 128, ..Options::default() };
    for (layout, options) in [("nrf5340", nrf5340), ("stm32f429", stm32)] {
        let board = Board::new(layout, options);
        let mut flash = board.requested(&Board::builder("1.0.0", 70_000), &Board::builder("2.0.0", 300_000), false);
        for expected in ["2.0.0", "1.0.0", "1.0.0"] {
            assert_eq!(board.version(&mut flash), expected, "{layout}");
        }
        assert!(flash.devices().iter().all(|device| device.reprogrammed() == 0), "{layout}");
    }
}

#[test]
fn an_image_of_the_largest_size_swaps_in_every_mode() {
    for (layout, mode) in [
        ("small8-a4", Mode::SwapMove),
        ("small8-a4", Mode::SwapScratch),
        ("stm32-a4", Mode::SwapScratch),
        ("k64fbig-a8", Mode::SwapScratch),
        ("u1k32-a4", Mode::SwapScratch),
        ("u1k32-a4", Mode::SwapOffset),
        ("uneq8-9-a4", Mode::SwapOffset),
        ("small8-a4", OVERWRITE),
        ("small8-a4", FAST),
    ] {
        let board = Board::new(layout, Options { mode, ..Options::default() });
        let largest = board.mcuboot.max_image_size() as usize;
        // An ECDSA signature has 70 to 72 bytes.
        let payload = largest - 32 - 4 - 12 - 64 - 72;
        let mut flash = board.requested(&Board::builder("1.0.0", payload), &Board::builder("2.0.0", payload), true);
        assert_eq!(board.version(&mut flash), "2.0.0", "{layout} {mode:?}");
        let mut flash = board.requested(&Board::builder("1.0.0", 900), &Board::builder("2.0.0", payload + 4), true);
        assert_eq!(board.version(&mut flash), "1.0.0", "{layout} {mode:?}: too large");
    }
}

#[test]
fn an_older_version_is_erased_unless_it_is_a_revert() {
    for mode in [Mode::SwapMove, Mode::SwapScratch, Mode::SwapOffset, OVERWRITE, FAST] {
        let board = Board::new("small8-a4", Options { downgrade: Downgrade::ByVersion, ..options(mode) });
        let update =
            |old: &str, new: &str| board.requested(&Board::builder(old, 5000), &Board::builder(new, 5001), false);
        let mut flash = update("2.0.0", "1.9.9");
        let boot = board.boot(&mut flash);
        assert_eq!(version(&boot), "2.0.0", "{mode:?}");
        assert!(boot.decisions.iter().any(|decision| matches!(decision, Decision::DowngradeByVersion { .. })));
        assert_eq!(board.in_slot(&flash, 0, Slot::Secondary), None);
        // An equal version is taken, whatever its build number.
        assert_eq!(board.version(&mut update("2.0.0+9", "2.0.0+1")), "2.0.0+1", "{mode:?}");
        let strict = Options { downgrade: Downgrade::ByVersion, compare_build_number: true, ..options(mode) };
        let strict = Board::new("small8-a4", strict);
        assert_eq!(strict.version(&mut update("2.0.0+9", "2.0.0+1")), "2.0.0+9", "{mode:?}");
        if matches!(mode, Mode::SwapMove | Mode::SwapScratch | Mode::SwapOffset) {
            let mut flash = update("1.0.0", "2.0.0");
            assert_eq!(board.version(&mut flash), "2.0.0");
            assert_eq!(board.version(&mut flash), "1.0.0", "{mode:?}: a revert goes back");
        }
    }
}

#[test]
fn a_lower_security_counter_in_the_image_is_a_downgrade() {
    let board = Board::new("small8-a4", Options { downgrade: Downgrade::BySecurityCounter, ..options(Mode::SwapMove) });
    let counted = |version: &str, counter: Option<u32>| match counter {
        Some(counter) => Board::builder(version, 5000).security_counter(counter),
        None => Board::builder(version, 5000),
    };
    for (old, new, expected) in [
        (Some(5), Some(4), "2.0.0"),
        (Some(5), None, "2.0.0"),
        (Some(5), Some(5), "1.0.0"),
        (None, None, "1.0.0"),
        (None, Some(0), "1.0.0"),
    ] {
        let mut flash = board.requested(&counted("2.0.0", old), &counted("1.0.0", new), false);
        assert_eq!(board.version(&mut flash), expected, "{old:?} to {new:?}");
    }
}

#[test]
fn the_security_counter_of_the_device_goes_up_when_there_is_no_way_back() {
    for mode in [Mode::SwapMove, Mode::SwapScratch, Mode::SwapOffset, OVERWRITE, FAST] {
        let swap = matches!(mode, Mode::SwapMove | Mode::SwapScratch | Mode::SwapOffset);
        let board = Board::new("small8-a4", Options { hardware_rollback_protection: true, ..options(mode) });
        let image = |version: &str, counter: u32| Board::builder(version, 5000).security_counter(counter);
        let mut counters = Counters::default();
        let mut flash = board.requested(&image("1.0.0", 1), &image("2.0.0", 2), false);
        assert_eq!(version(&board.boot_with(&mut flash, &mut counters)), "2.0.0");
        assert_eq!(counters.get(0), if swap { 0 } else { 2 }, "{mode:?}: a test image may go back");
        if swap {
            board.confirm(&mut flash);
            board.boot_with(&mut flash, &mut counters);
            assert_eq!(counters.get(0), 2);
        }
        // Whatever its version: an image from before is refused now, also one without a counter.
        for old in [image("3.0.0", 1), Board::builder("4.0.0", 5000)] {
            // As whoever writes an update does: swap-offset has the old image in front of it.
            flash.load(board.mcuboot.area(Slot::Secondary), 0, &[0xff; 0x8000]).unwrap();
            board.load(&mut flash, 0, Slot::Secondary, &old);
            board.pend(&mut flash, 0, true);
            let boot = board.boot_with(&mut flash, &mut counters);
            assert_eq!(version(&boot), "2.0.0", "{mode:?}");
            assert!(boot.decisions.iter().any(|decision| matches!(decision, Decision::SecondaryRejected(_))));
        }
        let mut flash = board.requested(&image("2.0.0", 2), &image("3.0.0", 7), true);
        let boot = board.boot_with(&mut flash, &mut counters);
        assert_eq!(version(&boot), "3.0.0");
        assert!(boot.decisions.contains(&Decision::CounterRaised { from: 2, to: 7 }), "{:?}", boot.decisions);
        // The old image in the primary slot, as by a debugger: the device does not start it.
        let mut flash = board.layout.blank_flash();
        board.load(&mut flash, 0, Slot::Primary, &image("2.0.0", 2));
        assert!(!board.boot_with(&mut flash, &mut counters).outcome.is_boot());
    }
}

#[test]
fn an_empty_primary_slot_is_filled_where_that_is_allowed() {
    for mode in [Mode::SwapMove, Mode::SwapScratch, Mode::SwapOffset, OVERWRITE, FAST] {
        for bootstrap in [false, true] {
            let board = Board::new("small8-a4", Options { bootstrap, ..options(mode) });
            let mut flash = board.layout.blank_flash();
            board.load(&mut flash, 0, Slot::Secondary, &Board::builder("2.0.0", 5000));
            let boot = board.boot(&mut flash);
            assert_eq!(boot.outcome.is_boot(), bootstrap, "{mode:?}");
            if bootstrap {
                assert!(boot.decisions.contains(&Decision::Bootstrap));
                assert_eq!(board.version(&mut flash), "2.0.0", "{mode:?}: and it stays");
            }
        }
    }
}

#[test]
fn a_primary_slot_that_is_not_validated_starts_with_any_payload() {
    let board = Board::new("small8-a4", Options { validate_primary: false, ..options(Mode::SwapScratch) });
    let mut flash = board.layout.blank_flash();
    board.load(&mut flash, 0, Slot::Primary, &Board::builder("1.0.0", 5000));
    flash.load(board.mcuboot.area(Slot::Primary), 100, &[0; 16]).unwrap();
    assert!(matches!(board.boot(&mut flash).outcome, Outcome::Boot { hash: None, .. }));
    // It must not go on after a swap whose records have a hole: the primary slot may be anything.
    let trailer = *board.mcuboot.trailer(Slot::Primary);
    let mut hook = Uncut;
    let mut controller = Controller::new(&mut flash, &mut hook);
    trailer.write_magic(&mut controller).unwrap();
    for record in [0, 2] {
        controller.program(trailer.area(), trailer.status_offset(record), &[1, 0xff, 0xff, 0xff]).unwrap();
    }
    assert!(matches!(board.boot(&mut flash).outcome, Outcome::Halt { .. }));
}

#[test]
fn a_refused_image_leaves_its_middle_where_scrambling_is_minimal() {
    let board = Board::new("small8-a4", Options { minimal_scramble: true, ..options(Mode::SwapMove) });
    let mut flash = board.requested(&Board::builder("1.0.0", 5000), &Board::builder("2.0.0", 15_000), false);
    let area = board.mcuboot.area(Slot::Secondary);
    flash.load(area, 100, &[0; 16]).unwrap();
    assert_eq!(board.version(&mut flash), "1.0.0");
    let bytes = flash.read_area(area).unwrap();
    let kept: Vec<_> = bytes.chunks(4096).map(|sector| sector.iter().any(|byte| *byte != 0xff)).collect();
    assert_eq!(kept, [false, true, true, true, false, false, false, false]);
}

/// Two images that are updated together.
fn two_images(mode: Mode) -> Board {
    let text =
        "schema = 1\nname = \"two\"\n[[device]]\nname = \"internal\"\nsectors = [[24, 4096]]\nprogram-unit = 4\n"
            .to_owned();
    let partition = |name: &str, offset: u32, size: u32| {
        format!("[[partition]]\nname = \"{name}\"\ndevice = \"internal\"\noffset = {offset:#x}\nsize = {size:#x}\n")
    };
    let text = [
        text,
        partition("primary", 0, 0x5000),
        partition("secondary", 0x5000, 0x5000),
        partition("primary-1", 0xa000, 0x5000),
        partition("secondary-1", 0xf000, 0x5000),
        partition("scratch", 0x14000, 0x1000),
    ]
    .concat();
    let board = Board::with(Layout::parse("two.toml", &text).unwrap(), options(mode));
    assert_eq!(board.mcuboot.image_count(), 2);
    board
}

impl Board {
    /// Four images, both updates requested.
    fn both(&self, updates: [&ImageBuilder; 2], permanent: bool) -> Flash {
        let mut flash = self.layout.blank_flash();
        for (image, update) in updates.into_iter().enumerate() {
            self.load(&mut flash, image, Slot::Primary, &Self::builder("1.0.0", 3000 + image));
            self.load(&mut flash, image, Slot::Secondary, update);
            self.pend(&mut flash, image, permanent);
        }
        flash
    }

    fn primaries(&self, flash: &Flash) -> [String; 2] {
        [0, 1].map(|image| self.in_slot(flash, image, Slot::Primary).unwrap_or_default())
    }
}

#[test]
fn two_images_are_updated_together_and_reverted_together() {
    for mode in [Mode::SwapMove, Mode::SwapScratch, Mode::SwapOffset] {
        let board = two_images(mode);
        let mut flash = board.both([&Board::builder("2.0.0", 5000), &Board::builder("3.0.0", 4000)], false);
        for expected in [["2.0.0", "3.0.0"], ["1.0.0", "1.0.0"], ["1.0.0", "1.0.0"]] {
            let boot = board.boot(&mut flash);
            assert!(boot.outcome.is_boot());
            assert_eq!(board.primaries(&flash), expected, "{mode:?}: {:?}", boot.decisions);
        }
        assert!(board.boot(&mut flash).decisions.contains(&Decision::Image(1)));
    }
}

#[test]
fn an_image_that_needs_what_is_not_there_updates_none() {
    for mode in [Mode::SwapMove, Mode::SwapScratch, FAST] {
        let board = two_images(mode);
        let needs = |version: &str| Board::builder("2.0.0", 5000).dependency(1, version.parse().unwrap());
        let boot = |updates: [&ImageBuilder; 2]| {
            let mut flash = board.both(updates, true);
            let boot = board.boot(&mut flash);
            assert!(boot.outcome.is_boot());
            (board.primaries(&flash), boot)
        };
        let other = Board::builder("3.0.0", 4000);
        let (found, _) = boot([&needs("3.0.0"), &other]);
        assert_eq!(found, ["2.0.0", "3.0.0"], "{mode:?}: it comes with the same boot");
        let (found, result) = boot([&needs("3.0.1"), &other]);
        assert_eq!(found, ["1.0.0", "1.0.0"], "{mode:?}");
        let unmet = |decision: &Decision| matches!(decision, Decision::DependencyUnmet { image: 0, other: 1, .. });
        assert!(result.decisions.iter().any(unmet), "{:?}", result.decisions);
        let (found, _) = boot([&Board::builder("2.0.0", 5000).dependency(2, "1.0.0".parse().unwrap()), &other]);
        assert_eq!(found, ["1.0.0", "1.0.0"], "{mode:?}: there is no image 2");
    }
}

#[test]
fn a_trailer_is_decoded_field_by_field() {
    let board = Board::new("small8-a4", options(Mode::SwapScratch));
    let mut flash = board.requested(&Board::builder("1.0.0", 5000), &Board::builder("2.0.0", 5000), true);
    let pair = &board.mcuboot.pairs()[0];
    let meanings = |flash: &Flash, at: usize| -> Vec<String> {
        pair.decode(flash).unwrap()[at].fields.iter().map(|field| field.meaning.clone()).collect()
    };
    assert_eq!(
        meanings(&flash, 1),
        ["good: the other fields count", "set: the image is confirmed", "erased", "permanent swap, image 0", "erased"]
    );
    let half = board.operations(&flash) / 2;
    let mut cut = Cut { at: half, tear: TearModel::Nothing };
    board.mcuboot.boot(&mut Controller::new(&mut flash, &mut cut)).unwrap_err();
    let decoded = pair.decode(&flash).unwrap();
    assert_eq!(
        decoded.iter().map(|trailer| trailer.place).collect::<Vec<_>>(),
        [Place::Slot(Slot::Primary), Place::Slot(Slot::Secondary), Place::Scratch]
    );
    let primary = &decoded[0];
    assert_eq!(primary.fields[0].raw, pair.trailer(Slot::Primary).magic());
    assert_eq!(primary.fields[0].offset, primary.area.len - 16);
    assert_eq!(primary.records[0].meaning, "step 1: the secondary part is in the scratch area");
    assert_eq!(primary.records[0].offset, primary.offset);
    assert!(decoded[1].records.is_empty());
}

/// Direct-XIP with an image in each slot, the one in the primary slot confirmed.
fn side_by_side(mode: Mode, primary: &str, secondary: &str) -> (Board, Flash) {
    let board = Board::new("small8-a4", options(mode));
    let mut flash = board.layout.blank_flash();
    board.load(&mut flash, 0, Slot::Primary, &Board::builder(primary, 5000));
    board.confirm(&mut flash);
    board.load(&mut flash, 0, Slot::Secondary, &Board::builder(secondary, 6000));
    (board, flash)
}

impl Board {
    /// Boots; the version that runs, and the slot it runs from.
    fn runs(&self, flash: &mut Flash) -> (String, Slot) {
        let boot = self.boot(flash);
        let Outcome::Boot { offset, header, .. } = boot.outcome else { panic!("{boot:?}") };
        (header.version.to_string(), self.mcuboot.pair(0).unwrap().slot_at(offset))
    }

    fn erased(&self, flash: &Flash, slot: Slot) -> bool {
        flash.read_area(self.mcuboot.area(slot)).unwrap().iter().all(|byte| *byte == 0xff)
    }
}

#[test]
fn direct_xip_starts_the_higher_version_where_it_lies() {
    for (primary, secondary, expected) in [
        ("1.0.0", "2.0.0", Slot::Secondary),
        ("2.0.0", "1.0.0", Slot::Primary),
        ("1.0.0", "1.0.0", Slot::Primary),
        // Build numbers are not compared unless the bootloader is built for it.
        ("1.0.0+1", "1.0.0+2", Slot::Primary),
    ] {
        let (board, mut flash) = side_by_side(XIP, primary, secondary);
        let before = flash.devices()[0].sha256();
        assert_eq!(board.runs(&mut flash).1, expected, "{primary} and {secondary}");
        assert_eq!(flash.devices()[0].sha256(), before, "nothing is written");
    }
    let (board, mut flash) = side_by_side(XIP, "1.0.0+1", "1.0.0+2");
    let board = Board { mcuboot: strict(&board), ..board };
    assert_eq!(board.runs(&mut flash).1, Slot::Secondary);
}

fn strict(board: &Board) -> Mcuboot {
    let options = Options { compare_build_number: true, ..options(XIP) };
    Mcuboot::new(&board.layout, options, Verifier::new(vec![board.key.public().clone()])).unwrap()
}

#[test]
fn direct_xip_erases_an_invalid_image_and_falls_back_to_the_other_slot() {
    for mode in [XIP, XIP_REVERT] {
        for bad in Slot::ALL {
            let (old, new) = if bad == Slot::Primary { ("2.0.0", "1.0.0") } else { ("1.0.0", "2.0.0") };
            let (board, mut flash) = side_by_side(mode, old, new);
            board.pend(&mut flash, 0, true);
            flash.load(board.mcuboot.area(bad), 100, &[0; 16]).unwrap();
            let boot = board.boot(&mut flash);
            assert_eq!(version(&boot), "1.0.0", "{mode:?}");
            let rejected = |decision: &Decision| matches!(decision, Decision::Rejected { slot, .. } if *slot == bad);
            assert!(boot.decisions.iter().any(rejected), "{:?}", boot.decisions);
            assert!(board.erased(&flash, bad), "{mode:?} {bad}");
            let other = if bad == Slot::Primary { Slot::Secondary } else { Slot::Primary };
            assert_eq!(board.runs(&mut flash), ("1.0.0".into(), other));
            // Both invalid: nothing is left to start.
            flash.load(board.mcuboot.area(other), 100, &[0; 16]).unwrap();
            assert!(!board.boot(&mut flash).outcome.is_boot());
            assert!(board.erased(&flash, other));
        }
    }
}

#[test]
fn an_image_that_is_linked_for_another_slot_is_left_out() {
    for mode in [XIP, XIP_REVERT] {
        let (board, mut flash) = side_by_side(mode, "1.0.0", "1.0.1");
        let area = board.mcuboot.area(Slot::Secondary);
        let erase = vec![0xff; area.len as usize];
        for (address, expected) in [(area.offset, "2.0.0"), (board.mcuboot.area(Slot::Primary).offset, "1.0.0")] {
            flash.load(area, 0, &erase).unwrap();
            let image = Board::builder("2.0.0", 4000).rom_fixed(address);
            board.load(&mut flash, 0, Slot::Secondary, &image);
            board.pend(&mut flash, 0, true);
            let boot = board.boot(&mut flash);
            assert_eq!(version(&boot), expected, "{mode:?}");
            assert_eq!(board.in_slot(&flash, 0, Slot::Secondary).as_deref(), Some("2.0.0"), "it is not erased");
            let elsewhere = |decision: &Decision| matches!(decision, Decision::LinkedElsewhere { .. });
            assert_eq!(boot.decisions.iter().any(elsewhere), expected == "1.0.0");
        }
    }
}

#[test]
fn direct_xip_with_revert_tests_an_image_and_gives_it_up() {
    let (board, mut flash) = side_by_side(XIP_REVERT, "1.0.0", "2.0.0");
    let mut unmarked = flash.clone();
    assert_eq!(board.runs(&mut unmarked), ("1.0.0".into(), Slot::Primary));
    assert!(board.erased(&unmarked, Slot::Secondary), "an image without a trailer is not kept");
    board.pend(&mut flash, 0, false);
    assert_eq!(board.runs(&mut flash), ("2.0.0".into(), Slot::Secondary));
    let pair = board.mcuboot.pair(0).unwrap();
    assert_eq!(pair.in_test(&flash, Slot::Secondary), Ok(true));
    let mut confirmed = flash.clone();
    // Not confirmed: given up, and the old one runs.
    let boot = board.boot(&mut flash);
    assert_eq!(version(&boot), "1.0.0");
    assert!(boot.decisions.iter().any(|decision| matches!(decision, Decision::GivenUp { slot: Slot::Secondary, .. })));
    assert!(board.erased(&flash, Slot::Secondary));
    assert_eq!(board.operations(&flash), 0);
    pair.set_next_direct_xip(&mut Controller::new(&mut confirmed, &mut Uncut), Slot::Secondary, true).unwrap();
    assert_eq!(pair.in_test(&confirmed, Slot::Secondary), Ok(false));
    assert_eq!(board.runs(&mut confirmed), ("2.0.0".into(), Slot::Secondary));
    assert_eq!(board.operations(&confirmed), 0);
    // The next update goes to the primary slot, and the one after it back.
    let area = board.mcuboot.area(Slot::Primary);
    confirmed.load(area, 0, &vec![0xff; area.len as usize]).unwrap();
    board.load(&mut confirmed, 0, Slot::Primary, &Board::builder("3.0.0", 4000));
    pair.set_next_direct_xip(&mut Controller::new(&mut confirmed, &mut Uncut), Slot::Primary, false).unwrap();
    assert_eq!(board.runs(&mut confirmed), ("3.0.0".into(), Slot::Primary));
    assert_eq!(board.runs(&mut confirmed), ("2.0.0".into(), Slot::Secondary));
    assert!(board.erased(&confirmed, Slot::Primary));
}

#[test]
fn an_unconfirmed_image_without_another_one_is_erased_and_nothing_is_left() {
    let board = Board::new("small8-a4", options(XIP_REVERT));
    let mut flash = board.layout.blank_flash();
    board.load(&mut flash, 0, Slot::Primary, &Board::builder("1.0.0", 5000));
    let pair = board.mcuboot.pair(0).unwrap();
    pair.set_next_direct_xip(&mut Controller::new(&mut flash, &mut Uncut), Slot::Primary, false).unwrap();
    assert_eq!(board.version(&mut flash), "1.0.0");
    assert!(matches!(board.boot(&mut flash).outcome, Outcome::NoBootableImage { .. }));
    assert!(board.erased(&flash, Slot::Primary));
}

#[test]
fn the_counter_of_a_direct_xip_device_goes_up_with_a_confirmed_image() {
    for mode in [XIP, XIP_REVERT] {
        let board = Board::new("small8-a4", Options { hardware_rollback_protection: true, ..options(mode) });
        let image = |version: &str, counter: u32| Board::builder(version, 5000).security_counter(counter);
        let mut counters = Counters::default();
        let mut flash = board.layout.blank_flash();
        board.load(&mut flash, 0, Slot::Primary, &image("1.0.0", 1));
        board.confirm(&mut flash);
        board.load(&mut flash, 0, Slot::Secondary, &image("2.0.0", 2));
        board.pend(&mut flash, 0, false);
        assert_eq!(version(&board.boot_with(&mut flash, &mut counters)), "2.0.0");
        assert_eq!(counters.get(0), if mode == XIP { 2 } else { 0 }, "{mode:?}");
        let pair = board.mcuboot.pair(0).unwrap();
        if mode == XIP_REVERT {
            pair.set_next_direct_xip(&mut Controller::new(&mut flash, &mut Uncut), Slot::Secondary, true).unwrap();
            board.boot_with(&mut flash, &mut counters);
            assert_eq!(counters.get(0), 2);
        }
        // The older image cannot be the way out any more.
        flash.load(pair.area(Slot::Secondary), 100, &[0; 16]).unwrap();
        assert!(!board.boot_with(&mut flash, &mut counters).outcome.is_boot(), "{mode:?}");
    }
}

#[test]
fn every_cut_of_a_direct_xip_boot_leaves_an_image_that_the_story_allows() {
    let tested = || {
        let (board, mut flash) = side_by_side(XIP_REVERT, "1.0.0", "2.0.0");
        board.pend(&mut flash, 0, false);
        (board, flash)
    };
    let given_up = || {
        let (board, mut flash) = tested();
        board.boot(&mut flash);
        (board, flash)
    };
    let refused = |mode| {
        let (board, mut flash) = side_by_side(mode, "1.0.0", "2.0.0");
        flash.load(board.mcuboot.area(Slot::Secondary), 100, &[0; 16]).unwrap();
        board.pend(&mut flash, 0, true);
        (board, flash)
    };
    for ((board, flash), allowed) in [
        (tested(), &["1.0.0", "2.0.0"][..]),
        (given_up(), &["1.0.0"]),
        (refused(XIP), &["1.0.0"]),
        (refused(XIP_REVERT), &["1.0.0"]),
    ] {
        let operations = board.operations(&flash);
        assert!(operations > 0);
        for at in 0..operations {
            for tear in [TearModel::Nothing, TearModel::FirstHalf, TearModel::AllButLast] {
                let mut flash = flash.clone();
                board.mcuboot.boot(&mut Controller::new(&mut flash, &mut Cut { at, tear })).unwrap_err();
                let version = board.version(&mut flash);
                assert!(allowed.contains(&version.as_str()), "{version} after a cut at {at}, {tear:?}");
                assert_eq!(board.version(&mut flash), "1.0.0", "a test is over after one more reset");
            }
        }
    }
}

#[test]
fn an_update_for_swap_offset_begins_in_the_second_sector() {
    let board = Board::new("small8-a4", options(Mode::SwapOffset));
    let requested = || board.requested(&Board::builder("1.0.0", 9000), &Board::builder("2.0.0", 5000), false);
    let mut flash = requested();
    assert_eq!(board.mcuboot.pair(0).unwrap().image_offset(&flash, Slot::Secondary), 0x1000);
    for expected in ["2.0.0", "1.0.0", "1.0.0"] {
        assert_eq!(board.version(&mut flash), expected);
    }
    assert_eq!(board.in_slot(&flash, 0, Slot::Secondary).as_deref(), Some("2.0.0"), "the image that was given up");
    // Confirmed, the old image stays at the start of its slot.
    let mut flash = requested();
    board.boot(&mut flash);
    assert_eq!(board.mcuboot.pair(0).unwrap().image_offset(&flash, Slot::Secondary), 0);
    board.confirm(&mut flash);
    assert_eq!(board.version(&mut flash), "2.0.0");
    assert_eq!(board.in_slot(&flash, 0, Slot::Secondary).as_deref(), Some("1.0.0"));
    // An update where the other modes want it.
    let mut flash = board.layout.blank_flash();
    board.load(&mut flash, 0, Slot::Primary, &Board::builder("1.0.0", 9000));
    let image = Board::builder("2.0.0", 5000).sign(&board.key).unwrap();
    flash.load(board.mcuboot.area(Slot::Secondary), 0, &image).unwrap();
    board.pend(&mut flash, 0, true);
    let boot = board.boot(&mut flash);
    assert_eq!(version(&boot), "1.0.0");
    assert!(boot.decisions.contains(&Decision::UpdateAtWrongSector), "{:?}", boot.decisions);
    assert!(board.erased(&flash, Slot::Secondary));
}

/// As the C code has it (`boot_read_image_header` in `swap_offset.c` compares `idx`, which counts from 1, with `last_idx`,
/// which counts from 0): between the erase of the only sector and the first write to it, the header is looked for where
/// it is not any more, and the swap is not finished.
#[test]
fn one_cut_bricks_a_swap_offset_device_whose_images_fit_one_sector() {
    let board = Board::new("small8-a4", options(Mode::SwapOffset));
    let bricks = |old: usize, new: usize| {
        let flash = board.requested(&Board::builder("1.0.0", old), &Board::builder("2.0.0", new), false);
        let boots_after = |at: &u64| {
            let mut flash = flash.clone();
            let mut cut = Cut { at: *at, tear: TearModel::Nothing };
            board.mcuboot.boot(&mut Controller::new(&mut flash, &mut cut)).unwrap_err();
            board.boot(&mut flash).outcome.is_boot() && board.boot(&mut flash).outcome.is_boot()
        };
        (0..board.operations(&flash)).filter(|at| !boots_after(at)).count()
    };
    assert_eq!(bricks(500, 3000), 1);
    assert_eq!(bricks(500, 5000), 0);
    assert_eq!(bricks(5000, 500), 0);
}

fn tear() -> impl Strategy<Value = TearModel> {
    prop_oneof![Just(TearModel::Nothing), Just(TearModel::FirstHalf), Just(TearModel::AllButLast)]
}

fn modes() -> impl Strategy<Value = (&'static str, Mode)> {
    prop_oneof![
        Just(("tiny4-a4", Mode::SwapScratch)),
        Just(("small8s2-a8", Mode::SwapScratch)),
        Just(("u1k32-a4", Mode::SwapScratch)),
        Just(("tiny4-a4", Mode::SwapOffset)),
        Just(("u1k32-a4", Mode::SwapOffset)),
        Just(("tiny4-a4", OVERWRITE)),
        Just(("tiny4-a4", FAST)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_two_cuts_end_in_one_of_the_two_images(
        (layout, mode) in modes(), old in 500usize..9000, new in 500usize..9000, permanent: bool, revert: bool,
        first in 0.0..1.0f64, second in 0.0..1.0f64, tear_first in tear(), tear_second in tear(),
    ) {
        let max_sectors = if layout == "u1k32-a4" { 32 } else { 8 };
        let board = Board::new(layout, Options { mode, max_sectors, ..Options::default() });
        prop_assume!(old.max(new) + 184 <= board.mcuboot.max_image_size() as usize);
        // See `one_cut_bricks_a_swap_offset_device_whose_images_fit_one_sector`.
        let sector = if layout == "u1k32-a4" { 1024 } else { 4096 };
        prop_assume!(mode != Mode::SwapOffset || old.max(new) + 180 > sector);
        let mut flash = board.requested(&Board::builder("1.0.0", old), &Board::builder("2.0.0", new), permanent);
        if revert {
            board.boot(&mut flash);
        }
        // A revert of swap-offset that is cut twice may end at an assertion for good: so the recordings say, too.
        let cuts = if revert && mode == Mode::SwapOffset { 1 } else { 2 };
        for (share, tear) in [(first, tear_first), (second, tear_second)].into_iter().take(cuts) {
            let operations = board.operations(&flash);
            let mut cut = Cut { at: (operations as f64 * share) as u64, tear };
            let _ = board.mcuboot.boot(&mut Controller::new(&mut flash, &mut cut));
        }
        let version = board.version(&mut flash);
        prop_assert!(version == "1.0.0" || version == "2.0.0", "{}", version);
        let overwrite = matches!(mode, Mode::OverwriteOnly { .. });
        prop_assert!(!overwrite || version == "2.0.0", "an overwrite goes on until it is done");
        prop_assert!(!(permanent && version == "1.0.0"), "a permanent update is not lost");
        // Whatever runs now, the device settles.
        let settled = board.version(&mut flash);
        prop_assert_eq!(board.version(&mut flash), settled);
    }

    #[test]
    fn two_images_survive_a_cut_and_end_up_together(
        scratch: bool, permanent: bool, at in 0.0..1.0f64, tear in tear(),
    ) {
        let board = two_images(if scratch { Mode::SwapScratch } else { Mode::SwapMove });
        let mut flash = board.both([&Board::builder("2.0.0", 5000), &Board::builder("3.0.0", 4000)], permanent);
        let mut cut = Cut { at: (board.operations(&flash) as f64 * at) as u64, tear };
        let _ = board.mcuboot.boot(&mut Controller::new(&mut flash, &mut cut));
        prop_assert!(board.boot(&mut flash).outcome.is_boot());
        if permanent {
            prop_assert_eq!(board.primaries(&flash), ["2.0.0", "3.0.0"]);
        }
    }

    #[test]
    fn whatever_is_in_flash_a_boot_ends(
        (layout, mode) in modes(), trailers in proptest::collection::vec(any::<u8>(), 384), magic in any::<[bool; 3]>(),
        keep in 0usize..128, validate_primary: bool, bootstrap: bool,
    ) {
        let board = Board::new(layout, Options { validate_primary, bootstrap, ..options(mode) });
        let mut flash = board.requested(&Board::builder("1.0.0", 1000), &Board::builder("2.0.0", 2000), false);
        let pair = &board.mcuboot.pairs()[0];
        for (index, trailer) in Slot::ALL.map(|slot| pair.trailer(slot)).into_iter().chain(pair.scratch()).enumerate() {
            let mut bytes = trailers[index * 128..][..128].to_vec();
            bytes.iter_mut().skip(keep).for_each(|byte| *byte = 0xff);
            if magic[index] {
                bytes[112..].copy_from_slice(&trailer.magic());
            }
            flash.load(trailer.area(), trailer.area().len - 128, &bytes).unwrap();
        }
        let mut count = Count::default();
        let _ = board.mcuboot.boot(&mut Controller::new(&mut flash, &mut count));
        prop_assert!(count.operations < 2000);
        let _ = pair.decode(&flash).unwrap();
    }
}
