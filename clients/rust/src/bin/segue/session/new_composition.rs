//! A new composition: its request, its melody and its output.

use std::path::Path;

use segue_client::{
    StreamRequest,
    proto::segue::{
        audio::v1::FileFormat,
        composer::v1::{ComposeRequest, CompositionSpec, Melody, Section, melody::Melody as MelodySource},
    },
};

use super::{
    file_names,
    job::{Job, Target},
    settings::Server,
    signals::or_interrupted,
    upload,
};
use crate::{args::options::CompositionOptions, exit::CliError, ui::printer::Printer};

/// The value of `--timbre` for the sound of the first section.
const FIRST_SECTION: &str = "first";

/// A composition to make.
pub struct NewComposition {
    pub spec: CompositionSpec,
    pub format: FileFormat,
    /// The source of the file name if the command line has none.
    pub title: String,
    /// The sections of the edited piece. Empty for a new piece.
    pub sections_before: Vec<Section>,
}

impl NewComposition {
    /// Makes the composition and downloads its files.
    pub async fn make(self, server: &Server, printer: &Printer, options: CompositionOptions) -> Result<(), CliError> {
        let Self { mut spec, format, title, sections_before } = self;
        let target = match options.output {
            Some(path) if path == Path::new("-") => Target::Stdout,
            Some(path) => Target::File(path, format),
            None => Target::File(file_names::free_name(&title, format), format),
        };
        if let Target::File(path, _) = &target {
            file_names::check_free(path, options.follow.force)?;
        }
        if let Some(source) = options.melody {
            spec.melody = Some(or_interrupted(printer, melody(server, printer, &source)).await?);
        }
        match options.timbre.as_deref() {
            Some(FIRST_SECTION) if !spec.parent.is_empty() => {
                let hint = "name an audio file, or a section in the specs of --replace and --insert: timbre_section";
                return Err(CliError::usage("--timbre first is for new pieces", hint));
            }
            Some(FIRST_SECTION) => spec.brief.get_or_insert_default().same_timbre = true,
            Some(source) => {
                let upload = async { upload::source(&mut server.connection.open().await?, printer, source).await };
                spec.timbre_source = or_interrupted(printer, upload).await?;
            }
            None => {}
        }
        let request_id = uuid::Uuid::new_v4().to_string();
        let request = ComposeRequest { spec: Some(spec), request_id, ..ComposeRequest::default() };
        let job = Job {
            request: StreamRequest::Compose(Box::new(request)),
            target,
            has_draft: true,
            playback: options.playback,
            follow: options.follow,
            detach: options.detach,
            sections_before,
        };
        Box::pin(job.run(server, printer)).await
    }
}

/// The format of the output file, or `default` if there is no file name.
pub fn format(options: &CompositionOptions, default: FileFormat) -> Result<FileFormat, CliError> {
    match options.output.as_deref().filter(|path| *path != Path::new("-")) {
        Some(path) => file_names::output_format(path, options.files.format),
        None => Ok(options.files.format.unwrap_or(default)),
    }
}

/// The melody of the sketch band, or an audio file, which is uploaded.
async fn melody(server: &Server, printer: &Printer, source: &str) -> Result<Melody, CliError> {
    let melody = if source == "band" {
        MelodySource::Band(true)
    } else {
        MelodySource::Source(upload::source(&mut server.connection.open().await?, printer, source).await?)
    };
    Ok(Melody { melody: Some(melody) })
}
