//! A composition in one line, and its short name.

use segue_client::{
    proto::segue::composer::v1::{Analysis, Composition, OutputKind, Separation, State, Upload},
    sanitize,
};

use prost_types::Timestamp;

use super::format;
use crate::values;

/// The length of a short id. It is long enough to be unique in practice.
const SHORT_ID: usize = 8;

/// The id in a composition's name.
pub fn id(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The first letters of the id, as many as a user would type.
pub fn short_id(name: &str) -> String {
    id(name).chars().take(SHORT_ID).collect()
}

/// A composition in one line. `is_short` shortens its name.
pub fn line(composition: &Composition, is_short: bool) -> String {
    let name = if is_short { short_id(&composition.name) } else { composition.name.clone() };
    let created = date(composition.create_time.as_ref());
    let state = values::state(composition.state);
    let title = title(composition);
    format!("{}  {created}  {state:<10}  {title}", sanitize(&name)).trim_end().to_owned()
}

/// An upload in one line.
pub fn upload(upload: &Upload) -> String {
    let size = format::size(upload.size_bytes);
    let size = if upload.finished { size } else { format!("{} of {size}", format::size(upload.offset)) };
    let expires = date(upload.expire_time.as_ref());
    format!("{}  expires {expires}  {size}  {}", sanitize(&upload.name), sanitize(&upload.media_type))
}

/// An analysis in one line.
pub fn analysis(analysis: &Analysis) -> String {
    file_job(&analysis.name, analysis.create_time.as_ref(), analysis.state, &analysis.source)
}

/// A separation in one line.
pub fn separation(separation: &Separation) -> String {
    file_job(&separation.name, separation.create_time.as_ref(), separation.state, &separation.source)
}

fn file_job(name: &str, created: Option<&Timestamp>, state: i32, source: &str) -> String {
    let (created, state) = (date(created), values::state(state));
    format!("{}  {created}  {state:<10}  {}", sanitize(name), sanitize(source))
}

/// Date and time to the second.
fn date(time: Option<&Timestamp>) -> String {
    let text = time.map(ToString::to_string).unwrap_or_default();
    text.get(..19).unwrap_or_default().replace('T', " ")
}

/// Where a composition failed or was cancelled, and what is left of it.
pub fn failure_lines(composition: &Composition) -> Vec<String> {
    let Some(failure) = composition.failure.as_ref().filter(|failure| failure.stage != 0) else { return Vec::new() };
    let section = if failure.section_id.is_empty() { String::new() } else { format!(" {}", failure.section_id) };
    let complete: Vec<&str> = failure.completed_stages.iter().map(|stage| values::stage(*stage)).collect();
    let complete = if complete.is_empty() { "nothing".to_owned() } else { complete.join(", ") };
    let mut lines = vec![format!("it ended while {}{section}; complete: {complete}", values::stage(failure.stage))];
    if !failure.kept_section_ids.is_empty() {
        lines.push(format!("a retry does not render again: {}", failure.kept_section_ids.join(", ")));
    }
    if !failure.draft.is_empty() {
        lines.push(format!("the finished part is kept: {}", failure.draft));
    }
    lines.iter().map(|line| sanitize(line)).collect()
}

/// The title. A mastered file has neither title nor model, so the text describes the file.
pub fn title(composition: &Composition) -> String {
    if !composition.title.is_empty() {
        return sanitize(&composition.title);
    }
    if !composition.model.is_empty() || composition.state == State::Queued as i32 {
        return String::new();
    }
    let master = composition.outputs.iter().find(|output| output.kind == OutputKind::Master as i32);
    let length = master.filter(|output| output.sample_rate > 0);
    let length = length.map(|output| format::clock(output.frames as f64 / f64::from(output.sample_rate)));
    let loudness = composition.mastered.as_ref().and_then(|mastered| mastered.loudness);
    let loudness = loudness.and_then(|loudness| loudness.integrated_lufs).map(|lufs| format!("{lufs:.1} LUFS"));
    let facts: Vec<String> = ["mastering of a file".to_owned()].into_iter().chain(length).chain(loudness).collect();
    facts.join(", ")
}
