//! Draws the progress board: a pure function of board, size and time.

use std::time::Instant;

use anstyle::Style;
use segue_client::proto::segue::composer::v1::State;
use unicode_width::UnicodeWidthStr as _;

use super::{
    board::{Board, Phase, Row},
    format,
    live_display::Size,
    palette::Palette,
    summary::short_id,
    text_line::{TextLine, truncate},
};
use crate::values;

const LABEL_COLUMNS: usize = 16;
/// The columns for the start and the number of bars.
const POSITION_COLUMNS: usize = 19;
const NARROW_COLUMNS: usize = 64;
/// The least width of the status. It keeps the progress bars at one length.
const STATUS_COLUMNS: usize = 24;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws a running composition.
pub fn frame(board: &Board, size: Size, palette: Palette, now: Instant) -> Vec<String> {
    let columns = size.columns.saturating_sub(1).max(20);
    let mut lines = Vec::new();
    if board.rows.is_empty() {
        lines.push(status(board, columns, palette, now));
        return lines;
    }
    let mut head = TextLine::new(palette, columns);
    head.add(Palette::BOLD, if board.title.is_empty() { &board.name } else { &board.title });
    head.add(Palette::PLAIN, &format!("  {}", board.facts.join(" · ")));
    lines.push(head.text);
    lines.extend(timeline(board, columns, palette));
    let free_lines = size.lines.saturating_sub(lines.len() + 3).max(3);
    let (first, last) = window(&board.rows, free_lines);
    if first > 0 {
        lines.push(omission(palette, columns, &format!("{first} sections before")));
    }
    let shown = &board.rows[first..last];
    let layout = Layout::new(shown, columns);
    lines.extend(shown.iter().map(|row| section(row, board.sample_rate, columns, layout, palette)));
    if last < board.rows.len() {
        lines.push(omission(palette, columns, &format!("{} sections after", board.rows.len() - last)));
    }
    lines.push(status(board, columns, palette, now));
    lines
}

/// Draws the sections as blocks in proportion to their lengths, and the energy of their bars.
pub fn timeline(board: &Board, columns: usize, palette: Palette) -> Vec<String> {
    let edges = edges(board, columns);
    let mut names = TextLine::new(palette, columns);
    let mut levels = TextLine::new(palette, columns);
    let fraction = if board.frames > 0 { board.received_frames as f64 / board.frames as f64 } else { 0.0 };
    let received = (fraction * columns as f64) as usize;
    for (row, (first, last)) in board.rows.iter().zip(edges) {
        let width = last - first;
        if width == 0 {
            continue;
        }
        let name = truncate(&row.label, width.saturating_sub(1));
        let padding = width.saturating_sub(1 + name.width());
        names.add(style(&row.phase), &format!("▏{name}{}", " ".repeat(padding)));
        for column in 0..width {
            let is_received = first + column < received;
            levels.add(if is_received { Palette::GOOD } else { Palette::DIM }, &level(row, column, width).to_string());
        }
    }
    vec![names.text, levels.text]
}

fn edges(board: &Board, columns: usize) -> Vec<(usize, usize)> {
    let total = board.rows.iter().map(|row| row.frames).sum::<i64>().max(1) as f64;
    let mut frames = 0;
    board
        .rows
        .iter()
        .map(|row| {
            let first = (frames as f64 / total * columns as f64).round() as usize;
            frames += row.frames;
            (first, (frames as f64 / total * columns as f64).round() as usize)
        })
        .collect()
}

fn level(row: &Row, column: usize, width: usize) -> char {
    let index = column * row.energy.len() / width;
    let energy = row.energy.get(index).copied().unwrap_or(0.0).clamp(0.0, 1.0);
    LEVELS[((energy * 8.0) as usize).min(7)]
}

/// Selects the visible rows: those around the first row that is not joined yet.
fn window(rows: &[Row], num_visible: usize) -> (usize, usize) {
    if rows.len() <= num_visible {
        return (0, rows.len());
    }
    let current = rows.iter().position(|row| !matches!(row.phase, Phase::Joined { .. })).unwrap_or(rows.len());
    let first = current.saturating_sub(num_visible / 3).min(rows.len() - num_visible);
    (first, first + num_visible)
}

/// The column widths of the sections' lines.
#[derive(Clone, Copy)]
struct Layout {
    label: usize,
    has_position: bool,
    bar: usize,
}

impl Layout {
    /// The status has priority. A narrow terminal has no columns for the position.
    fn new(rows: &[Row], columns: usize) -> Self {
        let widest = rows.iter().map(|row| phase(row).width()).max().unwrap_or(0).max(STATUS_COLUMNS);
        let has_position = columns >= NARROW_COLUMNS;
        let label = if has_position { LABEL_COLUMNS } else { LABEL_COLUMNS / 2 };
        let taken = 2 + label + if has_position { POSITION_COLUMNS } else { 0 } + 2 + widest;
        Self { label, has_position, bar: columns.saturating_sub(taken).clamp(6, 60) }
    }
}

fn section(row: &Row, sample_rate: u32, columns: usize, layout: Layout, palette: Palette) -> String {
    let mut line = TextLine::new(palette, columns);
    let label = truncate(&row.label, layout.label);
    line.add(Palette::PLAIN, &format!(" {label}{} ", " ".repeat(layout.label - label.width())));
    if layout.has_position {
        let start = format::clock(row.first_frame as f64 / f64::from(sample_rate));
        line.add(Palette::DIM, &format!("{start:>7} {:>4} bars  ", row.bars));
    }
    let full = ((row.fraction * layout.bar as f64).round() as usize).min(layout.bar);
    line.add(style(&row.phase), &"━".repeat(full));
    line.add(Palette::DIM, &"─".repeat(layout.bar - full));
    line.add(style(&row.phase), &format!("  {}", phase(row)));
    line.text
}

fn phase(row: &Row) -> String {
    let attempt = if row.attempt > 1 { format!(", attempt {}", row.attempt) } else { String::new() };
    match &row.phase {
        Phase::Waiting | Phase::Rendering if row.queue_position > 0 => {
            let begins = row.queue_wait.as_ref().map_or(String::new(), |time| format!(", {}", format::begins(time)));
            format!("waiting, position {} in the queue{begins}{attempt}", row.queue_position)
        }
        Phase::Waiting => "waiting".into(),
        Phase::Rendering if row.real_time_factor > 0.0 => {
            format!("{:>3.0} %  {}x{attempt}", row.fraction * 100.0, speed(row.real_time_factor))
        }
        Phase::Rendering => format!("{:>3.0} %{attempt}", row.fraction * 100.0),
        Phase::Rendered { reused: true } => "reused".into(),
        Phase::Rendered { reused: false } => "rendered".into(),
        Phase::Joined { score } => {
            let score = score.map_or(String::new(), |score| format!(" {score:.2}"));
            let measured = row.measured.as_ref().map_or(String::new(), |found| format!(", {found}"));
            format!("joined{score}{measured}")
        }
        Phase::Failed => "failed".into(),
    }
}

fn speed(factor: f64) -> String {
    if factor < 10.0 { format!("{factor:.1}") } else { format!("{factor:.0}") }
}

fn style(phase: &Phase) -> Style {
    match phase {
        Phase::Waiting => Palette::DIM,
        Phase::Rendering => Palette::BUSY,
        Phase::Rendered { .. } => Palette::HINT,
        Phase::Joined { .. } => Palette::GOOD,
        Phase::Failed => Palette::BAD,
    }
}

fn status(board: &Board, columns: usize, palette: Palette, now: Instant) -> String {
    let mut line = TextLine::new(palette, columns);
    if let Some(cause) = &board.disconnected {
        line.add(Palette::BUSY, &format!("reconnecting: {cause}"));
        return line.text;
    }
    let colour = match State::try_from(board.state) {
        Ok(State::Succeeded) => Palette::GOOD,
        Ok(State::Failed | State::Cancelled) => Palette::BAD,
        _ => Palette::BUSY,
    };
    let state = if board.name.is_empty() { "connecting".to_owned() } else { values::state(board.state) };
    line.add(colour, &state);
    if board.queue_position > 0 {
        line.add(Palette::PLAIN, &format!(" · position {} in the queue", board.queue_position));
    }
    if !board.waiting_for.is_empty() {
        line.add(Palette::BUSY, &format!(" · waiting for the {}, which does not answer", board.waiting_for));
        return line.text;
    }
    if board.received_frames > 0 {
        let seconds = |frames: i64| format::clock(frames as f64 / f64::from(board.sample_rate));
        line.add(
            Palette::PLAIN,
            &format!(" · {} of {} received", seconds(board.received_frames), seconds(board.frames)),
        );
    }
    let state = State::try_from(board.state);
    let is_working = matches!(state, Ok(State::Queued | State::Planning | State::Rendering | State::Mastering));
    if let Some(left) = board.seconds_left(now).filter(|_| is_working) {
        line.add(Palette::PLAIN, &format!(" · about {} left", format::clock(left.ceil())));
    }
    line.text
}

/// Draws a composition in one line, for a screen with several.
pub fn summary(board: &Board, columns: usize, palette: Palette, now: Instant) -> String {
    let mut line = TextLine::new(palette, columns);
    // Titles may be equal, so the line begins with the id.
    line.add(Palette::DIM, &format!("{} ", short_id(&board.name)));
    let width = (columns / 4).clamp(8, 40);
    let label = truncate(&board.title, width);
    line.add(Palette::BOLD, &format!("{label}{} ", " ".repeat(width - label.width())));
    let bar = (columns / 4).clamp(6, 60);
    let full = ((board.fraction() * bar as f64).round() as usize).min(bar);
    line.add(Palette::GOOD, &"━".repeat(full));
    line.add(Palette::DIM, &"─".repeat(bar - full));
    line.add(Palette::PLAIN, "  ");
    let rest = status(board, line.free_columns, Palette { is_on: false }, now);
    line.add(Palette::PLAIN, &rest);
    line.text
}

/// Draws a line about rows that do not fit.
pub fn omission(palette: Palette, columns: usize, text: &str) -> String {
    let mut line = TextLine::new(palette, columns);
    line.add(Palette::DIM, &format!(" … {text}"));
    line.text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(sections: usize, label: &str) -> Board {
        let mut board = Board::new();
        board.title = "Träume 夢".into();
        board.frames = 48_000 * sections as i64;
        board.rows = (0..sections)
            .map(|index| Row {
                id: index.to_string(),
                label: label.into(),
                bars: 8,
                first_frame: 48_000 * index as i64,
                frames: 48_000,
                energy: vec![0.1, 0.9],
                phase: [Phase::Joined { score: Some(0.9) }, Phase::Rendering, Phase::Waiting][index.min(2)].clone(),
                fraction: 0.4,
                real_time_factor: 20.0,
                queue_position: 0,
                queue_wait: None,
                attempt: 1,
                measured: Some("-14.0 LUFS, other tempo, other key".into()),
            })
            .collect();
        board
    }

    #[test]
    fn no_drawing_exceeds_the_terminal() {
        for sections in [1, 2, 7, 60, 256] {
            for label in ["a", "長い名前のセクション", "a very long name of a section indeed"] {
                for columns in [21, 40, 80, 160, 400] {
                    for lines in [8, 24, 50] {
                        let size = Size { columns, lines };
                        let plain = Palette { is_on: false };
                        let board = board(sections, label);
                        let drawn = frame(&board, size, plain, Instant::now());
                        assert!(drawn.len() <= lines, "{} lines in {lines}", drawn.len());
                        let one_line = summary(&board, columns - 1, plain, Instant::now());
                        for line in drawn.iter().chain([&one_line]) {
                            assert!(line.width() < columns.max(21), "{} columns in {columns}: {line}", line.width());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_section_in_the_line_shows_its_position_and_its_wait() {
        let size = Size { columns: 120, lines: 24 };
        let mut board = board(3, "verse");
        board.rows[2].queue_position = 2;
        board.rows[2].queue_wait = Some(prost_types::Duration { seconds: 61, nanos: 200_000_000 });
        let drawn = frame(&board, size, Palette { is_on: false }, Instant::now()).join("\n");
        assert!(drawn.contains("waiting, position 2 in the queue, begins in about 1:02"), "{drawn}");
    }

    #[test]
    fn colours_add_escape_codes_only() {
        let size = Size { columns: 80, lines: 24 };
        let now = Instant::now();
        let plain = frame(&board(3, "intro"), size, Palette { is_on: false }, now).join("\n");
        let coloured = frame(&board(3, "intro"), size, Palette { is_on: true }, now).join("\n");
        assert!(!plain.contains('\x1b') && coloured.contains('\x1b'));
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
    }
}
