//! Advertising, legacy and extended.

use super::super::advertising::{DATA_MAX, LEGACY, LEGACY_DATA_MAX, SETS_MAX, Set, property};
use super::super::codec::{Fields, Reader};
use super::super::host::Dialect;
use super::super::link::phy::Phy;
use super::super::status::Status;
use super::{Ether, Outcome};

/// Highest handle of a set (7.8.53).
const HANDLE_MAX: u8 = 0xEF;
/// Unit of advertising intervals, in microseconds.
const UNIT_US: u64 = 625;
/// Interval at a high duty cycle, in microseconds (volume 6, part B, 4.4.2.4.3).
const HIGH_DUTY_US: u64 = 3_750;

impl Ether {
    /// Legacy and extended commands do not mix (3.1.1).
    pub(super) fn speak(&mut self, on: usize, dialect: Dialect) -> Result<(), Status> {
        let spoken = self.controllers[on].dialect.get_or_insert(dialect);
        if *spoken == dialect { Ok(()) } else { Err(Status::COMMAND_DISALLOWED) }
    }

    /// The set of the legacy commands.
    fn legacy_set(&mut self, on: usize) -> Result<&mut Set, Status> {
        self.speak(on, Dialect::Legacy)?;
        let sets = &mut self.controllers[on].sets;
        if sets.is_empty() {
            sets.push(Set::new(LEGACY));
        }
        self.controllers[on].set(LEGACY)
    }

    pub(super) fn set_advertising_parameters(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let set = self.legacy_set(on)?;
        if set.running.is_some() {
            return Err(Status::COMMAND_DISALLOWED);
        }
        let (min, max, kind) = (p.u16()?, p.u16()?, p.u8_to(4)?);
        let (own_kind, peer, channels, filter) = (p.u8_to(3)?, p.address()?, p.u8_to(7)?, p.u8_to(3)?);
        // Directed advertising at a high duty cycle has an interval of its own.
        if channels == 0 || kind != 1 && !(0x20 <= min && min <= max && max <= 0x4000) {
            return Err(Status::INVALID_PARAMETERS);
        }
        // The properties of extended advertising that send the same packets (7.8.53, table 7.2).
        let properties = [0b1_0011, 0b1_1101, 0b1_0010, 0b1_0000, 0b1_0101][usize::from(kind)];
        let interval_us = if kind == 1 { HIGH_DUTY_US } else { u64::from(min) * UNIT_US };
        *set = Set {
            properties,
            interval_us,
            channels,
            own_kind,
            peer,
            filter,
            data: std::mem::take(&mut set.data),
            response: std::mem::take(&mut set.response),
            ..Set::new(LEGACY)
        };
        Ok(Fields::new())
    }

    pub(super) fn set_advertising_data(&mut self, on: usize, mut p: Reader<'_>, response: bool) -> Outcome {
        let set = self.legacy_set(on)?;
        let length = p.u8_to(LEGACY_DATA_MAX as u8)?;
        let data = p.bytes(length.into())?.to_vec();
        *(if response { &mut set.response } else { &mut set.data }) = data;
        Ok(Fields::new())
    }

    pub(super) fn set_advertising_enable(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let enable = p.u8_to(1)? == 1;
        let (now, random) = (self.now, self.controllers[on].random);
        let set = self.legacy_set(on)?;
        if !enable {
            set.running = None;
        } else if set.own_kind & 1 == 1 && random.is_none() {
            return Err(Status::INVALID_PARAMETERS);
        } else {
            set.start(now, 0, 0, 0);
        }
        Ok(Fields::new())
    }

    pub(super) fn set_advertising_set_address(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        self.speak(on, Dialect::Extended)?;
        let (handle, address) = (p.u8_to(HANDLE_MAX)?, p.array()?);
        let set = self.controllers[on].set(handle)?;
        if set.running.is_some() && set.has(property::CONNECTABLE) {
            return Err(Status::COMMAND_DISALLOWED);
        }
        set.random = Some(address);
        Ok(Fields::new())
    }

    pub(super) fn set_extended_advertising_parameters(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        self.speak(on, Dialect::Extended)?;
        let (handle, properties) = (p.u8_to(HANDLE_MAX)?, p.u16()?);
        let (min, max, channels) = (p.u24()?, p.u24()?, p.u8_to(7)?);
        let (own_kind, peer, filter) = (p.u8_to(3)?, p.address()?, p.u8_to(3)?);
        let (tx_power, primary, _skip, secondary) = (p.u8()?, p.u8()?, p.u8()?, p.u8()?);
        let (sid, tells) = (p.u8_to(15)?, p.u8_to(1)?);
        let layer = |number: u8| Phy::numbered(number).ok_or(Status::INVALID_PARAMETERS);
        let legacy = properties & property::LEGACY != 0;
        let known_legacy = [0b1_0011, 0b1_1101, 0b1_0010, 0b1_0000, 0b1_0101].contains(&(properties & 0b11_1111));
        let both = property::CONNECTABLE | property::SCANNABLE;
        let wrong = properties >> 7 != 0
            || legacy && !known_legacy
            || !legacy && (properties & both == both || properties & property::HIGH_DUTY != 0)
            || channels == 0
            || !(0x20 <= min && min <= max);
        let primary = layer(primary)?;
        if wrong || primary == Phy::Le2M || legacy && primary != Phy::Le1M {
            return Err(Status::INVALID_PARAMETERS);
        }
        let secondary = if legacy { Phy::Le1M } else { layer(secondary)? };
        let controller = &mut self.controllers[on];
        if controller.set(handle).is_err() {
            if controller.sets.len() >= SETS_MAX {
                return Err(Status::MEMORY_CAPACITY_EXCEEDED);
            }
            controller.sets.push(Set::new(handle));
        }
        let set = controller.set(handle)?;
        if set.running.is_some() {
            return Err(Status::COMMAND_DISALLOWED);
        }
        if legacy && set.data.len().max(set.response.len()) > LEGACY_DATA_MAX {
            return Err(Status::INVALID_PARAMETERS);
        }
        let high_duty = properties & property::HIGH_DUTY != 0;
        // 0x7F: the controller chooses.
        let chosen = if tx_power == 0x7F { 0 } else { i8::from_le_bytes([tx_power]) };
        *set = Set {
            properties,
            interval_us: if high_duty { HIGH_DUTY_US } else { u64::from(min) * UNIT_US },
            channels,
            own_kind,
            peer,
            filter,
            tx_power: chosen,
            primary,
            secondary,
            sid,
            tells_requests: tells == 1,
            random: set.random,
            data: std::mem::take(&mut set.data),
            response: std::mem::take(&mut set.response),
            ..Set::new(handle)
        };
        Ok(Fields::new().bytes(&chosen.to_le_bytes()))
    }

    pub(super) fn set_extended_advertising_data(&mut self, on: usize, mut p: Reader<'_>, response: bool) -> Outcome {
        self.speak(on, Dialect::Extended)?;
        let handle = p.u8_to(HANDLE_MAX)?;
        let (operation, _fragment, length) = (p.u8_to(4)?, p.u8_to(1)?, p.u8_to(251)?);
        let data = p.bytes(length.into())?;
        p.end()?;
        let set = self.controllers[on].set(handle)?;
        let (legacy, running) = (set.has(property::LEGACY), set.running.is_some());
        let kept = if response { &set.response } else { &set.data };
        // 0 intermediate, 1 first, 2 last, 3 all of it, 4 the same data once more.
        let next = match operation {
            3 => data.to_vec(),
            4 if running && !kept.is_empty() && data.is_empty() => kept.clone(),
            1 if !legacy && !running && !data.is_empty() => data.to_vec(),
            0 | 2 if !legacy && !running && set.unfinished && !data.is_empty() => [kept, data].concat(),
            0..=2 if running => return Err(Status::COMMAND_DISALLOWED),
            _ => return Err(Status::INVALID_PARAMETERS),
        };
        if legacy && next.len() > LEGACY_DATA_MAX {
            return Err(Status::INVALID_PARAMETERS);
        }
        if next.len() > DATA_MAX {
            return Err(Status::MEMORY_CAPACITY_EXCEEDED);
        }
        set.unfinished = operation < 2;
        *(if response { &mut set.response } else { &mut set.data }) = next;
        Ok(Fields::new())
    }

    pub(super) fn set_extended_advertising_enable(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        self.speak(on, Dialect::Extended)?;
        let (enable, count) = (p.u8_to(1)? == 1, p.u8()?);
        let mut chosen: Vec<(u8, u64, u8)> = Vec::new();
        for _ in 0..count {
            let (handle, duration, events) = (p.u8_to(HANDLE_MAX)?, p.u16()?, p.u8()?);
            if chosen.iter().any(|(other, ..)| *other == handle) {
                return Err(Status::INVALID_PARAMETERS);
            }
            chosen.push((handle, u64::from(duration) * 10_000, events));
        }
        p.end()?;
        let now = self.now;
        let controller = &mut self.controllers[on];
        if !enable {
            for set in &mut controller.sets {
                if chosen.is_empty() || chosen.iter().any(|(handle, ..)| *handle == set.handle) {
                    set.running = None;
                }
            }
            return Ok(Fields::new());
        }
        if chosen.is_empty() {
            return Err(Status::INVALID_PARAMETERS);
        }
        // All of them or none.
        for (handle, ..) in &chosen {
            let set = controller.set(*handle)?;
            let addressless = set.own_kind & 1 == 1 && set.random.is_none();
            if set.unfinished || addressless {
                return Err(if addressless { Status::INVALID_PARAMETERS } else { Status::COMMAND_DISALLOWED });
            }
            let needs_response = set.has(property::SCANNABLE) && !set.has(property::LEGACY);
            if needs_response && set.response.is_empty() {
                return Err(Status::COMMAND_DISALLOWED);
            }
        }
        for (handle, duration, events) in chosen {
            controller.set(handle)?.start(now, 0, duration, events);
        }
        Ok(Fields::new())
    }

    pub(super) fn read_maximum_advertising_data_length(&mut self, on: usize) -> Outcome {
        self.speak(on, Dialect::Extended)?;
        Ok(Fields::new().u16(DATA_MAX as u16))
    }

    pub(super) fn read_number_of_advertising_sets(&mut self, on: usize) -> Outcome {
        self.speak(on, Dialect::Extended)?;
        Ok(Fields::new().u8(SETS_MAX as u8))
    }

    pub(super) fn remove_advertising_set(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        self.speak(on, Dialect::Extended)?;
        let handle = p.u8_to(HANDLE_MAX)?;
        let controller = &mut self.controllers[on];
        if controller.set(handle)?.running.is_some() {
            return Err(Status::COMMAND_DISALLOWED);
        }
        controller.sets.retain(|set| set.handle != handle);
        Ok(Fields::new())
    }

    pub(super) fn clear_advertising_sets(&mut self, on: usize) -> Outcome {
        self.speak(on, Dialect::Extended)?;
        let sets = &mut self.controllers[on].sets;
        if sets.iter().any(|set| set.running.is_some()) {
            return Err(Status::COMMAND_DISALLOWED);
        }
        sets.clear();
        Ok(Fields::new())
    }
}
