//! From an application into its bootloader.

use brickproof_simulator::gatt::{Address, WriteKind};
use brickproof_simulator::nordic::Endpoint;
use brickproof_simulator::nordic::application::status;
use brickproof_simulator::nordic::gatt::SECURE_SERVICE;

use super::policy::DfuPolicy;
use crate::initiator::link::{Found, Heard, Link};

/// Notifications, or indications.
const NOTIFICATIONS: u16 = 1;
const INDICATIONS: u16 = 2;
/// How long the answer of an application may take, in microseconds.
const ANSWER_US: u64 = 30_000_000;

/// The buttonless characteristic of what is connected, if it has one.
pub fn endpoint<L: Link>(link: &L) -> Option<Endpoint> {
    [Endpoint::Buttonless, Endpoint::BondedButtonless, Endpoint::ExperimentalButtonless]
        .into_iter()
        .find(|endpoint| link.has(*endpoint))
}

/// Asks the application for its bootloader.
///
/// # Errors
/// Why it does not come, in words.
pub async fn enter<L: Link>(link: &mut L, endpoint: Endpoint, policy: &dyn DfuPolicy) -> Result<(), String> {
    if endpoint == Endpoint::BondedButtonless && policy.encrypts() && !link.encrypt().await {
        return Err("the link cannot be encrypted, and the device shares its bond with the bootloader".into());
    }
    if policy.subscribes_before_entering() {
        let bits = if endpoint == Endpoint::ExperimentalButtonless { NOTIFICATIONS } else { INDICATIONS };
        link.subscribe(endpoint, bits).await.map_err(|error| format!("the buttonless service: {error}"))?;
    }
    if let Some(name) = policy.name()
        && endpoint == Endpoint::Buttonless
    {
        let mut request = vec![0x02, u8::try_from(name.len()).unwrap_or(u8::MAX)];
        request.extend(name);
        let status = ask(link, endpoint, request, policy).await?;
        if status != Some(status::SUCCESS) && !policy.tolerates_refused_name() {
            return Err(format!("the name is refused: {status:?}"));
        }
    }
    let status = ask(link, endpoint, vec![0x01], policy).await?;
    match status {
        None | Some(status::SUCCESS) => Ok(()),
        Some(_) if !policy.heeds_entry_status() => Ok(()),
        Some(status) => Err(format!("the application does not enter its bootloader: status {status:#04x}")),
    }
}

/// The status of the answer; `None` when the device was gone before it could be heard.
async fn ask<L: Link>(
    link: &mut L,
    endpoint: Endpoint,
    request: Vec<u8>,
    policy: &dyn DfuPolicy,
) -> Result<Option<u8>, String> {
    link.write(endpoint, request, WriteKind::Request)
        .await
        .map_err(|error| format!("the buttonless service: {error}"))?;
    let end = link.now_us().saturating_add(ANSWER_US);
    loop {
        let left = end.saturating_sub(link.now_us());
        match link.hear(left).await {
            Some(Heard::Indicated(from, value)) => {
                if policy.confirms() {
                    link.confirm().await;
                }
                if from == endpoint {
                    return Ok(value.get(2).copied());
                }
            }
            Some(Heard::Notified(from, value)) if from == endpoint => return Ok(value.get(2).copied()),
            Some(Heard::Notified(..)) => {}
            Some(Heard::Disconnected) => return Ok(None),
            None => return Err("the application does not answer".into()),
        }
    }
}

/// Whether this is the bootloader of the device that had this address.
pub fn is_bootloader(found: &Found, application: Option<Address>, policy: &dyn DfuPolicy) -> bool {
    let next = application.map(Address::next_in_last_byte);
    let address = Some(found.address);
    let name = found.name.as_deref().map(str::as_bytes);
    let named = policy.name().is_some() && name == policy.name();
    let known = named || address == application || (policy.looks_at_next_address() && address == next);
    match application {
        Some(_) => known && found.services.contains(&SECURE_SERVICE),
        None => found.services.contains(&SECURE_SERVICE),
    }
}
