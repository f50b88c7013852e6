//! The commands: one module for each, and none imports another.

mod analyze;
mod cancel;
mod completions;
mod compose;
mod delete;
mod doctor;
mod download;
mod edit;
mod get;
mod list;
mod master;
mod models;
mod plan;
mod retry;
mod separate;
mod stats;
mod usage;
mod watch;

use crate::{
    args::{Args, Command},
    exit::CliError,
    session::settings,
    ui::printer::Printer,
};

/// Runs the command of the command line.
pub async fn run(args: Args, printer: &Printer) -> Result<(), CliError> {
    if let Command::Completions { shell } = args.command {
        return completions::run(shell);
    }
    let server = settings::server(&args.common)?;
    match args.command {
        Command::Compose(args) => Box::pin(compose::run(&server, printer, *args)).await,
        Command::Edit(args) => Box::pin(edit::run(&server, printer, *args)).await,
        Command::Retry(args) => Box::pin(retry::run(&server, printer, args)).await,
        Command::Watch(args) => Box::pin(watch::run(&server, printer, args)).await,
        Command::Plan(args) => Box::pin(plan::run(&server, printer, *args)).await,
        Command::List(args) => list::run(&server, printer, args).await,
        Command::Get { name } => get::run(&server, printer, &name).await,
        Command::Cancel { names } => cancel::run(&server, printer, &names).await,
        Command::Delete { names, yes } => delete::run(&server, printer, &names, yes).await,
        Command::Download(args) => download::run(&server, printer, args).await,
        Command::Analyze(args) => analyze::run(&server, printer, &args).await,
        Command::Master(args) => Box::pin(master::run(&server, printer, args)).await,
        Command::Separate(args) => Box::pin(separate::run(&server, printer, args)).await,
        Command::Models => models::run(&server, printer).await,
        Command::Usage(args) => usage::run(&server, printer, args).await,
        Command::Stats => stats::run(&server, printer).await,
        Command::Doctor => doctor::run(&server, printer).await,
        Command::Completions { .. } => Ok(()),
    }
}
