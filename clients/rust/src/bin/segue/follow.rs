//! Follows one composition: keeps the sound, shows the progress, and listens for Ctrl-C.

use std::time::{Duration, Instant};

use segue_client::{
    Connection, Error, Update, Watch, clean,
    proto::segue::{
        audio::v1::Stage,
        composer::v1::{CancelCompositionRequest, Composition, composition_event::Event},
    },
};
use serde_json::json;

use crate::{
    board::{Board, Said},
    draw,
    exit::Stop,
    feed::{Draft, Feed},
    interrupts::Interrupts,
    painter::Painter,
    settings::Reach,
    talk::{Palette, Talk},
    words,
};

/// After so many tries in vain the reader of a plain terminal should know.
const PATIENT_TRIES: u32 = 4;
pub const REDRAW: Duration = Duration::from_millis(100);

/// Where the sound goes.
#[derive(Default)]
pub struct Sound {
    /// The draft, in a file.
    pub draft: Option<Draft>,
    /// Who reads the draft on while it grows.
    pub feed: Option<Feed>,
    /// The feed is standard output: when it closes, nobody listens any more.
    pub feeds_stdout: bool,
}

/// How it ended.
pub struct Ended {
    pub composition: Composition,
    /// Ctrl-C was pressed, and the service cancelled it.
    pub was_cancelled_here: bool,
}

/// Follows a stream to the composition's end.
pub async fn follow(reach: &Reach, talk: &Talk, watch: Watch, sound: &mut Sound, detach: bool) -> Result<Ended, Stop> {
    let mut following = Following {
        connection: &reach.connection,
        talk,
        board: Board::new(),
        painter: talk.is_live.then(Painter::default),
        interrupts: 0,
        tries: 0,
        ended: None,
    };
    let outcome = following.run(watch, sound, detach).await;
    following.draw();
    if let Some(painter) = &mut following.painter {
        painter.leave();
    }
    outcome?;
    let composition = following.ended.ok_or(Stop::Interrupted)?;
    Ok(Ended { composition, was_cancelled_here: following.interrupts > 0 })
}

struct Following<'a> {
    connection: &'a Connection,
    talk: &'a Talk,
    board: Board,
    painter: Option<Painter>,
    interrupts: u32,
    tries: u32,
    ended: Option<Composition>,
}

impl Following<'_> {
    async fn run(&mut self, mut watch: Watch, sound: &mut Sound, detach: bool) -> Result<(), Stop> {
        let mut redraw = tokio::time::interval(REDRAW);
        redraw.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut interrupts =
            Interrupts::listen().map_err(|cause| Error::Local { doing: "listening for Ctrl-C".into(), cause })?;
        let mut is_watching = true;
        while is_watching || sound.feed.is_some() {
            tokio::select! {
                update = watch.next(), if is_watching => {
                    if let Some(update) = update.map_err(|error| self.lost_for_good(error))? {
                        self.take(&watch, update, sound)?;
                    } else {
                        is_watching = false;
                        sound.draft.as_mut().map(Draft::complete).transpose()?;
                    }
                }
                ended = closed(&mut sound.feed), if sound.feed.is_some() => {
                    sound.feed = None;
                    self.feed_ended(ended, sound.feeds_stdout, is_watching)?;
                }
                () = interrupts.next() => self.interrupted(detach, is_watching)?,
                _ = redraw.tick(), if self.painter.is_some() => self.draw(),
            }
        }
        Ok(())
    }

    fn take(&mut self, watch: &Watch, update: Update, sound: &mut Sound) -> Result<(), Stop> {
        match update {
            Update::Audio(Stage::Draft, chunk) => {
                if let Some(draft) = &mut sound.draft {
                    draft.append(&chunk)?;
                }
                self.board.heard_frames = chunk.first_frame + chunk.frames;
            }
            Update::Audio(..) => {}
            Update::Rewound(stage, first_frame) => {
                let rewound = json!({"rewound": stage.as_str_name(), "firstFrame": first_frame});
                self.talk.client_event(watch.name(), rewound)?;
                if stage == Stage::Draft {
                    self.rewind(first_frame, sound)?;
                }
            }
            Update::Event(event) => {
                self.talk.composition_event(watch.cursor(), &event)?;
                let said = self.board.apply(&event);
                self.say(said);
                if let Some(Event::Finished(finished)) = event.event {
                    self.ended = finished.composition;
                }
            }
            Update::Skipped => self.talk.mention("an event of a kind that this version does not know was skipped"),
            Update::Lost { cause, wait } => {
                self.talk.client_event(watch.name(), json!({"lost": cause, "waitSeconds": wait.as_secs_f64()}))?;
                self.board.lost = Some(clean(&cause));
                self.tries += 1;
                if self.tries == PATIENT_TRIES {
                    self.say(Some(Said::Step(format!("still looking for the server: {}", clean(&cause)))));
                }
                self.talk.mention(&format!("lost: {cause}"));
            }
            Update::Resumed => {
                self.talk.client_event(watch.name(), json!({"resumed": true}))?;
                self.board.lost = None;
                self.tries = 0;
                self.say(Some(Said::Note("the connection broke for a moment; nothing is missing".into())));
            }
        }
        Ok(())
    }

    fn rewind(&mut self, first_frame: i64, sound: &mut Sound) -> Result<(), Stop> {
        self.board.heard_frames = self.board.heard_frames.min(first_frame);
        let sent = sound.draft.as_mut().map_or(Ok(0), |draft| draft.cut(first_frame))?;
        let place = words::clock(first_frame as f64 / f64::from(self.board.sample_rate));
        let text = match (sent, &sound.feed) {
            (1.., Some(_)) => format!("from {place} on it is made again; what you heard of it stays as it was"),
            _ => format!("from {place} on it is made again"),
        };
        self.say(Some(Said::Note(text)));
        Ok(())
    }

    fn interrupted(&mut self, detach: bool, is_watching: bool) -> Result<(), Stop> {
        self.interrupts += 1;
        let name = self.board.name.clone();
        if !is_watching || name.is_empty() {
            return Err(Stop::Interrupted);
        }
        if detach || self.interrupts > 1 {
            self.say(Some(Said::Note(format!("it goes on without you; come back with: segue watch {name}"))));
            return Err(Stop::Interrupted);
        }
        self.say(Some(Said::Note("cancelling; what is finished stays. Ctrl-C again leaves at once".into())));
        let connection = self.connection.clone();
        tokio::spawn(async move {
            // When this fails, the stream goes on, and the second Ctrl-C leaves.
            if let Ok(mut client) = connection.open().await {
                let _ = client.cancel_composition(CancelCompositionRequest { name }).await;
            }
        });
        Ok(())
    }

    fn feed_ended(&mut self, ended: Result<(), Error>, is_stdout: bool, is_watching: bool) -> Result<(), Stop> {
        match ended {
            Ok(()) => Ok(()),
            Err(Error::Local { cause, .. }) if is_stdout => {
                let name = &self.board.name;
                if is_watching && !name.is_empty() {
                    self.talk.note(&format!("nobody reads on; the composition goes on: segue watch {name}"));
                }
                Err(Stop::stdout(cause))
            }
            Err(error) => {
                self.say(Some(Said::Note(format!("note: {error}; the rest is made in silence"))));
                Ok(())
            }
        }
    }

    fn lost_for_good(&mut self, error: Error) -> Stop {
        let name = &self.board.name;
        if !name.is_empty() && !matches!(error, Error::Usage(_)) {
            let text = format!("it may go on without you; come back with: segue watch {name}");
            self.say(Some(Said::Note(text)));
        }
        Stop::Error(error)
    }

    fn say(&mut self, said: Option<Said>) {
        match (said, &mut self.painter) {
            (Some(Said::Note(text)), Some(painter)) => painter.say(&[self.talk.palette.paint(Palette::BUSY, &text)]),
            (Some(Said::Note(text) | Said::Step(text)), None) if !self.talk.json => self.talk.note(&text),
            _ => {}
        }
    }

    fn draw(&mut self) {
        let drawing = draw::frame(&self.board, Painter::size(), self.talk.palette, Instant::now());
        if let Some(painter) = &mut self.painter {
            painter.show(drawing);
        }
    }
}

/// Waits for the end of a feed, if there is one.
async fn closed(feed: &mut Option<Feed>) -> Result<(), Error> {
    match feed {
        Some(feed) => feed.end().await,
        None => std::future::pending().await,
    }
}
