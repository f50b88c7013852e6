//! The output: text, colours, the progress board and questions.

pub mod board;
pub mod drawing;
pub mod format;
pub mod live_display;
pub mod measurements;
pub mod outline;
pub mod palette;
pub mod printer;
pub mod prompt;
pub mod sheets;
pub mod summary;
pub mod text_line;
