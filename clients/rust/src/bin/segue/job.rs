//! What is made is followed to its end and brought home; it is the same for all that makes or watches one composition.

use std::path::PathBuf;

use segue_client::{
    Failure, Opening, Watch, WatchOptions, clean,
    proto::segue::{
        analyzer::v1::Report,
        composer::v1::{AudioSelection, Composition, GetCompositionRequest, Section, State},
    },
};
use serde_json::json;

use crate::{
    analyze,
    args::{Follow, Listen},
    exit::Stop,
    feed::Draft,
    follow::{Sound, follow, hear_out},
    interrupts::Interrupts,
    outputs,
    resources::SHORT,
    settings::Reach,
    talk::Talk,
    words,
};

/// Where the finished sound goes.
pub enum Target {
    Nowhere,
    Stdout,
    File(PathBuf),
}

/// What is done with a composition.
pub struct Job {
    pub opening: Opening,
    pub target: Target,
    /// There will be a draft, and it is wanted.
    pub has_draft: bool,
    pub listen: Listen,
    pub follow: Follow,
    /// Ctrl-C leaves it running.
    pub detach: bool,
    /// The sections as they were before an edit. Empty where nothing is edited.
    pub before: Vec<Section>,
}

/// What is said when the service was asked, and nobody waits for its answer.
pub const MAYBE_BEGUN: &str = "it may have been begun all the same: `segue list` shows it, `segue cancel` stops it";

/// How a stream is watched.
pub fn options(follow: Follow, audio: AudioSelection) -> WatchOptions {
    WatchOptions {
        audio,
        heartbeat: follow.heartbeat,
        give_up_after: follow.give_up_after,
        stall_limit: follow.stall_limit,
        ..WatchOptions::default()
    }
}

/// Follows a composition and brings its files home.
pub async fn run(reach: &Reach, talk: &Talk, job: Job) -> Result<(), Stop> {
    let mut sound = open_sound(talk, &job)?;
    let mut interrupts = Interrupts::listen(talk)?;
    let audio = if sound.draft.is_some() { AudioSelection::Draft } else { AudioSelection::None };
    let mut watch = Watch::new(reach.connection.clone(), job.opening.clone(), options(job.follow, audio));
    let ended = match follow(reach, talk, &mut watch, &mut sound, &mut interrupts, job.detach).await {
        Ok(ended) => ended,
        Err(stop) => {
            keep_draft(talk, watch.name(), &mut sound, "what came so far")?;
            return Err(stop);
        }
    };
    let composition = ended.composition;
    let outcome = if let Some(failure) = failure(&composition) {
        keep_draft(talk, &composition.name, &mut sound, "what was finished")?;
        if ended.was_cancelled_here {
            talk.note("cancelled");
            Err(Stop::Interrupted)
        } else {
            Err(Stop::Failed(Box::new(failure)))
        }
    } else {
        tokio::select! {
            outcome = bring_home(reach, talk, &job, &composition, &mut sound) => outcome,
            stop = interrupts.next() => Err(stop),
        }
        .inspect_err(|_| {
            // What went wrong is told; where the sound is meanwhile must be told, too.
            let _ = keep_draft(talk, &composition.name, &mut sound, "the draft");
            tell_where_files_are(talk, &composition);
        })
    };
    // Files first: a player takes as long as the piece.
    if !outcome.as_ref().is_err_and(Stop::is_wish) {
        hear_out(talk, &mut sound, &mut interrupts).await?;
    }
    outcome
}

/// Checks what was heard, tells what was measured, and fetches the files.
async fn bring_home(
    reach: &Reach,
    talk: &Talk,
    job: &Job,
    composition: &Composition,
    sound: &mut Sound,
) -> Result<(), Stop> {
    check_draft(reach, composition, sound).await?;
    report(talk, composition, &job.before);
    let path = match &job.target {
        Target::File(path) => path,
        Target::Stdout => {
            // What went there is the draft.
            tell_where_files_are(talk, composition);
            return Ok(());
        }
        Target::Nowhere => return Ok(()),
    };
    outputs::save(reach, talk, composition, path, job.follow.force).await?;
    if let Some(draft) = sound.draft.as_mut().filter(|_| !job.listen.keep_draft) {
        // Who still reads it has it open.
        draft.remove();
    }
    Ok(())
}

fn tell_where_files_are(talk: &Talk, composition: &Composition) {
    let id = clean(words::id(&composition.name));
    talk.note(&format!("the finished files wait at the service: segue download {id}"));
}

/// Why a composition that has ended is not there; also when a newer server has a word for it that is not known here.
pub fn failure(composition: &Composition) -> Option<Failure> {
    let state = State::try_from(composition.state);
    if matches!(state, Ok(State::Succeeded | State::Degraded)) {
        return None;
    }
    let mut failure = Failure::from_rpc(&composition.error.clone().unwrap_or_default());
    if state.is_err() && failure.message.is_empty() {
        failure.message = format!("it ended in {}, which this version does not know", words::state(composition.state));
    }
    Some(failure)
}

fn open_sound(talk: &Talk, job: &Job) -> Result<Sound, Stop> {
    let is_stdout = matches!(job.target, Target::Stdout);
    if is_stdout && talk.json {
        let text = "standard output cannot carry both sound and JSON";
        return Err(Stop::usage(text, "give -o a file, or leave --json out"));
    }
    if is_stdout && job.listen.play {
        return Err(Stop::usage("--play and -o - cannot be together", "what reads standard output can play it"));
    }
    if job.listen.keep_draft && !matches!(job.target, Target::File(_)) {
        return Err(Stop::usage("--keep-draft needs a file to lie beside", "name one with -o"));
    }
    let mut sound = Sound::default();
    if !job.has_draft {
        return Ok(sound);
    }
    let draft = match &job.target {
        Target::File(path) => Draft::create(outputs::draft_path(path, job.follow.force), false)?,
        Target::Stdout | Target::Nowhere => Draft::scratch()?,
    };
    if is_stdout {
        sound.feed = Some(draft.send_to_stdout()?);
        sound.feeds_stdout = true;
    } else if job.listen.play {
        match draft.play()? {
            Ok(feed) => sound.feed = Some(feed),
            Err(why) => talk.warn(&format!("{why}; it is made in silence")),
        }
    }
    sound.draft = Some(draft);
    Ok(sound)
}

/// What was heard must be all of it, else the file would be wrong without anybody knowing.
async fn check_draft(reach: &Reach, composition: &Composition, sound: &Sound) -> Result<(), Stop> {
    let Some(draft) = &sound.draft else { return Ok(()) };
    if draft.frames() == composition.draft_frames {
        return Ok(());
    }
    // The number itself may be what was damaged on its way.
    let request = GetCompositionRequest { name: composition.name.clone() };
    let asking = async { reach.connection.open().await?.get_composition(request).await };
    let fresh = Box::pin(asking).await?.composition.unwrap_or_default();
    if draft.frames() == fresh.draft_frames {
        return Ok(());
    }
    let text = format!("{} frames came, and the composition has {}", draft.frames(), fresh.draft_frames);
    Err(Stop::Error(segue_client::Error::Untrusted(text)))
}

/// Says where the unfinished sound is; an empty file is no use to anybody.
fn keep_draft(talk: &Talk, name: &str, sound: &mut Sound, what: &str) -> Result<(), Stop> {
    let Some(draft) = sound.draft.as_mut().filter(|draft| !draft.is_scratch) else { return Ok(()) };
    draft.complete()?;
    if draft.frames() == 0 {
        draft.remove();
        return Ok(());
    }
    talk.note(&format!("{what} is in {} ({})", draft.path.display(), words::clock(draft.seconds())));
    talk.client_event(name, json!({"draft": draft.path.display().to_string()}))
}

/// The measured facts, at the end.
fn report(talk: &Talk, composition: &Composition, before: &[Section]) {
    if talk.json {
        return;
    }
    // The drawing has them already.
    if !composition.joins.is_empty() && !talk.is_live {
        let joins: Vec<String> = composition
            .joins
            .iter()
            .map(|join| format!("{} › {} {:.2}", clean(&join.from_section_id), clean(&join.to_section_id), join.score))
            .collect();
        talk.note(&format!("joins: {}", joins.join(", ")));
    }
    let measured = measured(composition);
    if !measured.is_empty() {
        talk.note(&format!("measured: {}", measured.join(", ")));
    }
    if !before.is_empty() {
        talk.note(&changed(composition, before));
    }
    if talk.is_live && composition.plan.is_some() {
        // The drawing has a title and no name; without a terminal it was told at the beginning.
        let id: String = words::id(&composition.name).chars().take(SHORT).collect();
        talk.note(&format!("to change a part of it: segue edit {}", clean(&id)));
    }
    for degradation in &composition.degradations {
        talk.warn(&format!("degraded: {}", degradation.text));
    }
}

/// Which sections of an edited piece sound otherwise than before, and which do not.
fn changed(composition: &Composition, before: &[Section]) -> String {
    let is_kept = |section: &Section| before.iter().any(|each| each.take == section.take);
    let listed = |wanted: bool| {
        let sections = composition.sections.iter().filter(|section| is_kept(section) == wanted);
        let ids: Vec<String> = sections.map(|section| clean(&section.section_id)).collect();
        if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
    };
    format!("new: {}; kept: {}", listed(false), listed(true))
}

/// What the finished piece measures.
pub fn measured(composition: &Composition) -> Vec<String> {
    let metre = composition.plan.as_ref().and_then(|plan| plan.metre.as_ref());
    let loudness = composition.mastered.as_ref().and_then(|mastered| mastered.loudness);
    match &composition.report {
        Some(report) => analyze::facts(report, metre),
        None => analyze::facts(&Report { loudness, ..Report::default() }, metre),
    }
}
