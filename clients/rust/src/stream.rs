//! One opened stream, and the ways in which it breaks.

use std::time::Duration;

use tonic::{Code, Streaming};

use crate::{
    Connection, Error, Failure, Fault,
    proto::segue::composer::v1::{ComposeResponse, CompositionEvent, WatchCompositionResponse},
    transfer::is_passing,
};

pub(crate) enum Stream {
    Compose(Streaming<ComposeResponse>),
    Watch(Streaming<WatchCompositionResponse>),
}

impl Stream {
    pub(crate) async fn message(&mut self) -> Result<Option<(String, CompositionEvent)>, tonic::Status> {
        Ok(match self {
            Self::Compose(stream) => stream.message().await?.map(|each| (each.cursor, each.event.unwrap_or_default())),
            Self::Watch(stream) => stream.message().await?.map(|each| (each.cursor, each.event.unwrap_or_default())),
        })
    }
}

pub(crate) enum Broken {
    /// The way is broken, or the server says that it will be back.
    Passing(Error, Option<Duration>),
    /// The cursor is of no use here any more.
    Cursor(String),
    /// The message is not what the contract says.
    Fault(Fault),
    /// Another answer; it may be one that was damaged on its way.
    Final(Error),
}

/// Sorts what a stream ended with.
pub(crate) fn broken(status: &tonic::Status, connection: &Connection) -> Broken {
    let failure = Failure::from_status(status);
    if matches!(failure.reason.as_str(), "INVALID_CURSOR" | "CURSOR_AHEAD") {
        return Broken::Cursor(failure.to_string());
    }
    if failure.code == Code::OutOfRange && failure.reason.is_empty() {
        return Broken::Fault(Fault(format!("{}: {failure}", connection.address)));
    }
    if is_passing(&failure) {
        let asked = failure.retry_after;
        return Broken::Passing(Error::from_status(&connection.address.to_string(), status), asked);
    }
    Broken::Final(Error::Failed(Box::new(failure)))
}
