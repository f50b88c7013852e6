//! Ctrl-C and the signals that end the program. One listener hears all of them, so that none is lost between two waits.

use std::{future::Future, io};

use segue_client::Error;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC, ctrl_c};

use crate::{exit::CliError, ui::printer::Printer};

/// The note after a signal between a request and its answer.
pub const MAYBE_STARTED: &str = "the composition may have started: `segue list` shows it, `segue cancel` stops it";

/// Receives every signal from its creation on.
pub struct Signals {
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    terminate: Signal,
    /// Without a drawing the program ignores this signal: `nohup` means that it should continue.
    #[cfg(unix)]
    hang_up: Option<Signal>,
    #[cfg(windows)]
    interrupt: CtrlC,
}

impl Signals {
    pub fn listen(printer: &Printer) -> Result<Self, CliError> {
        let local = |cause| CliError::from(Error::Local { doing: "listening for Ctrl-C".into(), cause });
        Self::open(printer.is_live).map_err(local)
    }

    #[cfg(unix)]
    fn open(is_live: bool) -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: is_live.then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    #[cfg(windows)]
    fn open(_: bool) -> io::Result<Self> {
        Ok(Self { interrupt: ctrl_c()? })
    }

    /// Waits for the next signal.
    #[cfg(unix)]
    pub async fn next(&mut self) -> CliError {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => CliError::Interrupted,
            _ = self.terminate.recv() => CliError::Terminated(SignalKind::terminate().as_raw_value() as u8),
            _ = hang_up => CliError::Terminated(SignalKind::hangup().as_raw_value() as u8),
        }
    }

    /// Waits for the next signal.
    #[cfg(windows)]
    pub async fn next(&mut self) -> CliError {
        self.interrupt.recv().await;
        CliError::Interrupted
    }
}

/// Runs work that a signal may end at any time, so that its drawing is removed.
pub async fn or_interrupted<T>(
    printer: &Printer,
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let mut signals = Signals::listen(printer)?;
    tokio::select! {
        outcome = work => outcome,
        signal = signals.next() => Err(signal),
    }
}
