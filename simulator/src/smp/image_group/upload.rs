//! Uploading an image (zephyr: `img_mgmt.c`, `zephyr_img_mgmt.c`).

use brickproof_flash_model::flash::Area;
use brickproof_flash_model::image::mcuboot::{IMAGE_MAGIC, ImageHeader, header};

use super::super::cbor::{MapReader, Type};
use super::super::codes::{ImageError, SmpError};
use super::super::config::{BootloaderMode, TooLarge};
use super::super::dispatch::{Exchange, Failure};
use super::super::server::{Environment, Server};
use super::next_boot::{compare, in_use};
use super::slots::{self, Slots, opposite};
use super::writer::ImageWriter;
use super::{ImageGroup, Result};

/// Length of an image header in bytes.
const HEADER_LEN: usize = 32;
/// Longest `sha` in bytes.
const SHA_MAX: usize = 32;

/// The upload under way.
#[derive(Debug, Clone, Hash)]
pub(in super::super) struct Upload {
    slot: u32,
    /// Next expected offset.
    offset: u32,
    /// Announced size.
    size: u32,
    /// What the client gave to recognise it by; may be shortened, may be empty.
    sha: Vec<u8>,
    writer: ImageWriter,
}

impl Upload {
    pub(in super::super) fn progress(&self) -> (u32, u32) {
        (self.offset, self.size)
    }
}

/// A request with its fields read.
struct Chunk<'a> {
    image: u32,
    data: &'a [u8],
    len: Option<u32>,
    off: Option<u32>,
    sha: &'a [u8],
    upgrade: bool,
}

/// What is done with a chunk.
enum Action {
    /// Nothing; the client learns which offset is expected.
    Ignore(u32),
    /// A new upload to this slot of this many bytes.
    Start { slot: u32, area: Area, size: u32 },
    /// The upload goes on.
    Continue,
}

/// A failure with its reason in words.
type Refusal = (Failure, Option<&'static str>);

fn refusal(error: ImageError, reason: &'static str) -> Refusal {
    (error.into(), Some(reason))
}

fn silent(failure: impl Into<Failure>) -> Refusal {
    (failure.into(), None)
}

/// Takes one chunk; the answer is the next expected offset.
pub(super) fn write(server: &mut Server, exchange: &mut Exchange<'_>, device: &mut Environment<'_, '_>) -> Result {
    let keys = [
        ("image", Type::Unsigned),
        ("data", Type::Bytes),
        ("len", Type::Unsigned),
        ("off", Type::Unsigned),
        ("sha", Type::Bytes),
        ("upgrade", Type::Boolean),
    ];
    let request = MapReader::read(exchange.body, keys).map_err(|_| SmpError::Invalid)?;
    // The server takes the largest number for "not given".
    let given = |index: usize| request.unsigned(index).filter(|number| *number != u32::MAX);
    let chunk = Chunk {
        image: request.unsigned(0).unwrap_or(0),
        data: request.bytes(1).unwrap_or_default(),
        len: given(2),
        off: given(3),
        sha: request.bytes(4).unwrap_or_default(),
        upgrade: request.boolean(5).unwrap_or(false),
    };
    let Server { config, images, .. } = server;
    let slots = Slots::new(config, device);
    let taken = match inspect(&slots, images, &chunk, device) {
        Ok(Action::Ignore(offset)) => Ok((offset, None)),
        Ok(_) if device.refuse_upload.is_some() => {
            // The application's own code stands in an answer that does not end the packet.
            images.upload = None;
            let rc = device.refuse_upload.as_ref().map_or(0, |refused| refused.rc);
            exchange.map.text("rc").unsigned(rc.into());
            return Ok(());
        }
        Ok(action) => take(&slots, images, &chunk, &action, device),
        Err((failure, reason)) => {
            exchange.reason = reason;
            Err(failure)
        }
    };
    // Every failure forgets the upload, so that its sha no longer resumes it.
    let (offset, matches) = taken.inspect_err(|_| images.upload = None)?;
    exchange.success(config);
    exchange.map.text("off").unsigned(offset.into());
    if let Some(matches) = matches.filter(|_| config.image_check) {
        exchange.map.text("match").boolean(matches);
    }
    Ok(())
}

/// Which rules a chunk meets, in this order (`img_mgmt_upload_inspect`). Changes nothing.
fn inspect(
    slots: &Slots<'_>,
    images: &ImageGroup,
    chunk: &Chunk<'_>,
    device: &Environment<'_, '_>,
) -> std::result::Result<Action, Refusal> {
    let off = chunk.off.ok_or(refusal(ImageError::InvalidOffset, "header malformed"))?;
    if off == 0 {
        return inspect_first(slots, images, chunk, device);
    }
    let (offset, size) = images.upload.as_ref().map_or((0, 0), Upload::progress);
    if off != offset {
        return Ok(Action::Ignore(offset));
    }
    if u64::from(off) + chunk.data.len() as u64 > u64::from(size) {
        return Err(refusal(ImageError::DataOverrun, "data overrun"));
    }
    Ok(Action::Continue)
}

fn inspect_first(
    slots: &Slots<'_>,
    images: &ImageGroup,
    chunk: &Chunk<'_>,
    device: &Environment<'_, '_>,
) -> std::result::Result<Action, Refusal> {
    let header: &[u8; HEADER_LEN] =
        chunk.data.first_chunk().ok_or(refusal(ImageError::InvalidImageHeader, "header malformed"))?;
    let header = ImageHeader::parse(header);
    let size = chunk.len.ok_or(refusal(ImageError::InvalidLength, "header malformed"))?;
    if header.magic != IMAGE_MAGIC {
        return Err(refusal(ImageError::InvalidImageHeaderMagic, "magic mismatch"));
    }
    if chunk.sha.len() > SHA_MAX {
        return Err(silent(ImageError::InvalidHash));
    }
    if let Some(upload) = images.upload.as_ref().filter(|upload| !chunk.sha.is_empty() && upload.sha == chunk.sha) {
        return Ok(Action::Ignore(upload.offset));
    }
    let slot = target(slots, chunk.image, device).map_err(silent)?.ok_or(refusal(ImageError::NoFreeSlot, "no slot"))?;
    let area = slots.area(device, slot).ok_or(refusal(ImageError::FlashOpen, "fa open fail"))?;
    if size > area.len {
        return Err(refusal(ImageError::TooLarge, "img too large"));
    }
    check_policy(slots, chunk.image, area, size, device)?;
    if slots.config.reject_mismatched_slot
        && header.flags & header::flags::ROM_FIXED != 0
        && header.load_address != area.offset
    {
        return Err(refusal(ImageError::InvalidFlashAddress, "img addr mismatch"));
    }
    if chunk.upgrade {
        let running = slots
            .version(device, slots.active_slot(slots.active_image()))
            .map_err(|_| silent(ImageError::VersionGet))?;
        if compare(slots.config, running, header.version).is_ge() {
            return Err(refusal(ImageError::CurrentVersionIsNewer, "downgrade"));
        }
    }
    Ok(Action::Start { slot, area, size })
}

/// The slot an image goes to, if it is free (`img_mgmt_get_unused_slot_area_id`). It need not exist.
fn target(slots: &Slots<'_>, image: u32, device: &Environment<'_, '_>) -> Result<Option<u32>> {
    if slots.config.image_count > 1 {
        let image = if image == u32::MAX { 0 } else { image };
        let slot = opposite(slots.active_slot(image));
        return Ok((!in_use(slots, device, slot)?).then_some(slot));
    }
    // With direct upload, 0 leaves the choice to the server, as without.
    match image.checked_sub(1).filter(|_| slots.config.direct_upload) {
        Some(slot) if slot > i32::MAX as u32 => Ok(None),
        Some(slot) if slot < 2 && in_use(slots, device, slot)? => Ok(None),
        Some(slot) => Ok(Some(slot)),
        None => {
            for slot in [0, 1] {
                if !in_use(slots, device, slot)? {
                    return Ok(Some(slot));
                }
            }
            Ok(None)
        }
    }
}

/// Leaves room for what the bootloader writes behind the image, where the build knows how much that is.
fn check_policy(
    slots: &Slots<'_>,
    image: u32,
    area: Area,
    size: u32,
    device: &Environment<'_, '_>,
) -> std::result::Result<(), Refusal> {
    let max = match slots.config.too_large {
        TooLarge::Slot => return Ok(()),
        TooLarge::BootloaderInfo { max } => max,
        TooLarge::Sysbuild { footer } => {
            if footer == 0 || slots.config.bootloader == BootloaderMode::FirmwareLoader {
                return Ok(());
            }
            // The number of the image is taken for that of its slot.
            let current = slots.area(device, image).ok_or(refusal(ImageError::FlashOpen, "fa open fail"))?;
            if u64::from(current.len) >= u64::from(area.len) + u64::from(footer) {
                return Ok(());
            }
            area.len.saturating_sub(footer)
        }
    };
    if max > 0 && size > max {
        return Err(refusal(ImageError::TooLarge, "img too large"));
    }
    Ok(())
}

/// Writes a chunk: the next expected offset, and behind the last chunk whether the hash agrees.
fn take(
    slots: &Slots<'_>,
    images: &mut ImageGroup,
    chunk: &Chunk<'_>,
    action: &Action,
    device: &mut Environment<'_, '_>,
) -> Result<(u32, Option<bool>)> {
    let config = slots.config;
    if let Action::Start { slot, area, size } = *action {
        let writer = ImageWriter::new(area, slots.image_offset(device, slot));
        if config.image_check && chunk.sha.len() == SHA_MAX && writer.matches(chunk.sha, size, device) {
            // The slot holds these very bytes: the upload is over before it begins.
            images.upload = None;
            return Ok((size, Some(true)));
        }
        if !config.progressive_erase && !slots::is_erased(device, area) {
            writer.erase_for(slots.trailer(device, slot), size, device)?;
        }
        writer.erase_front(device)?;
        images.upload = Some(Upload { slot, offset: 0, size, sha: chunk.sha.to_vec(), writer });
    }
    let upload = images.upload.as_mut().ok_or(ImageError::Unknown)?;
    let end = u64::from(upload.offset) + chunk.data.len() as u64;
    let last = end == u64::from(upload.size) && !chunk.data.is_empty();
    let trailer = slots.trailer(device, upload.slot);
    upload.writer.write(config, trailer, chunk.data, last, device)?;
    upload.offset = u32::try_from(end).map_err(|_| ImageError::FlashWrite)?;
    let offset = upload.offset;
    if !last {
        return Ok((offset, None));
    }
    let matches = config.image_check && upload.writer.matches(&upload.sha, upload.size, device);
    images.upload = None;
    Ok((offset, Some(matches)))
}
