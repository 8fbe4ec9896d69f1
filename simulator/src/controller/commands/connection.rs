//! Connections: parameters, lengths, physical layers, what is known of the other end, and goodbye.

use super::super::codec::{Fields, Reader};
use super::super::link::{CENTRAL, Kind, Link, Parameters, What};
use super::super::status::Status;
use super::baseline::{data_length, features, phys};
use super::{Ether, Outcome};

/// Handles of connections (5.3.1).
const HANDLE_MAX: u16 = 0x0EFF;

/// Parameters of a connection as commands give them: interval from, to; latency; timeout; lengths of events.
pub(super) fn connection_parameters(p: &mut Reader<'_>) -> Result<((u16, u16), Parameters), Status> {
    let interval = (p.u16_in(6..=3200)?, p.u16_in(6..=3200)?);
    let latency = p.u16_in(0..=499)?;
    let timeout = p.u16_in(10..=3200)?;
    let _event_lengths = (p.u16()?, p.u16()?);
    let parameters = Parameters { interval: interval.0, latency, timeout };
    // The timeout must be longer than two intervals with latency (7.8.12).
    let longest = Parameters { interval: interval.1, ..parameters };
    let least = (u64::from(latency) + 1) * longest.interval_us() * 2;
    if interval.0 > interval.1 || parameters.timeout_us() <= least {
        return Err(Status::INVALID_PARAMETERS);
    }
    Ok((interval, parameters))
}

impl Ether {
    pub(super) fn disconnect(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let (handle, reason) = (p.u16()?, Status(p.u8()?));
        if handle > HANDLE_MAX || !reason.is_reason() {
            return Err(Status::INVALID_PARAMETERS);
        }
        self.with_link(on, handle, |_, link, end| {
            if link.ends[end].closing {
                return Err(Status::COMMAND_DISALLOWED);
            }
            link.terminate(end, reason);
            Ok(Fields::new())
        })
    }

    pub(super) fn read_remote_version(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let handle = p.u16()?;
        self.with_link(on, handle, |ether, link, end| {
            if let Some(version) = link.ends[end].peer_version {
                ether.tell_version(on, handle, version);
            } else if link.ends[end].ask(Kind::Version) {
                link.say_version(end);
            } else {
                return Err(Status::COMMAND_DISALLOWED);
            }
            Ok(Fields::new())
        })
    }

    pub(super) fn read_remote_features(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let handle = p.u16()?;
        self.with_link(on, handle, |ether, link, end| {
            if let Some(features) = link.ends[end].peer_features {
                ether.tell_features(on, handle, features);
            } else if link.ends[end].ask(Kind::Features) {
                link.ask_features(end, features(ether.settings.extended));
            } else {
                return Err(Status::COMMAND_DISALLOWED);
            }
            Ok(Fields::new())
        })
    }

    pub(super) fn connection_update(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let handle = p.u16()?;
        let (interval, parameters) = connection_parameters(&mut p)?;
        self.with_link(on, handle, |_, link, end| {
            if !link.ends[end].ask(Kind::Parameters) {
                return Err(Status::COMMAND_DISALLOWED);
            }
            if end == CENTRAL {
                link.change(What::Parameters(parameters));
            } else {
                link.ask_parameters(end, interval, parameters.latency, parameters.timeout);
            }
            Ok(Fields::new())
        })
    }

    pub(super) fn parameter_request_reply(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let handle = p.u16()?;
        let (_, parameters) = connection_parameters(&mut p)?;
        self.with_link(on, handle, |_, link, end| {
            owes_parameters(link, end)?;
            link.change(What::Parameters(parameters));
            Ok(Fields::new().u16(handle))
        })
    }

    pub(super) fn parameter_request_negative_reply(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let (handle, reason) = (p.u16()?, Status(p.u8()?));
        self.with_link(on, handle, |_, link, end| {
            owes_parameters(link, end)?;
            link.reject(end, Kind::Parameters, reason);
            Ok(Fields::new().u16(handle))
        })
    }

    pub(super) fn set_data_length(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let handle = p.u16()?;
        let limits = data_length(&mut p)?;
        self.with_link(on, handle, |_, link, end| {
            link.ends[end].tx_limits = limits;
            link.ask_length(end);
            Ok(Fields::new().u16(handle))
        })
    }

    pub(super) fn read_phy(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let handle = p.u16()?;
        self.with_link(on, handle, |_, link, end| {
            let (tx, rx) = (link.tx_phy(end).number(), link.tx_phy(1 - end).number());
            Ok(Fields::new().u16(handle).u8(tx).u8(rx))
        })
    }

    pub(super) fn set_phy(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let handle = p.u16()?;
        let (tx, rx) = phys(&mut p)?;
        // How coded packets are sent: no preference, S = 2, S = 8.
        p.u16_in(0..=2)?;
        self.with_link(on, handle, |_, link, end| {
            if !link.ends[end].ask(Kind::Phy) {
                return Err(Status::COMMAND_DISALLOWED);
            }
            link.ask_phys(end, tx, rx);
            Ok(Fields::new())
        })
    }

    pub(super) fn read_channel_map(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let handle = p.u16()?;
        self.with_link(on, handle, |_, link, _| Ok(Fields::new().u16(handle).bytes(&link.channel_map)))
    }

    /// A central tells its peripherals which channels are left.
    pub(super) fn classify_channels(&mut self, on: usize, map: [u8; 5]) {
        for link in self.links.values_mut() {
            if link.ends[CENTRAL].controller == Some(on) {
                link.change_channel_map(map);
            }
        }
    }

    pub(super) fn read_rssi(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let handle = p.u16()?;
        let rssi = self.settings.rssi.to_le_bytes();
        self.with_link(on, handle, |_, _, _| Ok(Fields::new().u16(handle).bytes(&rssi)))
    }

    pub(super) fn read_transmit_power(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let handle = p.u16()?;
        p.u8_to(1)?;
        self.with_link(on, handle, |_, _, _| Ok(Fields::new().u16(handle).u8(0)))
    }
}

/// The host answers a request for other parameters that there is, once.
fn owes_parameters(link: &mut Link, end: usize) -> Result<(), Status> {
    if std::mem::take(&mut link.ends[end].owes_parameters) { Ok(()) } else { Err(Status::COMMAND_DISALLOWED) }
}
