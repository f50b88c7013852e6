//! The flags of `segue edit`: what is done to which section, in the order in which it was written.

use clap::{Arg, ArgAction, ArgMatches, FromArgMatches, error::ErrorKind};
use segue_client::{json, proto::segue::music::v1::SectionSpec};

use crate::words;

/// The word for the place after the last section.
const END: &str = "end";

/// Where a section goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    Before(String),
    End,
}

/// One change. Sections are named as the command line names them: by a number or an id.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Redo { section: String, seed: Option<u32>, prompt: String },
    Replace { section: String, spec: Box<SectionSpec> },
    Insert { before: Place, spec: Box<SectionSpec> },
    Remove { section: String },
    Move { section: String, before: Place },
}

/// All changes, in the order of the command line.
#[derive(Default)]
pub struct Changes(pub Vec<Change>);

type Read = fn(&str) -> Result<Change, String>;

/// Flag, what follows it, its help, and how it is read.
const FLAGS: [(&str, &str, &str, Read); 5] = [
    (
        "redo",
        "SECTION",
        "Play a section anew, as 3 or chorus-2: the next take, and the one after it when the flag is given twice, or that of \
         a seed, as 3@7; models that read words also take 3:\"darker, no drums\"",
        read_redo,
    ),
    (
        "replace",
        "SECTION:WHAT",
        "Put another section in its place, as 3:\"bridge, 8 bars\"; what is left out stays: role and bars",
        read_replace,
    ),
    (
        "insert",
        "BEFORE:WHAT",
        "Put a section in before another one, as 2:\"bridge, 8 bars\", or end:\"outro, 4 bars, F minor\"; WHAT may also be \
         a segue.music.v1.SectionSpec in JSON",
        read_insert,
    ),
    ("remove", "SECTION", "Take a section out", read_remove),
    ("move", "SECTION:BEFORE", "Move a section in front of another one, as 3:1, or to the end, as 3:end", read_move),
];

impl clap::Args for Changes {
    fn augment_args(command: clap::Command) -> clap::Command {
        FLAGS.into_iter().fold(command, |command, (name, value, help, read)| {
            let flag = Arg::new(name).long(name).value_name(value).help(help).help_heading("Changes");
            command.arg(flag.action(ArgAction::Append).value_parser(read))
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Changes {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut placed: Vec<(usize, Change)> = Vec::new();
        for (name, ..) in FLAGS {
            let changes = matches.get_many::<Change>(name).into_iter().flatten().cloned();
            placed.extend(matches.indices_of(name).into_iter().flatten().zip(changes));
        }
        placed.sort_by_key(|(index, _)| *index);
        Ok(Self(placed.into_iter().map(|(_, change)| change).collect()))
    }

    fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), clap::Error> {
        Err(clap::Error::raw(ErrorKind::InvalidValue, "changes are read once"))
    }
}

fn read_redo(text: &str) -> Result<Change, String> {
    let (take, prompt) = text.split_once(':').unwrap_or((text, ""));
    let (section, seed) = match take.split_once('@') {
        Some((section, seed)) => (section, Some(read_seed(seed.trim())?)),
        None => (take, None),
    };
    Ok(Change::Redo { section: read_section(section)?, seed, prompt: prompt.trim().to_owned() })
}

fn read_seed(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is no seed; write a number from 0 to {}, as 3@7", u32::MAX))
}

fn read_replace(text: &str) -> Result<Change, String> {
    let (section, what) = halves(text, "3:\"bridge, 8 bars\"")?;
    Ok(Change::Replace { section: read_section(section)?, spec: Box::new(read_spec(what)?) })
}

fn read_insert(text: &str) -> Result<Change, String> {
    let (before, what) = halves(text, "2:\"bridge, 8 bars\"")?;
    let spec = read_spec(what)?;
    if spec.role == 0 || spec.bars == 0 {
        let example = "2:\"bridge, 8 bars\"";
        return Err(format!("a new section needs what it is and how many bars it has, as {example}"));
    }
    Ok(Change::Insert { before: read_place(before)?, spec: Box::new(spec) })
}

fn read_remove(text: &str) -> Result<Change, String> {
    Ok(Change::Remove { section: read_section(text)? })
}

fn read_move(text: &str) -> Result<Change, String> {
    let (section, before) = halves(text, "3:1 or 3:end")?;
    Ok(Change::Move { section: read_section(section)?, before: read_place(before)? })
}

fn halves<'a>(text: &'a str, example: &str) -> Result<(&'a str, &'a str), String> {
    let halves = text.split_once(':').map(|(first, second)| (first.trim(), second.trim()));
    halves.filter(|(_, second)| !second.is_empty()).ok_or_else(|| format!("write it as {example}"))
}

fn read_place(text: &str) -> Result<Place, String> {
    if text == END { Ok(Place::End) } else { read_section(text).map(Place::Before) }
}

fn read_section(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || !text.chars().all(|each| each.is_ascii_alphanumeric() || "_-".contains(each)) {
        return Err(format!("{text:?} is no section; write its number or its name, as 3 or chorus-2"));
    }
    Ok(text.to_ascii_lowercase())
}

/// Reads "bridge, 8 bars, F minor, 3/4", or a section in JSON. What is not said stays empty.
fn read_spec(text: &str) -> Result<SectionSpec, String> {
    if text.starts_with('{') {
        return json::from_text("segue.music.v1.SectionSpec", text).map_err(|error| error.to_string());
    }
    let mut spec = SectionSpec::default();
    for part in text.split(',') {
        let rest = take_bars(part, &mut spec)?;
        if rest.is_empty() {
            continue;
        }
        match (words::read_role(&rest), words::read_metre(&rest), words::read_key(&rest)) {
            (Ok(role), ..) if spec.role == 0 => spec.role = role as i32,
            (_, Ok(metre), _) if spec.metre.is_none() => spec.metre = Some(metre),
            (_, _, Ok(key)) if spec.key.is_none() => spec.key = Some(key),
            (Err(roles), Err(_), Err(_)) => {
                return Err(format!(
                    "{roles}, nor bars, a time signature or a key; write it as \"bridge, 8 bars, F minor, 3/4\""
                ));
            }
            _ => return Err(format!("{rest:?} is one too many")),
        }
    }
    Ok(spec)
}

/// Takes "8 bars" out of a text, wherever it stands.
fn take_bars(text: &str, spec: &mut SectionSpec) -> Result<String, String> {
    let mut said: Vec<&str> = text.split_whitespace().collect();
    let is_unit = |each: &&str| each.eq_ignore_ascii_case("bars") || each.eq_ignore_ascii_case("bar");
    if let Some(unit) = said.iter().position(is_unit) {
        let number = unit.checked_sub(1).and_then(|before| said[before].parse().ok()).filter(|bars| *bars > 0);
        let bars = number.ok_or_else(|| format!("{text:?}: write the bars as a number, as 8 bars"))?;
        if spec.bars > 0 {
            return Err(format!("{text:?}: the bars are said twice"));
        }
        spec.bars = bars;
        said.drain(unit - 1..=unit);
    }
    Ok(said.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Result<(String, u32, Option<String>, Option<u32>), String> {
        read_spec(text).map(|spec| {
            (words::role(spec.role), spec.bars, spec.key.as_ref().map(words::key), spec.metre.map(|each| each.beats))
        })
    }

    #[test]
    fn a_section_is_said_in_the_order_in_which_it_comes_to_mind() {
        let bridge = Ok(("bridge".into(), 8, None, None));
        for text in ["bridge, 8 bars", "8 bars bridge", "8 bars, bridge", "Bridge 8 Bars", " bridge ,8  bar "] {
            assert_eq!(spec(text), bridge, "{text:?}");
        }
        let all = spec("pre-chorus, F# minor, 3/4, 12 bars");
        assert_eq!(all, Ok(("pre-chorus".into(), 12, Some("F# minor".into()), Some(3))));
        assert_eq!(spec(r#"{"role": "ROLE_SOLO", "bars": 4}"#), Ok(("solo".into(), 4, None, None)));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in ["brigde", "8 bars, 4 bars", "bridge, verse", "many bars", "bars", "0 bars", "F minor, G minor"] {
            assert!(read_spec(text).is_err(), "{text:?} was accepted");
        }
        assert!(read_spec(r#"{"rôle": 1}"#).is_err());
        for (read, text) in [
            (read_insert as Read, "2:bridge"),
            (read_insert, "bridge, 8 bars"),
            (read_move, "3"),
            (read_redo, ""),
            (read_redo, "3@"),
            (read_redo, "3@4294967296"),
            (read_redo, "@7"),
            (read_remove, "a b"),
        ] {
            assert!(read(text).is_err(), "{text:?} was accepted");
        }
    }
}
