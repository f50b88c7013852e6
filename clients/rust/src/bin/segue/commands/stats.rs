//! `segue stats`: shows the load of the service.

use segue_client::{
    json,
    proto::segue::{composer::v1::GetStatsRequest, renderer::v1::RendererState},
    sanitize,
};

use crate::{
    exit::CliError,
    session::settings::Server,
    ui::{format, printer::Printer},
};

pub async fn run(server: &Server, printer: &Printer) -> Result<(), CliError> {
    let mut client = server.connection.open().await?;
    let stats = client.get_stats(GetStatsRequest {}).await?;
    if printer.json {
        return printer.object(&json::to_value("segue.composer.v1.GetStatsResponse", &stats)?);
    }
    let uptime = format::clock(stats.uptime.map_or(0.0, |uptime| uptime.seconds as f64));
    printer.line(&sanitize(&format!("segue {} at {}, up {uptime}", stats.version, server.connection.address)))?;
    printer.line(&format!("{} running, {} of at most {} queued", stats.running, stats.queued, stats.queue_limit))?;
    printer.line(&format::count(stats.watchers, "watcher"))?;
    for renderer in &stats.renderers {
        let condition = match renderer.state() {
            RendererState::Draining => ", shutting down".to_owned(),
            RendererState::Failed => format!(", failed: {}", renderer.reason),
            RendererState::Ready | RendererState::Unspecified => String::new(),
        };
        let models: Vec<&str> = renderer.models.iter().map(|model| model.model.as_str()).collect();
        let text = format!(
            "renderer on {}: {} of {} slots busy, {} queued{condition}; {}",
            renderer.device,
            renderer.busy_slots,
            renderer.slots,
            renderer.queued,
            models.join(", ")
        );
        printer.line(&sanitize(&text))?;
    }
    Ok(())
}
