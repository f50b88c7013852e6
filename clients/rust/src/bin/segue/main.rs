//! `segue`: music from a terminal, by a Segue service.

mod analyze;
mod args;
mod board;
mod compose;
#[cfg(feature = "play")]
mod device;
mod doctor;
mod draw;
mod edit;
mod exit;
mod feed;
mod follow;
mod interrupts;
mod job;
mod line;
mod names;
mod outline;
mod outputs;
mod painter;
mod plan;
#[cfg(not(feature = "play"))]
mod player;
mod pool;
mod resources;
mod settings;
mod spec;
mod talk;
mod together;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    args::{Args, Command},
    exit::Stop,
    talk::Talk,
};

fn main() -> ExitCode {
    let args = Args::parse();
    let talk = Talk::new(&args.common);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(args, &talk));
            // A thread that waits for a stopped reader must not keep the program alive.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Stop::from(segue_client::Error::Local { doing: "starting".into(), cause: error })),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            talk.complain(&stop);
            ExitCode::from(stop.code())
        }
    }
}

async fn run(args: Args, talk: &Talk) -> Result<(), Stop> {
    if let Command::Completions { shell } = args.command {
        return args::print_completions(shell);
    }
    let reach = settings::reach(&args.common)?;
    match args.command {
        Command::Compose(asked) => Box::pin(compose::compose(&reach, talk, *asked)).await,
        Command::Edit(asked) => Box::pin(edit::edit(&reach, talk, *asked)).await,
        Command::Watch(asked) => Box::pin(compose::watch(&reach, talk, asked)).await,
        Command::Plan(asked) => plan::plan(&reach, talk, *asked).await,
        Command::List(asked) => resources::list(&reach, talk, asked).await,
        Command::Get { name } => resources::get(&reach, talk, &name).await,
        Command::Cancel { names } => resources::cancel(&reach, talk, &names).await,
        Command::Delete { names, yes } => resources::delete(&reach, talk, &names, yes).await,
        Command::Download(asked) => outputs::download(&reach, talk, asked).await,
        Command::Analyze(asked) => analyze::analyze(&reach, talk, asked).await,
        Command::Master(asked) => Box::pin(analyze::master(&reach, talk, asked)).await,
        Command::Models => pool::models(&reach, talk).await,
        Command::Stats => pool::stats(&reach, talk).await,
        Command::Doctor => doctor::doctor(&reach, talk).await,
        Command::Completions { .. } => Ok(()),
    }
}
