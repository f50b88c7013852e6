//! A line of text in a terminal, measured in columns.

use anstyle::Style;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::talk::Palette;

/// A line that never grows beyond the terminal: a wrapped line would break the redrawing.
pub struct Line {
    palette: Palette,
    pub text: String,
    /// How many columns are free.
    pub left: usize,
}

impl Line {
    pub fn new(palette: Palette, columns: usize) -> Self {
        Self { palette, text: String::new(), left: columns }
    }

    pub fn add(&mut self, style: Style, text: &str) {
        let fitting = fit(text, self.left);
        self.left -= fitting.width();
        self.text.push_str(&self.palette.paint(style, &fitting));
    }
}

/// As much of a text as fits into columns; an ellipsis shows that it was cut.
pub fn fit(text: &str, columns: usize) -> String {
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
