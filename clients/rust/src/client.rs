//! Single calls to the service, with token, request id, deadline and retries.

use std::time::Duration;

use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::{
    address::Address,
    error::{Error, Failure, Result, innermost},
    proto::segue::composer::v1 as wire,
    retry::Backoff,
};

pub(crate) type Stub = wire::composer_service_client::ComposerServiceClient<InterceptedService<Channel, Credentials>>;

const MAX_MESSAGE_BYTES: usize = 2 << 20;
// The window holds more than a second of audio, so that a long round trip does not slow a stream.
const WINDOW_BYTES: u32 = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_ATTEMPTS: u32 = 4;

/// How to connect to a server.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The server's address.
    pub address: Address,
    /// The bearer token to send. Empty means none.
    pub token: String,
    /// Certificates (PEM) to trust. Empty means those of the system.
    pub trusted: Vec<u8>,
    /// Client certificate and private key (PEM), for a server that requires them.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Connection {
    /// Connects to the server. Fails with [`Error::Usage`] if a token would be sent without encryption.
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
            .connect_timeout(CONNECT_TIMEOUT)
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
                "{}: the token would be sent without encryption; use TLS, or set no token",
                self.address
            )));
        }
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {}", self.token)
            .parse()
            .map_err(|_| Error::Usage("the token contains characters that a header cannot carry".to_owned()))?;
        bearer.set_sensitive(true);
        Ok(Credentials { bearer: Some(bearer) })
    }
}

/// Adds the token and a request id to every call.
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
    ($(#[$doc:meta])* $name:ident, $request:ident, $response:ident, $attempts:expr) => {
        $(#[$doc])*
        pub async fn $name(&mut self, request: wire::$request) -> Result<wire::$response> {
            let mut backoff = Backoff::default();
            for attempt in 1.. {
                let mut sent = Request::new(request.clone());
                sent.set_timeout(CALL_TIMEOUT);
                let status = match self.stub.$name(sent).await {
                    Ok(answer) => return Ok(answer.into_inner()),
                    Err(status) => status,
                };
                if attempt >= $attempts || status.code() != Code::Unavailable {
                    return Err(self.error(&status));
                }
                tokio::time::sleep(backoff.next(Failure::from_status(&status).retry_after)).await;
            }
            unreachable!("the loop ends by returning")
        }
    };
}

impl Client {
    unary!(/// Creates a composition; `request_id` makes a retry safe.
        create_composition, CreateCompositionRequest, CreateCompositionResponse, MAX_ATTEMPTS);
    unary!(/// Returns a composition.
        get_composition, GetCompositionRequest, GetCompositionResponse, MAX_ATTEMPTS);
    unary!(/// Returns a page of compositions.
        list_compositions, ListCompositionsRequest, ListCompositionsResponse, MAX_ATTEMPTS);
    unary!(/// Cancels a composition.
        cancel_composition, CancelCompositionRequest, CancelCompositionResponse, MAX_ATTEMPTS);
    unary!(/// Queues a failed or cancelled composition again; `request_id` makes a retry of the call safe.
        retry_composition, RetryCompositionRequest, RetryCompositionResponse, MAX_ATTEMPTS);
    unary!(/// Deletes a finished composition. It is not retried: a retry would not find a composition that the first call deleted.
        delete_composition, DeleteCompositionRequest, DeleteCompositionResponse, 1);
    unary!(/// Plans a composition without making it.
        plan_composition, PlanCompositionRequest, PlanCompositionResponse, MAX_ATTEMPTS);
    unary!(/// Lists the models.
        list_models, ListModelsRequest, ListModelsResponse, MAX_ATTEMPTS);
    unary!(/// Returns the load of the service.
        get_stats, GetStatsRequest, GetStatsResponse, 1);
    unary!(/// Returns a page of what an owner has used, by day.
        get_usage, GetUsageRequest, GetUsageResponse, MAX_ATTEMPTS);
    unary!(/// Returns a URL of a file for a limited time.
        get_artifact_url, GetArtifactUrlRequest, GetArtifactUrlResponse, MAX_ATTEMPTS);
    unary!(/// Opens an upload.
        create_upload, CreateUploadRequest, CreateUploadResponse, MAX_ATTEMPTS);
    unary!(/// Appends bytes to an upload.
        write_upload, WriteUploadRequest, WriteUploadResponse, MAX_ATTEMPTS);
    unary!(/// Finishes an upload.
        finish_upload, FinishUploadRequest, FinishUploadResponse, MAX_ATTEMPTS);
    unary!(/// Returns a page of uploads.
        list_uploads, ListUploadsRequest, ListUploadsResponse, MAX_ATTEMPTS);
    unary!(/// Deletes an upload. It is not retried: a retry would not find an upload that the first call deleted.
        delete_upload, DeleteUploadRequest, DeleteUploadResponse, 1);
    unary!(/// Queues an analysis; `request_id` makes a retry safe.
        create_analysis, CreateAnalysisRequest, CreateAnalysisResponse, MAX_ATTEMPTS);
    unary!(/// Returns an analysis.
        get_analysis, GetAnalysisRequest, GetAnalysisResponse, MAX_ATTEMPTS);
    unary!(/// Returns a page of analyses.
        list_analyses, ListAnalysesRequest, ListAnalysesResponse, MAX_ATTEMPTS);
    unary!(/// Cancels an analysis.
        cancel_analysis, CancelAnalysisRequest, CancelAnalysisResponse, MAX_ATTEMPTS);
    unary!(/// Queues a mastering; `request_id` makes a retry safe.
        create_master, CreateMasterRequest, CreateMasterResponse, MAX_ATTEMPTS);
    unary!(/// Queues a separation; `request_id` makes a retry safe.
        create_separation, CreateSeparationRequest, CreateSeparationResponse, MAX_ATTEMPTS);
    unary!(/// Returns a separation.
        get_separation, GetSeparationRequest, GetSeparationResponse, MAX_ATTEMPTS);
    unary!(/// Returns a page of separations.
        list_separations, ListSeparationsRequest, ListSeparationsResponse, MAX_ATTEMPTS);
    unary!(/// Cancels a separation.
        cancel_separation, CancelSeparationRequest, CancelSeparationResponse, MAX_ATTEMPTS);
    unary!(/// Deletes a finished separation. It is not retried: a retry would not find a separation that the first call deleted.
        delete_separation, DeleteSeparationRequest, DeleteSeparationResponse, 1);

    pub(crate) fn error(&self, status: &Status) -> Error {
        Error::from_status(&self.server, status)
    }
}
