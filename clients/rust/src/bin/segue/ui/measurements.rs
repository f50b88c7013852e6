//! The analyzer's measurements as short texts.

use std::collections::BTreeMap;

use segue_client::{
    proto::segue::{
        analyzer::v1::{ChordSpan, Report, SectionAnalysis, Track},
        composer::v1::Composition,
        music::v1::{ChordQuality, Metre},
    },
    sanitize,
};

use crate::{
    ui::format::{self, clock},
    values,
};

const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ENERGY_COLUMNS: usize = 40;
const MAX_PARTS: usize = 16;
const MAX_CHORDS: usize = 6;

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

/// Describes the music of a report: each fact that was found, with its name. `segued analyze` has the same ones.
pub fn of_music(report: &Report) -> Vec<String> {
    let rate = f64::from(report.format.unwrap_or_default().sample_rate.max(1));
    let at = |frame: i64| clock(frame as f64 / rate);
    let tempo = report.tempo.clone().unwrap_or_default();
    let mut facts = Vec::new();
    if tempo.beats_per_bar > 0 {
        facts.push(format!("bars {} beats", tempo.beats_per_bar));
    }
    facts.extend(tempo.swing.map(|swing| format!("swing {swing:.2}")));
    if !report.drum_beats.is_empty() {
        facts.push(format!("drums at {} of {} beats", report.drum_beats.len(), tempo.beats.len()));
    }
    facts.extend(report.crest_db.map(|crest| format!("crest {crest:.1} dB")));
    if report.onsets_per_second > 0.0 {
        facts.push(format!("onsets {:.1} a second", report.onsets_per_second));
    }
    if let (Some(first), Some(last)) = (report.spectral_balance.first(), report.spectral_balance.last()) {
        let levels: Vec<String> = report.spectral_balance.iter().map(|band| format!("{:.0}", band.level_db)).collect();
        let (low, high) = (first.low_hz, last.high_hz);
        facts.push(format!("balance {} dB in octaves from {low:.0} to {high:.0} Hz", levels.join(" ")));
    }
    if !report.energy_curve.is_empty() {
        facts.push(format!("energy {}", line(&report.energy_curve)));
    }
    if !report.structure.is_empty() {
        let parts = report.structure.iter().map(|part| format!("{} {}", part.label, at(part.first_frame)));
        facts.push(format!("structure {}", listed(&parts.collect::<Vec<_>>())));
    }
    if !report.chords.is_empty() {
        facts.push(format!("chords {}", most_frequent(&report.chords)));
    }
    if report.key_changes.len() > 1 {
        let keys = report.key_changes.iter().filter_map(|span| {
            let key = span.key.as_ref()?.key.as_ref()?;
            Some(format!("{} {}", values::key(key), at(span.first_frame)))
        });
        facts.push(format!("keys {}", listed(&keys.collect::<Vec<_>>())));
    }
    facts.iter().map(|fact| sanitize(fact)).collect()
}

/// Describes how a section's chords and start compare with its plan.
pub fn of_section(section: &SectionAnalysis) -> Vec<String> {
    let mut facts = Vec::new();
    facts.extend(section.chords_match.map(|share| format!("{:.0} % of chords as planned", share * 100.0)));
    facts.extend((section.boundary_matches == Some(false)).then(|| "no boundary at its start".to_owned()));
    facts
}

/// The chords with the most time, with their shares.
fn most_frequent(chords: &[ChordSpan]) -> String {
    let mut times: BTreeMap<String, i64> = BTreeMap::new();
    for chord in chords {
        let suffix = if chord.quality == ChordQuality::Minor as i32 { "m" } else { "" };
        *times.entry(format!("{}{suffix}", chord.root)).or_default() += chord.frames.max(0);
    }
    let total = times.values().sum::<i64>().max(1) as f64;
    let mut most: Vec<(String, i64)> = times.into_iter().collect();
    most.sort_by_key(|(_, frames)| std::cmp::Reverse(*frames));
    let shares =
        most.iter().take(MAX_CHORDS).map(|(name, frames)| format!("{name} {:.0} %", *frames as f64 / total * 100.0));
    shares.collect::<Vec<_>>().join(", ")
}

/// The first texts, and the number of the others.
fn listed(texts: &[String]) -> String {
    let first = texts[..texts.len().min(MAX_PARTS)].join(", ");
    if texts.len() > MAX_PARTS { format!("{first} and {} more", texts.len() - MAX_PARTS) } else { first }
}

/// Draws values from 0 to 1 as a line of blocks.
fn line(values: &[f64]) -> String {
    let columns = ENERGY_COLUMNS.min(values.len());
    let mean = |column: usize| {
        let part = &values[column * values.len() / columns..(column + 1) * values.len() / columns];
        part.iter().sum::<f64>() / part.len() as f64
    };
    (0..columns).map(|column| LEVELS[(mean(column) * 8.0).round().clamp(0.0, 8.0) as usize]).collect()
}
