//! The folder that a failed case leaves: named like the scenario, with `.run-K` behind it when cases are
//! repeated.
//!
//! | file | contents |
//! |---|---|
//! | `trace.jsonl` | everything that happened, one record a line |
//! | `verdict.json` | status, findings, checks |
//! | `flash-before.bin`, `flash-after.bin` | each flash device, raw from offset 0 (with its name, if there are several) |
//! | `installed.bin`, `update.bin`, `update-1.bin` | the images; the last of scenarios that update two |
//! | `output.txt` | what the tool wrote |

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use brickproof_flash_model::flash::Flash;
use brickproof_simulator::trace::{InitiatorEvent, Kind, Record};
use brickproof_simulator::world::World;

use super::Plan;
use super::case::{Case, CaseResult};
use crate::report;

const TRACE: &str = "trace.jsonl";
/// Between the name of a scenario and the number of its run.
const RUN: &str = ".run-";

/// Writes the evidence of a case; its folder.
pub(super) fn leave(case: &Case, plan: &Plan, world: &World, result: &CaseResult) -> io::Result<PathBuf> {
    let mut folder = folder_of(case, plan);
    if plan.runs > 1 {
        folder.as_mut_os_string().push(format!("{RUN}{}", plan.run));
    }
    if folder.exists() {
        let message = format!("{} is in the way: it holds no evidence", folder.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    fs::create_dir_all(&folder)?;
    write_trace(&folder.join(TRACE), &result.trace)?;
    fs::write(folder.join("verdict.json"), serde_json::to_vec_pretty(&report::json::case(result, plan.runs))?)?;
    fs::write(folder.join("installed.bin"), &case.images.installed.bytes)?;
    for image in case.images.updates() {
        fs::write(folder.join(format!("{}.bin", image.role)), &image.bytes)?;
    }
    dump(&folder, "flash-before", case.flash(), world)?;
    if let Some(persistent) = world.persistent() {
        dump(&folder, "flash-after", &persistent.flash, world)?;
    }
    let mut output = String::new();
    for record in &result.trace {
        if let Kind::Initiator(
            InitiatorEvent::Stdout { line }
            | InitiatorEvent::Stderr { line }
            | InitiatorEvent::Asked { question: line }
            | InitiatorEvent::Answered { line },
        ) = &record.kind
        {
            output.push_str(line);
            output.push('\n');
        }
    }
    fs::write(folder.join("output.txt"), output)?;
    Ok(folder)
}

/// Removes the evidence of earlier runs, so that it is not taken for this one's.
pub(super) fn clear(case: &Case, plan: &Plan) -> io::Result<()> {
    let folder = folder_of(case, plan);
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name().and_then(|name| name.to_str())) else {
        return Ok(());
    };
    let of_case = |other: &str| {
        other.strip_prefix(name).is_some_and(|rest| {
            let run = rest.strip_prefix(RUN).unwrap_or_default();
            rest.is_empty() || (!run.is_empty() && run.bytes().all(|digit| digit.is_ascii_digit()))
        })
    };
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(of_case) && entry.path().join(TRACE).is_file() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// The last lines that the tool wrote.
pub(super) fn last_output(trace: &[Record], lines: usize) -> Vec<String> {
    let written = trace.iter().rev().filter_map(|record| match &record.kind {
        Kind::Initiator(InitiatorEvent::Stdout { line } | InitiatorEvent::Stderr { line }) => Some(line.clone()),
        _ => None,
    });
    let mut last: Vec<String> = written.take(lines).collect();
    last.reverse();
    last
}

fn folder_of(case: &Case, plan: &Plan) -> PathBuf {
    plan.report.join(plain(plan.initiator.name())).join(case.scenario.id.replace('/', "."))
}

/// A name that is safe as that of a folder.
fn plain(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = name.chars().map(safe).collect();
    if name.trim_matches('.').is_empty() { "initiator".into() } else { name }
}

/// Writes records as JSON Lines.
///
/// # Errors
/// From the file system.
pub fn write_trace(path: &Path, trace: &[Record]) -> io::Result<()> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    for record in trace {
        serde_json::to_writer(&mut file, record)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

fn dump(folder: &Path, name: &str, flash: &Flash, world: &World) -> io::Result<()> {
    let specs = &world.board().layout.devices;
    for (device, spec) in flash.devices().iter().zip(specs) {
        let file = if specs.len() == 1 { format!("{name}.bin") } else { format!("{name}-{}.bin", spec.name) };
        fs::write(folder.join(file), device.dump())?;
    }
    Ok(())
}
