//! Reading parameters of commands, writing events: little-endian fields, one after another.

use super::address::Address;
use super::status::Status;

/// Types of packets of the H4 transport (volume 4, part A).
pub(super) const COMMAND: u8 = 0x01;
pub(super) const ACL: u8 = 0x02;
const EVENT: u8 = 0x04;

/// Parameters that are read from front to back; what is missing is an invalid parameter.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Status> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Status::INVALID_PARAMETERS)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Status> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Status::INVALID_PARAMETERS)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Status> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Status> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u24(&mut self) -> Result<u32, Status> {
        let [b0, b1, b2] = self.array()?;
        Ok(u32::from_le_bytes([b0, b1, b2, 0]))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Status> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A number that must be at most `max`.
    pub(super) fn u8_to(&mut self, max: u8) -> Result<u8, Status> {
        self.u8().and_then(|value| if value <= max { Ok(value) } else { Err(Status::INVALID_PARAMETERS) })
    }

    /// A number in a range.
    pub(super) fn u16_in(&mut self, range: std::ops::RangeInclusive<u16>) -> Result<u16, Status> {
        self.u16().and_then(|value| if range.contains(&value) { Ok(value) } else { Err(Status::INVALID_PARAMETERS) })
    }

    /// Type (identity types 2 and 3 stand for 0 and 1) and bytes of an address.
    pub(super) fn address(&mut self) -> Result<Address, Status> {
        let kind = self.u8_to(3)?;
        Ok(Address { random: kind & 1 == 1, bytes: self.array()? })
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), Status> {
        if self.0.is_empty() { Ok(()) } else { Err(Status::INVALID_PARAMETERS) }
    }
}

/// Fields that are put one behind another.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub(super) Vec<u8>);

impl Fields {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(super) fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn status(self, status: Status) -> Self {
        self.u8(status.0)
    }

    pub(super) fn address(self, address: Address) -> Self {
        self.u8(address.kind()).bytes(&address.bytes)
    }

    /// A packet with an event. Parameters of more than 255 bytes do not exist: what is longer is cut off.
    pub(super) fn event(self, code: u8) -> Vec<u8> {
        let length = u8::try_from(self.0.len()).unwrap_or(u8::MAX);
        let mut packet = vec![EVENT, code, length];
        packet.extend(self.0.into_iter().take(length.into()));
        packet
    }
}

/// A packet with data for the host: `start` begins an L2CAP PDU, other packets continue it.
pub(super) fn acl(handle: u16, start: bool, bytes: &[u8]) -> Vec<u8> {
    let boundary = if start { 0b10 } else { 0b01 };
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let fields = Fields(vec![ACL]).u16(handle | boundary << 12).u16(length);
    fields.bytes(&bytes[..length.into()]).0
}
