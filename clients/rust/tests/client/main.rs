//! Tests of the library and of the `segue` command against a fake service on a real port.

#![allow(missing_docs)] // Tests have no public documentation.

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
