//! Compositions' names as people give them: whole, without the folder, or as many letters as tell one from the others.

use segue_client::{
    Client, clean,
    proto::segue::composer::v1::{Composition, ListCompositionsRequest},
};

use crate::{exit::Stop, resources, words};

const FOLDER: &str = "compositions/";
/// With fewer letters two are soon the same.
const FEWEST: usize = 4;
/// What the contract allows for a whole id.
const SHORTEST: usize = 8;
const LONGEST: usize = 64;
/// As long as the service's own ids are; one of this length needs no looking up.
const WHOLE: usize = 24;
const PAGE: i32 = 100;
/// How many are named when letters fit several.
const MANY: usize = 5;

/// Checks a name before anything is sent. Returns the id, or its beginning.
pub fn read(text: &str) -> Result<&str, Stop> {
    let id = text.strip_prefix(FOLDER).unwrap_or(text);
    if (FEWEST..=LONGEST).contains(&id.len()) && id.chars().all(|each| matches!(each, '0'..='9' | 'a'..='f')) {
        return Ok(id);
    }
    Err(Stop::usage(
        format!("{text:?} is no composition's name"),
        "`segue list` shows them; the first letters of one are enough",
    ))
}

/// Finds the composition that a name means.
pub async fn find(client: &mut Client, text: &str) -> Result<String, Stop> {
    let id = read(text)?;
    let whole = format!("{FOLDER}{id}");
    if id.len() >= WHOLE {
        return Ok(whole);
    }
    let mut found = Vec::new();
    let mut request = ListCompositionsRequest { page_size: PAGE, ..ListCompositionsRequest::default() };
    loop {
        let page = client.list_compositions(request.clone()).await?;
        found.extend(page.compositions.into_iter().filter(|each| each.name.starts_with(&whole)));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    match found.as_slice() {
        [only] => Ok(only.name.clone()),
        _ if found.iter().any(|each| each.name == whole) => Ok(whole),
        // It may be one that is not listed; whether it is there, the service says.
        [] if id.len() >= SHORTEST => Ok(whole),
        [] => {
            let text = format!("no composition's name begins with {id}");
            Err(Stop::wrong(Stop::REFUSED, text, "`segue list` shows what there is"))
        }
        several => Err(Stop::usage(format!("{id} fits several: {}", listed(several)), "give more letters")),
    }
}

fn listed(compositions: &[Composition]) -> String {
    let mut names: Vec<String> = compositions
        .iter()
        .take(MANY)
        .map(|each| format!("{} ({})", clean(words::id(&each.name)), resources::title(each)))
        .collect();
    if compositions.len() > MANY {
        names.push(format!("and {} more", compositions.len() - MANY));
    }
    names.join(", ")
}
