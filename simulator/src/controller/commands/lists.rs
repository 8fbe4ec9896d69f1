//! The accept list and the resolving list.

use super::super::address::Address;
use super::super::codec::{Fields, Reader};
use super::super::host::{LIST_SIZE, Resolving};
use super::super::opcode as op;
use super::super::status::Status;
use super::{Ether, Outcome};

impl Ether {
    pub(super) fn lists(&mut self, on: usize, opcode: u16, mut p: Reader<'_>) -> Outcome {
        let fresh = self.random.next_u64();
        let controller = &mut self.controllers[on];
        let size = Fields::new().u8(LIST_SIZE as u8);
        match opcode {
            op::LE_READ_ACCEPT_LIST_SIZE | op::LE_READ_RESOLVING_LIST_SIZE => return Ok(size),
            op::LE_CLEAR_ACCEPT_LIST | op::LE_ADD_TO_ACCEPT_LIST | op::LE_REMOVE_FROM_ACCEPT_LIST
                if controller.uses_accept_list() =>
            {
                return Err(Status::COMMAND_DISALLOWED);
            }
            // Private addresses that are in use must not change their meaning (7.8.38 to 7.8.44).
            op::LE_ADD_TO_RESOLVING_LIST | op::LE_REMOVE_FROM_RESOLVING_LIST | op::LE_CLEAR_RESOLVING_LIST
                if controller.resolution && controller.is_busy() =>
            {
                return Err(Status::COMMAND_DISALLOWED);
            }
            op::LE_SET_ADDRESS_RESOLUTION if controller.is_busy() => return Err(Status::COMMAND_DISALLOWED),
            op::LE_CLEAR_ACCEPT_LIST => controller.accept_list.clear(),
            op::LE_ADD_TO_ACCEPT_LIST => {
                let address = listed(&mut p)?;
                if !controller.accept_list.contains(&address) {
                    if controller.accept_list.len() >= LIST_SIZE {
                        return Err(Status::MEMORY_CAPACITY_EXCEEDED);
                    }
                    controller.accept_list.push(address);
                }
            }
            op::LE_REMOVE_FROM_ACCEPT_LIST => {
                let address = listed(&mut p)?;
                controller.accept_list.retain(|other| *other != address);
            }
            op::LE_ADD_TO_RESOLVING_LIST => {
                let identity = p.address()?;
                let (peer_irk, local_irk) = (p.array()?, p.array()?);
                if controller.resolving_list.iter().any(|entry| entry.identity == identity) {
                    return Err(Status::INVALID_PARAMETERS);
                }
                if controller.resolving_list.len() >= LIST_SIZE {
                    return Err(Status::MEMORY_CAPACITY_EXCEEDED);
                }
                let local = Address::resolvable(&local_irk, fresh);
                controller.resolving_list.push(Resolving { identity, peer_irk, local_irk, local });
            }
            op::LE_REMOVE_FROM_RESOLVING_LIST => {
                let identity = p.address()?;
                let before = controller.resolving_list.len();
                controller.resolving_list.retain(|entry| entry.identity != identity);
                if controller.resolving_list.len() == before {
                    return Err(Status::UNKNOWN_CONNECTION);
                }
            }
            op::LE_CLEAR_RESOLVING_LIST => controller.resolving_list.clear(),
            op::LE_SET_ADDRESS_RESOLUTION => controller.resolution = p.u8_to(1)? == 1,
            // Seconds; private addresses are kept for as long as their entry here.
            op::LE_SET_PRIVATE_ADDRESS_TIMEOUT => {
                p.u16_in(1..=0x0E10)?;
            }
            op::LE_SET_PRIVACY_MODE => {
                let identity = p.address()?;
                p.u8_to(1)?;
                // Both modes are the device mode here: an identity address is always accepted.
                if !controller.resolving_list.iter().any(|entry| entry.identity == identity) {
                    return Err(Status::UNKNOWN_CONNECTION);
                }
            }
            _ => return Err(Status::UNKNOWN_COMMAND),
        }
        Ok(Fields::new())
    }
}

/// An address for the accept list: public, random, or 0xFF for anonymous advertisers.
fn listed(p: &mut Reader<'_>) -> Result<Address, Status> {
    let kind = p.u8()?;
    let bytes = p.array()?;
    match kind {
        0 | 1 => Ok(Address { random: kind == 1, bytes }),
        // Never matches anyone: connections to anonymous advertisers do not exist.
        0xFF => Ok(Address { random: true, bytes: [0; 6] }),
        _ => Err(Status::INVALID_PARAMETERS),
    }
}
