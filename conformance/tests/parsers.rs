//! What people write is read or refused with a place and a reason, whatever is in it.

use brickproof::app::App;
use brickproof::profile::Profile;
use brickproof::scenario::Scenario;
use brickproof::target::Target;
use brickproof_flash_model::layout::Layout;
use proptest::prelude::*;

const SCENARIO: &str = include_str!("../src/cli/templates/scenario.toml");
const TARGET: &str = include_str!("../src/cli/templates/target.toml");
const INITIATOR: &str = include_str!("../src/cli/templates/initiator.toml");
const APP: &str = include_str!("../../scenarios/apps/device-manager.toml");
const LAYOUT: &str = include_str!("../../flash-model/presets/nrf52840.toml");

/// A text with some bytes replaced, removed or doubled.
fn mutated(text: &'static str) -> impl Strategy<Value = String> {
    let change = (0usize..text.len(), any::<u8>(), 0u8..4);
    proptest::collection::vec(change, 1..6).prop_map(move |changes| {
        let mut bytes = text.as_bytes().to_vec();
        for (at, byte, kind) in changes {
            let at = at % bytes.len();
            match kind {
                0 => bytes[at] = byte,
                1 => {
                    bytes.remove(at);
                }
                2 => bytes.insert(at, byte % 128),
                _ => {
                    let tail = bytes[at..].to_vec();
                    bytes.extend_from_slice(&tail[..tail.len().min(40)]);
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

proptest! {
    #[test]
    fn scenarios(text in mutated(SCENARIO)) {
        if let Err(mistake) = Scenario::parse("x.toml", None, &text) {
            prop_assert!(mistake.to_string().starts_with("x.toml"));
        }
    }

    #[test]
    fn targets(text in mutated(TARGET)) {
        if let Err(mistake) = Target::parse("x.toml", None, &text) {
            prop_assert!(!mistake.to_string().is_empty());
        }
    }

    #[test]
    fn apps(text in mutated(APP)) {
        if let Err(mistake) = App::parse("x.toml", &text) {
            prop_assert!(mistake.to_string().starts_with("x.toml"), "{}", mistake);
        }
    }

    #[test]
    fn initiators(text in mutated(INITIATOR)) {
        if let Err(mistake) = Profile::parse("x.toml", &text) {
            prop_assert!(mistake.to_string().starts_with("x.toml"));
        }
    }

    #[test]
    fn layouts(text in mutated(LAYOUT)) {
        if let Err(mistake) = Layout::parse("x.toml", &text) {
            prop_assert!(mistake.to_string().starts_with("x.toml"));
        }
    }
}

#[test]
fn a_mistake_far_to_the_right_is_shown_in_a_window() {
    let text = format!("schema = 1\nname = \"{}\" x", "a".repeat(100_000));
    let mistake = Layout::parse("long.toml", &text).unwrap_err().to_string();
    assert!(mistake.contains("long.toml:2:100011"), "{}", &mistake[..200.min(mistake.len())]);
    assert!(mistake.len() < 500);
}
