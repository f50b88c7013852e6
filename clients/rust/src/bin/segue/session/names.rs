//! Names of compositions as users write them: complete, without the folder, or only the first letters.

use segue_client::{
    Client,
    proto::segue::composer::v1::{Composition, ListCompositionsRequest},
    sanitize,
};

use crate::{exit::CliError, ui::summary};

/// How the names of analyses, separations and uploads begin. These are written in full.
pub const ANALYSES: &str = "analyses/";
pub const SEPARATIONS: &str = "separations/";
pub const UPLOADS: &str = "uploads/";
const FOLDER: &str = "compositions/";
/// Shorter prefixes are seldom unique.
const MIN_PREFIX: usize = 4;
/// The contract's limits for an id.
const MIN_ID: usize = 8;
const MAX_ID: usize = 64;
/// The length of the service's own ids. An id of this length needs no search.
const FULL_ID: usize = 24;
const PAGE: i32 = 100;
/// The most names in the error about an ambiguous prefix.
const MAX_LISTED: usize = 5;

/// Checks the form of a name, and returns the id or its first letters.
pub fn check(text: &str) -> Result<&str, CliError> {
    let id = text.strip_prefix(FOLDER).unwrap_or(text);
    if (MIN_PREFIX..=MAX_ID).contains(&id.len()) && id.chars().all(|each| matches!(each, '0'..='9' | 'a'..='f')) {
        return Ok(id);
    }
    Err(CliError::usage(
        format!("{text:?} is not the name of a composition"),
        "`segue list` shows the names; the first letters are enough",
    ))
}

/// Finds the full name of a composition.
pub async fn find(client: &mut Client, text: &str) -> Result<String, CliError> {
    let id = check(text)?;
    let name = format!("{FOLDER}{id}");
    if id.len() >= FULL_ID {
        return Ok(name);
    }
    let mut found = Vec::new();
    let mut request = ListCompositionsRequest { page_size: PAGE, ..ListCompositionsRequest::default() };
    loop {
        let page = client.list_compositions(request.clone()).await?;
        found.extend(page.compositions.into_iter().filter(|each| each.name.starts_with(&name)));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    match found.as_slice() {
        [only] => Ok(only.name.clone()),
        _ if found.iter().any(|each| each.name == name) => Ok(name),
        // The list may not have it. The next call tells whether it exists.
        [] if id.len() >= MIN_ID => Ok(name),
        [] => {
            let text = format!("no composition's name begins with {id}");
            Err(CliError::new(CliError::REFUSED, text, "`segue list` shows the compositions"))
        }
        several => {
            let text = format!("{id} is the beginning of several names: {}", listed(several));
            Err(CliError::usage(text, "write more letters"))
        }
    }
}

fn listed(compositions: &[Composition]) -> String {
    let mut names: Vec<String> = compositions
        .iter()
        .take(MAX_LISTED)
        .map(|each| format!("{} ({})", sanitize(summary::id(&each.name)), summary::title(each)))
        .collect();
    if compositions.len() > MAX_LISTED {
        names.push(format!("and {} more", compositions.len() - MAX_LISTED));
    }
    names.join(", ")
}
