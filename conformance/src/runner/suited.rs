//! What of a run has nothing to do with a scenario: another target than its own, or a file of one's own.

use brickproof_flash_model::source::Mistake;

use super::Plan;
use crate::library;
use crate::scenario::{Image, ImageOrigin, Scenario, own_gbl};
use crate::target::Target;

/// Why a scenario has nothing to do with a target that is wanted instead of its own: that speaks something else,
/// or is of a kind for which the images and overrides of the scenario mean nothing.
pub(super) fn target(scenario: &Scenario, target: &Target) -> Option<String> {
    let own = library::target(&scenario.target).ok()?.protocol();
    let (name, spoken) = (&target.name, target.protocol());
    if own != spoken {
        let (own, spoken) = (own.words(), spoken.words());
        return Some(format!("the scenario is about {own}, and {name} is spoken to with {spoken}"));
    }
    // What the overrides give it, it does not lack; those that do not go with it give it nothing.
    let overridden = library::target_with(name, &scenario.overrides, &scenario.id);
    let target = overridden.as_ref().unwrap_or(target);
    let lack = scenario.needs.iter().find_map(|need| target.lacks(need))?;
    Some(format!("{name} {lack}"))
}

/// Why a scenario cannot be run with a file of one's own: it makes one of its own kind, or has the target refuse it.
///
/// # Errors
/// That the target refuses the file without any scenario.
pub(super) fn update(
    scenario: &Scenario,
    update: &Image,
    target: &Target,
    plan: &Plan,
) -> Result<Option<String>, Mistake> {
    let (ImageOrigin::File(path), Some(own)) = (&scenario.update.origin, target.of_silabs()) else { return Ok(None) };
    if let Some(reason) = own_gbl::cannot_stand_for(&scenario.update) {
        return Ok(Some(reason.to_owned()));
    }
    // What is broken is for the target to refuse.
    let refusal = match scenario.update.broken {
        None => own_gbl::refusal(&update.bytes, own, &target.layout)?,
        Some(_) => None,
    };
    let Some(refusal) = refusal else { return Ok(None) };
    let plain = plan.trusted_by(library::target(plan.target.as_ref().unwrap_or(&scenario.target))?);
    let always = match plain.of_silabs() {
        Some(own) => own_gbl::refusal(&update.bytes, own, &plain.layout)?,
        None => None,
    };
    match always {
        None => Ok(Some(format!("{} as the scenario has it does not take {}: {refusal}", target.name, path.display()))),
        Some(refusal) => {
            let what = format!("{}, in {}", path.display(), scenario.id);
            Err(Mistake::new(what, format!("{} does not take it: {refusal}", target.name))
                .remedy("a file that is for this target, or --target with the one that the file is for"))
        }
    }
}
