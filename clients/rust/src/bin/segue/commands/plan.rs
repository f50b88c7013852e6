//! `segue plan`: plans a piece without making it.

use std::{fs, path::Path};

use segue_client::{
    Error, json,
    proto::segue::{
        composer::v1::PlanCompositionRequest,
        music::v1::{Chord, Origin, Plan},
    },
    sanitize,
};

use crate::{
    args::PlanArgs,
    exit::CliError,
    session::{
        file_names,
        settings::Server,
        spec::{self, words},
    },
    ui::{board::Board, drawing, format, live_display::Size, palette::Palette, printer::Printer, text_line},
    values,
};

/// The most chords of a section in the drawing.
const MAX_CHORDS: usize = 8;

pub async fn run(server: &Server, printer: &Printer, args: PlanArgs) -> Result<(), CliError> {
    let file = args.output.as_deref().filter(|path| *path != Path::new("-"));
    if let Some(path) = file {
        file_names::check_free(path, args.force)?;
    }
    let mut client = server.connection.open().await?;
    let request = PlanCompositionRequest { spec: Some(spec::to_plan(&args.brief)?) };
    let answer = client.plan_composition(request).await?;
    let is_stdout = args.output.is_some() && file.is_none();
    let json = json::to_value("segue.music.v1.Plan", &answer.plan.clone().unwrap_or_default())?;
    if let Some(path) = file {
        fs::write(path, format!("{json:#}\n"))
            .map_err(|cause| Error::Local { doing: format!("writing {}", path.display()), cause })?;
    }
    if printer.json && !is_stdout {
        return printer.object(&json::to_value("segue.composer.v1.PlanCompositionResponse", &answer)?);
    }
    if is_stdout {
        return if printer.json { printer.object(&json) } else { printer.line(&json::indented(&json)) };
    }
    let plan = answer.plan.unwrap_or_default();
    draw(printer, &plan)?;
    let estimate = answer.estimate.unwrap_or_default();
    if let Some(time) = estimate.render_time {
        printer.line(&format!("Rendering takes about {}.", format::clock(time.seconds as f64 + 1.0)))?;
    }
    if let Some(time) = &estimate.ready_in {
        printer.line(&format!("A piece that is ordered now is {}.", format::ready(time)))?;
    }
    if let Some(path) = file {
        printer.note(&format!("{}: use it with `segue compose --plan`", path.display()));
    }
    Ok(())
}

fn draw(printer: &Printer, plan: &Plan) -> Result<(), CliError> {
    let palette = printer.out_palette;
    let mut board = Board::new();
    board.set_plan(Some(plan));
    printer.line(&palette.paint(Palette::BOLD, &board.headline()))?;
    let columns = Size::now().columns.clamp(21, 160) - 1;
    for line in drawing::timeline(&board, columns, palette) {
        printer.line(&line)?;
    }
    for (row, planned) in board.rows.iter().zip(&plan.sections) {
        let spec = planned.spec.clone().unwrap_or_default();
        let start = format::clock(row.first_frame as f64 / f64::from(board.sample_rate));
        let key = spec.key.as_ref().map(values::key).unwrap_or_default();
        let chords: Vec<String> = spec.chords.iter().take(MAX_CHORDS).map(chord_name).collect();
        let more = if spec.chords.len() > MAX_CHORDS { " …" } else { "" };
        let text = format!("{start:>7}  {:<16} {:>3} bars  {key:<10} {}{more}", row.label, row.bars, chords.join(" "));
        let text = sanitize(text.trim_end());
        // In a terminal, a wrapped line is worse than a missing chord.
        printer.line(&if printer.is_out_terminal { text_line::truncate(&text, columns) } else { text })?;
        for (seconds, words) in words::timed(&spec) {
            let start = format::clock(row.first_frame as f64 / f64::from(board.sample_rate) + seconds);
            let text = sanitize(&format!("{start:>16}  {words}"));
            printer.line(&if printer.is_out_terminal { text_line::truncate(&text, columns) } else { text })?;
        }
    }
    for reading in plan.readings.iter().filter(|reading| !reading.words.is_empty()) {
        let denies = if reading.origin == Origin::NegativePrompt as i32 { "not " } else { "" };
        let text = format!("{}: {} (from {denies}\"{}\")", reading.field, reading.value, reading.words);
        printer.line(&palette.paint(Palette::DIM, &sanitize(&text)))?;
    }
    for warning in &plan.warnings {
        printer.warn(&board.about(&warning.section_id, &warning.text));
    }
    Ok(())
}

fn chord_name(chord: &Chord) -> String {
    const SUFFIXES: [&str; 21] = [
        "?", "", "m", "dim", "aug", "sus2", "sus4", "5", "6", "m6", "maj7", "m7", "7", "7sus4", "m7b5", "dim7",
        "mMaj7", "add9", "maj9", "m9", "9",
    ];
    let suffix = SUFFIXES.get(chord.quality as usize).unwrap_or(&"?");
    let bass = if chord.bass.is_empty() { String::new() } else { format!("/{}", chord.bass) };
    format!("{}{suffix}{bass}", chord.root)
}
