//! Recovery after a failure: when to retry, at which cursor, and when to give up.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Watch,
    chunks::{ChunkSequence, InvalidMessage},
    stream::StreamFailure,
    updates::Update,
};
use crate::{
    error::{Error, Result},
    proto::segue::audio::v1::Stage,
};

/// The most faults in a row without new data in between.
const MAX_FAULTS: u32 = 6;
/// The most calls before the first message: another program may listen at the address.
const MAX_EARLY_CALLS: u32 = 3;
/// How long to wait for a server that failed before its first message. A restart takes less time.
const EARLY_LIMIT: Duration = Duration::from_secs(20);
/// How often the stream may start again at its first event.
const MAX_RESTARTS: u32 = 3;

impl Watch {
    /// Prepares the next attempt, or returns the error that ends the stream.
    pub(super) fn recover(&mut self, failure: StreamFailure) -> Result<()> {
        let failing_since = *self.failing_since.get_or_insert_with(Instant::now);
        self.disconnected_at.get_or_insert_with(Instant::now);
        let (cause, retry_after) = match failure {
            StreamFailure::Transient(error, retry_after) => {
                let early_limit = if self.had_contact { Duration::MAX } else { EARLY_LIMIT };
                let limit = self.options.give_up_after.min(early_limit);
                if !self.had_contact && self.calls > MAX_EARLY_CALLS || failing_since.elapsed() > limit {
                    return Err(error);
                }
                (error.to_string(), retry_after)
            }
            StreamFailure::InvalidCursor(cause) => {
                self.restart(&cause)?;
                self.delivered = 0;
                self.furthest = (0, 0);
                (cause, None)
            }
            StreamFailure::InvalidMessage(InvalidMessage(cause)) => {
                self.faults += 1;
                if self.faults > MAX_FAULTS {
                    return Err(Error::ContractViolation(cause));
                }
                match self.faults {
                    1 => {}
                    2 => self.cursor.clone_from(&self.audio_cursor),
                    _ => self.restart(&cause)?,
                }
                (cause, None)
            }
            StreamFailure::Final(error @ Error::Server(_)) if self.had_contact && self.faults < 2 => {
                self.faults += 1;
                (error.to_string(), None)
            }
            StreamFailure::Final(error) => return Err(error),
        };
        let wait = self.backoff.next(retry_after);
        self.retry_at = Some(Instant::now() + wait);
        self.pending.push_back(Update::Disconnected { cause, wait });
        Ok(())
    }

    /// Starts again at the first event of the stream.
    fn restart(&mut self, cause: &str) -> Result<()> {
        self.restarts += 1;
        if self.restarts > MAX_RESTARTS {
            return Err(Error::ContractViolation(cause.to_owned()));
        }
        self.cursor.clear();
        self.audio_cursor.clear();
        for (stage, audio) in [(Stage::Draft, &mut self.draft), (Stage::Master, &mut self.master)] {
            if audio.next_frame() > 0 {
                *audio = ChunkSequence::default();
                self.pending.push_back(Update::Rewound(stage, 0));
            }
        }
        Ok(())
    }

    pub(super) fn silent(&self) -> StreamFailure {
        let cause = format!("no message for {:?}", self.silence_limit());
        StreamFailure::Transient(Error::Unreachable { server: self.connection.address.to_string(), cause }, None)
    }
}
