//! A drawing at the bottom of the terminal, below lines that stay.

use std::{
    io::{self, Write as _},
    mem,
};

use super::format;

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// The size of the terminal.
#[derive(Clone, Copy)]
pub struct Size {
    pub columns: usize,
    pub lines: usize,
}

impl Size {
    /// Returns the present size. It may change at any time.
    pub fn now() -> Self {
        let known = terminal_size::terminal_size_of(io::stderr());
        let (columns, lines) = known.map_or((80, 24), |(width, height)| (width.0, height.0));
        Self { columns: usize::from(columns), lines: usize::from(lines) }
    }
}

/// A drawing that is replaced repeatedly. Between two drawings the cursor is visible and below the drawing, so that a
/// program that ends or stops leaves a usable terminal.
#[derive(Default)]
pub struct LiveDisplay {
    num_lines: usize,
    drawing: Vec<String>,
}

impl LiveDisplay {
    /// Replaces the drawing.
    pub fn show(&mut self, drawing: Vec<String>) {
        if drawing != self.drawing {
            let text = format!("{HIDE_CURSOR}{}{}\n{SHOW_CURSOR}", self.erase_code(), drawing.join("\n"));
            write(&text);
            self.num_lines = drawing.len();
            self.drawing = drawing;
        }
    }

    /// Prints a line above the drawing.
    pub fn print(&mut self, line: &str) {
        let drawing = mem::take(&mut self.drawing);
        write(&format!("{}{line}\n", self.erase_code()));
        self.num_lines = 0;
        if !drawing.is_empty() {
            self.show(drawing);
        }
    }

    /// Shows the progress of a transfer.
    pub fn show_transfer(&mut self, name: &str, bytes: i64, total_bytes: i64) {
        self.show(vec![format!("{name}: {} of {}", format::size(bytes), format::size(total_bytes))]);
    }

    /// Keeps the drawing on the screen. Later output goes below it.
    pub fn keep(&mut self) {
        self.num_lines = 0;
        self.drawing.clear();
    }

    /// Removes the drawing.
    pub fn clear(&mut self) {
        write(&self.erase_code());
        self.num_lines = 0;
        self.drawing.clear();
    }

    fn erase_code(&self) -> String {
        if self.num_lines > 0 { format!("\x1b[{}F\x1b[J", self.num_lines) } else { String::new() }
    }
}

impl Drop for LiveDisplay {
    fn drop(&mut self) {
        if self.num_lines > 0 {
            self.clear();
        }
    }
}

fn write(text: &str) {
    // A filter for colours would also remove the codes that move the cursor.
    let mut out = io::stderr().lock();
    // A closed terminal does not stop the work.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
