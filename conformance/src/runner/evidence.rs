//! The folder that a failed case leaves.
//!
//! | file | contents |
//! |---|---|
//! | `trace.jsonl` | everything that happened, one record a line |
//! | `verdict.json` | status, findings, checks |
//! | `flash-before.bin`, `flash-after.bin` | each flash device, raw from offset 0 (with its name, if there are several) |
//! | `installed.bin`, `update.bin` | the images |
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

/// Writes the evidence of a case; its folder.
pub(super) fn leave(case: &Case, plan: &Plan, world: &World, result: &CaseResult) -> io::Result<PathBuf> {
    let folder = folder_of(case, plan);
    if folder.exists() {
        let message = format!("{} is in the way: it holds no evidence", folder.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    fs::create_dir_all(&folder)?;
    write_trace(&folder.join(TRACE), &result.trace)?;
    fs::write(folder.join("verdict.json"), serde_json::to_vec_pretty(&report::json::case(result))?)?;
    fs::write(folder.join("installed.bin"), &case.images.installed.bytes)?;
    fs::write(folder.join("update.bin"), &case.images.update.bytes)?;
    dump(&folder, "flash-before", case.flash(), world)?;
    if let Some(persistent) = world.persistent() {
        dump(&folder, "flash-after", &persistent.flash, world)?;
    }
    let mut output = String::new();
    for record in &result.trace {
        if let Kind::Initiator(InitiatorEvent::Stdout { line } | InitiatorEvent::Stderr { line }) = &record.kind {
            output.push_str(line);
            output.push('\n');
        }
    }
    fs::write(folder.join("output.txt"), output)?;
    Ok(folder)
}

/// Removes the evidence of an earlier run, so that it is not taken for this one's.
pub(super) fn clear(case: &Case, plan: &Plan) -> io::Result<()> {
    let folder = folder_of(case, plan);
    if folder.join(TRACE).is_file() { fs::remove_dir_all(folder) } else { Ok(()) }
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
