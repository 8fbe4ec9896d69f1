//! NOR rules, cuts and tears, against a model of one byte vector.

use brickproof_flash_model::flash::{
    Area, Controller, Cut, Flash, FlashError, Geometry, Hook, Interner, Interruption, Operation, Overwrite,
    ProtectedRegion, Refusal, SectorRun, TearModel, Uncut,
};
use proptest::prelude::*;

fn geometry() -> Geometry {
    Geometry::new(&[SectorRun { count: 4, size: 256 }, SectorRun { count: 2, size: 1024 }], 4, 0xff).unwrap()
}

fn whole(geometry: &Geometry) -> Area {
    Area { device: 0, offset: 0, len: geometry.len() }
}

fn flash(geometry: &Geometry) -> (Flash, Area) {
    (Flash::new(vec![geometry.clone()]), whole(geometry))
}

#[test]
fn programs_only_clear_bits_and_erases_set_them() {
    let (mut flash, area) = flash(&geometry());
    let mut hook = Uncut;
    let mut controller = Controller::new(&mut flash, &mut hook);
    controller.program(area, 0, &[0xf0; 4]).unwrap();
    controller.program(area, 0, &[0x3c; 4]).unwrap();
    let mut bytes = [0; 4];
    controller.read(area, 0, &mut bytes).unwrap();
    assert_eq!(bytes, [0x30; 4]);
    controller.erase(area, 0, 256).unwrap();
    controller.read(area, 0, &mut bytes).unwrap();
    assert_eq!(bytes, [0xff; 4]);
    assert_eq!(flash.devices()[0].wear()[..2], [1, 0]);
    assert_eq!(flash.devices()[0].reprogrammed(), 4);
}

#[test]
fn flash_that_erases_to_zero_is_the_mirror_image() {
    let geometry = Geometry::new(&[SectorRun { count: 2, size: 64 }], 1, 0x00).unwrap();
    let (mut flash, area) = flash(&geometry);
    let mut hook = Uncut;
    let mut controller = Controller::new(&mut flash, &mut hook);
    controller.program(area, 3, &[0x0f]).unwrap();
    controller.program(area, 3, &[0xc0]).unwrap();
    assert_eq!(flash.read_area(area).unwrap()[2..5], [0x00, 0xcf, 0x00]);
}

#[test]
fn refusals_are_named_and_change_nothing() {
    let geometry = geometry()
        .with_overwrite(Overwrite::Refuse)
        .with_endurance(1)
        .with_protected(ProtectedRegion { name: "bootloader".into(), range: 512..768 })
        .unwrap();
    let (mut flash, area) = flash(&geometry);
    let mut hook = Uncut;
    let mut controller = Controller::new(&mut flash, &mut hook);
    let refused = |result: Result<(), FlashError>| match result {
        Err(FlashError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(refused(controller.program(area, 2, &[0; 4])), Refusal::Unaligned { offset: 2, len: 4, unit: 4 });
    assert_eq!(refused(controller.erase(area, 0, 300)), Refusal::NotWholeSectors { offset: 0, len: 300 });
    assert_eq!(refused(controller.erase(area, 4, 252)), Refusal::NotWholeSectors { offset: 4, len: 252 });
    assert!(matches!(refused(controller.program(area, 3068, &[0; 8])), Refusal::OutOfRange { .. }));
    assert!(matches!(refused(controller.program(area, 760, &[0; 16])), Refusal::Protected { .. }));
    assert!(matches!(refused(controller.erase(area, 512, 256)), Refusal::Protected { .. }));
    controller.program(area, 0, &[0xff; 4]).unwrap();
    assert_eq!(refused(controller.program(area, 0, &[0; 4])), Refusal::AlreadyProgrammed { offset: 0 });
    controller.erase(area, 0, 256).unwrap();
    assert_eq!(refused(controller.erase(area, 0, 256)), Refusal::WornOut { offset: 0, cycles: 1 });
    assert!(flash.read_area(area).unwrap().iter().all(|byte| *byte == 0xff));
}

#[test]
fn an_interrupted_controller_is_fused() {
    let (mut flash, area) = flash(&geometry());
    let mut cut = Cut { at: 1, tear: TearModel::FirstHalf };
    let mut controller = Controller::new(&mut flash, &mut cut);
    controller.program(area, 0, &[0; 4]).unwrap();
    let lost = Err(FlashError::Interrupted(Interruption::PowerLoss));
    assert_eq!(controller.program(area, 4, &[0; 8]), lost);
    assert_eq!(controller.program(area, 64, &[0; 4]), lost);
    assert_eq!(controller.erase(area, 0, 256), lost);
    assert_eq!(controller.read(area, 0, &mut [0; 4]), lost);
    assert_eq!(controller.checkpoint("loop", [0; 4]), lost);
    assert_eq!(flash.read_area(area).unwrap()[..16], [0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
}

#[test]
fn several_devices_are_numbered_as_one() {
    #[derive(Default)]
    struct Seen(Vec<(u64, u8, u32)>);
    impl Hook for Seen {
        fn after(&mut self, operation: &Operation<'_>, _: Option<brickproof_flash_model::flash::Tear>) {
            self.0.push((operation.n, operation.device, operation.offset));
        }
    }
    let mut flash = Flash::new(vec![geometry(), geometry()]);
    let mut seen = Seen::default();
    let mut controller = Controller::new(&mut flash, &mut seen);
    controller.program(Area { device: 0, offset: 256, len: 256 }, 4, &[0; 4]).unwrap();
    controller.program(Area { device: 1, offset: 0, len: 256 }, 8, &[0; 4]).unwrap();
    assert!(controller.program(Area { device: 2, offset: 0, len: 256 }, 0, &[0; 4]).is_err());
    assert_eq!(seen.0, [(0, 0, 260), (1, 1, 8)]);
}

#[test]
fn clones_share_what_does_not_change_and_nothing_else() {
    let (mut flash, area) = flash(&geometry());
    let before = flash.clone();
    let mut hook = Uncut;
    Controller::new(&mut flash, &mut hook).program(area, 0, &[1; 4]).unwrap();
    assert_ne!(flash, before);
    assert_eq!(before.read_area(area).unwrap()[0], 0xff);
    let mut interner = Interner::default();
    let (mut first, mut second) = (flash.clone(), flash.clone());
    interner.intern(&mut first);
    interner.intern(&mut second);
    assert_eq!(first, second);
    // One programmed sector, one erased sector of each size.
    assert_eq!(interner.len(), 3);
}

/// What a person would write down on paper.
#[derive(Debug, Clone)]
enum Action {
    Erase(usize),
    Program(u32, Vec<u8>),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (0usize..6).prop_map(Action::Erase),
        (0u32..767, proptest::collection::vec(any::<u8>(), 1..12)).prop_map(|(unit, mut data)| {
            data.resize(data.len().next_multiple_of(4), 0xff);
            Action::Program(unit * 4, data)
        }),
    ]
}

fn tear() -> impl Strategy<Value = TearModel> {
    prop_oneof![
        Just(TearModel::Nothing),
        Just(TearModel::FirstHalf),
        Just(TearModel::AllButLast),
        any::<u64>().prop_map(TearModel::Noise),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_byte_vector(actions in proptest::collection::vec(action(), 1..40), cut in 0u64..50, tear in tear()) {
        let geometry = geometry();
        let (mut flash, area) = flash(&geometry);
        let mut model = vec![0xffu8; geometry.len() as usize];
        let mut hook = Cut { at: cut, tear };
        let mut controller = Controller::new(&mut flash, &mut hook);
        let mut interrupted = None;
        for action in &actions {
            let n = controller.operations();
            let (range, result) = match action {
                Action::Erase(index) => {
                    let sector = geometry.sectors()[*index];
                    (sector.offset..sector.end(), controller.erase(area, sector.offset, sector.size))
                }
                Action::Program(offset, data) => {
                    let end = offset + data.len() as u32;
                    if end > geometry.len() { continue; }
                    (*offset..end, controller.program(area, *offset, data))
                }
            };
            let range = range.start as usize..range.end as usize;
            if result.is_err() {
                prop_assert_eq!(n, cut);
                interrupted = Some(range);
                break;
            }
            match action {
                Action::Erase(_) => model[range].fill(0xff),
                Action::Program(_, data) => model[range].iter_mut().zip(data).for_each(|(old, new)| *old &= new),
            }
        }
        let bytes = flash.read_area(area).unwrap();
        for (index, (ours, expected)) in bytes.iter().zip(&model).enumerate() {
            // Whatever a tear leaves, it leaves inside the interrupted operation.
            if !interrupted.as_ref().is_some_and(|range| range.contains(&index)) {
                prop_assert_eq!(ours, expected, "byte {}", index);
            }
        }
    }

    #[test]
    fn loading_and_dumping_round_trip(offset in 0u32..3000, data in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (mut flash, area) = flash(&geometry());
        let fits = offset as usize + data.len() <= 3072;
        prop_assert_eq!(flash.load(area, offset, &data).is_ok(), fits);
        if fits {
            let dump = flash.devices()[0].dump();
            prop_assert_eq!(&dump[offset as usize..offset as usize + data.len()], &data[..]);
        }
    }
}
