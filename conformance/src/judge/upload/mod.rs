//! Uploading.
//!
//! | module | requirements |
//! |---|---|
//! | this one | what is in chunks: UPL-01, UPL-02, UPL-03, UPL-06 |
//! | `offsets` | where chunks start: UPL-04, UPL-05, UPL-11 |
//! | `refused` | what ends an upload: UPL-08, UPL-09 |
//! | `patience` | how long the device may take: UPL-07, UPL-13 |
//! | `resume` | lost links: UPL-10, RST-05 |
//! | `units` | write units of the device: UPL-12 |

mod offsets;
mod patience;
mod refused;
mod resume;
mod units;

use brickproof_simulator::smp::{Command, Field};
use brickproof_simulator::trace::hex;
use sha2::{Digest, Sha256};

use super::view::{Event, View, data_len, is, offset};
use super::{Check, CheckOutcome, Seen};

/// The requirements judged here and in the modules below.
pub(super) fn checks() -> impl Iterator<Item = &'static (&'static str, Check)> {
    [CHECKS, offsets::CHECKS, refused::CHECKS, patience::CHECKS, resume::CHECKS, units::CHECKS].into_iter().flatten()
}

/// What is in chunks.
const CHECKS: &[(&str, Check)] = &[
    ("UPL-01", first_chunk_is_complete),
    ("UPL-02", upload_is_named_by_the_file),
    ("UPL-03", first_fields_come_once),
    ("UPL-06", data_are_the_image),
];

/// Shortest data of a first chunk: an image header.
const HEADER_LEN: i64 = 32;

/// UPL-01: the first chunk has `off` 0, `len` and at least 32 bytes.
fn first_chunk_is_complete(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut begun = false;
    for entry in &view.entries {
        let Event::Request(request) = &entry.event else { continue };
        if !is(request, Command::ImageUpload) || request.malformed.is_some() {
            continue;
        }
        if !std::mem::replace(&mut begun, true) && offset(request).is_some_and(|off| off > 0) {
            seen.violated(&entry.place, "the upload begins in the middle");
        }
        match offset(request) {
            None => seen.violated(&entry.place, "a chunk has no `off`"),
            Some(0) if !request.body.contains_key("len") => {
                seen.violated(&entry.place, "a first chunk has no `len`");
            }
            Some(0) if data_len(request) < HEADER_LEN => {
                let len = data_len(request);
                seen.violated(
                    &entry.place,
                    format!("a first chunk has {len} bytes of data, fewer than an image header"),
                );
            }
            Some(0) => seen.met(entry.place.n),
            Some(_) => {}
        }
    }
    seen.outcome()
}

/// UPL-06: no chunk goes beyond `len`, and its bytes are those of the image.
fn data_are_the_image(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let image = &view.images.update.bytes;
    let mut announced = i64::try_from(image.len()).unwrap_or(i64::MAX);
    for entry in &view.entries {
        let Event::Request(request) = &entry.event else { continue };
        if !is(request, Command::ImageUpload) {
            continue;
        }
        let Some(off) = offset(request) else { continue };
        let Some((len, sha256)) = request.body.get("data").and_then(Field::bytes_sha256) else { continue };
        if off == 0
            && let Some(len) = request.body.get("len").and_then(Field::number)
        {
            announced = len;
        }
        let end = off.saturating_add(i64::try_from(len).unwrap_or(i64::MAX));
        if end > announced {
            seen.violated(&entry.place, format!("a chunk ends at {end} of an upload of {announced} bytes"));
            continue;
        }
        let range = usize::try_from(off).ok().zip(usize::try_from(end).ok()).and_then(|(off, end)| image.get(off..end));
        match range {
            Some(bytes) if hex(&Sha256::digest(bytes)) == sha256 => seen.met(entry.place.n),
            Some(_) => seen.violated(&entry.place, format!("the bytes at offset {off} are not those of the image")),
            None => seen.violated(&entry.place, format!("a chunk ends at {end}, beyond the image")),
        }
    }
    seen.outcome()
}

/// UPL-02: the first chunk of a process names the upload by the whole SHA-256 of the file.
fn upload_is_named_by_the_file(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let file = hex(&view.images.update.sha256);
    // What comes later is another requirement.
    let mut named = false;
    for entry in &view.entries {
        let request = match &entry.event {
            Event::Request(request) if is(request, Command::ImageUpload) => request,
            Event::Started => {
                named = false;
                continue;
            }
            _ => continue,
        };
        if offset(request) != Some(0) || std::mem::replace(&mut named, true) {
            continue;
        }
        match request.body.get("sha").and_then(Field::hex) {
            Some(sha) if sha == file => seen.met(entry.place.n),
            None => seen.violated(&entry.place, "a first chunk has no `sha`"),
            Some(sha) if sha.len() < file.len() => {
                seen.violated(&entry.place, format!("`sha` has {} of 32 bytes", sha.len() / 2));
            }
            Some(_) => seen.violated(&entry.place, "`sha` is not the SHA-256 of the file"),
        }
    }
    seen.outcome()
}

/// UPL-03: what belongs to the first chunk does not come again in later ones.
fn first_fields_come_once(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for entry in &view.entries {
        let Event::Request(request) = &entry.event else { continue };
        if !is(request, Command::ImageUpload) || offset(request).is_none_or(|off| off == 0) {
            continue;
        }
        let again: Vec<_> =
            ["len", "sha", "image", "upgrade"].into_iter().filter(|key| request.body.contains_key(*key)).collect();
        if again.is_empty() {
            seen.met(entry.place.n);
        } else {
            seen.violated(&entry.place, format!("a later chunk has {}", again.join(", ")));
        }
    }
    seen.outcome()
}

fn complete(view: &View<'_>, offset: i64) -> bool {
    usize::try_from(offset).is_ok_and(|offset| offset >= view.images.update.bytes.len())
}
