//! The errors of the client. A failure of the server keeps its code, its reason and its details.

use std::{collections::HashMap, fmt, io, time::Duration};

use prost::Message as _;
use tonic::Code;

use crate::proto::google::rpc;

/// The result of every call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a call failed.
#[derive(Debug)]
pub enum Error {
    /// The caller asked for something impossible. Nothing was sent.
    Usage(String),
    /// The server cannot be reached.
    Unreachable {
        /// The server's address.
        server: String,
        /// The error of the network.
        cause: String,
    },
    /// The server refused the call, or failed.
    Server(Box<Failure>),
    /// The server broke the contract, and retries did not help.
    ContractViolation(String),
    /// The composition made no progress for this long.
    Stalled(Duration),
    /// A local file or pipe failed.
    Local {
        /// The action, for example "writing song.flac".
        doing: String,
        /// The error of the operating system.
        cause: io::Error,
    },
}

/// One field of a request that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// The path of the field, for example "spec.brief.duration".
    pub field: String,
    /// The rule, often with a suggestion.
    pub description: String,
}

/// An error of the server with its details.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The canonical code.
    pub code: Code,
    /// A name of `segue.errors.v1.ErrorReason` without its prefix. Empty means that the error is not from Segue.
    pub reason: String,
    /// The message for people.
    pub message: String,
    /// The variable parts of the message.
    pub metadata: HashMap<String, String>,
    /// The fields that break rules.
    pub violations: Vec<FieldViolation>,
    /// When to retry.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Reads the status of a call.
    #[must_use]
    pub fn from_status(status: &tonic::Status) -> Self {
        let packed = rpc::Status::decode(status.details()).unwrap_or_default();
        Self { message: status.message().to_owned(), ..Self::read(status.code(), packed) }
    }

    /// Reads the error of a composition or an analysis.
    #[must_use]
    pub fn from_rpc(status: &rpc::Status) -> Self {
        Self::read(Code::from_i32(status.code), status.clone())
    }

    fn read(code: Code, status: rpc::Status) -> Self {
        let mut failure = Self {
            code,
            reason: String::new(),
            message: status.message,
            metadata: HashMap::new(),
            violations: Vec::new(),
            retry_after: None,
        };
        for detail in status.details {
            match detail.type_url.rsplit('/').next() {
                Some("google.rpc.ErrorInfo") => {
                    if let Ok(info) = rpc::ErrorInfo::decode(&*detail.value) {
                        failure.reason = info.reason;
                        failure.metadata = info.metadata;
                    }
                }
                Some("google.rpc.BadRequest") => {
                    let listed = rpc::BadRequest::decode(&*detail.value).unwrap_or_default();
                    failure.violations.extend(
                        listed
                            .field_violations
                            .into_iter()
                            .map(|each| FieldViolation { field: each.field, description: each.description }),
                    );
                }
                Some("google.rpc.RetryInfo") => {
                    let info = rpc::RetryInfo::decode(&*detail.value).unwrap_or_default();
                    failure.retry_after = info.retry_delay.and_then(|delay| Duration::try_from(delay).ok());
                }
                _ => {}
            }
        }
        failure
    }

    /// Whether a retry can succeed: the connection failed, or the server is unavailable for a while.
    pub(crate) fn is_transient(&self) -> bool {
        match self.code {
            Code::Unavailable => true,
            // Segue always sends a reason. Without one, the code stands for a broken connection.
            Code::Unknown
            | Code::Internal
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::DataLoss
            | Code::OutOfRange
            | Code::ResourceExhausted => self.reason.is_empty(),
            _ => false,
        }
    }

    /// The id of this call in the server's log. Empty if the server sent none.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.metadata.get("requestId").map_or("", String::as_str)
    }
}

impl Error {
    /// Reads the status of a call. An error of the transport means that the server cannot be reached.
    pub(crate) fn from_status(server: &str, status: &tonic::Status) -> Self {
        let failure = Failure::from_status(status);
        match std::error::Error::source(status) {
            Some(source) if failure.reason.is_empty() => {
                Self::Unreachable { server: server.to_owned(), cause: innermost(source) }
            }
            _ => Self::Server(Box::new(failure)),
        }
    }

    pub(crate) fn local(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |cause| Self::Local { doing, cause }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() { write!(out, "{}", self.code) } else { out.write_str(&self.message) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => out.write_str(text),
            Self::Unreachable { server, cause } => write!(out, "{server} cannot be reached: {cause}"),
            Self::Server(failure) => failure.fmt(out),
            Self::ContractViolation(text) => write!(out, "the server breaks the contract: {text}"),
            Self::Stalled(limit) => write!(out, "the composition made no progress for {} s", limit.as_secs()),
            Self::Local { doing, cause } => write!(out, "{doing}: {cause}"),
        }
    }
}

impl std::error::Error for Error {}

/// Returns the innermost cause. The outer errors of the transport only say "transport error".
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
