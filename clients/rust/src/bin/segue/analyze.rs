//! `segue analyze` and `segue master`: work on a file of one's own.

use std::path::Path;

use segue_client::{
    Client, Failure, Opening, clean, json,
    proto::segue::{
        analyzer::v1::{Fault, Report},
        composer::v1::{Analysis, CreateAnalysisRequest, CreateMasterRequest, Export, GetAnalysisRequest},
        music::v1::{LayerKind, Metre},
    },
};
use tokio::time::{Duration, sleep};

use crate::{
    args, compose,
    exit::Stop,
    interrupts::or_interrupted,
    job::{self, Job, Target},
    line, outputs,
    painter::Painter,
    settings::Reach,
    spec,
    talk::{Palette, Talk},
    words,
};

const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How many places of a fault are named.
const MANY: usize = 4;
const WAVE: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// `segue analyze`.
pub async fn analyze(reach: &Reach, talk: &Talk, asked: args::Analyze) -> Result<(), Stop> {
    let analysis = or_interrupted(talk, measure(reach, talk, &asked.source)).await?;
    if talk.json {
        talk.object(&json::to_value("segue.composer.v1.Analysis", &analysis)?)?;
    }
    match (&analysis.report, &analysis.error) {
        (Some(_), None) if talk.json => Ok(()),
        (Some(report), None) => draw_report(talk, report),
        (_, error) => {
            let mut failure = Failure::from_rpc(&error.clone().unwrap_or_default());
            if failure.message.is_empty() {
                failure.message = format!("it ended in {} and found nothing", words::state(analysis.state));
            }
            Err(Stop::Failed(Box::new(failure)))
        }
    }
}

async fn measure(reach: &Reach, talk: &Talk, source: &str) -> Result<Analysis, Stop> {
    let mut client = reach.connection.open().await?;
    let source = self::source(&mut client, talk, source).await?;
    let request = CreateAnalysisRequest { source, request_id: uuid::Uuid::new_v4().to_string() };
    let mut analysis = client.create_analysis(request).await?.analysis.unwrap_or_default();
    let mut shown = talk.is_live.then(Painter::default);
    // Asking now and then is as good as a stream here, and needs no second way to resume.
    while !has_ended(&analysis) {
        if let Some(painter) = &mut shown {
            painter.show(vec![format!("{}: {:.0} %", words::state(analysis.state), analysis.fraction_done * 100.0)]);
        }
        sleep(LOOK_EVERY).await;
        let request = GetAnalysisRequest { name: analysis.name.clone() };
        analysis = client.get_analysis(request).await?.analysis.unwrap_or_default();
    }
    Ok(analysis)
}

/// `segue master`.
pub async fn master(reach: &Reach, talk: &Talk, asked: args::Master) -> Result<(), Stop> {
    let kind = compose::named_kind(&asked.output)?;
    outputs::check_free(&asked.output, asked.follow.force, talk)?;
    let mut client = reach.connection.open().await?;
    let source = or_interrupted(talk, upload(&mut client, talk, &asked.source)).await?;
    let request = CreateMasterRequest {
        source,
        settings: Some(spec::master(asked.loudness)),
        exports: vec![Export { file_format: spec::file_format(kind) as i32, ..Export::default() }],
        request_id: uuid::Uuid::new_v4().to_string(),
    };
    let creating = async { Ok(client.create_master(request).await?.composition.unwrap_or_default().name) };
    let name = or_interrupted(talk, creating).await.inspect_err(|stop| {
        if stop.is_wish() {
            talk.note(job::MAYBE_BEGUN);
        }
    })?;
    let job = Job {
        opening: Opening::Watch { name },
        target: Target::File(asked.output),
        has_draft: false,
        listen: args::Listen::default(),
        follow: asked.follow,
        detach: asked.detach,
        before: Vec::new(),
    };
    Box::pin(job::run(reach, talk, job)).await
}

/// What the service has under this name, or else a file of this machine, which is sent.
pub async fn source(client: &mut Client, talk: &Talk, text: &str) -> Result<String, Stop> {
    let is_there = text.starts_with("compositions/") || text.starts_with("uploads/");
    if is_there && !Path::new(text).exists() {
        return Ok(text.to_owned());
    }
    upload(client, talk, Path::new(text)).await
}

async fn upload(client: &mut Client, talk: &Talk, path: &Path) -> Result<String, Stop> {
    let media_type = match path.extension().and_then(|each| each.to_str()).unwrap_or_default() {
        "flac" => "audio/flac",
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        "ogg" | "opus" => "audio/ogg",
        _ => "application/octet-stream",
    };
    let size = std::fs::metadata(path)
        .map_err(|error| Stop::usage(format!("{}: {error}", path.display()), "check the path"))?;
    if size.is_dir() {
        return Err(Stop::usage(format!("{} is a folder", path.display()), "name a sound file"));
    }
    let mut painter = talk.is_live.then(Painter::default);
    let upload = segue_client::upload(client, path, media_type, |bytes| {
        if let Some(painter) = &mut painter {
            painter.show_transfer("uploading", bytes, size.len() as i64);
        }
    });
    Ok(upload.await?.name)
}

fn has_ended(analysis: &Analysis) -> bool {
    analysis.end_time.is_some() || words::has_ended(analysis.state)
}

/// What was measured, in few words; the metre says what a beat is.
pub fn facts(report: &Report, metre: Option<&Metre>) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(tempo) = &report.tempo {
        facts.push(format!("{:.1} bpm", words::bpm(tempo.quarters_per_minute, metre)));
    }
    if let Some((key, estimate)) = report.key.as_ref().and_then(|each| Some((each.key.as_ref()?, each))) {
        facts.push(clean(&format!("{} ({})", words::key(key), estimate.camelot)));
    }
    if let Some(loudness) = &report.loudness {
        facts.extend(loudness.integrated_lufs.map(|lufs| format!("{lufs:.1} LUFS")));
        facts.extend(loudness.true_peak_dbtp.map(|peak| format!("{peak:.1} dBTP")));
        facts.extend(loudness.range_lu.map(|range| format!("range {range:.1} LU")));
    }
    facts
}

fn draw_report(talk: &Talk, report: &Report) -> Result<(), Stop> {
    let palette = talk.out_palette;
    let format = report.format.unwrap_or_default();
    let rate = f64::from(format.sample_rate.max(1));
    let length = words::clock(report.frames as f64 / rate);
    talk.line(
        &palette.paint(Palette::BOLD, &format!("{length}, {} Hz, {} channels", format.sample_rate, format.channels)),
    )?;
    for line in waveform(&report.peaks, Painter::size().columns.clamp(21, 160) - 1) {
        talk.line(&palette.paint(Palette::GOOD, &line))?;
    }
    for fact in facts(report, None) {
        talk.line(&format!("  {fact}"))?;
    }
    if let Some(width) = report.stereo_correlation {
        talk.line(&format!("  stereo correlation {width:.2}"))?;
    }
    for section in &report.sections {
        let loudness = section.loudness.and_then(|each| each.integrated_lufs).map(|lufs| format!("{lufs:.1} LUFS"));
        talk.line(&format!("  {}: {}", clean(&section.section_id), loudness.unwrap_or_default()))?;
    }
    for (text, places) in grouped(&report.faults, rate) {
        let first: Vec<&str> = places.iter().take(MANY).map(String::as_str).collect();
        let more = if places.len() > MANY { format!(" and {} more", places.len() - MANY) } else { String::new() };
        talk.line(&palette.paint(Palette::BAD, &clean(&format!("  {text}: at {}{more}", first.join(", ")))))?;
    }
    Ok(())
}

/// Each kind of fault with its places, in the order in which they first come.
fn grouped(faults: &[Fault], rate: f64) -> Vec<(&str, Vec<String>)> {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for fault in faults {
        let place = words::clock(fault.first_frame as f64 / rate);
        match groups.iter_mut().find(|(text, _)| *text == fault.text) {
            Some((_, places)) => places.push(place),
            None => groups.push((&fault.text, vec![place])),
        }
    }
    groups
}

/// The highest peaks in each column, as one line.
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
    let line: String = (0..columns).map(|column| WAVE[(level(column) * 8 / 127).min(8) as usize]).collect();
    vec![line::fit(&line, columns)]
}

/// The layers' names, for people.
pub fn layers(numbers: &[i32]) -> String {
    let names: Vec<String> = numbers
        .iter()
        .filter_map(|number| LayerKind::try_from(*number).ok())
        .map(|kind| words::plain(kind.as_str_name(), "LAYER_KIND_"))
        .collect();
    names.join(" ")
}
