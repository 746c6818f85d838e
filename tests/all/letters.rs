//! Dead letters that are kept: no more than the pipeline says, the newest of them, each once.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};
use weir::{
    definition::File,
    plan::Plan,
    storage::{LetterFilter, Messages, StoredDeadLetter, Verdict},
};
use weir_tests::{
    guest,
    replay::{hold, host, replay_with},
    scratch,
    stored::inspect,
};

/// Events in the order of their times, a minute between two; the rule rejects every second one.
fn text(letters: &str) -> String {
    format!(
        r#"
name = "p"
now = {{ column = "at" }}
source = {{ stream = "S", subject = "s", columns = {{ n = "int", k = "text", at = "int" }} }}
{letters}
[[step]]
name = "versions"
stage = {{ module = "{}", parameters = {{ malformed = 2 }} }}
[[sink]]
table = "seen"
"#,
        guest("versions").display()
    )
}

fn line(n: usize) -> String {
    format!("{{\"n\":{n},\"k\":\"{}\",\"at\":{}}}\n", "x".repeat(n), n * 60_000)
}

/// Has the events up to `last` processed.
fn process(text: &str, database: &Path, last: usize, batch: usize) {
    let input = database.with_extension("jsonl");
    fs::write(&input, (1..=last).map(line).collect::<String>()).expect("a file can be written");
    let plan = Plan::build(&File::from_text("p.toml", text), host()).expect("the pipeline fits");
    replay_with(&Arc::new(plan), &input, database, batch, Messages::Outbox).expect("it runs");
}

fn held(database: &Path) -> Vec<u64> {
    let mut held = Vec::new();
    let mut each = |letter: StoredDeadLetter| {
        held.push(letter.sequence);
        Ok(())
    };
    let read = inspect(database).dead_letters(&LetterFilter::default(), &mut each);
    read.expect("they can be read");
    held
}

/// Whether the database holds together; how many were let go.
#[track_caller]
fn let_go(database: &Path) -> u64 {
    let audit = inspect(database).snapshot().expect("it can be opened");
    let pipelines = audit.pipelines().expect("it can be read");
    let (name, stored) = &pipelines[0];
    for check in audit.check_pipeline(name, stored) {
        assert!(matches!(check.verdict, Verdict::Holds(_)), "{check:?}");
    }
    audit.kept(name, stored).expect("it can be read").dead_letters.let_go
}

#[test]
fn as_many_of_the_newest_are_kept_as_the_pipeline_says() {
    // Of 50 letters, events 2, 4, … 100; a payload has about as many bytes as its number and some.
    let size = |n: usize| line(n).len() - 1;
    let bytes = size(100) + size(98) + size(96);
    for (keep, first) in [
        (String::new(), 2),
        ("dead_letters = { keep = { rows = 3 } }".to_owned(), 96),
        ("dead_letters = { keep = { rows = 1 } }".to_owned(), 100),
        (format!("dead_letters = {{ keep = {{ bytes = {bytes} }} }}"), 96),
        (format!("dead_letters = {{ keep = {{ bytes = {} }} }}", bytes - 1), 98),
        // The newest stays, however large it is.
        ("dead_letters = { keep = { bytes = 1 } }".to_owned(), 100),
        // The last event is 101.
        ("dead_letters = { keep = { age = \"5 min\" } }".to_owned(), 96),
        ("dead_letters = { keep = { rows = 2, age = \"1 h\" } }".to_owned(), 98),
    ] {
        for batch in [1, 7, 4096] {
            let folder = scratch();
            let database = folder.path().join("p.db");
            // With a stop in between.
            process(&text(&keep), &database, 41, batch);
            process(&text(&keep), &database, 101, batch);
            let expected: Vec<u64> = (first..=100).step_by(2).collect();
            assert_eq!(held(&database), expected, "{keep}, in batches of {batch}");
            assert_eq!(
                let_go(&database),
                50 - expected.len() as u64,
                "{keep}, in batches of {batch}"
            );
        }
    }
}

#[test]
fn one_that_waits_to_be_published_is_stored_once_and_not_let_go() {
    let folder = scratch();
    let database = folder.path().join("p.db");
    let text = text("dead_letters = { subject = \"dead\", keep = { rows = 2 } }");
    process(&text, &database, 20, 7);
    let all: Vec<u64> = (2..=20).step_by(2).collect();
    assert_eq!(held(&database), all);
    assert_eq!(let_go(&database), 0);
    let file = hold(&database).expect("nobody holds it");
    let outbox = file.outbox("p").expect("it can be opened");
    let waiting = || {
        outbox
            .oldest(100, usize::MAX, &Default::default())
            .expect("it can be read")
    };
    let payloads: Vec<Vec<u8>> = waiting().into_iter().map(|letter| letter.payload).collect();
    let expected: Vec<Vec<u8>> = all.iter().map(|n| line(*n as usize).trim_end().into()).collect();
    assert_eq!(payloads, expected);
    let copies = "SELECT CAST(count(*) AS TEXT) FROM weir_outbox WHERE body IS NOT NULL OR payload <> ''";
    assert_eq!(weir_tests::table::query(&database, copies), ["0"]);

    // What is dropped is published all the same.
    let filter = LetterFilter {
        to: Some(4),
        ..LetterFilter::default()
    };
    let dropped = file.drop_dead_letters(&filter).expect("it can be written");
    assert_eq!(dropped, 2);
    let payloads: Vec<Vec<u8>> = waiting().into_iter().map(|letter| letter.payload).collect();
    assert_eq!(payloads, expected);
    assert_eq!(let_go(&database), 0);

    // What is published makes way at the next turn.
    let ids: Vec<i64> = waiting().iter().map(|letter| letter.id).collect();
    outbox.remove(&ids, &BTreeMap::new()).expect("it can be written");
    drop((outbox, file));
    process(&text, &database, 22, 7);
    // The last one waits.
    assert_eq!(held(&database), [20, 22]);
    assert_eq!(let_go(&database), 7);
}
