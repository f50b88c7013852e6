//! `segue retry`: makes a failed or cancelled composition again, as a new one.

use segue_client::{StreamRequest, proto::segue::composer::v1::RetryCompositionRequest, sanitize};

use crate::{
    args::RetryArgs,
    exit::CliError,
    session::{
        job::{Job, Target},
        names,
        settings::Server,
        signals::{MAYBE_STARTED, or_interrupted},
    },
    ui::{printer::Printer, summary},
};

pub async fn run(server: &Server, printer: &Printer, args: RetryArgs) -> Result<(), CliError> {
    let target = Target::named(args.output, args.follow.force)?;
    let has_file = !matches!(target, Target::None);
    let mut client = server.connection.open().await?;
    let name = names::find(&mut client, &args.name).await?;
    let request = RetryCompositionRequest { name, request_id: uuid::Uuid::new_v4().to_string() };
    let call = async { Ok(client.retry_composition(request).await?.composition.unwrap_or_default().name) };
    let name = or_interrupted(printer, call).await.inspect_err(|error| {
        if error.is_interruption() {
            printer.note(MAYBE_STARTED);
        }
    })?;
    let job = Job {
        request: StreamRequest::Watch { name: name.clone() },
        has_draft: args.playback.play || has_file,
        target,
        playback: args.playback,
        follow: args.follow,
        detach: args.detach,
        sections_before: Vec::new(),
    };
    Box::pin(job.run(server, printer)).await?;
    if !has_file {
        printer.note(&format!("the finished files are on the server: segue download {}", sanitize(summary::id(&name))));
    }
    Ok(())
}
