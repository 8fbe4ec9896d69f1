//! Encryption of a connection.

use super::super::codec::{Fields, Reader};
use super::super::link::{CENTRAL, Kind, PERIPHERAL};
use super::super::status::Status;
use super::{Ether, Outcome};

impl Ether {
    pub(super) fn enable_encryption(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let (handle, random, diversifier, key) = (p.u16()?, p.u64()?, p.u16()?, p.array()?);
        self.with_link(on, handle, |_, link, end| {
            if end != CENTRAL || !link.ends[end].ask(Kind::Encryption) {
                return Err(Status::COMMAND_DISALLOWED);
            }
            link.encrypt(random, diversifier, key);
            Ok(Fields::new())
        })
    }

    pub(super) fn ltk_request_reply(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let (handle, key) = (p.u16()?, p.array()?);
        self.with_link(on, handle, |_, link, end| {
            if end != PERIPHERAL || !link.ends[end].encryption.awaits_key() {
                return Err(Status::COMMAND_DISALLOWED);
            }
            link.have_key(key);
            Ok(Fields::new().u16(handle))
        })
    }

    pub(super) fn ltk_request_negative_reply(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        let handle = p.u16()?;
        self.with_link(on, handle, |_, link, end| {
            if end != PERIPHERAL || !link.ends[end].encryption.awaits_key() {
                return Err(Status::COMMAND_DISALLOWED);
            }
            link.have_no_key();
            Ok(Fields::new().u16(handle))
        })
    }
}
