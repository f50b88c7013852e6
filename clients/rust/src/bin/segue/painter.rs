//! Keeps a drawing at the bottom of the terminal, with lines that stay above it.

use std::io::{self, Write as _};

use crate::{draw::Size, words};

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// A drawing that is replaced again and again. Between two drawings the cursor stands below, to be seen: however the
/// program ends, or is put to sleep, there is nothing to bring back.
#[derive(Default)]
pub struct Painter {
    lines: usize,
    last: Vec<String>,
}

impl Painter {
    /// The size of the terminal now; it may change at any time.
    pub fn size() -> Size {
        let known = terminal_size::terminal_size_of(io::stderr());
        let (columns, lines) = known.map_or((80, 24), |(width, height)| (width.0, height.0));
        Size { columns: usize::from(columns), lines: usize::from(lines) }
    }

    /// Replaces the drawing.
    pub fn show(&mut self, drawing: Vec<String>) {
        if drawing != self.last {
            let text = format!("{HIDE_CURSOR}{}{}\n{SHOW_CURSOR}", self.up(), drawing.join("\n"));
            Self::put(&text);
            self.lines = drawing.len();
            self.last = drawing;
        }
    }

    /// Writes lines that stay; the drawing moves down.
    pub fn say(&mut self, lines: &[String]) {
        if !lines.is_empty() {
            let drawing = std::mem::take(&mut self.last);
            let text = format!("{}{}\n", self.up(), lines.join("\n"));
            Self::put(&text);
            self.lines = 0;
            if !drawing.is_empty() {
                self.show(drawing);
            }
        }
    }

    /// Shows how far a file is on its way.
    pub fn show_transfer(&mut self, doing: &str, bytes: i64, whole: i64) {
        self.show(vec![format!("{doing}: {} of {}", words::size(bytes), words::size(whole))]);
    }

    /// Lets the drawing stand; what comes next stands below it.
    pub fn leave(&mut self) {
        self.lines = 0;
        self.last.clear();
    }

    /// Removes the drawing.
    pub fn clear(&mut self) {
        Self::put(&self.up());
        self.lines = 0;
        self.last.clear();
    }

    fn up(&self) -> String {
        if self.lines > 0 { format!("\x1b[{}F\x1b[J", self.lines) } else { String::new() }
    }

    fn put(text: &str) {
        // Written as it is: what takes colours out would take the way up out, too.
        let mut out = io::stderr().lock();
        // A terminal that went away is no reason to stop the work.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

impl Drop for Painter {
    fn drop(&mut self) {
        if self.lines > 0 {
            self.clear();
        }
    }
}
