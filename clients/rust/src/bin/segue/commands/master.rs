//! `segue master`: masters an audio file.

use segue_client::{StreamRequest, proto::segue::composer::v1::CreateMasterRequest};

use crate::{
    args::{MasterArgs, options::PlaybackOptions},
    exit::CliError,
    session::{
        file_names,
        job::{Job, Target},
        settings::Server,
        signals::{MAYBE_STARTED, or_interrupted},
        spec, upload,
    },
    ui::{format, printer::Printer},
};

pub async fn run(server: &Server, printer: &Printer, args: MasterArgs) -> Result<(), CliError> {
    let file_format = file_names::output_format(&args.output, args.files.format)?;
    file_names::check_free(&args.output, args.follow.force)?;
    let mut client = server.connection.open().await?;
    let source = or_interrupted(printer, upload::file(&mut client, printer, &args.file)).await?;
    let request = CreateMasterRequest {
        source,
        settings: spec::master(&args.master, None),
        exports: vec![spec::export(&args.files, file_format)],
        request_id: uuid::Uuid::new_v4().to_string(),
    };
    let call = async { Ok(client.create_master(request).await?.composition.unwrap_or_default()) };
    let created = or_interrupted(printer, call).await.inspect_err(|error| {
        if error.is_interruption() {
            printer.note(MAYBE_STARTED);
        }
    })?;
    if let Some(time) = &created.ready_in {
        printer.note(&format::ready(time));
    }
    let job = Job {
        request: StreamRequest::Watch { name: created.name },
        target: Target::File(args.output, file_format),
        has_draft: false,
        playback: PlaybackOptions::default(),
        follow: args.follow,
        detach: args.detach,
        sections_before: Vec::new(),
    };
    Box::pin(job.run(server, printer)).await
}
