//! `segue edit`: changes sections of a finished piece.

use std::path::Path;

use segue_client::{
    formats,
    proto::segue::{
        audio::v1::FileFormat,
        composer::v1::{
            Composition, CompositionSpec, Edit, EditInsert, EditMove, EditRedo, EditRemove, EditReplace,
            GetCompositionRequest, MasterMode, OutputKind, edit::Edit as EditKind,
        },
        music::v1::{Plan, SectionSpec},
    },
    sanitize,
};

use crate::{
    args::{
        EditCommandArgs,
        edits::{EditArg, Position},
        options::CompositionOptions,
    },
    exit::CliError,
    session::{
        names,
        new_composition::{self, NewComposition},
        settings::Server,
        spec,
    },
    ui::{outline, printer::Printer},
    values,
};

pub async fn run(server: &Server, printer: &Printer, args: EditCommandArgs) -> Result<(), CliError> {
    let mut client = server.connection.open().await?;
    let name = names::find(&mut client, &args.name).await?;
    let request = GetCompositionRequest { name };
    let parent = client.get_composition(request).await?.composition.unwrap_or_default();
    let Some(plan) = parent.plan.as_ref().filter(|plan| !plan.sections.is_empty()) else {
        let text = format!("{} has no plan, so it cannot be edited", parent.name);
        return Err(CliError::usage(text, "choose a composed piece that is already planned"));
    };
    if args.edits.0.is_empty() && wants_same_files(&args.options) {
        let text = "no change was given";
        let hint = format!("name a section by its number or name, for example: segue edit {} --redo 1", args.name);
        return Err(CliError::usage(text, hint).with_details(outline::table(plan)));
    }
    let edits = Sections::new(plan).edits(args.edits.0)?;
    let parent_format = format_of(&parent);
    let format = new_composition::format(&args.options, parent_format)?;
    let parent_master = parent.master.as_ref().and_then(|master| master.settings.as_ref());
    let mut spec = spec::to_make(&args.options, format, parent_master);
    let files = &args.options.files;
    if format == parent_format && files.sample_rate.is_none() && files.bit_depth.is_none() {
        // Without exports the service uses the format, rate and depth of the parent.
        spec.exports.clear();
    }
    let master_mode = if args.frozen { MasterMode::Frozen } else { MasterMode::Unspecified };
    let master_mode = master_mode as i32;
    let spec = CompositionSpec { parent: parent.name.clone(), edits, master_mode, ..spec };
    let composition = NewComposition { spec, format, title: parent.title, sections_before: parent.sections };
    Box::pin(composition.make(server, printer, args.options)).await
}

/// Whether no option asks for other files than those of the parent.
fn wants_same_files(options: &CompositionOptions) -> bool {
    let has_value = options.output.is_some()
        || options.files.format.is_some()
        || options.files.sample_rate.is_some()
        || options.files.bit_depth.is_some()
        || options.melody.is_some()
        || options.timbre.is_some();
    !(has_value || options.stems || options.midi || options.lrc) && options.master.is_empty()
}

/// The file format of the parent's master.
fn format_of(parent: &Composition) -> FileFormat {
    let master = parent.outputs.iter().find(|output| output.kind == OutputKind::Master as i32);
    master.and_then(|output| formats::of_name(Path::new(&output.name))).unwrap_or(FileFormat::Flac)
}

/// The sections in their present order. Impossible changes are found before anything is sent.
struct Sections<'a> {
    plan: &'a Plan,
    order: Vec<String>,
}

impl<'a> Sections<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self { plan, order: specs(plan).map(|spec| spec.section_id.clone()).collect() }
    }

    fn edits(mut self, args: Vec<EditArg>) -> Result<Vec<Edit>, CliError> {
        let edits = args.into_iter().map(|arg| self.edit(arg).map(|kind| Edit { edit: Some(kind) }));
        let edits = edits.collect::<Result<_, _>>()?;
        if self.order.is_empty() {
            return Err(CliError::usage("no section would be left", "keep at least one section"));
        }
        Ok(edits)
    }

    fn edit(&mut self, arg: EditArg) -> Result<EditKind, CliError> {
        Ok(match arg {
            EditArg::Redo { section, seed, model, prompt } => {
                let section_id = self.find(&section)?;
                EditKind::Redo(EditRedo { section_id, seed, prompt, model })
            }
            EditArg::Remove { section } => {
                let section_id = self.find(&section)?;
                self.order.retain(|each| *each != section_id);
                EditKind::Remove(EditRemove { section_id })
            }
            EditArg::Move { section, before } => {
                let section_id = self.find(&section)?;
                let before = self.position(before)?;
                if before == section_id {
                    return Err(CliError::usage(
                        format!("{section_id} cannot be moved before itself"),
                        "name another section",
                    ));
                }
                self.order.retain(|each| *each != section_id);
                self.put(&before, &section_id);
                EditKind::Move(EditMove { section_id, before })
            }
            EditArg::Insert { before, spec } => {
                let before = self.position(before)?;
                let spec = self.named(*spec);
                self.put(&before, &spec.section_id);
                EditKind::Insert(EditInsert { before, spec: Some(spec) })
            }
            EditArg::Replace { section, spec } => {
                let section_id = self.find(&section)?;
                let spec = self.replacing(&section_id, *spec)?;
                if let Some(found) = self.order.iter_mut().find(|each| **each == section_id) {
                    found.clone_from(&spec.section_id);
                }
                EditKind::Replace(EditReplace { section_id, spec: Some(spec) })
            }
        })
    }

    /// Finds the id of a section that is given by its number in the parent or by its id.
    fn find(&self, text: &str) -> Result<String, CliError> {
        let index = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let by_number = index.and_then(|index| specs(self.plan).nth(index)).map(|spec| spec.section_id.as_str());
        let id = by_number.unwrap_or(text);
        if self.order.iter().any(|each| each == id) {
            return Ok(id.to_owned());
        }
        let was_removed = specs(self.plan).any(|spec| spec.section_id == id);
        let text = format!("there is no section {}{}", sanitize(id), if was_removed { " any more" } else { "" });
        Err(CliError::usage(text, "name a section by its number or name").with_details(outline::table(self.plan)))
    }

    fn position(&self, position: Position) -> Result<String, CliError> {
        match position {
            Position::Before(section) => self.find(&section),
            Position::End => Ok(String::new()),
        }
    }

    fn put(&mut self, before: &str, id: &str) {
        let index = self.order.iter().position(|each| each == before).unwrap_or(self.order.len());
        self.order.insert(index, id.to_owned());
    }

    /// Fills the missing values of a replacement from the section that it replaces.
    fn replacing(&self, id: &str, mut spec: SectionSpec) -> Result<SectionSpec, CliError> {
        if let Some(before) = specs(self.plan).find(|each| each.section_id == id) {
            spec.bars = if spec.bars == 0 { before.bars } else { spec.bars };
            if spec.role == 0 || spec.role == before.role {
                spec.role = before.role;
                if spec.section_id.is_empty() {
                    // The role stays, so the name stays too.
                    spec.section_id.clone_from(&before.section_id);
                    spec.label = if spec.label.is_empty() { before.label.clone() } else { spec.label };
                }
            }
        }
        if spec.role == 0 || spec.bars == 0 {
            return Err(CliError::usage(
                format!("{id} is a new section, so its replacement needs a role and a number of bars"),
                "write for example \"bridge, 8 bars\", or insert that section instead",
            ));
        }
        Ok(self.named(spec))
    }

    /// Gives a section without a name a free one.
    fn named(&self, mut spec: SectionSpec) -> SectionSpec {
        if spec.section_id.is_empty() {
            let role = values::role(spec.role);
            let is_free = |id: &String| !self.order.contains(id) && specs(self.plan).all(|each| each.section_id != *id);
            let numbered = (2..1000).find(|number| is_free(&format!("{role}-{number}"))).filter(|_| !is_free(&role));
            spec.section_id = numbered.map_or_else(|| role.clone(), |number| format!("{role}-{number}"));
            if let Some(number) = numbered.filter(|_| spec.label.is_empty()) {
                // Two sections with one label would look the same.
                spec.label = format!("{}{} {number}", role[..1].to_ascii_uppercase(), &role[1..]);
            }
        }
        spec
    }
}

fn specs(plan: &Plan) -> impl Iterator<Item = &SectionSpec> {
    plan.sections.iter().filter_map(|planned| planned.spec.as_ref())
}
