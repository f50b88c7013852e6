//! `segue models`: lists the models.

use segue_client::{
    json,
    proto::segue::{
        composer::v1::ListModelsRequest,
        music::v1::LayerKind,
        renderer::v1::{ModelProfile, ModelState, ModelStatus},
    },
    sanitize,
};

use crate::{
    exit::CliError,
    session::settings::Server,
    ui::{format, printer::Printer},
    values,
};

pub async fn run(server: &Server, printer: &Printer) -> Result<(), CliError> {
    let mut client = server.connection.open().await?;
    let answer = client.list_models(ListModelsRequest {}).await?;
    for (index, model) in answer.models.iter().enumerate() {
        let status = answer.statuses.iter().find(|status| status.model == model.model);
        if printer.json {
            let mut fields = json::to_value("segue.renderer.v1.ModelProfile", model)?;
            fields["status"] = json::to_value("segue.renderer.v1.ModelStatus", &status.cloned().unwrap_or_default())?;
            printer.object(&fields)?;
        } else {
            printer.line(&describe(model, status, index == 0))?;
        }
    }
    Ok(())
}

fn describe(model: &ModelProfile, status: Option<&ModelStatus>, is_default: bool) -> String {
    let mut facts: Vec<String> = status.map(state).unwrap_or_default();
    if is_default {
        facts.push("default".to_owned());
    }
    if model.real_time_factor > 0.0 {
        facts.push(format!("{:.1}x real time", model.real_time_factor));
    }
    if !model.layers.is_empty() {
        let layers = model.layers.iter().filter_map(|number| LayerKind::try_from(*number).ok()).map(values::layer);
        facts.push(format!("stems: {}", layers.collect::<Vec<String>>().join(" ")));
    }
    if model.gives_notes {
        facts.push("MIDI".to_owned());
    }
    if model.uses_lyrics {
        let how = if model.sings_vowels { " on vowels" } else { "" };
        let languages = if model.lyric_languages.is_empty() {
            String::new()
        } else {
            format!(" in {}", model.lyric_languages.join(" "))
        };
        facts.push(format!("lyrics{how}{languages}"));
    }
    match (&model.conditioning, &model.following) {
        (Some(_), Some(_)) => facts.push("context on both sides".to_owned()),
        (Some(_), None) => facts.push("context before".to_owned()),
        (None, Some(_)) => facts.push("context after".to_owned()),
        (None, None) => (),
    }
    if model.audio_at_end {
        facts.push("audio at the end".to_owned());
    }
    if !model.weights_license.is_empty() {
        facts.push(format!("weights: {}", model.weights_license));
    }
    sanitize(&format!("{:<20} {}", model.model, facts.join(", "))).trim_end().to_owned()
}

/// The state for people: "warm", "2 of 4 slots free", "1.3 GB in memory".
fn state(status: &ModelStatus) -> Vec<String> {
    let name = match status.state() {
        ModelState::Cold => "cold".to_owned(),
        ModelState::Loading if status.loading_step.is_empty() => "loading".to_owned(),
        ModelState::Loading => format!("loading: {}", status.loading_step),
        ModelState::Failed => "failed".to_owned(),
        ModelState::Warm | ModelState::Unspecified => "warm".to_owned(),
    };
    let detail = match (&status.load_time, status.state()) {
        (Some(time), ModelState::Loading) => format!(", {} s left", time.seconds),
        (Some(time), _) => format!(", {} s to load", time.seconds),
        (None, ModelState::Failed) => format!(": {}", status.reason),
        (None, _) => String::new(),
    };
    let mut facts = vec![format!("{name}{detail}")];
    if status.slots > 0 {
        facts.push(format!("{} of {} slots free", status.slots.saturating_sub(status.busy_slots), status.slots));
    }
    if status.memory_bytes > 0 {
        facts.push(format!("{} in memory", format::size(status.memory_bytes)));
    }
    facts
}
