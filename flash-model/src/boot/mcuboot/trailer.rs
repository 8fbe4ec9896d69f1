//! The trailer at the end of each slot (mcuboot: `bootutil_misc.c`, `bootutil_public.c`).
//!
//! Offsets from the start of a slot of length `L`; `MA` is the maximum alignment, `w` the program
//! unit, `N` the maximum number of sectors:
//!
//! | field | offset | bytes | contents |
//! |---|---|---|---|
//! | magic | `L - 16` | 16 | fixed pattern; written last, it makes the rest count |
//! | image_ok | `down(L - 16 - MA)` | `MA` | 0x01 once confirmed |
//! | copy_done | image_ok `- MA` | `MA` | 0x01 once the swap is complete |
//! | swap info | copy_done `- MA` | `MA` | low nibble swap type, high nibble image number |
//! | swap size | swap info `- MA` | `MA` | bytes to swap, 32 bits |
//! | status records | `L - T` | `3 * N * w` | see [`status`](super::status) |
//!
//! Swap-offset has `2 * N * w` of records, and one more field of `MA` bytes between swap info and swap size: the sizes of
//! the unprotected TLV areas, 16 bits each, primary first.
//!
//! The scratch area ends with such a trailer too, with room for the records of one sector (`N` = 1).
//!
//! `T = 3 * N * w + 4 * MA + up(16)`; `down` and `up` round to `MA`. Every field is written once
//! after an erase, padded with the erased value to the program unit.

use std::fmt;

use super::{Mode, Options, SwapType};
use crate::flash::{Area, Controller, Flash, FlashError, Geometry};

/// Length of the magic in bytes.
pub const MAGIC_LEN: u32 = 16;
const MAGIC_ALIGN_8: [u8; 16] =
    [0x77, 0xc2, 0x95, 0xf3, 0x60, 0xd2, 0xef, 0x7f, 0x35, 0x52, 0x50, 0x0f, 0x2c, 0xb6, 0x79, 0x80];
const MAGIC_ALIGNED_TAIL: [u8; 14] =
    [0x2d, 0xe1, 0x5d, 0x29, 0x41, 0x0b, 0x8d, 0x77, 0x67, 0x9c, 0x11, 0x0f, 0x1f, 0x8a];
const FLAG_SET: u8 = 0x01;

/// The magic field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Magic {
    /// The expected pattern.
    Good,
    /// All erased.
    Unset,
    /// Anything else, as after a torn write.
    Bad,
}

/// A one-byte flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flag {
    /// 0x01.
    Set,
    /// Erased.
    Unset,
    /// Anything else.
    Bad,
}

impl fmt::Display for Magic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Good => "good",
            Self::Unset => "unset",
            Self::Bad => "bad",
        })
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Set => "set",
            Self::Unset => "unset",
            Self::Bad => "bad",
        })
    }
}

/// What a trailer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrailerState {
    /// Whether the rest counts.
    pub magic: Magic,
    /// Which swap the trailer belongs to; [`SwapType::None`] when erased or unknown.
    pub swap_type: SwapType,
    /// Image number; 0 when erased or unknown.
    pub image: u8,
    /// Swap complete.
    pub copy_done: Flag,
    /// Image confirmed.
    pub image_ok: Flag,
    /// Raw swap size; all ones when erased.
    pub swap_size: u32,
}

/// Where the fields of one slot, or of the scratch area, are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    area: Area,
    max_align: u32,
    /// Number of status records.
    records: u32,
    /// Program unit of this area's device.
    unit: u32,
    /// Distance of the status records (mcuboot: `BOOT_WRITE_SZ`).
    stride: u32,
    erased: u8,
    /// Number of the image, for the swap info.
    image: u8,
    /// There is a field for the sizes of the TLV areas: swap-offset.
    has_tlv_sizes: bool,
}

impl Trailer {
    /// `sectors`: for how many sectors there are status records. `stride`: their distance in bytes.
    pub(super) fn new(
        area: Area,
        geometry: &Geometry,
        stride: u32,
        options: &Options,
        sectors: u32,
        image: u8,
    ) -> Self {
        let has_tlv_sizes = options.mode == Mode::SwapOffset;
        // One for the move and two for the swap, or three for a swap through scratch.
        let states: u32 = if has_tlv_sizes { 2 } else { 3 };
        Self {
            area,
            max_align: options.max_align,
            records: states.saturating_mul(sectors),
            unit: geometry.program_unit(),
            stride,
            erased: geometry.erased_value(),
            image,
            has_tlv_sizes,
        }
    }

    /// The slot or the scratch area.
    #[must_use]
    pub fn area(&self) -> Area {
        self.area
    }

    /// Length of the whole trailer in bytes, status records included: what an erase must cover.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len_with(self.stride.max(self.unit))
    }

    /// Length in bytes with status records of this size.
    fn len_with(&self, record: u32) -> u32 {
        let records = self.records.saturating_mul(record);
        let fields = 4 + u32::from(self.has_tlv_sizes);
        records.saturating_add(fields * self.max_align + MAGIC_LEN.next_multiple_of(self.max_align))
    }

    /// Never true.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The erased value of its device.
    #[must_use]
    pub fn erased_value(&self) -> u8 {
        self.erased
    }

    /// Offset of the magic in the slot.
    #[must_use]
    pub fn magic_offset(&self) -> u32 {
        self.area.len - MAGIC_LEN
    }

    /// Offset of the image_ok flag in the slot.
    #[must_use]
    pub fn image_ok_offset(&self) -> u32 {
        (self.magic_offset() - self.max_align) / self.max_align * self.max_align
    }

    /// Offset of the copy_done flag in the slot.
    #[must_use]
    pub fn copy_done_offset(&self) -> u32 {
        self.image_ok_offset() - self.max_align
    }

    /// Offset of the swap info in the slot.
    #[must_use]
    pub fn swap_info_offset(&self) -> u32 {
        self.copy_done_offset() - self.max_align
    }

    /// Offset of the swap size in the slot.
    #[must_use]
    pub fn swap_size_offset(&self) -> u32 {
        self.swap_info_offset() - self.max_align * (1 + u32::from(self.has_tlv_sizes))
    }

    /// Offset of the sizes of the TLV areas in the slot; swap-offset only.
    #[must_use]
    pub fn tlv_sizes_offset(&self) -> Option<u32> {
        self.has_tlv_sizes.then(|| self.swap_info_offset() - self.max_align)
    }

    /// Number of status records there is room for.
    #[must_use]
    pub fn status_records(&self) -> u32 {
        self.records
    }

    /// Offset of a status record in the slot (mcuboot: `boot_status_off`, which knows only the
    /// program unit of this device).
    #[must_use]
    pub fn status_offset(&self, record: u32) -> u32 {
        (self.area.len - self.len_with(self.unit)).saturating_add(record.saturating_mul(self.stride))
    }

    /// Reads all fields but the status records.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn read(&self, flash: &Flash) -> Result<TrailerState, FlashError> {
        let mut magic = [0; MAGIC_LEN as usize];
        flash.read(self.area, self.magic_offset(), &mut magic)?;
        let byte = |offset: u32| {
            let mut byte = [0];
            flash.read(self.area, offset, &mut byte).map(|()| byte[0])
        };
        let info = byte(self.swap_info_offset())?;
        let known = (info != self.erased && info & 0x0f <= SwapType::Revert.nibble()).then_some(info);
        Ok(TrailerState {
            magic: match magic {
                found if found == self.magic() => Magic::Good,
                found if found.iter().all(|byte| *byte == self.erased) => Magic::Unset,
                _ => Magic::Bad,
            },
            swap_type: known.and_then(|info| SwapType::from_nibble(info & 0x0f)).unwrap_or(SwapType::None),
            image: known.map_or(0, |info| info >> 4),
            copy_done: self.flag(byte(self.copy_done_offset())?),
            image_ok: self.flag(byte(self.image_ok_offset())?),
            swap_size: self.read_swap_size(flash)?,
        })
    }

    /// Reads the swap size as it stands.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn read_swap_size(&self, flash: &Flash) -> Result<u32, FlashError> {
        let mut bytes = [0; 4];
        flash.read(self.area, self.swap_size_offset(), &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Sizes of the unprotected TLV areas, primary first, as they stand; 0 where there is no such field.
    pub(super) fn read_tlv_sizes(&self, flash: &Flash) -> Result<[u16; 2], FlashError> {
        let mut bytes = [0; 4];
        if let Some(offset) = self.tlv_sizes_offset() {
            flash.read(self.area, offset, &mut bytes)?;
        }
        let [a, b, c, d] = bytes;
        Ok([u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])])
    }

    /// The swap info byte; `None` when erased.
    pub(super) fn read_swap_info(&self, flash: &Flash) -> Result<Option<u8>, FlashError> {
        let mut byte = [0];
        flash.read(self.area, self.swap_info_offset(), &mut byte)?;
        Ok((byte[0] != self.erased).then_some(byte[0]))
    }

    /// The first byte of a status record; `None` when it has not been written. A torn record is a
    /// written one.
    pub(super) fn read_record(&self, flash: &Flash, record: u32) -> Result<Option<u8>, FlashError> {
        let mut byte = [0];
        flash.read(self.area, self.status_offset(record), &mut byte)?;
        Ok((byte[0] != self.erased).then_some(byte[0]))
    }

    /// Programs a status record.
    pub(super) fn write_record(&self, flash: &mut Controller<'_>, record: u32, value: u8) -> Result<(), FlashError> {
        self.write(flash, self.status_offset(record), &[value])
    }

    /// Programs the magic.
    ///
    /// # Errors
    /// From the flash.
    pub fn write_magic(&self, flash: &mut Controller<'_>) -> Result<(), FlashError> {
        let len = MAGIC_LEN.next_multiple_of(self.max_align) as usize;
        let mut bytes = vec![self.erased; len];
        bytes[len - MAGIC_LEN as usize..].copy_from_slice(&self.magic());
        flash.program(self.area, self.area.len - len as u32, &bytes)
    }

    /// Programs image_ok.
    ///
    /// # Errors
    /// From the flash.
    pub fn write_image_ok(&self, flash: &mut Controller<'_>) -> Result<(), FlashError> {
        self.write(flash, self.image_ok_offset(), &[FLAG_SET])
    }

    /// Programs copy_done.
    ///
    /// # Errors
    /// From the flash.
    pub fn write_copy_done(&self, flash: &mut Controller<'_>) -> Result<(), FlashError> {
        self.write(flash, self.copy_done_offset(), &[FLAG_SET])
    }

    /// Programs the swap info: the type and the number of the image.
    ///
    /// # Errors
    /// From the flash.
    pub fn write_swap_info(&self, flash: &mut Controller<'_>, swap: SwapType) -> Result<(), FlashError> {
        self.write(flash, self.swap_info_offset(), &[self.image << 4 | swap.nibble()])
    }

    /// Programs the swap size in bytes.
    ///
    /// # Errors
    /// From the flash.
    pub fn write_swap_size(&self, flash: &mut Controller<'_>, bytes: u32) -> Result<(), FlashError> {
        self.write(flash, self.swap_size_offset(), &bytes.to_le_bytes())
    }

    /// Programs the sizes of the unprotected TLV areas.
    pub(super) fn write_tlv_sizes(&self, flash: &mut Controller<'_>, sizes: [u16; 2]) -> Result<(), FlashError> {
        let Some(offset) = self.tlv_sizes_offset() else { return Ok(()) };
        let [[a, b], [c, d]] = sizes.map(u16::to_le_bytes);
        self.write(flash, offset, &[a, b, c, d])
    }

    /// The magic of this alignment.
    #[must_use]
    pub fn magic(&self) -> [u8; 16] {
        if self.max_align == 8 {
            return MAGIC_ALIGN_8;
        }
        let mut magic = [0; 16];
        magic[..2].copy_from_slice(&(self.max_align as u16).to_le_bytes());
        magic[2..].copy_from_slice(&MAGIC_ALIGNED_TAIL);
        magic
    }

    fn flag(&self, byte: u8) -> Flag {
        match byte {
            byte if byte == self.erased => Flag::Unset,
            FLAG_SET => Flag::Set,
            _ => Flag::Bad,
        }
    }

    fn write(&self, flash: &mut Controller<'_>, offset: u32, data: &[u8]) -> Result<(), FlashError> {
        let mut bytes = [self.erased; 32];
        bytes[..data.len()].copy_from_slice(data);
        let len = data.len().next_multiple_of(self.unit as usize);
        flash.program(self.area, offset, &bytes[..len])
    }
}
