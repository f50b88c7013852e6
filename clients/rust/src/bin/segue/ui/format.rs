//! Numbers as text: times, sizes and counts.

/// "1:02" or "1:00:02".
pub fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0).floor() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// "8.1 MB".
pub fn size(bytes: i64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// "1 bar" or "8 bars".
pub fn count(number: u32, unit: &str) -> String {
    if number == 1 { format!("1 {unit}") } else { format!("{number} {unit}s") }
}

/// "ready in about 1:02".
pub fn ready(time: &prost_types::Duration) -> String {
    format!("ready in about {}", clock(whole_seconds(time)))
}

/// "begins in about 1:02".
pub fn begins(time: &prost_types::Duration) -> String {
    format!("begins in about {}", clock(whole_seconds(time)))
}

fn whole_seconds(time: &prost_types::Duration) -> f64 {
    (time.seconds as f64 + f64::from(time.nanos) / 1e9).ceil()
}
