//! `segue delete`: deletes finished compositions, separations and uploads.

use segue_client::proto::segue::composer::v1::{
    DeleteCompositionRequest, DeleteSeparationRequest, DeleteUploadRequest,
};
use serde_json::json;

use crate::{
    exit::CliError,
    session::{names, settings::Server},
    ui::{printer::Printer, prompt},
};

pub async fn run(server: &Server, printer: &Printer, names: &[String], yes: bool) -> Result<(), CliError> {
    let mut client = server.connection.open().await?;
    for name in names {
        let is_upload = name.starts_with(names::UPLOADS);
        let is_separation = name.starts_with(names::SEPARATIONS);
        let name = if is_upload || is_separation { name.clone() } else { names::find(&mut client, name).await? };
        let question = if is_upload { "" } else { " with all its files" };
        if !yes && !prompt::confirm(&format!("Delete {name}{question}?")) {
            return Err(CliError::usage(format!("{name} was not deleted"), "use --yes to delete without a question"));
        }
        if is_upload {
            client.delete_upload(DeleteUploadRequest { upload: name.clone() }).await?;
        } else if is_separation {
            client.delete_separation(DeleteSeparationRequest { name: name.clone() }).await?;
        } else {
            client.delete_composition(DeleteCompositionRequest { name: name.clone() }).await?;
        }
        printer.note(&format!("{name} deleted"));
        printer.client_event(&name, json!({"deleted": true}))?;
    }
    Ok(())
}
