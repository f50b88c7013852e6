//! Downloads the outputs of a composition to local files.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use segue_client::{
    Connection, Error, formats,
    proto::segue::{
        audio::v1::FileFormat,
        composer::v1::{Composition, GetCompositionRequest, Output, OutputKind},
    },
    sanitize,
};
use serde_json::json;

use super::{
    file_names::{free_path, safe_part},
    settings::Server,
};
use crate::{
    exit::CliError,
    ui::{format, live_display::LiveDisplay, printer::Printer},
};

/// The longest time without data during a download.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);

/// Saves the master of a finished composition to `path`, and its other outputs beside it.
pub async fn save(
    server: &Server,
    printer: &Printer,
    composition: &Composition,
    (path, format): (&Path, FileFormat),
    force: bool,
) -> Result<(), CliError> {
    let files = local_files(composition, path, format);
    if !files.iter().any(|(_, file)| file == path) {
        let names: Vec<String> = composition.outputs.iter().map(|output| sanitize(&output.name)).collect();
        let text = format!("{} has no master in this format", composition.name);
        return Err(CliError::new(CliError::REFUSED, text, format!("its files are {}", names.join(", "))));
    }
    for (output, file) in files {
        // The path of the master was checked before the work began. The others are known only now.
        let file = if force || file == path { file } else { free_path(&file) };
        match fetch(&server.connection, printer, &output, &file).await {
            // The last event may have been damaged on its way.
            Err(CliError::Client(Error::ContractViolation(_))) => {
                let output = Box::pin(reload(&server.connection, composition, &output)).await?;
                fetch(&server.connection, printer, &output, &file).await?;
            }
            other => other?,
        }
    }
    Ok(())
}

async fn reload(connection: &Connection, composition: &Composition, output: &Output) -> Result<Output, CliError> {
    let request = GetCompositionRequest { name: composition.name.clone() };
    let fresh = connection.open().await?.get_composition(request).await?.composition.unwrap_or_default();
    Ok(fresh.outputs.into_iter().find(|each| each.name == output.name).unwrap_or_else(|| output.clone()))
}

/// The outputs of a composition and the local file of each, beside the master at `path`.
fn local_files(composition: &Composition, path: &Path, format: FileFormat) -> Vec<(Output, PathBuf)> {
    let mut has_master = false;
    let mut found = Vec::new();
    for output in &composition.outputs {
        let file = match OutputKind::try_from(output.kind) {
            Ok(OutputKind::Master) if !has_master && formats::of_name(Path::new(&output.name)) == Some(format) => {
                has_master = true;
                path.to_owned()
            }
            Ok(OutputKind::Stem) => {
                let extension = Path::new(&output.name).extension().and_then(|each| each.to_str()).unwrap_or("flac");
                path.with_extension(format!("{}.{extension}", safe_part(&output.layer)))
            }
            Ok(OutputKind::Midi) => path.with_extension("mid"),
            Ok(OutputKind::Lrc) => path.with_extension("lrc"),
            _ => continue,
        };
        found.push((output.clone(), file));
    }
    found
}

/// Downloads one output.
pub async fn fetch(connection: &Connection, printer: &Printer, output: &Output, path: &Path) -> Result<(), CliError> {
    let mut display = printer.is_live.then(LiveDisplay::default);
    let name = path.display().to_string();
    let show = |bytes| {
        if let Some(display) = &mut display {
            display.show_transfer(&name, bytes, output.size_bytes);
        }
    };
    segue_client::download(connection, output, path, SILENCE_LIMIT, show).await?;
    drop(display);
    printer.note(&describe(output, path));
    printer.client_event("", json!({"saved": path.display().to_string(), "output": output.name}))
}

fn describe(output: &Output, path: &Path) -> String {
    let mut facts = vec![path.display().to_string()];
    if output.sample_rate > 0 {
        facts.push(format::clock(output.frames as f64 / f64::from(output.sample_rate)));
        facts.push(format!("{} Hz", output.sample_rate));
    }
    if output.bit_depth > 0 {
        facts.push(format!("{} bit", output.bit_depth));
    }
    facts.push(format::size(output.size_bytes));
    facts.join(", ")
}
