//! The code that `build.rs` generates from the contract.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

pub mod formats;

include!(concat!(env!("OUT_DIR"), "/contract.rs"));
