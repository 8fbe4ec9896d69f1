//! The time to explore every power loss of an update of the largest images.
//!
//! `cargo bench -p brickproof-flash-model --bench sweep`
//!
//! Each case also tells its nodes, its edges and the peak of the memory. Memory of the cases before it that has not been
//! given back counts as well: for exact figures run one case at a time, with its name as the last argument.

use std::cell::Cell;
use std::time::Duration;

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Mode, Options};
use brickproof_flash_model::image::mcuboot::{ImageBuilder, SigningKey, Verifier};
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::sweep::mcuboot::{Factory, Story, Update};
use brickproof_flash_model::sweep::{Depth, Progress, Settings, Tears, explore};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, criterion_group, criterion_main};

const MODES: [(&str, Mode); 7] = [
    ("swap-move", Mode::SwapMove),
    ("swap-scratch", Mode::SwapScratch),
    ("swap-offset", Mode::SwapOffset),
    ("overwrite-only", Mode::OverwriteOnly { fast: false }),
    ("overwrite-only-fast", Mode::OverwriteOnly { fast: true }),
    ("direct-xip", Mode::DirectXip { revert: false }),
    ("direct-xip-with-revert", Mode::DirectXip { revert: true }),
];

/// A bootloader and the two largest images it takes.
struct Case {
    layout: Layout,
    mcuboot: Mcuboot,
    images: [Vec<u8>; 2],
}

impl Case {
    fn new(layout: Layout, options: Options) -> Self {
        let key = SigningKey::from_seed(b"benchmarks").expect("a key");
        let verifier = Verifier::new(vec![key.public().clone()]);
        let mcuboot = Mcuboot::new(&layout, options, verifier).expect("the layout suits");
        // Header, TLVs and the longest signature.
        let payload = mcuboot.max_image_size() as usize - 32 - 152;
        let images = ["1.0.0", "2.0.0"].map(|version| {
            let builder = ImageBuilder::new(version.parse().expect("a version")).header_size(32);
            builder.generated_payload(payload).sign(&key).expect("signed")
        });
        Self { layout, mcuboot, images }
    }

    fn update(&self, story: Story) -> Update<'_> {
        let [old, new] = &self.images;
        Update::new(&self.mcuboot, self.layout.blank_flash(), old, new, story, Factory::Bare).expect("an update")
    }
}

/// Measures one exploration, and tells what it was.
fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, case: &Case, story: Story, settings: Settings) {
    let update = case.update(story);
    let totals = Cell::new(Progress::default());
    forget_peak();
    group.bench_function(name, |bencher| {
        bencher.iter(|| totals.set(explore(&update, settings, |_| true).totals));
    });
    let Progress { nodes, explored, edges, depth, restarts, .. } = totals.get();
    // It may not have been asked for.
    if nodes > 0 {
        let peak = peak();
        eprintln!(
            "{name}: {nodes} nodes, {explored} explored, {edges} edges, {depth} cuts, {restarts} restarts, peak {peak} MiB"
        );
    }
}

/// Lets the peak count from here (Linux: `proc_pid_clear_refs(5)`); where that is refused, it is that of all cases.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Peak of the memory in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).map_or(0, |kib: u64| kib / 1024)
}

/// Few samples and no repetition: one exploration may take seconds.
fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_millis(100));
    group
}

fn modes(criterion: &mut Criterion) {
    let mut group = group(criterion, "nrf52840");
    for (name, mode) in MODES {
        let case = Case::new(Layout::preset("nrf52840").expect("a preset"), Options { mode, ..Options::default() });
        measure(&mut group, name, &case, Story::TestThenRevert, Settings::default());
    }
    group.finish();
}

/// Slots of so many bytes in sectors of 4 KiB, written in words.
fn slots(size: u32) -> Layout {
    let text = format!(
        r#"
schema = 1
name = "slots"

[[device]]
name = "internal"
sectors = [[{sectors}, 4096]]
program-unit = 4

[[partition]]
name = "primary"
device = "internal"
offset = 0
size = {size}

[[partition]]
name = "secondary"
device = "internal"
offset = {size}
size = {size}
"#,
        sectors = 2 * size / 4096
    );
    Layout::parse("slots", &text).expect("a layout")
}

fn growth(criterion: &mut Criterion) {
    let mut group = group(criterion, "swap-move");
    for size in [0x18000, 0x30000, 0x60000, 0xc0000] {
        let options = Options { mode: Mode::SwapMove, max_sectors: size / 4096, ..Options::default() };
        let case = Case::new(slots(size), options);
        let name = format!("{} sectors", size / 4096);
        measure(&mut group, &name, &case, Story::TestThenRevert, Settings::default());
    }
    group.finish();
}

/// What MCUboot's own simulator does: one cut, between operations.
fn single(criterion: &mut Criterion) {
    let mut group = group(criterion, "mcuboot-sim-nrf52840");
    let case = Case::new(Layout::preset("mcuboot-sim-nrf52840").expect("a preset"), Options::default());
    let settings = Settings { depth: Depth::AtMost(1), tears: Tears::None, ..Settings::default() };
    measure(&mut group, "single clean cuts", &case, Story::Permanent, settings);
    group.finish();
}

criterion_group!(benches, modes, growth, single);
criterion_main!(benches);
