//! `segue edit`: a finished piece with some of its sections changed.

use std::path::Path;

use segue_client::{
    clean,
    proto::segue::{
        composer::v1::{
            Composition, CompositionSpec, Edit, EditInsert, EditMove, EditRedo, EditRemove, EditReplace,
            GetCompositionRequest, MasterMode, OutputKind, edit::Edit as Kind,
        },
        music::v1::{Plan, SectionSpec},
    },
};

use crate::{
    args::{self, Change, FileKind, Making, Place},
    compose::{self, Order},
    exit::Stop,
    names, outline, outputs,
    settings::Reach,
    spec,
    talk::Talk,
    words,
};

/// `segue edit`.
pub async fn edit(reach: &Reach, talk: &Talk, asked: args::Edit) -> Result<(), Stop> {
    let mut client = reach.connection.open().await?;
    let name = names::find(&mut client, &asked.name).await?;
    let request = GetCompositionRequest { name };
    let parent = client.get_composition(request).await?.composition.unwrap_or_default();
    let Some(plan) = parent.plan.as_ref().filter(|plan| !plan.sections.is_empty()) else {
        let text = format!("{} has no plan, so that there is nothing to edit", parent.name);
        return Err(Stop::usage(text, "a piece that was composed has one, as soon as it is planned"));
    };
    if asked.changes.0.is_empty() && wants_same_files(&asked.making) {
        let text = "nothing is to be changed";
        let hint = format!("name a section by its number or its name, as: segue edit {} --redo 1", asked.name);
        return Err(Stop::usage(text, hint).with_lines(outline::table(plan)));
    }
    let edits = Script::new(plan).edits(asked.changes.0)?;
    let kind = compose::file_kind(&asked.making, kind_of(&parent))?;
    let mut made = spec::made(&asked.making, kind);
    if kind == kind_of(&parent) && asked.making.sample_rate.is_none() && asked.making.bit_depth.is_none() {
        // Without a word about them the service makes the files that the piece has: its rate and its depth.
        made.exports.clear();
    }
    let spec = CompositionSpec {
        parent: parent.name.clone(),
        edits,
        master: if asked.frozen { None } else { made.master },
        master_mode: if asked.frozen { MasterMode::Frozen as i32 } else { MasterMode::Unspecified as i32 },
        ..made
    };
    let order = Order { spec, kind, title: parent.title, before: parent.sections };
    Box::pin(compose::make(reach, talk, order, asked.making)).await
}

fn wants_same_files(making: &Making) -> bool {
    let has_wish = making.output.is_some()
        || making.format.is_some()
        || making.sample_rate.is_some()
        || making.bit_depth.is_some()
        || making.loudness.is_some()
        || making.melody.is_some();
    !(has_wish || making.stems || making.midi)
}

/// The kind of file that the piece has already.
fn kind_of(parent: &Composition) -> FileKind {
    let master = parent.outputs.iter().find(|output| output.kind == OutputKind::Master as i32);
    master.and_then(|output| outputs::kind_of(Path::new(&output.name))).unwrap_or(FileKind::Flac)
}

/// The order of the sections while it is changed, so that what cannot be done is said before anything is sent.
struct Script<'a> {
    plan: &'a Plan,
    order: Vec<String>,
}

impl<'a> Script<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self { plan, order: specs(plan).map(|spec| spec.section_id.clone()).collect() }
    }

    fn edits(mut self, changes: Vec<Change>) -> Result<Vec<Edit>, Stop> {
        let edits = changes.into_iter().map(|change| self.edit(change).map(|kind| Edit { edit: Some(kind) }));
        let edits = edits.collect::<Result<_, _>>()?;
        if self.order.is_empty() {
            return Err(Stop::usage("no section would be left", "keep one"));
        }
        Ok(edits)
    }

    fn edit(&mut self, change: Change) -> Result<Kind, Stop> {
        Ok(match change {
            Change::Redo { section, seed, prompt } => {
                let section_id = self.find(&section)?;
                Kind::Redo(EditRedo { section_id, seed, prompt })
            }
            Change::Remove { section } => {
                let section_id = self.find(&section)?;
                self.order.retain(|each| *each != section_id);
                Kind::Remove(EditRemove { section_id })
            }
            Change::Move { section, before } => {
                let section_id = self.find(&section)?;
                let before = self.place(before)?;
                if before == section_id {
                    return Err(Stop::usage(
                        format!("{section_id} cannot stand before itself"),
                        "name another section",
                    ));
                }
                self.order.retain(|each| *each != section_id);
                self.put(&before, &section_id);
                Kind::Move(EditMove { section_id, before })
            }
            Change::Insert { before, spec } => {
                let before = self.place(before)?;
                let spec = self.named(*spec);
                self.put(&before, &spec.section_id);
                Kind::Insert(EditInsert { before, spec: Some(spec) })
            }
            Change::Replace { section, spec } => {
                let section_id = self.find(&section)?;
                let spec = self.replacing(&section_id, *spec)?;
                if let Some(place) = self.order.iter_mut().find(|each| **each == section_id) {
                    place.clone_from(&spec.section_id);
                }
                Kind::Replace(EditReplace { section_id, spec: Some(spec) })
            }
        })
    }

    /// The id of a section that is named by its place in the piece before, or by its id.
    fn find(&self, text: &str) -> Result<String, Stop> {
        let place = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let by_place = place.and_then(|index| specs(self.plan).nth(index)).map(|spec| spec.section_id.as_str());
        let id = by_place.unwrap_or(text);
        if self.order.iter().any(|each| each == id) {
            return Ok(id.to_owned());
        }
        let was_there = specs(self.plan).any(|spec| spec.section_id == id);
        let text = format!("there is no section {}{}", clean(id), if was_there { " any more" } else { "" });
        Err(Stop::usage(text, "name one by its number or its name").with_lines(outline::table(self.plan)))
    }

    fn place(&self, place: Place) -> Result<String, Stop> {
        match place {
            Place::Before(section) => self.find(&section),
            Place::End => Ok(String::new()),
        }
    }

    fn put(&mut self, before: &str, id: &str) {
        let index = self.order.iter().position(|each| each == before).unwrap_or(self.order.len());
        self.order.insert(index, id.to_owned());
    }

    /// What a new section leaves open is that of the one in whose place it comes.
    fn replacing(&self, id: &str, mut spec: SectionSpec) -> Result<SectionSpec, Stop> {
        if let Some(before) = specs(self.plan).find(|each| each.section_id == id) {
            spec.bars = if spec.bars == 0 { before.bars } else { spec.bars };
            if spec.role == 0 || spec.role == before.role {
                spec.role = before.role;
                if spec.section_id.is_empty() {
                    // It stays what it was, and so does its name.
                    spec.section_id.clone_from(&before.section_id);
                    spec.label = if spec.label.is_empty() { before.label.clone() } else { spec.label };
                }
            }
        }
        if spec.role == 0 || spec.bars == 0 {
            return Err(Stop::usage(
                format!("{id} is new itself, and what comes in its place needs what it is and how many bars it has"),
                "write it as \"bridge, 8 bars\", or insert that at once",
            ));
        }
        Ok(self.named(spec))
    }

    /// Gives a section that has no name one that is free.
    fn named(&self, mut spec: SectionSpec) -> SectionSpec {
        if spec.section_id.is_empty() {
            let role = words::role(spec.role);
            let is_free = |id: &String| !self.order.contains(id) && specs(self.plan).all(|each| each.section_id != *id);
            let numbered = (2..1000).find(|number| is_free(&format!("{role}-{number}"))).filter(|_| !is_free(&role));
            spec.section_id = numbered.map_or_else(|| role.clone(), |number| format!("{role}-{number}"));
            if let Some(number) = numbered.filter(|_| spec.label.is_empty()) {
                // Two of the same label could not be told apart.
                spec.label = format!("{}{} {number}", role[..1].to_ascii_uppercase(), &role[1..]);
            }
        }
        spec
    }
}

fn specs(plan: &Plan) -> impl Iterator<Item = &SectionSpec> {
    plan.sections.iter().filter_map(|planned| planned.spec.as_ref())
}
