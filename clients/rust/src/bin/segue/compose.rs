//! `segue compose`, and `segue watch` of one composition.

use std::{
    fs,
    path::{Path, PathBuf},
};

use segue_client::{
    Failure, Opening, Watch, WatchOptions, clean,
    proto::segue::{
        analyzer::v1::Report,
        composer::v1::{AudioSelection, ComposeRequest, Composition, GetCompositionRequest, State},
    },
};

use crate::{
    analyze,
    args::{self, Compose, FileKind, Follow, Listen},
    exit::Stop,
    feed::Draft,
    follow::{Sound, follow},
    outputs,
    settings::Reach,
    spec,
    talk::Talk,
    together, words,
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
}

/// `segue compose`.
pub async fn compose(reach: &Reach, talk: &Talk, asked: Compose) -> Result<(), Stop> {
    let is_stdout = asked.output.as_deref() == Some(Path::new("-"));
    let kind = file_kind(asked.output.as_deref().filter(|_| !is_stdout), asked.format)?;
    let target = match &asked.output {
        Some(_) if is_stdout => Target::Stdout,
        Some(path) => Target::File(path.clone()),
        None => Target::File(outputs::free_name(asked.asked.prompt.as_deref().unwrap_or_default(), kind)),
    };
    let request = ComposeRequest {
        spec: Some(spec::composed(&asked, kind)?),
        request_id: uuid::Uuid::new_v4().to_string(),
        ..ComposeRequest::default()
    };
    let opening = Opening::Compose(Box::new(request));
    let (listen, follow, detach) = (asked.listen, asked.follow, asked.detach);
    Box::pin(run(reach, talk, Job { opening, target, has_draft: true, listen, follow, detach })).await
}

/// `segue watch`.
pub async fn watch(reach: &Reach, talk: &Talk, asked: args::Watch) -> Result<(), Stop> {
    let names = asked.names.iter().map(|name| words::composition_name(name)).collect::<Result<Vec<_>, _>>()?;
    let [name] = names.as_slice() else {
        if asked.output.is_some() || asked.listen.play || asked.listen.keep_draft {
            return Err(Stop::usage("the sound of several compositions has no place to go", "watch one of them"));
        }
        return together::watch(reach, talk, &names, asked.follow).await;
    };
    let target = match asked.output {
        Some(path) if path == Path::new("-") => Target::Stdout,
        Some(path) => {
            file_kind(Some(&path), None)?;
            Target::File(path)
        }
        None => Target::Nowhere,
    };
    let has_draft = asked.listen.play || !matches!(target, Target::Nowhere);
    let opening = Opening::Watch { name: name.clone() };
    // Who only watches does not own the piece: Ctrl-C leaves it running.
    let job = Job { opening, target, has_draft, listen: asked.listen, follow: asked.follow, detach: true };
    Box::pin(run(reach, talk, job)).await
}

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
    let audio = if sound.draft.is_some() { AudioSelection::Draft } else { AudioSelection::None };
    let watch = Watch::new(reach.connection.clone(), job.opening, options(job.follow, audio));
    let ended = match follow(reach, talk, watch, &mut sound, job.detach).await {
        Ok(ended) => ended,
        Err(stop) => {
            keep_draft(talk, sound, false)?;
            return Err(stop);
        }
    };
    let composition = ended.composition;
    if let Some(failure) = failure(&composition) {
        keep_draft(talk, sound, true)?;
        if ended.was_cancelled_here {
            talk.note("cancelled");
            return Err(Stop::Interrupted);
        }
        return Err(Stop::Failed(Box::new(failure)));
    }
    check_draft(reach, &composition, &sound).await?;
    report(talk, &composition);
    if let Target::File(path) = &job.target {
        outputs::save(reach, talk, &composition, path, job.follow.force).await?;
        match sound.draft {
            Some(draft) if !job.listen.keep_draft => {
                fs::remove_file(&draft.path).ok();
            }
            _ => {}
        }
    }
    Ok(())
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
    if let Target::File(path) = &job.target {
        outputs::check_free(path, job.follow.force, talk)?;
    }
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
fn keep_draft(talk: &Talk, mut sound: Sound, has_ended: bool) -> Result<(), Stop> {
    let Some(draft) = sound.draft.as_mut().filter(|_| !sound.feeds_stdout) else { return Ok(()) };
    draft.complete()?;
    if draft.frames() == 0 {
        fs::remove_file(&draft.path).ok();
        return Ok(());
    }
    let what = if has_ended { "what was finished" } else { "what came so far" };
    talk.note(&format!("{what} is in {} ({})", draft.path.display(), words::clock(draft.seconds())));
    Ok(())
}

/// The measured facts, at the end.
fn report(talk: &Talk, composition: &Composition) {
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
    for degradation in &composition.degradations {
        talk.warn(&format!("degraded: {}", degradation.text));
    }
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

fn file_kind(path: Option<&Path>, format: Option<FileKind>) -> Result<FileKind, Stop> {
    let by_name = path.map(|path| {
        outputs::kind_of(path).ok_or_else(|| {
            let text = format!("{}: the name says no kind of sound file", path.display());
            Stop::usage(text, "end it with .flac, .wav, .opus, .ogg or .mp3")
        })
    });
    match (by_name.transpose()?, format) {
        (Some(named), Some(format)) if named != format => {
            Err(Stop::usage("the file's name and --format contradict each other", "leave one of them out"))
        }
        (named, format) => Ok(named.or(format).unwrap_or(FileKind::Flac)),
    }
}
