//! One open stream of events, and the ways in which it fails.

use std::time::Duration;

use tonic::{Code, Status, Streaming};

use super::chunks::InvalidMessage;
use crate::{
    client::Connection,
    error::{Error, Failure},
    proto::segue::composer::v1::{ComposeResponse, CompositionEvent, WatchCompositionResponse},
};

pub(super) enum EventStream {
    Compose(Streaming<ComposeResponse>),
    Watch(Streaming<WatchCompositionResponse>),
}

impl EventStream {
    /// Returns the next event with its cursor, or `None` at the end of the stream.
    pub(super) async fn message(&mut self) -> Result<Option<(String, CompositionEvent)>, Status> {
        Ok(match self {
            Self::Compose(stream) => stream.message().await?.map(|each| (each.cursor, each.event.unwrap_or_default())),
            Self::Watch(stream) => stream.message().await?.map(|each| (each.cursor, each.event.unwrap_or_default())),
        })
    }
}

/// Why a stream failed.
pub(super) enum StreamFailure {
    /// The connection broke, or the server is unavailable for a while. The server may ask for a delay.
    Transient(Error, Option<Duration>),
    /// The server does not accept the cursor.
    InvalidCursor(String),
    /// A message breaks the contract.
    InvalidMessage(InvalidMessage),
    /// Another error. It may have been damaged on its way.
    Final(Error),
}

impl StreamFailure {
    /// Classifies the status of a stream.
    pub(super) fn from_status(status: &Status, connection: &Connection) -> Self {
        let failure = Failure::from_status(status);
        if matches!(failure.reason.as_str(), "INVALID_CURSOR" | "CURSOR_AHEAD") {
            return Self::InvalidCursor(failure.to_string());
        }
        if failure.code == Code::OutOfRange && failure.reason.is_empty() {
            return Self::InvalidMessage(InvalidMessage(format!("{}: {failure}", connection.address)));
        }
        if failure.is_transient() {
            let retry_after = failure.retry_after;
            return Self::Transient(Error::from_status(&connection.address.to_string(), status), retry_after);
        }
        Self::Final(Error::Server(Box::new(failure)))
    }
}
