//! Audio files that are sent to the service.

use std::{fs, path::Path};

use segue_client::{Client, formats};

use crate::{
    exit::CliError,
    ui::{live_display::LiveDisplay, printer::Printer},
};

/// Returns the name of an output or an upload, or uploads a local file.
pub async fn source(client: &mut Client, printer: &Printer, text: &str) -> Result<String, CliError> {
    let is_name = text.starts_with("compositions/") || text.starts_with("uploads/");
    if is_name && !Path::new(text).exists() {
        return Ok(text.to_owned());
    }
    file(client, printer, Path::new(text)).await
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
