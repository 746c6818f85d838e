//! The house: which module may name which. Read off the sources, so that an arrow that runs back up fails here, with the line
//! that draws it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use weir_tests::workspace;

/// Crates whose names stand in one place, so that another one could take their place.
const NAMED_IN: [(&str, &[&str]); 16] = [
    ("wasmtime", &["wasm"]),
    ("wasmparser", &["wasm"]),
    ("async_nats", &["nats"]),
    ("nkeys", &["nats", "trust"]),
    ("rusqlite", &["storage/sqlite"]),
    ("flate2", &["format/compressed"]),
    ("ruzstd", &["format/compressed"]),
    ("prost_reflect", &["planner/payloads/protobuf"]),
    ("datasketches", &["state/sketch"]),
    ("clap", &["command"]),
    ("notify", &["command/dev/watch"]),
    ("comfy_table", &["command"]),
    ("indicatif", &["command/terminal"]),
    ("csv_core", &["command/export"]),
    ("parquet", &["command/export"]),
    ("tracing_subscriber", &["command/log"]),
];

/// A source file of the host, without its comments and its texts.
struct Source {
    /// Within `host/src`, without `.rs`.
    name: String,
    text: String,
}

impl Source {
    /// The module of the crate's root that it belongs to.
    fn room(&self) -> &str {
        self.name.split('/').next().expect("a name has a first part")
    }

    /// The modules of the crate's root that it names, with the line of each.
    fn names(&self) -> Vec<(usize, String)> {
        let mut names = Vec::new();
        for (at, _) in self.text.match_indices("crate::") {
            // `$crate::` of a macro is met where the macro is.
            if self.text[..at].ends_with(|c: char| c.is_alphanumeric() || "_$".contains(c)) {
                continue;
            }
            let line = self.text[..at].matches('\n').count() + 1;
            let rest = &self.text[at + "crate::".len()..];
            match rest.strip_prefix('{') {
                None => names.push((line, word(rest))),
                Some(group) => {
                    let (mut depth, mut fresh) = (1, true);
                    for (at, c) in group.char_indices() {
                        match c {
                            '{' => depth += 1,
                            '}' => depth -= 1,
                            ',' if depth == 1 => fresh = true,
                            _ if depth == 1 && fresh && c.is_alphanumeric() => {
                                fresh = false;
                                names.push((line + group[..at].matches('\n').count(), word(&group[at..])));
                            }
                            _ => {}
                        }
                        if depth == 0 {
                            break;
                        }
                    }
                }
            }
        }
        names
    }
}

/// The identifier at the beginning of a text.
fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn sources() -> Vec<Source> {
    let root = workspace().join("host/src");
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(source(&root, &path));
            }
        }
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    sources
}

fn source(root: &Path, path: &PathBuf) -> Source {
    let name = path.strip_prefix(root).expect("it lies in the root").with_extension("");
    let text = fs::read_to_string(path).expect("the source can be read");
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    Source {
        name: name.to_str().expect("names are UTF-8").to_owned(),
        text: lines.collect::<Vec<_>>().join("\n"),
    }
}

/// The modules of `lib.rs`, from the bottom to the top.
fn rooms(sources: &[Source]) -> Vec<String> {
    let lib = sources
        .iter()
        .find(|source| source.name == "lib")
        .expect("there is a root");
    let modules = lib.text.lines().filter_map(|line| line.strip_prefix("pub mod "));
    modules.map(|line| line.trim_end_matches(';').to_owned()).collect()
}

#[test]
fn no_module_names_one_that_stands_above_it() {
    let sources = sources();
    let rooms = rooms(&sources);
    assert!(rooms.len() > 15, "the root was read: {rooms:?}");
    let floor: BTreeMap<&str, usize> = rooms.iter().enumerate().map(|(at, room)| (room.as_str(), at)).collect();
    let (mut arrows, mut wrong) = (0, Vec::new());
    for source in &sources {
        let Some(&own) = floor.get(source.room()) else {
            assert!(
                ["lib", "main"].contains(&source.room()),
                "{} is in no module",
                source.name
            );
            continue;
        };
        for (line, name) in source.names() {
            // Macros and items of the root have no floor.
            let Some(&other) = floor.get(name.as_str()) else {
                continue;
            };
            arrows += 1;
            if other > own {
                wrong.push(format!(
                    "host/src/{}.rs:{line} names {name}, which stands above it",
                    source.name
                ));
            }
        }
    }
    assert!(arrows > 1000, "uses were read: {arrows}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_outside_system_is_named_in_one_place() {
    let mut wrong = Vec::new();
    let mut seen = BTreeMap::new();
    for source in sources() {
        for (name, places) in NAMED_IN {
            for (at, _) in source.text.match_indices(&format!("{name}::")) {
                if source.text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                    continue;
                }
                *seen.entry(name).or_insert(0) += 1;
                let is_in = |place: &&str| {
                    let rest = source.name.strip_prefix(*place);
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                };
                if !places.iter().any(is_in) {
                    let line = source.text[..at].matches('\n').count() + 1;
                    wrong.push(format!(
                        "host/src/{}.rs:{line} names {name}; accepted is {}",
                        source.name,
                        places.join(", ")
                    ));
                }
            }
        }
    }
    assert_eq!(seen.len(), NAMED_IN.len(), "each is named somewhere: {seen:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
