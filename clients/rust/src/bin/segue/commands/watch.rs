//! `segue watch`: follows one or more compositions.

use segue_client::StreamRequest;

use crate::{
    args::WatchArgs,
    exit::CliError,
    session::{
        job::{Job, Target},
        names,
        settings::Server,
        watch_many::watch_many,
    },
    ui::printer::Printer,
};

pub async fn run(server: &Server, printer: &Printer, args: WatchArgs) -> Result<(), CliError> {
    for name in &args.names {
        names::check(name)?;
    }
    let needs_audio = args.output.is_some() || args.playback.play || args.playback.keep_draft;
    if args.names.len() > 1 && needs_audio {
        let text = "-o, --play and --keep-draft work with one composition only";
        return Err(CliError::usage(text, "watch one of the compositions"));
    }
    let target = Target::named(args.output, args.follow.force)?;
    let mut client = server.connection.open().await?;
    let mut names = Vec::new();
    for name in &args.names {
        names.push(names::find(&mut client, name).await?);
    }
    let [name] = names.as_slice() else {
        return watch_many(server, printer, &names, args.follow).await;
    };
    let job = Job {
        request: StreamRequest::Watch { name: name.clone() },
        has_draft: args.playback.play || !matches!(target, Target::None),
        target,
        playback: args.playback,
        follow: args.follow,
        // Ctrl-C ends the watching only: another program may own the composition.
        detach: true,
        sections_before: Vec::new(),
    };
    Box::pin(job.run(server, printer)).await
}
