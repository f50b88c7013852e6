//! `segue compose`: composes a piece and writes it to a file.

use segue_client::proto::segue::{audio::v1::FileFormat, composer::v1::CompositionSpec};

use crate::{
    args::ComposeArgs,
    exit::CliError,
    session::{
        new_composition::{self, NewComposition},
        settings::Server,
        spec,
    },
    ui::printer::Printer,
};

pub async fn run(server: &Server, printer: &Printer, args: ComposeArgs) -> Result<(), CliError> {
    let format = new_composition::format(&args.options, FileFormat::Flac)?;
    let CompositionSpec { brief, plan, model, .. } = spec::to_plan(&args.brief)?;
    let spec = CompositionSpec { brief, plan, model, ..spec::to_make(&args.options, format, None) };
    let title = args.brief.prompt.unwrap_or_default();
    let composition = NewComposition { spec, format, title, sections_before: Vec::new() };
    Box::pin(composition.make(server, printer, args.options)).await
}
