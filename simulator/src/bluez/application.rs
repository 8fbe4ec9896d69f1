//! A table of attributes as a GATT application of bluetoothd.

use std::collections::BTreeMap;

use bluer::gatt::WriteOp;
use bluer::gatt::local::{
    Application, ApplicationHandle, Characteristic, CharacteristicControlEvent, CharacteristicNotify,
    CharacteristicNotifyMethod, CharacteristicRead, CharacteristicWrite, CharacteristicWriteMethod, ReqError, Service,
    characteristic_control,
};
use bluer::{Adapter, Uuid};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::centrals::{Ask, central_of, next};
use crate::gatt::{self, Properties, Security, Table, WriteKind};

/// Services that bluetoothd has by itself: Generic Access and Generic Attribute.
const OWN: [u16; 2] = [0x1800, 0x1801];

/// A registered application; dropping it takes it back, and centrals are indicated that services have changed.
#[derive(Debug)]
pub(super) struct Registered {
    _handle: ApplicationHandle,
    tasks: Vec<AbortHandle>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Registers the attributes of a table; what is asked of them goes to `asks`. With `sockets`, a characteristic that
/// can only be written without a response is written through one.
///
/// # Errors
/// From bluetoothd.
pub(super) async fn register(
    adapter: &Adapter,
    table: &Table,
    access: &BTreeMap<u16, Security>,
    sockets: bool,
    asks: &mpsc::UnboundedSender<Ask>,
) -> bluer::Result<Registered> {
    let mut tasks = Vec::new();
    let mut services = Vec::new();
    for service in table.services.iter().filter(|service| !is_own(service)) {
        let mut characteristics = Vec::new();
        for characteristic in &service.characteristics {
            let level = access.get(&characteristic.value_handle).copied().unwrap_or_default();
            characteristics.push(declare(characteristic, level, sockets, asks, &mut tasks));
        }
        services.push(Service {
            uuid: uuid(service.uuid),
            primary: service.primary,
            characteristics,
            ..Service::default()
        });
    }
    let application = Application { services, ..Application::default() };
    let registered = adapter.serve_gatt_application(application).await;
    match registered {
        Ok(handle) => Ok(Registered { _handle: handle, tasks }),
        Err(error) => {
            tasks.iter().for_each(AbortHandle::abort);
            Err(error)
        }
    }
}

fn is_own(service: &gatt::Service) -> bool {
    OWN.into_iter().any(|own| service.uuid == gatt::Uuid::short(own))
}

pub(super) fn uuid(uuid: gatt::Uuid) -> Uuid {
    Uuid::from_u128(uuid.bits())
}

fn declare(
    characteristic: &gatt::Characteristic,
    level: Security,
    sockets: bool,
    asks: &mpsc::UnboundedSender<Ask>,
    tasks: &mut Vec<AbortHandle>,
) -> Characteristic {
    let (properties, handle) = (characteristic.properties, characteristic.value_handle);
    let [encrypted, authenticated, secure] =
        [Security::Encrypted, Security::Authenticated, Security::SecureConnections].map(|wanted| level == wanted);
    let read = properties.has(Properties::READ).then(|| CharacteristicRead {
        read: true,
        encrypt_read: encrypted,
        encrypt_authenticated_read: authenticated,
        secure_read: secure,
        fun: reads(handle, asks.clone()),
        ..CharacteristicRead::default()
    });
    let (command, request) = (properties.has(Properties::WRITE_WITHOUT_RESPONSE), properties.has(Properties::WRITE));
    let write = (command || request).then(|| CharacteristicWrite {
        write: request,
        write_without_response: command,
        encrypt_write: encrypted,
        encrypt_authenticated_write: authenticated,
        secure_write: secure,
        method: if sockets && !request {
            CharacteristicWriteMethod::Io
        } else {
            CharacteristicWriteMethod::Fun(writes(handle, command, asks.clone()))
        },
        ..CharacteristicWrite::default()
    });
    let notifies = [Properties::NOTIFY, Properties::INDICATE].map(|property| properties.has(property));
    let notify = notifies.contains(&true).then(|| CharacteristicNotify {
        notify: notifies[0],
        indicate: notifies[1],
        method: CharacteristicNotifyMethod::Io,
        ..CharacteristicNotify::default()
    });
    let (mut control, control_handle) = characteristic_control();
    let asks = asks.clone();
    let task = tokio::task::spawn_local(async move {
        while let Some(event) = next(&mut control).await {
            let ask = match event {
                CharacteristicControlEvent::Write(request) => Ask::Writes { handle, request },
                CharacteristicControlEvent::Notify(writer) => Ask::Subscribed { handle, writer },
            };
            if asks.send(ask).is_err() {
                return;
            }
        }
    });
    tasks.push(task.abort_handle());
    Characteristic { uuid: uuid(characteristic.uuid), read, write, notify, control_handle, ..Characteristic::default() }
}

fn reads(handle: u16, asks: mpsc::UnboundedSender<Ask>) -> bluer::gatt::local::CharacteristicReadFun {
    Box::new(move |request| {
        let (answer, answered) = oneshot::channel();
        let central = central_of(request.device_address);
        let _ = asks.send(Ask::Read { central, handle, offset: request.offset, mtu: request.mtu, answer });
        Box::pin(async move { answered.await.unwrap_or(Err(ReqError::Failed)) })
    })
}

/// `commands`: whether these are offered. A request comes without its kind from bluetoothd 5.66, and bluer takes what has
/// none for a command.
fn writes(handle: u16, commands: bool, asks: mpsc::UnboundedSender<Ask>) -> bluer::gatt::local::CharacteristicWriteFun {
    Box::new(move |value, request| {
        let (answer, answered) = oneshot::channel();
        let kind = match request.op_type {
            WriteOp::Command if commands => WriteKind::Command,
            WriteOp::Command | WriteOp::Request => WriteKind::Request,
            WriteOp::Reliable => WriteKind::Long,
        };
        let central = central_of(request.device_address);
        let refused = if request.prepare_authorize {
            // Only whether it may begin.
            Some(Ok(()))
        } else if request.offset > 0 {
            Some(Err(ReqError::InvalidOffset))
        } else {
            let _ = asks.send(Ask::Write { central, handle, value, kind, mtu: request.mtu, answer });
            None
        };
        Box::pin(async move {
            match refused {
                Some(result) => result,
                None => answered.await.unwrap_or(Err(ReqError::Failed)),
            }
        })
    })
}
