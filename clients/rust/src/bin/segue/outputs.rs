//! A composition's files: where they go, and how they get there.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use segue_client::{
    Connection, Error, clean,
    proto::segue::composer::v1::{Composition, GetCompositionRequest, Output, OutputKind},
};
use serde_json::json;

use crate::{
    args::{Download, FileKind},
    exit::Stop,
    names,
    painter::Painter,
    settings::Reach,
    talk::Talk,
    words,
};

/// How long a server may say nothing in the middle of a file.
const PATIENCE: Duration = Duration::from_secs(20);

/// The kind of file that a name asks for.
pub fn kind_of(path: &Path) -> Option<FileKind> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "flac" => Some(FileKind::Flac),
        "wav" => Some(FileKind::Wav),
        "opus" | "ogg" => Some(FileKind::Opus),
        "mp3" => Some(FileKind::Mp3),
        _ => None,
    }
}

pub fn extension(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Flac => "flac",
        FileKind::Wav => "wav",
        FileKind::Opus => "opus",
        FileKind::Mp3 => "mp3",
    }
}

/// Refuses to replace a file unless that was asked for, on the command line or now.
pub fn check_free(path: &Path, force: bool, talk: &Talk) -> Result<(), Stop> {
    if path.is_dir() {
        return Err(Stop::usage(format!("{} is a folder", path.display()), "name a file in it"));
    }
    if force || !path.exists() || talk.confirm(&format!("{} exists. Replace it?", path.display())) {
        return Ok(());
    }
    Err(Stop::usage(format!("{} exists", path.display()), "--force replaces it, or choose another name with -o"))
}

/// A name that is free, made from words.
pub fn free_name(words: &str, kind: FileKind) -> PathBuf {
    let mut slug = String::new();
    for each in words.chars().flat_map(char::to_lowercase) {
        if each.is_alphanumeric() {
            slug.push(each);
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
        if slug.len() >= 40 {
            break;
        }
    }
    let slug = match slug.trim_end_matches('-') {
        "" => "segue",
        slug => slug,
    };
    free_beside(Path::new(&format!("{slug}.{}", extension(kind))))
}

/// Where the draft stands while `path` is made. One that was kept is not written over unless that was asked for.
pub fn draft_path(path: &Path, force: bool) -> PathBuf {
    let wanted = path.with_extension("draft.wav");
    if force { wanted } else { free_beside(&wanted) }
}

/// This path, or when it is taken, one with a number.
fn free_beside(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let numbered = |number: u32| path.with_file_name(format!("{stem}-{number}.{extension}"));
    let is_free = |path: &PathBuf| !path.exists();
    if is_free(&path.to_owned()) {
        path.to_owned()
    } else {
        (2..10_000).map(numbered).find(is_free).unwrap_or_else(|| path.to_owned())
    }
}

/// Brings a finished composition's files home, the master to `path` and the others beside it.
pub async fn save(reach: &Reach, talk: &Talk, composition: &Composition, path: &Path, force: bool) -> Result<(), Stop> {
    let places = places(composition, path);
    if !places.iter().any(|(_, place)| place == path) {
        let names: Vec<String> = composition.outputs.iter().map(|output| clean(&output.name)).collect();
        let text = format!("{} has no master of that kind", composition.name);
        return Err(Stop::wrong(Stop::REFUSED, text, format!("its files are: {}", names.join(", "))));
    }
    for (output, place) in places {
        // The master's place was asked for; those of the others are found out only now.
        let place = if force || place == path { place } else { free_beside(&place) };
        match fetch(&reach.connection, talk, &output, &place).await {
            // What the last event said of the file may be what was damaged.
            Err(Stop::Error(Error::Untrusted(_))) => {
                let output = Box::pin(ask_again(&reach.connection, composition, &output)).await?;
                fetch(&reach.connection, talk, &output, &place).await?;
            }
            other => other?,
        }
    }
    Ok(())
}

async fn ask_again(connection: &Connection, composition: &Composition, output: &Output) -> Result<Output, Stop> {
    let request = GetCompositionRequest { name: composition.name.clone() };
    let fresh = connection.open().await?.get_composition(request).await?.composition.unwrap_or_default();
    Ok(fresh.outputs.into_iter().find(|each| each.name == output.name).unwrap_or_else(|| output.clone()))
}

/// A finished composition's outputs and where each is to be stored, beside the master at `path`.
pub fn places(composition: &Composition, path: &Path) -> Vec<(Output, PathBuf)> {
    let wanted = kind_of(path);
    let mut has_master = false;
    let mut found = Vec::new();
    for output in &composition.outputs {
        let place = match OutputKind::try_from(output.kind) {
            Ok(OutputKind::Master) if !has_master && kind_of(Path::new(&output.name)) == wanted => {
                has_master = true;
                path.to_owned()
            }
            Ok(OutputKind::Stem) => {
                let extension = Path::new(&output.name).extension().and_then(|each| each.to_str()).unwrap_or("flac");
                path.with_extension(format!("{}.{extension}", file_part(&output.layer)))
            }
            Ok(OutputKind::Midi) => path.with_extension("mid"),
            _ => continue,
        };
        found.push((output.clone(), place));
    }
    found
}

/// A part of a file's name that cannot lead elsewhere, whatever a server says.
fn file_part(text: &str) -> String {
    let safe: String =
        text.chars().map(|each| if each.is_alphanumeric() || "._-".contains(each) { each } else { '-' }).collect();
    match safe.trim_start_matches('.') {
        "" => "part".to_owned(),
        safe => safe.to_owned(),
    }
}

/// Fetches one output.
pub async fn fetch(connection: &Connection, talk: &Talk, output: &Output, path: &Path) -> Result<(), Stop> {
    let mut painter = talk.is_live.then(Painter::default);
    let doing = path.display().to_string();
    let seen = |bytes| {
        if let Some(painter) = &mut painter {
            painter.show_transfer(&doing, bytes, output.size_bytes);
        }
    };
    segue_client::download(connection, output, path, PATIENCE, seen).await?;
    drop(painter);
    talk.note(&describe(output, path));
    talk.client_event("", json!({"saved": path.display().to_string(), "output": output.name}))
}

fn describe(output: &Output, path: &Path) -> String {
    let mut facts = vec![path.display().to_string()];
    if output.sample_rate > 0 {
        facts.push(words::clock(output.frames as f64 / f64::from(output.sample_rate)));
        facts.push(format!("{} Hz", output.sample_rate));
    }
    if output.bit_depth > 0 {
        facts.push(format!("{} bit", output.bit_depth));
    }
    facts.push(words::size(output.size_bytes));
    facts.join(", ")
}

/// `segue download`.
pub async fn download(reach: &Reach, talk: &Talk, asked: Download) -> Result<(), Stop> {
    let (name, wanted) = match asked.name.split_once("/outputs/") {
        Some((name, wanted)) => (name, Some(wanted)),
        None => (asked.name.as_str(), None),
    };
    let mut client = reach.connection.open().await?;
    let name = names::find(&mut client, name).await?;
    let answer = client.get_composition(GetCompositionRequest { name: name.clone() }).await?;
    let mut composition = answer.composition.unwrap_or_default();
    composition.outputs.retain(|output| wanted.is_none_or(|wanted| file_name(output) == wanted));
    if composition.outputs.is_empty() {
        let text = format!("{} has no such files yet", clean(&asked.name));
        return Err(Stop::wrong(Stop::REFUSED, text, format!("`segue watch {name}` says how far it is")));
    }
    let is_song = wanted.is_none() && kind_of(&asked.output).is_some() && !asked.output.is_dir();
    if is_song {
        // It is meant as compose means it: the master there, the others beside it.
        check_free(&asked.output, asked.force, talk)?;
        return save(reach, talk, &composition, &asked.output, asked.force).await;
    }
    let is_folder = wanted.is_none() || asked.output.is_dir();
    if is_folder {
        fs::create_dir_all(&asked.output).map_err(|error| {
            Stop::usage(format!("{}: {error}", asked.output.display()), "choose another place with -o")
        })?;
    }
    for output in &composition.outputs {
        let path = if is_folder { asked.output.join(file_part(file_name(output))) } else { asked.output.clone() };
        check_free(&path, asked.force, talk)?;
        fetch(&reach.connection, talk, output, &path).await?;
    }
    Ok(())
}

/// The last part of an output's name.
fn file_name(output: &Output) -> &str {
    output.name.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_choose_a_place_outside() {
        for name in ["../../etc/passwd", "/etc/passwd", "..", ".bashrc", "a/b", "", "\x1b[2J"] {
            let part = file_part(name);
            assert!(!part.contains('/') && !part.starts_with('.') && !part.is_empty(), "{name:?} became {part:?}");
        }
    }

    #[test]
    fn names_are_made_of_the_prompt() {
        assert_eq!(free_name("Rainy lo-fi, 82 bpm!", FileKind::Flac), Path::new("rainy-lo-fi-82-bpm.flac"));
        assert_eq!(free_name("../..", FileKind::Mp3), Path::new("segue.mp3"));
    }
}
