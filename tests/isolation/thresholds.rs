//! A module that fails too often stops its pipeline: at an event that depends on the rows alone, with everything before it
//! committed and nothing from there on.

use crate::poison::pipeline;
use std::{fmt::Write, fs, path::Path, sync::Arc};
use weir::{definition::File, error::Result, plan::Plan};
use weir_tests::{
    guest,
    replay::{host, load_table, replay},
    scratch,
    seed::{self, Random},
    table::{Contents, contents, query},
};

const EVENTS: usize = 700;

/// A key for each of so many.
const KEYS: usize = 12;

/// May fail, of how many rows.
const BOUND: (u64, u64) = (4, 100);

const BATCHES: [usize; 4] = [1, 7, 256, 4096];

/// What the guest is asked to do now and then, and whether it fails by that.
const ASKED: [(&str, bool); 8] = [
    ("trap", true),
    ("nan", true),
    ("short", true),
    ("panic", true),
    ("lie", true),
    ("reject", false),
    ("drop", false),
    ("<", false),
];

/// A line each: events, of which ever more make the guest fail, some that are no events, and blank ones.
fn lines(random: &mut Random) -> Vec<(String, bool)> {
    let line = |at: usize| {
        let rare = 40 - at * 36 / EVENTS;
        match random.below(rare) {
            0 => {}
            1 => return ("\n".to_owned(), false),
            2 => return ("broken\n".to_owned(), false),
            _ => {
                let mut line = String::new();
                let _ = writeln!(line, r#"{{"n":{at},"id":{},"what":"fine","amount":{at}}}"#, at % KEYS);
                return (line, false);
            }
        }
        let (what, fails) = ASKED[random.below(ASKED.len())];
        let id = random.below(KEYS);
        (
            format!("{{\"n\":{at},\"id\":{id},\"what\":\"{what}\",\"amount\":{at}}}\n"),
            fails,
        )
    };
    (0..EVENTS).map(line).collect()
}

/// The line, from 1, at which one more row of a block fails than may; a model for pipelines whose guest judges each event.
fn first_too_many(lines: &[(String, bool)]) -> Option<u64> {
    let (mut judged, mut failed) = (0, 0);
    for (at, (line, fails)) in lines.iter().enumerate() {
        if !line.starts_with('{') {
            continue;
        }
        judged += 1;
        failed += u64::from(*fails);
        if failed > BOUND.0 {
            return Some(at as u64 + 1);
        }
        if judged == BOUND.1 {
            (judged, failed) = (0, 0);
        }
    }
    None
}

struct Case {
    bounded: Arc<Plan>,
    unbounded: Arc<Plan>,
    lookup_rows: Vec<u8>,
}

impl Case {
    fn new(text: &str) -> Self {
        let (most, of) = BOUND;
        let plan = |most| {
            Arc::new(pipeline::plan_with(
                text,
                &format!("failures = {{ most = {most}, of = {of} }}"),
            ))
        };
        let bounded = plan(most);
        Self {
            lookup_rows: pipeline::lookup_rows(&bounded, KEYS),
            bounded,
            unbounded: plan(of),
        }
    }

    fn run(&self, plan: &Arc<Plan>, input: &[(String, bool)], folder: &Path, name: &str, batch: usize) -> Result<()> {
        let (file, database) = (folder.join("events.jsonl"), folder.join(name));
        let input: String = input.iter().map(|(line, _)| line.as_str()).collect();
        fs::write(&file, input).expect("the events can be written");
        if !database.exists() && !self.lookup_rows.is_empty() {
            load_table(plan, &self.lookup_rows, &database);
        }
        replay(plan, &file, &database, batch)
    }
}

/// What is not to depend on where a run stopped: module versions are recorded from where they began.
fn left(folder: &Path, name: &str) -> Contents {
    contents(&folder.join(name))
}

#[track_caller]
fn check(text: &str, judges_each_event: bool) {
    let case = Case::new(text);
    let mut stops = 0;
    let rounds: Vec<_> = seed::with_seed(|random| (0..3).map(|_| lines(random)).collect());
    for lines in rounds {
        let folder = scratch();
        let folder = folder.path();
        let run =
            |plan: &Arc<Plan>, lines: &[(String, bool)], name: &str, batch| case.run(plan, lines, folder, name, batch);
        run(&case.unbounded, &lines, "all.db", 256).expect("nothing stops it");
        let all = left(folder, "all.db");
        let mut first: Option<(u64, Contents)> = None;
        for batch in BATCHES {
            let name = format!("{batch}.db");
            let Err(error) = run(&case.bounded, &lines, &name, batch) else {
                assert!(
                    !judges_each_event || first_too_many(&lines).is_none(),
                    "it stops nowhere"
                );
                assert!(first.is_none(), "it stops in other batches");
                continue;
            };
            stops += 1;
            let found = left(folder, &name);
            let at = found.position + 1;
            let said = error.to_string();
            for part in [
                "step \"hostile\": module ",
                " failed on 5 of ",
                &format!("at sequence {at}: "),
            ] {
                assert!(said.contains(part), "{part:?} is not in {said}");
            }
            if judges_each_event {
                assert_eq!(Some(at), first_too_many(&lines));
            }
            match &first {
                None => {
                    let before = &lines[..found.position as usize];
                    run(&case.unbounded, before, "before.db", 7).expect("nothing stops it");
                    assert_eq!(
                        found,
                        left(folder, "before.db"),
                        "everything before it, and nothing else"
                    );
                    first = Some((at, found.clone()));
                }
                Some((stopped, expected)) => assert_eq!((at, &found), (*stopped, expected), "batches of {batch}"),
            }
            // It stops at the same place, until it may go on.
            let again = run(&case.bounded, &lines, &name, 4096).expect_err("the module is the same");
            assert_eq!((again.to_string(), left(folder, &name)), (said, found));
            let stopped = query(&folder.join(&name), "SELECT stopped || '' FROM weir_failures");
            assert_eq!(stopped, ["1"]);
            run(&case.unbounded, &lines, &name, batch).expect("nothing stops it now");
            assert_eq!(left(folder, &name), all, "it goes on where it was");
        }
    }
    assert!(stops > 0, "the test is about something");
}

#[test]
fn in_front_of_every_other_step() {
    check(pipeline::AFTER_SOURCE, true);
}

#[test]
fn within_a_lookup_whose_rounds_judge_out_of_order() {
    check(pipeline::WITHIN_LOOKUP, true);
}

#[test]
fn behind_steps_that_keep_something() {
    check(pipeline::AFTER_LAST_VALUE, false);
    check(pipeline::AFTER_AGGREGATE, false);
    check(pipeline::AFTER_TTL, true);
    check(pipeline::AFTER_VERSION_LOOKUP, true);
}

#[test]
fn a_version_that_takes_over_begins_a_count_of_its_own() {
    let plan = |fails: &str| {
        let module = guest("versions");
        let text = format!(
            r#"
name = "failing"
source = {{ stream = "S", subject = "s", columns = {{ n = "int", k = "text" }} }}
step = [{{ name = "versions", stage = {{ module = "{}", failures = {{ most = 2, of = 10 }}, parameters = {{ fails = "{fails}", every = 3 }} }} }}]
sink = [{{ table = "seen" }}]
"#,
            module.display()
        );
        Arc::new(Plan::build(&File::from_text("p.toml", text), host()).expect("the pipeline is fine"))
    };
    let folder = scratch();
    let (file, database) = (folder.path().join("events.jsonl"), folder.path().join("p.db"));
    let line = |n: i64| format!("{{\"n\":{n}}}\n");
    fs::write(&file, (1..=60).map(line).collect::<String>()).expect("the events can be written");
    let run = |fails: &str| replay(&plan(fails), &file, &database, 4096);
    let error = run("panic").expect_err("it fails too often").to_string();
    let said = "failed on 3 of 9 rows, the first of them at sequence 3, the last at sequence 9: ";
    assert!(
        error.contains(said) && error.contains("2 of 10 rows may fail"),
        "{error}"
    );
    assert_eq!(contents(&database).position, 8);
    // What a rule rejects itself is no failure.
    run("reject").expect("a rule may reject what it likes");
    let found = contents(&database);
    let letters: Vec<u64> = found.dead_letters.iter().map(|letter| letter.sequence).collect();
    assert_eq!(letters, (1..=20).map(|n| 3 * n).collect::<Vec<_>>());
    assert_eq!((found.position, found.counts.applied), (60, 40));
}
