//! Follows one composition: stores its draft, shows its progress, and reacts to signals.

use std::time::{Duration, Instant};

use segue_client::{
    Error, Update, Watch,
    proto::segue::{
        audio::v1::Stage,
        composer::v1::{Composition, State, composition_event::Event},
    },
    sanitize,
};
use serde_json::json;

use self::{
    cancellation::Cancellation,
    interruption::{Interruption, Reaction},
};
use super::{settings::Server, signals::Signals, sound::Sound};
use crate::{
    exit::CliError,
    ui::{
        board::{Board, Message},
        drawing, format,
        live_display::{LiveDisplay, Size},
        palette::Palette,
        printer::Printer,
    },
};

mod cancellation;
mod interruption;

/// Plain output reports a lost connection after this many attempts.
const ATTEMPTS_BEFORE_MESSAGE: u32 = 4;
/// The time between two drawings.
pub const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// The end of a composition.
pub struct End {
    pub composition: Composition,
    /// The user pressed Ctrl-C, and the service cancelled the composition.
    pub was_cancelled_here: bool,
}

/// Follows a stream to the composition's end.
pub async fn follow(
    server: &Server,
    printer: &Printer,
    watch: &mut Watch,
    sound: &mut Sound,
    signals: &mut Signals,
    detach: bool,
) -> Result<End, CliError> {
    let mut follower = Follower {
        server,
        printer,
        board: Board::new(),
        display: printer.is_live.then(LiveDisplay::default),
        interruption: Interruption::new(detach),
        cancellation: Cancellation::default(),
        num_attempts: 0,
        end: None,
    };
    let outcome = follower.run(watch, sound, signals).await;
    if let Err(error) = &outcome {
        follower.note_unfinished(error);
    }
    follower.keep_drawing();
    outcome?;
    let composition = follower.end.ok_or(CliError::Interrupted)?;
    let was_cancelled_here = follower.interruption.is_requested() && composition.state == State::Cancelled as i32;
    Ok(End { composition, was_cancelled_here })
}

struct Follower<'a> {
    server: &'a Server,
    printer: &'a Printer,
    board: Board,
    display: Option<LiveDisplay>,
    interruption: Interruption,
    cancellation: Cancellation,
    /// The attempts since the connection broke.
    num_attempts: u32,
    end: Option<Composition>,
}

impl Follower<'_> {
    async fn run(&mut self, watch: &mut Watch, sound: &mut Sound, signals: &mut Signals) -> Result<(), CliError> {
        let mut redraw = tokio::time::interval(REDRAW_INTERVAL);
        redraw.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                update = watch.next() => match update? {
                    Some(update) => self.apply(watch, update, sound)?,
                    None => break,
                },
                end = sound.reader_end() => {
                    sound.reader = None;
                    self.reader_ended(end, sound.is_stdout)?;
                }
                signal = signals.next() => {
                    let reaction = self.interruption.on_signal(&signal, watch.name(), watch.was_sent());
                    self.react(reaction, signal, watch.name())?;
                }
                answer = self.cancellation.answer() => self.cancellation_answered(answer),
                _ = redraw.tick(), if self.display.is_some() => self.draw(),
            }
        }
        if let Some(draft) = &mut sound.draft {
            draft.complete()?;
        }
        Ok(())
    }

    fn apply(&mut self, watch: &Watch, update: Update, sound: &mut Sound) -> Result<(), CliError> {
        match update {
            Update::Audio(Stage::Draft, chunk) => {
                if let Some(draft) = &mut sound.draft {
                    draft.append(&chunk)?;
                }
                self.board.received_frames = chunk.first_frame + chunk.frames;
            }
            Update::Audio(..) => {}
            Update::Rewound(stage, first_frame) => {
                let event = json!({"rewound": stage.as_str_name(), "firstFrame": first_frame});
                self.printer.client_event(watch.name(), event)?;
                if stage == Stage::Draft {
                    self.rewind(first_frame, sound)?;
                }
            }
            Update::Event(event) => {
                self.printer.composition_event(watch.cursor(), &event)?;
                let message = self.board.apply(&event);
                self.print(message);
                for warning in self.board.new_warnings(&event) {
                    self.note(&warning);
                }
                if let Some(Event::Finished(finished)) = event.event {
                    self.end = finished.composition;
                } else if let Some(reaction) = self.interruption.on_name(watch.name()) {
                    self.react(reaction, CliError::Interrupted, watch.name())?;
                }
            }
            Update::Skipped => self.printer.detail("skipped an event that this version does not know"),
            Update::Disconnected { cause, wait } => self.disconnected(watch, &cause, wait)?,
            Update::Resumed => {
                self.printer.client_event(watch.name(), json!({"resumed": true}))?;
                self.board.disconnected = None;
                self.num_attempts = 0;
                self.note("the connection broke and was restored; no data is missing");
                if self.interruption.must_cancel_again() {
                    // The first call may not have reached the server.
                    self.cancellation.start(&self.server.connection, watch.name());
                }
            }
        }
        Ok(())
    }

    fn disconnected(&mut self, watch: &Watch, cause: &str, wait: Duration) -> Result<(), CliError> {
        self.printer.client_event(watch.name(), json!({"lost": cause, "waitSeconds": wait.as_secs_f64()}))?;
        self.board.disconnected = Some(sanitize(cause));
        self.num_attempts += 1;
        if self.num_attempts == ATTEMPTS_BEFORE_MESSAGE {
            let text = format!("still trying to reach the server: {}", sanitize(cause));
            self.print(Some(Message::Step(text)));
        }
        self.printer.detail(&format!("connection lost: {cause}"));
        Ok(())
    }

    fn rewind(&mut self, first_frame: i64, sound: &mut Sound) -> Result<(), CliError> {
        self.board.received_frames = self.board.received_frames.min(first_frame);
        let num_read = sound.draft.as_mut().map_or(Ok(0), |draft| draft.truncate(first_frame))?;
        let position = format::clock(first_frame as f64 / f64::from(self.board.sample_rate));
        let text = match (num_read, &sound.reader) {
            (1.., Some(_)) => {
                format!("the draft is made again from {position} on; the part that you heard cannot change")
            }
            _ => format!("the draft is made again from {position} on"),
        };
        self.note(&text);
        Ok(())
    }

    fn reader_ended(&mut self, end: Result<(), Error>, is_stdout: bool) -> Result<(), CliError> {
        match end {
            Ok(()) => Ok(()),
            Err(Error::Local { cause, .. }) if is_stdout => {
                let error = CliError::stdout(cause);
                if matches!(error, CliError::Interrupted) && !self.board.name.is_empty() {
                    let name = &self.board.name;
                    let text = format!("standard output is closed; the composition continues: segue watch {name}");
                    self.note(&text);
                }
                Err(error)
            }
            Err(error) => {
                self.note(&format!("warning: {error}; the work continues without playback"));
                Ok(())
            }
        }
    }

    fn react(&mut self, reaction: Reaction, signal: CliError, name: &str) -> Result<(), CliError> {
        match reaction {
            Reaction::Leave { note } => {
                if let Some(note) = note {
                    self.note(&sanitize(&note));
                }
                Err(signal)
            }
            Reaction::WaitForName => {
                self.note("waiting for the server's answer; press Ctrl-C again to exit at once");
                Ok(())
            }
            Reaction::Cancel => {
                self.note("cancelling; the finished part is kept. Press Ctrl-C again to exit at once");
                self.cancellation.start(&self.server.connection, name);
                Ok(())
            }
        }
    }

    fn cancellation_answered(&mut self, answer: Result<(), Error>) {
        // Without a connection the call fails too. It is repeated after the connection is restored.
        if let Err(error) = answer
            && self.board.disconnected.is_none()
        {
            let error = sanitize(&error.to_string());
            self.note(&format!("the composition could not be cancelled: {error}; press Ctrl-C again to exit"));
        }
    }

    /// After an error, tells how to follow the composition again.
    fn note_unfinished(&mut self, error: &CliError) {
        let name = &self.board.name;
        if !name.is_empty() && matches!(error, CliError::Client(_)) {
            let text = format!("the composition may continue on the server; to follow it: segue watch {name}");
            self.note(&text);
        }
    }

    fn note(&mut self, text: &str) {
        self.print(Some(Message::Note(text.to_owned())));
    }

    fn print(&mut self, message: Option<Message>) {
        match (message, &mut self.display) {
            (Some(Message::Note(text)), Some(display)) => {
                display.print(&self.printer.palette.paint(Palette::BUSY, &text));
            }
            (Some(Message::Note(text) | Message::Step(text)), None) if !self.printer.json => self.printer.note(&text),
            _ => {}
        }
    }

    /// Keeps the last drawing. Without a composition there is nothing to keep.
    fn keep_drawing(&mut self) {
        self.draw();
        match &mut self.display {
            Some(display) if self.board.name.is_empty() => display.clear(),
            Some(display) => display.keep(),
            None => {}
        }
    }

    fn draw(&mut self) {
        if let Some(display) = &mut self.display {
            display.show(drawing::frame(&self.board, Size::now(), self.printer.palette, Instant::now()));
        }
    }
}
