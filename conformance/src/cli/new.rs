//! `brickproof new`: a file to start from, complete and commented.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Failure, print, write_file};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to start
    what: What,
    /// The file; its name without .toml becomes the id
    file: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    Scenario,
    Target,
    Layout,
    Initiator,
}

const SCENARIO: &str = include_str!("templates/scenario.toml");
const TARGET: &str = include_str!("templates/target.toml");
const LAYOUT: &str = include_str!("templates/layout.toml");
const INITIATOR: &str = include_str!("templates/initiator.toml");

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let path = &arguments.file;
    if path.extension().is_none_or(|end| end != "toml") {
        return Err(Failure::Usage(format!("{}: the name must end in .toml", path.display())));
    }
    if path.exists() {
        return Err(Failure::Usage(format!("{}: there is such a file already", path.display())));
    }
    let id = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let (template, next) = match arguments.what {
        What::Scenario => (SCENARIO, format!("brickproof run {}", path.display())),
        What::Target => (TARGET, format!("brickproof run --target {}", path.display())),
        What::Layout => (LAYOUT, format!("layout = \"{}\" in a file from `brickproof new target`", path.display())),
        What::Initiator => (INITIATOR, format!("brickproof run --initiator {}", path.display())),
    };
    write_file(path, template.replace("NAME", &id).as_bytes())?;
    print(&format!("{}\nnext: {next}\n", path.display()))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use brickproof_flash_model::layout::Layout;

    use super::*;
    use crate::profile::Profile;
    use crate::scenario::Scenario;
    use crate::target::Target;

    #[test]
    fn templates_read_as_they_are() {
        Scenario::parse("scenario.toml", None, SCENARIO).unwrap();
        Target::parse("target.toml", None, TARGET).unwrap();
        Layout::parse("layout.toml", LAYOUT).unwrap();
        Profile::parse("initiator.toml", INITIATOR).unwrap();
    }
}
