//! The files, and what came of them: SIL-22, SIL-23, SIL-26.

use brickproof_flash_model::image::gbl::{Gbl, TagKind};
use brickproof_simulator::gatt::Uuid;
use brickproof_simulator::silabs::gatt::APPLICATION_VERSION;

use super::upload::Run;
use super::view::{Connection, Deed, Peer, To};
use crate::judge::{CheckOutcome, Seen};
use crate::scenario::ImageSet;
use crate::scenario::gbl::UNPACKED_MAX;

/// Where an application says its version: firmware revision, software revision, and what Silicon Labs has for it.
const VERSIONS: [Uuid; 3] = [Uuid::short(0x2a26), Uuid::short(0x2a28), APPLICATION_VERSION];

/// What an initiator is given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offered<'a> {
    pub(super) bytes: &'a [u8],
    /// It is damaged, as anybody can see.
    is_damaged: bool,
    /// It says in clear that it has an application.
    has_application: bool,
    /// It has a bootloader, and no programs.
    only_bootloader: bool,
    /// What is in it can be seen at all.
    in_clear: bool,
}

/// The files of a scenario.
pub(super) fn offered(images: &ImageSet) -> Vec<Offered<'_>> {
    let of = |bytes| {
        let gbl = Gbl::scan(bytes).ok().map(|(gbl, _)| gbl);
        let has = |kind| gbl.as_ref().is_some_and(|gbl| gbl.tag(kind).is_some());
        let programs = gbl.iter().flat_map(Gbl::tags).any(|tag| tag.kind.is_some_and(TagKind::is_program));
        Offered {
            bytes,
            is_damaged: damaged(bytes),
            has_application: has(TagKind::Application),
            only_bootloader: has(TagKind::Bootloader) && !programs,
            in_clear: gbl.as_ref().is_some_and(|gbl| !gbl.is_encrypted()),
        }
    };
    images.updates().map(|image| of(image.bytes.as_slice())).collect()
}

/// Whether a file is visibly damaged: its tags do not come to an end, or its CRC is wrong.
fn damaged(bytes: &[u8]) -> bool {
    let crc = Gbl::read(bytes).ok().and_then(|gbl| gbl.crc());
    crc.is_none_or(|crc| crc.stored != crc.computed)
}

/// Whether one of the files that an initiator is given is visibly damaged, or has programs that no device can take: whoever
/// looks at it sends nothing.
pub(in crate::judge) fn is_unfit(images: &ImageSet) -> bool {
    images.updates().any(|image| damaged(&image.bytes) || has_unfit_programs(&image.bytes))
}

/// Whether programs in clear do not unpack, or begin in the middle of a word.
fn has_unfit_programs(bytes: &[u8]) -> bool {
    let Some(gbl) = Gbl::read(bytes).ok().filter(|gbl| !gbl.is_encrypted()) else { return false };
    match gbl.programs(None, UNPACKED_MAX) {
        Ok(programs) => programs.iter().any(|(address, _)| !address.is_multiple_of(4)),
        Err(_) => true,
    }
}

/// SIL-22. A damaged file is found before a device is touched.
pub(super) fn checked(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    if !run.files.iter().any(|file| file.is_damaged) {
        return seen.outcome();
    }
    let written = run.view.connections.iter().flat_map(Connection::writes);
    match (written.into_iter().find(|write| write.to != To::Other), run.view.said) {
        (Some(write), _) => seen.violated(&write.at, "the file is damaged, and an update begins with it"),
        (None, Some(said)) if !said.success => seen.met(said.at.n),
        (None, _) => {}
    }
    seen.outcome()
}

/// SIL-23. Before success is reported, the device is looked at.
///
/// In front of an AppLoader it is enough that the application is met again: the AppLoader has left for it. An application with
/// a slot looks the same before and after, so its version is read. Of a file that does not say what application it has,
/// nothing can be confirmed.
pub(super) fn confirms(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let Some(said) = run.view.said.filter(|said| said.success) else { return seen.outcome() };
    let last = run.uploads.iter().rev().find_map(|upload| Some((upload, upload.taken()?)));
    let Some((_, taken)) = last.filter(|_| run.files.iter().any(|file| file.has_application)) else {
        return seen.outcome();
    };
    let later =
        run.view.connections.iter().filter(|connection| connection.begun.n > taken.n && connection.begun.n < said.at.n);
    let looked = later.into_iter().find_map(|connection| {
        let version = |deed: &Deed| matches!(deed, Deed::Read(Some(uuid)) if VERSIONS.contains(uuid));
        let discovery = |deed: &Deed| matches!(deed, Deed::Discovery);
        connection.first(version).or_else(|| {
            let met = if run.view.shows_discovery { connection.first(discovery) } else { Some(connection.begun) };
            met.filter(|_| run.is_in_place(connection))
        })
    });
    match looked {
        Some(at) => seen.met(at.n),
        None => seen.violated(&said.at, "success is reported, and nobody has looked at what runs"),
    }
    seen.outcome()
}

/// SIL-26. Of two files for an AppLoader the bootloader goes first, and the application follows.
///
/// A slot takes them in one file: a bootloader alone is put aside where the application is, and then there is none that could
/// take another file.
pub(super) fn both(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let bootloader = run.files.iter().position(|file| file.only_bootloader);
    let application = run.files.iter().position(|file| file.in_clear && !file.only_bootloader);
    let (Some(bootloader), Some(application)) = (bootloader, application) else { return seen.outcome() };
    let mut uploads = run.uploads.iter().filter(|upload| !upload.data.is_empty());
    let first = uploads.next().filter(|upload| upload.connection.peer == Peer::AppLoader);
    let Some(first) = first else { return seen.outcome() };
    if first.file == Some(application) {
        seen.violated(&first.begun(), "the application goes before the bootloader, which erases it");
        return seen.outcome();
    }
    let taken = run.uploads.iter().filter(|upload| upload.file == Some(bootloader)).find_map(|upload| upload.taken());
    let Some(taken) = taken else { return seen.outcome() };
    let second = run.uploads.iter().find(|upload| upload.begun().n > taken.n && upload.file == Some(application));
    match (second, run.view.said) {
        (Some(upload), _) => seen.met(upload.begun().n),
        (None, Some(said)) if !run.is_disturbed(taken, said.at) => {
            seen.violated(&said.at, "the bootloader is in place, and the application does not follow");
        }
        (None, _) => {}
    }
    seen.outcome()
}
