//! A plan as text: its facts, and its sections with the numbers and names that edits use.

use segue_client::{proto::segue::music::v1::Plan, sanitize};
use unicode_width::UnicodeWidthStr as _;

use super::format;
use crate::values;

/// The key, tempo, metre, genre and length of a plan.
pub fn facts(plan: &Plan) -> Vec<String> {
    let metre = plan.metre.unwrap_or_default();
    let mut facts: Vec<String> = plan.key.iter().map(values::key).map(|key| sanitize(&key)).collect();
    facts.push(format!("{} bpm", round(values::bpm(plan.quarters_per_minute, Some(&metre)))));
    facts.push(format!("{}/{}", metre.beats, metre.unit));
    if !plan.genre.is_empty() {
        facts.push(sanitize(&plan.genre));
    }
    facts.push(format::clock(plan.frames as f64 / f64::from(plan.sample_rate.max(1))));
    facts
}

fn round(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// One line for each section: number, start, name, role, number of bars, and its model if it has one of its own.
pub fn table(plan: &Plan) -> Vec<String> {
    let rate = f64::from(plan.sample_rate.max(1));
    let rows: Vec<([String; 5], String)> = plan
        .sections
        .iter()
        .enumerate()
        .filter_map(|(index, planned)| {
            let spec = planned.spec.as_ref()?;
            let row = [
                (index + 1).to_string(),
                format::clock(planned.first_frame as f64 / rate),
                sanitize(&spec.section_id),
                values::role(spec.role),
                format::count(spec.bars, "bar"),
            ];
            Some((row, sanitize(&spec.model)))
        })
        .collect();
    let width = |column: usize| rows.iter().map(|(row, _)| row[column].width()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    rows.iter()
        .map(|(row, model)| {
            let player = if model.is_empty() { String::new() } else { format!("  played by {model}") };
            line(row, widths) + &player
        })
        .collect()
}

/// Aligns numbers to the right and words to the left.
fn line(row: &[String; 5], widths: [usize; 5]) -> String {
    let padding = |column: usize| " ".repeat(widths[column] - row[column].width());
    let [number, start, id, role, bars] = row;
    let (left, right) = (format!("{}{number}  {}{start}", padding(0), padding(1)), format!("{}{bars}", padding(4)));
    format!("{left}  {id}{}  {role}{}  {right}", padding(2), padding(3))
}
