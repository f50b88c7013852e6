//! A composition's stream that goes on by itself after cut connections, restarts, sleeps and damaged messages.
//!
//! Every message is checked before its cursor counts as handled. When one is wrong, the stream is opened again: first at
//! the last cursor, then at the last good audio, then from the first event, and only then it is given up.

use std::{future::Future, pin::Pin, time::Duration};

use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::{Request, Status};

use crate::{
    Backoff, Connection, Error, Fault, Result, Track,
    client::Stub,
    proto::segue::composer::v1::{ComposeRequest, State, WatchCompositionRequest},
    stream::{Broken, Stream, broken},
    updates::{Opening, Update, WatchOptions},
};

mod recovery;
mod taking;

/// After how many heartbeats' time without a message a connection counts as dead.
const SILENT_HEARTBEATS: u32 = 3;

/// Work that goes on where it was when whoever waits for it looks away.
type Underway<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How far the way to the service is.
enum Way {
    Closed,
    Connecting(Underway<Result<Stub>>),
    Asking(Underway<Result<Stream, Status>>),
    Open(Box<Stream>),
}

/// A stream that goes on by itself. [`Watch::next`] may be dropped at any time without losing anything.
pub struct Watch {
    connection: Connection,
    options: WatchOptions,
    opening: Opening,
    name: String,
    way: Way,
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
    /// When the service was last heard, or asked.
    heard_at: Instant,
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
            way: Way::Closed,
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
            heard_at: Instant::now(),
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

    /// Says whether the service was asked: from then on it may be at work, also while its name is not known yet.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        self.calls > 0
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
            if let Err(broken) = self.step().await {
                self.way = Way::Closed;
                self.recover(broken)?;
            }
        }
    }

    /// Goes one step on: what is waited for is kept in `way`, so that nothing begins anew when this is dropped.
    async fn step(&mut self) -> Result<(), Broken> {
        let silent_at = self.heard_at + self.silence();
        match &mut self.way {
            Way::Closed => {
                let connection = self.connection.clone();
                self.way = Way::Connecting(Box::pin(async move { connection.stub().await }));
                Ok(())
            }
            Way::Connecting(connecting) => match connecting.await {
                Ok(stub) => {
                    self.way = Way::Asking(self.ask(stub));
                    self.calls += 1;
                    self.heard_at = Instant::now();
                    Ok(())
                }
                // Somebody was there: what was asked may have been heard, and is asked again.
                Err(error) if self.calls > 0 => Err(Broken::Passing(error, None)),
                Err(error) => Err(Broken::Final(error)),
            },
            Way::Asking(asking) => {
                let answer = timeout_at(silent_at, asking).await.map_err(|_| self.silent())?;
                self.way = Way::Open(Box::new(answer.map_err(|status| broken(&status, &self.connection))?));
                (self.opened_at, self.heard_at) = (Instant::now(), Instant::now());
                Ok(())
            }
            Way::Open(stream) => {
                let message = timeout_at(silent_at, stream.message()).await.map_err(|_| self.silent())?;
                let message = message.map_err(|status| broken(&status, &self.connection))?;
                self.heard_at = Instant::now();
                let Some((cursor, event)) = message else {
                    return Err(Broken::Fault(Fault("the stream ended before the composition did".to_owned())));
                };
                self.take(cursor, event).map_err(Broken::Fault)?;
                self.note_contact()
            }
        }
    }

    fn ask(&self, mut stub: Stub) -> Underway<Result<Stream, Status>> {
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
                Box::pin(async move { Ok(Stream::Compose(stub.compose(Request::new(request)).await?.into_inner())) })
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
                Box::pin(
                    async move { Ok(Stream::Watch(stub.watch_composition(Request::new(request)).await?.into_inner())) },
                )
            }
        }
    }

    /// After a good message: the way is whole again, or nothing has gone on for too long.
    fn note_contact(&mut self) -> Result<(), Broken> {
        self.had_contact = true;
        if let Some(lost_at) = self.lost_at.take() {
            // Nothing could go on here while the way was broken.
            self.moved += lost_at.elapsed();
            self.pending.push_front(Update::Resumed);
        }
        if self.opened_at.elapsed() > self.silence() {
            self.troubled_since = None;
        }
        if self.moved.elapsed() > self.options.stall_limit {
            return Err(Broken::Final(Error::Stalled(self.options.stall_limit)));
        }
        Ok(())
    }

    fn silence(&self) -> Duration {
        self.options.heartbeat * SILENT_HEARTBEATS
    }
}
