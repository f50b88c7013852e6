//! The analyzer's measurements as short texts.

use segue_client::{
    proto::segue::{
        analyzer::v1::{Report, Track},
        composer::v1::Composition,
        music::v1::Metre,
    },
    sanitize,
};

use crate::{ui::format, values};

/// Describes a report. The metre defines the beat of the tempo.
pub fn of_report(report: &Report, metre: Option<&Metre>) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(tempo) = &report.tempo {
        facts.push(format!("{:.1} bpm", values::bpm(tempo.quarters_per_minute, metre)));
    }
    if let Some((key, estimate)) = report.key.as_ref().and_then(|each| Some((each.key.as_ref()?, each))) {
        facts.push(sanitize(&format!("{} ({})", values::key(key), estimate.camelot)));
    }
    if let Some(loudness) = &report.loudness {
        facts.extend(loudness.integrated_lufs.map(|lufs| format!("{lufs:.1} LUFS")));
        facts.extend(loudness.true_peak_dbtp.map(|peak| format!("{peak:.1} dBTP")));
        facts.extend(loudness.range_lu.map(|range| format!("range {range:.1} LU")));
    }
    facts
}

/// Describes a track in one line.
pub fn of_track(track: &Track, rate: f64) -> String {
    let seconds = |frames: i64| frames as f64 / rate;
    let (first, end) = (seconds(track.first_frame), seconds(track.first_frame.saturating_add(track.frames)));
    let mut facts = vec![format!("{} to {}", format::clock(first), format::clock(end))];
    if track.fade_in_frames > 0 {
        facts.push(format!("faded in over {:.1} s", seconds(track.fade_in_frames)));
    }
    facts.extend(track.tempo.as_ref().map(|tempo| format!("{:.1} bpm", tempo.quarters_per_minute)));
    if let Some((key, estimate)) = track.key.as_ref().and_then(|each| Some((each.key.as_ref()?, each))) {
        facts.push(format!("{} ({})", values::key(key), estimate.camelot));
    }
    facts.extend(track.loudness.and_then(|each| each.integrated_lufs).map(|lufs| format!("{lufs:.1} LUFS")));
    facts.extend(track.bass_loudness_lufs.map(|lufs| format!("bass {lufs:.1} LUFS")));
    facts.extend(Some(track.error.clone()).filter(|error| !error.is_empty()));
    format!("track {}: {}", track.number, facts.join("; "))
}

/// Describes a finished composition. Without a report it has only a loudness.
pub fn of_composition(composition: &Composition) -> Vec<String> {
    let metre = composition.plan.as_ref().and_then(|plan| plan.metre.as_ref());
    let loudness = composition.mastered.as_ref().and_then(|mastered| mastered.loudness);
    match &composition.report {
        Some(report) => of_report(report, metre),
        None => of_report(&Report { loudness, ..Report::default() }, metre),
    }
}
