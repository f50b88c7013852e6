//! Follows one composition: keeps the sound, shows the progress, and listens for Ctrl-C.

use std::time::{Duration, Instant};

use leaving::{Cancelling, answered};
use segue_client::{
    Connection, Error, Update, Watch, clean,
    proto::segue::{
        audio::v1::Stage,
        composer::v1::{Composition, State, composition_event::Event},
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

mod leaving;

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
pub async fn follow(
    reach: &Reach,
    talk: &Talk,
    watch: &mut Watch,
    sound: &mut Sound,
    interrupts: &mut Interrupts,
    detach: bool,
) -> Result<Ended, Stop> {
    let mut following = Following {
        connection: &reach.connection,
        talk,
        board: Board::new(),
        painter: talk.is_live.then(Painter::default),
        detach,
        num_interrupts: 0,
        waits_for_name: false,
        cancelling: None,
        tries: 0,
        ended: None,
    };
    let outcome = following.run(watch, sound, interrupts).await;
    if let Err(stop) = &outcome {
        following.part(stop);
    }
    following.leave();
    outcome?;
    let composition = following.ended.ok_or(Stop::Interrupted)?;
    let was_cancelled_here = following.num_interrupts > 0 && composition.state == State::Cancelled as i32;
    Ok(Ended { composition, was_cancelled_here })
}

/// Waits until a reader of the draft has all of it. Ctrl-C ends the playing; nothing else is left to be done then.
pub async fn hear_out(talk: &Talk, sound: &mut Sound, interrupts: &mut Interrupts) -> Result<(), Stop> {
    let Some(feed) = &mut sound.feed else { return Ok(()) };
    if !sound.feeds_stdout {
        talk.note("it plays to its end; Ctrl-C stops it");
    }
    let ended = tokio::select! {
        ended = feed.end() => ended,
        stop = interrupts.next() => {
            let is_done = matches!(stop, Stop::Interrupted) && !sound.feeds_stdout;
            return if is_done { Ok(()) } else { Err(stop) };
        }
    };
    match ended {
        Err(Error::Local { cause, .. }) if sound.feeds_stdout => Err(Stop::stdout(cause)),
        Err(error) => {
            talk.note(&format!("note: {error}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

struct Following<'a> {
    connection: &'a Connection,
    talk: &'a Talk,
    board: Board,
    painter: Option<Painter>,
    /// Ctrl-C leaves it running.
    detach: bool,
    num_interrupts: u32,
    /// Ctrl-C was pressed before there was anything to cancel or to come back to.
    waits_for_name: bool,
    /// The service is asked to cancel it.
    cancelling: Cancelling,
    tries: u32,
    ended: Option<Composition>,
}

impl Following<'_> {
    async fn run(&mut self, watch: &mut Watch, sound: &mut Sound, interrupts: &mut Interrupts) -> Result<(), Stop> {
        let mut redraw = tokio::time::interval(REDRAW);
        redraw.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                update = watch.next() => match update? {
                    Some(update) => self.take(watch, update, sound)?,
                    None => break,
                },
                ended = closed(&mut sound.feed) => {
                    sound.feed = None;
                    self.feed_ended(ended, sound.feeds_stdout)?;
                }
                stop = interrupts.next() => self.interrupted(stop, watch)?,
                answer = answered(&mut self.cancelling) => {
                    self.cancelling = None;
                    self.cancel_ended(answer);
                }
                _ = redraw.tick(), if self.painter.is_some() => self.draw(),
            }
        }
        sound.draft.as_mut().map(Draft::complete).transpose()?;
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
                } else if std::mem::take(&mut self.waits_for_name) {
                    self.stop_or_leave(Stop::Interrupted, watch.name())?;
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
                if self.num_interrupts > 0 && !self.waits_for_name {
                    // Nobody was there to hear it.
                    self.cancel(watch.name());
                }
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

    fn feed_ended(&mut self, ended: Result<(), Error>, is_stdout: bool) -> Result<(), Stop> {
        match ended {
            Ok(()) => Ok(()),
            Err(Error::Local { cause, .. }) if is_stdout => {
                let stop = Stop::stdout(cause);
                if matches!(stop, Stop::Interrupted) && !self.board.name.is_empty() {
                    let text = format!("nobody reads on; the composition goes on: segue watch {}", self.board.name);
                    self.say(Some(Said::Note(text)));
                }
                Err(stop)
            }
            Err(error) => {
                self.say(Some(Said::Note(format!("note: {error}; the rest is made in silence"))));
                Ok(())
            }
        }
    }

    fn say(&mut self, said: Option<Said>) {
        match (said, &mut self.painter) {
            (Some(Said::Note(text)), Some(painter)) => painter.say(&[self.talk.palette.paint(Palette::BUSY, &text)]),
            (Some(Said::Note(text) | Said::Step(text)), None) if !self.talk.json => self.talk.note(&text),
            _ => {}
        }
    }

    /// The last drawing stands; where there never was a piece, nothing does.
    fn leave(&mut self) {
        self.draw();
        match &mut self.painter {
            Some(painter) if self.board.name.is_empty() => painter.clear(),
            Some(painter) => painter.leave(),
            None => {}
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
