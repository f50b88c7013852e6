//! Cue sheets of the tracks of a recording, as `segued analyze --cue` writes them, too.

use std::{fmt::Write, path::Path};

use segue_client::{proto::segue::analyzer::v1::Report, sanitize};

use crate::exit::CliError;

const MAX_TRACKS: usize = 99;
const FRAMES_PER_SECOND: i64 = 75;

/// The sheet of a file; silence before a track is its INDEX 00.
pub fn of_report(file: &str, report: &Report) -> Result<String, CliError> {
    if report.tracks.len() > MAX_TRACKS {
        let text = format!("a cue sheet has room for {MAX_TRACKS} tracks, and {} were found", report.tracks.len());
        return Err(CliError::new(CliError::FAILED, text, "use --json"));
    }
    let rate = i64::from(report.format.unwrap_or_default().sample_rate.max(1));
    let path = Path::new(file);
    let name = path.file_name().map_or_else(String::new, |name| sanitize(&name.to_string_lossy()).replace('"', "'"));
    let ending = path.extension().map_or_else(String::new, |ending| ending.to_string_lossy().to_lowercase());
    // FLAC and all others are WAVE by custom.
    let kind = match ending.as_str() {
        "mp3" => "MP3",
        "aif" | "aiff" => "AIFF",
        _ => "WAVE",
    };
    let mut sheet = format!("FILE \"{name}\" {kind}\n");
    let mut before = 0;
    for track in &report.tracks {
        let number = track.number;
        let _ = write!(sheet, "  TRACK {number:02} AUDIO\n    TITLE \"Track {number}\"\n");
        if let Some(tempo) = &track.tempo {
            let _ = writeln!(sheet, "    REM BPM {:.1}", tempo.quarters_per_minute);
        }
        if let Some(key) = track.key.as_ref().filter(|key| !key.camelot.is_empty()) {
            let _ = writeln!(sheet, "    REM KEY {}", sanitize(&key.camelot));
        }
        if before < track.first_frame {
            let _ = writeln!(sheet, "    INDEX 00 {}", time(before, rate));
        }
        let _ = writeln!(sheet, "    INDEX 01 {}", time(track.first_frame, rate));
        before = track.first_frame.saturating_add(track.frames);
    }
    Ok(sheet)
}

/// Minutes, seconds and frames of a 75th of a second.
fn time(frame: i64, rate: i64) -> String {
    let frames = frame.max(0).saturating_mul(FRAMES_PER_SECOND) / rate;
    let seconds = frames / FRAMES_PER_SECOND;
    format!("{:02}:{:02}:{:02}", seconds / 60, seconds % 60, frames % FRAMES_PER_SECOND)
}
