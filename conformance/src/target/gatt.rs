//! The `[gatt]` section of a target profile.

use brickproof_simulator::smp::gatt::{
    AttError, ConnectionParameters, GattConfig, MTU_MAX, MTU_MIN, Pairing, Security,
};
use serde::Deserialize;
use toml::Spanned;

use crate::units::Duration;

/// Supervision timeouts that the Core specification allows with an interval of 50 ms, in microseconds.
const TIMEOUT_US: std::ops::RangeInclusive<u64> = 110_000..=32_000_000;
/// Unit of the supervision timeout, in microseconds.
const TIMEOUT_UNIT_US: u64 = 10_000;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Gatt {
    reassembly: Option<bool>,
    mtu: Option<Spanned<u16>>,
    access: Option<Access>,
    refusal: Option<Refusal>,
    pairing: Option<Spanned<PairingEntry>>,
    bonding: Option<bool>,
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
}

impl Gatt {
    /// The configuration; what is left out is as the default has it.
    ///
    /// # Errors
    /// Where in the file something cannot be, what, and what could.
    pub(super) fn config(&self) -> Result<GattConfig, (usize, String, &'static str)> {
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
        let access = match self.access {
            None | Some(Access::Open) => Security::Plain,
            Some(Access::Encrypted) => Security::Encrypted,
            Some(Access::Authenticated) => Security::Authenticated,
        };
        let pairing = match self.pairing.as_ref().map(Spanned::get_ref) {
            None if access == Security::Authenticated => Pairing::Passkey,
            None => default.pairing,
            Some(PairingEntry::None) => Pairing::Refused,
            Some(PairingEntry::JustWorks) => Pairing::JustWorks,
            Some(PairingEntry::Passkey) => Pairing::Passkey,
        };
        if let Some(entry) = &self.pairing
            && (access, pairing) == (Security::Authenticated, Pairing::JustWorks)
        {
            let message = "this pairing never authenticates, and `access` demands it: nobody could ever write";
            return Err((entry.span().start, message.into(), "pairing = \"passkey\", or access = \"encrypted\""));
        }
        Ok(GattConfig {
            reassembly: self.reassembly.unwrap_or(default.reassembly),
            mtu: self.mtu.as_ref().map_or(default.mtu, |mtu| *mtu.get_ref()),
            access,
            refusal: self.refusal.map(|refusal| match refusal {
                Refusal::Authentication => AttError::InsufficientAuthentication,
                Refusal::Encryption => AttError::InsufficientEncryption,
            }),
            pairing,
            bonding: self.bonding.unwrap_or(default.bonding),
            connections: self.connections.as_ref().map_or(default.connections, |connections| *connections.get_ref()),
            parameters,
            parameter_update: self.parameter_update.unwrap_or(default.parameter_update),
            goodbye: self.goodbye.unwrap_or(default.goodbye),
            keeps_fragments: self.keeps_fragments.unwrap_or(default.keeps_fragments),
            moving_handles: self.moving_handles.unwrap_or(default.moving_handles),
        })
    }
}
