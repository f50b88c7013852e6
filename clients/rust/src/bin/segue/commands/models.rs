//! `segue models`: lists the models.

use segue_client::{
    json,
    proto::segue::{composer::v1::ListModelsRequest, music::v1::LayerKind, renderer::v1::ModelProfile},
    sanitize,
};

use crate::{exit::CliError, session::settings::Server, ui::printer::Printer, values};

pub async fn run(server: &Server, printer: &Printer) -> Result<(), CliError> {
    let mut client = server.connection.open().await?;
    for (index, model) in client.list_models(ListModelsRequest {}).await?.models.iter().enumerate() {
        if printer.json {
            printer.object(&json::to_value("segue.renderer.v1.ModelProfile", model)?)?;
        } else {
            printer.line(&describe(model, index == 0))?;
        }
    }
    Ok(())
}

fn describe(model: &ModelProfile, is_default: bool) -> String {
    let mut facts = Vec::new();
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
    if !model.weights_license.is_empty() {
        facts.push(format!("weights: {}", model.weights_license));
    }
    sanitize(&format!("{:<20} {}", model.model, facts.join(", "))).trim_end().to_owned()
}
