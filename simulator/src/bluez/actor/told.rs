//! What the peripheral says to its centrals.

use bluer::gatt::local::ReqError;
use tokio::task::spawn_local;

use super::super::centrals::address_of;
use super::super::port::Central;
use super::{Actor, Owed};
use crate::gatt::{AttError, GattEvent};
use crate::trace::EndedBy;

impl Actor {
    pub(super) async fn tell(&mut self, central: Central, event: GattEvent) {
        match event {
            GattEvent::Read { value, .. } => self.pay(central, Ok(value)).await,
            GattEvent::Written { .. } => self.pay(central, Ok(Vec::new())).await,
            GattEvent::Error { error, .. } => self.pay(central, Err(error)).await,
            GattEvent::Notification { handle, value } | GattEvent::Indication { handle, value } => {
                let sent = self.notifiers.get(&handle).is_some_and(|notifier| notifier.notify(&value));
                if !sent && self.connections.contains_key(&central) {
                    self.note(format!("a notification of {} bytes was not taken by bluetoothd", value.len())).await;
                }
            }
            GattEvent::Unreachable | GattEvent::Disconnected { by: EndedBy::Target, .. } => self.disconnect(central),
            // The others have ended here before the peripheral was told, and this may be about the link before.
            GattEvent::Disconnected { .. }
            | GattEvent::Connected
            | GattEvent::Mtu(_)
            | GattEvent::Discovered(_)
            | GattEvent::PairingAsks(_)
            | GattEvent::Secured { .. }
            | GattEvent::PairingFailed(_)
            | GattEvent::ParametersAsked(_) => {}
        }
    }

    async fn pay(&mut self, central: Central, result: Result<Vec<u8>, AttError>) {
        let Some(connection) = self.connections.get_mut(&central) else { return };
        match connection.owed.pop_front() {
            Some(Owed::Value(answer)) => {
                let _ = answer.send(result.map_err(refusal));
            }
            Some(Owed::Done(answer)) => {
                let _ = answer.send(result.map(|_| ()).map_err(refusal));
            }
            // The link was protected while it was refused.
            Some(Owed::Subscription(handle, level)) if result.is_err() && connection.level > level => {
                self.subscribe(central, handle).await;
            }
            Some(Owed::Subscription(handle, _)) if result.is_err() => {
                connection.held.insert(handle);
            }
            Some(Owed::Subscription(..)) | None => {}
        }
    }

    /// Ends a link politely, if there still is one.
    fn disconnect(&mut self, central: Central) {
        self.silenced.remove(&central);
        if self.connections.remove(&central).is_none() {
            return;
        }
        self.readers.clear();
        let adapter = self.adapter.clone();
        spawn_local(async move {
            if let Ok(device) = adapter.device(address_of(central)) {
                // It may have gone by itself.
                let _ = device.disconnect().await;
            }
        });
    }
}

/// The nearest error that bluer knows.
fn refusal(error: AttError) -> ReqError {
    match error {
        AttError::READ_NOT_PERMITTED | AttError::WRITE_NOT_PERMITTED => ReqError::NotPermitted,
        AttError::INSUFFICIENT_AUTHENTICATION | AttError::INSUFFICIENT_ENCRYPTION => ReqError::NotAuthorized,
        AttError::REQUEST_NOT_SUPPORTED => ReqError::NotSupported,
        AttError::INVALID_OFFSET => ReqError::InvalidOffset,
        AttError::INVALID_LENGTH => ReqError::InvalidValueLength,
        _ => ReqError::Failed,
    }
}
