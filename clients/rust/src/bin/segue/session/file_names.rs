//! The names of local files: formats and their endings, free names, and questions before a file is replaced.

use std::path::{Path, PathBuf};

use segue_client::{formats, proto::segue::audio::v1::FileFormat};

use crate::{exit::CliError, ui::prompt};

/// The longest name that is made from a prompt.
const MAX_NAME: usize = 40;

/// The format of an output file: that of --format, else that of the name.
pub fn output_format(path: &Path, format: Option<FileFormat>) -> Result<FileFormat, CliError> {
    match (formats::of_name(path), format) {
        (Some(named), Some(format)) if named != format => Err(CliError::usage(
            format!("{}: the name contradicts --format {}", path.display(), formats::name(format)),
            "change the name, or leave out --format",
        )),
        (named, format) => format.or(named).ok_or_else(|| {
            let text = format!("{}: the name has no known audio file format", path.display());
            CliError::usage(text, format!("use {}", formats::list()))
        }),
    }
}

/// Fails if a file exists, unless `force` is set or the user agrees.
pub fn check_free(path: &Path, force: bool) -> Result<(), CliError> {
    if path.is_dir() {
        return Err(CliError::usage(format!("{} is a folder", path.display()), "name a file in this folder"));
    }
    if force || !path.exists() || prompt::confirm(&format!("{} exists. Replace it?", path.display())) {
        return Ok(());
    }
    let text = format!("{} exists", path.display());
    Err(CliError::usage(text, "use --force to replace it, or choose another name with -o"))
}

/// Makes a free file name from a title or a prompt.
pub fn free_name(title: &str, format: FileFormat) -> PathBuf {
    let mut name = String::new();
    for each in title.chars().flat_map(char::to_lowercase) {
        if each.is_alphanumeric() {
            name.push(each);
        } else if !name.ends_with('-') && !name.is_empty() {
            name.push('-');
        }
        if name.len() >= MAX_NAME {
            break;
        }
    }
    let name = match name.trim_end_matches('-') {
        "" => "segue",
        name => name,
    };
    free_path(Path::new(&format!("{name}.{}", formats::name(format))))
}

/// The path of the draft while `path` is made. Without `force` it replaces no earlier draft.
pub fn draft_path(path: &Path, force: bool) -> PathBuf {
    let wanted = path.with_extension("draft.wav");
    if force { wanted } else { free_path(&wanted) }
}

/// Returns this path, or one with a number if it exists.
pub fn free_path(path: &Path) -> PathBuf {
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

/// Makes a part of a file name that cannot lead to another folder, whatever the server sends.
pub fn safe_part(text: &str) -> String {
    let safe: String =
        text.chars().map(|each| if each.is_alphanumeric() || "._-".contains(each) { each } else { '-' }).collect();
    match safe.trim_start_matches('.') {
        "" => "part".to_owned(),
        safe => safe.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_choose_another_folder() {
        for name in ["../../etc/passwd", "/etc/passwd", "..", ".bashrc", "a/b", "", "\x1b[2J"] {
            let part = safe_part(name);
            assert!(!part.contains('/') && !part.starts_with('.') && !part.is_empty(), "{name:?} became {part:?}");
        }
    }

    #[test]
    fn file_names_are_made_from_the_prompt() {
        assert_eq!(free_name("Rainy lo-fi, 82 bpm!", FileFormat::Flac), Path::new("rainy-lo-fi-82-bpm.flac"));
        assert_eq!(free_name("../..", FileFormat::Mp3), Path::new("segue.mp3"));
    }

    #[test]
    fn the_format_comes_from_the_flag_or_the_name_and_both_must_agree() {
        let format = |name: &str, format| output_format(Path::new(name), format).ok();
        assert_eq!(format("song.OGG", None), Some(FileFormat::OggOpus));
        assert_eq!(format("song.ogg", Some(FileFormat::OggOpus)), Some(FileFormat::OggOpus));
        assert_eq!(format("song", Some(FileFormat::Mp3)), Some(FileFormat::Mp3));
        assert_eq!(format("song.audio", Some(FileFormat::Wav)), Some(FileFormat::Wav));
        assert_eq!(format("song.flac", Some(FileFormat::Mp3)), None);
        assert_eq!(format("song", None), None);
    }
}
