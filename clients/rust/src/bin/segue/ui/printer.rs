//! The printer: messages go to standard error, data goes to standard output.

use std::{
    env,
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
};

use segue_client::{
    json,
    proto::segue::composer::v1::{CompositionEvent, WatchCompositionResponse},
    sanitize,
};
use serde_json::{Value, json};

use super::palette::Palette;
use crate::{
    args::{ColorArg, CommonOptions},
    exit::CliError,
};

/// Writes the messages and the data of a command.
pub struct Printer {
    pub json: bool,
    verbose: bool,
    quiet: bool,
    /// Standard error is a terminal that can move the cursor up. Terminals of Windows are not tested yet.
    pub is_live: bool,
    /// Standard output is a terminal.
    pub is_out_terminal: bool,
    /// The colours of standard error.
    pub palette: Palette,
    /// The colours of standard output.
    pub out_palette: Palette,
    /// The details that were printed before.
    printed_details: Mutex<Vec<String>>,
}

impl Printer {
    pub fn new(options: &CommonOptions) -> Self {
        let has_colour = |is_terminal: bool| match options.color {
            ColorArg::Always => true,
            ColorArg::Never => false,
            ColorArg::Auto => is_terminal && !is_set("NO_COLOR") && !is_dumb(),
        };
        let is_terminal = io::stderr().is_terminal();
        Self {
            json: options.json,
            verbose: options.verbose,
            quiet: options.quiet,
            is_live: cfg!(unix) && is_terminal && !is_dumb() && !options.json && !options.quiet,
            is_out_terminal: io::stdout().is_terminal(),
            palette: Palette { is_on: has_colour(is_terminal) },
            out_palette: Palette { is_on: has_colour(io::stdout().is_terminal()) },
            printed_details: Mutex::new(Vec::new()),
        }
    }

    /// Prints a message, unless --quiet or --json is set.
    pub fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            write_error_line(&text);
        }
    }

    /// Prints a warning, unless --quiet or --json is set.
    pub fn warn(&self, text: &str) {
        let head = self.palette.paint(Palette::BUSY, "warning:");
        self.note(&format!("{head} {}", sanitize(text)));
    }

    /// With --verbose, prints a message once.
    pub fn detail(&self, text: &str) {
        let mut printed = self.printed_details.lock().unwrap_or_else(PoisonError::into_inner);
        if self.verbose && !printed.iter().any(|each| each == text) {
            printed.push(text.to_owned());
            write_error_line(&sanitize(text));
        }
    }

    /// Prints the error that ends the program.
    pub fn error(&self, error: &CliError) {
        if !error.text().is_empty() {
            let head = self.palette.paint(Palette::BAD, "error:");
            write_error_line(&format_args!("{head} {}", sanitize(&error.text())));
        }
        for line in error.details() {
            write_error_line(&format_args!("  {}", sanitize(&line)));
        }
        if !error.hint().is_empty() {
            let head = self.palette.paint(Palette::HINT, "hint:");
            write_error_line(&format_args!("{head} {}", sanitize(&error.hint())));
        }
    }

    /// Writes a line of data.
    #[allow(clippy::unused_self)] // All output goes through the printer.
    pub fn line(&self, text: &str) -> Result<(), CliError> {
        writeln!(io::stdout().lock(), "{text}").map_err(CliError::stdout)
    }

    /// Writes an object as a line of data.
    pub fn object(&self, value: &Value) -> Result<(), CliError> {
        self.line(&json::line(value))
    }

    /// With --json, writes an event of the service.
    pub fn composition_event(&self, cursor: &str, event: &CompositionEvent) -> Result<(), CliError> {
        if !self.json {
            return Ok(());
        }
        let line = WatchCompositionResponse { cursor: cursor.to_owned(), event: Some(event.clone()) };
        self.object(&json::to_value("segue.composer.v1.WatchCompositionResponse", &line)?)
    }

    /// With --json, writes an event of this program.
    pub fn client_event(&self, composition: &str, mut event: Value) -> Result<(), CliError> {
        if !self.json {
            return Ok(());
        }
        if !composition.is_empty() {
            event["composition"] = composition.into();
        }
        self.object(&json!({"client": event}))
    }
}

fn write_error_line(text: &dyn Display) {
    // A closed standard error does not stop the work.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty())
}

fn is_dumb() -> bool {
    env::var_os("TERM").is_some_and(|term| term == "dumb")
}
