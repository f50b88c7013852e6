//! `segue download`: downloads the files of a composition.

use std::fs;

use segue_client::{
    formats,
    proto::segue::composer::v1::{GetCompositionRequest, Output},
    sanitize,
};

use crate::{
    args::DownloadArgs,
    exit::CliError,
    session::{
        file_names::{check_free, safe_part},
        names, outputs,
        settings::Server,
    },
    ui::printer::Printer,
};

pub async fn run(server: &Server, printer: &Printer, args: DownloadArgs) -> Result<(), CliError> {
    let (name, wanted) = match args.name.split_once("/outputs/") {
        Some((name, wanted)) => (name, Some(wanted)),
        None => (args.name.as_str(), None),
    };
    let mut client = server.connection.open().await?;
    let name = names::find(&mut client, name).await?;
    let answer = client.get_composition(GetCompositionRequest { name: name.clone() }).await?;
    let mut composition = answer.composition.unwrap_or_default();
    composition.outputs.retain(|output| wanted.is_none_or(|wanted| file_name(output) == wanted));
    if composition.outputs.is_empty() {
        let text = format!("{} has no such files yet", sanitize(&args.name));
        return Err(CliError::new(CliError::REFUSED, text, format!("`segue watch {name}` shows its progress")));
    }
    if let Some(format) = formats::of_name(&args.output).filter(|_| wanted.is_none() && !args.output.is_dir()) {
        // As with compose, the path names the master, and the other files go beside it.
        check_free(&args.output, args.force)?;
        return outputs::save(server, printer, &composition, (&args.output, format), args.force).await;
    }
    let is_folder = wanted.is_none() || args.output.is_dir();
    if is_folder {
        fs::create_dir_all(&args.output).map_err(|error| {
            CliError::usage(format!("{}: {error}", args.output.display()), "choose another folder with -o")
        })?;
    }
    for output in &composition.outputs {
        let path = if is_folder { args.output.join(safe_part(file_name(output))) } else { args.output.clone() };
        check_free(&path, args.force)?;
        outputs::fetch(&server.connection, printer, output, &path).await?;
    }
    Ok(())
}

/// The last part of an output's name.
fn file_name(output: &Output) -> &str {
    output.name.rsplit('/').next().unwrap_or_default()
}
