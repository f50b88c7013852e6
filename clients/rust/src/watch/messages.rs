//! Messages of the stream: each is checked, queued for the caller, and its cursor is stored.

use tokio::time::Instant;

use super::{Watch, chunks::InvalidMessage, updates::Update};
use crate::proto::segue::{
    audio::v1::Stage,
    composer::v1::{CompositionEvent, State, composition_event::Event},
};

impl Watch {
    /// Checks a message and queues its update. An invalid message changes nothing.
    pub(super) fn receive(&mut self, cursor: String, event: CompositionEvent) -> Result<(), InvalidMessage> {
        if event.composition.is_empty() || !self.name.is_empty() && event.composition != self.name {
            return Err(InvalidMessage(format!(
                "the stream of {} has an event of \"{}\"",
                self.name, event.composition
            )));
        }
        if cursor.is_empty() || event.sequence < 0 {
            return Err(InvalidMessage("an event has no cursor or no sequence number".to_owned()));
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
                    _ => return Err(InvalidMessage("a chunk belongs to no stage".to_owned())),
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
                if sequence == 0 {
                    // The store has lost rows: the stream starts again at its first event.
                    self.delivered = 0;
                    self.furthest = (0, 0);
                }
                self.note_progress(sequence, 0);
            }
            Some(inner) => self.receive_event(sequence, CompositionEvent { event: Some(inner), ..event })?,
        }
        self.cursor = cursor;
        Ok(())
    }

    /// Skips a message that only newer versions know.
    fn skip(&mut self, cursor: String) {
        self.pending.push_back(Update::Skipped);
        self.cursor = cursor;
    }

    fn receive_event(&mut self, sequence: i64, event: CompositionEvent) -> Result<(), InvalidMessage> {
        match &event.event {
            Some(Event::Checkpoint(checkpoint)) => {
                if is_terminal(checkpoint.state) {
                    return Err(InvalidMessage("the composition ended without a last event".to_owned()));
                }
                // A queued composition needs no progress of its own; a running one does.
                if checkpoint.state != self.last_state || checkpoint.state == State::Queued as i32 {
                    self.last_state = checkpoint.state;
                    self.progressed_at = Instant::now();
                }
            }
            Some(Event::SectionProgress(progress)) => {
                if (progress.fraction_done - self.last_fraction).abs() > f64::EPSILON {
                    self.last_fraction = progress.fraction_done;
                    self.progressed_at = Instant::now();
                }
            }
            Some(Event::Finished(finished)) => {
                let state = finished.composition.as_ref().map_or(0, |each| each.state);
                // A newer server may have other final states.
                if State::try_from(state).is_ok() && !is_terminal(state) {
                    return Err(InvalidMessage("the last event has a state that is not final".to_owned()));
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

    fn rewind(&mut self, stage: Stage, first_frame: i64) -> Result<(), InvalidMessage> {
        let audio = match stage {
            Stage::Draft => &mut self.draft,
            Stage::Master => &mut self.master,
            _ => return Err(InvalidMessage("a rewind names no stage".to_owned())),
        };
        if first_frame < 0 {
            return Err(InvalidMessage(format!("a rewind goes to frame {first_frame}")));
        }
        audio.rewind(first_frame);
        self.pending.push_back(Update::Rewound(stage, first_frame));
        Ok(())
    }

    /// Forgets earlier faults when the stream is further than ever before.
    fn note_progress(&mut self, sequence: i64, end_frame: i64) {
        if (sequence, end_frame) > self.furthest {
            self.furthest = (sequence, end_frame);
            self.progressed_at = Instant::now();
            self.faults = 0;
            self.failing_since = None;
            self.backoff.reset();
        }
    }
}

fn is_terminal(state: i32) -> bool {
    matches!(State::try_from(state), Ok(State::Succeeded | State::Degraded | State::Failed | State::Cancelled))
}
