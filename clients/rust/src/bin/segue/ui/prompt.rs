//! Questions to the user.

use std::io::{self, IsTerminal as _, Write as _};

use segue_client::sanitize;

/// Asks a yes-or-no question. Without a terminal the answer is no.
pub fn confirm(question: &str) -> bool {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return false;
    }
    let _ = write!(io::stderr(), "{} [y/N] ", sanitize(question));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
