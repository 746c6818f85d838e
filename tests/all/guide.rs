//! The pipelines of `docs/PIPELINES.md`, as a reader would take them from there.
//!
//! Each whole pipeline is checked. Where events follow it (a block of `json`, one on a line), they are replayed in batches of
//! one and all at once, with a stop in between; and the tables that follow (a block of `text`: the name, the columns, the
//! rows) are what comes out: of keyed tables in the order of their rows, of others in the order in which they came.

use std::{fs, sync::Arc};
use weir::{
    definition::File,
    plan::{Plan, Target},
};
use weir_tests::{
    replay::{Run, host},
    scratch,
    table::{Cell, contents},
    workspace,
};

/// A fenced block.
struct Block {
    language: String,
    text: String,
    line: usize,
}

#[test]
fn examples_do_what_the_guide_says() {
    let guide = workspace().join("docs/PIPELINES.md");
    let text = fs::read_to_string(&guide).expect("the guide can be read");
    let blocks = blocks(&text);
    let (mut checked, mut run) = (0, 0);
    let mut at = 0;
    while let Some(block) = blocks.get(at) {
        at += 1;
        if block.language != "toml" || !block.text.contains("[[sink]]") || !block.text.contains("[source]") {
            continue;
        }
        let place = format!("{}:{}", guide.display(), block.line);
        // Paths of rules are those of a folder of `guests`.
        let file = File::from_text(workspace().join("guests/hourly-orders/guide.toml"), &*block.text);
        let plan = Arc::new(Plan::build(&file, host()).unwrap_or_else(|error| panic!("{place}: {error}")));
        checked += 1;
        if let [events, tables] = blocks.get(at..at + 2).unwrap_or_default()
            && events.language == "json"
            && tables.language == "text"
        {
            for batches in [&[1][..], &[4096]] {
                check(&plan, &events.text, &tables.text, batches, &place);
            }
            run += 1;
            at += 2;
        }
    }
    assert!(
        checked >= 10 && run >= 5,
        "{checked} pipelines were checked, {run} of them run"
    );
}

fn check(plan: &Arc<Plan>, events: &str, tables: &str, batches: &[usize], place: &str) {
    let folder = scratch();
    let database = folder.path().join("guide.db");
    let run = Run {
        plan,
        lookup_rows: b"",
        input: events.as_bytes(),
        batches,
        stops: &[events.lines().count() / 2],
    };
    run.into_database(&database);
    let contents = contents(&database);
    for expected in tables.split("\n\n") {
        let mut lines = expected.lines().filter(|line| !line.trim().is_empty());
        let name = lines.next().expect("a table has a name").trim();
        let columns: Vec<&str> = lines.next().expect("a table has columns").split_whitespace().collect();
        let rows: Vec<Vec<String>> = lines
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect();
        let found = contents
            .tables
            .get(name)
            .unwrap_or_else(|| panic!("{place}: no table {name}"));
        assert_eq!(found.columns, columns, "{place}: columns of {name}");
        let mut shown: Vec<Vec<String>> = found.rows.iter().map(|row| row.iter().map(show).collect()).collect();
        let is_keyed = plan
            .sinks
            .iter()
            .any(|sink| matches!(&sink.target, Target::Table { name: table, .. } if table == name));
        let mut rows = rows;
        if is_keyed {
            shown.sort();
            rows.sort();
        }
        assert_eq!(shown, rows, "{place}: {name}: found, and expected");
    }
}

fn show(cell: &Cell) -> String {
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Int(value) => value.to_string(),
        Cell::Double(value) => format!("{value:?}"),
        Cell::Text(text) => text.clone(),
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(language) => {
                open = true;
                blocks.push(Block {
                    language: language.to_owned(),
                    text: String::new(),
                    line: number + 1,
                });
            }
            None if open => {
                if let Some(block) = blocks.last_mut() {
                    block.text += line;
                    block.text.push('\n');
                }
            }
            None => {}
        }
    }
    blocks
}
