//! `segue plan`: the piece on paper.

use std::{fs, path::Path};

use segue_client::{
    clean, json,
    proto::segue::{
        composer::v1::PlanCompositionRequest,
        music::v1::{Origin, Plan},
    },
};

use crate::{
    args,
    board::Board,
    draw,
    exit::Stop,
    line, outputs,
    painter::Painter,
    settings::Reach,
    spec,
    talk::{Palette, Talk},
    words,
};

/// `segue plan`.
pub async fn plan(reach: &Reach, talk: &Talk, asked: args::Plan) -> Result<(), Stop> {
    let file = asked.output.as_deref().filter(|path| *path != Path::new("-"));
    if let Some(path) = file {
        outputs::check_free(path, asked.force, talk)?;
    }
    let mut client = reach.connection.open().await?;
    let request = PlanCompositionRequest { spec: Some(spec::planned(&asked.asked)?) };
    let answer = client.plan_composition(request).await?;
    let is_stdout = asked.output.is_some() && file.is_none();
    let text = json::to_value("segue.music.v1.Plan", &answer.plan.clone().unwrap_or_default())?;
    if let Some(path) = file {
        fs::write(path, format!("{text:#}\n"))
            .map_err(|cause| segue_client::Error::Local { doing: format!("writing {}", path.display()), cause })?;
    }
    if talk.json && !is_stdout {
        return talk.object(&json::to_value("segue.composer.v1.PlanCompositionResponse", &answer)?);
    }
    if is_stdout {
        return if talk.json { talk.object(&text) } else { talk.line(&json::indented(&text)) };
    }
    let plan = answer.plan.unwrap_or_default();
    draw_plan(talk, &plan)?;
    if let Some(time) = answer.estimate.and_then(|estimate| estimate.render_time) {
        talk.line(&format!("It will take about {}.", words::clock(time.seconds as f64 + 1.0)))?;
    }
    if let Some(path) = file {
        talk.note(&format!("{}: give it to `segue compose --plan`", path.display()));
    }
    Ok(())
}

fn draw_plan(talk: &Talk, plan: &Plan) -> Result<(), Stop> {
    let palette = talk.out_palette;
    let mut board = Board::new();
    board.set_plan(Some(plan));
    talk.line(&palette.paint(Palette::BOLD, &board.headline()))?;
    let columns = Painter::size().columns.clamp(21, 160) - 1;
    for line in draw::timeline(&board, columns, palette) {
        talk.line(&line)?;
    }
    for (row, planned) in board.rows.iter().zip(&plan.sections) {
        let spec = planned.spec.clone().unwrap_or_default();
        let start = words::clock(row.first_frame as f64 / f64::from(board.sample_rate));
        let key = spec.key.as_ref().map(words::key).unwrap_or_default();
        let chords: Vec<String> = spec.chords.iter().take(8).map(chord_name).collect();
        let more = if spec.chords.len() > 8 { " …" } else { "" };
        let text = format!("{start:>7}  {:<16} {:>3} bars  {key:<10} {}{more}", row.label, row.bars, chords.join(" "));
        let text = clean(&text);
        // For people a line that breaks is worse than a chord that is not seen.
        let shown = if talk.is_out_terminal { line::fit(text.trim_end(), columns) } else { text.trim_end().to_owned() };
        talk.line(&shown)?;
    }
    for reading in plan.readings.iter().filter(|reading| reading.origin == Origin::Prompt as i32) {
        let text = format!("{}: {} (from \"{}\")", reading.field, reading.value, reading.words);
        talk.line(&palette.paint(Palette::DIM, &clean(&text)))?;
    }
    for warning in &plan.warnings {
        talk.warn(&warning.text);
    }
    Ok(())
}

fn chord_name(chord: &segue_client::proto::segue::music::v1::Chord) -> String {
    const SUFFIXES: [&str; 21] = [
        "?", "", "m", "dim", "aug", "sus2", "sus4", "5", "6", "m6", "maj7", "m7", "7", "7sus4", "m7b5", "dim7",
        "mMaj7", "add9", "maj9", "m9", "9",
    ];
    let suffix = SUFFIXES.get(chord.quality as usize).unwrap_or(&"?");
    let bass = if chord.bass.is_empty() { String::new() } else { format!("/{}", chord.bass) };
    format!("{}{suffix}{bass}", chord.root)
}
