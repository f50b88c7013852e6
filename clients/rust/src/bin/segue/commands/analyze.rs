//! `segue analyze`: measures audio files and outputs, and draws a report, or writes a line, for each.

use std::fs;

use segue_client::{
    Client, Error, Failure, json,
    proto::segue::{
        analyzer::v1::{Fault, PartialReport, Report},
        composer::v1::{Analysis, CreateAnalysisRequest, DeleteUploadRequest, GetAnalysisRequest},
    },
    sanitize,
};
use serde_json::json;
use tokio::time::{Duration, sleep};

use crate::{
    args::AnalyzeArgs,
    exit::CliError,
    session::{
        file_names,
        settings::Server,
        signals::or_interrupted,
        upload::{self, Source},
    },
    ui::{
        format,
        live_display::{LiveDisplay, Size},
        measurements,
        palette::Palette,
        printer::Printer,
        sheets::{csv, cue_sheet},
        text_line,
    },
    values,
};

const POLL_INTERVAL: Duration = Duration::from_millis(300);
/// The most positions that are printed for one kind of fault.
const MAX_POSITIONS: usize = 4;
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub async fn run(server: &Server, printer: &Printer, args: &AnalyzeArgs) -> Result<(), CliError> {
    let sources = upload::sources(&args.files)?;
    if let Some(path) = &args.cue {
        if sources.len() > 1 {
            return Err(CliError::usage("--cue is for one file", "measure the files one by one"));
        }
        file_names::check_free(path, args.force)?;
    }
    if args.csv {
        printer.line(&csv::row(&csv::COLUMNS))?;
    }
    let (count, mut num_failed) = (sources.len(), 0);
    for (index, source) in sources.iter().enumerate() {
        if count > 1 {
            printer.note(&sanitize(&format!("{} of {count}: {}", index + 1, source.text())));
        }
        let analysis = or_interrupted(printer, measure(server, printer, source, args.tracks)).await;
        let written = analysis.and_then(|analysis| write(printer, args, source, &analysis, count > 1));
        match written {
            Err(error) if count > 1 && !error.is_interruption() && error.code() != CliError::UNREACHABLE => {
                num_failed += 1;
                write_failure(printer, args, source, &error)?;
                printer.error(&error);
            }
            other => other?,
        }
    }
    if num_failed > 0 {
        return Err(CliError::new(CliError::FAILED, format!("{num_failed} of {count} could not be measured"), ""));
    }
    Ok(())
}

/// Writes the report of one file, or returns the error of its analysis.
fn write(
    printer: &Printer,
    args: &AnalyzeArgs,
    source: &Source,
    analysis: &Analysis,
    has_heading: bool,
) -> Result<(), CliError> {
    let file = source.text();
    if let (Some(path), Some(report), None) = (&args.cue, &analysis.report, &analysis.error) {
        fs::write(path, cue_sheet::of_report(&file, report)?)
            .map_err(|cause| Error::Local { doing: format!("writing {}", path.display()), cause })?;
    }
    if printer.json {
        let mut value = json::to_value("segue.composer.v1.Analysis", analysis)?;
        value["file"] = file.clone().into();
        printer.object(&value)?;
    }
    match (&analysis.report, &analysis.error) {
        (Some(_), None) if printer.json => Ok(()),
        (Some(report), None) if args.csv => printer.line(&csv::row(&csv::of_report(&file, report))),
        (Some(report), None) => {
            if has_heading {
                printer.line(&sanitize(&format!("{file}:")))?;
            }
            draw(printer, report)
        }
        (_, error) => {
            let mut failure = Failure::from_rpc(&error.clone().unwrap_or_default());
            if failure.message.is_empty() {
                failure.message = format!("the analysis ended in {} without a report", values::state(analysis.state));
            }
            Err(CliError::WorkFailed(Box::new(failure)))
        }
    }
}

/// Writes the row or object of a file that could not be measured; a failed analysis has its object already.
fn write_failure(printer: &Printer, args: &AnalyzeArgs, source: &Source, error: &CliError) -> Result<(), CliError> {
    let (file, text) = (source.text(), sanitize(&error.text()));
    if args.csv {
        let mut cells = vec![file, text];
        cells.resize(csv::COLUMNS.len(), String::new());
        return printer.line(&csv::row(&cells));
    }
    if printer.json && !matches!(error, CliError::WorkFailed(_)) {
        return printer.object(&json!({"file": file, "error": {"message": text}}));
    }
    Ok(())
}

async fn measure(server: &Server, printer: &Printer, source: &Source, find_tracks: bool) -> Result<Analysis, CliError> {
    let mut client = server.connection.open().await?;
    let (name, is_own) = match source {
        Source::Name(name) => (name.clone(), false),
        Source::File(path) => (upload::file(&mut client, printer, path).await?, true),
    };
    let analysis = follow(&mut client, printer, &name, find_tracks).await;
    if is_own {
        // Otherwise it expires.
        let _ = client.delete_upload(DeleteUploadRequest { upload: name }).await;
    }
    analysis
}

async fn follow(client: &mut Client, printer: &Printer, source: &str, find_tracks: bool) -> Result<Analysis, CliError> {
    let request =
        CreateAnalysisRequest { source: source.to_owned(), request_id: uuid::Uuid::new_v4().to_string(), find_tracks };
    let mut analysis = client.create_analysis(request).await?.analysis.unwrap_or_default();
    let mut is_estimated = false;
    let mut display = printer.is_live.then(LiveDisplay::default);
    // Polling is enough here, and unlike a stream it needs no code to resume.
    while !has_ended(&analysis) {
        if let Some(display) = &mut display {
            let percent = analysis.fraction_done * 100.0;
            let ready = analysis.ready_in.as_ref().map_or(String::new(), |time| format!(", {}", format::ready(time)));
            let known = analysis.partial.as_ref().map_or(String::new(), so_far);
            display.show(vec![format!("{}: {percent:.0} %{ready}{known}", values::state(analysis.state))]);
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

/// What the analyzer knows before its report.
fn so_far(partial: &PartialReport) -> String {
    let level = partial.integrated_lufs.map(|level| format!(", {level:.1} LUFS"));
    let tempo = partial.tempo.as_ref().map(|tempo| {
        format!(", {:.1} quarters a minute ({:.0} %)", tempo.quarters_per_minute, tempo.confidence * 100.0)
    });
    let key = partial.key.as_ref().map(|key| format!(", {} ({:.0} %)", key.camelot, key.confidence * 100.0));
    [level, tempo, key].into_iter().flatten().collect()
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
    if let Some(lufs) = report.bass_loudness_lufs {
        printer.line(&format!("  bass {lufs:.1} LUFS"))?;
    }
    if let Some(width) = report.stereo_correlation {
        printer.line(&format!("  stereo correlation {width:.2}"))?;
    }
    for fact in measurements::of_music(report) {
        printer.line(&format!("  {fact}"))?;
    }
    for section in &report.sections {
        let loudness = section.loudness.and_then(|each| each.integrated_lufs).map(|lufs| format!("{lufs:.1} LUFS"));
        let facts: Vec<String> = loudness.into_iter().chain(measurements::of_section(section)).collect();
        printer.line(&format!("  {}: {}", sanitize(&section.section_id), facts.join(", ")))?;
    }
    for track in &report.tracks {
        printer.line(&sanitize(&format!("  {}", measurements::of_track(track, rate))))?;
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
