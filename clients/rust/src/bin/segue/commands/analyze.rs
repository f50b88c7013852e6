//! `segue analyze`: uploads an audio file and draws the analyzer's report.

use segue_client::{
    Failure, json,
    proto::segue::{
        analyzer::v1::{Fault, Report},
        composer::v1::{Analysis, CreateAnalysisRequest, GetAnalysisRequest},
    },
    sanitize,
};
use tokio::time::{Duration, sleep};

use crate::{
    exit::CliError,
    session::{settings::Server, signals::or_interrupted, upload},
    ui::{
        format,
        live_display::{LiveDisplay, Size},
        measurements,
        palette::Palette,
        printer::Printer,
        text_line,
    },
    values,
};

const POLL_INTERVAL: Duration = Duration::from_millis(300);
/// The most positions that are printed for one kind of fault.
const MAX_POSITIONS: usize = 4;
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub async fn run(server: &Server, printer: &Printer, source: &str) -> Result<(), CliError> {
    let analysis = or_interrupted(printer, measure(server, printer, source)).await?;
    if printer.json {
        printer.object(&json::to_value("segue.composer.v1.Analysis", &analysis)?)?;
    }
    match (&analysis.report, &analysis.error) {
        (Some(_), None) if printer.json => Ok(()),
        (Some(report), None) => draw(printer, report),
        (_, error) => {
            let mut failure = Failure::from_rpc(&error.clone().unwrap_or_default());
            if failure.message.is_empty() {
                failure.message = format!("the analysis ended in {} without a report", values::state(analysis.state));
            }
            Err(CliError::WorkFailed(Box::new(failure)))
        }
    }
}

async fn measure(server: &Server, printer: &Printer, source: &str) -> Result<Analysis, CliError> {
    let mut client = server.connection.open().await?;
    let source = upload::source(&mut client, printer, source).await?;
    let request = CreateAnalysisRequest { source, request_id: uuid::Uuid::new_v4().to_string() };
    let mut analysis = client.create_analysis(request).await?.analysis.unwrap_or_default();
    let mut is_estimated = false;
    let mut display = printer.is_live.then(LiveDisplay::default);
    // Polling is enough here, and unlike a stream it needs no code to resume.
    while !has_ended(&analysis) {
        if let Some(display) = &mut display {
            let percent = analysis.fraction_done * 100.0;
            let ready = analysis.ready_in.as_ref().map_or(String::new(), |time| format!(", {}", format::ready(time)));
            display.show(vec![format!("{}: {percent:.0} %{ready}", values::state(analysis.state))]);
        } else if let Some(time) = analysis.ready_in.as_ref().filter(|_| !is_estimated) {
            printer.note(&format::ready(time));
            is_estimated = true;
        }
        sleep(POLL_INTERVAL).await;
        let request = GetAnalysisRequest { name: analysis.name.clone() };
        analysis = client.get_analysis(request).await?.analysis.unwrap_or_default();
    }
    Ok(analysis)
}

fn has_ended(analysis: &Analysis) -> bool {
    analysis.end_time.is_some() || values::is_final(analysis.state)
}

fn draw(printer: &Printer, report: &Report) -> Result<(), CliError> {
    let palette = printer.out_palette;
    let format = report.format.unwrap_or_default();
    let rate = f64::from(format.sample_rate.max(1));
    let length = format::clock(report.frames as f64 / rate);
    printer.line(
        &palette.paint(Palette::BOLD, &format!("{length}, {} Hz, {} channels", format.sample_rate, format.channels)),
    )?;
    for line in waveform(&report.peaks, Size::now().columns.clamp(21, 160) - 1) {
        printer.line(&palette.paint(Palette::GOOD, &line))?;
    }
    for fact in measurements::of_report(report, None) {
        printer.line(&format!("  {fact}"))?;
    }
    if let Some(width) = report.stereo_correlation {
        printer.line(&format!("  stereo correlation {width:.2}"))?;
    }
    for section in &report.sections {
        let loudness = section.loudness.and_then(|each| each.integrated_lufs).map(|lufs| format!("{lufs:.1} LUFS"));
        printer.line(&format!("  {}: {}", sanitize(&section.section_id), loudness.unwrap_or_default()))?;
    }
    for (text, positions) in grouped(&report.faults, rate) {
        let first: Vec<&str> = positions.iter().take(MAX_POSITIONS).map(String::as_str).collect();
        let more = if positions.len() > MAX_POSITIONS {
            format!(" and {} more", positions.len() - MAX_POSITIONS)
        } else {
            String::new()
        };
        printer.line(&palette.paint(Palette::BAD, &sanitize(&format!("  {text}: at {}{more}", first.join(", ")))))?;
    }
    Ok(())
}

/// Groups the faults by kind, in the order of their first positions.
fn grouped(faults: &[Fault], rate: f64) -> Vec<(&str, Vec<String>)> {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for fault in faults {
        let position = format::clock(fault.first_frame as f64 / rate);
        match groups.iter_mut().find(|(text, _)| *text == fault.text) {
            Some((_, positions)) => positions.push(position),
            None => groups.push((&fault.text, vec![position])),
        }
    }
    groups
}

/// Draws the highest peak of each column, in one line.
fn waveform(peaks: &[u8], columns: usize) -> Vec<String> {
    let heights: Vec<u32> = peaks
        .chunks_exact(2)
        .map(|pair| pair.iter().map(|byte| u32::from((*byte as i8).unsigned_abs())).max().unwrap_or(0))
        .collect();
    if heights.is_empty() {
        return Vec::new();
    }
    let level = |column: usize| {
        let first = column * heights.len() / columns;
        let last = ((column + 1) * heights.len() / columns).max(first + 1).min(heights.len());
        heights[first.min(heights.len() - 1)..last].iter().max().copied().unwrap_or(0)
    };
    let line: String = (0..columns).map(|column| LEVELS[(level(column) * 8 / 127).min(8) as usize]).collect();
    vec![text_line::truncate(&line, columns)]
}
