//! `segue list`: lists compositions.

use segue_client::{json, proto::segue::composer::v1::ListCompositionsRequest};

use crate::{
    args::ListArgs,
    exit::CliError,
    session::settings::Server,
    ui::{printer::Printer, summary},
};

const PAGE: usize = 100;

pub async fn run(server: &Server, printer: &Printer, args: ListArgs) -> Result<(), CliError> {
    let mut client = server.connection.open().await?;
    let (mut left, mut page_token, mut is_empty) = (args.limit, String::new(), true);
    while left > 0 {
        let page_size = left.min(PAGE) as i32;
        let request = ListCompositionsRequest { page_size, page_token, filter: args.filter.clone() };
        let page = client.list_compositions(request).await?;
        for composition in page.compositions.iter().take(left) {
            if printer.json {
                printer.object(&json::to_value("segue.composer.v1.Composition", composition)?)?;
            } else {
                printer.line(&summary::line(composition, printer.is_out_terminal))?;
            }
        }
        is_empty &= page.compositions.is_empty();
        left = left.saturating_sub(page.compositions.len().max(1));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if is_empty && args.limit > 0 {
        let text = if args.filter.is_empty() { "no compositions yet" } else { "no composition matches the filter" };
        printer.note(text);
    }
    Ok(())
}
