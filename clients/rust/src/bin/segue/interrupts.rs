//! Ctrl-C, heard at any time: a listener that is made anew for every wait would miss what comes in between.

use std::future::Future;

use segue_client::Error;

use crate::exit::Stop;

/// Hears every Ctrl-C from its making on.
pub struct Interrupts {
    #[cfg(unix)]
    inner: tokio::signal::unix::Signal,
    #[cfg(windows)]
    inner: tokio::signal::windows::CtrlC,
}

impl Interrupts {
    pub fn listen() -> Result<Self, Stop> {
        #[cfg(unix)]
        let inner = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
        #[cfg(windows)]
        let inner = tokio::signal::windows::ctrl_c();
        let inner = inner.map_err(|cause| Error::Local { doing: "listening for Ctrl-C".into(), cause })?;
        Ok(Self { inner })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        self.inner.recv().await;
    }
}

/// Does something that Ctrl-C may end at any time, so that what it drew is taken away.
pub async fn or_interrupted<T>(work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    let mut interrupts = Interrupts::listen()?;
    tokio::select! {
        outcome = work => outcome,
        () = interrupts.next() => Err(Stop::Interrupted),
    }
}
