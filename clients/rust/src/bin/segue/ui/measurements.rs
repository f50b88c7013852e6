//! The analyzer's measurements as short texts.

use segue_client::{
    proto::segue::{analyzer::v1::Report, composer::v1::Composition, music::v1::Metre},
    sanitize,
};

use crate::values;

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

/// Describes a finished composition. Without a report it has only a loudness.
pub fn of_composition(composition: &Composition) -> Vec<String> {
    let metre = composition.plan.as_ref().and_then(|plan| plan.metre.as_ref());
    let loudness = composition.mastered.as_ref().and_then(|mastered| mastered.loudness);
    match &composition.report {
        Some(report) => of_report(report, metre),
        None => of_report(&Report { loudness, ..Report::default() }, metre),
    }
}
