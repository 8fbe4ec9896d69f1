//! What receipts, MTU, flash and a pause behind each create make of 256 KiB by Secure DFU: a table on virtual time, the
//! same on every machine.

use std::fmt::Write;
use std::path::PathBuf;

use brickproof::initiator::nordic::policy::DfuPolicy;
use brickproof::initiator::personality::Personality;
use brickproof::initiator::policy::Truthful;
use brickproof::judge::nordic::measure::transfer;
use brickproof::library;
use brickproof::runner::Plan;
use brickproof::runner::case::Case;
use brickproof::runner::virtual_time::run_nordic;

/// An initiator with these receipts, and with this pause behind each create.
struct Paced {
    receipts: u16,
    pause_ms: u64,
}

impl DfuPolicy for Paced {
    fn prn(&self) -> Option<u16> {
        Some(self.receipts)
    }

    fn pause_after_create_us(&self, _: usize) -> u64 {
        self.pause_ms * 1000
    }

    fn object_tries(&self) -> u32 {
        10
    }
}

#[test]
fn receipts_mtu_and_flash_make_this_of_256_kib() {
    let plan = Plan::builtin(Personality::DEFAULT, PathBuf::new());
    let mut table = String::from("  MTU  flash     receipts  pause    time      rate    lost  sent again\n");
    for (name, mtu, flash) in [
        ("nordic-timing/256-kib", 247, "nRF52840"),
        ("nordic-timing/256-kib-slow-flash", 247, "slow"),
        ("nordic-timing/256-kib-mtu-23", 23, "nRF52840"),
        ("nordic-timing/256-kib-mtu-23-slow-flash", 23, "slow"),
    ] {
        let scenario = library::scenarios(&[name.to_owned()]).unwrap().into_iter().find(|own| own.id == name).unwrap();
        let case = Case::prepare(&scenario, &plan).unwrap();
        for (receipts, pause_ms) in [(0, 0), (12, 0), (1, 0), (0, 400), (12, 400)] {
            let mut world = case.world(&plan);
            run_nordic(&case, &mut world, &Paced { receipts, pause_ms }, &Truthful);
            let _ = write!(table, "  {mtu:>3}  {flash:<8}  {receipts:>8}  {pause_ms:>3} ms");
            match transfer(&world.take_records(), &case.images) {
                Some(own) => {
                    let seconds = own.duration_us as f64 / 1e6;
                    let rate = own.bytes as f64 / 1000.0 / seconds;
                    let (lost, again) = (own.lost, own.again);
                    let _ = writeln!(table, "  {seconds:>4.0} s  {rate:>3.1} kB/s  {lost:>6}  {again:>10}");
                }
                None => table.push_str("  nothing was taken\n"),
            }
        }
    }
    insta::assert_snapshot!(table);
}
