//! How one stops following: Ctrl-C cancels, and what is only left is told how to be found again.

use segue_client::{Error, Watch, clean, proto::segue::composer::v1::CancelCompositionRequest};
use tokio::task::JoinHandle;

use super::Following;
use crate::{board::Said, exit::Stop, job};

/// The service is asked to cancel.
pub type Cancelling = Option<JoinHandle<Result<(), Error>>>;

impl Following<'_> {
    pub(super) fn interrupted(&mut self, stop: Stop, watch: &Watch) -> Result<(), Stop> {
        self.num_interrupts += 1;
        match watch.name() {
            "" if !watch.was_sent() => Err(stop),
            "" if self.is_last_word(&stop) => {
                self.say(Some(Said::Note(job::MAYBE_BEGUN.into())));
                Err(stop)
            }
            "" => {
                self.waits_for_name = true;
                let text =
                    "waiting for the service's answer, so that nothing goes on unseen; Ctrl-C again leaves at once";
                self.say(Some(Said::Note(text.into())));
                Ok(())
            }
            name => self.stop_or_leave(stop, name),
        }
    }

    /// Only the first Ctrl-C waits for anything.
    fn is_last_word(&self, stop: &Stop) -> bool {
        self.num_interrupts > 1 || matches!(stop, Stop::Dismissed(_))
    }

    /// Has the service stop what Ctrl-C is meant for; what is only left goes on there.
    pub(super) fn stop_or_leave(&mut self, stop: Stop, name: &str) -> Result<(), Stop> {
        if self.detach || self.is_last_word(&stop) {
            let text = format!("it goes on without you; come back with: segue watch {}", clean(name));
            self.say(Some(Said::Note(text)));
            return Err(stop);
        }
        self.say(Some(Said::Note("cancelling; what is finished stays. Ctrl-C again leaves at once".into())));
        self.cancel(name);
        Ok(())
    }

    pub(super) fn cancel(&mut self, name: &str) {
        let (connection, name) = (self.connection.clone(), name.to_owned());
        self.cancelling = Some(tokio::spawn(async move {
            connection.open().await?.cancel_composition(CancelCompositionRequest { name }).await.map(drop)
        }));
    }

    pub(super) fn cancel_ended(&mut self, answer: Result<(), Error>) {
        // While the way is lost nobody can hear it; it is said again when somebody is there.
        if let Err(error) = answer
            && self.board.lost.is_none()
        {
            let text = format!("it could not be cancelled: {}; Ctrl-C again leaves it", clean(&error.to_string()));
            self.say(Some(Said::Note(text)));
        }
    }

    /// Says how to find again what cannot be followed any more: the way is lost, or there is no room for the sound.
    pub(super) fn part(&mut self, stop: &Stop) {
        let name = &self.board.name;
        if !name.is_empty() && matches!(stop, Stop::Error(_)) {
            let text = format!("it may go on without you; come back with: segue watch {name}");
            self.say(Some(Said::Note(text)));
        }
    }
}

/// Waits for the answer to a cancel, if there is one on its way.
pub async fn answered(cancelling: &mut Cancelling) -> Result<(), Error> {
    match cancelling {
        // What was stopped with the program has nothing to say.
        Some(cancelling) => cancelling.await.unwrap_or(Ok(())),
        None => std::future::pending().await,
    }
}
