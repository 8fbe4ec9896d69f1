//! The built-in initiator on real time: a serial port.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use brickproof_simulator::air::SerialPort;
use brickproof_simulator::smp::console::{Decoder, encode};
use brickproof_simulator::trace::InitiatorEvent;
use tokio::sync::mpsc;

use super::wire::Wire;

/// Longest packet that is received, in bytes.
const PACKET_MAX: usize = 65_535;
/// Between two looks whether a port is there again.
const REOPEN: Duration = Duration::from_millis(20);

/// A wire over a serial port. The port may go away and come back, as those of USB devices do.
pub struct SerialWire {
    path: PathBuf,
    port: Option<SerialPort>,
    decoder: Decoder,
    /// Bytes that are read and not looked at yet.
    waiting: Vec<u8>,
    start: Instant,
    notes: mpsc::UnboundedSender<InitiatorEvent>,
}

impl SerialWire {
    /// A wire to the port at this path, opened when it is needed; what the initiator notes goes to `notes`.
    #[must_use]
    pub fn new(path: PathBuf, start: Instant, notes: mpsc::UnboundedSender<InitiatorEvent>) -> Self {
        Self { path, port: None, decoder: Decoder::new(PACKET_MAX), waiting: Vec::new(), start, notes }
    }

    fn close(&mut self) {
        self.port = None;
        self.waiting.clear();
        self.decoder.forget();
    }

    /// The next packet, however long it takes.
    async fn packet(&mut self) -> Vec<u8> {
        loop {
            let mut waiting = std::mem::take(&mut self.waiting).into_iter();
            while let Some(byte) = waiting.next() {
                // Lines without a marker are the shell's or the log's; broken frames are as good as lost.
                if let Some(Ok(Some(packet))) = self.decoder.push(byte).map(|line| line.packet) {
                    self.waiting = waiting.collect();
                    return packet;
                }
            }
            if self.port.is_none() {
                self.port = SerialPort::open(&self.path).ok();
            }
            let Some(port) = &self.port else {
                tokio::time::sleep(REOPEN).await;
                continue;
            };
            let mut buffer = [0; 1024];
            match port.read(&mut buffer).await {
                Ok(len) if len > 0 => self.waiting.extend_from_slice(&buffer[..len]),
                Ok(_) | Err(_) => {
                    self.close();
                    tokio::time::sleep(REOPEN).await;
                }
            }
        }
    }
}

impl Wire for SerialWire {
    async fn send(&mut self, packet: Vec<u8>) {
        if self.port.is_none() {
            self.port = SerialPort::open(&self.path).ok();
        }
        // A packet that cannot be sent is a lost one: it is not answered.
        if let Some(port) = &self.port
            && port.write(&encode(&packet).concat()).await.is_err()
        {
            self.close();
        }
    }

    async fn receive(&mut self, timeout_us: u64) -> Option<Vec<u8>> {
        tokio::time::timeout(Duration::from_micros(timeout_us), self.packet()).await.ok()
    }

    async fn sleep(&mut self, us: u64) {
        tokio::time::sleep(Duration::from_micros(us)).await;
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn note(&mut self, event: InitiatorEvent) {
        let _ = self.notes.send(event);
    }
}
