//! What can go wrong, in one tree; each failure of a server keeps its code, its reason and its advice.

use std::{collections::HashMap, fmt, io, time::Duration};

use prost::Message as _;
use tonic::Code;

use crate::proto::google::rpc;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not done.
#[derive(Debug)]
pub enum Error {
    /// What was asked for makes no sense; nothing was sent.
    Usage(String),
    /// The server cannot be reached.
    Unreachable {
        /// Where it should be.
        server: String,
        /// What the system said.
        cause: String,
    },
    /// The server refused or failed.
    Failed(Box<Failure>),
    /// The server broke the contract, and asking again did not help.
    Untrusted(String),
    /// For a long time nothing went on.
    Stalled(Duration),
    /// A file or a pipe of this machine failed.
    Local {
        /// What was tried, as "writing song.flac".
        doing: String,
        /// What the system said.
        cause: io::Error,
    },
}

/// One field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field, as "spec.brief.duration".
    pub field: String,
    /// What is wrong, and often what would be right.
    pub description: String,
}

/// An error of the server, with its details.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The canonical code.
    pub code: Code,
    /// A name of `segue.errors.v1.ErrorReason` without its prefix. Empty means that no Segue service said this.
    pub reason: String,
    /// The text for people.
    pub message: String,
    /// What varies in the message.
    pub metadata: HashMap<String, String>,
    /// The fields that break a rule.
    pub violations: Vec<Violation>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Reads what a call ended with.
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
                            .map(|each| Violation { field: each.field, description: each.description }),
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

    /// The id under which the server's log has this call. Empty when it gave none.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.metadata.get("requestId").map_or("", String::as_str)
    }
}

impl Error {
    /// Reads what a call ended with. What the transport says, and no server, is that the server cannot be reached.
    pub(crate) fn from_status(server: &str, status: &tonic::Status) -> Self {
        let failure = Failure::from_status(status);
        match std::error::Error::source(status) {
            Some(source) if failure.reason.is_empty() => {
                Self::Unreachable { server: server.to_owned(), cause: innermost(source) }
            }
            _ => Self::Failed(Box::new(failure)),
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
            Self::Failed(failure) => failure.fmt(out),
            Self::Untrusted(text) => write!(out, "the server breaks the contract: {text}"),
            Self::Stalled(limit) => write!(out, "nothing has gone on for {} s", limit.as_secs()),
            Self::Local { doing, cause } => write!(out, "{doing}: {cause}"),
        }
    }
}

impl std::error::Error for Error {}

/// The innermost cause of a chain; the outer layers of a transport only say "transport error".
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
