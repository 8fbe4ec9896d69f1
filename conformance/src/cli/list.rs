//! `brickproof list`.

use clap::{Args, ValueEnum};

use super::{Failure, print, print_json};
use crate::air::Air;
use crate::initiator::personality::Personality;
use crate::judge::requirements;
use crate::library;
use crate::runner::person;
use crate::runner::verdict::Weight;
use crate::target::Protocol;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to list
    what: What,
    /// As JSON on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    Scenarios,
    Requirements,
    Targets,
    Initiators,
    Apps,
}

/// One line: the id first.
struct Line {
    id: String,
    text: String,
    json: serde_json::Value,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let lines = match arguments.what {
        What::Scenarios => scenarios()?,
        What::Requirements => requirement_lines(),
        What::Targets => targets()?,
        What::Initiators => initiators()?,
        What::Apps => apps()?,
    };
    if arguments.json {
        print_json(&lines.iter().map(|line| &line.json).collect::<Vec<_>>())?;
        return Ok(0);
    }
    let width = lines.iter().map(|line| line.id.len()).max().unwrap_or(0);
    for line in &lines {
        print(&format!("{:<width$}  {}\n", line.id, line.text))?;
    }
    Ok(0)
}

fn scenarios() -> Result<Vec<Line>, Failure> {
    let all = library::scenarios(&[])?;
    Ok(all
        .into_iter()
        .map(|scenario| Line {
            json: serde_json::json!({
                "id": scenario.id, "why": scenario.why, "source": scenario.source, "target": scenario.target,
                "needs": scenario.needs,
            }),
            id: scenario.id,
            text: scenario.why,
        })
        .collect())
}

fn requirement_lines() -> Vec<Line> {
    let lines = requirements::all().iter().map(|requirement| {
        let level = if requirement.level == Weight::Must { "MUST" } else { "SHOULD" };
        Line {
            id: requirement.id.clone(),
            text: format!("{level:<6}  {}", requirement.text),
            json: serde_json::json!({
                "id": requirement.id, "level": level, "text": requirement.text, "source": requirement.source,
                "scenarios": requirement.scenarios,
            }),
        }
    });
    lines.collect()
}

fn targets() -> Result<Vec<Line>, Failure> {
    brickproof_scenarios::targets()
        .into_iter()
        .map(|bundled| {
            let target = library::target(bundled.name)?;
            let json = serde_json::json!({ "id": target.name, "about": target.about, "layout": target.layout.name, "protocol": target.protocol().name() });
            Ok(Line { id: target.name, text: target.about, json })
        })
        .collect()
}

fn a_person() -> Line {
    let airs: Vec<_> = Air::ALL.into_iter().filter(|air| !air.is_virtual()).map(Air::name).collect();
    let apps: Vec<_> = brickproof_scenarios::apps().iter().map(|bundled| bundled.name).collect();
    Line {
        id: person::NAME.into(),
        text: person::ABOUT.into(),
        json: serde_json::json!({ "id": person::NAME, "about": person::ABOUT, "airs": airs, "apps": apps }),
    }
}

fn apps() -> Result<Vec<Line>, Failure> {
    brickproof_scenarios::apps()
        .into_iter()
        .map(|bundled| {
            let app = library::app(bundled.name)?;
            let json = serde_json::json!({ "id": app.name, "about": app.about, "radio": app.radio });
            Ok(Line { id: app.name, text: app.about, json })
        })
        .collect()
}

fn initiators() -> Result<Vec<Line>, Failure> {
    let built_in = |personality: Personality| Line {
        id: personality.name.into(),
        text: personality.about.into(),
        json: serde_json::json!({
            "id": personality.name, "about": personality.about, "airs": ["in-process", "udp"],
        }),
    };
    let mut lines: Vec<Line> = Personality::ALL.into_iter().map(built_in).collect();
    lines.push(a_person());
    for bundled in brickproof_scenarios::initiators() {
        let profile = library::initiator(bundled.name)?;
        let airs: Vec<_> = profile.airs.iter().map(|air| air.name()).collect();
        let json = serde_json::json!({
            "id": profile.name, "about": profile.about, "needs": profile.needs, "airs": airs,
            "protocol": profile.protocol.map(Protocol::name),
        });
        lines.push(Line { id: profile.name, text: profile.about, json });
    }
    Ok(lines)
}
