//! Boots per second, and the time to cut an update once at every operation.
//!
//! `cargo bench -p brickproof-flash-model`

use std::hint::black_box;

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Options, Slot};
use brickproof_flash_model::flash::{Controller, Count, Cut, Flash, TearModel, Uncut};
use brickproof_flash_model::image::mcuboot::{ImageBuilder, SigningKey, Verifier};
use brickproof_flash_model::layout::Layout;
use criterion::{Criterion, criterion_group, criterion_main};

struct Board {
    mcuboot: Mcuboot,
    layout: Layout,
    key: SigningKey,
}

fn board(layout: &str) -> Board {
    let key = SigningKey::from_seed(b"benchmarks").expect("a key");
    let layout = Layout::preset(layout).expect("a preset");
    let verifier = Verifier::new(vec![key.public().clone()]);
    let mcuboot = Mcuboot::new(&layout, Options::default(), verifier).expect("the layout suits");
    Board { mcuboot, layout, key }
}

impl Board {
    /// Both slots filled with the largest images, the update requested for good.
    fn largest_update(&self) -> Flash {
        let mut flash = self.layout.blank_flash();
        // Header, TLVs and the longest signature.
        let payload = self.mcuboot.max_image_size() as usize - 32 - 152;
        for (slot, version) in [(Slot::Primary, "1.0.0"), (Slot::Secondary, "2.0.0")] {
            let builder = ImageBuilder::new(version.parse().expect("a version")).header_size(32);
            let image = builder.generated_payload(payload).sign(&self.key).expect("signed");
            flash.load(self.mcuboot.area(slot), 0, &image).expect("it fits");
        }
        self.mcuboot.set_pending(&mut Controller::new(&mut flash, &mut Uncut), true).expect("pending");
        flash
    }

    fn operations(&self, flash: &Flash) -> u64 {
        let mut count = Count::default();
        self.mcuboot.boot(&mut Controller::new(&mut flash.clone(), &mut count)).expect("uncut");
        count.operations
    }

    /// Cuts the boot once at every operation and recovers; every recovery must start an image.
    fn cut_everywhere(&self, start: &Flash, operations: u64) -> u64 {
        let mut recovered = 0;
        for at in 0..operations {
            let mut flash = start.clone();
            let mut cut = Cut { at, tear: TearModel::Nothing };
            let interrupted = self.mcuboot.boot(&mut Controller::new(&mut flash, &mut cut));
            assert!(interrupted.is_err());
            let boot = self.mcuboot.boot(&mut Controller::new(&mut flash, &mut Uncut)).expect("uncut");
            recovered += u64::from(boot.outcome.is_boot());
        }
        assert_eq!(recovered, operations);
        recovered
    }
}

fn boots(criterion: &mut Criterion) {
    let board = board("nrf52840");
    let mut flash = board.largest_update();
    board.mcuboot.boot(&mut Controller::new(&mut flash, &mut Uncut)).expect("uncut");
    criterion.bench_function("boot, nothing to do, 376 KiB image validated", |bencher| {
        bencher.iter(|| board.mcuboot.boot(&mut Controller::new(black_box(&mut flash), &mut Uncut)));
    });
    let pending = board.largest_update();
    criterion.bench_function("boot with a swap of the largest images", |bencher| {
        bencher.iter(|| board.mcuboot.boot(&mut Controller::new(&mut pending.clone(), &mut Uncut)));
    });
    criterion.bench_function("clone 1 MiB of flash", |bencher| bencher.iter(|| black_box(&pending).clone()));
}

fn cuts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cut a permanent update of the largest images at every operation");
    group.sample_size(10);
    for layout in ["mcuboot-sim-nrf52840", "nrf52840"] {
        let board = board(layout);
        let start = board.largest_update();
        let operations = board.operations(&start);
        group.bench_function(format!("{layout}, {operations} cuts"), |bencher| {
            bencher.iter(|| board.cut_everywhere(&start, operations));
        });
    }
    group.finish();
}

criterion_group!(benches, boots, cuts);
criterion_main!(benches);
