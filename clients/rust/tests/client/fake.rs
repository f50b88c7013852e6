//! A fake `ComposerService` on a real port that plays prepared pieces, with faults on request.

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

/// A fault of one stream.
#[derive(Clone)]
pub enum StreamFault {
    /// Ends with an error after this many messages.
    Break(usize, Status),
    /// Holds messages back until the function allows them, given the number of sent messages. Meanwhile it sends
    /// checkpoints with this state, or nothing.
    Hold(Option<State>, fn(usize, &FakeState) -> bool),
    /// Changes the message with this index.
    Corrupt(usize, fn(&mut CompositionEvent)),
    /// Refuses the call.
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
    /// One fault for each of the next streams. Later streams have none.
    pub faults: VecDeque<StreamFault>,
    /// A fault of every stream.
    pub always: Option<StreamFault>,
    pub cursors: Vec<String>,
    pub specs: Vec<CompositionSpec>,
    pub cancelled: Vec<String>,
    /// The piece that a retry makes.
    pub retried: String,
    pub uploads: HashMap<String, Vec<u8>>,
    /// The bytes of every upload that was finished, also of deleted ones.
    pub finished_uploads: Vec<Vec<u8>>,
    pub token: String,
    pub refuse_compose: Option<Status>,
    /// The version of the service. Empty means the client's version.
    pub version: String,
    pub masters: Vec<CreateMasterRequest>,
    pub separations: Vec<CreateSeparationRequest>,
    /// Releases messages that a fault holds back.
    pub may_go_on: bool,
    /// The delay before a stream is opened.
    pub slow_answers: Duration,
    /// The delay before each part of a file except the first, in both directions.
    pub slow_files: Duration,
    /// After the first stream, refuses new streams with this status until one cancellation has failed.
    pub away: Option<Status>,
    /// The analysis to return instead of a finished one.
    pub analysis: Option<Analysis>,
    /// Whether the last analysis asked for tracks.
    pub finds_tracks: bool,
}

/// The running fake service.
pub struct Fake {
    pub address: SocketAddr,
    pub state: Arc<Mutex<FakeState>>,
}

impl Fake {
    /// Starts the service in its own thread. It ends with the test process.
    pub fn start(pieces: Vec<Piece>) -> Self {
        Self::start_with(pieces, None)
    }

    /// Starts the service with TLS.
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

/// An error with details, as the real service sends it.
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
