//! Scenario, target, initiator, app and layout files, and traces.
#![no_main]

use brickproof::app::App;
use brickproof::profile::Profile;
use brickproof::scenario::Scenario;
use brickproof::target::Target;
use brickproof_flash_model::layout::Layout;
use brickproof_simulator::trace::Record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((kind, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    match kind % 6 {
        0 => drop(Scenario::parse("fuzz.toml", None, text)),
        1 => drop(Target::parse("fuzz.toml", None, text)),
        2 => drop(Profile::parse("fuzz.toml", text)),
        3 => drop(Layout::parse("fuzz.toml", text)),
        4 => drop(App::parse("fuzz.toml", text)),
        _ => drop(serde_json::from_str::<Record>(text)),
    }
});
