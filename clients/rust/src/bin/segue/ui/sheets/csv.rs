//! Reports as a table in CSV, with the same columns as that of `segued analyze --csv`.

use segue_client::proto::segue::analyzer::v1::Report;

use crate::values;

pub const COLUMNS: [&str; 17] = [
    "file",
    "error",
    "duration_s",
    "tempo_qpm",
    "tempo_confidence",
    "key",
    "camelot",
    "key_confidence",
    "integrated_lufs",
    "bass_lufs",
    "range_lu",
    "true_peak_dbtp",
    "brightness_hz",
    "stereo_correlation",
    "leading_silence_s",
    "trailing_silence_s",
    "faults",
];

/// A row; values with a comma, a quotation mark or a line break are quoted.
pub fn row<S: AsRef<str>>(values: &[S]) -> String {
    let cells: Vec<String> = values.iter().map(|value| cell(value.as_ref())).collect();
    cells.join(",")
}

fn cell(value: &str) -> String {
    if value.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

/// The values of one report; what was not found is empty.
pub fn of_report(file: &str, report: &Report) -> Vec<String> {
    let rate = f64::from(report.format.unwrap_or_default().sample_rate.max(1));
    let seconds = |frames: i64| format!("{:.3}", frames as f64 / rate);
    let rounded = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}"));
    let (tempo, key, loudness) = (report.tempo.as_ref(), report.key.as_ref(), report.loudness.unwrap_or_default());
    vec![
        file.to_owned(),
        String::new(),
        seconds(report.frames),
        rounded(tempo.map(|tempo| tempo.quarters_per_minute)),
        rounded(tempo.map(|tempo| tempo.confidence)),
        key.and_then(|estimate| estimate.key.as_ref()).map_or(String::new(), values::key),
        key.map_or(String::new(), |estimate| estimate.camelot.clone()),
        rounded(key.map(|estimate| estimate.confidence)),
        rounded(loudness.integrated_lufs),
        rounded(report.bass_loudness_lufs),
        rounded(loudness.range_lu),
        rounded(loudness.true_peak_dbtp),
        format!("{:.0}", report.brightness_hz),
        rounded(report.stereo_correlation),
        seconds(report.leading_silence_frames),
        seconds(report.trailing_silence_frames),
        report.faults.len().to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_separators_are_quoted() {
        assert_eq!(row(&["a", "b,c", "say \"x\"", "", "two\nlines"]), "a,\"b,c\",\"say \"\"x\"\"\",,\"two\nlines\"");
        assert_eq!(of_report("a", &Report::default()).len(), COLUMNS.len());
    }
}
