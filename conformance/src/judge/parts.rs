//! An update of several images, as one trace for each of them.
//!
//! Most requirements are about one image: its chunks, its mark, its entry in the list. Of an update of several
//! they are judged image by image, each with the trace as if the others had not been updated.

use std::collections::BTreeMap;

use brickproof_simulator::smp::{Command, Field, SmpMessage};
use brickproof_simulator::trace::{Direction, Kind, Record, hex};
use sha2::{Digest, Sha256};

use super::view::{answers_state_write, is, named_hash, offset, writes_state};
use super::{CheckOutcome, Seen};
use crate::scenario::{Image, ImageSet};

/// Requirements about one image, besides those on uploads.
const ONE_BY_ONE: [&str; 10] =
    ["RST-01", "RST-05", "STA-01", "STA-02", "STA-03", "STA-04", "STA-05", "STA-06", "STA-07", "STA-09"];

/// Whether a requirement is judged image by image.
pub(super) fn one_by_one(id: &str) -> bool {
    id.starts_with("UPL-") || ONE_BY_ONE.contains(&id)
}

/// What concerns one image.
pub(super) struct Part {
    pub(super) trace: Vec<Record>,
    pub(super) images: ImageSet,
}

/// The parts of an update of several images; none of an update of one.
pub(super) fn split(trace: &[Record], images: &ImageSet) -> Vec<Part> {
    if images.update_1.is_none() {
        return Vec::new();
    }
    let owners = owners(trace, images);
    let part = |(number, update): (usize, &Image)| {
        let own = trace.iter().zip(&owners).filter(|(_, owner)| owner.is_none_or(|owner| owner == number));
        let mut trace: Vec<Record> = own.map(|(record, _)| of_image(record, number)).collect();
        if number > 0 {
            started(&mut trace, number);
        }
        Part { trace, images: ImageSet { update: update.clone(), update_1: None, ..images.clone() } }
    };
    images.updates().enumerate().map(part).collect()
}

/// What the parts say together.
pub(super) fn together(outcomes: impl Iterator<Item = CheckOutcome>) -> CheckOutcome {
    let mut seen = Seen::default();
    for outcome in outcomes {
        match outcome {
            CheckOutcome::Met { evidence } => seen.evidence.extend(evidence),
            CheckOutcome::Violated { findings } => seen.violations.extend(findings),
            CheckOutcome::NotExercised => {}
            CheckOutcome::NotObservable { missing } => return CheckOutcome::NotObservable { missing },
        }
    }
    seen.evidence.sort_unstable();
    seen.evidence.dedup();
    // A reset, say, that is wrong for both is one violation.
    seen.violations.sort_by(|one, other| (one.record, &one.happened).cmp(&(other.record, &other.happened)));
    seen.violations.dedup();
    seen.outcome()
}

/// The image that an upload brings, from its first chunk: by the name of the upload, or else by its bytes. What is
/// nobody's file, or begins as several do, is not told.
pub(super) fn brings(images: &ImageSet, first: &SmpMessage) -> Option<usize> {
    let sha = first.body.get("sha").and_then(Field::hex);
    let by_name = images.updates().position(|image| Some(hex(&image.sha256).as_str()) == sha);
    let (len, data) = first.body.get("data").and_then(Field::bytes_sha256)?;
    let begins = |bytes: &[u8]| {
        let begin = usize::try_from(len).ok().and_then(|len| bytes.get(..len));
        begin.is_some_and(|begin| hex(&Sha256::digest(begin)) == data)
    };
    by_name.or_else(|| images.updates().position(|image| begins(&image.bytes)))
}

/// The image that a first chunk names: the first, when it names none.
pub(super) fn named(first: &SmpMessage) -> i64 {
    first.body.get("image").and_then(Field::number).unwrap_or(0)
}

/// For each record the image that it is about; `None` for what is about all of them.
fn owners(trace: &[Record], images: &ImageSet) -> Vec<Option<usize>> {
    let hashes: Vec<_> = images.updates().map(|image| image.tlv_hash.map(|hash| hex(&hash))).collect();
    let mut uploading = None;
    let mut asked: BTreeMap<_, Option<usize>> = BTreeMap::new();
    let key = |message: &SmpMessage| (message.group, message.command, message.sequence);
    let mut owner = |record: &Record| match &record.kind {
        Kind::Message { direction: Direction::ToTarget, smp, .. } => {
            let owner = if is(smp, Command::ImageUpload) {
                if offset(smp) == Some(0) {
                    uploading = brings(images, smp).or_else(|| usize::try_from(named(smp)).ok());
                }
                uploading
            } else if writes_state(smp) {
                // Without a hash the running image is meant, which is the first.
                let hash = named_hash(smp);
                Some(hashes.iter().position(|own| own.as_deref() == hash).unwrap_or(0))
            } else {
                None
            };
            asked.insert(key(smp), owner);
            owner
        }
        Kind::Message { direction: Direction::FromTarget, smp, .. }
            if is(smp, Command::ImageUpload) || answers_state_write(smp) =>
        {
            asked.get(&key(smp)).copied().flatten()
        }
        _ => None,
    };
    trace.iter().map(&mut owner).collect()
}

/// The record with the entries of one image in its list.
fn of_image(record: &Record, number: usize) -> Record {
    let mut record = record.clone();
    if let Kind::Message { direction: Direction::FromTarget, smp, .. } = &mut record.kind
        && is(smp, Command::ImageState)
        && let Some(Field::List(images)) = smp.body.get_mut("images")
    {
        let image = |entry: &Field| entry.get("image").and_then(Field::number).unwrap_or(0);
        images.retain(|entry| usize::try_from(image(entry)) == Ok(number));
    }
    record
}

/// Boots with the image of this number as the running one: what the state after them has in its primary slot.
fn started(trace: &mut [Record], number: usize) {
    let primary = format!("primary-{number}");
    let mut hash = None;
    for record in trace.iter_mut().rev() {
        match &mut record.kind {
            Kind::State(state) if state.when == "boot" => {
                hash = state.slots.iter().find(|slot| slot.slot == primary).and_then(|slot| slot.hash.clone());
            }
            Kind::Boot(boot) => {
                let hash = hash.take();
                boot.running = boot.running.take().and(hash);
            }
            _ => {}
        }
    }
}
