//! MCUboot's serial recovery (mcuboot: `boot/boot_serial/src/boot_serial.c`, `boot/zephyr/Kconfig.serial_recovery`).
//!
//! The bootloader's own small server. It talks over a serial port only ([`console`](super::console)) and owns the
//! device while it runs: there is no application.
//!
//! | request | answer |
//! |---|---|
//! | OS 0, echo, if built in | `r` |
//! | OS 1, console echo | `rc` 0 |
//! | OS 5, reset | `rc` 0; the reset comes 250 ms later |
//! | OS 6, parameters, if built in | `buf_size`, `buf_count` 1 |
//! | image 0, list | valid images only: `slot`, `hash` if built in, `version`; flags if built in |
//! | image 0 written, if flags are built in | the list; `rc` 3, 5 or 6 when it may not be |
//! | image 1, upload | `rc`, and `off` when it is 0 |
//! | image 6, slot info, if built in | `images` |
//! | anything else | `rc` 8 |
//!
//! What differs from the server of an application: every failure is a plain `rc`, whatever the version of the
//! header, which is sent back as it came; operations other than read and write, and packets that are longer than
//! their header says, are not answered at all. An upload goes to the **primary** slot, is never resumed (offset 0
//! begins anew), knows no `sha` and no `upgrade`, and is not looked at: what was uploaded is verified at the next
//! boot. Bytes beyond the last whole program unit of a chunk are not taken: the answer asks for them again.

use std::hash::{Hash, Hasher};

use brickproof_flash_model::boot::mcuboot::{Mcuboot, RequestError, Slot, SwapType};
use brickproof_flash_model::flash::{Area, Controller, FlashError, Interruption};
use brickproof_flash_model::image::mcuboot::header::flags;
use brickproof_flash_model::image::mcuboot::inspect;

use super::cbor::{MapReader, Type, Writer};
use super::codes::{SmpError, group};
use super::frame::{Frame, HEADER_LEN, Op};
use super::server::Answer;

/// From the answer to a reset request to the reset, in microseconds.
pub const RESET_DELAY_US: u64 = 250_000;
/// How the recovery was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryConfig {
    /// Size of the receive buffer in bytes (`BOOT_SERIAL_MAX_RECEIVE_SIZE`).
    pub receive_size: u16,
    /// Echo is built in (`BOOT_MGMT_ECHO`).
    pub echo: bool,
    /// The parameters command is built in (`BOOT_MGMT_MCUMGR_PARAMS`).
    pub params: bool,
    /// Lists have hashes (`BOOT_SERIAL_IMG_GRP_HASH`).
    pub hashes: bool,
    /// Lists have flags, and they can be written (`BOOT_SERIAL_IMG_GRP_IMAGE_STATE`).
    pub image_state: bool,
    /// Slot info is built in (`BOOT_SERIAL_IMG_GRP_SLOT_INFO`).
    pub slot_info: bool,
    /// Sectors are erased as the upload needs them, not the whole slot at its first chunk
    /// (`BOOT_ERASE_PROGRESSIVELY`).
    pub erase_progressively: bool,
    /// The `image` of an upload names a slot: 0 and 1 the primary, 2 the secondary
    /// (`MCUBOOT_SERIAL_DIRECT_IMAGE_UPLOAD`).
    pub direct_upload: bool,
}

impl RecoveryConfig {
    /// Longest body of an answer in bytes (`BOOT_SERIAL_OUT_MAX`).
    fn answer_max(&self) -> usize {
        let hash = if self.hashes { 36 } else { 0 };
        let state = if self.image_state { 48 } else { 0 };
        let slot_info = if self.slot_info { 164 } else { 0 };
        (128 + hash + state).max(slot_info)
    }
}

impl Default for RecoveryConfig {
    /// The defaults of a Nordic chip.
    fn default() -> Self {
        Self {
            receive_size: 1024,
            echo: false,
            params: false,
            hashes: true,
            image_state: false,
            slot_info: false,
            erase_progressively: true,
            direct_upload: false,
        }
    }
}

/// A failed request: answered with `rc`, or not at all because power is gone.
enum Failure {
    Rc(SmpError),
    Interrupted(Interruption),
}

impl From<SmpError> for Failure {
    fn from(error: SmpError) -> Self {
        Self::Rc(error)
    }
}

impl From<FlashError> for Failure {
    /// Whatever the flash refuses during an upload is an invalid value.
    fn from(error: FlashError) -> Self {
        match error {
            FlashError::Interrupted(interruption) => Self::Interrupted(interruption),
            FlashError::Refused(_) | FlashError::ReadFault { .. } => Self::Rc(SmpError::Invalid),
        }
    }
}

/// The upload under way; survives everything but a reset.
#[derive(Debug, Clone, Default, Hash)]
struct Upload {
    image: u32,
    /// Announced size.
    size: u32,
    /// Next expected offset.
    offset: u32,
    /// Where the next sector is that is not erased yet.
    erased: u32,
}

/// The recovery server, from its start to the next reset.
#[derive(Debug, Clone)]
pub struct Recovery {
    config: RecoveryConfig,
    upload: Upload,
}

impl Recovery {
    /// A server that has just started.
    #[must_use]
    pub fn new(config: RecoveryConfig) -> Self {
        Self { config, upload: Upload::default() }
    }

    /// How it was built.
    #[must_use]
    pub fn config(&self) -> &RecoveryConfig {
        &self.config
    }

    /// All that it keeps in RAM.
    pub(crate) fn hash_ram(&self, hasher: &mut impl Hasher) {
        self.upload.hash(hasher);
    }

    /// Next expected offset and announced size of the upload under way, in bytes.
    #[must_use]
    pub fn upload(&self) -> Option<(u32, u32)> {
        (self.upload.offset < self.upload.size).then_some((self.upload.offset, self.upload.size))
    }

    /// Handles one packet.
    ///
    /// # Errors
    /// The [`Interruption`] that ended it.
    pub fn handle(
        &mut self,
        packet: &[u8],
        flash: &mut Controller<'_>,
        mcuboot: &Mcuboot,
    ) -> Result<Answer, Interruption> {
        let mut answer = Answer::default();
        let Ok((frame, announced)) = Frame::parse_header(packet) else { return Ok(answer) };
        let body = &packet[HEADER_LEN..];
        if !frame.op.is_request() || usize::from(announced) < body.len() {
            return Ok(answer);
        }
        let mut map = Writer::new();
        map.begin_map();
        let done = match (frame.group, frame.command) {
            (group::OS, 0) if self.config.echo => echo(body, &mut map),
            (group::OS, 1) => {
                rc(&mut map, 0);
                Ok(())
            }
            (group::OS, 5) => {
                answer.reset = true;
                rc(&mut map, 0);
                Ok(())
            }
            (group::OS, 6) if self.config.params => {
                map.text("buf_size").unsigned(self.config.receive_size.into()).text("buf_count").unsigned(1);
                Ok(())
            }
            (group::IMAGE, 0) if frame.op == Op::Read => self.list(flash, mcuboot, &mut map),
            (group::IMAGE, 0) if self.config.image_state => {
                self.set_state(body, flash, mcuboot).and_then(|()| self.list(flash, mcuboot, &mut map))
            }
            (group::IMAGE, 1) => self.upload_chunk(body, flash, mcuboot).map(|offset| {
                rc(&mut map, 0);
                map.text("off").unsigned(offset.into());
            }),
            (group::IMAGE, 6) if self.config.slot_info && frame.op == Op::Read => {
                self.slot_info(mcuboot, &mut map);
                Ok(())
            }
            _ => Err(SmpError::NotSupported.into()),
        };
        let mut answered = map.end().clone().into_bytes();
        let failed = match done {
            Ok(()) if answered.len() > self.config.answer_max() => Some(SmpError::NoMemory),
            Ok(()) => None,
            Err(Failure::Interrupted(interruption)) => return Err(interruption),
            Err(Failure::Rc(error)) => Some(error),
        };
        if let Some(error) = failed {
            let mut map = Writer::new();
            rc(map.begin_map(), error as u64);
            answered = map.end().clone().into_bytes();
        }
        let op = if frame.op == Op::Read { Op::ReadResponse } else { Op::WriteResponse };
        let header = Frame { op, reserved: (frame.reserved.0, 0), ..frame };
        answer.packets.push(header.emit(&answered));
        Ok(answer)
    }

    fn list(&self, flash: &Controller<'_>, mcuboot: &Mcuboot, map: &mut Writer) -> Result<(), Failure> {
        let flash = flash.flash();
        let next = mcuboot.swap_type(flash)?;
        map.text("images").begin_list();
        for (number, slot) in [(0, Slot::Primary), (1, Slot::Secondary)] {
            if mcuboot.verify(flash, slot).is_err() {
                continue;
            }
            let source = mcuboot.pair(0).map(|pair| pair.image_source(flash, slot));
            let Some(Ok(info)) = source.map(|source| inspect(&source)) else { continue };
            map.begin_map();
            if self.config.image_state {
                let primary = slot == Slot::Primary;
                let (confirmed, pending, permanent) = match next {
                    SwapType::None => (primary, false, false),
                    SwapType::Test => (primary, !primary, false),
                    SwapType::Permanent => (primary, !primary, !primary),
                    SwapType::Revert => (!primary, false, false),
                    SwapType::Fail => (false, false, false),
                };
                let bootable = info.header.flags & flags::NON_BOOTABLE == 0;
                let named =
                    [("bootable", bootable), ("confirmed", confirmed), ("pending", pending), ("permanent", permanent)];
                for (flag, _) in named.into_iter().filter(|(_, set)| *set) {
                    map.text(flag).boolean(true);
                }
            }
            map.text("slot").unsigned(number);
            if let Some(hash) = info.hash.filter(|_| self.config.hashes) {
                map.text("hash").bytes(&hash);
            }
            map.text("version").text(&info.header.version.smp_text()).end();
        }
        map.end();
        Ok(())
    }

    fn set_state(&self, body: &[u8], flash: &mut Controller<'_>, mcuboot: &Mcuboot) -> Result<(), Failure> {
        let request = MapReader::read(body, [("confirm", Type::Boolean), ("hash", Type::Bytes)])
            .map_err(|_| SmpError::Invalid)?;
        let confirm = request.boolean(0).unwrap_or(false);
        let hash = request.bytes(1).filter(|_| self.config.hashes).unwrap_or_default();
        let mut slot = Slot::Primary;
        if !hash.is_empty() {
            if hash.len() != 32 {
                return Err(SmpError::Invalid.into());
            }
            let has = |slot: &Slot| mcuboot.verify(flash.flash(), *slot).is_ok_and(|image| image.hash == hash);
            slot = [Slot::Primary, Slot::Secondary].into_iter().find(has).ok_or(SmpError::NoEntry)?;
            if slot == Slot::Primary && !confirm {
                return Err(SmpError::Invalid.into());
            }
            match mcuboot.swap_type(flash.flash())? {
                SwapType::Test | SwapType::Permanent => return Err(SmpError::BadState.into()),
                SwapType::Revert if slot == Slot::Secondary || !confirm => return Err(SmpError::BadState.into()),
                SwapType::Revert | SwapType::None | SwapType::Fail => {}
            }
        }
        let written = match slot {
            Slot::Primary => mcuboot.set_confirmed(flash),
            Slot::Secondary => mcuboot.set_pending(flash, confirm),
        };
        written.map_err(|error| match error {
            RequestError::Flash(error) => error.into(),
            RequestError::BadVector | RequestError::BadImage => SmpError::Unknown.into(),
        })
    }

    fn slot_info(&self, mcuboot: &Mcuboot, map: &mut Writer) {
        map.text("images").begin_list().begin_map().text("image").unsigned(0).text("slots").begin_list();
        for (number, slot) in [(0, Slot::Primary), (1, Slot::Secondary)] {
            map.begin_map().text("slot").unsigned(number).text("size").unsigned(mcuboot.area(slot).len.into());
            if self.config.direct_upload {
                map.text("upload_image_id").unsigned(number + 1);
            } else if slot == Slot::Primary {
                map.text("upload_image_id").unsigned(0);
            }
            map.end();
        }
        map.end().text("max_image_size").unsigned(mcuboot.max_image_size().into()).end().end();
    }

    /// Takes one chunk; the next expected offset.
    fn upload_chunk(&mut self, body: &[u8], flash: &mut Controller<'_>, mcuboot: &Mcuboot) -> Result<u32, Failure> {
        let keys = [("image", Type::Unsigned), ("data", Type::Bytes), ("len", Type::Unsigned), ("off", Type::Unsigned)];
        let request = MapReader::read(body, keys).map_err(|_| SmpError::Invalid)?;
        let given = |index: usize| request.unsigned(index).filter(|number| *number != u32::MAX);
        let (Some(offset), Some(data)) = (given(3), request.bytes(1)) else { return Err(SmpError::Invalid.into()) };
        if offset == 0 {
            self.upload.image = given(0).unwrap_or(0);
        }
        let slot = match (self.config.direct_upload, self.upload.image) {
            (_, 0) | (true, 1) => Slot::Primary,
            (true, 2) => Slot::Secondary,
            (true, _) | (false, 1) => return Err(SmpError::Invalid.into()),
            (false, _) => return Err(SmpError::NoEntry.into()),
        };
        let area = mcuboot.area(slot);
        // An update for swap-offset begins one sector further in.
        let start = mcuboot.pair(0).map_or(0, |pair| pair.upload_offset(slot));
        if offset == 0 {
            self.upload.offset = 0;
            let size = given(2).filter(|size| *size <= area.len).ok_or(SmpError::Invalid)?;
            if !self.config.erase_progressively {
                erase_to(flash, area, 0, area.len - 1)?;
            }
            self.upload.erased = 0;
            self.upload.size = size;
        } else if offset != self.upload.offset {
            // No error: the client learns what is expected.
            return Ok(self.upload.offset);
        } else if u64::from(offset) + data.len() as u64 > u64::from(self.upload.size) {
            return Err(SmpError::Invalid.into());
        }
        // Only the first chunk can be longer than announced, and none is longer than a packet.
        let len = u32::try_from(data.len()).map_err(|_| SmpError::Invalid)?;
        let fits = |end: &u32| end.checked_add(start).is_some_and(|end| end <= area.len);
        let end = offset.checked_add(len).filter(fits).ok_or(SmpError::Invalid)?;
        if self.config.erase_progressively {
            let last = end.checked_sub(1).ok_or(SmpError::Invalid)?;
            self.upload.erased = erase_to(flash, area, self.upload.erased, start + last)?;
        }
        let geometry = flash.geometry(area).ok_or(SmpError::Invalid)?;
        let (unit, erased) = (geometry.program_unit(), geometry.erased_value());
        let rest = len % unit;
        let (whole, tail) = data.split_at((len - rest) as usize);
        if !whole.is_empty() {
            flash.program(area, start + offset, whole)?;
        }
        let mut taken = len - rest;
        if rest > 0 && end >= self.upload.size {
            let mut padded = tail.to_vec();
            padded.resize(unit as usize, erased);
            flash.program(area, start + offset + taken, &padded)?;
            taken += rest;
        }
        self.upload.offset = offset + taken;
        if self.upload.offset == self.upload.size && self.config.erase_progressively {
            // The trailer must be empty, or the next boot would act on what an earlier image left there.
            let status = mcuboot.trailer(slot).status_offset(0);
            let sector = flash.geometry(area).and_then(|geometry| geometry.sector_at(area.offset + status));
            let sector = sector.ok_or(SmpError::Unknown)?;
            flash.erase(area, sector.offset - area.offset, sector.size).map_err(|error| {
                match Failure::from(error) {
                    Failure::Rc(_) => SmpError::Unknown.into(),
                    interrupted @ Failure::Interrupted(_) => interrupted,
                }
            })?;
        }
        Ok(self.upload.offset)
    }
}

/// Erases the sectors from `start`, the beginning of one, to the one that holds `last`; where the next begins.
fn erase_to(flash: &mut Controller<'_>, area: Area, start: u32, last: u32) -> Result<u32, Failure> {
    let mut at = start;
    while at <= last {
        let sector = flash.geometry(area).and_then(|geometry| geometry.sector_at(area.offset + at));
        let size = sector.ok_or(SmpError::Invalid)?.size;
        flash.erase(area, at, size)?;
        at += size;
    }
    Ok(at)
}

fn echo(body: &[u8], map: &mut Writer) -> Result<(), Failure> {
    let request = MapReader::read(body, [("d", Type::Text)]).map_err(|_| SmpError::Invalid)?;
    let text = request.text(0).ok_or(SmpError::Invalid)?;
    map.text("r").raw_text(text);
    Ok(())
}

fn rc(map: &mut Writer, rc: u64) {
    map.text("rc").unsigned(rc);
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
