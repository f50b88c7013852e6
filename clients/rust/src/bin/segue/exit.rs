//! The errors of the program: message, details, hint and exit code.

use std::{io, time::Duration};

use segue_client::{Error, Failure};
use tonic::Code;

/// Why a command ends without success.
pub enum CliError {
    /// The client library or the server failed.
    Client(Error),
    /// The composition or the analysis failed.
    WorkFailed(Box<Failure>),
    /// Another error, with its exit code, details and a hint.
    Other { code: u8, text: String, details: Vec<String>, hint: String },
    /// The user pressed Ctrl-C or closed the pipe.
    Interrupted,
    /// A signal with this number asked the program to end.
    Terminated(u8),
}

impl CliError {
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const UNREACHABLE: u8 = 3;
    pub const REFUSED: u8 = 4;
    pub const BUSY: u8 = 5;
    pub const INTERRUPTED: u8 = 130;
    /// Shells report 128 + n for a program that signal n ended.
    const BY_SIGNAL: u8 = 128;

    /// An error with an exit code and a hint.
    pub fn new(code: u8, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Other { code, text: text.into(), details: Vec::new(), hint: hint.into() }
    }

    /// Wrong usage.
    pub fn usage(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Self::USAGE, text, hint)
    }

    /// Adds lines that are printed below the text.
    pub fn with_details(mut self, lines: Vec<String>) -> Self {
        if let Self::Other { details, .. } = &mut self {
            *details = lines;
        }
        self
    }

    /// An error of standard output. A closed pipe is an interruption: `| head` has read enough.
    pub fn stdout(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Interrupted
        } else {
            Self::Client(Error::Local { doing: "writing to standard output".into(), cause: error })
        }
    }

    /// Whether the user or the system ended the program, and nothing failed.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Interrupted | Self::Terminated(_))
    }

    pub fn code(&self) -> u8 {
        match self {
            Self::Other { code, .. } => *code,
            Self::Interrupted => Self::INTERRUPTED,
            Self::Terminated(signal) => Self::BY_SIGNAL + signal,
            // The planner refuses what the gateway cannot check, for example a genre. For scripts this is a refusal too.
            Self::WorkFailed(failure) if failure.code == Code::InvalidArgument => Self::REFUSED,
            Self::WorkFailed(_) => Self::FAILED,
            Self::Client(error) => match error {
                Error::Usage(_) => Self::USAGE,
                Error::Unreachable { .. } => Self::UNREACHABLE,
                Error::ContractViolation(_) | Error::Stalled(_) | Error::Local { .. } => Self::FAILED,
                Error::Server(failure) => match failure.code {
                    Code::Unavailable => Self::UNREACHABLE,
                    Code::ResourceExhausted => Self::BUSY,
                    _ => Self::REFUSED,
                },
            },
        }
    }

    /// The error message. Empty after an interruption.
    pub fn text(&self) -> String {
        match self {
            Self::Client(error) => error.to_string(),
            Self::WorkFailed(failure) => failure.to_string(),
            Self::Other { text, .. } => text.clone(),
            Self::Interrupted | Self::Terminated(_) => String::new(),
        }
    }

    /// Lines below the message: the fields that break rules, and the request id.
    pub fn details(&self) -> Vec<String> {
        if let Self::Other { details, .. } = self {
            return details.clone();
        }
        let Some(failure) = self.failure() else { return Vec::new() };
        let is_new = |line: &String| !failure.message.contains(line.as_str());
        let violations = failure.violations.iter().map(|each| format!("{}: {}", each.field, each.description));
        // If the message already names a field and its error, only the suggestion is new.
        let without_message = |line: String| match line.strip_prefix(&failure.message) {
            Some(rest) => rest.trim_start_matches([';', ' ']).to_owned(),
            None => line,
        };
        let mut lines: Vec<String> = violations.filter(is_new).map(without_message).collect();
        if failure.code == Code::Internal && !failure.request_id().is_empty() {
            lines.push(format!("request id: {}", failure.request_id()));
        }
        lines
    }

    fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Client(Error::Server(failure)) | Self::WorkFailed(failure) => Some(failure),
            _ => None,
        }
    }

    /// What the user can do. Empty if the message says it.
    pub fn hint(&self) -> String {
        match self {
            Self::Other { hint, .. } => hint.clone(),
            Self::Client(Error::Unreachable { .. }) => {
                "start a server with `segued serve`, choose another one with --server, or run `segue doctor`".into()
            }
            Self::Client(Error::ContractViolation(_)) => {
                "the connection damages data, or the server has another version: run `segue doctor`".into()
            }
            Self::Client(Error::Stalled(_)) => {
                "the composition was not cancelled; `segue watch` follows it again".into()
            }
            Self::Client(Error::Local { cause, .. }) => local_hint(cause).into(),
            _ => self.failure().map(failure_hint).unwrap_or_default(),
        }
    }
}

fn local_hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some disk space; `segue download` gets the files later"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose a folder that you can write to with -o"
        }
        io::ErrorKind::NotFound => "check the path",
        _ => "",
    }
}

/// A time as people wait for it: in seconds below two minutes, in minutes below two hours, then in hours.
fn time_to_wait(wait: Duration) -> String {
    let seconds = wait.as_secs_f64().ceil().max(1.0);
    match seconds {
        seconds if seconds < 120.0 => format!("{seconds} s"),
        seconds if seconds < 7200.0 => format!("{} min", (seconds / 60.0).ceil()),
        seconds => format!("{} h", (seconds / 3600.0).ceil()),
    }
}

fn failure_hint(failure: &Failure) -> String {
    let value = |key: &str| failure.metadata.get(key).map_or("", String::as_str);
    match failure.reason.as_str() {
        "UNAUTHENTICATED" => "set SEGUE_CLIENT_TOKEN, or use --token-file".into(),
        "MODEL_NOT_FOUND" => "`segue models` lists the models".into(),
        "MODEL_NOT_INSTALLED" if !value("command").is_empty() => format!("run `{}` on the server", value("command")),
        "LENGTH_NOT_POSSIBLE" if !value("shorter").is_empty() => {
            format!("possible lengths are {} and {}", value("shorter"), value("longer"))
        }
        "DEGRADATION_REFUSED" => "use --allow-degraded to accept a lesser result".into(),
        "COMPOSITION_NOT_FOUND" => "`segue list` shows the compositions".into(),
        "NOT_FINISHED" => "`segue watch` waits for the end, `segue cancel` stops the composition".into(),
        "TIME_LIMIT" => "set a longer limit with --time-limit".into(),
        _ => failure.retry_after.map(|wait| format!("try again in {}", time_to_wait(wait))).unwrap_or_default(),
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

#[cfg(test)]
mod tests {
    use segue_client::proto::segue::errors::v1::ErrorReason;

    use super::*;

    fn failure(code: Code, reason: &str) -> Box<Failure> {
        let metadata = ["command", "shorter", "longer"].map(|key| (key.to_owned(), "x".to_owned())).into();
        let (reason, message) = (reason.to_owned(), "it failed".to_owned());
        Box::new(Failure { code, reason, message, metadata, violations: Vec::new(), retry_after: None })
    }

    #[test]
    fn every_reason_with_a_hint_is_in_the_contract() {
        let hinted = (1..100).filter_map(|number| ErrorReason::try_from(number).ok()).filter(|reason| {
            let name = reason.as_str_name().trim_start_matches("ERROR_REASON_");
            !failure_hint(&failure(Code::Unknown, name)).is_empty()
        });
        assert_eq!(hinted.count(), 8, "a reason was renamed or removed");
    }

    #[test]
    fn accepted_work_fails_with_1_unless_the_planner_refuses_it() {
        assert_eq!(CliError::WorkFailed(failure(Code::ResourceExhausted, "OUT_OF_MEMORY")).code(), CliError::FAILED);
        assert_eq!(CliError::WorkFailed(failure(Code::InvalidArgument, "INVALID_FIELD")).code(), CliError::REFUSED);
        assert_eq!(
            CliError::from(Error::Server(failure(Code::ResourceExhausted, "QUEUE_FULL"))).code(),
            CliError::BUSY
        );
    }
}
