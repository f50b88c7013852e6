//! Values of the contract as text: parsed from the command line, and shown to people.

use segue_client::proto::segue::{
    composer::v1::{State, WorkStage},
    music::v1::{Key, LayerKind, Metre, Mode, Role},
};

/// Parses "F minor", "Fm", "Bb" or "D dorian".
pub fn parse_key(text: &str) -> Result<Key, String> {
    let error = || format!("{text:?} is not a key; write for example \"F minor\", Bb or \"D dorian\"");
    let trimmed = text.trim();
    let letter = trimmed.chars().next().map(|each| each.to_ascii_uppercase()).filter(|each| "ABCDEFG".contains(*each));
    let letter = letter.ok_or_else(error)?;
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
        _ => return Err(error()),
    };
    Ok(Key { tonic: format!("{letter}{accidental}"), mode: mode as i32 })
}

/// Parses "3/4".
pub fn parse_metre(text: &str) -> Result<Metre, String> {
    let parts = text.split_once('/').and_then(|(beats, unit)| Some((beats.parse().ok()?, unit.parse().ok()?)));
    let (beats, unit) = parts.ok_or_else(|| format!("{text:?} is not a time signature; write for example 3/4"))?;
    Ok(Metre { beats, unit })
}

/// Parses "pre-chorus".
pub fn parse_role(text: &str) -> Result<Role, String> {
    Role::from_str_name(&enum_name(text, "ROLE_"))
        .filter(|role| *role != Role::Unspecified)
        .ok_or_else(|| format!("{text:?} is not a role; use one of {}", roles()))
}

/// The names of all roles.
pub fn roles() -> String {
    let names: Vec<String> =
        (1..).map_while(|number| Role::try_from(number).ok()).map(|each| role(each as i32)).collect();
    names.join(", ")
}

/// Parses "bass".
pub fn parse_layer(text: &str) -> Result<LayerKind, String> {
    let kinds = || (1..).map_while(|number| LayerKind::try_from(number).ok());
    LayerKind::from_str_name(&enum_name(text, "LAYER_KIND_")).filter(|kind| *kind != LayerKind::Unspecified).ok_or_else(
        || {
            let names: Vec<String> = kinds().map(layer).collect();
            format!("{text:?} is not a layer; use one of {}", names.join(", "))
        },
    )
}

/// The name of an enum value in the contract, from its name for people.
fn enum_name(text: &str, prefix: &str) -> String {
    format!("{prefix}{}", text.trim().to_ascii_uppercase().replace(['-', ' '], "_"))
}

/// The name of an enum value for people: `ROLE_PRE_CHORUS` is "pre-chorus".
fn plain_name(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_ascii_lowercase().replace('_', "-")
}

pub fn state(number: i32) -> String {
    State::try_from(number).map_or_else(|_| format!("state {number}"), |each| plain_name(each.as_str_name(), "STATE_"))
}

/// Whether a state is one of the known final states. A newer service may have others.
pub fn is_final(state: i32) -> bool {
    matches!(State::try_from(state), Ok(State::Succeeded | State::Degraded | State::Failed | State::Cancelled))
}

/// A part of the work in words.
pub fn stage(number: i32) -> &'static str {
    match WorkStage::try_from(number) {
        Ok(WorkStage::Plan) => "planning",
        Ok(WorkStage::Render) => "rendering",
        Ok(WorkStage::Mix) => "mixing",
        Ok(WorkStage::Master) => "mastering",
        Ok(WorkStage::Files) => "writing files",
        Ok(WorkStage::Analyze) => "measuring",
        Ok(WorkStage::Unspecified) | Err(_) => "working",
    }
}

pub fn role(number: i32) -> String {
    Role::try_from(number).map_or_else(|_| format!("role {number}"), |each| plain_name(each.as_str_name(), "ROLE_"))
}

pub fn layer(kind: LayerKind) -> String {
    plain_name(kind.as_str_name(), "LAYER_KIND_")
}

pub fn key(key: &Key) -> String {
    let mode = Mode::try_from(key.mode).map_or("", |each| each.as_str_name());
    format!("{} {}", key.tonic, plain_name(mode, "MODE_").replace('-', " "))
}

/// The tempo in beats a minute.
pub fn bpm(quarters_per_minute: f64, metre: Option<&Metre>) -> f64 {
    if metre.is_some_and(|metre| is_compound(*metre)) { quarters_per_minute / 1.5 } else { quarters_per_minute }
}

/// The beat of 6/8, 9/8 and 12/8 is a dotted quarter.
pub fn is_compound(metre: Metre) -> bool {
    metre.unit == 8 && metre.beats > 3 && metre.beats.is_multiple_of(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_parsed_in_the_usual_spellings() {
        let parse = |text| parse_key(text).map(|each| key(&each));
        assert_eq!(parse("F minor"), Ok("F minor".into()));
        assert_eq!(parse("f#m"), Ok("F# minor".into()));
        assert_eq!(parse("Bb"), Ok("Bb major".into()));
        assert_eq!(parse("B minor"), Ok("B minor".into()));
        assert_eq!(parse("d dorian"), Ok("D dorian".into()));
        for wrong in ["", "H", "F minorish", "é", "#"] {
            assert!(parse_key(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn every_role_can_be_parsed_from_its_shown_name() {
        for number in 1..=12 {
            assert_eq!(parse_role(&role(number)).map(|each| each as i32), Ok(number));
        }
        assert!(parse_role("unspecified").is_err());
        assert!(
            parse_layer("unspecified")
                .unwrap_err()
                .ends_with("use one of rhythm, bass, harmony, lead, textures, vocals")
        );
    }
}
