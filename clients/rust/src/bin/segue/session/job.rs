//! A job: one composition is followed to its end, and its files are downloaded.

use std::path::{Path, PathBuf};

use segue_client::{
    Failure, StreamRequest, Watch, WatchOptions,
    proto::segue::{
        audio::v1::FileFormat,
        composer::v1::{AudioSelection, Composition, Section, State},
    },
    sanitize,
};

use super::{file_names, follow::follow, outputs, settings::Server, signals::Signals, sound::Sound};
use crate::{
    args::options::{FollowOptions, PlaybackOptions},
    exit::CliError,
    ui::{measurements, printer::Printer, summary},
    values,
};

/// The destination of the finished audio.
pub enum Target {
    None,
    Stdout,
    File(PathBuf, FileFormat),
}

impl Target {
    /// The target of a composition whose format is chosen already: that of the file's name must be the same.
    pub fn named(output: Option<PathBuf>, force: bool) -> Result<Self, CliError> {
        match output {
            Some(path) if path == Path::new("-") => Ok(Self::Stdout),
            Some(path) => {
                let format = file_names::output_format(&path, None)?;
                file_names::check_free(&path, force)?;
                Ok(Self::File(path, format))
            }
            None => Ok(Self::None),
        }
    }
}

/// One composition to follow.
pub struct Job {
    pub request: StreamRequest,
    pub target: Target,
    /// The composition has a draft, and the draft is needed.
    pub has_draft: bool,
    pub playback: PlaybackOptions,
    pub follow: FollowOptions,
    /// Ctrl-C leaves the composition running.
    pub detach: bool,
    /// The sections before an edit. Empty without an edit.
    pub sections_before: Vec<Section>,
}

/// The options of a stream.
pub fn watch_options(follow: FollowOptions, audio: AudioSelection) -> WatchOptions {
    WatchOptions {
        audio,
        heartbeat: follow.heartbeat,
        give_up_after: follow.give_up_after,
        stall_limit: follow.stall_limit,
        ..WatchOptions::default()
    }
}

impl Job {
    /// Follows the composition and downloads its files.
    pub async fn run(self, server: &Server, printer: &Printer) -> Result<(), CliError> {
        let mut sound = self.open_sound(printer)?;
        let mut signals = Signals::listen(printer)?;
        let audio = if sound.draft.is_some() { AudioSelection::Draft } else { AudioSelection::None };
        let options = watch_options(self.follow, audio);
        let mut watch = Watch::new(server.connection.clone(), self.request.clone(), options);
        let end = match follow(server, printer, &mut watch, &mut sound, &mut signals, self.detach).await {
            Ok(end) => end,
            Err(error) => {
                sound.keep_draft(printer, watch.name(), "the draft so far")?;
                return Err(error);
            }
        };
        let composition = end.composition;
        let outcome = if let Some(failure) = failure(&composition) {
            sound.keep_draft(printer, &composition.name, "the draft so far")?;
            if end.was_cancelled_here {
                printer.note("cancelled");
                Err(CliError::Interrupted)
            } else {
                if !printer.json {
                    for line in summary::failure_lines(&composition) {
                        printer.note(&line);
                    }
                }
                Err(CliError::WorkFailed(Box::new(failure)))
            }
        } else {
            tokio::select! {
                outcome = self.finish(server, printer, &composition, &mut sound) => outcome,
                signal = signals.next() => Err(signal),
            }
            .inspect_err(|_| {
                // The first error is reported. The location of the audio is reported in any case.
                let _ = sound.keep_draft(printer, &composition.name, "the draft");
                note_remote_files(printer, &composition);
            })
        };
        // The download comes before the end of the playback, which takes as long as the piece.
        if !outcome.as_ref().is_err_and(CliError::is_interruption) {
            sound.play_to_end(printer, &mut signals).await?;
        }
        outcome
    }

    /// Checks the options that concern the audio, and opens the draft.
    fn open_sound(&self, printer: &Printer) -> Result<Sound, CliError> {
        let is_stdout = matches!(self.target, Target::Stdout);
        if is_stdout && printer.json {
            let text = "standard output cannot carry both audio and JSON";
            return Err(CliError::usage(text, "write to a file with -o, or leave out --json"));
        }
        if is_stdout && self.playback.play {
            let text = "--play cannot be used with `-o -`";
            return Err(CliError::usage(text, "pipe standard output to a player, or write to a file with -o"));
        }
        if self.playback.keep_draft && !matches!(self.target, Target::File(..)) {
            return Err(CliError::usage("--keep-draft needs an output file", "name a file with -o"));
        }
        if !self.has_draft {
            return Ok(Sound::default());
        }
        match &self.target {
            Target::File(path, _) => Sound::to_file(printer, path, self.follow.force, self.playback.play),
            Target::Stdout => Sound::to_stdout(),
            Target::None => Sound::to_player(printer, self.playback.play),
        }
    }

    /// Checks the draft, reports the measurements, and downloads the files.
    async fn finish(
        &self,
        server: &Server,
        printer: &Printer,
        composition: &Composition,
        sound: &mut Sound,
    ) -> Result<(), CliError> {
        sound.check_draft(&server.connection, composition).await?;
        report(printer, composition, &self.sections_before);
        let (path, format) = match &self.target {
            Target::File(path, format) => (path, *format),
            Target::Stdout => {
                // Standard output got the draft.
                note_remote_files(printer, composition);
                return Ok(());
            }
            Target::None => return Ok(()),
        };
        outputs::save(server, printer, composition, (path, format), self.follow.force).await?;
        if let Some(draft) = sound.draft.as_mut().filter(|_| !self.playback.keep_draft) {
            // A reader keeps the removed file open until its end.
            draft.remove();
        }
        Ok(())
    }
}

fn note_remote_files(printer: &Printer, composition: &Composition) {
    let id = sanitize(summary::id(&composition.name));
    printer.note(&format!("the finished files are on the server: segue download {id}"));
}

/// The failure of a composition, or `None` after a success. A state that this version does not know is a failure.
pub fn failure(composition: &Composition) -> Option<Failure> {
    let state = State::try_from(composition.state);
    if matches!(state, Ok(State::Succeeded | State::Degraded)) {
        return None;
    }
    let mut failure = Failure::from_rpc(&composition.error.clone().unwrap_or_default());
    if state.is_err() && failure.message.is_empty() {
        let state = values::state(composition.state);
        failure.message = format!("the composition ended in {state}, which this version does not know");
    }
    Some(failure)
}

/// Prints the results of a finished composition.
fn report(printer: &Printer, composition: &Composition, sections_before: &[Section]) {
    if printer.json {
        return;
    }
    // The drawing already shows the joins.
    if !composition.joins.is_empty() && !printer.is_live {
        let joins: Vec<String> = composition
            .joins
            .iter()
            .map(|join| {
                format!("{} › {} {:.2}", sanitize(&join.from_section_id), sanitize(&join.to_section_id), join.score)
            })
            .collect();
        printer.note(&format!("joins: {}", joins.join(", ")));
    }
    let measured = measurements::of_composition(composition);
    if !measured.is_empty() {
        printer.note(&format!("measured: {}", measured.join(", ")));
    }
    if !sections_before.is_empty() {
        printer.note(&changed_sections(composition, sections_before));
    }
    if printer.is_live && composition.plan.is_some() {
        // The drawing shows the title instead of the name. Plain output began with the name.
        let id = sanitize(&summary::short_id(&composition.name));
        printer.note(&format!("to change a section: segue edit {id}"));
    }
    for degradation in &composition.degradations {
        printer.warn(&format!("degraded: {}", degradation.text));
    }
}

/// Lists the sections that an edit rendered, and those that it kept.
fn changed_sections(composition: &Composition, sections_before: &[Section]) -> String {
    let is_kept = |section: &Section| sections_before.iter().any(|each| each.take == section.take);
    let listed = |wanted: bool| {
        let sections = composition.sections.iter().filter(|section| is_kept(section) == wanted);
        let ids: Vec<String> = sections.map(|section| sanitize(&section.section_id)).collect();
        if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
    };
    format!("new: {}; kept: {}", listed(false), listed(true))
}
