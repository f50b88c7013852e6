//! How a stream goes on after trouble: where it is asked for again, how soon, and when it is given up.

use std::time::Duration;

use tokio::time::Instant;

use super::Watch;
use crate::{Error, Fault, Result, Track, proto::segue::audio::v1::Stage, stream::Broken, updates::Update};

/// How many faults in a row are forgiven without anything new in between.
const MAX_FAULTS: u32 = 6;
/// How many calls there are before anything came at all: something else may listen there.
const MAX_EARLY_CALLS: u32 = 3;
/// How long a server that went away before it said anything may stay away: a restart is over by then.
const EARLY_LIMIT: Duration = Duration::from_secs(20);
/// How often the stream may be read again from its first event.
const MAX_RESTARTS: u32 = 3;

impl Watch {
    pub(super) fn recover(&mut self, broken: Broken) -> Result<()> {
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

    pub(super) fn silent(&self) -> Broken {
        let cause = format!("no sign of life for {:?}", self.silence());
        Broken::Passing(Error::Unreachable { server: self.connection.address.to_string(), cause }, None)
    }
}
