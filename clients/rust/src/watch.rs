//! A composition's stream that goes on by itself after cut connections, restarts, sleeps and damaged messages.
//!
//! Every message is checked before its cursor counts as handled. When one is wrong, the stream is opened again: first at
//! the last cursor, then at the last good audio, then from the first event, and only then it is given up.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tonic::Request;

use crate::{
    Backoff, Connection, Error, Fault, Result, Track,
    client::Stub,
    proto::segue::{
        audio::v1::Stage,
        composer::v1::{ComposeRequest, CompositionEvent, State, WatchCompositionRequest, composition_event::Event},
    },
    stream::{Broken, Stream, broken},
    updates::{Opening, Update, WatchOptions},
};

/// How many faults in a row are forgiven without anything new in between.
const MAX_FAULTS: u32 = 6;
/// How many calls there are before anything came at all: something else may listen there.
const MAX_EARLY_CALLS: u32 = 3;
/// How long a server that went away before it said anything may stay away: a restart is over by then.
const EARLY_LIMIT: Duration = Duration::from_secs(20);
/// How often the stream may be read again from its first event.
const MAX_RESTARTS: u32 = 3;
/// After how many heartbeats' time without a message a connection counts as dead.
const SILENT_HEARTBEATS: u32 = 3;

/// A stream that goes on by itself. [`Watch::next`] may be dropped at any time without losing anything.
pub struct Watch {
    connection: Connection,
    options: WatchOptions,
    opening: Opening,
    name: String,
    stream: Option<Stream>,
    cursor: String,
    audio_cursor: String,
    draft: Track,
    master: Track,
    delivered: i64,
    furthest: (i64, i64),
    pending: std::collections::VecDeque<Update>,
    backoff: Backoff,
    retry_at: Option<Instant>,
    /// Since when there is trouble without anything new in between.
    troubled_since: Option<Instant>,
    lost_at: Option<Instant>,
    opened_at: Instant,
    had_contact: bool,
    calls: u32,
    faults: u32,
    restarts: u32,
    moved: Instant,
    last_state: i32,
    last_fraction: f64,
    is_finished: bool,
}

impl Watch {
    /// Prepares a stream; the first `next` opens it.
    #[must_use]
    pub fn new(connection: Connection, opening: Opening, options: WatchOptions) -> Self {
        let name = match &opening {
            Opening::Compose(_) => String::new(),
            Opening::Watch { name } => name.clone(),
        };
        Self {
            connection,
            options,
            opening,
            name,
            stream: None,
            cursor: String::new(),
            audio_cursor: String::new(),
            draft: Track::default(),
            master: Track::default(),
            delivered: 0,
            furthest: (0, 0),
            pending: std::collections::VecDeque::new(),
            backoff: Backoff::default(),
            retry_at: None,
            troubled_since: None,
            lost_at: None,
            opened_at: Instant::now(),
            had_contact: false,
            calls: 0,
            faults: 0,
            restarts: 0,
            moved: Instant::now(),
            last_state: State::Unspecified as i32,
            last_fraction: 0.0,
            is_finished: false,
        }
    }

    /// The composition's name. Empty until the service has accepted it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The place after the last update, for a stream that goes on elsewhere.
    #[must_use]
    pub fn cursor(&self) -> &str {
        &self.cursor
    }

    /// Returns what happens next, and `None` after the composition's last event.
    pub async fn next(&mut self) -> Result<Option<Update>> {
        loop {
            if let Some(update) = self.pending.pop_front() {
                return Ok(Some(update));
            }
            if self.is_finished {
                return Ok(None);
            }
            if let Some(at) = self.retry_at {
                sleep_until(at).await;
                self.retry_at = None;
            }
            let step = if self.stream.is_some() { self.receive().await } else { self.open().await };
            if let Err(broken) = step {
                self.stream = None;
                self.recover(broken)?;
            }
        }
    }

    async fn open(&mut self) -> Result<(), Broken> {
        let mut stub = match self.connection.stub().await {
            Ok(stub) => stub,
            // Somebody was there: what was asked may have been heard, and is asked again.
            Err(error) if self.calls > 0 => return Err(Broken::Passing(error, None)),
            Err(error) => return Err(Broken::Final(error)),
        };
        self.calls += 1;
        let opening = timeout(self.silence(), self.call(&mut stub));
        let stream = opening.await.map_err(|_| self.silent())?;
        self.opened_at = Instant::now();
        self.stream = Some(stream.map_err(|status| broken(&status, &self.connection))?);
        Ok(())
    }

    async fn call(&self, stub: &mut Stub) -> Result<Stream, tonic::Status> {
        let heartbeat = prost_types::Duration::try_from(self.options.heartbeat).ok();
        match &self.opening {
            Opening::Compose(request) if self.name.is_empty() => {
                let request = ComposeRequest {
                    audio: self.options.audio as i32,
                    encoding: self.options.encoding,
                    heartbeat_interval: heartbeat,
                    disconnect_policy: self.options.disconnect_policy as i32,
                    ..(**request).clone()
                };
                Ok(Stream::Compose(stub.compose(Request::new(request)).await?.into_inner()))
            }
            _ => {
                let request = WatchCompositionRequest {
                    name: self.name.clone(),
                    cursor: self.cursor.clone(),
                    audio: self.options.audio as i32,
                    encoding: self.options.encoding,
                    heartbeat_interval: heartbeat,
                    disconnect_policy: self.options.disconnect_policy as i32,
                };
                Ok(Stream::Watch(stub.watch_composition(Request::new(request)).await?.into_inner()))
            }
        }
    }

    async fn receive(&mut self) -> Result<(), Broken> {
        let limit = self.silence();
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let message = timeout(limit, stream.message())
            .await
            .map_err(|_| self.silent())?
            .map_err(|status| broken(&status, &self.connection))?;
        let Some((cursor, event)) = message else {
            return Err(Broken::Fault(Fault("the stream ended before the composition did".to_owned())));
        };
        self.take(cursor, event).map_err(Broken::Fault)?;
        self.had_contact = true;
        if let Some(lost_at) = self.lost_at.take() {
            // Nothing could go on here while the way was broken.
            self.moved += lost_at.elapsed();
            self.pending.push_front(Update::Resumed);
        }
        if self.opened_at.elapsed() > limit {
            self.troubled_since = None;
        }
        if self.moved.elapsed() > self.options.stall_limit {
            return Err(Broken::Final(Error::Stalled(self.options.stall_limit)));
        }
        Ok(())
    }

    /// Checks a message and queues what it means. An error leaves everything as it was.
    fn take(&mut self, cursor: String, event: CompositionEvent) -> Result<(), Fault> {
        if event.composition.is_empty() || !self.name.is_empty() && event.composition != self.name {
            return Err(Fault(format!("an event of \"{}\" came in the stream of {}", event.composition, self.name)));
        }
        if cursor.is_empty() || event.sequence < 0 {
            return Err(Fault("an event has no place in the stream".to_owned()));
        }
        if self.name.is_empty() {
            self.name.clone_from(&event.composition);
        }
        let sequence = event.sequence;
        match event.event {
            None => self.pending.push_back(Update::Skipped),
            Some(Event::Audio(chunk)) => {
                let Ok(stage) = Stage::try_from(chunk.stage) else {
                    self.skip(cursor);
                    return Ok(());
                };
                let chunk = match stage {
                    Stage::Draft => self.draft.accept(chunk)?,
                    Stage::Master => self.master.accept(chunk)?,
                    _ => return Err(Fault("audio came that is neither draft nor master".to_owned())),
                };
                self.audio_cursor.clone_from(&cursor);
                self.note_progress(sequence, chunk.first_frame + chunk.frames);
                self.pending.push_back(Update::Audio(stage, chunk));
            }
            Some(Event::DraftRewound(rewound)) => {
                let Ok(stage) = Stage::try_from(rewound.stage) else {
                    self.skip(cursor);
                    return Ok(());
                };
                self.rewind(stage, rewound.first_frame)?;
                self.note_progress(sequence, 0);
            }
            Some(inner) => self.take_event(sequence, CompositionEvent { event: Some(inner), ..event })?,
        }
        self.cursor = cursor;
        Ok(())
    }

    /// Passes over what a newer server knows and we do not.
    fn skip(&mut self, cursor: String) {
        self.pending.push_back(Update::Skipped);
        self.cursor = cursor;
    }

    fn take_event(&mut self, sequence: i64, event: CompositionEvent) -> Result<(), Fault> {
        match &event.event {
            Some(Event::Checkpoint(checkpoint)) => {
                if is_terminal(checkpoint.state) {
                    return Err(Fault("it has ended, and its last event did not come".to_owned()));
                }
                // A queue moves without us; work must show something.
                if checkpoint.state != self.last_state || checkpoint.state == State::Queued as i32 {
                    self.last_state = checkpoint.state;
                    self.moved = Instant::now();
                }
            }
            Some(Event::SectionProgress(progress)) => {
                if (progress.fraction_done - self.last_fraction).abs() > f64::EPSILON {
                    self.last_fraction = progress.fraction_done;
                    self.moved = Instant::now();
                }
            }
            Some(Event::Finished(finished)) => {
                let state = finished.composition.as_ref().map_or(0, |each| each.state);
                // A newer server may know more ways to end.
                if State::try_from(state).is_ok() && !is_terminal(state) {
                    return Err(Fault("the last event says that the composition has not ended".to_owned()));
                }
                self.is_finished = true;
            }
            _ if sequence <= self.delivered => return Ok(()),
            _ => {
                self.delivered = sequence;
                self.note_progress(sequence, 0);
            }
        }
        self.pending.push_back(Update::Event(Box::new(event)));
        Ok(())
    }

    fn rewind(&mut self, stage: Stage, first_frame: i64) -> Result<(), Fault> {
        let track = match stage {
            Stage::Draft => &mut self.draft,
            Stage::Master => &mut self.master,
            _ => return Err(Fault("a rewind names no stage".to_owned())),
        };
        if first_frame < 0 {
            return Err(Fault(format!("a rewind goes to frame {first_frame}")));
        }
        track.rewind(first_frame);
        self.pending.push_back(Update::Rewound(stage, first_frame));
        Ok(())
    }

    /// Forgets earlier faults when something came that had never come before.
    fn note_progress(&mut self, sequence: i64, end_frame: i64) {
        if (sequence, end_frame) > self.furthest {
            self.furthest = (sequence, end_frame);
            self.moved = Instant::now();
            self.faults = 0;
            self.troubled_since = None;
            self.backoff.reset();
        }
    }

    fn recover(&mut self, broken: Broken) -> Result<()> {
        let troubled_since = *self.troubled_since.get_or_insert_with(Instant::now);
        self.lost_at.get_or_insert_with(Instant::now);
        let (cause, asked) = match broken {
            Broken::Passing(error, asked) => {
                let early_limit = if self.had_contact { Duration::MAX } else { EARLY_LIMIT };
                let limit = self.options.give_up_after.min(early_limit);
                if !self.had_contact && self.calls > MAX_EARLY_CALLS || troubled_since.elapsed() > limit {
                    return Err(error);
                }
                (error.to_string(), asked)
            }
            Broken::Cursor(cause) => {
                self.begin_anew(&cause)?;
                self.delivered = 0;
                self.furthest = (0, 0);
                (cause, None)
            }
            Broken::Fault(Fault(cause)) => {
                self.faults += 1;
                if self.faults > MAX_FAULTS {
                    return Err(Error::Untrusted(cause));
                }
                match self.faults {
                    1 => {}
                    2 => self.cursor.clone_from(&self.audio_cursor),
                    _ => self.begin_anew(&cause)?,
                }
                (cause, None)
            }
            Broken::Final(error @ Error::Failed(_)) if self.had_contact && self.faults < 2 => {
                self.faults += 1;
                (error.to_string(), None)
            }
            Broken::Final(error) => return Err(error),
        };
        let wait = self.backoff.next(asked);
        self.retry_at = Some(Instant::now() + wait);
        self.pending.push_back(Update::Lost { cause, wait });
        Ok(())
    }

    fn begin_anew(&mut self, cause: &str) -> Result<()> {
        self.restarts += 1;
        if self.restarts > MAX_RESTARTS {
            return Err(Error::Untrusted(cause.to_owned()));
        }
        self.cursor.clear();
        self.audio_cursor.clear();
        for (stage, track) in [(Stage::Draft, &mut self.draft), (Stage::Master, &mut self.master)] {
            if track.next_frame() > 0 {
                *track = Track::default();
                self.pending.push_back(Update::Rewound(stage, 0));
            }
        }
        Ok(())
    }

    fn silent(&self) -> Broken {
        let cause = format!("no sign of life for {:?}", self.silence());
        Broken::Passing(Error::Unreachable { server: self.connection.address.to_string(), cause }, None)
    }

    fn silence(&self) -> Duration {
        self.options.heartbeat * SILENT_HEARTBEATS
    }
}

fn is_terminal(state: i32) -> bool {
    matches!(State::try_from(state), Ok(State::Succeeded | State::Degraded | State::Failed | State::Cancelled))
}
