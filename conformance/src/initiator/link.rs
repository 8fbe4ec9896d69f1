//! What the built-in initiator needs of a Bluetooth LE central.

use brickproof_simulator::gatt::{Address, AttError, Uuid, WriteKind};
use brickproof_simulator::nordic::Endpoint;
use brickproof_simulator::trace::InitiatorEvent;

/// What a peripheral shows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its address.
    pub address: Address,
    /// Its name.
    pub name: Option<String>,
    /// Services by their UUIDs.
    pub services: Vec<Uuid>,
    /// Addresses that its advertising data may say are its own, AD type 0x1b: SDKs do not agree where in there the kind is.
    pub identities: Vec<Address>,
}

/// What an LE Bluetooth Device Address may say: six bytes, least significant first, with the kind behind or in front.
#[must_use]
pub fn identities(value: &[u8]) -> Vec<Address> {
    let of = |bytes: Option<&[u8]>| {
        let mut bytes: [u8; 6] = bytes?.try_into().ok()?;
        bytes.reverse();
        Some(Address(bytes))
    };
    if value.len() == 7 { [of(value.get(..6)), of(value.get(1..))].into_iter().flatten().collect() } else { Vec::new() }
}

/// Something that a central hears on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A notification.
    Notified(Endpoint, Vec<u8>),
    /// An indication, which is to be confirmed.
    Indicated(Endpoint, Vec<u8>),
    /// The link has ended.
    Disconnected,
}

/// Why something did not work on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkError {
    /// The peripheral has answered with this error.
    Refused(AttError),
    /// There is no link, or not any more.
    Gone,
    /// The answer has not come in time.
    Late,
    /// The peripheral has no such characteristic.
    Missing,
}

impl std::fmt::Display for LinkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "ATT error {:#04x}", error.code()),
            Self::Gone => f.write_str("the link is gone"),
            Self::Late => f.write_str("there is no answer"),
            Self::Missing => f.write_str("the characteristic is not there"),
        }
    }
}

/// A central that has at most one link. Times are in microseconds since the start of the run.
#[expect(async_fn_in_trait, reason = "a link stays on its thread, so its futures need not be Send")]
pub trait Link {
    /// Scans until a peripheral is what is wanted; `None` when `timeout_us` has passed.
    async fn find(&mut self, wanted: &dyn Fn(&Found) -> bool, timeout_us: u64) -> Option<Found>;

    /// Connects to what was found and looks for its attributes, or takes those of before for known; whether there is a
    /// link now.
    async fn connect(&mut self, found: &Found, discovers: bool) -> bool;

    /// Whether the peripheral has this characteristic.
    fn has(&self, endpoint: Endpoint) -> bool;

    /// Asks for an ATT MTU; the one in force.
    async fn exchange_mtu(&mut self, mtu: u16) -> u16;

    /// Switches notifications (1) or indications (2) on.
    ///
    /// # Errors
    /// [`LinkError`].
    async fn subscribe(&mut self, endpoint: Endpoint, bits: u16) -> Result<(), LinkError>;

    /// Writes to a characteristic.
    ///
    /// # Errors
    /// [`LinkError`]; a command that fails is not noticed.
    async fn write(&mut self, endpoint: Endpoint, value: Vec<u8>, kind: WriteKind) -> Result<(), LinkError>;

    /// Writes to a characteristic and waits for the answer no longer than this.
    ///
    /// # Errors
    /// [`LinkError`].
    async fn request(&mut self, endpoint: Endpoint, value: Vec<u8>, timeout_us: u64) -> Result<(), LinkError>;

    /// Reads a characteristic.
    ///
    /// # Errors
    /// [`LinkError`].
    async fn read(&mut self, uuid: Uuid) -> Result<Vec<u8>, LinkError>;

    /// What is heard next, or `None` when `timeout_us` has passed.
    async fn hear(&mut self, timeout_us: u64) -> Option<Heard>;

    /// Confirms an indication.
    async fn confirm(&mut self);

    /// Encrypts the link, with keys of before or by a new pairing; whether it is.
    async fn encrypt(&mut self) -> bool;

    /// Ends the link.
    async fn disconnect(&mut self);

    /// Whether there is a link.
    fn is_connected(&self) -> bool;

    /// Lets time pass; what is heard meanwhile is kept.
    async fn sleep(&mut self, us: u64);

    /// The time.
    fn now_us(&self) -> u64;

    /// Notes what the initiator is about to do.
    fn note(&mut self, event: InitiatorEvent);
}
