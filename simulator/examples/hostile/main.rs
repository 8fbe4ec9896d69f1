//! Hostile initiators by the million: random requests, random power and link, and the device must live.
//!
//! ```text
//! cargo run --release -p brickproof-simulator --example hostile -- [SEQUENCES [SEED]]
//! cargo run --release -p brickproof-simulator --example hostile -- replay SEED
//! ```
//!
//! Each sequence has a seed of its own, which is printed when it fails; `replay` runs that one again. After
//! each sequence the power is cycled, and the device must start; what else must hold depends on what is attacked:
//!
//! | of a thousand | what | where |
//! |---|---|---|
//! | 940 | SMP, on four modes of MCUboot | `smp.rs` |
//! | 40 | Secure DFU and Legacy DFU, over Bluetooth LE, each sequence as long as many of SMP | `nordic.rs` |
//! | 20 | Silicon Labs' OTA, in place and through a slot, likewise | `silabs.rs` |

mod nordic;
mod silabs;
mod smp;
mod stage;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Sequences between two lines of progress.
const PROGRESS: u64 = 100_000;
/// Most steps of one sequence.
const STEPS_MAX: u64 = 40;
/// Of a thousand sequences, those against Nordic's targets.
const NORDIC: u64 = 40;
/// Of a thousand sequences, those against Silicon Labs' targets.
const SILABS: u64 = 20;

/// The generator `splitmix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// A number that is likely to be at an edge.
    fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::from(u32::MAX),
            2 => u64::MAX,
            3 => 1 << self.below(64),
            4 => self.next(),
            _ => self.below(20_000),
        }
    }
}

/// Devices as they are before each sequence.
struct Starts {
    smp: Vec<smp::Start>,
    nordic: Vec<nordic::Start>,
    silabs: Vec<silabs::Start>,
}

fn sequence(starts: &Starts, seed: u64) -> Result<(), String> {
    let mut random = Random(seed);
    let run = || match random.below(1000) {
        subject if subject < NORDIC => nordic::sequence(&starts.nordic, random),
        subject if subject < NORDIC + SILABS => silabs::sequence(&starts.silabs, random),
        _ => smp::sequence(&starts.smp, random),
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err("panicked".into()))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: u64| {
        arguments.get(index).map_or(Some(default), |text| text.replace('_', "").parse::<u64>().ok())
    };
    let starts = Starts { smp: smp::starts(), nordic: nordic::starts(), silabs: silabs::starts() };
    if arguments.first().is_some_and(|word| word == "replay") {
        let Some(seed) = number(1, 0) else {
            eprintln!("hostile: replay needs the seed of a sequence");
            return ExitCode::from(2);
        };
        return match sequence(&starts, seed) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                eprintln!("hostile: sequence {seed}: {problem}");
                ExitCode::FAILURE
            }
        };
    }
    let (Some(sequences), Some(seed)) = (number(0, 1_000_000), number(1, 1)) else {
        eprintln!("usage: hostile [SEQUENCES [SEED]] | replay SEED");
        return ExitCode::from(2);
    };
    let next = AtomicU64::new(0);
    let failed = AtomicU64::new(0);
    let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= sequences {
                        return;
                    }
                    let own = Random(seed.wrapping_add(index.wrapping_mul(0x9e37_79b9))).next();
                    if let Err(problem) = sequence(&starts, own) {
                        failed.fetch_add(1, Ordering::Relaxed);
                        eprintln!("hostile: sequence {own}: {problem}; `replay {own}` repeats it");
                    }
                    if (index + 1).is_multiple_of(PROGRESS) {
                        eprintln!("hostile: {} of {sequences} sequences", index + 1);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!("hostile: {sequences} sequences from seed {seed}, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
