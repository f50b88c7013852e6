//! Ctrl-C and the system's wish that we go, heard at any time: a listener that is made anew for every wait would miss what
//! comes in between.

use std::{future::Future, io};

use segue_client::Error;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC, ctrl_c};

use crate::{exit::Stop, talk::Talk};

/// Hears every signal from its making on.
pub struct Interrupts {
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    terminate: Signal,
    /// Where nothing is drawn it is not ours: who starts a program with `nohup` wants it to go on.
    #[cfg(unix)]
    hang_up: Option<Signal>,
    #[cfg(windows)]
    interrupt: CtrlC,
}

impl Interrupts {
    pub fn listen(talk: &Talk) -> Result<Self, Stop> {
        let local = |cause| Stop::from(Error::Local { doing: "listening for Ctrl-C".into(), cause });
        Self::open(talk.is_live).map_err(local)
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

    /// Waits for the next one, and says what it asks for.
    #[cfg(unix)]
    pub async fn next(&mut self) -> Stop {
        let hung_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupted,
            _ = self.terminate.recv() => Stop::Dismissed(SignalKind::terminate().as_raw_value() as u8),
            _ = hung_up => Stop::Dismissed(SignalKind::hangup().as_raw_value() as u8),
        }
    }

    /// Waits for the next one, and says what it asks for.
    #[cfg(windows)]
    pub async fn next(&mut self) -> Stop {
        self.interrupt.recv().await;
        Stop::Interrupted
    }
}

/// Does something that a signal may end at any time, so that what it drew is taken away.
pub async fn or_interrupted<T>(talk: &Talk, work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    let mut interrupts = Interrupts::listen(talk)?;
    tokio::select! {
        outcome = work => outcome,
        stop = interrupts.next() => Err(stop),
    }
}
