//! A call that cancels a composition while the stream continues.

use segue_client::{Connection, Error, proto::segue::composer::v1::CancelCompositionRequest};
use tokio::task::JoinHandle;

/// The call, if one is running.
#[derive(Default)]
pub struct Cancellation {
    call: Option<JoinHandle<Result<(), Error>>>,
}

impl Cancellation {
    /// Starts the call.
    pub fn start(&mut self, connection: &Connection, name: &str) {
        let (connection, name) = (connection.clone(), name.to_owned());
        self.call = Some(tokio::spawn(async move {
            connection.open().await?.cancel_composition(CancelCompositionRequest { name }).await.map(drop)
        }));
    }

    /// Waits for the answer, or forever if no call is running.
    pub async fn answer(&mut self) -> Result<(), Error> {
        let Some(call) = &mut self.call else { return std::future::pending().await };
        // A task that was stopped with the program has no answer.
        let answer = call.await.unwrap_or(Ok(()));
        self.call = None;
        answer
    }
}
