//! Any flash contents: a boot ends, changes nothing it may not change, and the next one ends too.
#![no_main]

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Options, Slot};
use brickproof_flash_model::flash::{Controller, Uncut};
use brickproof_flash_model::image::mcuboot::Verifier;
use brickproof_flash_model::layout::Layout;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let layout = Layout::preset("tiny4-a4").expect("a preset");
    let options = Options { max_sectors: 4, ..Options::default() };
    let mcuboot = Mcuboot::new(&layout, options, Verifier::default()).expect("fits");
    let mut flash = layout.blank_flash();
    // The first half goes to the start and the end of the primary slot, the rest to the secondary's.
    let (first, second) = input.split_at(input.len() / 2);
    for (bytes, slot) in [(first, Slot::Primary), (second, Slot::Secondary)] {
        let area = mcuboot.area(slot);
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        let head = &head[..head.len().min(area.len as usize / 2)];
        let tail = &tail[..tail.len().min(area.len as usize / 2)];
        flash.load(area, 0, head).expect("fits");
        flash.load(area, area.len - tail.len() as u32, tail).expect("fits");
    }
    for _ in 0..3 {
        let mut hook = Uncut;
        mcuboot.boot(&mut Controller::new(&mut flash, &mut hook)).expect("nothing interrupts");
    }
});
