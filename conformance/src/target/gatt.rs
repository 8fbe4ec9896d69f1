//! The `[gatt]` section of a target profile.

use brickproof_simulator::gatt::{AttError, ConnectionParameters, IoCapability, MTU_MAX, MTU_MIN, Security};
use brickproof_simulator::smp::gatt::{GattConfig, Pairing};
use serde::Deserialize;
use toml::Spanned;

use crate::units::Duration;

/// Supervision timeouts that the Core specification allows with an interval of 50 ms, in microseconds.
const TIMEOUT_US: std::ops::RangeInclusive<u64> = 110_000..=32_000_000;
/// Longest time that a connection takes to be made, in microseconds.
const CONNECT_DELAY_MAX_US: u64 = 60_000_000;
/// Largest passkey: six digits.
const PASSKEY_MAX: u32 = 999_999;
/// Unit of the supervision timeout, in microseconds.
const TIMEOUT_UNIT_US: u64 = 10_000;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Gatt {
    reassembly: Option<bool>,
    mtu: Option<Spanned<u16>>,
    access: Option<Spanned<Access>>,
    refusal: Option<Refusal>,
    pairing: Option<Spanned<PairingEntry>>,
    passkey: Option<Spanned<u32>>,
    secure_connections: Option<bool>,
    replaces_bonds: Option<bool>,
    bonding: Option<bool>,
    connect_delay: Option<Spanned<Duration>>,
    connections: Option<Spanned<u8>>,
    supervision_timeout: Option<Spanned<Duration>>,
    parameter_update: Option<bool>,
    goodbye: Option<bool>,
    keeps_fragments: Option<bool>,
    moving_handles: Option<bool>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Access {
    Open,
    Encrypted,
    Authenticated,
    SecureConnections,
}

#[derive(Clone, Copy, Deserialize)]
enum Refusal {
    #[serde(rename = "0x05")]
    Authentication,
    #[serde(rename = "0x0f")]
    Encryption,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PairingEntry {
    None,
    JustWorks,
    Passkey,
    PasskeyEntry,
    NumericComparison,
}

impl PairingEntry {
    fn capability(self) -> Option<IoCapability> {
        match self {
            Self::None => None,
            Self::JustWorks => Some(IoCapability::NoInputNoOutput),
            Self::Passkey => Some(IoCapability::DisplayOnly),
            Self::PasskeyEntry => Some(IoCapability::KeyboardOnly),
            Self::NumericComparison => Some(IoCapability::DisplayYesNo),
        }
    }
}

/// Where in the file something cannot be, what, and what could.
type Wrong = (usize, String, &'static str);

impl Gatt {
    /// The configuration; what is left out is as the default has it.
    ///
    /// # Errors
    /// Where in the file something cannot be, what, and what could.
    pub(super) fn config(&self) -> Result<GattConfig, Wrong> {
        let default = GattConfig::default();
        if let Some(mtu) = &self.mtu
            && !(MTU_MIN..=MTU_MAX).contains(mtu.get_ref())
        {
            return Err((mtu.span().start, format!("an ATT MTU is not {}", mtu.get_ref()), "from 23 to 517"));
        }
        if let Some(connections) = &self.connections
            && *connections.get_ref() == 0
        {
            return Err((connections.span().start, "nobody could connect".into(), "at least 1 connection"));
        }
        let mut parameters = default.parameters;
        if let Some(timeout) = &self.supervision_timeout {
            let us = timeout.get_ref().us;
            if !TIMEOUT_US.contains(&us) {
                let message = "no supervision timeout is that long or short".into();
                return Err((
                    timeout.span().start,
                    message,
                    "more than twice the interval of 50 ms: from 110 ms to 32 s",
                ));
            }
            let timeout = u16::try_from(us / TIMEOUT_UNIT_US).unwrap_or(ConnectionParameters::PREFERRED.timeout);
            parameters = ConnectionParameters { timeout, ..parameters };
        }
        if let Some(delay) = self.connect_delay.as_ref().filter(|delay| delay.get_ref().us > CONNECT_DELAY_MAX_US) {
            return Err((delay.span().start, "nobody waits that long for a connection".into(), "at most 60 s"));
        }
        let access = match self.access.as_ref().map(Spanned::get_ref) {
            None | Some(Access::Open) => Security::Plain,
            Some(Access::Encrypted) => Security::Encrypted,
            Some(Access::Authenticated) => Security::Authenticated,
            Some(Access::SecureConnections) => Security::SecureConnections,
        };
        let pairing = self.pairing(access)?;
        Ok(GattConfig {
            reassembly: self.reassembly.unwrap_or(default.reassembly),
            mtu: self.mtu.as_ref().map_or(default.mtu, |mtu| *mtu.get_ref()),
            access,
            refusal: self.refusal.map(|refusal| match refusal {
                Refusal::Authentication => AttError::INSUFFICIENT_AUTHENTICATION,
                Refusal::Encryption => AttError::INSUFFICIENT_ENCRYPTION,
            }),
            pairing,
            bonding: self.bonding.unwrap_or(default.bonding),
            connect_delay_us: self.connect_delay.as_ref().map_or(0, |delay| delay.get_ref().us),
            connections: self.connections.as_ref().map_or(default.connections, |connections| *connections.get_ref()),
            parameters,
            parameter_update: self.parameter_update.unwrap_or(default.parameter_update),
            goodbye: self.goodbye.unwrap_or(default.goodbye),
            keeps_fragments: self.keeps_fragments.unwrap_or(default.keeps_fragments),
            moving_handles: self.moving_handles.unwrap_or(default.moving_handles),
            pace: None,
            discovery_us: default.discovery_us,
        })
    }

    /// How the target can be paired with, so that this access can be reached.
    fn pairing(&self, access: Security) -> Result<Pairing, Wrong> {
        let default = GattConfig::default().pairing;
        let entry = self.pairing.as_ref().map(|entry| (entry.span().start, *entry.get_ref()));
        let capability = match entry {
            None if access >= Security::Authenticated => Pairing::PASSKEY.capability,
            None => default.capability,
            Some((_, entry)) => entry.capability(),
        };
        let secure_connections = self.secure_connections.unwrap_or(default.secure_connections);
        if let Some((at, PairingEntry::JustWorks)) = entry
            && access >= Security::Authenticated
        {
            let message = "this pairing never authenticates, and `access` demands it: nobody could ever write";
            return Err((at, message.into(), "pairing = \"passkey\", or access = \"encrypted\""));
        }
        if let Some((at, PairingEntry::NumericComparison)) = entry
            && !secure_connections
        {
            let message = "numbers are compared only by LE Secure Connections";
            return Err((at, message.into(), "secure-connections = true, or pairing = \"passkey\""));
        }
        if let Some(wanted) = &self.access
            && access == Security::SecureConnections
            && !secure_connections
        {
            let message = "the target does not know what its `access` demands: nobody could ever write";
            return Err((wanted.span().start, message.into(), "secure-connections = true"));
        }
        if let Some(passkey) = self.passkey.as_ref().filter(|passkey| *passkey.get_ref() > PASSKEY_MAX) {
            let message = format!("{} is no passkey", passkey.get_ref());
            return Err((passkey.span().start, message, "six digits: 0 to 999999"));
        }
        Ok(Pairing {
            capability,
            secure_connections,
            passkey: self.passkey.as_ref().map_or(default.passkey, |passkey| *passkey.get_ref()),
            replaces_bonds: self.replaces_bonds.unwrap_or(default.replaces_bonds),
        })
    }
}
