//! `POWER-LOSS.md` says what the sweeps find.
//!
//! To write it anew: `BRICKPROOF_WRITE_TABLE=1 cargo test -p brickproof-flash-model --test power_loss_table`.

mod table_support;

use std::collections::{BTreeMap, BTreeSet};

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Mode, Options};
use brickproof_flash_model::flash::Tear;
use brickproof_flash_model::image::mcuboot::{ImageBuilder, SigningKey, Verifier};
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::sweep::label::{Cut, Part};
use brickproof_flash_model::sweep::mcuboot::known::ALL;
use brickproof_flash_model::sweep::mcuboot::{Factory, Known, Story, Update};
use brickproof_flash_model::sweep::{CutPlace, Depth, Label, Path, Settings, Step, Tears, explore, replay};
use table_support::{check, property, table, wrapped};

/// What is above is written by hand.
const MARK: &str = "<!-- From here on it is written by tests/power_loss_table.rs. -->\n";

/// A test that erases the other slot before it is confirmed is left out: a mistake of the application, no fault of flash.
const STORIES: [Story; 3] = [Story::TestThenRevert, Story::TestThenConfirm, Story::Permanent];

/// Lengths of the payloads of the old and the new image.
type Lengths = [usize; 2];

/// One sector and two.
const LONGER: Lengths = [2500, 5000];
/// Three sectors and one.
const SHORTER: Lengths = [9000, 2500];

/// The columns. What is known of swap-offset depends on the lengths of the images.
const COLUMNS: [(&str, Mode, Lengths); 8] = [
    ("move", Mode::SwapMove, LONGER),
    ("scratch", Mode::SwapScratch, LONGER),
    ("offset", Mode::SwapOffset, LONGER),
    ("shorter", Mode::SwapOffset, SHORTER),
    ("overwrite", Mode::OverwriteOnly { fast: false }, LONGER),
    ("fast", Mode::OverwriteOnly { fast: true }, LONGER),
    ("XIP", Mode::DirectXip { revert: false }, LONGER),
    ("XIP+rev", Mode::DirectXip { revert: true }, LONGER),
];

/// A heading, what it stands for, the layout, and the columns it can have.
type Section = (&'static str, &'static str, Layout, &'static [&'static str]);

fn sections() -> [Section; 3] {
    let every = &["move", "scratch", "offset", "shorter", "overwrite", "fast", "XIP", "XIP+rev"];
    [
        (
            "Sectors of 4 KiB, written in 4 bytes",
            "As nRF52840 and nRF5340. Preset `small8-a4`: slots of 8 sectors, a scratch area of one.",
            Layout::preset("small8-a4").unwrap(),
            every,
        ),
        (
            "Sectors of 4 KiB, written in 8 bytes",
            "Preset `small8s2-a8`: slots of 8 sectors, a scratch area of two.",
            Layout::preset("small8s2-a8").unwrap(),
            every,
        ),
        (
            "Sectors of unequal size, written in bytes",
            "As STM32F429, whose slots are divided differently, with sectors of 1/32 of the size and fewer of them. \
             Swap-move and swap-offset need equal sectors.",
            Layout::parse("unequal", UNEQUAL).unwrap(),
            &["scratch", "overwrite", "fast", "XIP", "XIP+rev"],
        ),
    ]
}

/// The preset `stm32f429`, smaller.
const UNEQUAL: &str = r#"
schema = 1
name = "unequal"

[[device]]
name = "internal"
sectors = [[3, 4096], [4, 512], [1, 2048], [3, 4096]]
program-unit = 1

[[partition]]
name = "primary"
device = "internal"
offset = 0x0
size = 0x3000

[[partition]]
name = "secondary"
device = "internal"
offset = 0x3000
size = 0x3000

[[partition]]
name = "scratch"
device = "internal"
offset = 0x6000
size = 0x1000
"#;

/// The rows: a name, and what it is on real flash.
const FAULTS: [(&str, &str); 17] = [
    ("no power loss", "What holds without any. All other rows tell only what the fault adds."),
    (
        "between operations",
        "The operation before is whole, and the next one has not begun. MCUboot's own simulator tries this, and by default nothing else.",
    ),
    ("before the image", "The bootloader has done its last operation, and the image has not started."),
    (
        "program: data",
        "The first words of an image are programmed, the rest is erased; of the word on its way some bits are still 1. The hash finds it, unless the part is copied again.",
    ),
    (
        "program: header",
        "Likewise in the first sector: the header is there, whole or in part, and what follows is not, or not yet.",
    ),
    ("program: magic", "Some bits of the 16 bytes are still 1. The magic is neither right nor erased: bad."),
    (
        "program: image_ok",
        "Of the byte 0x01 some of the 7 bits that become 0 are still 1. The flag is neither set nor erased: bad.",
    ),
    ("program: copy_done", "Likewise."),
    (
        "program: swap info",
        "Likewise: the swap type may be another one, or one that does not exist; so may the number of the image.",
    ),
    (
        "program: sizes",
        "The swap size, and in swap-offset the sizes of TLV areas: some bits are still 1, so the number is too large.",
    ),
    (
        "program: record",
        "Not tried as a torn value: a status record is read as written or not. Power is lost before it (this row) or behind it (`between operations`).",
    ),
    (
        "program: trailer",
        "A copy of a sector that has a trailer, or a part of one, reaches up to some field, or into it.",
    ),
    (
        "erase: image",
        "An erase that is aborted leaves cells at any level: garbage that is neither old nor erased, or a part of each.",
    ),
    (
        "erase: 1st trailer",
        "Likewise, of a sector with the trailer of the primary slot. Tried: the low half erased, the high half erased, all garbage.",
    ),
    ("erase: 2nd trailer", "The same of the secondary slot."),
    ("erase: scratch", "The same of the scratch area, its data and its trailer."),
    (
        "two or more",
        "What shows with two or more power losses in a row, in any of the ways above, and with one does not.",
    ),
];

/// The row of one cut, as its index in [`FAULTS`].
fn row(label: Label) -> usize {
    let action = match label.cut {
        Cut::Before(action) if action.target.ends_with("status") && !action.erase => return named("program: record"),
        Cut::Before(_) => return named("between operations"),
        Cut::Unanswered => return named("between operations"),
        Cut::Behind => return named("before the image"),
        Cut::Torn(action) => action,
    };
    let of_field = |target: &str| match target.split_once(' ').unwrap().1 {
        "magic" => "program: magic",
        "image_ok" => "program: image_ok",
        "copy_done" => "program: copy_done",
        "swap info" => "program: swap info",
        "swap size" | "TLV sizes" => "program: sizes",
        "swap status" => "program: record",
        _ => panic!("a torn program of {target} has no row"),
    };
    named(match (action.erase, action.part) {
        (true, _) if action.target.contains("scratch") => "erase: scratch",
        (true, Part::Sector | Part::Header) => "erase: image",
        (true, _) if action.target.contains("primary") => "erase: 1st trailer",
        (true, _) => "erase: 2nd trailer",
        (false, Part::Sector) => "program: data",
        (false, Part::Header) => "program: header",
        (false, Part::Trailer) => "program: trailer",
        (false, Part::Field) => of_field(action.target),
    })
}

fn named(name: &str) -> usize {
    FAULTS.iter().position(|(fault, _)| *fault == name).unwrap()
}

/// The rows of all that can be lost in a story that is not cut: before, inside and behind each of its operations.
fn rows(update: &Update<'_>) -> BTreeSet<usize> {
    let uncut = replay(update, &Path::default()).unwrap();
    let label = |place| replay(update, &Path(vec![place])).unwrap().runs[0].cut.unwrap();
    let places = uncut.runs[0].steps.iter().flat_map(|step| match step {
        Step::Told(_) => Vec::new(),
        Step::Operations { first, .. } => vec![CutPlace::Before(*first), CutPlace::Inside(*first, Tear::Garbage)],
        Step::Start => vec![CutPlace::Start(0)],
    });
    places.map(|place| row(label(place))).collect()
}

/// Of each row that the mode has: what shows, as indices in [`ALL`].
type Column = BTreeMap<usize, BTreeSet<usize>>;

fn column(layout: &Layout, mode: Mode, lengths: Lengths) -> Column {
    let key = SigningKey::from_seed(b"table").unwrap();
    let verifier = Verifier::new(vec![key.public().clone()]);
    let mcuboot = Mcuboot::new(layout, Options { mode, ..Options::default() }, verifier).unwrap();
    let image = |version: &str, len: usize| {
        let builder = ImageBuilder::new(version.parse().unwrap()).header_size(32);
        builder.generated_payload(len).sign(&key).unwrap()
    };
    let [old, new] = [image("1.0.0", lengths[0]), image("2.0.0", lengths[1])];
    let (none, more) = (named("no power loss"), named("two or more"));
    let mut column = Column::from([(none, BTreeSet::new()), (more, BTreeSet::new())]);
    for story in STORIES {
        let update = Update::new(&mcuboot, layout.blank_flash(), &old, &new, story, Factory::Bare).unwrap();
        for row in rows(&update) {
            column.entry(row).or_default();
        }
        // A torn operation may leave what a whole one does, and is then told instead of what is lost behind it.
        let clean = Settings { tears: Tears::None, depth: Depth::AtMost(1), ..Settings::default() };
        for settings in [clean, Settings { tears: Tears::Fields, ..Settings::default() }] {
            let sweep = explore(&update, settings, |_| true);
            assert!(settings == clean || sweep.left_out == 0);
            for finding in &sweep.findings {
                let Some(known) = Known::of(finding, &update.facts(), settings.tears) else {
                    panic!("not known: {mode:?} {lengths:?} {}: {finding:?}", story.name());
                };
                let fault = match finding.labels[..] {
                    [] => none,
                    [label] => row(label),
                    _ => more,
                };
                column.entry(fault).or_default().insert(ALL.iter().position(|one| one.id == known.id).unwrap());
            }
        }
    }
    let with_less: BTreeSet<usize> =
        column.iter().filter(|(row, _)| **row != more).flat_map(|(_, shown)| shown.clone()).collect();
    column.entry(more).or_default().retain(|known| !with_less.contains(known));
    column
}

fn generated() -> String {
    let mut text = String::from("\n## The rows\n\n");
    for (name, meaning) in FAULTS {
        text += &wrapped("* ", &format!("`{name}`: {meaning}"));
    }
    let swept = sections().map(|(title, about, layout, columns)| {
        let columns: Vec<_> = COLUMNS
            .iter()
            .filter(|(name, ..)| columns.contains(name))
            .map(|(name, mode, lengths)| (*name, column(&layout, *mode, *lengths)))
            .collect();
        (title, about, columns)
    });
    let cells = swept.iter().flat_map(|(_, _, columns)| columns).flat_map(|(_, column)| column.values());
    let shown: BTreeSet<usize> = cells.flatten().copied().collect();
    let number = |known: &usize| format!("P{}", shown.iter().position(|one| one == known).unwrap() + 1);
    for (title, about, columns) in &swept {
        let head = std::iter::once("fault".to_owned()).chain(columns.iter().map(|(name, _)| (*name).to_owned()));
        let mut rows: Vec<Vec<String>> = vec![head.collect()];
        for (row, (name, _)) in FAULTS.iter().enumerate() {
            let cell = |(_, column): &(&str, Column)| match column.get(&row) {
                None => "-".to_owned(),
                Some(shown)
                    if shown.is_empty() && name.starts_with("two") && column.values().any(|row| !row.is_empty()) =>
                {
                    "no more".to_owned()
                }
                Some(shown) if shown.is_empty() => "survives".to_owned(),
                Some(shown) => shown.iter().map(number).collect::<Vec<_>>().join(" "),
            };
            rows.push(std::iter::once((*name).to_owned()).chain(columns.iter().map(cell)).collect());
        }
        text += &format!("\n## {title}\n\n{}\n{}", wrapped("", about), table(&rows));
    }
    text += "\n## The properties\n";
    for known in &shown {
        let Known { id, title, evidence, remedy, .. } = ALL[*known];
        text += &property(&number(known), [id, title, evidence, remedy]);
    }
    let others: Vec<String> =
        (0..ALL.len()).filter(|known| !shown.contains(known)).map(|known| format!("`{}`", ALL[known].id)).collect();
    text += &wrapped("\n", &format!("Known, and not met with these images, options and tears: {}.", others.join(", ")));
    text
}

#[test]
fn table_is_current() {
    check(concat!(env!("CARGO_MANIFEST_DIR"), "/POWER-LOSS.md"), MARK, &generated());
}
