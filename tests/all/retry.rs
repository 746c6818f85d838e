//! Dead letters that are retried: after a mended rule took them they stand where events stand that came last.

use super::weir;
use proptest::prelude::*;
use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};
use weir::{
    definition::File,
    model::turn::Counts,
    plan::{Plan, Versions},
    runtime::retry::{Changes, Retry, RetryEvent, RetryReport},
    storage::LetterFilter,
};
use weir_tests::{
    guest,
    replay::{hold, host, replay},
    scratch,
    seed::{self, check_property},
    table::{Contents, contents, query},
};

const CASES: u32 = 24;

/// Rejects each event whose `n` is a multiple of `malformed`, and traps on those that `every` divides.
fn text(malformed: i64, every: i64) -> String {
    let fails = if every > 0 { "panic" } else { "" };
    format!(
        r#"
name = "mended"
source = {{ stream = "S", subject = "s", columns = {{ n = "int", k = "text" }} }}

[[step]]
name = "versions"
stage = {{ module = "{}", parameters = {{ malformed = {malformed}, fails = "{fails}", every = {} }} }}

[[step]]
name = "by-key"
aggregate = {{ group_by = ["k"], columns = {{ events = {{ count = "*" }}, total = {{ sum = "n", coalesce = 0 }} }} }}

[[step]]
name = "new"
from = "by-key"
on_crossing = {{}}

[[sink]]
from = "versions"
table = "seen"

[[sink]]
from = "by-key"
table = "by_key"
primary_key = ["k"]

[[sink]]
from = "new"
table = "new"
"#,
        guest("versions").display(),
        every.max(1)
    )
}

fn plan(text: &str) -> Plan {
    Plan::build(&File::from_text("p.toml", text), host()).expect("the pipeline is fine")
}

/// Retries what `filter` lets through. Gives the report, and what was told.
#[track_caller]
fn retry(text: &str, database: &Path, filter: &LetterFilter, keeps: bool) -> (RetryReport, Vec<String>) {
    let file = hold(database).expect("nobody else holds the database");
    let unchanged = Changes {
        said: "",
        versions: &Versions::new(),
    };
    let retry =
        Retry::open(&*file, host(), plan(text), unchanged, keeps).expect("the database is that of the pipeline");
    let mut told = Vec::new();
    let report = retry.run(filter, |word| {
        told.push(match word {
            RetryEvent::Applied(sequence) => format!("{sequence} applied"),
            RetryEvent::Filtered(sequence) => format!("{sequence} filtered"),
            RetryEvent::Again(letter) => format!("{} again", letter.sequence),
            RetryEvent::Refused(letter, _) => format!("{} refused", letter.sequence),
            RetryEvent::Through(..) => return,
        });
    });
    (report.expect("the letters can be retried"), told)
}

/// Events with these numbers, a line each.
fn lines<'n>(numbers: impl IntoIterator<Item = &'n i64>) -> String {
    let line = |n: &i64| format!("{{\"n\":{n},\"k\":\"k{}\"}}\n", n % 5);
    numbers.into_iter().map(line).collect()
}

fn run(text: &str, input: &str, folder: &Path, name: &str, batch: usize) -> Contents {
    let (file, database) = (folder.join("events.jsonl"), folder.join(name));
    fs::write(&file, input).expect("the events can be written");
    replay(&Arc::new(plan(text)), &file, &database, batch).expect("the events can be replayed");
    contents(&database)
}

#[test]
fn what_a_mended_rule_takes_stands_where_events_stand_that_came_last() {
    let numbers = prop::collection::vec(0..100_i64, 1..60);
    let more = prop::collection::vec(1..100_i64, 0..10);
    let batch = prop::sample::select(vec![1_usize, 7, 4096]);
    check_property(CASES, &(numbers, more, batch), |(numbers, more, batch)| {
        let folder = scratch();
        let database = folder.path().join("broken.db");
        let is_dead = |n: &&i64| *n % 7 == 0 || *n % 11 == 0;
        let before = run(&text(7, 11), &lines(numbers), folder.path(), "broken.db", *batch);
        let dead: Vec<&i64> = numbers.iter().filter(is_dead).collect();
        let alive = numbers.iter().filter(|n| !is_dead(n));
        assert_eq!(before.counts.dead_letters, dead.len() as u64);

        // Who only asks changes nothing, and is told the same.
        let (asked, told) = retry(&text(0, 0), &database, &LetterFilter::default(), false);
        assert_eq!(told.len(), dead.len(), "each is told of");
        assert_eq!(contents(&database), before);

        let (report, told) = retry(&text(0, 0), &database, &LetterFilter::default(), true);
        assert_eq!((report, told.len()), (asked, 0));
        assert_eq!(report.retried, dead.len() as u64);
        let counts = Counts {
            events: report.retried,
            applied: report.retried,
            ..Default::default()
        };
        assert_eq!(report.counts, counts);

        // The same events in that order, under the mended rule from the first on; and then both go on.
        let moved = lines(alive.chain(dead));
        let straight = run(&text(0, 0), &moved, folder.path(), "straight.db", 4096);
        assert_eq!(contents(&database), straight, "as if they had come last");
        let more = lines(more);
        let found = run(
            &text(0, 0),
            &(lines(numbers) + &more),
            folder.path(),
            "broken.db",
            *batch,
        );
        let expected = run(&text(0, 0), &(moved + &more), folder.path(), "straight.db", 4096);
        assert_eq!(found, expected, "state is as if they had come last");
    });
}

#[test]
fn what_fails_again_stays_with_the_reason_of_today_and_counts_add_up() {
    let folder = scratch();
    let numbers: Vec<i64> = (1..=60).collect();
    let before = run(&text(3, 4), &lines(&numbers), folder.path(), "p.db", 7);
    assert_eq!(before.counts.dead_letters, 30);
    let database = folder.path().join("p.db");
    // Of those that trapped, those up to 40; multiples of 10 are rejected now.
    let filter = LetterFilter {
        reason: Some("panicked".to_owned()),
        to: Some(40),
        ..Default::default()
    };
    let (report, told) = retry(&text(10, 0), &database, &filter, true);
    let retried: Vec<i64> = (1..=40).filter(|n| n % 4 == 0 && n % 3 != 0).collect();
    let again: BTreeSet<i64> = retried.iter().copied().filter(|n| n % 10 == 0).collect();
    assert_eq!(told, again.iter().map(|n| format!("{n} again")).collect::<Vec<_>>());
    assert_eq!((report.retried, report.counts.dead_letters), (7, 2));

    let after = contents(&database);
    let counts = &after.counts;
    assert_eq!(counts.events, 60);
    assert_eq!((counts.applied, counts.dead_letters), (before.counts.applied + 5, 25));
    assert_eq!(after.dead_letters.len(), 25);
    assert_eq!(after.position, before.position);
    for letter in &after.dead_letters {
        let n = letter.sequence as i64;
        assert!(n % 3 == 0 || n > 40 || again.contains(&n), "{n} is none any more");
        assert_eq!(
            letter.reason == "malformed",
            n % 3 == 0 || again.contains(&n),
            "{letter:?}"
        );
    }
    let retries = "SELECT sequence || ' ' || retries FROM weir_dead_letter WHERE retries > 0 ORDER BY sequence";
    assert_eq!(query(&database, retries), ["20 1", "40 1"]);
    // And once more.
    let (report, _) = retry(
        &text(10, 0),
        &database,
        &LetterFilter {
            from: Some(39),
            ..filter
        },
        true,
    );
    assert_eq!(
        report.retried, 0,
        "the one that is left there has another reason by now"
    );
    let (report, _) = retry(&text(0, 0), &database, &LetterFilter::default(), true);
    assert_eq!((report.retried, report.counts.applied), (25, 25));
    let all = contents(&database);
    assert_eq!((all.counts.applied, all.counts.dead_letters), (60, 0));
    assert_eq!(all.dead_letters, []);
}

#[test]
fn killed_in_between_it_leaves_each_letter_retried_or_as_it_was() {
    const EVENTS: i64 = 40_000;
    let folder = scratch();
    let numbers: Vec<i64> = (1..=EVENTS).collect();
    run(&text(1, 0), &lines(&numbers), folder.path(), "letters.db", 4096);
    fs::write(folder.path().join("mended.toml"), text(0, 0)).expect("a file can be written");
    let copy = |name: &str| fs::copy(folder.path().join("letters.db"), folder.path().join(name));
    copy("straight.db").expect("the database is one file");
    let retry = |database: &str| {
        let line = format!("dead-letters retry mended.toml --database {database} --all");
        let mut command = weir().command();
        command.current_dir(folder.path()).args(line.split_whitespace());
        command
    };
    assert!(
        retry("straight.db")
            .output()
            .expect("weir can be started")
            .status
            .success()
    );
    let expected = contents(&folder.path().join("straight.db"));
    assert_eq!(
        (expected.counts.applied, expected.dead_letters.len()),
        (EVENTS as u64, 0)
    );

    let mut between = 0;
    seed::with_seed(|random| {
        for attempt in 0..4 {
            let name = format!("killed-{attempt}.db");
            copy(&name).expect("the database is one file");
            let database = folder.path().join(&name);
            let mut running = retry(&name).spawn().expect("weir can be started");
            let left = || query(&database, "SELECT count(*) || '' FROM weir_dead_letter")[0].parse::<u64>();
            while left() == Ok(EVENTS as u64) && running.try_wait().expect("weir runs").is_none() {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            std::thread::park_timeout(Duration::from_millis(random.below(60) as u64));
            running.kill().expect("it can be killed");
            running.wait().expect("it ends");
            let found = contents(&database);
            assert_eq!(found.counts.events, EVENTS as u64);
            assert_eq!(found.counts.applied + found.counts.dead_letters, EVENTS as u64);
            assert_eq!(found.counts.dead_letters, found.dead_letters.len() as u64);
            assert_eq!(found.tables["seen"].rows.len() as u64, found.counts.applied);
            between += u64::from((1..EVENTS as u64).contains(&found.counts.applied));
            assert!(retry(&name).output().expect("weir can be started").status.success());
            assert_eq!(contents(&database), expected, "the same command goes on");
        }
    });
    assert!(between > 0, "some were killed on the way");
}

#[test]
fn a_letter_that_comes_behind_the_watermark_is_late_and_windows_are_not_retried() {
    let text = |malformed: i64, what: &str| {
        format!(
            r#"
name = "timed"
event_time = {{ column = "n" }}
source = {{ stream = "S", subject = "s", columns = {{ n = "int", k = "text" }} }}

[[step]]
name = "versions"
stage = {{ module = "{}", parameters = {{ malformed = {malformed} }} }}

[[step]]
name = "tens"
window = {{ tumbling = "10 ms", group_by = ["k"], columns = {{ n = {{ count = "*" }} }} }}

[[step]]
name = "judge"
from = "tens"
stage = {{ module = "{}", parameters = {{ {what} }} }}

[[sink]]
from = "judge"
table = "counted"

[[sink]]
from = "tens.late"
table = "late"
"#,
            guest("versions").display(),
            guest("versions").display()
        )
    };
    let folder = scratch();
    let input = lines(&[1, 7, 12, 25, 28, 31]);
    // Each window holds one row, which a rule behind it takes if it may be odd.
    let before = run(&text(7, "malformed = 2"), &input, folder.path(), "p.db", 4096);
    let database = folder.path().join("p.db");
    let is_row = "SELECT sequence || ' ' || is_row FROM weir_dead_letter ORDER BY id";
    assert_eq!(query(&database, is_row), ["2 0", "5 0"]);
    assert_eq!(before.counts.dead_letters, 2);
    let (report, _) = retry(&text(0, "malformed = 1"), &database, &LetterFilter::default(), true);
    // 7 is behind the watermark, which is at 31; so is 28, whose window is gone.
    assert_eq!(
        (report.retried, report.counts.late_rows, report.counts.filtered),
        (2, 2, 0)
    );
    let after = contents(&database);
    assert_eq!(after.tables["late"].rows.len(), 2);
    assert_eq!((after.counts.late_rows, after.counts.dead_letters), (2, 0));
    assert_eq!(after.tables["counted"], before.tables["counted"]);

    // A window that ends now, and whose result is rejected.
    let after = run(
        &text(0, "malformed = 1"),
        &(input + &lines(&[55])),
        folder.path(),
        "p.db",
        4096,
    );
    assert_eq!((after.counts.dead_rows, after.counts.dead_letters), (1, 0));
    let (report, told) = retry(&text(0, ""), &database, &LetterFilter::default(), true);
    assert_eq!((report.retried, report.rows, told.len()), (0, 1, 0));
    assert_eq!(contents(&database), after);
}
