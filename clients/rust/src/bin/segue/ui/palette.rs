//! The colours of the output.

use anstyle::{AnsiColor, Style};

/// Paints text if colours are on.
#[derive(Clone, Copy)]
pub struct Palette {
    pub is_on: bool,
}

impl Palette {
    pub const BAD: Style = AnsiColor::Red.on_default().bold();
    pub const HINT: Style = AnsiColor::Cyan.on_default();
    pub const GOOD: Style = AnsiColor::Green.on_default();
    pub const BUSY: Style = AnsiColor::Yellow.on_default();
    pub const DIM: Style = Style::new().dimmed();
    pub const BOLD: Style = Style::new().bold();
    pub const PLAIN: Style = Style::new();

    pub fn paint(self, style: Style, text: &str) -> String {
        if self.is_on && !style.is_plain() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}
