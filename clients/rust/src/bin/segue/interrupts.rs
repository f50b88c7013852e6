//! Ctrl-C, heard at any time: a listener that is made anew for every wait would miss what comes in between.

use std::io;

/// Hears every Ctrl-C from its making on.
pub struct Interrupts {
    #[cfg(unix)]
    inner: tokio::signal::unix::Signal,
    #[cfg(windows)]
    inner: tokio::signal::windows::CtrlC,
}

impl Interrupts {
    pub fn listen() -> io::Result<Self> {
        #[cfg(unix)]
        let inner = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
        #[cfg(windows)]
        let inner = tokio::signal::windows::ctrl_c()?;
        Ok(Self { inner })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        self.inner.recv().await;
    }
}
