//! `segue cancel`: cancels compositions.

use segue_client::{json, proto::segue::composer::v1::CancelCompositionRequest, sanitize};

use crate::{
    exit::CliError,
    session::{names, settings::Server},
    ui::printer::Printer,
    values,
};

pub async fn run(server: &Server, printer: &Printer, names: &[String]) -> Result<(), CliError> {
    let mut client = server.connection.open().await?;
    for name in names {
        let request = CancelCompositionRequest { name: names::find(&mut client, name).await? };
        let composition = client.cancel_composition(request).await?.composition.unwrap_or_default();
        let what = if values::is_final(composition.state) { "has already ended" } else { "is being cancelled" };
        printer.note(&format!("{} {what} ({})", sanitize(&composition.name), values::state(composition.state)));
        if printer.json {
            printer.object(&json::to_value("segue.composer.v1.Composition", &composition)?)?;
        }
    }
    Ok(())
}
