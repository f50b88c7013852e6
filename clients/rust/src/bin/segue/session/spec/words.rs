//! The lyrics that the command line names, and the times of a plan's lines.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use segue_client::proto::segue::music::v1::{Lyrics, SectionSpec, TempoPoint};

use crate::exit::CliError;

/// The limit of the contract.
const MAX_BYTES: u64 = 16_384;
const TICKS_PER_QUARTER: f64 = 960.0;

/// Reads the words in a file, or in standard input for `-`.
pub fn read(path: &Path, language: &str) -> Result<Lyrics, CliError> {
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let refused = |reason: &str| CliError::usage(format!("{name}: {reason}"), "lyrics are text: one line for each");
    let mut bytes = Vec::new();
    let source: Result<Box<dyn io::Read>, io::Error> = if path == Path::new("-") {
        Ok(Box::new(io::stdin()))
    } else {
        File::open(path).map(|file| Box::new(file) as Box<dyn io::Read>)
    };
    source
        .and_then(|source| source.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| CliError::usage(format!("{name}: {error}"), "check the path"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refused("it has more than 16 KiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| refused("it is not UTF-8"))?;
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\t', " ");
    if text.trim().is_empty() {
        return Err(refused("it has no words"));
    }
    if let Some(line) = text.split('\n').position(|line| line.chars().any(is_refused)) {
        return Err(refused(&format!("line {} has a control character", line + 1)));
    }
    Ok(Lyrics { text, language: language.to_owned(), ..Lyrics::default() })
}

/// Control and bidirectional characters, which the contract refuses.
fn is_refused(each: char) -> bool {
    each.is_control() || matches!(each, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The lines of a section, each with its time from the section's start.
pub fn timed(spec: &SectionSpec) -> Vec<(f64, &str)> {
    let lines = spec.lyrics.iter().flat_map(|lyrics| &lyrics.lines);
    lines.map(|line| (seconds(&spec.tempo_points, line.start_tick), line.text.as_str())).collect()
}

/// The time of a tick from the section's start.
fn seconds(points: &[TempoPoint], tick: i64) -> f64 {
    let ends = points.iter().skip(1).map(|point| point.start_tick).chain([i64::MAX]);
    points
        .iter()
        .zip(ends)
        .map(|(point, end)| {
            let ticks = (tick.min(end) - point.start_tick).max(0);
            ticks as f64 * 60.0 / (point.quarters_per_minute * TICKS_PER_QUARTER)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_follow_the_tempo_map() {
        let point = |start_tick, quarters_per_minute| TempoPoint { start_tick, quarters_per_minute };
        let points = [point(0, 120.0), point(1920, 60.0)];
        assert!((seconds(&points, 960) - 0.5).abs() < 1e-9);
        assert!((seconds(&points, 2880) - 2.0).abs() < 1e-9);
        assert!(seconds(&[], 960).abs() < 1e-9);
    }
}
