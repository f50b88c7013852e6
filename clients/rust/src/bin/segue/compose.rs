//! `segue compose`, and `segue watch` of one composition.

use std::path::Path;

use segue_client::{
    Opening,
    proto::segue::composer::v1::{ComposeRequest, CompositionSpec, Melody, Section, melody::Melody as Tune},
};

use crate::{
    analyze,
    args::{self, Compose, FileKind, Making},
    exit::Stop,
    interrupts::or_interrupted,
    job::{self, Job, Target},
    names, outputs,
    settings::Reach,
    spec,
    talk::Talk,
    together,
};

/// `segue compose`.
pub async fn compose(reach: &Reach, talk: &Talk, asked: Compose) -> Result<(), Stop> {
    let kind = file_kind(&asked.making, FileKind::Flac)?;
    let planned = spec::planned(&asked.asked)?;
    let (brief, plan, model) = (planned.brief, planned.plan, planned.model);
    let spec = CompositionSpec { brief, plan, model, ..spec::made(&asked.making, kind) };
    let order = Order { spec, kind, title: asked.asked.prompt.unwrap_or_default(), before: Vec::new() };
    Box::pin(make(reach, talk, order, asked.making)).await
}

/// What is to be made.
pub struct Order {
    pub spec: CompositionSpec,
    pub kind: FileKind,
    /// For a file that was given no name.
    pub title: String,
    /// The sections that are edited. Empty where nothing is.
    pub before: Vec<Section>,
}

/// Has it made, whatever it is made of.
pub async fn make(reach: &Reach, talk: &Talk, order: Order, making: Making) -> Result<(), Stop> {
    let Order { mut spec, kind, title, before } = order;
    let target = match making.output {
        Some(path) if path == Path::new("-") => Target::Stdout,
        Some(path) => Target::File(path),
        None => Target::File(outputs::free_name(&title, kind)),
    };
    let (listen, follow, detach) = (making.listen, making.follow, making.detach);
    if let Target::File(path) = &target {
        outputs::check_free(path, follow.force, talk)?;
    }
    if let Some(tune) = making.melody {
        spec.melody = Some(or_interrupted(talk, melody(reach, talk, &tune)).await?);
    }
    let request =
        ComposeRequest { spec: Some(spec), request_id: uuid::Uuid::new_v4().to_string(), ..ComposeRequest::default() };
    let opening = Opening::Compose(Box::new(request));
    Box::pin(job::run(reach, talk, Job { opening, target, has_draft: true, listen, follow, detach, before })).await
}

/// The tune that is to be followed: what the band would play, or a sound file, which is sent.
async fn melody(reach: &Reach, talk: &Talk, tune: &str) -> Result<Melody, Stop> {
    let tune = if tune == "band" {
        Tune::Band(true)
    } else {
        Tune::Source(analyze::source(&mut reach.connection.open().await?, talk, tune).await?)
    };
    Ok(Melody { melody: Some(tune) })
}

/// `segue watch`.
pub async fn watch(reach: &Reach, talk: &Talk, asked: args::Watch) -> Result<(), Stop> {
    for name in &asked.names {
        names::read(name)?;
    }
    let has_sound = asked.output.is_some() || asked.listen.play || asked.listen.keep_draft;
    if asked.names.len() > 1 && has_sound {
        return Err(Stop::usage("the sound of several compositions has no place to go", "watch one of them"));
    }
    let target = match asked.output {
        Some(path) if path == Path::new("-") => Target::Stdout,
        Some(path) => {
            named_kind(&path)?;
            outputs::check_free(&path, asked.follow.force, talk)?;
            Target::File(path)
        }
        None => Target::Nowhere,
    };
    let mut client = reach.connection.open().await?;
    let mut names = Vec::new();
    for name in &asked.names {
        names.push(names::find(&mut client, name).await?);
    }
    let [name] = names.as_slice() else {
        return together::watch(reach, talk, &names, asked.follow).await;
    };
    let has_draft = asked.listen.play || !matches!(target, Target::Nowhere);
    let opening = Opening::Watch { name: name.clone() };
    // Who only watches does not own the piece: Ctrl-C leaves it running.
    let (listen, follow) = (asked.listen, asked.follow);
    let job = Job { opening, target, has_draft, listen, follow, detach: true, before: Vec::new() };
    Box::pin(job::run(reach, talk, job)).await
}

/// The kind of file that is wanted, by its name, by --format, or as usual.
pub fn file_kind(making: &Making, usual: FileKind) -> Result<FileKind, Stop> {
    let path = making.output.as_deref().filter(|path| *path != Path::new("-"));
    match (path.map(named_kind).transpose()?, making.format) {
        (Some(named), Some(format)) if named != format => {
            Err(Stop::usage("the file's name and --format contradict each other", "leave one of them out"))
        }
        (named, format) => Ok(named.or(format).unwrap_or(usual)),
    }
}

/// The kind of file that a name says.
pub fn named_kind(path: &Path) -> Result<FileKind, Stop> {
    outputs::kind_of(path).ok_or_else(|| {
        let text = format!("{}: the name says no kind of sound file", path.display());
        Stop::usage(text, "end it with .flac, .wav, .opus, .ogg or .mp3")
    })
}
