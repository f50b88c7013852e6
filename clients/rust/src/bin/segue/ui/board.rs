//! The progress board: the state of a running composition, updated by its events.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use segue_client::{
    proto::segue::{
        analyzer::v1::Report,
        composer::v1::{Composition, CompositionEvent, SectionState, State, composition_event::Event},
        music::v1::{Plan, Warning},
    },
    sanitize,
};

use super::{format::ready, measurements, outline};
use crate::values;

/// The phase of a section.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    Waiting,
    Rendering,
    Rendered { reused: bool },
    Joined { score: Option<f64> },
    Failed,
}

/// One section of the board.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: String,
    pub label: String,
    pub bars: u32,
    pub first_frame: i64,
    pub frames: i64,
    pub energy: Vec<f64>,
    pub phase: Phase,
    pub fraction: f64,
    pub real_time_factor: f64,
    pub queue_position: u32,
    /// The expected time until it has a slot.
    pub queue_wait: Option<prost_types::Duration>,
    pub attempt: u32,
    /// The measurements of the master here, and their differences from the plan.
    pub measured: Option<String>,
}

/// A message about an event.
#[derive(Debug, PartialEq)]
pub enum Message {
    /// A step that the drawing shows too.
    Step(String),
    /// A message that should stay on the screen.
    Note(String),
}

/// The known state of a composition.
pub struct Board {
    pub name: String,
    pub title: String,
    pub facts: Vec<String>,
    pub state: i32,
    pub queue_position: u32,
    /// The role that does not answer, while the work waits for it.
    pub waiting_for: String,
    pub sample_rate: u32,
    pub frames: i64,
    pub rows: Vec<Row>,
    pub received_frames: i64,
    /// The error while there is no connection.
    pub disconnected: Option<String>,
    /// The sections and texts of the warnings so far.
    pub warned: HashSet<(String, String)>,
    /// When the composition will probably be complete.
    pub ready_at: Option<Instant>,
}

impl Board {
    pub fn new() -> Self {
        Self {
            name: String::new(),
            title: String::new(),
            facts: Vec::new(),
            state: State::Queued as i32,
            queue_position: 0,
            waiting_for: String::new(),
            sample_rate: 48_000,
            frames: 0,
            rows: Vec::new(),
            received_frames: 0,
            disconnected: None,
            warned: HashSet::new(),
            ready_at: None,
        }
    }

    /// The warnings of an event that no event before had, each as a line.
    pub fn new_warnings(&mut self, event: &CompositionEvent) -> Vec<String> {
        let warnings: &[Warning] = match &event.event {
            Some(Event::Warned(warning)) => std::slice::from_ref(warning),
            // Older services send no event for most warnings, and a watch may begin after it.
            Some(Event::Finished(finished)) => finished.composition.as_ref().map_or(&[], |each| &each.warnings),
            _ => &[],
        };
        let mut lines = Vec::new();
        for warning in warnings {
            if self.warned.insert((warning.section_id.clone(), warning.text.clone())) {
                lines.push(format!("warning: {}", self.about(&warning.section_id, &warning.text)));
            }
        }
        lines
    }

    /// Applies an event and returns a message about it.
    pub fn apply(&mut self, event: &CompositionEvent) -> Option<Message> {
        self.name = sanitize(&event.composition);
        match &event.event {
            Some(Event::Accepted(accepted)) => {
                self.set_composition(accepted.composition.as_ref());
                Some(Message::Step(format!("accepted: {}", self.name)))
            }
            Some(Event::Started(started)) => {
                self.state = State::Planning as i32;
                self.queue_position = 0;
                (started.claims > 1).then(|| Message::Note("another conductor continues the composition".into()))
            }
            Some(Event::Planned(planned)) => {
                self.set_plan(planned.plan.as_ref());
                Some(Message::Step(format!("planned: {}", self.headline())))
            }
            Some(Event::Replanned(replanned)) => {
                self.change_plan(replanned.plan.as_ref());
                None
            }
            Some(Event::Checkpoint(checkpoint)) => {
                let has_moved = checkpoint.queue_position != self.queue_position;
                let estimated = self.set_ready(checkpoint.ready_in.as_ref());
                self.state = checkpoint.state;
                self.queue_position = checkpoint.queue_position;
                let waits_anew = sanitize(&checkpoint.waiting_for) != self.waiting_for;
                self.waiting_for = sanitize(&checkpoint.waiting_for);
                if waits_anew && !self.waiting_for.is_empty() {
                    let text = format!("waiting for the {}, which does not answer", self.waiting_for);
                    return Some(Message::Step(text));
                }
                if has_moved && self.queue_position > 0 {
                    let ready = checkpoint.ready_in.as_ref().map_or(String::new(), |time| format!(", {}", ready(time)));
                    return Some(Message::Step(format!(
                        "waiting, position {} in the queue{ready}",
                        self.queue_position
                    )));
                }
                estimated
            }
            Some(Event::DraftFinished(_)) => {
                self.state = State::Mastering as i32;
                Some(Message::Step("the draft is complete; mastering".into()))
            }
            Some(Event::MasterMade(_)) => Some(Message::Step("mastered".into())),
            Some(Event::Analyzed(report)) => {
                self.set_report(report);
                // The report is printed at the end.
                None
            }
            Some(Event::Degraded(what)) => {
                Some(Message::Note(format!("degraded: {}", self.about(&what.section_id, &what.text))))
            }
            Some(Event::Finished(finished)) => {
                self.state = finished.composition.as_ref().map_or(self.state, |each| each.state);
                None
            }
            Some(other) => self.apply_to_section(other),
            None => None,
        }
    }

    fn apply_to_section(&mut self, event: &Event) -> Option<Message> {
        if matches!(event, Event::SectionStarted(_) | Event::SectionFinished(_) | Event::SectionMixed(_)) {
            self.state = State::Rendering as i32;
        }
        match event {
            Event::SectionStarted(started) => {
                let row = self.row(&started.section_id)?;
                row.phase = Phase::Rendering;
                row.attempt = started.attempt;
                row.fraction = 0.0;
                row.queue_position = 0;
                Some(Message::Step(format!("{}: rendering with {}", row.label, sanitize(&started.model))))
            }
            Event::SectionProgress(progress) => {
                let estimated = self.set_ready(progress.ready_in.as_ref());
                let row = self.row(&progress.section_id)?;
                row.fraction = progress.fraction_done.clamp(0.0, 1.0);
                row.real_time_factor = progress.real_time_factor;
                row.queue_position = progress.queue_position;
                row.queue_wait = progress.queue_wait;
                estimated
            }
            Event::SectionFinished(finished) => {
                let row = self.row(&finished.section_id)?;
                if finished.reused && matches!(row.phase, Phase::Joined { .. }) {
                    // Another conductor found this section in the draft and does not join it again.
                    return None;
                }
                row.phase = Phase::Rendered { reused: finished.reused };
                row.fraction = 1.0;
                row.queue_position = 0;
                Some(Message::Step(format!("{}: {}", row.label, if finished.reused { "reused" } else { "rendered" })))
            }
            Event::SectionRetried(retried) => {
                let why = retried.error.as_ref().map_or("", |error| error.message.as_str());
                let row = self.row(&retried.section_id)?;
                row.phase = Phase::Waiting;
                row.fraction = 0.0;
                Some(Message::Note(format!(
                    "{}: attempt {} failed ({}); retrying",
                    row.label,
                    retried.attempt,
                    sanitize(why)
                )))
            }
            Event::SectionMixed(mixed) => {
                let score = mixed.join.as_ref().map(|join| join.score);
                let row = self.row(&mixed.section_id)?;
                row.phase = Phase::Joined { score };
                row.fraction = 1.0;
                let score = score.map_or(String::new(), |score| format!(" ({score:.2})"));
                Some(Message::Step(format!("{}: joined{score}", row.label)))
            }
            _ => None,
        }
    }

    /// The title and the facts in one line.
    pub fn headline(&self) -> String {
        let facts = self.facts.join(" · ");
        if self.title.is_empty() { facts } else { format!("{} · {facts}", self.title) }
    }

    /// The finished part of the rendering, 0 to 1.
    pub fn fraction(&self) -> f64 {
        let total: i64 = self.rows.iter().map(|row| row.frames).sum();
        let done: f64 = self.rows.iter().map(|row| row.fraction * row.frames as f64).sum();
        if total > 0 { done / total as f64 } else { 0.0 }
    }

    /// The seconds until the composition is probably complete.
    pub fn seconds_left(&self, now: Instant) -> Option<f64> {
        self.ready_at.map(|at| at.saturating_duration_since(now).as_secs_f64())
    }

    /// Stores an estimate; the first one gives a message.
    fn set_ready(&mut self, time: Option<&prost_types::Duration>) -> Option<Message> {
        let was_known = self.ready_at.is_some();
        let length = time.and_then(|time| Duration::try_from(*time).ok());
        self.ready_at = length.and_then(|length| Instant::now().checked_add(length));
        time.filter(|_| self.ready_at.is_some() && !was_known).map(|time| Message::Step(ready(time)))
    }

    /// Stores the analyzer's measurements of each section.
    fn set_report(&mut self, report: &Report) {
        for section in &report.sections {
            let loudness = section.loudness.and_then(|each| each.integrated_lufs);
            let mut found: Vec<String> = loudness.map(|lufs| format!("{lufs:.1} LUFS")).into_iter().collect();
            found.extend((section.tempo_matches == Some(false)).then(|| "other tempo".to_owned()));
            found.extend((section.key_matches == Some(false)).then(|| "other key".to_owned()));
            found.extend(measurements::of_section(section));
            if let Some(row) = self.row(&section.section_id) {
                row.measured = (!found.is_empty()).then(|| found.join(", "));
            }
        }
    }

    /// Stores the state of a composition.
    fn set_composition(&mut self, composition: Option<&Composition>) {
        let Some(composition) = composition else { return };
        self.state = composition.state;
        self.queue_position = composition.queue_position;
        if composition.plan.is_some() {
            self.set_plan(composition.plan.as_ref());
        }
        for section in &composition.sections {
            let phase = match SectionState::try_from(section.state) {
                Ok(SectionState::Rendering) => Phase::Rendering,
                Ok(SectionState::Rendered) => Phase::Rendered { reused: section.reused },
                Ok(SectionState::Joined) => Phase::Joined { score: None },
                Ok(SectionState::Failed) => Phase::Failed,
                _ => Phase::Waiting,
            };
            if let Some(row) = self.row(&section.section_id) {
                row.fraction = if matches!(phase, Phase::Rendered { .. } | Phase::Joined { .. }) { 1.0 } else { 0.0 };
                row.phase = phase;
            }
        }
    }

    /// Stores a plan. All sections wait.
    pub fn set_plan(&mut self, plan: Option<&Plan>) {
        let Some(plan) = plan else { return };
        self.title = sanitize(&plan.title);
        self.facts = outline::facts(plan);
        self.sample_rate = plan.sample_rate.max(1);
        self.frames = plan.frames;
        self.rows = plan
            .sections
            .iter()
            .filter_map(|planned| {
                let spec = planned.spec.as_ref()?;
                let label = if spec.label.is_empty() { values::role(spec.role) } else { sanitize(&spec.label) };
                Some(Row {
                    id: spec.section_id.clone(),
                    label,
                    bars: spec.bars,
                    first_frame: planned.first_frame,
                    frames: spec.frames,
                    energy: spec.energy.clone(),
                    phase: Phase::Waiting,
                    fraction: 0.0,
                    real_time_factor: 0.0,
                    queue_position: 0,
                    queue_wait: None,
                    attempt: 0,
                    measured: None,
                })
            })
            .collect();
    }

    /// Stores a plan that changed during the work. Sections that it still has keep their progress.
    fn change_plan(&mut self, plan: Option<&Plan>) {
        let before = std::mem::take(&mut self.rows);
        self.set_plan(plan);
        for row in before {
            if let Some(present) = self.row(&row.id) {
                let first_frame = present.first_frame;
                *present = Row { first_frame, ..row };
            }
        }
    }

    fn row(&mut self, id: &str) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.id == id)
    }

    /// A text about a section, with the section's label.
    pub fn about(&self, id: &str, text: &str) -> String {
        match self.rows.iter().find(|row| row.id == id) {
            Some(row) => format!("{}: {}", row.label, sanitize(text)),
            None => sanitize(text),
        }
    }
}
