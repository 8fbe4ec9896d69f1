//! Finding scenarios, targets and initiators: by bundled name, or by path to a `.toml` file.

use std::path::Path;

use brickproof_flash_model::source::Mistake;
use brickproof_scenarios::Bundled;

use crate::app::App;
use crate::profile::Profile;
use crate::scenario::Scenario;
use crate::target::Target;

/// Largest file that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// The scenarios that `names` select: ids, prefixes of ids, paths; all bundled ones when empty.
///
/// # Errors
/// A [`Mistake`] for a file that does not read or a name that matches nothing.
pub fn scenarios(names: &[String]) -> Result<Vec<Scenario>, Mistake> {
    let bundled: Vec<Scenario> = brickproof_scenarios::suites()
        .into_iter()
        .map(|bundled| Scenario::parse(&format!("suites/{}.toml", bundled.name), None, bundled.text))
        .collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Ok(bundled);
    }
    let mut selected: Vec<Scenario> = Vec::new();
    for name in names {
        if is_path(name) {
            let (text, folder) = read(name)?;
            let mut scenario = Scenario::parse(name, folder.as_deref(), &text)?;
            scenario.name.clone_from(name);
            if let Some(folder) = folder.filter(|_| is_path(&scenario.target)) {
                scenario.target = folder.join(&scenario.target).display().to_string();
            }
            if let Some(other) = selected.iter().find(|other| other.id == scenario.id) {
                return Err(Mistake::new(name, format!("`{}` has the same id, `{}`", other.name, scenario.id))
                    .remedy("run them one after the other, or give one another id"));
            }
            selected.push(scenario);
            continue;
        }
        let before = selected.len();
        for scenario in bundled.iter().filter(|scenario| matches(&scenario.id, name)) {
            if !selected.contains(scenario) {
                selected.push(scenario.clone());
            }
        }
        if selected.len() == before && !bundled.iter().any(|scenario| matches(&scenario.id, name)) {
            return Err(Mistake::new(format!("scenario `{name}`"), "no scenario has this id or begins like it")
                .remedy("`brickproof list scenarios` shows them; a path must end in .toml"));
        }
    }
    Ok(selected)
}

/// A target profile by name or path.
///
/// # Errors
/// A [`Mistake`] that lists the names there are.
pub fn target(name: &str) -> Result<Target, Mistake> {
    if is_path(name) {
        let (text, folder) = read(name)?;
        return Target::parse(name, folder.as_deref(), &text);
    }
    let bundled = find(&brickproof_scenarios::targets(), "target", name)?;
    Target::parse(&format!("targets/{name}.toml"), None, bundled.text)
}

/// A target profile with some of its keys replaced, as a scenario asks for.
///
/// # Errors
/// A [`Mistake`] that names the key, or that lists the names there are.
pub fn target_with(name: &str, overrides: &toml::Table, scenario: &str) -> Result<Target, Mistake> {
    if overrides.is_empty() {
        return target(name);
    }
    let (text, folder) = if is_path(name) {
        read(name)?
    } else {
        (find(&brickproof_scenarios::targets(), "target", name)?.text.to_owned(), None)
    };
    let mut table: toml::Table = toml::from_str(&text).map_err(|error| Mistake::from_toml(name, &text, &error))?;
    replace(&mut table, overrides);
    let text = toml::to_string(&table).map_err(|error| Mistake::new(name, error.to_string()))?;
    Target::parse(&format!("{name} with the [override] of {scenario}"), folder.as_deref(), &text)
}

/// Replaces values; tables are gone into.
fn replace(table: &mut toml::Table, by: &toml::Table) {
    for (key, value) in by {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(by)) => replace(inner, by),
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

/// An initiator profile by name or path; `builtin` is none.
///
/// # Errors
/// A [`Mistake`] that lists the names there are.
pub fn initiator(name: &str) -> Result<Profile, Mistake> {
    if is_path(name) {
        let (text, folder) = read(name)?;
        let mut profile = Profile::parse(name, &text)?;
        if let Some(driver) = &mut profile.driver {
            let path = folder.as_deref().unwrap_or(Path::new("")).join(&driver.name);
            driver.text = std::fs::read_to_string(&path).map_err(|error| {
                Mistake::new(path.display().to_string(), error.to_string()).remedy("the driver of the profile")
            })?;
        }
        return Ok(profile);
    }
    let bundled = find(&brickproof_scenarios::initiators(), "initiator", name)?;
    let mut profile = Profile::parse(&format!("initiators/{name}.toml"), bundled.text)?;
    if let Some(driver) = &mut profile.driver {
        driver.text = brickproof_scenarios::driver(&driver.name).map(str::to_owned).ok_or_else(|| {
            Mistake::new(format!("initiators/{name}.toml"), format!("there is no bundled driver `{}`", driver.name))
        })?;
    }
    Ok(profile)
}

/// An app by name or path.
///
/// # Errors
/// A [`Mistake`] that lists the names there are.
pub fn app(name: &str) -> Result<App, Mistake> {
    if is_path(name) {
        let (text, _) = read(name)?;
        return App::parse(name, &text);
    }
    let bundled = find(&brickproof_scenarios::apps(), "app", name)?;
    App::parse(&format!("apps/{name}.toml"), bundled.text)
}

fn find(bundled: &[Bundled], what: &str, name: &str) -> Result<Bundled, Mistake> {
    bundled.iter().find(|bundled| bundled.name == name).copied().ok_or_else(|| {
        let names: Vec<_> = bundled.iter().map(|bundled| bundled.name).collect();
        Mistake::new(format!("{what} `{name}`"), format!("no {what} has this name"))
            .remedy(format!("one of: {}; or a path that ends in .toml", names.join(", ")))
    })
}

fn is_path(name: &str) -> bool {
    name.ends_with(".toml")
}

fn matches(id: &str, name: &str) -> bool {
    id == name || id.strip_prefix(name).is_some_and(|rest| name.ends_with('/') || rest.starts_with(['/', '-']))
}

fn read(name: &str) -> Result<(String, Option<std::path::PathBuf>), Mistake> {
    let path = Path::new(name);
    let mistake = |message: String| Mistake::new(name, message);
    let len = std::fs::metadata(path).map_err(|error| mistake(error.to_string()))?.len();
    if len > FILE_MAX {
        return Err(mistake(format!("{len} bytes are too many for a file of this kind")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| mistake(error.to_string()))?;
    Ok((text, path.parent().map(Path::to_path_buf)))
}
