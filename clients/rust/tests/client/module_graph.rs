//! The shape of the source: no import cycles, layers in one direction, and commands that do not import each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The modules of a crate by their paths. The root of the crate is the empty path.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The layers of the binary. A module may import its own layer and those after it.
const LAYERS: [&[&str]; 6] = [&[""], &["commands"], &["session"], &["ui"], &["args"], &["exit", "values"]];

#[test]
fn no_modules_import_each_other_in_a_cycle() {
    for root in ["src/lib.rs", "src/bin/segue/main.rs"] {
        let graph = read_graph(root);
        assert!(graph.len() > 10, "{root}: only {} modules were found", graph.len());
        assert_eq!(find_cycle(&graph), None, "{root}");
    }
}

#[test]
fn a_layer_of_the_binary_imports_only_lower_layers() {
    let layer = |module: &str| {
        let top = module.split("::").next().unwrap_or_default();
        LAYERS.iter().position(|names| names.contains(&top)).unwrap_or_else(|| panic!("{top} has no layer"))
    };
    for (module, imports) in read_graph("src/bin/segue/main.rs") {
        for import in imports {
            assert!(layer(&module) <= layer(&import), "{module} imports the higher layer of {import}");
        }
    }
}

#[test]
fn no_command_imports_another() {
    let graph = read_graph("src/bin/segue/main.rs");
    let commands: Vec<&String> = graph.keys().filter(|module| module.starts_with("commands::")).collect();
    assert!(commands.len() > 12, "{commands:?}");
    for command in commands {
        let others: Vec<&String> = graph[command].iter().filter(|import| import.starts_with("commands")).collect();
        assert!(others.is_empty(), "{command} imports {others:?}");
    }
}

#[test]
fn every_import_and_every_cycle_is_found() {
    let text = r#"
        use crate::{a::{self, b::Thing}, c};
        use self::child::Part;
        mod child;
        // use crate::comment;
        fn f() { crate::d::call(); super::e::X; child::part(); "crate::text"; }
    "#;
    let found: BTreeSet<String> = paths(text, "m", &["child".to_owned()]).into_iter().collect();
    let expected = ["a", "a::b::Thing", "c", "d::call", "e::X", "m::child::Part", "m::child::part"];
    assert_eq!(found, expected.map(str::to_owned).into());

    let edge = |from: &str, to: &str| (from.to_owned(), BTreeSet::from([to.to_owned()]));
    assert_eq!(find_cycle(&Graph::from([edge("a", "b"), edge("b", "c"), edge("c", "d")])), None);
    assert!(find_cycle(&Graph::from([edge("a", "b"), edge("b", "c"), edge("c", "b")])).is_some());
}

/// Reads the modules below the root of a crate, and the modules that each one imports.
fn read_graph(root: &str) -> Graph {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    let mut sources = BTreeMap::new();
    read_module(&root, root.parent().unwrap(), "", &mut sources);
    let modules: BTreeSet<String> = sources.keys().cloned().collect();
    let imports = |module: &String, text: &String| {
        let found = paths(text, module, &children(text));
        let found = found.iter().map(|path| owner(path, &modules)).filter(|import| import != module);
        found.collect()
    };
    sources.iter().map(|(module, text)| (module.clone(), imports(module, text))).collect()
}

/// Reads a module and its children. Their files lie in `folder`.
fn read_module(file: &Path, folder: &Path, module: &str, sources: &mut BTreeMap<String, String>) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    // Test code of a module may import what it likes.
    let text = without_comments_and_strings(text.split("#[cfg(test)]").next().unwrap_or_default());
    for child in children(&text) {
        let file: PathBuf = folder.join(format!("{child}.rs"));
        read_module(&file, &folder.join(&child), &join(module, &child), sources);
    }
    sources.insert(module.to_owned(), text);
}

/// The names of the modules that a source declares.
fn children(text: &str) -> Vec<String> {
    let name = |line: &str| {
        let line = line.trim().trim_start_matches("pub ");
        line.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned)
    };
    text.lines().filter_map(name).collect()
}

fn join(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

/// The module that defines an imported path: its longest prefix that is a module.
fn owner(path: &str, modules: &BTreeSet<String>) -> String {
    let mut prefix = path;
    while !modules.contains(prefix) {
        prefix = prefix.rsplit_once("::").map_or("", |(prefix, _)| prefix);
    }
    prefix.to_owned()
}

/// All paths of this crate that a source mentions, without their leading `crate`.
fn paths(text: &str, module: &str, children: &[String]) -> Vec<String> {
    let text = without_comments_and_strings(text);
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    let mut starts = vec![("crate".to_owned(), String::new()), ("super".to_owned(), parent.to_owned())];
    starts.extend(children.iter().map(|child| (child.clone(), join(module, child))));
    let mut found = Vec::new();
    for (name, base) in starts {
        for (at, _) in text.match_indices(&format!("{name}::")) {
            // `self::child` and a plain `child` are the same; the end of a longer name or path is neither.
            let before = text[..at].trim_end_matches("self::");
            if !before.ends_with(|each: char| each.is_alphanumeric() || "_:".contains(each)) {
                expand(&text[at + name.len() + 2..], &base, &mut found);
            }
        }
    }
    found
}

/// Expands what follows a path: one name, a longer path, or a group in braces. Returns the number of bytes read.
fn expand(text: &str, base: &str, found: &mut Vec<String>) -> usize {
    let start = text.len() - text.trim_start().len();
    let rest = &text[start..];
    if let Some(group) = rest.strip_prefix('{') {
        let mut at = 0;
        loop {
            at += expand(&group[at..], base, found);
            at += group[at..].len() - group[at..].trim_start().len();
            match group[at..].chars().next() {
                Some(',') => at += 1,
                Some('}') => return start + at + 2,
                other => panic!("unexpected {other:?} in a group of imports"),
            }
        }
    }
    let length = rest.find(|each: char| !(each.is_alphanumeric() || each == '_' || each == '*')).unwrap_or(rest.len());
    let (name, after) = rest.split_at(length);
    if name.is_empty() {
        return start;
    }
    let path = if matches!(name, "self" | "*") { base.to_owned() } else { join(base, name) };
    if let Some(after) = after.strip_prefix("::") {
        return start + length + 2 + expand(after, &path, found);
    }
    found.push(path);
    // `as name` belongs to the import.
    let alias = after.strip_prefix(" as ").map_or(0, |alias| {
        4 + alias.find(|each: char| !(each.is_alphanumeric() || each == '_')).unwrap_or(alias.len())
    });
    start + length + alias
}

/// Removes comments and the contents of strings. It needs no raw strings: the sources have none with paths.
fn without_comments_and_strings(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let (mut in_string, mut before) = (false, ' ');
        let mut chars = line.chars().peekable();
        while let Some(each) = chars.next() {
            match each {
                '"' if before != '\\' && before != '\'' => in_string = !in_string,
                '/' if !in_string && chars.peek() == Some(&'/') => break,
                _ if in_string => {}
                _ => out.push(each),
            }
            before = if before == '\\' { ' ' } else { each };
        }
        out.push('\n');
    }
    out
}

/// Returns the modules of a cycle, if there is one.
fn find_cycle(graph: &Graph) -> Option<Vec<String>> {
    let mut left = graph.clone();
    loop {
        // A module that imports nothing, or that nothing imports, is part of no cycle.
        let names: BTreeSet<String> = left.keys().cloned().collect();
        let imported: BTreeSet<String> = left.values().flatten().cloned().collect();
        let before = left.len();
        left.retain(|name, imports| imported.contains(name) && imports.iter().any(|import| names.contains(import)));
        if left.is_empty() {
            return None;
        }
        if left.len() == before {
            return Some(left.into_keys().collect());
        }
    }
}
