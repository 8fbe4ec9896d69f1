//! Trailers field by field, for people: where each field is, its bytes, and what they mean.

use std::fmt;

use super::{Flag, Magic, Mode, Pair, Slot, SwapType, Trailer};
use crate::flash::{Area, Flash, FlashError};

/// Where a trailer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// At the end of a slot.
    Slot(Slot),
    /// At the end of the scratch area.
    Scratch,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Slot(Slot::Primary) => "primary",
            Self::Slot(Slot::Secondary) => "secondary",
            Self::Scratch => "scratch",
        })
    }
}

/// One field of a trailer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name, as in the table of [`trailer`](super::trailer).
    pub name: &'static str,
    /// Offset of its first byte in the area.
    pub offset: u32,
    /// Its bytes as they stand: those that are read, without padding.
    pub raw: Vec<u8>,
    /// What they say, in words.
    pub meaning: String,
}

/// A status record that has been written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRecord {
    /// Its position, from 0.
    pub number: u32,
    /// Offset of its first byte in the area.
    pub offset: u32,
    /// That byte.
    pub raw: u8,
    /// What has been done, in words.
    pub meaning: String,
}

/// A trailer with everything in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedTrailer {
    /// Where it is.
    pub place: Place,
    /// The slot or the scratch area.
    pub area: Area,
    /// Offset in the area where it begins.
    pub offset: u32,
    /// Its length in bytes.
    pub len: u32,
    /// The fields, from the end of the area downwards.
    pub fields: Vec<Field>,
    /// The written status records, upwards. Empty in the secondary slot, where no mode here has any.
    pub records: Vec<StatusRecord>,
}

impl Trailer {
    /// All fields but the status records, from the end of the area downwards.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn fields(&self, flash: &Flash) -> Result<Vec<Field>, FlashError> {
        let state = self.read(flash)?;
        let info = self.read_swap_info(flash)?;
        let field = |name, offset, len, meaning| -> Result<Field, FlashError> {
            let mut raw = vec![0; len];
            flash.read(self.area(), offset, &mut raw)?;
            Ok(Field { name, offset, raw, meaning })
        };
        let magic = match state.magic {
            Magic::Good => "good: the other fields count",
            Magic::Unset => "erased",
            Magic::Bad => "neither the magic nor erased: half written or overwritten",
        };
        let flag = |flag: Flag, set: &str| match flag {
            Flag::Set => set.to_owned(),
            Flag::Unset => "erased".to_owned(),
            Flag::Bad => "neither 0x01 nor erased".to_owned(),
        };
        let swap_info = match info.map(|info| (SwapType::from_nibble(info & 0x0f), info >> 4)) {
            None => "erased".to_owned(),
            Some((None, image)) => format!("a swap type that does not exist, image {image}"),
            Some((Some(swap), image)) => format!("{swap} swap, image {image}"),
        };
        let swap_size = match state.swap_size {
            u32::MAX => "erased".to_owned(),
            size => format!("{size} bytes to swap"),
        };
        let mut fields = vec![
            field("magic", self.magic_offset(), 16, magic.to_owned())?,
            field("image_ok", self.image_ok_offset(), 1, flag(state.image_ok, "set: the image is confirmed"))?,
            field("copy_done", self.copy_done_offset(), 1, flag(state.copy_done, "set: the swap is complete"))?,
            field("swap info", self.swap_info_offset(), 1, swap_info)?,
        ];
        if let Some(offset) = self.tlv_sizes_offset() {
            let meaning = match self.read_tlv_sizes(flash)? {
                [u16::MAX, u16::MAX] => "erased".to_owned(),
                [primary, secondary] => format!("TLV areas of {primary} bytes (primary) and {secondary} (secondary)"),
            };
            fields.push(field("TLV sizes", offset, 4, meaning)?);
        }
        fields.push(field("swap size", self.swap_size_offset(), 4, swap_size)?);
        Ok(fields)
    }
}

impl Pair {
    /// Every trailer of this image: primary, secondary and, for swap-scratch, the scratch area.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn decode(&self, flash: &Flash) -> Result<Vec<DecodedTrailer>, FlashError> {
        let slots = Slot::ALL.map(|slot| (Place::Slot(slot), self.trailer(slot)));
        let scratch = self.scratch().map(|trailer| (Place::Scratch, trailer));
        let decode = |(place, trailer): (Place, &Trailer)| {
            let mut records = Vec::new();
            if place != Place::Slot(Slot::Secondary)
                && !matches!(self.options.mode, Mode::OverwriteOnly { .. } | Mode::DirectXip { .. })
            {
                for number in 0..trailer.status_records() {
                    if let Some(raw) = trailer.read_record(flash, number)? {
                        let offset = trailer.status_offset(number);
                        records.push(StatusRecord { number, offset, raw, meaning: self.record_meaning(number) });
                    }
                }
            }
            Ok(DecodedTrailer {
                place,
                area: trailer.area(),
                offset: trailer.status_offset(0),
                len: trailer.area().len - trailer.status_offset(0),
                fields: trailer.fields(flash)?,
                records,
            })
        };
        slots.into_iter().chain(scratch).map(decode).collect()
    }

    fn record_meaning(&self, number: u32) -> String {
        let moves = self.options.max_sectors;
        match self.options.mode {
            Mode::SwapScratch => {
                let what = match number % 3 {
                    0 => "the secondary part is in the scratch area",
                    1 => "the primary part is in the secondary slot",
                    _ => "the part in the scratch area is in the primary slot",
                };
                format!("step {}: {what}", number / 3 + 1)
            }
            Mode::SwapOffset => {
                let what = if number.is_multiple_of(2) {
                    "primary slot is in the secondary"
                } else {
                    "secondary slot is in the primary"
                };
                format!("step {}: the sector of the {what} slot", number / 2 + 1)
            }
            _ if number < moves => format!("{} sectors have been moved up", number + 1),
            _ if (number - moves).is_multiple_of(2) => {
                format!("sector {} of the secondary slot is in the primary slot", (number - moves) / 2)
            }
            _ => format!("sector {} of the primary slot is in the secondary slot", (number - moves) / 2),
        }
    }
}
