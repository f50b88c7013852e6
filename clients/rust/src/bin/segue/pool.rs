//! `segue models` and `segue stats`.

use segue_client::{
    clean, json,
    proto::segue::{
        composer::v1::{GetStatsRequest, ListModelsRequest},
        renderer::v1::ModelProfile,
    },
};

use crate::{analyze::layers, exit::Stop, settings::Reach, talk::Talk, words};

/// `segue models`.
pub async fn models(reach: &Reach, talk: &Talk) -> Result<(), Stop> {
    let mut client = reach.connection.open().await?;
    for (index, model) in client.list_models(ListModelsRequest {}).await?.models.iter().enumerate() {
        if talk.json {
            talk.object(&json::to_value("segue.renderer.v1.ModelProfile", model)?)?;
        } else {
            talk.line(&describe(model, index == 0))?;
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
        facts.push(format!("stems: {}", layers(&model.layers)));
    }
    if model.gives_notes {
        facts.push("MIDI".to_owned());
    }
    if !model.weights_license.is_empty() {
        facts.push(format!("weights: {}", model.weights_license));
    }
    clean(&format!("{:<20} {}", model.model, facts.join(", "))).trim_end().to_owned()
}

/// `segue stats`.
pub async fn stats(reach: &Reach, talk: &Talk) -> Result<(), Stop> {
    let mut client = reach.connection.open().await?;
    let stats = client.get_stats(GetStatsRequest {}).await?;
    if talk.json {
        return talk.object(&json::to_value("segue.composer.v1.GetStatsResponse", &stats)?);
    }
    let uptime = words::clock(stats.uptime.map_or(0.0, |uptime| uptime.seconds as f64));
    talk.line(&clean(&format!("segue {} at {}, up {uptime}", stats.version, reach.connection.address)))?;
    talk.line(&format!("{} running, {} waiting of at most {}", stats.running, stats.queued, stats.queue_limit))?;
    talk.line(&words::counted(stats.watchers, "watcher"))?;
    for renderer in &stats.renderers {
        let models: Vec<&str> = renderer.models.iter().map(|model| model.model.as_str()).collect();
        let text = format!(
            "renderer on {}: {} of {} busy, {} waiting; {}",
            renderer.device,
            renderer.busy_slots,
            renderer.slots,
            renderer.queued,
            models.join(", ")
        );
        talk.line(&clean(&text))?;
    }
    Ok(())
}
