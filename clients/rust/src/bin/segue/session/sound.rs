//! The audio of a job: the draft in a file, and its reader.

use std::path::Path;

use segue_client::{
    Connection, Error,
    proto::segue::composer::v1::{Composition, GetCompositionRequest},
};
use serde_json::json;

use self::draft_file::{DraftFile, DraftReader};
use super::{file_names, signals::Signals};
use crate::{
    exit::CliError,
    ui::{format, printer::Printer},
};

#[cfg(feature = "play")]
mod device;
mod draft_file;
#[cfg(not(feature = "play"))]
mod player;

/// The draft and its reader.
#[derive(Default)]
pub struct Sound {
    pub draft: Option<DraftFile>,
    /// Plays the draft or writes it to standard output while it grows.
    pub reader: Option<DraftReader>,
    /// The reader writes to standard output.
    pub is_stdout: bool,
}

impl Sound {
    /// Keeps the draft beside the output file.
    pub fn to_file(printer: &Printer, path: &Path, force: bool, play: bool) -> Result<Self, CliError> {
        let draft = DraftFile::create(file_names::draft_path(path, force), false)?;
        Self::new(printer, draft, play)
    }

    /// Writes the draft to standard output.
    pub fn to_stdout() -> Result<Self, CliError> {
        let draft = DraftFile::temporary()?;
        let reader = Some(draft.write_to_stdout()?);
        Ok(Self { draft: Some(draft), reader, is_stdout: true })
    }

    /// Keeps the draft in a temporary file.
    pub fn to_player(printer: &Printer, play: bool) -> Result<Self, CliError> {
        Self::new(printer, DraftFile::temporary()?, play)
    }

    fn new(printer: &Printer, draft: DraftFile, play: bool) -> Result<Self, CliError> {
        let mut reader = None;
        if play {
            match draft.play()? {
                Ok(found) => reader = Some(found),
                Err(cause) => printer.warn(&format!("{cause}; the piece is made without playback")),
            }
        }
        Ok(Self { draft: Some(draft), reader, is_stdout: false })
    }

    /// Waits for the end of the reader, or forever without one.
    pub async fn reader_end(&mut self) -> Result<(), Error> {
        match &mut self.reader {
            Some(reader) => reader.end().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until the reader has the whole draft. Ctrl-C stops the playback: no other work is left.
    pub async fn play_to_end(&mut self, printer: &Printer, signals: &mut Signals) -> Result<(), CliError> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        if !self.is_stdout {
            printer.note("playing to the end; press Ctrl-C to stop the playback");
        }
        let end = tokio::select! {
            end = reader.end() => end,
            signal = signals.next() => {
                let is_done = matches!(signal, CliError::Interrupted) && !self.is_stdout;
                return if is_done { Ok(()) } else { Err(signal) };
            }
        };
        match end {
            Err(Error::Local { cause, .. }) if self.is_stdout => Err(CliError::stdout(cause)),
            Err(error) => {
                printer.warn(&error.to_string());
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Checks that the draft is complete. An incomplete draft would be a wrong file.
    pub async fn check_draft(&self, connection: &Connection, composition: &Composition) -> Result<(), CliError> {
        let Some(draft) = &self.draft else { return Ok(()) };
        if draft.frames() == composition.draft_frames {
            return Ok(());
        }
        // The number in the last event may have been damaged on its way.
        let request = GetCompositionRequest { name: composition.name.clone() };
        let call = async { connection.open().await?.get_composition(request).await };
        let fresh = Box::pin(call).await?.composition.unwrap_or_default();
        if draft.frames() == fresh.draft_frames {
            return Ok(());
        }
        let text = format!("the draft has {} frames instead of {}", draft.frames(), fresh.draft_frames);
        Err(CliError::Client(Error::ContractViolation(text)))
    }

    /// Finishes the draft's file and tells where it is. An empty file is removed.
    pub fn keep_draft(&mut self, printer: &Printer, composition: &str, description: &str) -> Result<(), CliError> {
        let Some(draft) = self.draft.as_mut().filter(|draft| !draft.is_temporary) else { return Ok(()) };
        draft.complete()?;
        if draft.frames() == 0 {
            draft.remove();
            return Ok(());
        }
        let path = draft.path.display();
        printer.note(&format!("{description} is in {path} ({})", format::clock(draft.seconds())));
        printer.client_event(composition, json!({"draft": path.to_string()}))
    }
}
