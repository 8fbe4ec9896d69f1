//! A packet taken apart for people and judges, and the header parsed and emitted again.
#![no_main]

use brickproof_simulator::smp::{Frame, SmpMessage};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| {
    let message = SmpMessage::parse(packet);
    let json = serde_json::to_vec(&message).expect("a message has a form in JSON");
    assert_eq!(serde_json::from_slice::<SmpMessage>(&json).expect("and comes back"), message);
    if let Ok((frame, payload)) = Frame::parse(packet) {
        let again = frame.emit(&packet[payload.clone()]);
        assert_eq!(Frame::parse(&again).map(|(frame, _)| frame), Ok(frame));
    }
});
