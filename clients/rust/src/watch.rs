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
    proto::segue::composer::v1::{ComposeRequest, State, WatchCompositionRequest},
    stream::{Broken, Stream, broken},
    updates::{Opening, Update, WatchOptions},
};

mod recovery;
mod taking;

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

    fn silence(&self) -> Duration {
        self.options.heartbeat * SILENT_HEARTBEATS
    }
}
