//! What a message means: it is checked, queued for the reader, and its place in the stream remembered.

use tokio::time::Instant;

use super::Watch;
use crate::{
    Fault,
    proto::segue::{
        audio::v1::Stage,
        composer::v1::{CompositionEvent, State, composition_event::Event},
    },
    updates::Update,
};

impl Watch {
    /// Checks a message and queues what it means. An error leaves everything as it was.
    pub(super) fn take(&mut self, cursor: String, event: CompositionEvent) -> Result<(), Fault> {
        if event.composition.is_empty() || !self.name.is_empty() && event.composition != self.name {
            return Err(Fault(format!("an event of \"{}\" came in the stream of {}", event.composition, self.name)));
        }
        if cursor.is_empty() || event.sequence < 0 {
            return Err(Fault("an event has no place in the stream".to_owned()));
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
                    _ => return Err(Fault("audio came that is neither draft nor master".to_owned())),
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
                self.note_progress(sequence, 0);
            }
            Some(inner) => self.take_event(sequence, CompositionEvent { event: Some(inner), ..event })?,
        }
        self.cursor = cursor;
        Ok(())
    }

    /// Passes over what a newer server knows and we do not.
    fn skip(&mut self, cursor: String) {
        self.pending.push_back(Update::Skipped);
        self.cursor = cursor;
    }

    fn take_event(&mut self, sequence: i64, event: CompositionEvent) -> Result<(), Fault> {
        match &event.event {
            Some(Event::Checkpoint(checkpoint)) => {
                if is_terminal(checkpoint.state) {
                    return Err(Fault("it has ended, and its last event did not come".to_owned()));
                }
                // A queue moves without us; work must show something.
                if checkpoint.state != self.last_state || checkpoint.state == State::Queued as i32 {
                    self.last_state = checkpoint.state;
                    self.moved = Instant::now();
                }
            }
            Some(Event::SectionProgress(progress)) => {
                if (progress.fraction_done - self.last_fraction).abs() > f64::EPSILON {
                    self.last_fraction = progress.fraction_done;
                    self.moved = Instant::now();
                }
            }
            Some(Event::Finished(finished)) => {
                let state = finished.composition.as_ref().map_or(0, |each| each.state);
                // A newer server may know more ways to end.
                if State::try_from(state).is_ok() && !is_terminal(state) {
                    return Err(Fault("the last event says that the composition has not ended".to_owned()));
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

    fn rewind(&mut self, stage: Stage, first_frame: i64) -> Result<(), Fault> {
        let track = match stage {
            Stage::Draft => &mut self.draft,
            Stage::Master => &mut self.master,
            _ => return Err(Fault("a rewind names no stage".to_owned())),
        };
        if first_frame < 0 {
            return Err(Fault(format!("a rewind goes to frame {first_frame}")));
        }
        track.rewind(first_frame);
        self.pending.push_back(Update::Rewound(stage, first_frame));
        Ok(())
    }

    /// Forgets earlier faults when something came that had never come before.
    fn note_progress(&mut self, sequence: i64, end_frame: i64) {
        if (sequence, end_frame) > self.furthest {
            self.furthest = (sequence, end_frame);
            self.moved = Instant::now();
            self.faults = 0;
            self.troubled_since = None;
            self.backoff.reset();
        }
    }
}

fn is_terminal(state: i32) -> bool {
    matches!(State::try_from(state), Ok(State::Succeeded | State::Degraded | State::Failed | State::Cancelled))
}
