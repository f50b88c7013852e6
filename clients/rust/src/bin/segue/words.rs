//! The contract's values in words, and words as the contract's values.

use std::time::Duration;

use segue_client::proto::segue::{
    composer::v1::State,
    music::v1::{Key, LayerKind, Metre, Mode, Role},
};

/// A year; what is longer is a slip of the keyboard.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Reads `75`, `20s`, `2m`, `1m20s`, `1.5` or `1h`.
pub fn read_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; write it as 75, 20s, 2m or 1m20s");
    if let Ok(seconds) = text.parse::<f64>() {
        return in_seconds(seconds).ok_or_else(wrong);
    }
    let (mut seconds, mut number, mut largest) = (0.0, String::new(), f64::INFINITY);
    for each in text.chars() {
        let unit = match each {
            '0'..='9' | '.' => {
                number.push(each);
                continue;
            }
            'h' => 3600.0,
            'm' => 60.0,
            's' => 1.0,
            _ => return Err(wrong()),
        };
        if unit >= largest {
            return Err(wrong());
        }
        seconds += number.parse::<f64>().map_err(|_| wrong())? * unit;
        (number, largest) = (String::new(), unit);
    }
    if !number.is_empty() || largest.is_infinite() {
        return Err(wrong());
    }
    in_seconds(seconds).ok_or_else(wrong)
}

/// A time that every field of the contract can hold.
fn in_seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= LONGEST)
}

/// Reads how often there must be a sign of life: the contract allows 60 s at most.
pub fn read_heartbeat(text: &str) -> Result<Duration, String> {
    let heartbeat = read_duration(text)?;
    let is_allowed = !heartbeat.is_zero() && heartbeat <= Duration::from_secs(60);
    is_allowed.then_some(heartbeat).ok_or_else(|| format!("{text:?} is not from 1 to 60 s"))
}

/// Reads "F minor", "Fm", "Bb" or "D dorian".
pub fn read_key(text: &str) -> Result<Key, String> {
    let wrong = || format!("{text:?} is no key; write it as \"F minor\", Bb or \"D dorian\"");
    let trimmed = text.trim();
    let letter = trimmed.chars().next().map(|each| each.to_ascii_uppercase()).filter(|each| "ABCDEFG".contains(*each));
    let letter = letter.ok_or_else(wrong)?;
    let rest = &trimmed[1..];
    let accidental = &rest[..usize::from(rest.starts_with(['#', 'b']))];
    let mode = match rest[accidental.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "major" | "maj" | "ionian" => Mode::Major,
        "m" | "minor" | "min" | "aeolian" => Mode::Minor,
        "dorian" => Mode::Dorian,
        "phrygian" => Mode::Phrygian,
        "lydian" => Mode::Lydian,
        "mixolydian" => Mode::Mixolydian,
        "locrian" => Mode::Locrian,
        "harmonic minor" => Mode::HarmonicMinor,
        _ => return Err(wrong()),
    };
    Ok(Key { tonic: format!("{letter}{accidental}"), mode: mode as i32 })
}

/// Reads "3/4".
pub fn read_metre(text: &str) -> Result<Metre, String> {
    let parts = text.split_once('/').and_then(|(beats, unit)| Some((beats.parse().ok()?, unit.parse().ok()?)));
    let (beats, unit) = parts.ok_or_else(|| format!("{text:?} is no time signature; write it as 3/4"))?;
    Ok(Metre { beats, unit })
}

/// Reads "pre-chorus".
pub fn read_role(text: &str) -> Result<Role, String> {
    read_enum(text, "ROLE_", 1..=12, Role::from_str_name, |number| {
        Role::try_from(number).map(|each| each.as_str_name()).ok()
    })
}

/// Reads "bass".
pub fn read_layer(text: &str) -> Result<LayerKind, String> {
    read_enum(text, "LAYER_KIND_", 1..=6, LayerKind::from_str_name, |number| {
        LayerKind::try_from(number).map(|each| each.as_str_name()).ok()
    })
}

fn read_enum<E>(
    text: &str,
    prefix: &str,
    numbers: std::ops::RangeInclusive<i32>,
    parse: fn(&str) -> Option<E>,
    name: fn(i32) -> Option<&'static str>,
) -> Result<E, String> {
    let wanted = text.trim().to_ascii_uppercase().replace(['-', ' '], "_");
    parse(&format!("{prefix}{wanted}")).filter(|_| wanted != "UNSPECIFIED").ok_or_else(|| {
        let known: Vec<String> = numbers.filter_map(name).map(|each| plain(each, prefix)).collect();
        format!("{text:?} is none of {}", known.join(", "))
    })
}

/// Reads "key=value".
pub fn read_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?}: write it as KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A name of the contract for people: `ROLE_PRE_CHORUS` is "pre-chorus".
pub fn plain(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_ascii_lowercase().replace('_', "-")
}

pub fn state(number: i32) -> String {
    State::try_from(number).map_or_else(|_| format!("state {number}"), |each| plain(each.as_str_name(), "STATE_"))
}

/// Whether it is over. A newer service may know more ways to end than these; then something else must tell.
pub fn has_ended(state: i32) -> bool {
    matches!(State::try_from(state), Ok(State::Succeeded | State::Degraded | State::Failed | State::Cancelled))
}

pub fn role(number: i32) -> String {
    Role::try_from(number).map_or_else(|_| format!("role {number}"), |each| plain(each.as_str_name(), "ROLE_"))
}

pub fn key(key: &Key) -> String {
    let mode = Mode::try_from(key.mode).map_or("", |each| each.as_str_name());
    format!("{} {}", key.tonic, plain(mode, "MODE_").replace('-', " "))
}

/// The tempo in beats, as people count it.
pub fn bpm(quarters_per_minute: f64, metre: Option<&Metre>) -> f64 {
    if metre.is_some_and(|metre| is_compound(*metre)) { quarters_per_minute / 1.5 } else { quarters_per_minute }
}

/// 6/8, 9/8 and 12/8 count dotted quarters.
pub fn is_compound(metre: Metre) -> bool {
    metre.unit == 8 && metre.beats > 3 && metre.beats.is_multiple_of(3)
}

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
pub fn counted(number: u32, unit: &str) -> String {
    if number == 1 { format!("1 {unit}") } else { format!("{number} {unit}s") }
}

/// The id in a composition's name.
pub fn id(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_the_help_says() {
        let seconds = |text| read_duration(text).map(|each| each.as_secs_f64());
        assert_eq!(seconds("75"), Ok(75.0));
        assert_eq!(seconds("20s"), Ok(20.0));
        assert_eq!(seconds("2m"), Ok(120.0));
        assert_eq!(seconds("1m20s"), Ok(80.0));
        assert_eq!(seconds("1.5m"), Ok(90.0));
        assert_eq!(seconds("1h1s"), Ok(3601.0));
        for wrong in ["", "-1", "m", "1s1m", "1m20", "1x", "nan", "inf", "1e400", "1e19", "9999999h", "2 m"] {
            assert!(read_duration(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn keys_are_read_in_the_usual_spellings() {
        let read = |text| read_key(text).map(|each| key(&each));
        assert_eq!(read("F minor"), Ok("F minor".into()));
        assert_eq!(read("f#m"), Ok("F# minor".into()));
        assert_eq!(read("Bb"), Ok("Bb major".into()));
        assert_eq!(read("B minor"), Ok("B minor".into()));
        assert_eq!(read("d dorian"), Ok("D dorian".into()));
        for wrong in ["", "H", "F minorish", "é", "#"] {
            assert!(read_key(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn every_role_that_is_shown_can_be_read_again() {
        for number in 1..=12 {
            assert_eq!(read_role(&role(number)).map(|each| each as i32), Ok(number));
        }
        assert!(read_role("unspecified").is_err());
    }
}
