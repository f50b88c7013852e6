//! What a watcher asks for, and what it gets.

use std::time::Duration;

use crate::{
    Chunk,
    proto::segue::{
        audio::v1::Stage,
        composer::v1::{AudioSelection, ComposeRequest, CompositionEvent, DisconnectPolicy},
    },
};

/// What a watcher wants.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// Which audio comes.
    pub audio: AudioSelection,
    /// How samples are written; a number of `SampleFormat`.
    pub encoding: i32,
    /// The longest time without a message.
    pub heartbeat: Duration,
    /// What happens to the composition when this stream goes away.
    pub disconnect_policy: DisconnectPolicy,
    /// How long to look for a server that does not answer any more.
    pub give_up_after: Duration,
    /// How long a composition may be at work without any progress.
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

/// How a stream begins.
#[derive(Clone, Debug)]
pub enum Opening {
    /// With a new composition. Its `request_id` must be set, so that a lost answer can be asked for again.
    Compose(Box<ComposeRequest>),
    /// With a composition that exists.
    Watch {
        /// Its name.
        name: String,
    },
}

/// What a watcher gets.
#[derive(Clone, Debug)]
pub enum Update {
    /// Something happened; never audio, never a rewind. Each event of the log comes once.
    Event(Box<CompositionEvent>),
    /// Sound that follows directly on what came before in its stage.
    Audio(Stage, Chunk),
    /// What came of that stage from this frame on must be dropped.
    Rewound(Stage, i64),
    /// A kind of event, or audio of a stage, that a newer server knows and we do not.
    Skipped,
    /// The stream broke; it is opened again after the wait.
    Lost {
        /// Why.
        cause: String,
        /// How long until the next try.
        wait: Duration,
    },
    /// The stream goes on.
    Resumed,
}
