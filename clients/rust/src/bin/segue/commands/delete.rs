//! `segue delete`: deletes finished compositions.

use segue_client::proto::segue::composer::v1::DeleteCompositionRequest;
use serde_json::json;

use crate::{
    exit::CliError,
    session::{names, settings::Server},
    ui::{printer::Printer, prompt},
};

pub async fn run(server: &Server, printer: &Printer, names: &[String], yes: bool) -> Result<(), CliError> {
    let mut client = server.connection.open().await?;
    for name in names {
        let name = names::find(&mut client, name).await?;
        if !yes && !prompt::confirm(&format!("Delete {name} with all its files?")) {
            return Err(CliError::usage(format!("{name} was not deleted"), "use --yes to delete without a question"));
        }
        client.delete_composition(DeleteCompositionRequest { name: name.clone() }).await?;
        printer.note(&format!("{name} deleted"));
        printer.client_event(&name, json!({"deleted": true}))?;
    }
    Ok(())
}
