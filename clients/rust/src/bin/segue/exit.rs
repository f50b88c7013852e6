//! Why the program ends early: the exit code, and what to do.

use std::io;

use segue_client::{Error, Failure};
use tonic::Code;

/// Why a command ends without having done its work.
pub enum Stop {
    /// The client or the server says why.
    Error(Error),
    /// The composition or the analysis itself failed.
    Failed(Box<Failure>),
    /// Something here is not as it should be, lines that say more, and what to do.
    Wrong { code: u8, text: String, lines: Vec<String>, hint: String },
    /// Somebody pressed Ctrl-C, or closed the pipe.
    Interrupted,
    /// The system wants the program to go; the signal's number.
    Dismissed(u8),
}

impl Stop {
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const UNREACHABLE: u8 = 3;
    pub const REFUSED: u8 = 4;
    pub const BUSY: u8 = 5;
    pub const INTERRUPTED: u8 = 130;
    /// As shells count what ends by a signal.
    const BY_SIGNAL: u8 = 128;

    pub fn usage(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::wrong(Self::USAGE, text, hint)
    }

    pub fn wrong(code: u8, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Wrong { code, text: text.into(), lines: Vec::new(), hint: hint.into() }
    }

    /// The same with lines that stand below the text.
    pub fn with_lines(mut self, said: Vec<String>) -> Self {
        if let Self::Wrong { lines, .. } = &mut self {
            *lines = said;
        }
        self
    }

    /// A closed pipe is how `| head` says that it has enough; anything else is an error.
    pub fn stdout(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Interrupted
        } else {
            Self::Error(Error::Local { doing: "writing to standard output".into(), cause: error })
        }
    }

    /// Somebody wants no more of it, and nothing is wrong.
    pub fn is_wish(&self) -> bool {
        matches!(self, Self::Interrupted | Self::Dismissed(_))
    }

    pub fn code(&self) -> u8 {
        match self {
            Self::Wrong { code, .. } => *code,
            Self::Interrupted => Self::INTERRUPTED,
            Self::Dismissed(signal) => Self::BY_SIGNAL + signal,
            Self::Failed(_) => Self::FAILED,
            Self::Error(error) => match error {
                Error::Usage(_) => Self::USAGE,
                Error::Unreachable { .. } => Self::UNREACHABLE,
                Error::Untrusted(_) | Error::Stalled(_) | Error::Local { .. } => Self::FAILED,
                Error::Failed(failure) => match failure.code {
                    Code::Unavailable => Self::UNREACHABLE,
                    Code::ResourceExhausted => Self::BUSY,
                    _ => Self::REFUSED,
                },
            },
        }
    }

    /// The error itself. Empty means that there is nothing to say.
    pub fn text(&self) -> String {
        match self {
            Self::Error(error) => error.to_string(),
            Self::Failed(failure) => failure.to_string(),
            Self::Wrong { text, .. } => text.clone(),
            Self::Interrupted | Self::Dismissed(_) => String::new(),
        }
    }

    /// Lines that say more: the fields that are wrong, and the request id.
    pub fn details(&self) -> Vec<String> {
        if let Self::Wrong { lines, .. } = self {
            return lines.clone();
        }
        let (Self::Error(Error::Failed(_)) | Self::Failed(_)) = self else { return Vec::new() };
        let Some(failure) = self.failure() else { return Vec::new() };
        let told = |line: &String| !failure.message.contains(line.as_str());
        let listed = failure.violations.iter().map(|each| format!("{}: {}", each.field, each.description));
        // Of a field that the error itself tells of, what would do is news.
        let news = |line: String| match line.strip_prefix(&failure.message) {
            Some(rest) => rest.trim_start_matches([';', ' ']).to_owned(),
            None => line,
        };
        let mut lines: Vec<String> = listed.filter(told).map(news).collect();
        if failure.code == Code::Internal && !failure.request_id().is_empty() {
            lines.push(format!("request id: {}", failure.request_id()));
        }
        lines
    }

    fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Error(Error::Failed(failure)) | Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// What to do. Empty means that the error says it itself.
    pub fn hint(&self) -> String {
        match self {
            Self::Wrong { hint, .. } => hint.clone(),
            Self::Error(Error::Unreachable { .. }) => {
                "start one with `segued serve`, name another one with --server, or ask `segue doctor`".into()
            }
            Self::Error(Error::Untrusted(_)) => {
                "the way to the server damages what it sends, or its version is another one: ask `segue doctor`".into()
            }
            Self::Error(Error::Stalled(_)) => "the composition was left running; `segue watch` finds it again".into(),
            Self::Error(Error::Local { cause, .. }) => local_hint(cause).into(),
            _ => self.failure().map(failure_hint).unwrap_or_default(),
        }
    }
}

fn local_hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room; `segue download` fetches the files later"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose a folder that you may write to with -o"
        }
        io::ErrorKind::NotFound => "check the path",
        _ => "",
    }
}

fn failure_hint(failure: &Failure) -> String {
    let known = |key: &str| failure.metadata.get(key).map_or("", String::as_str);
    match failure.reason.as_str() {
        "UNAUTHENTICATED" => "set SEGUE_CLIENT_TOKEN, or give --token-file".into(),
        "MODEL_NOT_FOUND" => "`segue models` lists what there is".into(),
        "MODEL_NOT_INSTALLED" if !known("command").is_empty() => format!("run `{}` on the server", known("command")),
        "LENGTH_NOT_POSSIBLE" if !known("shorter").is_empty() => {
            format!("possible are {} and {}", known("shorter"), known("longer"))
        }
        "DEGRADATION_REFUSED" => "--allow-degraded accepts it".into(),
        "COMPOSITION_NOT_FOUND" => "`segue list` shows what there is".into(),
        "NOT_FINISHED" => "`segue watch` waits for its end, `segue cancel` stops it".into(),
        "TIME_LIMIT" => "--time-limit gives it more time".into(),
        _ => failure.retry_after.map(|wait| format!("try again in {} s", wait.as_secs().max(1))).unwrap_or_default(),
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}
