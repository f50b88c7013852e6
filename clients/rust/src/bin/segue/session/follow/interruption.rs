//! The reaction to signals while a composition is followed.

use crate::{exit::CliError, session::signals::MAYBE_STARTED};

/// What to do after a signal.
#[derive(Debug, PartialEq)]
pub enum Reaction {
    /// End the program. The note tells how to find the composition again.
    Leave { note: Option<String> },
    /// Wait for the composition's name: only then can it be cancelled or followed again.
    WaitForName,
    /// Cancel the composition and wait for its end.
    Cancel,
}

/// Counts the signals and decides on the reaction.
pub struct Interruption {
    /// Ctrl-C leaves the composition running.
    detach: bool,
    num_signals: u32,
    waits_for_name: bool,
}

impl Interruption {
    pub fn new(detach: bool) -> Self {
        Self { detach, num_signals: 0, waits_for_name: false }
    }

    /// Whether a signal asked for the composition's end.
    pub fn is_requested(&self) -> bool {
        self.num_signals > 0
    }

    /// Whether a cancellation was requested that a lost connection may have swallowed.
    pub fn must_cancel_again(&self) -> bool {
        self.num_signals > 0 && !self.waits_for_name
    }

    /// Reacts to a signal. `name` is empty until the service has accepted the composition.
    pub fn on_signal(&mut self, signal: &CliError, name: &str, was_sent: bool) -> Reaction {
        self.num_signals += 1;
        match name {
            "" if !was_sent => Reaction::Leave { note: None },
            "" if self.ends_at_once(signal) => Reaction::Leave { note: Some(MAYBE_STARTED.into()) },
            "" => {
                self.waits_for_name = true;
                Reaction::WaitForName
            }
            name => self.react(signal, name),
        }
    }

    /// Reacts to the composition's name if a signal came before it.
    pub fn on_name(&mut self, name: &str) -> Option<Reaction> {
        std::mem::take(&mut self.waits_for_name).then(|| self.react(&CliError::Interrupted, name))
    }

    fn react(&self, signal: &CliError, name: &str) -> Reaction {
        if self.detach || self.ends_at_once(signal) {
            let note = format!("the composition continues on the server; to follow it: segue watch {name}");
            return Reaction::Leave { note: Some(note) };
        }
        Reaction::Cancel
    }

    /// Only the first Ctrl-C waits for anything.
    fn ends_at_once(&self, signal: &CliError) -> bool {
        self.num_signals > 1 || matches!(signal, CliError::Terminated(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "compositions/00c0ffee";

    fn is_leave(reaction: &Reaction, words: &str) -> bool {
        matches!(reaction, Reaction::Leave { note: Some(note) } if note.contains(words))
    }

    #[test]
    fn the_first_ctrl_c_cancels_and_the_second_leaves() {
        let mut interruption = Interruption::new(false);
        assert_eq!(interruption.on_signal(&CliError::Interrupted, NAME, true), Reaction::Cancel);
        assert!(interruption.must_cancel_again());
        assert!(is_leave(
            &interruption.on_signal(&CliError::Interrupted, NAME, true),
            "segue watch compositions/00c0ffee"
        ));
    }

    #[test]
    fn detach_and_sigterm_leave_the_composition_running() {
        let detached = Interruption::new(true).on_signal(&CliError::Interrupted, NAME, true);
        let terminated = Interruption::new(false).on_signal(&CliError::Terminated(15), NAME, true);
        assert!(is_leave(&detached, "segue watch") && is_leave(&terminated, "segue watch"));
    }

    #[test]
    fn without_a_name_the_first_ctrl_c_waits_and_the_second_leaves() {
        let mut interruption = Interruption::new(false);
        assert_eq!(interruption.on_signal(&CliError::Interrupted, "", true), Reaction::WaitForName);
        assert!(!interruption.must_cancel_again());
        assert!(is_leave(&interruption.on_signal(&CliError::Interrupted, "", true), "segue list"));

        let mut interruption = Interruption::new(false);
        assert_eq!(interruption.on_name(NAME), None);
        interruption.on_signal(&CliError::Interrupted, "", true);
        assert_eq!(interruption.on_name(NAME), Some(Reaction::Cancel));
    }

    #[test]
    fn before_the_request_ctrl_c_leaves_silently() {
        let reaction = Interruption::new(false).on_signal(&CliError::Interrupted, "", false);
        assert_eq!(reaction, Reaction::Leave { note: None });
    }
}
