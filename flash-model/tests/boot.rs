//! Boots: nothing that can be in flash makes the bootloader panic or run for ever, and no cut bricks it.

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Options, Outcome, Slot, SwapType};
use brickproof_flash_model::flash::{Controller, Count, Cut, Flash, TearModel, Uncut};
use brickproof_flash_model::image::mcuboot::{ImageBuilder, SigningKey, Verifier};
use brickproof_flash_model::layout::Layout;
use proptest::prelude::*;

struct Board {
    mcuboot: Mcuboot,
    layout: Layout,
    key: SigningKey,
}

fn board(layout: &str, options: Options) -> Board {
    let key = SigningKey::from_seed(b"tests").unwrap();
    let layout = Layout::preset(layout).unwrap();
    let mcuboot = Mcuboot::new(&layout, options, Verifier::new(vec![key.public().clone()])).unwrap();
    Board { mcuboot, layout, key }
}

impl Board {
    fn image(&self, version: &str, len: usize) -> Vec<u8> {
        ImageBuilder::new(version.parse().unwrap()).header_size(32).generated_payload(len).sign(&self.key).unwrap()
    }

    /// Both images in place, the update requested.
    fn requested(&self, old: usize, new: usize, permanent: bool) -> Flash {
        let mut flash = self.layout.blank_flash();
        flash.load(self.mcuboot.area(Slot::Primary), 0, &self.image("1.0.0", old)).unwrap();
        flash.load(self.mcuboot.area(Slot::Secondary), 0, &self.image("2.0.0", new)).unwrap();
        self.mcuboot.set_pending(&mut Controller::new(&mut flash, &mut Uncut), permanent).unwrap();
        flash
    }

    fn boot(&self, flash: &mut Flash) -> Outcome {
        self.mcuboot.boot(&mut Controller::new(flash, &mut Uncut)).unwrap().outcome
    }

    fn version(&self, flash: &mut Flash) -> String {
        match self.boot(flash) {
            Outcome::Boot { header, .. } => header.version.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn trailers_are_where_the_documentation_has_them() {
    // Slot of 0x60000; offsets of status, swap size, swap info, copy_done, image_ok, magic.
    for (preset, max_sectors, max_align, expected) in [
        ("nrf52840", 96, 8, [0x5fb50, 0x5ffd0, 0x5ffd8, 0x5ffe0, 0x5ffe8, 0x5fff0]),
        ("nrf52840", 128, 8, [0x5f9d0, 0x5ffd0, 0x5ffd8, 0x5ffe0, 0x5ffe8, 0x5fff0]),
    ] {
        let board = board(preset, Options { max_sectors, max_align, ..Options::default() });
        let trailer = board.mcuboot.trailer(Slot::Primary);
        let found = [
            trailer.status_offset(0),
            trailer.swap_size_offset(),
            trailer.swap_info_offset(),
            trailer.copy_done_offset(),
            trailer.image_ok_offset(),
            trailer.magic_offset(),
        ];
        assert_eq!(found, expected, "{preset} with {max_sectors} sectors");
    }
}

#[test]
fn wide_program_units_swap_too() {
    for (unit, status) in [(16, 0x5edb0), (32, 0x5db60)] {
        let text = format!(
            "schema = 1\nname = \"wide\"\n[[device]]\nname = \"internal\"\nsectors = [[192, 4096]]\nprogram-unit = {unit}\n\
             [[partition]]\nname = \"primary\"\ndevice = \"internal\"\noffset = 0\nsize = 0x60000\n\
             [[partition]]\nname = \"secondary\"\ndevice = \"internal\"\noffset = 0x60000\nsize = 0x60000\n"
        );
        let key = SigningKey::from_seed(b"tests").unwrap();
        let layout = Layout::parse("wide.toml", &text).unwrap();
        let options = Options { max_sectors: 96, max_align: unit, ..Options::default() };
        let mcuboot = Mcuboot::new(&layout, options, Verifier::new(vec![key.public().clone()])).unwrap();
        assert_eq!(mcuboot.trailer(Slot::Primary).status_offset(0), status);
        let board = Board { mcuboot, layout, key };
        let mut flash = board.requested(9000, 12000, false);
        assert_eq!(board.version(&mut flash), "2.0.0");
        assert_eq!(board.mcuboot.swap_type(&flash).unwrap(), SwapType::Revert);
        assert_eq!(board.version(&mut flash), "1.0.0");
        assert_eq!(flash.devices()[0].reprogrammed(), 0);
    }
}

#[test]
fn an_image_that_nearly_fills_the_slot_still_swaps() {
    let board = board("small8-a4", Options { max_sectors: 32, ..Options::default() });
    let mut flash = board.layout.blank_flash();
    let max = board.mcuboot.max_image_size() as usize - 300;
    flash.load(board.mcuboot.area(Slot::Primary), 0, &board.image("1.0.0", max)).unwrap();
    flash.load(board.mcuboot.area(Slot::Secondary), 0, &board.image("2.0.0", 900)).unwrap();
    board.mcuboot.set_pending(&mut Controller::new(&mut flash, &mut Uncut), true).unwrap();
    assert_eq!(board.version(&mut flash), "2.0.0");
}

#[test]
fn an_erased_swap_size_halts_instead_of_running_for_ever() {
    // mcuboot issue 829: a trailer without a swap size, as a programmer wrote it, interrupted.
    let board = board("tiny4-a4", Options::default());
    let mut flash = board.layout.blank_flash();
    let trailer = *board.mcuboot.trailer(Slot::Primary);
    flash.load(trailer.area(), 0, &board.image("1.0.0", 900)).unwrap();
    let mut hook = Uncut;
    let mut controller = Controller::new(&mut flash, &mut hook);
    trailer.write_magic(&mut controller).unwrap();
    controller.program(trailer.area(), trailer.status_offset(0), &[1, 0xff, 0xff, 0xff]).unwrap();
    assert!(matches!(board.boot(&mut flash), Outcome::Halt { .. }));
}

fn tear() -> impl Strategy<Value = TearModel> {
    prop_oneof![Just(TearModel::Nothing), Just(TearModel::FirstHalf), Just(TearModel::AllButLast),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_two_cuts_end_in_one_of_the_two_images(
        old in 500usize..9000, new in 500usize..9000, permanent: bool, first in 0u64..200, second in 0u64..200,
        tear_first in tear(), tear_second in tear(),
    ) {
        let board = board("tiny4-a4", Options { max_sectors: 4, ..Options::default() });
        prop_assume!(old.max(new) + 184 <= board.mcuboot.max_image_size() as usize);
        let mut flash = board.requested(old, new, permanent);
        for (at, tear) in [(first, tear_first), (second, tear_second)] {
            let mut cut = Cut { at, tear };
            let _ = board.mcuboot.boot(&mut Controller::new(&mut flash, &mut cut));
        }
        let version = board.version(&mut flash);
        prop_assert!(version == "1.0.0" || version == "2.0.0");
        // Whatever runs now, the device settles.
        let settled = board.version(&mut flash);
        prop_assert_eq!(board.version(&mut flash), settled);
    }

    #[test]
    fn whatever_is_in_flash_a_boot_ends(
        header in proptest::collection::vec(any::<u8>(), 64), trailers in proptest::collection::vec(any::<u8>(), 256),
        magic in any::<[bool; 4]>(), keep in 0usize..256,
    ) {
        let board = board("tiny4-a4", Options { max_sectors: 8, ..Options::default() });
        let mut flash = board.requested(1000, 2000, false);
        for (index, slot) in [Slot::Primary, Slot::Secondary].into_iter().enumerate() {
            let area = board.mcuboot.area(slot);
            if magic[index] {
                flash.load(area, 4, &header[index * 28..][..28]).unwrap();
            }
            let mut trailer = trailers[index * 128..][..128].to_vec();
            trailer.iter_mut().skip(keep % 128).for_each(|byte| *byte = 0xff);
            if magic[2 + index] {
                trailer[112..].copy_from_slice(&board.mcuboot.trailer(slot).magic());
            }
            flash.load(area, area.len - 128, &trailer).unwrap();
        }
        let mut count = Count::default();
        let _ = board.mcuboot.boot(&mut Controller::new(&mut flash, &mut count));
        prop_assert!(count.operations < 1000);
    }
}
