//! Bytes to the receiver of a serial port; what it takes for a packet comes back from the sender.
#![no_main]

use brickproof_simulator::smp::console::{Decoder, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = Decoder::new(4096);
    for byte in bytes {
        let Some(line) = decoder.push(*byte) else { continue };
        if let Ok(Some(packet)) = line.packet {
            let mut again = Decoder::new(4096);
            let lines = encode(&packet);
            let received = lines.iter().flatten().filter_map(|byte| again.push(*byte));
            assert_eq!(received.last().map(|line| line.packet), Some(Ok(Some(packet))));
        }
    }
});
