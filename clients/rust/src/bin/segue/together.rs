//! `segue watch` of several compositions at once: a line for each.

use std::time::Instant;

use segue_client::{
    Error, Opening, Update, Watch, clean,
    proto::segue::composer::v1::{AudioSelection, Composition, composition_event::Event},
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    args::Follow,
    board::{Board, Said},
    draw,
    exit::Stop,
    follow::REDRAW,
    interrupts::Interrupts,
    job,
    painter::Painter,
    settings::Reach,
    talk::{Palette, Talk},
    words,
};

/// What one of the streams brings.
enum News {
    Update { cursor: String, update: Update },
    Broke(Error),
}

struct Several<'a> {
    talk: &'a Talk,
    names: Vec<String>,
    boards: Vec<Board>,
    ended: Vec<Option<Composition>>,
    painter: Option<Painter>,
    broke: Option<Error>,
}

/// Follows compositions until all have ended.
pub async fn watch(reach: &Reach, talk: &Talk, names: &[String], follow: Follow) -> Result<(), Stop> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    let (tell, mut told) = mpsc::channel(names.len());
    for (index, name) in names.iter().enumerate() {
        let options = job::options(follow, AudioSelection::None);
        let watch = Watch::new(reach.connection.clone(), Opening::Watch { name: name.clone() }, options);
        tokio::spawn(report(index, watch, tell.clone()));
    }
    drop(tell);
    let boards = names.iter().map(|name| Board { name: name.clone(), ..Board::new() }).collect();
    let ended = vec![None; names.len()];
    let painter = talk.is_live.then(Painter::default);
    let mut several = Several { talk, names, boards, ended, painter, broke: None };
    let mut redraw = tokio::time::interval(REDRAW);
    let mut interrupts = Interrupts::listen(talk)?;
    loop {
        tokio::select! {
            news = told.recv() => match news {
                Some((index, News::Update { cursor, update })) => several.take(index, &cursor, update)?,
                Some((index, News::Broke(error))) => several.lose(index, error),
                None => break,
            },
            stop = interrupts.next() => {
                let names = several.names.join(" ");
                several.say(&format!("they go on without you; come back with: segue watch {names}"));
                return Err(stop);
            }
            _ = redraw.tick(), if several.painter.is_some() => several.draw(),
        }
    }
    several.draw();
    if let Some(painter) = &mut several.painter {
        painter.leave();
    }
    several.conclude()
}

async fn report(index: usize, mut watch: Watch, tell: mpsc::Sender<(usize, News)>) {
    loop {
        let news = match watch.next().await {
            Ok(Some(update)) => News::Update { cursor: watch.cursor().to_owned(), update },
            Ok(None) => return,
            Err(error) => News::Broke(error),
        };
        let is_last = matches!(news, News::Broke(_));
        if tell.send((index, news)).await.is_err() || is_last {
            return;
        }
    }
}

impl Several<'_> {
    fn take(&mut self, index: usize, cursor: &str, update: Update) -> Result<(), Stop> {
        match update {
            Update::Event(event) => {
                self.talk.composition_event(cursor, &event)?;
                let said = self.boards[index].apply(&event);
                match said {
                    Some(Said::Note(text)) => self.say(&format!("{}: {text}", self.label(index))),
                    Some(Said::Step(text)) if self.painter.is_none() => {
                        self.say(&format!("{}: {text}", self.label(index)));
                    }
                    _ => {}
                }
                if let Some(Event::Finished(finished)) = event.event {
                    self.ended[index] = finished.composition;
                }
            }
            Update::Lost { cause, wait } => {
                let what = json!({"lost": cause, "waitSeconds": wait.as_secs_f64()});
                self.talk.client_event(&self.names[index], what)?;
                self.boards[index].lost = Some(clean(&cause));
                self.talk.mention(&format!("lost: {cause}"));
            }
            Update::Resumed => {
                self.talk.client_event(&self.names[index], json!({"resumed": true}))?;
                self.boards[index].lost = None;
            }
            Update::Skipped => self.talk.mention("an event of a kind that this version does not know was skipped"),
            Update::Audio(..) | Update::Rewound(..) => {}
        }
        Ok(())
    }

    /// One that cannot be followed is no reason to leave the others.
    fn lose(&mut self, index: usize, error: Error) {
        self.say(&format!("{}: {}", self.label(index), clean(&error.to_string())));
        self.boards[index].lost = None;
        self.broke.get_or_insert(error);
    }

    /// The beginning of its id; titles may be the same.
    fn label(&self, index: usize) -> String {
        let id = self.names[index].trim_start_matches("compositions/");
        id.chars().take(12).collect()
    }

    fn say(&mut self, text: &str) {
        match &mut self.painter {
            Some(painter) => painter.say(&[self.talk.palette.paint(Palette::BUSY, text)]),
            None if !self.talk.json => self.talk.note(text),
            None => {}
        }
    }

    fn draw(&mut self) {
        let size = Painter::size();
        let columns = size.columns.saturating_sub(1).max(20);
        let now = Instant::now();
        let room = size.lines.saturating_sub(2).max(1);
        let palette = self.talk.palette;
        let mut drawing: Vec<String> =
            self.boards.iter().map(|board| draw::summary(board, columns, palette, now)).collect();
        if drawing.len() > room {
            let more = format!("{} more", drawing.len() - (room - 1));
            drawing.truncate(room - 1);
            drawing.push(draw::aside(palette, columns, &more));
        }
        if let Some(painter) = &mut self.painter {
            painter.show(drawing);
        }
    }

    /// Says how each ended; the worst of it is the exit code.
    fn conclude(self) -> Result<(), Stop> {
        let mut num_failed = 0;
        for (index, composition) in self.ended.iter().enumerate() {
            let Some(composition) = composition else { continue };
            let mut facts = vec![words::state(composition.state)];
            match job::failure(composition) {
                Some(failure) => {
                    num_failed += 1;
                    facts.push(failure.to_string());
                }
                None => facts.extend(job::measured(composition)),
            }
            if !self.talk.json {
                self.talk.note(&format!("{}: {}", self.label(index), clean(&facts.join(", "))));
            }
        }
        match self.broke {
            Some(error) => Err(Stop::Error(error)),
            None if num_failed > 0 => {
                let text = format!("{num_failed} of {} compositions did not succeed", self.names.len());
                Err(Stop::wrong(Stop::FAILED, text, "`segue get` shows each"))
            }
            None => Ok(()),
        }
    }
}
