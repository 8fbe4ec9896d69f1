//! What a controller says about itself, and settings of its own.

use super::super::address::encrypt;
use super::super::advertising::LEGACY;
use super::super::codec::{Fields, Reader};
use super::super::link::LENGTH_MAX;
use super::super::link::phy::Phys;
use super::super::opcode as op;
use super::super::status::Status;
use super::{Ether, Outcome};

/// Version of the Core specification: 5.2.
const CORE_VERSION: u8 = 0x0B;
/// Company without an identifier (Assigned Numbers).
const COMPANY: u16 = 0xFFFF;
/// What the link layer says of itself: version, company, subversion.
pub(in super::super) const VERSION: [u8; 5] = [CORE_VERSION, 0xFF, 0xFF, 0x01, 0x00];
/// LMP features (volume 2, part C, 3.3): LE is supported, BR/EDR is not.
const LMP_FEATURES: [u8; 8] = [0, 0, 0, 0, 0x60, 0, 0, 0];
/// Every state and combination of states.
const STATES: u64 = 0x0000_03FF_FFFF_FFFF;
/// Power of the radio, in dBm.
const TX_POWER: u8 = 0;

/// LE features (volume 6, part B, 4.6).
pub(in super::super) fn features(extended: bool) -> u64 {
    const ENCRYPTION: u64 = 1 << 0;
    const CONNECTION_PARAMETERS_REQUEST: u64 = 1 << 1;
    const EXTENDED_REJECT: u64 = 1 << 2;
    const PERIPHERAL_FEATURES: u64 = 1 << 3;
    const DATA_LENGTH: u64 = 1 << 5;
    const PRIVACY: u64 = 1 << 6;
    const PHY_2M: u64 = 1 << 8;
    const PHY_CODED: u64 = 1 << 11;
    const EXTENDED_ADVERTISING: u64 = 1 << 12;
    ENCRYPTION
        | CONNECTION_PARAMETERS_REQUEST
        | EXTENDED_REJECT
        | PERIPHERAL_FEATURES
        | DATA_LENGTH
        | PRIVACY
        | PHY_2M
        | PHY_CODED
        | if extended { EXTENDED_ADVERTISING } else { 0 }
}

impl Ether {
    pub(super) fn baseline(&mut self, on: usize, opcode: u16, mut p: Reader<'_>) -> Outcome {
        let extended = self.settings.extended;
        let controller = &mut self.controllers[on];
        let nothing = Ok(Fields::new());
        match opcode {
            op::SET_EVENT_MASK => {
                controller.event_mask = p.u64()?;
                nothing
            }
            // None of the events of that page exists here.
            op::SET_EVENT_MASK_2 => nothing,
            op::LE_SET_EVENT_MASK => {
                controller.le_event_mask = p.u64()?;
                nothing
            }
            op::READ_LOCAL_VERSION => {
                let version = Fields::new().u8(CORE_VERSION).u16(1).u8(CORE_VERSION).u16(COMPANY);
                Ok(version.u16(1))
            }
            op::READ_LOCAL_COMMANDS => Ok(Fields::new().bytes(&op::supported(extended))),
            op::READ_LOCAL_FEATURES => Ok(Fields::new().bytes(&LMP_FEATURES)),
            // No buffers for BR/EDR: length and number of data packets, then of synchronous ones.
            op::READ_BUFFER_SIZE => Ok(Fields::new().u16(0).u8(0).u16(0).u16(0)),
            op::READ_BD_ADDR => Ok(Fields::new().bytes(&controller.public.bytes)),
            op::LE_READ_BUFFER_SIZE => Ok(Fields::new().u16(self.settings.acl_length).u8(self.settings.acl_packets)),
            op::LE_READ_LOCAL_FEATURES => Ok(Fields::new().u64(features(extended))),
            op::LE_READ_SUPPORTED_STATES => Ok(Fields::new().u64(STATES)),
            op::LE_READ_TRANSMIT_POWER => Ok(Fields::new().u8(TX_POWER).u8(TX_POWER)),
            op::LE_READ_ADVERTISING_TX_POWER => Ok(Fields::new().u8(TX_POWER)),
            op::LE_READ_MAXIMUM_DATA_LENGTH => {
                let (octets, time) = LENGTH_MAX;
                Ok(Fields::new().u16(octets).u16(time).u16(octets).u16(time))
            }
            op::LE_READ_DEFAULT_DATA_LENGTH => {
                Ok(Fields::new().u16(controller.data_length.0).u16(controller.data_length.1))
            }
            op::LE_WRITE_DEFAULT_DATA_LENGTH => {
                controller.data_length = data_length(&mut p)?;
                nothing
            }
            op::LE_SET_DEFAULT_PHY => {
                controller.phys = phys(&mut p)?;
                nothing
            }
            op::LE_SET_RANDOM_ADDRESS => {
                let legacy = controller.sets.iter().any(|set| set.handle == LEGACY && set.running.is_some());
                if legacy || controller.scanner.running.is_some() || controller.initiator.is_some() {
                    return Err(Status::COMMAND_DISALLOWED);
                }
                controller.random = Some(p.array()?);
                nothing
            }
            op::LE_SET_HOST_CHANNEL_CLASSIFICATION => {
                let map: [u8; 5] = p.array()?;
                // At least one channel, and none above 36 (7.8.19).
                if map.iter().all(|byte| *byte == 0) || map[4] & 0xE0 != 0 {
                    return Err(Status::INVALID_PARAMETERS);
                }
                controller.channel_map = map;
                self.classify_channels(on, map);
                nothing
            }
            op::LE_RAND => Ok(Fields::new().u64(self.random.next_u64())),
            op::LE_ENCRYPT => {
                let key = p.array()?;
                Ok(Fields::new().bytes(&encrypt(&key, &p.array()?)))
            }
            _ => Err(Status::UNKNOWN_COMMAND),
        }
    }
}

/// Octets and time of the longest packets to send (7.8.33): 27 to 251, 328 to 17040 µs.
pub(super) fn data_length(p: &mut Reader<'_>) -> Result<(u16, u16), Status> {
    Ok((p.u16_in(27..=LENGTH_MAX.0)?, p.u16_in(328..=LENGTH_MAX.1)?))
}

/// Preferences for sending and receiving (7.8.48); a bit of the first byte is set where there is none.
pub(super) fn phys(p: &mut Reader<'_>) -> Result<(Phys, Phys), Status> {
    let none = p.u8()?;
    let one = |set: u8, indifferent: bool| match set {
        _ if indifferent => Ok(Phys::ALL),
        0 => Err(Status::INVALID_PARAMETERS),
        set if set & !Phys::ALL.0 != 0 => Err(Status::UNSUPPORTED_FEATURE),
        set => Ok(Phys(set)),
    };
    let (tx, rx) = (p.u8()?, p.u8()?);
    Ok((one(tx, none & 1 != 0)?, one(rx, none & 2 != 0)?))
}
