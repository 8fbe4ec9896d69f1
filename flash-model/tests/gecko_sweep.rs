//! Every power loss of an update by the Gecko bootloader.

mod gecko_sweep_support;

use std::collections::BTreeMap;
use std::time::Instant;

use brickproof_flash_model::sweep::Settings;
use brickproof_flash_model::sweep::gecko::Known;
use gecko_sweep_support::cases;

#[test]
fn scratch() {
    for case in cases() {
        let facts = case.update().facts();
        for strict in [false, true] {
            let at = Instant::now();
            let sweep = case.sweep(strict, Settings::default());
            let t = sweep.totals;
            println!(
                "{} strict={strict} {:?}: nodes {} explored {} edges {} depth {} restarts {} exact {:?} live {:?} ends {:?}",
                case.name,
                at.elapsed(),
                t.nodes,
                t.explored,
                t.edges,
                t.depth,
                t.restarts,
                sweep.exact,
                sweep.live,
                sweep.ends
            );
            let mut seen: BTreeMap<String, (usize, String)> = BTreeMap::new();
            for f in &sweep.findings {
                let k = Known::of(f, &facts).map(|k| k.id);
                let cause = f.cause.map_or("no cut".into(), |c| c.to_string());
                let e = seen
                    .entry(format!("{k:?} {} / {} / {cause}", f.violation.invariant, f.violation.what))
                    .or_insert((0, f.path.to_string()));
                e.0 += f.nodes as usize;
            }
            for (k, v) in seen {
                println!("    {k}  x{} e.g. {}", v.0, v.1);
            }
        }
    }
}
