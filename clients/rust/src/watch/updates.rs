//! The options and the updates of a [`Watch`](crate::Watch).

use std::time::Duration;

use super::chunks::Chunk;
use crate::proto::segue::{
    audio::v1::Stage,
    composer::v1::{AudioSelection, ComposeRequest, CompositionEvent, DisconnectPolicy},
};

/// The options of a stream.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// Which audio the stream carries.
    pub audio: AudioSelection,
    /// The encoding of the samples: a number of `SampleFormat`.
    pub encoding: i32,
    /// The longest time without a message.
    pub heartbeat: Duration,
    /// What happens to the composition when this stream ends early.
    pub disconnect_policy: DisconnectPolicy,
    /// How long to try to reach a server that does not answer.
    pub give_up_after: Duration,
    /// How long a composition may make no progress.
    pub stall_limit: Duration,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            audio: AudioSelection::Draft,
            encoding: 0,
            heartbeat: Duration::from_secs(10),
            disconnect_policy: DisconnectPolicy::Continue,
            give_up_after: Duration::from_secs(600),
            stall_limit: Duration::from_secs(1800),
        }
    }
}

/// The first request of a stream.
#[derive(Clone, Debug)]
pub enum StreamRequest {
    /// Creates a composition. Set its `request_id`, so that a retry does not create a second one.
    Compose(Box<ComposeRequest>),
    /// Watches an existing composition.
    Watch {
        /// The composition's name.
        name: String,
    },
}

/// One update of a stream.
#[derive(Clone, Debug)]
pub enum Update {
    /// An event other than audio and rewinds. Each event of the log arrives once.
    Event(Box<CompositionEvent>),
    /// Audio that continues the earlier audio of its stage.
    Audio(Stage, Chunk),
    /// Drop the audio of that stage from this frame on.
    Rewound(Stage, i64),
    /// An event, or audio of a stage, that this version does not know.
    Skipped,
    /// The stream broke. The client reconnects after `wait`.
    Disconnected {
        /// The error.
        cause: String,
        /// The delay before the next attempt.
        wait: Duration,
    },
    /// The stream works again.
    Resumed,
}
