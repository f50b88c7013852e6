//! Single calls to the service, with token, request id, deadline and a few tries.

use std::time::Duration;

use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::{
    Address, Backoff, Error, Result,
    error::{Failure, innermost},
    proto::segue::composer::v1 as wire,
};

pub(crate) type Stub = wire::composer_service_client::ComposerServiceClient<InterceptedService<Channel, Credentials>>;

const MAX_MESSAGE_BYTES: usize = 2 << 20;
// A window of the size of a second of sound and more: one round trip of a far server does not slow a stream.
const WINDOW_BYTES: u32 = 1 << 20;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const CALL_LIMIT: Duration = Duration::from_secs(60);
const TRIES: u32 = 4;

/// How to reach a server.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where it is.
    pub address: Address,
    /// The bearer token to send. Empty means none.
    pub token: String,
    /// Certificates (PEM) to trust instead of the system's. Empty means the system's.
    pub trusted: Vec<u8>,
    /// Own certificate and its private key (PEM), for a server that wants to see one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Connection {
    /// Opens a connection; a token is refused where strangers could read it.
    pub async fn open(&self) -> Result<Client> {
        Ok(Client { stub: self.stub().await?, server: self.address.to_string() })
    }

    pub(crate) async fn stub(&self) -> Result<Stub> {
        let unreachable = |error: &dyn std::error::Error| Error::Unreachable {
            server: self.address.to_string(),
            cause: innermost(error),
        };
        let mut endpoint = Endpoint::from_shared(self.address.uri())
            .map_err(|error| Error::Usage(format!("{}: {}", self.address, innermost(&error))))?
            .connect_timeout(CONNECT_LIMIT)
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(2 * WINDOW_BYTES);
        if self.address.tls {
            let mut tls = if self.trusted.is_empty() {
                ClientTlsConfig::new().with_native_roots()
            } else {
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.trusted))
            };
            if let Some((certificate, key)) = &self.identity {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| unreachable(&error))?;
        }
        let credentials = self.credentials()?;
        let channel = endpoint.connect().await.map_err(|error| unreachable(&error))?;
        Ok(Stub::new(InterceptedService::new(channel, credentials)).max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    fn credentials(&self) -> Result<Credentials> {
        if self.token.is_empty() {
            return Ok(Credentials { bearer: None });
        }
        if !self.address.is_private() {
            return Err(Error::Usage(format!(
                "{}: a token is not sent in the clear; use TLS, or leave the token out",
                self.address
            )));
        }
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {}", self.token)
            .parse()
            .map_err(|_| Error::Usage("the token has characters that cannot be sent".to_owned()))?;
        bearer.set_sensitive(true);
        Ok(Credentials { bearer: Some(bearer) })
    }
}

/// Adds token and request id to every call.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    bearer: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        if let Some(bearer) = &self.bearer {
            metadata.insert("authorization", bearer.clone());
        }
        if let Ok(id) = uuid::Uuid::new_v4().to_string().parse() {
            metadata.insert("x-request-id", id);
        }
        Ok(request)
    }
}

/// An open connection.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) stub: Stub,
    server: String,
}

macro_rules! unary {
    ($(#[$doc:meta])* $name:ident, $request:ident, $response:ident, $tries:expr) => {
        $(#[$doc])*
        pub async fn $name(&mut self, request: wire::$request) -> Result<wire::$response> {
            let mut backoff = Backoff::default();
            for attempt in 1.. {
                let mut sent = Request::new(request.clone());
                sent.set_timeout(CALL_LIMIT);
                let status = match self.stub.$name(sent).await {
                    Ok(answer) => return Ok(answer.into_inner()),
                    Err(status) => status,
                };
                if attempt >= $tries || status.code() != Code::Unavailable {
                    return Err(self.error(&status));
                }
                tokio::time::sleep(backoff.next(Failure::from_status(&status).retry_after)).await;
            }
            unreachable!("the loop ends by returning")
        }
    };
}

impl Client {
    unary!(/// Creates a composition; `request_id` makes it safe to try again.
        create_composition, CreateCompositionRequest, CreateCompositionResponse, TRIES);
    unary!(/// Returns a composition.
        get_composition, GetCompositionRequest, GetCompositionResponse, TRIES);
    unary!(/// Returns a page of compositions.
        list_compositions, ListCompositionsRequest, ListCompositionsResponse, TRIES);
    unary!(/// Asks a composition to stop.
        cancel_composition, CancelCompositionRequest, CancelCompositionResponse, TRIES);
    unary!(/// Removes a finished composition. Tried once: a second try would not find what the first one removed.
        delete_composition, DeleteCompositionRequest, DeleteCompositionResponse, 1);
    unary!(/// Plans without making anything.
        plan_composition, PlanCompositionRequest, PlanCompositionResponse, TRIES);
    unary!(/// Says what can be played.
        list_models, ListModelsRequest, ListModelsResponse, TRIES);
    unary!(/// Says how busy the service is.
        get_stats, GetStatsRequest, GetStatsResponse, 1);
    unary!(/// Opens an upload.
        create_upload, CreateUploadRequest, CreateUploadResponse, TRIES);
    unary!(/// Appends bytes to an upload.
        write_upload, WriteUploadRequest, WriteUploadResponse, TRIES);
    unary!(/// Closes an upload.
        finish_upload, FinishUploadRequest, FinishUploadResponse, TRIES);
    unary!(/// Queues an analysis; `request_id` makes it safe to try again.
        create_analysis, CreateAnalysisRequest, CreateAnalysisResponse, TRIES);
    unary!(/// Returns an analysis.
        get_analysis, GetAnalysisRequest, GetAnalysisResponse, TRIES);
    unary!(/// Queues a mastering; `request_id` makes it safe to try again.
        create_master, CreateMasterRequest, CreateMasterResponse, TRIES);

    pub(crate) fn error(&self, status: &Status) -> Error {
        Error::from_status(&self.server, status)
    }
}
