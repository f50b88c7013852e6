//! `segue cancel`: cancels compositions, analyses and separations.

use segue_client::{
    json,
    proto::segue::composer::v1::{CancelAnalysisRequest, CancelCompositionRequest, CancelSeparationRequest, State},
    sanitize,
};

use crate::{
    exit::CliError,
    session::{names, settings::Server},
    ui::printer::Printer,
    values,
};

pub async fn run(server: &Server, printer: &Printer, names: &[String]) -> Result<(), CliError> {
    let mut client = server.connection.open().await?;
    for name in names {
        let (name, state, value) = if name.starts_with(names::ANALYSES) {
            let request = CancelAnalysisRequest { name: name.clone() };
            let analysis = client.cancel_analysis(request).await?.analysis.unwrap_or_default();
            let value = json::to_value("segue.composer.v1.Analysis", &analysis)?;
            (analysis.name, analysis.state, value)
        } else if name.starts_with(names::SEPARATIONS) {
            let request = CancelSeparationRequest { name: name.clone() };
            let separation = client.cancel_separation(request).await?.separation.unwrap_or_default();
            let value = json::to_value("segue.composer.v1.Separation", &separation)?;
            (separation.name, separation.state, value)
        } else {
            let request = CancelCompositionRequest { name: names::find(&mut client, name).await? };
            let composition = client.cancel_composition(request).await?.composition.unwrap_or_default();
            let value = json::to_value("segue.composer.v1.Composition", &composition)?;
            (composition.name, composition.state, value)
        };
        let what = match State::try_from(state) {
            Ok(State::Cancelled) => "is cancelled".to_owned(),
            _ if values::is_final(state) => format!("has already ended ({})", values::state(state)),
            _ => format!("is being cancelled ({})", values::state(state)),
        };
        printer.note(&format!("{} {what}", sanitize(&name)));
        if printer.json {
            printer.object(&value)?;
        }
    }
    Ok(())
}
