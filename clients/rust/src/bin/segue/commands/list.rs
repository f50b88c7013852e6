//! `segue list`: lists compositions, uploads, analyses or separations.

use segue_client::{
    Client, json,
    proto::segue::composer::v1::{
        ListAnalysesRequest, ListCompositionsRequest, ListSeparationsRequest, ListUploadsRequest,
    },
};
use serde_json::Value;

use crate::{
    args::{ListArg, ListArgs},
    exit::CliError,
    session::settings::Server,
    ui::{printer::Printer, summary},
};

const PAGE: usize = 100;

/// One page: each entry as a line of text and as an object.
struct Page {
    entries: Vec<(String, Value)>,
    next_page_token: String,
}

pub async fn run(server: &Server, printer: &Printer, args: ListArgs) -> Result<(), CliError> {
    let mut client = server.connection.open().await?;
    let (mut left, mut page_token, mut is_empty) = (args.limit, String::new(), true);
    while left > 0 {
        let page_size = left.min(PAGE) as i32;
        let page = match args.what {
            ListArg::Compositions => compositions(&mut client, printer, &args, page_size, page_token).await?,
            ListArg::Uploads => uploads(&mut client, &args, page_size, page_token).await?,
            ListArg::Analyses => analyses(&mut client, &args, page_size, page_token).await?,
            ListArg::Separations => separations(&mut client, &args, page_size, page_token).await?,
        };
        for (line, value) in page.entries.iter().take(left) {
            if printer.json {
                printer.object(value)?;
            } else {
                printer.line(line)?;
            }
        }
        is_empty &= page.entries.is_empty();
        left = left.saturating_sub(page.entries.len().max(1));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if is_empty && args.limit > 0 {
        printer.note(match (args.what, args.filter.is_empty()) {
            (ListArg::Compositions, true) => "no compositions yet",
            (ListArg::Compositions, false) => "no composition matches the filter",
            (ListArg::Uploads, true) => "no uploads",
            (ListArg::Uploads, false) => "no upload matches the filter",
            (ListArg::Analyses, true) => "no analyses yet",
            (ListArg::Analyses, false) => "no analysis matches the filter",
            (ListArg::Separations, true) => "no separations yet",
            (ListArg::Separations, false) => "no separation matches the filter",
        });
    }
    Ok(())
}

async fn compositions(
    client: &mut Client,
    printer: &Printer,
    args: &ListArgs,
    page_size: i32,
    page_token: String,
) -> Result<Page, CliError> {
    let request = ListCompositionsRequest { page_size, page_token, filter: args.filter.clone() };
    let page = client.list_compositions(request).await?;
    let entry = |each| {
        let value = json::to_value("segue.composer.v1.Composition", each)?;
        Ok((summary::line(each, printer.is_out_terminal), value))
    };
    let entries = page.compositions.iter().map(entry).collect::<Result<_, CliError>>()?;
    Ok(Page { entries, next_page_token: page.next_page_token })
}

async fn uploads(client: &mut Client, args: &ListArgs, page_size: i32, page_token: String) -> Result<Page, CliError> {
    let request = ListUploadsRequest { page_size, page_token, filter: args.filter.clone() };
    let page = client.list_uploads(request).await?;
    let entry = |each| Ok((summary::upload(each), json::to_value("segue.composer.v1.Upload", each)?));
    let entries = page.uploads.iter().map(entry).collect::<Result<_, CliError>>()?;
    Ok(Page { entries, next_page_token: page.next_page_token })
}

async fn analyses(client: &mut Client, args: &ListArgs, page_size: i32, page_token: String) -> Result<Page, CliError> {
    let request = ListAnalysesRequest { page_size, page_token, filter: args.filter.clone() };
    let page = client.list_analyses(request).await?;
    let entry = |each| Ok((summary::analysis(each), json::to_value("segue.composer.v1.Analysis", each)?));
    let entries = page.analyses.iter().map(entry).collect::<Result<_, CliError>>()?;
    Ok(Page { entries, next_page_token: page.next_page_token })
}

async fn separations(
    client: &mut Client,
    args: &ListArgs,
    page_size: i32,
    page_token: String,
) -> Result<Page, CliError> {
    let request = ListSeparationsRequest { page_size, page_token, filter: args.filter.clone() };
    let page = client.list_separations(request).await?;
    let entry = |each| Ok((summary::separation(each), json::to_value("segue.composer.v1.Separation", each)?));
    let entries = page.separations.iter().map(entry).collect::<Result<_, CliError>>()?;
    Ok(Page { entries, next_page_token: page.next_page_token })
}
