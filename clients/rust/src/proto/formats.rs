//! The formats of audio files: names, suffixes and media types, which `build.rs` reads from the contract.

use std::path::Path;

use super::segue::audio::v1::FileFormat;

include!(concat!(env!("OUT_DIR"), "/file_formats.rs"));

/// All formats, in the order of the contract.
pub fn all() -> impl Iterator<Item = FileFormat> {
    TABLE.iter().filter_map(|(number, ..)| FileFormat::try_from(*number).ok())
}

/// The suffixes of a format's file names, without the dot. The first one is usual, and it is the name of the format.
#[must_use]
pub fn suffixes(format: FileFormat) -> &'static [&'static str] {
    row(format).map_or(&[], |(_, suffixes, _)| suffixes)
}

/// The name of a format: its usual suffix, without the dot.
#[must_use]
pub fn name(format: FileFormat) -> &'static str {
    suffixes(format).first().copied().unwrap_or_default()
}

/// The media type of a format.
#[must_use]
pub fn media_type(format: FileFormat) -> &'static str {
    row(format).map_or("application/octet-stream", |(.., media_type)| media_type)
}

/// The format of a file name.
#[must_use]
pub fn of_name(path: &Path) -> Option<FileFormat> {
    let suffix = path.extension()?.to_str()?.to_ascii_lowercase();
    all().find(|format| suffixes(*format).contains(&suffix.as_str()))
}

/// All suffixes in a sentence: ".flac, .wav or .mp3".
#[must_use]
pub fn list() -> String {
    let all: Vec<String> = TABLE.iter().flat_map(|(_, suffixes, _)| *suffixes).map(|each| format!(".{each}")).collect();
    match all.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn row(format: FileFormat) -> Option<&'static (i32, &'static [&'static str], &'static str)> {
    TABLE.iter().find(|(number, ..)| *number == format as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_contract() {
        assert_eq!(of_name(Path::new("song.FLAC")), Some(FileFormat::Flac));
        assert_eq!(of_name(Path::new("song.ogg")), Some(FileFormat::OggOpus));
        assert_eq!(of_name(Path::new("song.xyz")), None);
        assert_eq!(name(FileFormat::OggOpus), "opus");
        assert_eq!(media_type(FileFormat::Mp3), "audio/mpeg");
        assert!(list().starts_with(".flac, .wav") && list().contains(" or ."), "{}", list());
    }
}
