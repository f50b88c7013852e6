//! The command line as messages of the contract.

pub mod words;

use std::{fs, io, path::Path};

use segue_client::{
    json,
    proto::segue::{
        audio::v1::FileFormat,
        composer::v1::{CompositionSpec, DegradationPolicy, Export, Priority, TakeBounds},
        mixer::v1::{MasterPreset, MasterSettings},
        music::v1::{Brief, Kind, Plan},
    },
};

use crate::{
    args::{
        BriefArgs,
        options::{CompositionOptions, FileOptions, MasterOptions, PresetArg, PriorityArg},
    },
    exit::CliError,
    values,
};

/// The part of a spec that planning needs: brief, plan and model.
pub fn to_plan(args: &BriefArgs) -> Result<CompositionSpec, CliError> {
    let metre = args.metre;
    if args.lyrics == args.plan && args.lyrics.as_deref() == Some(Path::new("-")) {
        return Err(CliError::usage("--lyrics and --plan cannot both be standard input", "name a file"));
    }
    let lyrics = args.lyrics.as_deref().map(|path| words::read(path, &args.lyrics_language)).transpose()?;
    let mut plan = args.plan.as_deref().map(read_plan).transpose()?;
    if let Some(plan) = plan.as_mut().filter(|plan| lyrics.is_some() && !has_lyrics(plan)) {
        // The words change the plan.
        plan.digest.clear();
    }
    let brief = Brief {
        prompt: args.prompt.clone().unwrap_or_default(),
        negative_prompt: args.negative_prompt.clone(),
        kind: if args.is_loop { Kind::Loop as i32 } else { 0 },
        duration: args.duration.and_then(|each| prost_types::Duration::try_from(each).ok()),
        quarters_per_minute: args.bpm.map(|bpm| if metre.is_some_and(values::is_compound) { bpm * 1.5 } else { bpm }),
        metre,
        key: args.key.clone(),
        genre: args.genre.clone(),
        form: args.form.iter().map(|each| *each as i32).collect(),
        include_layers: args.with.iter().map(|each| *each as i32).collect(),
        exclude_layers: args.without.iter().map(|each| *each as i32).collect(),
        instruments: args.instrument.clone(),
        seed: args.seed,
        title: args.title.clone(),
        lyrics,
        ..Brief::default()
    };
    Ok(CompositionSpec { brief: Some(brief), plan, model: args.model.clone(), ..CompositionSpec::default() })
}

/// The part of a spec that does not depend on the brief. `parent_master` is the mastering of an edited piece.
pub fn to_make(
    options: &CompositionOptions,
    format: FileFormat,
    parent_master: Option<&MasterSettings>,
) -> CompositionSpec {
    CompositionSpec {
        stems: options.stems,
        midi: options.midi,
        lrc: options.lrc,
        exports: vec![export(&options.files, format)],
        master: master(&options.master, parent_master),
        degradation_policy: if options.allow_degraded { DegradationPolicy::Allow as i32 } else { 0 },
        take_bounds: bounds(options),
        priority: options.priority.map_or(0, priority_number),
        time_limit: options.time_limit.and_then(|each| prost_types::Duration::try_from(each).ok()),
        labels: options.label.iter().cloned().collect(),
        session: options.session.clone(),
        private_prompt: options.private_prompt,
        ..CompositionSpec::default()
    }
}

/// The bounds of takes, or `None` if no option sets them.
fn bounds(options: &CompositionOptions) -> Option<TakeBounds> {
    let bounds = TakeBounds {
        tempo_percent: options.tempo_within.unwrap_or(0.0),
        key: options.same_key,
        level_lu: options.level_within.unwrap_or(0.0),
        most_redos: options.redos.unwrap_or(0),
    };
    (bounds != TakeBounds::default()).then_some(bounds)
}

/// The exported file.
pub fn export(options: &FileOptions, format: FileFormat) -> Export {
    Export {
        file_format: format as i32,
        sample_rate: options.sample_rate.unwrap_or(0),
        bit_depth: options.bit_depth.unwrap_or(0),
    }
}

/// The settings of the master, or `None` if no option sets them. Without a preset, the other options change the parent's
/// settings.
pub fn master(options: &MasterOptions, parent: Option<&MasterSettings>) -> Option<MasterSettings> {
    if options.is_empty() {
        return None;
    }
    let mut settings = match (options.preset, parent) {
        (None, Some(parent)) => *parent,
        (preset, _) => MasterSettings { preset: preset.map_or(0, preset_number), ..MasterSettings::default() },
    };
    settings.target_lufs = options.lufs.or(settings.target_lufs);
    settings.ceiling_dbtp = options.ceiling.or(settings.ceiling_dbtp);
    Some(settings)
}

fn priority_number(priority: PriorityArg) -> i32 {
    let priority = match priority {
        PriorityArg::Low => Priority::Low,
        PriorityArg::Normal => Priority::Normal,
        PriorityArg::High => Priority::High,
    };
    priority as i32
}

fn preset_number(preset: PresetArg) -> i32 {
    let preset = match preset {
        PresetArg::Streaming => MasterPreset::Streaming,
        PresetArg::Broadcast => MasterPreset::Broadcast,
        PresetArg::Club => MasterPreset::Club,
        PresetArg::None => MasterPreset::None,
    };
    preset as i32
}

fn has_lyrics(plan: &Plan) -> bool {
    plan.sections.iter().filter_map(|planned| planned.spec.as_ref()).any(|spec| spec.lyrics.is_some())
}

fn read_plan(path: &Path) -> Result<Plan, CliError> {
    let text = if path == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    let text = text.map_err(|error| CliError::usage(format!("{}: {error}", path.display()), "check the path"))?;
    json::from_text("segue.music.v1.Plan", &text).map_err(|error| {
        CliError::usage(format!("{}: {error}", path.display()), "`segue plan … -o plan.json` writes a plan")
    })
}
