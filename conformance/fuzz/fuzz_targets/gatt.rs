//! Writes, each behind a length byte, to the transport over Bluetooth LE: a packet is never longer than a buffer.
#![no_main]

use brickproof_simulator::smp::gatt::{GattConfig, GattTransport, Received};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    const BUFFER: usize = 384;
    let config = GattConfig::default();
    let mut transport = GattTransport::default();
    let mut rest = input;
    while let Some((len, next)) = rest.split_first() {
        let (value, next) = next.split_at((*len as usize).min(next.len()));
        if let Received::Packet(packet) = transport.write(&config, BUFFER, len % 7 != 0, value) {
            assert!((8..=BUFFER).contains(&packet.len()), "a packet of {} bytes", packet.len());
        }
        if len % 11 == 0 {
            transport.clear();
        }
        rest = next;
    }
});
