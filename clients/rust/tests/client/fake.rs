//! A `ComposerService` on a real port that plays prepared pieces, and misbehaves when it is told to.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use prost::Message as _;
use segue_client::{
    Address, Connection,
    proto::{google::rpc, segue::composer::v1::*},
};
use service::Service;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Status, transport::ServerTlsConfig};

use crate::pieces::Piece;

mod playing;
mod service;

#[allow(clippy::pedantic)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/server/segue.composer.v1.rs"));
}
use generated::composer_service_server::ComposerServiceServer;

/// What one stream does instead of playing on.
#[derive(Clone)]
pub enum StreamFault {
    /// Ends with an error after so many messages.
    Break(usize, Status),
    /// Holds messages back until they may be sent: after so many, as things stand inside. Meanwhile it says what it is at,
    /// or nothing.
    Hold(Option<State>, fn(usize, &FakeState) -> bool),
    /// Changes the message with this index.
    Corrupt(usize, fn(&mut CompositionEvent)),
    /// Refuses at once.
    Refuse(Status),
    /// Sends a message of several MiB.
    Huge(usize),
    /// Waits this long between messages.
    Slow(Duration),
    /// Ends without the last event.
    EndEarly(usize),
}

#[derive(Default)]
pub struct FakeState {
    pub pieces: HashMap<String, Piece>,
    /// One for each stream that is opened; then all is well.
    pub faults: VecDeque<StreamFault>,
    /// For every stream, also the ones to come.
    pub always: Option<StreamFault>,
    pub cursors: Vec<String>,
    pub specs: Vec<CompositionSpec>,
    pub cancelled: Vec<String>,
    pub uploads: HashMap<String, Vec<u8>>,
    pub token: String,
    pub refuse_compose: Option<Status>,
    /// What it says of its version. Empty means the client's own.
    pub version: String,
    pub masters: Vec<CreateMasterRequest>,
    /// What is held back may be sent.
    pub may_go_on: bool,
    /// How long it takes to answer who asks for a stream.
    pub slow_answers: Duration,
    /// How long it waits before each part of a file but the first, in both directions.
    pub slow_files: Duration,
    /// After its first stream it refuses with this whoever comes back, until somebody has asked in vain for a cancel.
    pub away: Option<Status>,
    /// What it says of an analysis instead of a finished one.
    pub analysis: Option<Analysis>,
}

/// The running fake.
pub struct Fake {
    pub address: SocketAddr,
    pub state: Arc<Mutex<FakeState>>,
}

impl Fake {
    /// Starts it in a thread of its own; it ends with the test's process.
    pub fn start(pieces: Vec<Piece>) -> Self {
        Self::start_with(pieces, None)
    }

    /// The same behind TLS.
    pub fn start_with(pieces: Vec<Piece>, tls: Option<ServerTlsConfig>) -> Self {
        let state = Arc::new(Mutex::new(FakeState::default()));
        state.lock().unwrap().pieces = pieces.into_iter().map(|piece| (piece.name.clone(), piece)).collect();
        let service = Service(Arc::clone(&state));
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let server = ComposerServiceServer::new(service);
                let mut builder = tonic::transport::Server::builder();
                if let Some(tls) = tls {
                    builder = builder.tls_config(tls).unwrap();
                }
                builder.add_service(server).serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
            });
        });
        Self { address: told.recv().unwrap(), state }
    }

    pub fn with(self, change: impl FnOnce(&mut FakeState)) -> Self {
        change(&mut self.state.lock().unwrap());
        self
    }

    pub fn connection(&self) -> Connection {
        connection(self.address)
    }
}

pub fn connection(address: SocketAddr) -> Connection {
    let address = Address::parse(&address.to_string(), None).unwrap();
    Connection { address, token: String::new(), trusted: Vec::new(), identity: None }
}

/// An error as the real service packs it.
pub fn refusal(code: Code, reason: &str, message: &str, metadata: &[(&str, &str)]) -> Status {
    let info = rpc::ErrorInfo {
        reason: reason.into(),
        domain: "segue.dev".into(),
        metadata: metadata.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
    };
    packed(code, message, vec![("google.rpc.ErrorInfo", info.encode_to_vec())])
}

pub fn packed(code: Code, message: &str, details: Vec<(&str, Vec<u8>)>) -> Status {
    let details = details
        .into_iter()
        .map(|(name, value)| prost_types::Any { type_url: format!("type.googleapis.com/{name}"), value })
        .collect();
    let status = rpc::Status { code: code as i32, message: message.into(), details };
    Status::with_details(code, message, status.encode_to_vec().into())
}
