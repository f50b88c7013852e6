//! A client of the Segue music service.
//!
//! [`Client`] makes single calls. [`Watch`] follows the stream of a composition. It reconnects after a broken connection
//! or a restart of the server, checks every chunk of audio, and delivers each frame exactly once.
//!
//! ```no_run
//! use segue_client::{Address, Connection, StreamRequest, Update, Watch, WatchOptions};
//! use segue_client::proto::segue::{
//!     composer::v1::{ComposeRequest, CompositionSpec},
//!     music::v1::Brief,
//! };
//!
//! # async fn listen() -> segue_client::Result<()> {
//! let address = Address::parse("127.0.0.1:7300", None)?;
//! let connection = Connection { address, token: String::new(), trusted: Vec::new(), identity: None };
//! let brief = Brief { prompt: "rainy lo-fi, 82 bpm, F minor".into(), ..Brief::default() };
//! let request = ComposeRequest {
//!     spec: Some(CompositionSpec { brief: Some(brief), ..CompositionSpec::default() }),
//!     request_id: uuid::Uuid::new_v4().to_string(),
//!     ..ComposeRequest::default()
//! };
//! let mut watch = Watch::new(connection, StreamRequest::Compose(Box::new(request)), WatchOptions::default());
//! while let Some(update) = watch.next().await? {
//!     match update {
//!         Update::Audio(stage, chunk) => println!("{stage:?}: {} frames from {}", chunk.frames, chunk.first_frame),
//!         Update::Rewound(stage, frame) => println!("{stage:?}: drop what you have from frame {frame} on"),
//!         other => println!("{other:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

pub mod address;
mod client;
mod error;
pub mod json;
mod pcm;
pub mod proto;
mod retry;
mod text;
mod transfer;
mod watch;
pub mod wav;

pub use address::Address;
pub use client::{Client, Connection};
pub use error::{Error, Failure, FieldViolation, Result};
pub use pcm::PcmFormat;
pub use proto::formats;
pub use retry::Backoff;
pub use text::sanitize;
pub use transfer::{download, upload};
pub use watch::{Chunk, ChunkSequence, InvalidMessage, StreamRequest, Update, Watch, WatchOptions};
