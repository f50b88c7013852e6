//! Work with the server that several commands share.

pub mod file_names;
pub mod follow;
pub mod job;
pub mod names;
pub mod new_composition;
pub mod outputs;
pub mod settings;
pub mod signals;
pub mod sound;
pub mod spec;
pub mod upload;
pub mod watch_many;
