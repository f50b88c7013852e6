//! What other programs read: tables and cue sheets.

pub mod csv;
pub mod cue_sheet;
