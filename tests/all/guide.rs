//! The documentation, as a reader would take it from there: the README and every page under `docs/`.
//!
//! - Each whole pipeline is checked. Where events follow it (a block of `json` or `csv`, one on a line), they are replayed in batches
//!   of one and all at once, with a stop in between; and the tables that follow (a block of `text`: the name, the columns,
//!   the rows) are what comes out: of keyed tables in the order of their rows, of others in the order in which they came.
//! - Two blocks of `json` are the rows of the pipeline's lookup table, then the events.
//! - A page may give a name and a source once, and go on with steps and sinks alone: each such block is checked and run
//!   after the last source above it.
//! - A block that is a `weir.toml` is that of the pipelines below it.
//! - The commands of task pages and of the README are run in an empty folder, see [`session`].

use super::weir;
use std::sync::Arc;
use weir::{
    definition::{File, ProjectFile},
    plan::{Now, Plan, Target},
};
use weir_tests::{
    guide::{
        page::{Block, Page, page, pages},
        session::{self, Alone},
    },
    replay::{GOLDEN_NOW_MS, Run, host},
    scratch,
    table::{Cell, contents},
    workspace,
};

#[test]
fn examples_do_what_the_pages_say() {
    let (mut checked, mut run) = (0, 0);
    for page in pages() {
        let found = examples(&page);
        checked += found.0;
        run += found.1;
    }
    assert!(
        checked >= 25 && run >= 20,
        "{checked} pipelines were checked, {run} of them run"
    );
}

#[test]
fn commands_of_the_readme_say_what_it_shows() {
    assert_eq!(session::run(&page("README.md"), &weir(), &mut Alone), 6);
}

/// A test for each task page, with the number of its commands that are run, so that the pages run beside each other.
macro_rules! tasks {
    ($($test:ident = $name:literal, $commands:literal;)*) => {
        $(
            #[test]
            fn $test() {
                assert_eq!(session::run(&page(concat!("docs/tasks/", $name, ".md")), &weir(), &mut Alone), $commands);
            }
        )*

        #[test]
        fn every_task_page_has_a_test() {
            let mut found: Vec<_> = pages().into_iter().map(|page| page.name).collect();
            found.retain(|name| name.starts_with("docs/tasks/"));
            let mut tested = vec![$(concat!("docs/tasks/", $name, ".md")),*];
            tested.sort_unstable();
            assert_eq!(found, tested);
        }
    };
}

tasks! {
    count_by_hour = "count-by-hour", 2;
    join_two_streams = "join-two-streams", 3;
    keep_a_table = "keep-a-table", 2;
    alert_once_per_crossing = "alert-once", 5;
    read_payments = "payments", 0;
    what_if = "what-if", 7;
    take_a_table_elsewhere = "export", 11;
    add_a_scenario = "add-a-scenario", 0;
    if_you_know_flink_sql = "flink-sql", 0;
    if_you_know_kafka_streams = "kafka-streams", 0;
}

/// Checks and runs the pipelines of a page, and gives how many it checked and ran.
fn examples(page: &Page) -> (usize, usize) {
    let (mut checked, mut run) = (0, 0);
    let mut source = "";
    let mut project = None;
    let mut blocks = page.blocks.as_slice();
    while let Some((block, rest)) = blocks.split_first() {
        blocks = rest;
        if block.language == "toml" {
            let shared = ProjectFile::from_text("weir.toml", &*block.text);
            let shares = shared.parse().is_ok_and(|read| !read.sources.is_empty());
            project = shares.then_some(shared).or(project);
        }
        let Some(pipeline) = pipeline(block, &mut source) else {
            continue;
        };
        let place = page.place(block);
        // Paths of rules are those of a folder of `guests`.
        let file = File::from_text(workspace().join("guests/hourly-orders/guide.toml"), &*pipeline);
        let file = match &project {
            Some(project) => file.in_project(project.clone()),
            None => file,
        };
        let mut plan = Plan::build(&file, host()).unwrap_or_else(|error| panic!("{place}: {error}"));
        if plan.now == Now::StoreTime {
            plan.now = Now::StoreTimeOr(GOLDEN_NOW_MS);
        }
        let plan = Arc::new(plan);
        checked += 1;
        let languages: Vec<&str> = blocks.iter().take(3).map(|block| &*block.language).collect();
        let lookup_rows = match blocks.split_first() {
            Some((rows, rest)) if languages == ["json", "json", "text"] => {
                blocks = rest;
                &*rows.text
            }
            _ => "",
        };
        if let [events, tables, rest @ ..] = blocks
            && ["json", "csv"].contains(&&*events.language)
            && tables.language == "text"
        {
            for batches in [&[1][..], &[4096]] {
                check(&plan, lookup_rows, &events.text, &tables.text, batches, &place);
            }
            run += 1;
            blocks = rest;
        }
    }
    (checked, run)
}

/// The whole pipeline that a block is, or is with the source above it. One whose rule the reader builds first is for
/// [`session`].
fn pipeline<'a>(block: &'a Block, source: &mut &'a str) -> Option<String> {
    let has = |key: &str| block.text.lines().any(|line| line.starts_with(key));
    if block.language != "toml" || block.needs_checkout || block.text.contains("module = \"target/") {
        return None;
    }
    match (has("[source") || has("source = "), has("[[step]]"), has("[[sink]]")) {
        (true, _, true) => Some(block.text.clone()),
        (true, false, false) if has("name = ") => {
            *source = &block.text;
            None
        }
        (false, true, true) if !source.is_empty() => Some(format!("{source}\n{}", block.text)),
        _ => None,
    }
}

fn check(plan: &Arc<Plan>, lookup_rows: &str, events: &str, tables: &str, batches: &[usize], place: &str) {
    let folder = scratch();
    let database = folder.path().join("guide.db");
    let run = Run {
        plan,
        lookup_rows: lookup_rows.as_bytes(),
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
        Cell::Blob(bytes) => format!("{bytes:x?}"),
    }
}
