//! A client of the Segue music service.
//!
//! [`Client`] makes single calls; [`Watch`] follows a composition's stream through cut connections and restarts, checks
//! every chunk, and hands on each frame exactly once.

pub mod address;
mod client;
mod error;
pub mod json;
pub mod proto;
mod retry;
mod text;
mod track;
mod transfer;
mod watch;
pub mod wav;

pub use address::Address;
pub use client::{Client, Connection};
pub use error::{Error, Failure, Result, Violation};
pub use retry::Backoff;
pub use text::clean;
pub use track::{Chunk, Fault, Format, Track};
pub use transfer::{download, upload};
pub use watch::{Opening, Update, Watch, WatchOptions};
