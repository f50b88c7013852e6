//! What was asked for on the command line, as the contract says it.

use std::{fs, io, path::Path};

use segue_client::{
    json,
    proto::segue::{
        audio::v1::FileFormat,
        composer::v1::{CompositionSpec, DegradationPolicy, Export},
        mixer::v1::{MasterPreset, MasterSettings},
        music::v1::{Brief, Kind, Plan},
    },
};

use crate::{
    args::{Asked, FileKind, Making, Preset},
    exit::Stop,
    words,
};

/// The part that planning needs too.
pub fn planned(asked: &Asked) -> Result<CompositionSpec, Stop> {
    let metre = asked.metre;
    let brief = Brief {
        prompt: asked.prompt.clone().unwrap_or_default(),
        negative_prompt: asked.negative_prompt.clone(),
        kind: if asked.is_loop { Kind::Loop as i32 } else { 0 },
        duration: asked.duration.and_then(|each| prost_types::Duration::try_from(each).ok()),
        quarters_per_minute: asked.bpm.map(|bpm| if metre.is_some_and(words::is_compound) { bpm * 1.5 } else { bpm }),
        metre,
        key: asked.key.clone(),
        genre: asked.genre.clone(),
        form: asked.form.iter().map(|each| *each as i32).collect(),
        include_layers: asked.with.iter().map(|each| *each as i32).collect(),
        exclude_layers: asked.without.iter().map(|each| *each as i32).collect(),
        instruments: asked.instrument.clone(),
        seed: asked.seed,
        title: asked.title.clone(),
        ..Brief::default()
    };
    let plan = asked.plan.as_deref().map(read_plan).transpose()?;
    Ok(CompositionSpec { brief: Some(brief), plan, model: asked.model.clone(), ..CompositionSpec::default() })
}

/// What is the same for everything that is made.
pub fn made(asked: &Making, kind: FileKind) -> CompositionSpec {
    CompositionSpec {
        stems: asked.stems,
        midi: asked.midi,
        exports: vec![Export {
            file_format: file_format(kind) as i32,
            sample_rate: asked.sample_rate.unwrap_or(0),
            bit_depth: asked.bit_depth.unwrap_or(0),
        }],
        master: asked.loudness.map(master),
        degradation_policy: if asked.allow_degraded { DegradationPolicy::Allow as i32 } else { 0 },
        time_limit: asked.time_limit.and_then(|each| prost_types::Duration::try_from(each).ok()),
        labels: asked.label.iter().cloned().collect(),
        session: asked.session.clone(),
        private_prompt: asked.private_prompt,
        ..CompositionSpec::default()
    }
}

pub fn master(preset: Preset) -> MasterSettings {
    let preset = match preset {
        Preset::Streaming => MasterPreset::Streaming,
        Preset::Broadcast => MasterPreset::Broadcast,
        Preset::Club => MasterPreset::Club,
        Preset::None => MasterPreset::None,
    };
    MasterSettings { preset: preset as i32, ..MasterSettings::default() }
}

pub fn file_format(kind: FileKind) -> FileFormat {
    match kind {
        FileKind::Flac => FileFormat::Flac,
        FileKind::Wav => FileFormat::Wav,
        FileKind::Opus => FileFormat::OggOpus,
        FileKind::Mp3 => FileFormat::Mp3,
    }
}

fn read_plan(path: &Path) -> Result<Plan, Stop> {
    let text = if path == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    let text = text.map_err(|error| Stop::usage(format!("{}: {error}", path.display()), "check the path"))?;
    json::from_text("segue.music.v1.Plan", &text)
        .map_err(|error| Stop::usage(format!("{}: {error}", path.display()), "`segue plan … -o plan.json` writes one"))
}
