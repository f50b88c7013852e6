//! The changes of `segue edit`, in the order of the command line.

use clap::{Arg, ArgAction, ArgMatches, FromArgMatches, error::ErrorKind};
use segue_client::{json, proto::segue::music::v1::SectionSpec};

use crate::values;

/// The word for the position after the last section.
const END: &str = "end";

/// The position of a section.
#[derive(Clone, Debug, PartialEq)]
pub enum Position {
    Before(String),
    End,
}

/// One change. A section is given by its number or its id.
#[derive(Clone, Debug, PartialEq)]
pub enum EditArg {
    Redo { section: String, seed: Option<u32>, model: String, prompt: String },
    Replace { section: String, spec: Box<SectionSpec> },
    Insert { before: Position, spec: Box<SectionSpec> },
    Remove { section: String },
    Move { section: String, before: Position },
}

/// All changes, in the order of the command line.
#[derive(Default)]
pub struct EditArgs(pub Vec<EditArg>);

type Parse = fn(&str) -> Result<EditArg, String>;

/// Name, value name, help and parser of each flag.
const FLAGS: [(&str, &str, &str, Parse); 5] = [
    (
        "redo",
        "SECTION",
        "Render a section again: 3 or chorus-2 is the next take (the flag twice: the one after it), 3@7 is the take of seed \
         7, 3=sketch is played by another model, 3:\"half-time, huge, no drums\" has a new prompt",
        parse_redo,
    ),
    (
        "replace",
        "SECTION:WHAT",
        "Replace a section, for example 3:\"bridge, 8 bars\"; role and bars stay if WHAT leaves them out",
        parse_replace,
    ),
    (
        "insert",
        "BEFORE:WHAT",
        "Insert a section before another one, for example 2:\"bridge, 8 bars\", or at the end: end:\"outro, 4 bars, F \
         minor\"; WHAT may also be a segue.music.v1.SectionSpec in JSON",
        parse_insert,
    ),
    ("remove", "SECTION", "Remove a section", parse_remove),
    ("move", "SECTION:BEFORE", "Move a section before another one, for example 3:1, or to the end: 3:end", parse_move),
];

impl clap::Args for EditArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        FLAGS.into_iter().fold(command, |command, (name, value, help, parse)| {
            let flag = Arg::new(name).long(name).value_name(value).help(help).help_heading("Changes");
            command.arg(flag.action(ArgAction::Append).value_parser(parse))
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for EditArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut edits: Vec<(usize, EditArg)> = Vec::new();
        for (name, ..) in FLAGS {
            let found = matches.get_many::<EditArg>(name).into_iter().flatten().cloned();
            edits.extend(matches.indices_of(name).into_iter().flatten().zip(found));
        }
        edits.sort_by_key(|(index, _)| *index);
        Ok(Self(edits.into_iter().map(|(_, edit)| edit).collect()))
    }

    fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), clap::Error> {
        Err(clap::Error::raw(ErrorKind::InvalidValue, "changes are parsed once"))
    }
}

fn parse_redo(text: &str) -> Result<EditArg, String> {
    let (take, prompt) = text.split_once(':').unwrap_or((text, ""));
    let (section, seed) = match take.split_once('@') {
        Some((section, seed)) => (section, Some(parse_seed(seed.trim())?)),
        None => (take, None),
    };
    let (section, model) = match section.split_once('=') {
        Some((_, model)) if model.trim().is_empty() => return Err("name a model, for example 3=sketch".to_owned()),
        Some((section, model)) => (section, model.trim().to_owned()),
        None => (section, String::new()),
    };
    Ok(EditArg::Redo { section: parse_section(section)?, seed, model, prompt: prompt.trim().to_owned() })
}

fn parse_seed(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is not a seed; write a number from 0 to {}, for example 3@7", u32::MAX))
}

fn parse_replace(text: &str) -> Result<EditArg, String> {
    let (section, what) = halves(text, "3:\"bridge, 8 bars\"")?;
    Ok(EditArg::Replace { section: parse_section(section)?, spec: Box::new(parse_spec(what)?) })
}

fn parse_insert(text: &str) -> Result<EditArg, String> {
    let (before, what) = halves(text, "2:\"bridge, 8 bars\"")?;
    let spec = parse_spec(what)?;
    if spec.role == 0 || spec.bars == 0 {
        return Err("a new section needs a role and a number of bars, for example 2:\"bridge, 8 bars\"".to_owned());
    }
    Ok(EditArg::Insert { before: parse_position(before)?, spec: Box::new(spec) })
}

fn parse_remove(text: &str) -> Result<EditArg, String> {
    Ok(EditArg::Remove { section: parse_section(text)? })
}

fn parse_move(text: &str) -> Result<EditArg, String> {
    let (section, before) = halves(text, "3:1 or 3:end")?;
    Ok(EditArg::Move { section: parse_section(section)?, before: parse_position(before)? })
}

fn halves<'a>(text: &'a str, example: &str) -> Result<(&'a str, &'a str), String> {
    let halves = text.split_once(':').map(|(first, second)| (first.trim(), second.trim()));
    halves.filter(|(_, second)| !second.is_empty()).ok_or_else(|| format!("write for example {example}"))
}

fn parse_position(text: &str) -> Result<Position, String> {
    if text == END { Ok(Position::End) } else { parse_section(text).map(Position::Before) }
}

fn parse_section(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || !text.chars().all(|each| each.is_ascii_alphanumeric() || "_-".contains(each)) {
        return Err(format!("{text:?} is not a section; write its number or name, for example 3 or chorus-2"));
    }
    Ok(text.to_ascii_lowercase())
}

/// Parses "bridge, 8 bars, F minor, 3/4", or a section in JSON. Missing values stay empty.
fn parse_spec(text: &str) -> Result<SectionSpec, String> {
    if text.starts_with('{') {
        return json::from_text("segue.music.v1.SectionSpec", text).map_err(|error| error.to_string());
    }
    let mut spec = SectionSpec::default();
    for part in text.split(',') {
        let rest = take_bars(part, &mut spec)?;
        if rest.is_empty() {
            continue;
        }
        match (values::parse_role(&rest), values::parse_metre(&rest), values::parse_key(&rest)) {
            (Ok(role), ..) if spec.role == 0 => spec.role = role as i32,
            (_, Ok(metre), _) if spec.metre.is_none() => spec.metre = Some(metre),
            (_, _, Ok(key)) if spec.key.is_none() => spec.key = Some(key),
            (Err(_), Err(_), Err(_)) => {
                return Err(format!(
                    "{rest:?} is not a role, a key, a time signature or a number of bars; write for example \"bridge, 8 \
                     bars, F minor, 3/4\"; roles are {}",
                    values::roles()
                ));
            }
            _ => return Err(format!("{rest:?}: the section has this value already")),
        }
    }
    Ok(spec)
}

/// Removes "8 bars" from a text and stores it in the section.
fn take_bars(text: &str, spec: &mut SectionSpec) -> Result<String, String> {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let is_unit = |each: &&str| each.eq_ignore_ascii_case("bars") || each.eq_ignore_ascii_case("bar");
    if let Some(unit) = words.iter().position(is_unit) {
        let number = unit.checked_sub(1).and_then(|before| words[before].parse().ok()).filter(|bars| *bars > 0);
        let bars = number.ok_or_else(|| format!("{text:?}: write the number of bars, for example 8 bars"))?;
        if spec.bars > 0 {
            return Err(format!("{text:?}: the section has a number of bars already"));
        }
        spec.bars = bars;
        words.drain(unit - 1..=unit);
    }
    Ok(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Result<(String, u32, Option<String>, Option<u32>), String> {
        parse_spec(text).map(|spec| {
            (values::role(spec.role), spec.bars, spec.key.as_ref().map(values::key), spec.metre.map(|each| each.beats))
        })
    }

    #[test]
    fn the_parts_of_a_section_may_have_any_order() {
        let bridge = Ok(("bridge".into(), 8, None, None));
        for text in ["bridge, 8 bars", "8 bars bridge", "8 bars, bridge", "Bridge 8 Bars", " bridge ,8  bar "] {
            assert_eq!(spec(text), bridge, "{text:?}");
        }
        let all = spec("pre-chorus, F# minor, 3/4, 12 bars");
        assert_eq!(all, Ok(("pre-chorus".into(), 12, Some("F# minor".into()), Some(3))));
        assert_eq!(spec(r#"{"role": "ROLE_SOLO", "bars": 4}"#), Ok(("solo".into(), 4, None, None)));
        let sung = parse_spec(r#"{"lyrics": {"text": "Go away"}}"#).map(|spec| spec.lyrics.unwrap_or_default().text);
        assert_eq!(sung, Ok("Go away".into()));
    }

    #[test]
    fn malformed_changes_are_refused() {
        for text in ["brigde", "8 bars, 4 bars", "bridge, verse", "many bars", "bars", "0 bars", "F minor, G minor"] {
            assert!(parse_spec(text).is_err(), "{text:?} was accepted");
        }
        assert!(parse_spec(r#"{"rôle": 1}"#).is_err());
        for (parse, text) in [
            (parse_insert as Parse, "2:bridge"),
            (parse_insert, "bridge, 8 bars"),
            (parse_move, "3"),
            (parse_redo, ""),
            (parse_redo, "3@"),
            (parse_redo, "3="),
            (parse_redo, "3@4294967296"),
            (parse_redo, "@7"),
            (parse_remove, "a b"),
        ] {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
