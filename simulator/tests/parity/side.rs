//! One side of the comparison: a bus, an adapter on it, and the peripheral behind its air.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::names::Names;
use crate::peripheral::{Order, Shared};
use crate::run::PATIENCE;

/// Name that the peripheral advertises, and that its Generic Access service says.
pub(crate) const NAME: &str = "parity";
/// Orders for whoever carries the peripheral, each with what is told when it was carried out.
pub(crate) type Orders = mpsc::UnboundedReceiver<(Order, oneshot::Sender<()>)>;

/// A side.
#[derive(Debug)]
pub(crate) struct Side {
    /// Of the bus.
    pub(crate) bus: String,
    pub(crate) names: Names,
    pub(crate) peripheral: Shared,
    /// Something was heard, by anybody.
    pub(crate) changed: Rc<Notify>,
    orders: mpsc::UnboundedSender<(Order, oneshot::Sender<()>)>,
    /// The controllers are those of `btvirt`: an advertisement is heard once, when it or the scan begins, and the
    /// kernel does not listen yet in the first moment of a scan.
    pub(crate) is_heard_once: bool,
}

impl Side {
    pub(crate) fn new(bus: String, names: Names, peripheral: Shared, changed: Rc<Notify>) -> (Self, Orders) {
        let (orders, receiver) = mpsc::unbounded_channel();
        (Self { bus, names, peripheral, changed, orders, is_heard_once: false }, receiver)
    }

    /// Lets the peripheral do something.
    pub(crate) async fn order(&self, order: Order) -> Result<(), String> {
        if self.peripheral.borrow_mut().order(&order) {
            return Ok(());
        }
        let (done, carried_out) = oneshot::channel();
        let gone = || "whoever carries the peripheral is gone".to_owned();
        self.orders.send((order, done)).map_err(|_| gone())?;
        let carried_out = timeout(PATIENCE, carried_out).await;
        carried_out.map_err(|_| "bluetoothd has not carried it out".to_owned())?.map_err(|_| gone())
    }

    /// Waits until something was heard.
    pub(crate) async fn heard(&self, deadline: Instant, for_a_device: bool) -> Result<(), String> {
        let waited = || "waited in vain".to_owned();
        if !(self.is_heard_once && for_a_device) {
            return timeout_at(deadline, self.changed.notified()).await.map_err(|_| waited());
        }
        if timeout(Duration::from_millis(500), self.changed.notified()).await.is_err() {
            if Instant::now() > deadline {
                return Err(waited());
            }
            self.order(Order::Advertise(false)).await?;
            self.order(Order::Advertise(true)).await?;
        }
        Ok(())
    }
}

/// The real BlueZ, as the environment names it.
#[derive(Debug)]
pub(crate) struct Real {
    /// Adapter under test, like `hci1`.
    pub(crate) central: String,
    /// Adapter of the peripheral.
    pub(crate) peripheral: String,
    /// Where transcripts are written instead of being compared.
    pub(crate) record: Option<PathBuf>,
}

impl Real {
    /// `BRICKPROOF_PARITY=hci1,hci0` and `BRICKPROOF_PARITY_RECORD=FOLDER`.
    pub(crate) fn from_environment() -> Option<Self> {
        let adapters = std::env::var("BRICKPROOF_PARITY").ok()?;
        let (central, peripheral) = adapters.split_once(',').expect("BRICKPROOF_PARITY=CENTRAL,PERIPHERAL");
        let record = std::env::var_os("BRICKPROOF_PARITY_RECORD").map(PathBuf::from);
        Some(Self { central: central.to_owned(), peripheral: peripheral.to_owned(), record })
    }
}
