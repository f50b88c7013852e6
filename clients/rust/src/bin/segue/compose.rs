//! `segue compose` and `segue watch`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use segue_client::{
    Failure, Opening, Watch, WatchOptions, clean,
    proto::segue::{
        analyzer::v1::Report,
        composer::v1::{AudioSelection, ComposeRequest, Composition, State},
    },
};

use crate::{
    analyze,
    args::{self, Compose, FileKind, Follow},
    exit::Stop,
    feed::Draft,
    follow::{Sound, follow},
    outputs,
    settings::Reach,
    spec,
    talk::Talk,
    words,
};

/// Where the finished sound goes.
pub enum Target {
    Nowhere,
    Stdout,
    File(PathBuf),
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
    run(reach, talk, Opening::Compose(Box::new(request)), target, &asked.follow).await
}

/// `segue watch`.
pub async fn watch(reach: &Reach, talk: &Talk, asked: args::Watch) -> Result<(), Stop> {
    let name = words::composition_name(&asked.name)?;
    let target = match asked.output {
        Some(path) if path == Path::new("-") => Target::Stdout,
        Some(path) => {
            file_kind(Some(&path), None)?;
            Target::File(path)
        }
        None => Target::Nowhere,
    };
    // Who only watches does not own the piece: Ctrl-C leaves it running.
    let follow = Follow { detach: true, ..asked.follow };
    run(reach, talk, Opening::Watch { name }, target, &follow).await
}

/// Follows a composition and brings its files home.
pub async fn run(reach: &Reach, talk: &Talk, opening: Opening, target: Target, asked: &Follow) -> Result<(), Stop> {
    if talk.json && matches!(target, Target::Stdout) {
        return Err(Stop::usage(
            "standard output cannot carry both sound and JSON",
            "give -o a file, or leave --json out",
        ));
    }
    let mut sound = open_sound(talk, &target, asked)?;
    let options = WatchOptions {
        audio: if sound.draft.is_some() { AudioSelection::Draft } else { AudioSelection::None },
        heartbeat: asked.heartbeat,
        give_up_after: asked.give_up_after,
        stall_limit: asked.stall_limit,
        ..WatchOptions::default()
    };
    let watch = Watch::new(reach.connection.clone(), opening, options);
    let ended = follow(reach, talk, watch, &mut sound, asked.detach).await;
    let ended = match ended {
        Ok(ended) => ended,
        Err(stop) => {
            keep_draft(talk, sound, false)?;
            return Err(stop);
        }
    };
    let composition = ended.composition;
    let state = State::try_from(composition.state).unwrap_or_default();
    if !matches!(state, State::Succeeded | State::Degraded) {
        keep_draft(talk, sound, true)?;
        if ended.was_cancelled_here {
            talk.note("cancelled");
            return Err(Stop::Interrupted);
        }
        return Err(Stop::Failed(Box::new(Failure::from_rpc(&composition.error.unwrap_or_default()))));
    }
    check_draft(&composition, &sound)?;
    report(talk, &composition);
    if let Target::File(path) = &target {
        save(reach, talk, &composition, path).await?;
        match sound.draft {
            Some(draft) if !asked.keep_draft => {
                fs::remove_file(&draft.path).ok();
            }
            _ => {}
        }
    }
    Ok(())
}

fn open_sound(talk: &Talk, target: &Target, asked: &Follow) -> Result<Sound, Stop> {
    let mut sound = Sound::default();
    match target {
        Target::File(path) => {
            outputs::check_free(path, asked.force, talk)?;
            sound.draft = Some(Draft::create(outputs::draft_path(path), false)?);
        }
        Target::Stdout => {
            let draft = Draft::scratch()?;
            sound.feed = Some(draft.send_to_stdout()?);
            sound.feeds_stdout = true;
            sound.draft = Some(draft);
        }
        Target::Nowhere => {}
    }
    if asked.play && sound.feed.is_none() {
        let draft = match sound.draft.take() {
            Some(draft) => draft,
            None => Draft::scratch()?,
        };
        match draft.play()? {
            Ok(feed) => sound.feed = Some(feed),
            Err(why) => talk.warn(&why),
        }
        sound.draft = Some(draft);
    }
    Ok(sound)
}

/// What was heard must be all of it, else the file would be wrong without anybody knowing.
fn check_draft(composition: &Composition, sound: &Sound) -> Result<(), Stop> {
    let Some(draft) = &sound.draft else { return Ok(()) };
    if draft.frames() == composition.draft_frames {
        return Ok(());
    }
    Err(Stop::Error(segue_client::Error::Untrusted(format!(
        "{} frames came, and the composition has {}",
        draft.frames(),
        composition.draft_frames
    ))))
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

async fn save(reach: &Reach, talk: &Talk, composition: &Composition, path: &Path) -> Result<(), Stop> {
    let places = outputs::places(composition, path);
    if !places.iter().any(|(_, place)| place == path) {
        let names: Vec<String> = composition.outputs.iter().map(|output| clean(&output.name)).collect();
        return Err(Stop::Wrong {
            code: Stop::REFUSED,
            text: format!("{} has no master of that kind", composition.name),
            hint: format!("its files are: {}", names.join(", ")),
        });
    }
    for (output, place) in places {
        outputs::fetch(&reach.connection, talk, &output, &place).await?;
    }
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
    let metre = composition.plan.as_ref().and_then(|plan| plan.metre.as_ref());
    let loudness = composition.mastered.as_ref().and_then(|mastered| mastered.loudness);
    let measured = match &composition.report {
        Some(report) => analyze::facts(report, metre),
        None => analyze::facts(&Report { loudness, ..Report::default() }, metre),
    };
    if !measured.is_empty() {
        talk.note(&format!("measured: {}", measured.join(", ")));
    }
    for degradation in &composition.degradations {
        talk.warn(&format!("degraded: {}", degradation.text));
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
