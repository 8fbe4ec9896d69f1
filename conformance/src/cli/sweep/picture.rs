//! A sweep as a picture: the story as a line, the power losses that leave it, and where they end.

use std::collections::BTreeSet;
use std::fmt::Write;

use brickproof_flash_model::sweep::{CutPlace, Machine, Path, Step, Sweep, replay};

use super::answer::{Answer, StoryAnswer, Way};
use super::text::number;

/// Pixels.
const WIDTH: f64 = 1200.0;
/// Where the line of a story begins and ends.
const LEFT: f64 = 300.0;
const RIGHT: f64 = WIDTH - 130.0;
/// From one row to the next.
const ROW: f64 = 22.0;
/// Between the runs of a path.
const GAP: f64 = 10.0;
/// Most violations that are drawn; all of them are in the answer.
const VIOLATIONS_MAX: usize = 20;

/// One story.
pub(super) struct Picture {
    height: f64,
    body: String,
}

/// A path as a row.
struct Row {
    title: String,
    colour: &'static str,
    end: String,
    /// Operations of each run.
    runs: Vec<u64>,
    interrupted: Vec<String>,
}

impl Picture {
    /// Draws what was found in a story.
    pub(super) fn new<M: Machine>(machine: &M, sweep: &Sweep, answer: &StoryAnswer) -> Result<Self, String> {
        let mut canvas = Canvas { y: 28.0, body: String::new() };
        canvas.text(16.0, "story", answer.story);
        let states = number(answer.states as u64);
        canvas.y += ROW - 4.0;
        canvas.text(16.0, "quiet", &format!("{states} states, {} power losses tried", number(answer.edges)));
        let uncut = replay(machine, &Path::default())?;
        let steps = uncut.runs.first().map_or(&[][..], |run| &run.steps);
        let operations = count(steps).max(1);
        let scale = (RIGHT - LEFT) / operations as f64;
        let line = canvas.story(steps, scale);
        let boots = boots(steps);
        let ends: Vec<(f64, &str)> =
            sweep.first.iter().map(|(place, _, end)| (operation(*place, &boots), end.as_str())).collect();
        canvas.lanes(&ends, answer, line, scale);
        let mut rows = Vec::new();
        for property in &answer.known {
            if let Some(way) = property.ways.first() {
                rows.push(row(machine, property.id.to_owned(), KNOWN, way)?);
            }
        }
        for violation in answer.violations.iter().take(VIOLATIONS_MAX) {
            rows.push(row(machine, format!("VIOLATION {}", violation.invariant), BAD, &violation.way)?);
        }
        canvas.rows(&rows, scale);
        Ok(Self { height: canvas.y + ROW, body: canvas.body })
    }
}

/// All stories below each other.
pub(super) fn document(answer: &Answer, pictures: &[Picture]) -> String {
    let height = 60.0 + pictures.iter().map(|picture| picture.height).sum::<f64>();
    let title = format!("{}, {}, tears {}", answer.target, answer.words, answer.tears);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" role=\"img\">\n<title>{0}</title>\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"16\" y=\"34\" class=\"title\">{0}</text>\n",
        escape(&title)
    );
    let mut y = 48.0;
    for picture in pictures {
        let _ = writeln!(svg, "<g transform=\"translate(0 {y:.0})\">\n{}</g>", picture.body);
        y += picture.height;
    }
    svg.push_str("</svg>\n");
    svg
}

const STYLE: &str = "text{font:13px sans-serif;fill:#222}.title{font-size:18px;font-weight:bold}\
    .story{font-size:15px;font-weight:bold}.quiet{fill:#666}.end{text-anchor:end}.mark{font-size:10px;text-anchor:middle;fill:#fff}";
const OLD: &str = "#2a8a57";
const NEW: &str = "#2567b5";
const KNOWN: &str = "#d07f00";
const BAD: &str = "#c4202b";
const OTHER: &str = "#777777";

/// The colour of an end.
fn colour(end: &str, answer: &StoryAnswer) -> &'static str {
    if answer.violations.iter().any(|violation| violation.way.what == end) {
        BAD
    } else if answer.known.iter().flat_map(|property| &property.ways).any(|way| way.what == end) {
        KNOWN
    } else if end.starts_with("the old image") || end.starts_with("the old application") {
        OLD
    } else if ["the new image", "the new application", "an application runs"].iter().any(|new| end.starts_with(new)) {
        NEW
    } else {
        OTHER
    }
}

fn count(steps: &[Step]) -> u64 {
    let operations = steps.iter().map(|step| match step {
        Step::Operations { count, .. } => *count,
        Step::Told(_) | Step::Start => 0,
    });
    operations.sum()
}

/// Operations before the end of each boot.
fn boots(steps: &[Step]) -> Vec<u64> {
    let ends = steps.iter().enumerate().filter(|(_, step)| **step == Step::Start);
    ends.map(|(index, _)| count(&steps[..index])).collect()
}

fn row<M: Machine>(machine: &M, title: String, colour: &'static str, way: &Way) -> Result<Row, String> {
    let path: Path = if way.cuts == 0 { Path::default() } else { way.path.parse()? };
    let replayed = replay(machine, &path)?;
    let runs = replayed.runs.iter().map(|run| count(&run.steps)).collect();
    Ok(Row { title, colour, end: way.what.clone(), runs, interrupted: way.interrupted.clone() })
}

/// What has been drawn, and where the next thing goes.
struct Canvas {
    y: f64,
    body: String,
}

impl Canvas {
    fn text(&mut self, x: f64, class: &str, text: &str) {
        let _ = writeln!(self.body, "<text x=\"{x:.1}\" y=\"{:.1}\" class=\"{class}\">{}</text>", self.y, escape(text));
    }

    fn line(&mut self, (from, to): (f64, f64), y: f64, colour: &str, width: f64) {
        let _ =
            writeln!(self.body, "<path d=\"M{from:.1} {y:.1}H{to:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>");
    }

    /// The run that is not cut, with a number for each thing that happens; where its line is.
    fn story(&mut self, steps: &[Step], scale: f64) -> f64 {
        let mut told: Vec<(u64, Vec<&str>)> = Vec::new();
        let mut at = 0;
        for step in steps {
            match step {
                Step::Told(what) => match told.last_mut() {
                    Some((there, all)) if *there == at => all.push(what),
                    _ => told.push((at, vec![what])),
                },
                Step::Operations { count, .. } => at += count,
                Step::Start => {}
            }
        }
        for (index, (at, all)) in told.iter().enumerate() {
            for (line, what) in all.iter().enumerate() {
                self.y += ROW - 4.0;
                if line == 0 {
                    self.text(LEFT, "", &format!("{}", index + 1));
                    self.text(LEFT + 24.0, "quiet", &format!("operation {at}"));
                }
                self.text(LEFT + 130.0, "quiet", &short(what, 115));
            }
        }
        self.y += ROW * 2.0;
        let y = self.y;
        self.text(16.0, "", &format!("the story, {} operations", number(at)));
        self.line((LEFT, RIGHT), y, "#222", 3.0);
        let mut before = f64::MIN;
        let mut raised = 0.0;
        for (index, (at, all)) in told.iter().enumerate() {
            let x = LEFT + *at as f64 * scale;
            raised = if x - before < 18.0 { raised + 1.0 } else { 0.0 };
            before = x;
            let top = y - 17.0 * raised;
            let _ = writeln!(
                self.body,
                "<g><title>{}</title><circle cx=\"{x:.1}\" cy=\"{top:.1}\" r=\"8\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
                 class=\"mark\">{}</text></g>",
                escape(&all.join("; ")),
                top + 3.5,
                index + 1
            );
        }
        y
    }

    /// A lane for each end; from the line to it, the power losses that end there.
    fn lanes(&mut self, cuts: &[(f64, &str)], answer: &StoryAnswer, line: f64, scale: f64) {
        self.y += ROW;
        for (end, states) in &answer.ends {
            self.y += ROW;
            let (y, colour) = (self.y, colour(end, answer));
            // What falls on the same pixel is drawn once.
            let here = cuts.iter().filter(|(_, there)| there == end);
            let at: BTreeSet<u64> = here.map(|(at, _)| ((at * scale + LEFT) * 2.0) as u64).collect();
            self.line((LEFT, RIGHT), y - 4.0, "#ddd", 1.0);
            if !at.is_empty() {
                let lines: String = at
                    .iter()
                    .map(|half| format!("M{:.1} {:.1}V{:.1}", *half as f64 / 2.0, line + 3.0, y - 4.0))
                    .collect();
                let _ = writeln!(
                    self.body,
                    "<path d=\"{lines}\" stroke=\"{colour}\" stroke-width=\"1\" stroke-opacity=\"0.35\"/>"
                );
                let dots: String =
                    at.iter().map(|half| format!("M{:.1} {:.1}h0", *half as f64 / 2.0, y - 4.0)).collect();
                let _ = writeln!(
                    self.body,
                    "<path d=\"{dots}\" stroke=\"{colour}\" stroke-width=\"5\" stroke-linecap=\"round\"/>"
                );
            }
            let _ = writeln!(
                self.body,
                "<text x=\"16\" y=\"{y:.1}\" style=\"fill:{colour}\"><title>{0}</title>{1}</text>\
                 <text x=\"{2}\" y=\"{y:.1}\" class=\"quiet end\">{3} states</text>",
                escape(end),
                escape(&short(end, 40)),
                WIDTH - 16.0,
                number(*states)
            );
        }
    }

    /// A row for each finding: its runs, and what cuts them.
    fn rows(&mut self, rows: &[Row], scale: f64) {
        if rows.is_empty() {
            return;
        }
        self.y += ROW * 1.6;
        self.text(
            16.0,
            "quiet",
            "a shortest way to each finding: one run after the other, a cross where power is lost",
        );
        for row in rows {
            self.y += ROW;
            let y = self.y - 4.0;
            let _ = writeln!(
                self.body,
                "<text x=\"16\" y=\"{:.1}\" style=\"fill:{}\">{}</text>",
                self.y,
                row.colour,
                escape(&short(&row.title, 42))
            );
            let gaps = GAP * (row.runs.len() - 1) as f64;
            let total = row.runs.iter().sum::<u64>().max(1) as f64;
            let scale = scale.min((RIGHT - LEFT - gaps) / total);
            let mut x = LEFT;
            for (index, operations) in row.runs.iter().enumerate() {
                let end = x + *operations as f64 * scale;
                self.line((x, end), y, "#222", 2.0);
                if let Some(interrupted) = row.interrupted.get(index) {
                    let _ = writeln!(
                        self.body,
                        "<path d=\"M{0:.1} {1:.1}l8 8m0 -8l-8 8\" stroke=\"{2}\" stroke-width=\"2\"><title>{3}</title></path>",
                        end - 4.0,
                        y - 4.0,
                        row.colour,
                        escape(interrupted)
                    );
                }
                x = end + GAP;
            }
            let _ = writeln!(
                self.body,
                "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{}\"><title>{}</title></circle>",
                x - GAP,
                row.colour,
                escape(&row.end)
            );
            for interrupted in &row.interrupted {
                self.y += ROW - 6.0;
                self.text(LEFT, "quiet", interrupted);
            }
            self.y += ROW - 6.0;
            self.text(LEFT, "quiet", &format!("then {}", row.end));
        }
    }
}

/// Where on the line of operations a place is. A boot that has ended is where the next operation would begin.
fn operation(place: CutPlace, boots: &[u64]) -> f64 {
    match place {
        CutPlace::Before(operation) | CutPlace::Answer(operation, _) => operation as f64,
        CutPlace::Inside(operation, _) => operation as f64 + 0.5,
        CutPlace::Start(boot) => boots.get(boot as usize).copied().unwrap_or_default() as f64,
    }
}

fn short(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(max - 3).collect();
    format!("{}...", kept.trim_end())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
