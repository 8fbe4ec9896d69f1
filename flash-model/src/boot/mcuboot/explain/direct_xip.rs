//! Direct-XIP: what does not fit in two slots that are alike, and what would help.

use super::remedy::{Edit, Search, erase_trailer, trailer_start, write_flag, write_magic};
use super::{Names, Oddity, bytes, erased_value, image, trailer};
use crate::boot::mcuboot::{Flag, Magic, Pair, Slot, pair};
use crate::flash::Flash;
use crate::image::mcuboot::{IMAGE_MAGIC, ImageError, ImageHeader, header::flags};

/// Everything odd about the slots of one image. `revert`: their trailers count.
pub(super) fn wrong(pair: &Pair, flash: &Flash, names: &Names<'_>, revert: bool) -> Vec<Oddity> {
    let mut found = Vec::new();
    for slot in Slot::ALL {
        let mut add = |id, words| found.push(Oddity { id, slot: pair::partition(slot, pair.image()), words });
        let area = pair.area(slot);
        let Ok(header) = ImageHeader::read(&pair.image_source(flash, slot)) else { continue };
        if let Err(error) = pair.verify(flash, slot) {
            if let Some(words) = invalid(pair, slot, flash, &header, &error) {
                add(if slot == Slot::Primary { "primary-invalid" } else { "secondary-invalid" }, words);
            }
            continue;
        }
        if header.flags & flags::ROM_FIXED != 0 && header.load_address != area.offset {
            let words = format!("its image is linked for {:#x}: it is never started from here", header.load_address);
            add("linked-elsewhere", words);
        }
        let (Ok(state), true) = (pair.trailer(slot).read(flash), revert) else { continue };
        let trailer = pair.trailer(slot);
        let at = |offset| names.at(area, offset);
        match state.magic {
            Magic::Good => {}
            Magic::Unset => {
                add("no-trailer", "its image was not marked: when its turn comes, the slot is erased".into());
                continue;
            }
            Magic::Bad => {
                let at = at(trailer.magic_offset());
                let words =
                    format!("the magic at {at} is neither good nor erased: when its turn comes, the slot is erased");
                add("magic-bad", words);
                continue;
            }
        }
        let torn = |name, offset| {
            format!("{name} at {} is {:#04x}, a torn write", at(offset), bytes(flash, area, offset, 1)[0])
        };
        if state.copy_done == Flag::Bad {
            add("flag-bad", torn("copy_done", trailer.copy_done_offset()) + ": the image counts as not tried");
        }
        if state.image_ok == Flag::Bad {
            let words = torn("image_ok", trailer.image_ok_offset())
                + ": the image counts as not confirmed, and cannot be confirmed any more";
            add("flag-bad", words);
        }
    }
    found
}

/// What is not valid in a slot; nothing where the slot is erased, as a slot may be.
fn invalid(pair: &Pair, slot: Slot, flash: &Flash, header: &ImageHeader, error: &ImageError) -> Option<String> {
    let area = pair.area(slot);
    let erased = erased_value(flash, area);
    if header.magic != IMAGE_MAGIC {
        let body = bytes(flash, area, 0, trailer::start(pair, pair.trailer(slot)));
        return match body.iter().position(|byte| *byte != erased) {
            None => None,
            Some(0..4) => Some(format!("{error}: the bootloader leaves it out")),
            Some(_) => Some("the slot is erased at its start, and not behind it: the bootloader leaves it out".into()),
        };
    }
    let hint = image::unfinished(flash, pair, slot, header).map_or(String::new(), |hint| format!(" ({hint})"));
    Some(format!("{error}{hint}: it is not started, and when its turn comes, the slot is erased"))
}

impl Search<'_> {
    /// Both slots are alike: what makes the image in one of them stay, and where the next one goes.
    pub(super) fn of_direct_xip(&mut self, pair: &Pair, revert: bool, boots: bool) {
        let name = |slot| pair::partition(slot, pair.image());
        let mut free = None;
        for slot in Slot::ALL {
            let Ok(verified) = pair.verify(self.flash, slot) else {
                free = free.or(Some(slot));
                continue;
            };
            let (Ok(state), true) = (pair.trailer(slot).read(self.flash), revert) else { continue };
            let torn = state.magic == Magic::Bad || [state.copy_done, state.image_ok].contains(&Flag::Bad);
            let purpose = match boots {
                true => format!("keep the image in `{}`; the application does the same when it confirms", name(slot)),
                false => format!("start the image in `{}`", name(slot)),
            };
            if torn && verified.total_len <= trailer_start(pair, slot) {
                let mut edits = vec![erase_trailer(pair, slot)];
                edits.extend(confirmed(pair, slot, [false; 3]));
                self.offer(&purpose, &edits);
            } else if !torn && state.image_ok == Flag::Unset {
                let there = [state.magic == Magic::Good, state.copy_done == Flag::Set, false];
                self.offer(&purpose, &confirmed(pair, slot, there));
            }
        }
        let area = pair.area(Slot::Primary);
        let padded = if revert { ", with a trailer that confirms it" } else { "" };
        match free {
            _ if !boots => self.advise(
                &format!("write `{}` anew, with a debugger", name(Slot::Primary)),
                vec![
                    format!("erase {}", self.names.range(area, 0, area.len)),
                    format!("write an image that is signed with a trusted key at {}{padded}", self.names.at(area, 0)),
                ],
            ),
            Some(slot) => {
                let mark = if revert { ", and mark it for test" } else { "" };
                self.advise(
                    "update",
                    vec![format!("upload a signed image with a higher version to `{}`{mark}", name(slot))],
                );
            }
            None => {}
        }
    }
}

/// What makes a trailer that of a confirmed image; magic, copy_done and image_ok may be there already.
fn confirmed(pair: &Pair, slot: Slot, there: [bool; 3]) -> Vec<Edit> {
    let trailer = pair.trailer(slot);
    let edits = [
        write_magic(trailer),
        write_flag(trailer, trailer.copy_done_offset(), "copy_done"),
        write_flag(trailer, trailer.image_ok_offset(), "image_ok"),
    ];
    edits.into_iter().zip(there).filter(|(_, there)| !there).map(|(edit, _)| edit).collect()
}
