//! Faults as a scenario, or the control server, writes them.

use brickproof_flash_model::boot::mcuboot::SwapType;
use brickproof_flash_model::flash::TearModel;
use brickproof_simulator::device::Battery;
use brickproof_simulator::smp::Command;
use brickproof_simulator::world::{Action, Fault, SwapFilter, Trigger};
use serde::Deserialize;

use crate::units::Duration;

/// One `[[fault]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultEntry {
    id: Option<String>,
    when: When,
    #[serde(rename = "do")]
    action: Do,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct When {
    after: Option<Duration>,
    swap_progress: Option<f64>,
    swap: Option<Swap>,
    upload_progress: Option<f64>,
    request: Option<String>,
    flash_operation: Option<u64>,
    answer: Option<String>,
    nth: Option<u32>,
    tear: Option<TearEntry>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Swap {
    Test,
    Permanent,
    Revert,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TearEntry {
    Nothing,
    FirstHalf,
    AllButLast,
    /// Any bytes, drawn from the seed of the run.
    Noise,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Do {
    PowerLoss(For),
    LinkLoss(For),
    Battery(u8),
    Reset,
    LoseAnswer,
    DoubleAnswer,
    DelayAnswer(Duration),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct For {
    #[serde(rename = "for")]
    duration: Duration,
}

impl FaultEntry {
    /// The fault, named by its number if it has no id.
    ///
    /// # Errors
    /// What cannot be, and what could.
    pub fn fault(&self, number: usize) -> Result<Fault, String> {
        let trigger = self.when.trigger()?;
        let action = match &self.action {
            Do::PowerLoss(duration) => Action::PowerLoss { for_us: duration.duration.us },
            Do::LinkLoss(duration) => Action::LinkLoss { for_us: duration.duration.us },
            Do::Battery(percent) if *percent <= 100 => Action::Battery(Battery { percent: *percent }),
            Do::Battery(percent) => return Err(format!("a battery holds 0 to 100 percent, not {percent}")),
            Do::Reset => Action::Reset,
            Do::LoseAnswer => Action::LoseAnswer,
            Do::DoubleAnswer => Action::DoubleAnswer,
            Do::DelayAnswer(by) => Action::DelayAnswer { by_us: by.us },
        };
        let about_answer = matches!(action, Action::LoseAnswer | Action::DoubleAnswer | Action::DelayAnswer { .. });
        let cuts = matches!(trigger, Trigger::SwapProgress { .. } | Trigger::RequestOperation { .. });
        if about_answer && !matches!(trigger, Trigger::Answer { .. }) {
            return Err("what happens to an answer needs when = { answer = \"...\" }".into());
        }
        if cuts && !matches!(action, Action::PowerLoss { .. }) {
            return Err("a flash operation can only be interrupted by do = { power-loss = { for = \"...\" } }".into());
        }
        Ok(Fault { id: self.id.clone().unwrap_or_else(|| format!("fault-{number}")), trigger, action })
    }
}

impl When {
    fn trigger(&self) -> Result<Trigger, String> {
        let given = [
            self.after.is_some(),
            self.swap_progress.is_some(),
            self.upload_progress.is_some(),
            self.request.is_some(),
            self.answer.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            return Err(
                "`when` needs exactly one of: after, swap-progress, upload-progress, request, answer".to_owned()
            );
        }
        let nth = self.nth.unwrap_or(1);
        if nth == 0 {
            return Err("`nth` counts from 1".into());
        }
        self.check_companions()?;
        let tear = match self.tear {
            None | Some(TearEntry::Nothing) => TearModel::Nothing,
            Some(TearEntry::FirstHalf) => TearModel::FirstHalf,
            Some(TearEntry::AllButLast) => TearModel::AllButLast,
            Some(TearEntry::Noise) => TearModel::Noise(0),
        };
        if let Some(after) = self.after {
            return Ok(Trigger::After { us: after.us });
        }
        if let Some(progress) = self.swap_progress {
            let swap = match self.swap {
                None => SwapFilter::Any,
                Some(Swap::Test) => SwapFilter::Only(SwapType::Test),
                Some(Swap::Permanent) => SwapFilter::Only(SwapType::Permanent),
                Some(Swap::Revert) => SwapFilter::Only(SwapType::Revert),
            };
            return Ok(Trigger::SwapProgress { permille: permille(progress)?, swap, tear });
        }
        if let Some(progress) = self.upload_progress {
            return Ok(Trigger::UploadProgress { permille: permille(progress)? });
        }
        if let Some(name) = &self.request {
            let operation = self.flash_operation.unwrap_or(0);
            return Ok(Trigger::RequestOperation { command: command(name)?, nth, operation, tear });
        }
        let name = self.answer.as_deref().unwrap_or_default();
        Ok(Trigger::Answer { command: command(name)?, nth })
    }
}

impl When {
    /// Refuses keys that mean nothing beside the one that says when.
    fn check_companions(&self) -> Result<(), String> {
        let swap = self.swap_progress.is_some();
        let (request, answer) = (self.request.is_some(), self.answer.is_some());
        for (given, name, allowed, with) in [
            (self.swap.is_some(), "swap", swap, "swap-progress"),
            (self.tear.is_some(), "tear", swap || request, "swap-progress or request"),
            (self.flash_operation.is_some(), "flash-operation", request, "request"),
            (self.nth.is_some(), "nth", request || answer, "request or answer"),
        ] {
            if given && !allowed {
                return Err(format!("`{name}` means something only together with {with}"));
            }
        }
        if self.upload_progress == Some(1.0) {
            return Err("an upload that has come to 1.0 is over: give something less".into());
        }
        Ok(())
    }
}

fn permille(progress: f64) -> Result<u16, String> {
    if (0.0..=1.0).contains(&progress) {
        Ok((progress * 1000.0) as u16)
    } else {
        Err(format!("a progress is between 0.0 and 1.0, not {progress}"))
    }
}

fn command(name: &str) -> Result<Command, String> {
    Command::ALL.into_iter().find(|command| command.name() == name).ok_or_else(|| {
        let names: Vec<_> = Command::ALL.iter().map(|command| command.name()).collect();
        format!("no command is called `{name}`: one of {}", names.join(", "))
    })
}
