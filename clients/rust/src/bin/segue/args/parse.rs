//! Parsers for times and labels of the command line.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use segue_client::{formats, proto::segue::audio::v1::FileFormat};

/// One year. A longer time is a typing error.
const MAX_DURATION: Duration = Duration::from_secs(366 * 86_400);
/// The contract's upper limit for heartbeats.
const MAX_HEARTBEAT: Duration = Duration::from_secs(60);

/// Parses the name of a file format.
pub fn format() -> impl TypedValueParser<Value = FileFormat> {
    let by_name = |name: String| formats::all().find(|each| formats::name(*each) == name).unwrap_or_default();
    PossibleValuesParser::new(formats::all().map(formats::name)).map(by_name)
}

/// Parses `75`, `20s`, `2m`, `1m20s`, `1.5` or `1h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let error = || format!("{text:?} is not a time; write for example 75, 20s, 2m or 1m20s");
    if let Ok(seconds) = text.parse::<f64>() {
        return from_seconds(seconds).ok_or_else(error);
    }
    let (mut seconds, mut number, mut last_unit) = (0.0, String::new(), f64::INFINITY);
    for each in text.chars() {
        let unit = match each {
            '0'..='9' | '.' => {
                number.push(each);
                continue;
            }
            'h' => 3600.0,
            'm' => 60.0,
            's' => 1.0,
            _ => return Err(error()),
        };
        if unit >= last_unit {
            return Err(error());
        }
        seconds += number.parse::<f64>().map_err(|_| error())? * unit;
        (number, last_unit) = (String::new(), unit);
    }
    if !number.is_empty() || last_unit.is_infinite() {
        return Err(error());
    }
    from_seconds(seconds).ok_or_else(error)
}

/// A time that every field of the contract can hold.
fn from_seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= MAX_DURATION)
}

/// Parses the time between heartbeats.
pub fn heartbeat(text: &str) -> Result<Duration, String> {
    let heartbeat = duration(text)?;
    let is_allowed = !heartbeat.is_zero() && heartbeat <= MAX_HEARTBEAT;
    is_allowed.then_some(heartbeat).ok_or_else(|| format!("{text:?} is not from 1 to 60 s"))
}

/// Parses "key=value".
pub fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not a label; write KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_as_the_help_says() {
        let seconds = |text| duration(text).map(|each| each.as_secs_f64());
        assert_eq!(seconds("75"), Ok(75.0));
        assert_eq!(seconds("20s"), Ok(20.0));
        assert_eq!(seconds("2m"), Ok(120.0));
        assert_eq!(seconds("1m20s"), Ok(80.0));
        assert_eq!(seconds("1.5m"), Ok(90.0));
        assert_eq!(seconds("1h1s"), Ok(3601.0));
        for wrong in ["", "-1", "m", "1s1m", "1m20", "1x", "nan", "inf", "1e400", "1e19", "9999999h", "2 m"] {
            assert!(duration(wrong).is_err(), "{wrong:?} was accepted");
        }
    }
}
