//! A composition's stream that resumes after broken connections, restarts, sleep and damaged messages.
//!
//! Every message is checked before its cursor is stored. After an invalid message the client opens the stream again:
//! first at the last cursor, then at the last good audio, then at the first event. Then it gives up.

use std::{future::Future, pin::Pin, time::Duration};

use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::{Request, Status};

use self::stream::{EventStream, StreamFailure};
pub use self::{
    chunks::{Chunk, ChunkSequence, InvalidMessage},
    updates::{StreamRequest, Update, WatchOptions},
};
use crate::{
    client::{Connection, Stub},
    error::{Error, Result},
    proto::segue::composer::v1::{ComposeRequest, State, WatchCompositionRequest},
    retry::Backoff,
};

mod chunks;
mod messages;
mod recovery;
mod stream;
mod updates;

/// A connection is dead after this many heartbeats without a message.
const SILENT_HEARTBEATS: u32 = 3;

/// A call that keeps its progress when the caller of [`Watch::next`] drops the future.
type PendingCall<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The state of the connection.
enum StreamState {
    Closed,
    Connecting(PendingCall<Result<Stub>>),
    Requesting(PendingCall<Result<EventStream, Status>>),
    Open(Box<EventStream>),
}

/// A stream that resumes by itself. Dropping the future of [`Watch::next`] loses nothing.
pub struct Watch {
    connection: Connection,
    options: WatchOptions,
    request: StreamRequest,
    name: String,
    state: StreamState,
    cursor: String,
    audio_cursor: String,
    draft: ChunkSequence,
    master: ChunkSequence,
    /// The sequence number of the last event that the caller received.
    delivered: i64,
    /// The furthest position so far: sequence number and frame.
    furthest: (i64, i64),
    pending: std::collections::VecDeque<Update>,
    backoff: Backoff,
    retry_at: Option<Instant>,
    /// The first failure since the last progress.
    failing_since: Option<Instant>,
    disconnected_at: Option<Instant>,
    opened_at: Instant,
    /// The time of the last message or request.
    last_message_at: Instant,
    had_contact: bool,
    calls: u32,
    faults: u32,
    restarts: u32,
    /// The time of the composition's last progress.
    progressed_at: Instant,
    last_state: i32,
    last_fraction: f64,
    is_finished: bool,
}

impl Watch {
    /// Prepares a stream; the first `next` opens it.
    #[must_use]
    pub fn new(connection: Connection, request: StreamRequest, options: WatchOptions) -> Self {
        let name = match &request {
            StreamRequest::Compose(_) => String::new(),
            StreamRequest::Watch { name } => name.clone(),
        };
        Self {
            connection,
            options,
            request,
            name,
            state: StreamState::Closed,
            cursor: String::new(),
            audio_cursor: String::new(),
            draft: ChunkSequence::default(),
            master: ChunkSequence::default(),
            delivered: 0,
            furthest: (0, 0),
            pending: std::collections::VecDeque::new(),
            backoff: Backoff::default(),
            retry_at: None,
            failing_since: None,
            disconnected_at: None,
            opened_at: Instant::now(),
            last_message_at: Instant::now(),
            had_contact: false,
            calls: 0,
            faults: 0,
            restarts: 0,
            progressed_at: Instant::now(),
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

    /// Whether a request was sent. From then on the service may work, even while the name is still empty.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        self.calls > 0
    }

    /// The cursor after the last update. Another stream can continue there.
    #[must_use]
    pub fn cursor(&self) -> &str {
        &self.cursor
    }

    /// Returns the next update, or `None` after the composition's last event.
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
            if let Err(failure) = self.step().await {
                self.state = StreamState::Closed;
                self.recover(failure)?;
            }
        }
    }

    /// Makes one step. The pending call stays in `state`, so that a dropped future does not start it again.
    async fn step(&mut self) -> Result<(), StreamFailure> {
        let silent_at = self.last_message_at + self.silence_limit();
        match &mut self.state {
            StreamState::Closed => {
                let connection = self.connection.clone();
                self.state = StreamState::Connecting(Box::pin(async move { connection.stub().await }));
                Ok(())
            }
            StreamState::Connecting(connecting) => match connecting.await {
                Ok(stub) => {
                    self.state = StreamState::Requesting(self.send_request(stub));
                    self.calls += 1;
                    self.last_message_at = Instant::now();
                    Ok(())
                }
                // An earlier call may have reached the server, so this is worth a retry.
                Err(error) if self.calls > 0 => Err(StreamFailure::Transient(error, None)),
                Err(error) => Err(StreamFailure::Final(error)),
            },
            StreamState::Requesting(call) => {
                let answer = timeout_at(silent_at, call).await.map_err(|_| self.silent())?;
                let stream = answer.map_err(|status| StreamFailure::from_status(&status, &self.connection))?;
                self.state = StreamState::Open(Box::new(stream));
                (self.opened_at, self.last_message_at) = (Instant::now(), Instant::now());
                Ok(())
            }
            StreamState::Open(stream) => {
                let message = timeout_at(silent_at, stream.message()).await.map_err(|_| self.silent())?;
                let message = message.map_err(|status| StreamFailure::from_status(&status, &self.connection))?;
                self.last_message_at = Instant::now();
                let Some((cursor, event)) = message else {
                    let cause = "the stream ended before the composition did".to_owned();
                    return Err(StreamFailure::InvalidMessage(InvalidMessage(cause)));
                };
                self.receive(cursor, event).map_err(StreamFailure::InvalidMessage)?;
                self.note_contact()
            }
        }
    }

    fn send_request(&self, mut stub: Stub) -> PendingCall<Result<EventStream, Status>> {
        let heartbeat = prost_types::Duration::try_from(self.options.heartbeat).ok();
        match &self.request {
            StreamRequest::Compose(request) if self.name.is_empty() => {
                let request = ComposeRequest {
                    audio: self.options.audio as i32,
                    encoding: self.options.encoding,
                    heartbeat_interval: heartbeat,
                    disconnect_policy: self.options.disconnect_policy as i32,
                    ..(**request).clone()
                };
                Box::pin(
                    async move { Ok(EventStream::Compose(stub.compose(Request::new(request)).await?.into_inner())) },
                )
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
                Box::pin(async move {
                    Ok(EventStream::Watch(stub.watch_composition(Request::new(request)).await?.into_inner()))
                })
            }
        }
    }

    /// Handles a valid message: ends a disconnection, and checks for a stall.
    fn note_contact(&mut self) -> Result<(), StreamFailure> {
        self.had_contact = true;
        if let Some(disconnected_at) = self.disconnected_at.take() {
            // The time without a connection does not count as a stall.
            self.progressed_at += disconnected_at.elapsed();
            self.pending.push_front(Update::Resumed);
        }
        if self.opened_at.elapsed() > self.silence_limit() {
            self.failing_since = None;
        }
        if self.progressed_at.elapsed() > self.options.stall_limit {
            return Err(StreamFailure::Final(Error::Stalled(self.options.stall_limit)));
        }
        Ok(())
    }

    fn silence_limit(&self) -> Duration {
        self.options.heartbeat * SILENT_HEARTBEATS
    }
}
