//! `segue`: make music from a terminal with a Segue service.

mod args;
mod commands;
mod exit;
mod session;
mod ui;
mod values;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{args::Args, exit::CliError, ui::printer::Printer};

fn main() -> ExitCode {
    let args = Args::parse();
    let printer = Printer::new(&args.common);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(commands::run(args, &printer));
            // A thread that waits for a stopped reader must not keep the program alive.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(CliError::from(segue_client::Error::Local { doing: "starting".into(), cause: error })),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error);
            ExitCode::from(error.code())
        }
    }
}
