//! The rows of the table of swap types, and why each does or does not apply.

use serde::Serialize;

use crate::boot::mcuboot::{Flag, Magic, Mode, Pair, Slot, SwapType};
use crate::flash::Flash;

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What it demands.
    pub when: &'static str,
    /// What it leads to.
    pub swap: SwapType,
    /// Why it does not apply; `None` when it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    /// It is the first that applies.
    pub chosen: bool,
}

/// What a row demands of one field: its name, what is there, what should be.
type Demand = (&'static str, String, &'static str);

/// The table of [`swap_type`](crate::boot::mcuboot::swap_type), row by row.
pub(super) fn explain(pair: &Pair, flash: &Flash) -> Vec<Row> {
    let trailers = Slot::ALL.map(|slot| pair.trailer(slot).read(flash));
    let [Ok(primary), Ok(secondary)] = trailers else { return Vec::new() };
    let magic = |name, found: Magic| -> Demand { (name, found.to_string(), "good") };
    let flag = |name, found: Flag, wanted| -> Demand { (name, found.to_string(), wanted) };
    let offset = (
        "secondary magic good, image_ok unset, copy_done set",
        SwapType::Revert,
        vec![
            magic("secondary magic", secondary.magic),
            flag("secondary image_ok", secondary.image_ok, "unset"),
            flag("secondary copy_done", secondary.copy_done, "set"),
        ],
    );
    let rows: [(&'static str, SwapType, Vec<Demand>); 4] = [
        (
            "secondary magic good, image_ok unset",
            SwapType::Test,
            vec![magic("secondary magic", secondary.magic), flag("secondary image_ok", secondary.image_ok, "unset")],
        ),
        (
            "secondary magic good, image_ok set",
            SwapType::Permanent,
            vec![magic("secondary magic", secondary.magic), flag("secondary image_ok", secondary.image_ok, "set")],
        ),
        (
            "primary magic good, copy_done set, image_ok unset",
            SwapType::Revert,
            vec![
                magic("primary magic", primary.magic),
                flag("primary copy_done", primary.copy_done, "set"),
                flag("primary image_ok", primary.image_ok, "unset"),
            ],
        ),
        ("anything else", SwapType::None, Vec::new()),
    ];
    let mut decided = false;
    // Swap-offset has a row of its own, before the others.
    (pair.options.mode == Mode::SwapOffset)
        .then_some(offset)
        .into_iter()
        .chain(rows)
        .map(|(when, swap, demands)| {
            let why_not = demands
                .into_iter()
                .find(|(_, found, wanted)| found != wanted)
                .map(|(name, found, _)| format!("{name} is {found}"));
            let chosen = why_not.is_none() && !decided;
            decided |= chosen;
            let why_not = if why_not.is_none() && !chosen { Some("an earlier row applies".into()) } else { why_not };
            Row { when, swap, why_not, chosen }
        })
        .collect()
}
