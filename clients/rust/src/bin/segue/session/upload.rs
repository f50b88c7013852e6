//! Audio files that are sent to the service.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use segue_client::{Client, formats};

use crate::{
    exit::CliError,
    ui::{live_display::LiveDisplay, printer::Printer},
};

/// Returns the name of an output or an upload, or uploads a local file.
pub async fn source(client: &mut Client, printer: &Printer, text: &str) -> Result<String, CliError> {
    if is_name(text) {
        return Ok(text.to_owned());
    }
    file(client, printer, Path::new(text)).await
}

fn is_name(text: &str) -> bool {
    ["compositions/", "separations/", "uploads/"].iter().any(|each| text.starts_with(each)) && !Path::new(text).exists()
}

/// What is to be measured.
pub enum Source {
    /// The name of an output, a take or an upload.
    Name(String),
    File(PathBuf),
}

impl Source {
    /// The name or the path as text.
    pub fn text(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// Returns what texts name, with the audio files in folders and below them.
pub fn sources(texts: &[String]) -> Result<Vec<Source>, CliError> {
    let mut found = Vec::new();
    for text in texts {
        let path = Path::new(text);
        if is_name(text) {
            found.push(Source::Name(text.clone()));
        } else if path.is_dir() {
            let mut inner = Vec::new();
            files_below(path, &mut inner)
                .map_err(|error| CliError::usage(format!("{text}: {error}"), "check the folder"))?;
            if inner.is_empty() {
                let text = format!("{text}: no audio file is in this folder");
                return Err(CliError::usage(text, format!("they end in {}", formats::list())));
            }
            inner.sort();
            found.extend(inner.into_iter().map(Source::File));
        } else {
            let missing = |error| CliError::usage(format!("{text}: {error}"), "check the path");
            fs::metadata(path).map_err(missing)?;
            found.push(Source::File(path.to_owned()));
        }
    }
    Ok(found)
}

/// Collects audio files. Links to folders are not followed, since they may lead in a circle.
fn files_below(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            files_below(&path, found)?;
        } else if formats::of_name(&path).is_some() && path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

/// Uploads a local file and returns the upload's name.
pub async fn file(client: &mut Client, printer: &Printer, path: &Path) -> Result<String, CliError> {
    let media_type = formats::media_type(formats::of_name(path).unwrap_or_default());
    let metadata = fs::metadata(path)
        .map_err(|error| CliError::usage(format!("{}: {error}", path.display()), "check the path"))?;
    if metadata.is_dir() {
        return Err(CliError::usage(format!("{} is a folder", path.display()), "name an audio file"));
    }
    let mut display = printer.is_live.then(LiveDisplay::default);
    let upload = segue_client::upload(client, path, media_type, |bytes| {
        if let Some(display) = &mut display {
            display.show_transfer("uploading", bytes, metadata.len() as i64);
        }
    });
    Ok(upload.await?.name)
}
