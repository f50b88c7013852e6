//! `segue usage`: shows what the caller, another owner or all owners have used, by day in UTC.

use segue_client::{
    json,
    proto::segue::composer::v1::{DayUsage, GetUsageRequest},
    sanitize,
};

use crate::{
    args::UsageArgs,
    exit::CliError,
    session::settings::Server,
    ui::{format, printer::Printer},
};

const PAGE: i32 = 100;

pub async fn run(server: &Server, printer: &Printer, args: UsageArgs) -> Result<(), CliError> {
    let mut client = server.connection.open().await?;
    let owner = if args.all { "*".to_owned() } else { args.owner };
    let (first_day, last_day) = (args.first_day, args.last_day);
    let mut request = GetUsageRequest { owner, first_day, last_day, page_size: PAGE, page_token: String::new() };
    let mut is_empty = true;
    loop {
        let page = client.get_usage(request.clone()).await?;
        for day in &page.days {
            is_empty = false;
            if printer.json {
                printer.object(&json::to_value("segue.composer.v1.DayUsage", day)?)?;
            } else {
                printer.line(&line(day))?;
            }
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    if is_empty {
        printer.note("no usage on these days");
    }
    Ok(())
}

/// "2026-11-30  alice  audio 1:02, rendered sketch 0:40, 8.1 MB stored, 9.0 MB sent, 12 requests".
fn line(day: &DayUsage) -> String {
    let mut models: Vec<_> = day.rendered.iter().collect();
    models.sort_by_key(|(model, _)| model.as_str());
    let rendered: Vec<String> = models.iter().map(|(model, time)| format!("{model} {}", clock(Some(time)))).collect();
    let rendered = if rendered.is_empty() { "nothing".to_owned() } else { rendered.join(", ") };
    sanitize(&format!(
        "{}  {}  audio {}, rendered {rendered}, {} stored, {} sent, {}",
        day.day,
        day.owner,
        clock(day.audio.as_ref()),
        format::size(day.stored_bytes),
        format::size(day.sent_bytes),
        format::count(u32::try_from(day.requests).unwrap_or(u32::MAX), "request"),
    ))
}

fn clock(time: Option<&prost_types::Duration>) -> String {
    format::clock(time.map_or(0.0, |time| time.seconds as f64 + f64::from(time.nanos) / 1e9))
}
