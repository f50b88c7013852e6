//! Follows several compositions at once, with one line for each.

use std::time::Instant;

use segue_client::{
    Error, StreamRequest, Update, Watch,
    proto::segue::composer::v1::{AudioSelection, Composition, composition_event::Event},
    sanitize,
};
use serde_json::json;
use tokio::sync::mpsc;

use super::{follow::REDRAW_INTERVAL, job, settings::Server, signals::Signals};
use crate::{
    args::options::FollowOptions,
    exit::CliError,
    ui::{
        board::{Board, Message},
        drawing,
        live_display::{LiveDisplay, Size},
        measurements,
        palette::Palette,
        printer::Printer,
    },
    values,
};

/// What a stream delivers.
enum Delivery {
    Update { cursor: String, update: Update },
    Failed(Error),
}

struct Followers<'a> {
    printer: &'a Printer,
    names: Vec<String>,
    boards: Vec<Board>,
    ends: Vec<Option<Composition>>,
    display: Option<LiveDisplay>,
    first_error: Option<Error>,
}

/// Follows compositions until all have ended.
pub async fn watch_many(
    server: &Server,
    printer: &Printer,
    names: &[String],
    follow: FollowOptions,
) -> Result<(), CliError> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    let (sender, mut receiver) = mpsc::channel(names.len());
    for (index, name) in names.iter().enumerate() {
        let options = job::watch_options(follow, AudioSelection::None);
        let watch = Watch::new(server.connection.clone(), StreamRequest::Watch { name: name.clone() }, options);
        tokio::spawn(deliver(index, watch, sender.clone()));
    }
    drop(sender);
    let boards = names.iter().map(|name| Board { name: name.clone(), ..Board::new() }).collect();
    let ends = vec![None; names.len()];
    let display = printer.is_live.then(LiveDisplay::default);
    let mut followers = Followers { printer, names, boards, ends, display, first_error: None };
    let mut redraw = tokio::time::interval(REDRAW_INTERVAL);
    let mut signals = Signals::listen(printer)?;
    loop {
        tokio::select! {
            delivery = receiver.recv() => match delivery {
                Some((index, Delivery::Update { cursor, update })) => followers.apply(index, &cursor, update)?,
                Some((index, Delivery::Failed(error))) => followers.fail(index, error),
                None => break,
            },
            signal = signals.next() => {
                let names = followers.names.join(" ");
                let text = format!("the compositions continue on the server; to follow them: segue watch {names}");
                followers.note(&text);
                return Err(signal);
            }
            _ = redraw.tick(), if followers.display.is_some() => followers.draw(),
        }
    }
    followers.draw();
    if let Some(display) = &mut followers.display {
        display.keep();
    }
    followers.conclude()
}

async fn deliver(index: usize, mut watch: Watch, sender: mpsc::Sender<(usize, Delivery)>) {
    loop {
        let delivery = match watch.next().await {
            Ok(Some(update)) => Delivery::Update { cursor: watch.cursor().to_owned(), update },
            Ok(None) => return,
            Err(error) => Delivery::Failed(error),
        };
        let is_last = matches!(delivery, Delivery::Failed(_));
        if sender.send((index, delivery)).await.is_err() || is_last {
            return;
        }
    }
}

impl Followers<'_> {
    fn apply(&mut self, index: usize, cursor: &str, update: Update) -> Result<(), CliError> {
        match update {
            Update::Event(event) => {
                self.printer.composition_event(cursor, &event)?;
                match self.boards[index].apply(&event) {
                    Some(Message::Note(text)) => self.note(&format!("{}: {text}", self.label(index))),
                    Some(Message::Step(text)) if self.display.is_none() => {
                        self.note(&format!("{}: {text}", self.label(index)));
                    }
                    _ => {}
                }
                for warning in self.boards[index].new_warnings(&event) {
                    self.note(&format!("{}: {warning}", self.label(index)));
                }
                if let Some(Event::Finished(finished)) = event.event {
                    self.ends[index] = finished.composition;
                }
            }
            Update::Disconnected { cause, wait } => {
                let event = json!({"lost": cause, "waitSeconds": wait.as_secs_f64()});
                self.printer.client_event(&self.names[index], event)?;
                self.boards[index].disconnected = Some(sanitize(&cause));
                self.printer.detail(&format!("connection lost: {cause}"));
            }
            Update::Resumed => {
                self.printer.client_event(&self.names[index], json!({"resumed": true}))?;
                self.boards[index].disconnected = None;
            }
            Update::Skipped => self.printer.detail("skipped an event that this version does not know"),
            Update::Audio(..) | Update::Rewound(..) => {}
        }
        Ok(())
    }

    /// Reports a stream that failed. The others continue.
    fn fail(&mut self, index: usize, error: Error) {
        self.note(&format!("{}: {}", self.label(index), sanitize(&error.to_string())));
        self.boards[index].disconnected = None;
        self.first_error.get_or_insert(error);
    }

    /// The beginning of the id. Titles may be equal.
    fn label(&self, index: usize) -> String {
        let id = self.names[index].trim_start_matches("compositions/");
        id.chars().take(12).collect()
    }

    fn note(&mut self, text: &str) {
        match &mut self.display {
            Some(display) => display.print(&self.printer.palette.paint(Palette::BUSY, text)),
            None if !self.printer.json => self.printer.note(text),
            None => {}
        }
    }

    fn draw(&mut self) {
        let Some(display) = &mut self.display else { return };
        let size = Size::now();
        let columns = size.columns.saturating_sub(1).max(20);
        let now = Instant::now();
        let max_lines = size.lines.saturating_sub(2).max(1);
        let palette = self.printer.palette;
        let mut lines: Vec<String> =
            self.boards.iter().map(|board| drawing::summary(board, columns, palette, now)).collect();
        if lines.len() > max_lines {
            let more = format!("{} more", lines.len() - (max_lines - 1));
            lines.truncate(max_lines - 1);
            lines.push(drawing::omission(palette, columns, &more));
        }
        display.show(lines);
    }

    /// Prints the end of each composition. The worst one decides the exit code.
    fn conclude(self) -> Result<(), CliError> {
        let mut num_failed = 0;
        for (index, composition) in self.ends.iter().enumerate() {
            let Some(composition) = composition else { continue };
            let mut facts = vec![values::state(composition.state)];
            match job::failure(composition) {
                Some(failure) => {
                    num_failed += 1;
                    facts.push(failure.to_string());
                }
                None => facts.extend(measurements::of_composition(composition)),
            }
            if !self.printer.json {
                self.printer.note(&format!("{}: {}", self.label(index), sanitize(&facts.join(", "))));
            }
        }
        match self.first_error {
            Some(error) => Err(CliError::Client(error)),
            None if num_failed > 0 => {
                let text = format!("{num_failed} of {} compositions failed", self.names.len());
                Err(CliError::new(CliError::FAILED, text, "`segue get NAME` shows the error of each"))
            }
            None => Ok(()),
        }
    }
}
