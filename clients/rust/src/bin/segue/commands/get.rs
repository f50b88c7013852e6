//! `segue get`: shows a composition.

use segue_client::{
    json,
    proto::segue::composer::v1::{GetCompositionRequest, Priority},
    sanitize,
};

use crate::{
    exit::CliError,
    session::{names, settings::Server},
    ui::{format, measurements, outline, palette::Palette, printer::Printer, summary},
};

pub async fn run(server: &Server, printer: &Printer, name: &str) -> Result<(), CliError> {
    let mut client = server.connection.open().await?;
    let request = GetCompositionRequest { name: names::find(&mut client, name).await? };
    let composition = client.get_composition(request).await?.composition.unwrap_or_default();
    if printer.json {
        return printer.object(&json::to_value("segue.composer.v1.Composition", &composition)?);
    }
    printer.line(&printer.out_palette.paint(Palette::BOLD, &summary::line(&composition, false)))?;
    if let Some(plan) = &composition.plan {
        printer.line(&outline::facts(plan).join(" · "))?;
        for line in outline::table(plan) {
            printer.line(&line)?;
        }
    }
    if !composition.parent.is_empty() {
        printer.line(&format!("edited from {}", sanitize(&composition.parent)))?;
    }
    if composition.queue_position > 0 {
        let priority = match Priority::try_from(composition.priority) {
            Ok(Priority::Low) => ", with low priority",
            Ok(Priority::High) => ", with high priority",
            _ => "",
        };
        printer.line(&format!("waiting, position {} in the queue{priority}", composition.queue_position))?;
    }
    if let Some(time) = &composition.ready_in {
        printer.line(&format::ready(time))?;
    }
    if !composition.waiting_for.is_empty() {
        printer.line(&format!("waiting for the {}, which does not answer", sanitize(&composition.waiting_for)))?;
    }
    if let Some(error) = &composition.error {
        printer.line(&format!("error: {}", sanitize(&error.message)))?;
    }
    for line in summary::failure_lines(&composition) {
        printer.line(&line)?;
    }
    for warning in &composition.warnings {
        printer.line(&format!("warning: {}", sanitize(&warning.text)))?;
    }
    for degradation in &composition.degradations {
        printer.line(&format!("degraded: {}", sanitize(&degradation.text)))?;
    }
    if composition.report.is_some() {
        printer.line(&format!("measured: {}", measurements::of_composition(&composition).join(", ")))?;
    }
    for output in &composition.outputs {
        printer.line(&format!("{}  {}", sanitize(&output.name), format::size(output.size_bytes)))?;
    }
    Ok(())
}
