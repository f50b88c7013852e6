//! `segue list`, `get`, `cancel` and `delete`.

use segue_client::{
    clean, json,
    proto::segue::composer::v1::{
        CancelCompositionRequest, Composition, DeleteCompositionRequest, GetCompositionRequest,
        ListCompositionsRequest, OutputKind, State,
    },
};
use serde_json::json;

use crate::{
    analyze, args,
    exit::Stop,
    names, outline,
    settings::Reach,
    talk::{Palette, Talk},
    words,
};

const COMPOSITION: &str = "segue.composer.v1.Composition";
const PAGE: usize = 100;
/// How many letters of an id tell one from the others, as far as anybody will see.
pub const SHORT: usize = 8;

/// `segue list`.
pub async fn list(reach: &Reach, talk: &Talk, asked: args::List) -> Result<(), Stop> {
    let mut client = reach.connection.open().await?;
    let (mut left, mut page_token, mut is_empty) = (asked.limit, String::new(), true);
    while left > 0 {
        let request =
            ListCompositionsRequest { page_size: left.min(PAGE) as i32, page_token, filter: asked.filter.clone() };
        let page = client.list_compositions(request).await?;
        for composition in page.compositions.iter().take(left) {
            if talk.json {
                talk.object(&json::to_value(COMPOSITION, composition)?)?;
            } else {
                talk.line(&row(composition, talk.is_out_terminal))?;
            }
        }
        is_empty &= page.compositions.is_empty();
        left = left.saturating_sub(page.compositions.len().max(1));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if is_empty && asked.limit > 0 {
        let which = if asked.filter.is_empty() { "no compositions yet" } else { "no such compositions" };
        talk.note(which);
    }
    Ok(())
}

/// A composition in one line. People are served with as much of its name as they would type.
fn row(composition: &Composition, is_short: bool) -> String {
    let id: String = words::id(&composition.name).chars().take(SHORT).collect();
    let name = if is_short { &id } else { &composition.name };
    let created = composition.create_time.map(|time| time.to_string()).unwrap_or_default();
    let created = created.get(..19).unwrap_or_default().replace('T', " ");
    let state = words::state(composition.state);
    let title = title(composition);
    format!("{}  {created}  {state:<10}  {title}", clean(name)).trim_end().to_owned()
}

/// A title, or what a composition without one is. A mastering has none, and nobody who plays it.
pub fn title(composition: &Composition) -> String {
    if !composition.title.is_empty() {
        return clean(&composition.title);
    }
    if !composition.model.is_empty() || composition.state == State::Queued as i32 {
        return String::new();
    }
    let master = composition.outputs.iter().find(|output| output.kind == OutputKind::Master as i32);
    let length = master.filter(|output| output.sample_rate > 0);
    let length = length.map(|output| words::clock(output.frames as f64 / f64::from(output.sample_rate)));
    let loudness = composition.mastered.as_ref().and_then(|mastered| mastered.loudness);
    let loudness = loudness.and_then(|loudness| loudness.integrated_lufs).map(|lufs| format!("{lufs:.1} LUFS"));
    let facts: Vec<String> = ["mastering of a file".to_owned()].into_iter().chain(length).chain(loudness).collect();
    facts.join(", ")
}

/// `segue get`.
pub async fn get(reach: &Reach, talk: &Talk, name: &str) -> Result<(), Stop> {
    let mut client = reach.connection.open().await?;
    let request = GetCompositionRequest { name: names::find(&mut client, name).await? };
    let composition = client.get_composition(request).await?.composition.unwrap_or_default();
    if talk.json {
        return talk.object(&json::to_value(COMPOSITION, &composition)?);
    }
    talk.line(&talk.out_palette.paint(Palette::BOLD, &row(&composition, false)))?;
    if let Some(plan) = &composition.plan {
        talk.line(&outline::facts(plan).join(" · "))?;
        for line in outline::table(plan) {
            talk.line(&line)?;
        }
    }
    if !composition.parent.is_empty() {
        talk.line(&format!("edited from {}", clean(&composition.parent)))?;
    }
    if composition.queue_position > 0 {
        talk.line(&format!("{} before it", composition.queue_position))?;
    }
    if let Some(error) = &composition.error {
        talk.line(&format!("error: {}", clean(&error.message)))?;
    }
    for degradation in &composition.degradations {
        talk.line(&format!("degraded: {}", clean(&degradation.text)))?;
    }
    if let Some(report) = &composition.report {
        talk.line(&format!(
            "measured: {}",
            analyze::facts(report, composition.plan.as_ref().and_then(|plan| plan.metre.as_ref())).join(", ")
        ))?;
    }
    for output in &composition.outputs {
        talk.line(&format!("{}  {}", clean(&output.name), words::size(output.size_bytes)))?;
    }
    Ok(())
}

/// `segue cancel`.
pub async fn cancel(reach: &Reach, talk: &Talk, names: &[String]) -> Result<(), Stop> {
    let mut client = reach.connection.open().await?;
    for name in names {
        let request = CancelCompositionRequest { name: names::find(&mut client, name).await? };
        let composition = client.cancel_composition(request).await?.composition.unwrap_or_default();
        let what = if words::has_ended(composition.state) { "had ended already" } else { "asked to stop" };
        talk.note(&format!("{}: {what} ({})", clean(&composition.name), words::state(composition.state)));
        if talk.json {
            talk.object(&json::to_value(COMPOSITION, &composition)?)?;
        }
    }
    Ok(())
}

/// `segue delete`.
pub async fn delete(reach: &Reach, talk: &Talk, names: &[String], yes: bool) -> Result<(), Stop> {
    let mut client = reach.connection.open().await?;
    for name in names {
        let name = names::find(&mut client, name).await?;
        if !yes && !talk.confirm(&format!("Remove {name} with all its files?")) {
            return Err(Stop::usage(format!("{name} was not removed"), "--yes removes without asking"));
        }
        client.delete_composition(DeleteCompositionRequest { name: name.clone() }).await?;
        talk.note(&format!("{name}: removed"));
        talk.client_event(&name, json!({"deleted": true}))?;
    }
    Ok(())
}
