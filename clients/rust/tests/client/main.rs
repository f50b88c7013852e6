//! The client against a fake service on a real port: streams under faults, files, and the whole `segue` command.

#![allow(missing_docs)] // Tests are not for readers of the documentation.

mod command;
mod doctor;
mod documentation;
mod fake;
mod licences;
mod mesh;
mod module_graph;
mod pieces;
mod playback;
mod proxy;
mod snapshots;
mod streams;
#[cfg(target_os = "linux")]
mod terminal;
mod transfers;
