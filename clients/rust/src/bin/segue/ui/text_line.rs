//! One line of text, measured in terminal columns.

use anstyle::Style;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::palette::Palette;

/// A line that fits into the terminal. A wrapped line would break the redrawing.
pub struct TextLine {
    palette: Palette,
    pub text: String,
    /// The number of free columns.
    pub free_columns: usize,
}

impl TextLine {
    pub fn new(palette: Palette, columns: usize) -> Self {
        Self { palette, text: String::new(), free_columns: columns }
    }

    /// Appends text, shortened to the free columns.
    pub fn add(&mut self, style: Style, text: &str) {
        let fitting = truncate(text, self.free_columns);
        self.free_columns -= fitting.width();
        self.text.push_str(&self.palette.paint(style, &fitting));
    }
}

/// Shortens text to a number of columns. An ellipsis marks the cut.
pub fn truncate(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1;
    for each in text.chars() {
        used += each.width().unwrap_or(0);
        if used > columns {
            break;
        }
        out.push(each);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}
