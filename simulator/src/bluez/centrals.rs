//! Who comes and goes on the adapter, and what is asked of the peripheral.

use std::pin::Pin;
use std::sync::Arc;

use bluer::gatt::local::{CharacteristicWriteIoRequest, ReqError};
use bluer::gatt::{CharacteristicReader, CharacteristicWriter};
use bluer::{Adapter, AdapterEvent, AdapterProperty, Device, DeviceEvent, DeviceProperty};
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::port::Central;
use crate::gatt::WriteKind;

/// What is asked of the peripheral, or happens to it.
pub(super) enum Ask {
    /// A device is connected, or is not any more.
    Connected(Central, bool),
    /// A device has paired.
    Paired(Central),
    /// An attempt to protect the link has failed.
    NotPaired(Central, bluer::Error),
    /// The user of the target is shown something while a device pairs.
    Shown {
        /// The method of the agent.
        member: String,
        /// The passkey, or the number.
        number: u32,
    },
    /// A value is read.
    Read { central: Central, handle: u16, offset: u16, mtu: u16, answer: oneshot::Sender<Result<Vec<u8>, ReqError>> },
    /// A value is written, whole.
    Write {
        central: Central,
        handle: u16,
        value: Vec<u8>,
        kind: WriteKind,
        mtu: u16,
        answer: oneshot::Sender<Result<(), ReqError>>,
    },
    /// A central writes through a socket from now on.
    Writes { handle: u16, request: CharacteristicWriteIoRequest },
    /// A value has come through that socket.
    Written { central: Central, handle: u16, value: Vec<u8> },
    /// A central wants to be notified.
    Subscribed { handle: u16, writer: CharacteristicWriter },
    /// It does not any more.
    Unsubscribed { handle: u16 },
    /// The adapter has lost its power.
    PowerOff,
    /// The adapter, or bluetoothd, is gone.
    Gone(String),
}

/// The address of a device as a number.
pub(super) fn central_of(address: bluer::Address) -> Central {
    let [a, b, c, d, e, f] = address.0;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// And back.
pub(super) fn address_of(central: Central) -> bluer::Address {
    let [_, _, a, b, c, d, e, f] = central.to_be_bytes();
    bluer::Address([a, b, c, d, e, f])
}

/// The next of a stream.
pub(super) async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

/// Watches all devices of an adapter, those that are known and those to come.
///
/// # Errors
/// From bluetoothd.
pub(super) async fn watch(adapter: &Adapter, asks: &mpsc::UnboundedSender<Ask>) -> bluer::Result<AbortHandle> {
    // Subscribed before the known ones are listed, so that nobody is missed in between.
    let mut events = Box::pin(adapter.events().await?);
    let known = adapter.device_addresses().await?;
    let (adapter, asks) = (adapter.clone(), asks.clone());
    let task = tokio::task::spawn_local(async move {
        let mut watched = tokio::task::JoinSet::new();
        for address in known {
            if let Ok(device) = adapter.device(address) {
                watched.spawn_local(watch_device(device, asks.clone()));
            }
        }
        while let Some(event) = next(&mut events).await {
            match event {
                AdapterEvent::DeviceAdded(address) => {
                    if let Ok(device) = adapter.device(address) {
                        watched.spawn_local(watch_device(device, asks.clone()));
                    }
                }
                AdapterEvent::PropertyChanged(AdapterProperty::Powered(false)) => {
                    let _ = asks.send(Ask::PowerOff);
                }
                _ => {}
            }
            while watched.try_join_next().is_some() {}
        }
        let _ = asks.send(Ask::Gone(format!("{} is gone", adapter.name())));
    });
    Ok(task.abort_handle())
}

/// Watches a device until it is removed.
async fn watch_device(device: Device, asks: mpsc::UnboundedSender<Ask>) {
    let central = central_of(device.address());
    let Ok(events) = device.events().await else { return };
    let mut events = Box::pin(events);
    if device.is_connected().await.unwrap_or(false) {
        let _ = asks.send(Ask::Connected(central, true));
    }
    while let Some(DeviceEvent::PropertyChanged(property)) = next(&mut events).await {
        let ask = match property {
            DeviceProperty::Connected(connected) => Ask::Connected(central, connected),
            DeviceProperty::Paired(true) => Ask::Paired(central),
            _ => continue,
        };
        if asks.send(ask).is_err() {
            return;
        }
    }
    let _ = asks.send(Ask::Connected(central, false));
}

/// A socket through which a central writes.
#[derive(Debug)]
pub(super) struct Reader {
    central: Central,
    handle: u16,
    socket: Arc<CharacteristicReader>,
    task: AbortHandle,
}

impl Reader {
    /// Passes on what comes through a socket, until it is closed. While nobody takes it, the socket fills up, and
    /// bluetoothd waits.
    pub(super) fn new(handle: u16, central: Central, socket: CharacteristicReader, writes: mpsc::Sender<Ask>) -> Self {
        let socket = Arc::new(socket);
        let reads = Arc::clone(&socket);
        let task = tokio::task::spawn_local(async move {
            while let Ok(value) = reads.recv().await {
                // A closed socket is read as nothing; a write of nothing does not come through one either.
                if value.is_empty() || writes.send(Ask::Written { central, handle, value }).await.is_err() {
                    return;
                }
            }
        });
        Self { central, handle, socket, task: task.abort_handle() }
    }

    /// What is in the socket, and has not been passed on yet.
    pub(super) fn rest(&self) -> Option<Ask> {
        let value = self.socket.try_recv().ok().filter(|value| !value.is_empty())?;
        Some(Ask::Written { central: self.central, handle: self.handle, value })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Values that wait for a socket; an answer of SMP has less than that.
const QUEUED_MAX: usize = 256;

/// Where notifications go.
#[derive(Debug)]
pub(super) struct Notifier {
    pub(super) central: Central,
    pub(super) mtu: u16,
    queue: mpsc::Sender<Vec<u8>>,
    longest: usize,
    writer: Arc<CharacteristicWriter>,
    tasks: [AbortHandle; 2],
}

impl Notifier {
    /// Notifies through this socket from now on, and tells when it is closed.
    pub(super) fn new(handle: u16, writer: CharacteristicWriter, asks: &mpsc::UnboundedSender<Ask>) -> Self {
        let (central, longest) = (central_of(writer.device_address()), writer.mtu());
        // bluer keeps 5 bytes back.
        let mtu = u16::try_from(longest + 5).unwrap_or(u16::MAX);
        let writer = Arc::new(writer);
        let (queue, mut queued) = mpsc::channel::<Vec<u8>>(QUEUED_MAX);
        let (sending, watching, asks) = (Arc::clone(&writer), Arc::clone(&writer), asks.clone());
        let sends = tokio::task::spawn_local(async move {
            while let Some(value) = queued.recv().await {
                if sending.send(&value).await.is_err() {
                    return;
                }
            }
        });
        let watches = tokio::task::spawn_local(async move {
            // Nothing ever comes back through it: it is readable when it is closed.
            let _ = watching.closed().await;
            let _ = asks.send(Ask::Unsubscribed { handle });
        });
        Self { central, mtu, queue, longest, writer, tasks: [sends.abort_handle(), watches.abort_handle()] }
    }

    /// Whether bluetoothd still takes notifications.
    pub(super) fn is_open(&self) -> bool {
        !self.writer.is_closed().unwrap_or(true)
    }

    /// Sends a value; `false` when too much waits already.
    pub(super) fn notify(&self, value: &[u8]) -> bool {
        let pieces = value.chunks(self.longest.max(1));
        let pieces: Vec<_> = if value.is_empty() { vec![Vec::new()] } else { pieces.map(<[u8]>::to_vec).collect() };
        pieces.into_iter().all(|piece| self.queue.try_send(piece).is_ok())
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_central_is_its_address() {
        let address = bluer::Address([0x00, 0xaa, 0x01, 0xff, 0x80, 0x07]);
        assert_eq!(central_of(address), 0x00aa_01ff_8007);
        assert_eq!(address_of(central_of(address)), address);
    }
}
