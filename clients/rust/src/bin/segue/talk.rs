//! What the program says: talk on standard error, data on standard output.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::Mutex,
};

use anstyle::{AnsiColor, Style};
use segue_client::{
    clean, json,
    proto::segue::composer::v1::{CompositionEvent, WatchCompositionResponse},
};
use serde_json::{Value, json};

use crate::{
    args::{Common, When},
    exit::Stop,
};

/// The styles that are used.
#[derive(Clone, Copy)]
pub struct Palette {
    pub is_on: bool,
}

impl Palette {
    pub const BAD: Style = AnsiColor::Red.on_default().bold();
    pub const HINT: Style = AnsiColor::Cyan.on_default();
    pub const GOOD: Style = AnsiColor::Green.on_default();
    pub const BUSY: Style = AnsiColor::Yellow.on_default();
    pub const DIM: Style = Style::new().dimmed();
    pub const BOLD: Style = Style::new().bold();
    pub const PLAIN: Style = Style::new();

    pub fn paint(self, style: Style, text: &str) -> String {
        if self.is_on && !style.is_plain() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Where a command's words go.
pub struct Talk {
    pub json: bool,
    pub verbose: bool,
    quiet: bool,
    /// Standard error is a terminal that understands how to go up a line; nobody has looked at those of Windows yet.
    pub is_live: bool,
    /// Standard output is read by a person.
    pub is_out_terminal: bool,
    /// The colours of standard error.
    pub palette: Palette,
    /// The colours of standard output.
    pub out_palette: Palette,
    mentioned: Mutex<Vec<String>>,
}

impl Talk {
    pub fn new(common: &Common) -> Self {
        let has_colour = |is_terminal: bool| match common.color {
            When::Always => true,
            When::Never => false,
            When::Auto => is_terminal && !is_set("NO_COLOR") && !is_dumb(),
        };
        let is_terminal = io::stderr().is_terminal();
        Self {
            json: common.json,
            verbose: common.verbose,
            quiet: common.quiet,
            is_live: cfg!(unix) && is_terminal && !is_dumb() && !common.json && !common.quiet,
            is_out_terminal: io::stdout().is_terminal(),
            palette: Palette { is_on: has_colour(is_terminal) },
            out_palette: Palette { is_on: has_colour(io::stdout().is_terminal()) },
            mentioned: Mutex::new(Vec::new()),
        }
    }

    /// Says something that is good to know; with --json it is told in other ways.
    pub fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            self.err(&text);
        }
    }

    /// Says something that should not be missed.
    pub fn warn(&self, text: &str) {
        let head = self.palette.paint(Palette::BUSY, "note:");
        self.note(&format!("{head} {}", clean(text)));
    }

    /// Says something the first time only, and only to who asked for more.
    pub fn mention(&self, text: &str) {
        let mut mentioned = self.mentioned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.verbose && !mentioned.iter().any(|each| each == text) {
            mentioned.push(text.to_owned());
            self.err(&clean(text));
        }
    }

    /// Says why the program ends.
    pub fn complain(&self, stop: &Stop) {
        if !stop.text().is_empty() {
            let head = self.palette.paint(Palette::BAD, "error:");
            self.err(&format_args!("{head} {}", clean(&stop.text())));
        }
        for line in stop.details() {
            self.err(&format_args!("  {}", clean(&line)));
        }
        if !stop.hint().is_empty() {
            let head = self.palette.paint(Palette::HINT, "hint:");
            self.err(&format_args!("{head} {}", clean(&stop.hint())));
        }
    }

    /// Writes a line of data.
    pub fn line(&self, text: &str) -> Result<(), Stop> {
        writeln!(io::stdout().lock(), "{text}").map_err(Stop::stdout)
    }

    /// Writes an object as a line of data.
    pub fn object(&self, value: &Value) -> Result<(), Stop> {
        self.line(&json::line(value))
    }

    /// With --json, writes an event of a composition as the service sent it.
    pub fn composition_event(&self, cursor: &str, event: &CompositionEvent) -> Result<(), Stop> {
        if !self.json {
            return Ok(());
        }
        let line = WatchCompositionResponse { cursor: cursor.to_owned(), event: Some(event.clone()) };
        self.object(&json::to_value("segue.composer.v1.WatchCompositionResponse", &line)?)
    }

    /// With --json, writes what happened here and not at the service.
    pub fn client_event(&self, composition: &str, mut what: Value) -> Result<(), Stop> {
        if !self.json {
            return Ok(());
        }
        if !composition.is_empty() {
            what["composition"] = composition.into();
        }
        self.object(&json!({"client": what}))
    }

    /// Asks for a yes; without a terminal the answer is no.
    pub fn confirm(&self, question: &str) -> bool {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return false;
        }
        let _ = write!(io::stderr(), "{} [y/N] ", clean(question));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
    }

    fn err(&self, text: &dyn std::fmt::Display) {
        // Who closed standard error does not want to hear; the work is not worth less for it.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
