//! Files of one's own for an EFR32, in place of those that a scenario makes.

use std::path::Path;

use brickproof_flash_model::image::gbl::{Gbl, Severity, check_application, verify};
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::source::Mistake;

use super::gbl::{GblSpec, UNPACKED_MAX};
use super::package::Contents;
use super::{ImageOrigin, ImageSpec};
use crate::target::SilabsTarget;

/// Why a file of one's own cannot stand for the image that a scenario makes: that it is about what that image is.
#[must_use]
pub fn cannot_stand_for(spec: &ImageSpec) -> Option<&'static str> {
    let of_its_own =
        spec.gbl != GblSpec::default() || spec.key.is_some() || spec.package.contents != Contents::default();
    let words = "the scenario is about what is in its own file, and another cannot stand for it";
    (matches!(spec.origin, ImageOrigin::File(_)) && of_its_own).then_some(words)
}

/// What a target has against a file: as `brickproof image verify --target` says it, in a line.
///
/// # Errors
/// That bootloader and layout do not go together.
pub fn refusal(bytes: &[u8], own: &SilabsTarget, layout: &Layout) -> Result<Option<String>, Mistake> {
    let device = own.device(layout)?;
    let report = verify(bytes, &device);
    let error = report.findings.iter().find(|finding| finding.severity == Severity::Error);
    if let Some(finding) = error {
        return Ok(Some(format!("{}: {}", finding.place, finding.message)));
    }
    let programs = Gbl::read(bytes).and_then(|gbl| gbl.programs(device.decryption.as_ref(), UNPACKED_MAX));
    let Some(programs) = programs.ok().filter(|programs| !programs.is_empty()) else { return Ok(None) };
    let start = own.gecko(layout)?.map().application_start();
    let rules = own.boot_rules(layout)?;
    let started = flattened(&programs, start).map(|application| check_application(&application, start, &rules));
    Ok(started.ok().and_then(Result::err).map(|fault| format!("it is installed, and never started: {fault}")))
}

/// The application in a file, as it lies in the flash from `start`: what the programs of a GBL file leave there, or the
/// bytes of any other file.
///
/// # Errors
/// A [`Mistake`] that names the file: it cannot be read, has no application for this target, or one that never starts.
pub(super) fn application(
    path: &Path,
    own: &SilabsTarget,
    layout: &Layout,
    start: u32,
    what: &str,
) -> Result<Vec<u8>, Mistake> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| Mistake::new(&file, error.to_string()).remedy(what))?;
    let bytes = if Gbl::scan(&bytes).is_ok() { unpacked(&file, &bytes, own, start)? } else { bytes };
    check_application(&bytes, start, &own.boot_rules(layout)?).map_err(|fault| {
        Mistake::new(&file, format!("the target would not start it: {fault}"))
            .remedy(format!("firmware that is linked for {start:#x}, as bytes or in a GBL file"))
    })?;
    Ok(bytes)
}

fn unpacked(file: &str, bytes: &[u8], own: &SilabsTarget, start: u32) -> Result<Vec<u8>, Mistake> {
    let programs = Gbl::read(bytes)
        .and_then(|gbl| gbl.programs(own.encryption_key().as_ref(), UNPACKED_MAX))
        .map_err(|error| Mistake::new(file, error.to_string()))?;
    flattened(&programs, start).map_err(|address| {
        Mistake::new(file, format!("a program is for {address:#x}, and the application of the target at {start:#x}"))
            .remedy(format!("link it for {start:#x}, or another --target"))
    })
}

/// What programs leave in the flash from `start`; or the address of the first that lies elsewhere.
fn flattened(programs: &[(u32, Vec<u8>)], start: u32) -> Result<Vec<u8>, u32> {
    let mut application = Vec::new();
    for (address, bytes) in programs {
        let place = address.checked_sub(start).map(|offset| offset as usize).filter(|offset| *offset <= UNPACKED_MAX);
        let offset = place.ok_or(*address)?;
        application.resize(application.len().max(offset + bytes.len()), 0xff);
        application[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    Ok(application)
}
