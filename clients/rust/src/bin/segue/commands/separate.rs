//! `segue separate`: writes the stems of an audio file or an output into a folder.

use std::{fs, path::Path};

use segue_client::{
    Client, Failure, json,
    proto::segue::composer::v1::{
        CancelSeparationRequest, CreateSeparationRequest, DeleteUploadRequest, GetSeparationRequest, Separation, State,
    },
    sanitize,
};
use tokio::time::{Duration, sleep};

use crate::{
    args::SeparateArgs,
    exit::CliError,
    session::{
        file_names::{check_free, safe_part},
        names, outputs,
        settings::Server,
        signals::or_interrupted,
        upload,
    },
    ui::{format, live_display::LiveDisplay, printer::Printer},
    values,
};

const POLL_INTERVAL: Duration = Duration::from_millis(300);

pub async fn run(server: &Server, printer: &Printer, args: SeparateArgs) -> Result<(), CliError> {
    fs::create_dir_all(&args.output).map_err(|error| {
        CliError::usage(format!("{}: {error}", args.output.display()), "choose another folder with -o")
    })?;
    let mut client = server.connection.open().await?;
    let source = or_interrupted(printer, upload::source(&mut client, printer, &args.file)).await?;
    let is_own = !args.file.starts_with(names::UPLOADS) && source.starts_with(names::UPLOADS);
    let separated = separate(&mut client, printer, &args, &source).await;
    if is_own {
        // Otherwise it expires.
        let _ = client.delete_upload(DeleteUploadRequest { upload: source }).await;
    }
    let separation = separated?;
    if printer.json {
        printer.object(&json::to_value("segue.composer.v1.Separation", &separation)?)?;
    }
    if separation.state != State::Succeeded as i32 {
        let mut failure = Failure::from_rpc(&separation.error.clone().unwrap_or_default());
        if failure.message.is_empty() {
            failure.message = format!("the separation ended in {}", values::state(separation.state));
        }
        return Err(CliError::WorkFailed(Box::new(failure)));
    }
    for output in &separation.outputs {
        let name = output.name.rsplit('/').next().unwrap_or_default();
        let path = args.output.join(Path::new(&safe_part(name)));
        check_free(&path, args.force)?;
        outputs::fetch(&server.connection, printer, output, &path).await?;
    }
    let separator = separation.separator.unwrap_or_default();
    printer.note(&sanitize(&format!("separated by {}", separator.name)));
    Ok(())
}

/// Waits for the stems. A signal cancels the separation.
async fn separate(
    client: &mut Client,
    printer: &Printer,
    args: &SeparateArgs,
    source: &str,
) -> Result<Separation, CliError> {
    let request = CreateSeparationRequest {
        source: source.to_owned(),
        kind: args.stems.kind() as i32,
        file_format: args.format.file_format() as i32,
        request_id: uuid::Uuid::new_v4().to_string(),
    };
    let created = client.create_separation(request).await?.separation.unwrap_or_default();
    let name = created.name.clone();
    let followed = or_interrupted(printer, follow(client, printer, created)).await;
    if followed.as_ref().is_err_and(CliError::is_interruption) {
        client.cancel_separation(CancelSeparationRequest { name }).await?;
    }
    followed
}

async fn follow(client: &mut Client, printer: &Printer, created: Separation) -> Result<Separation, CliError> {
    let mut separation = created;
    let mut is_estimated = false;
    let mut display = printer.is_live.then(LiveDisplay::default);
    // Polling is enough here, and unlike a stream it needs no code to resume.
    while separation.end_time.is_none() && !values::is_final(separation.state) {
        if let Some(display) = &mut display {
            let percent = separation.fraction_done * 100.0;
            let ready = separation.ready_in.as_ref().map_or(String::new(), |time| format!(", {}", format::ready(time)));
            display.show(vec![format!("{}: {percent:.0} %{ready}", values::state(separation.state))]);
        } else if let Some(time) = separation.ready_in.as_ref().filter(|_| !is_estimated) {
            printer.note(&format::ready(time));
            is_estimated = true;
        }
        sleep(POLL_INTERVAL).await;
        let request = GetSeparationRequest { name: separation.name.clone() };
        separation = client.get_separation(request).await?.separation.unwrap_or_default();
    }
    Ok(separation)
}
