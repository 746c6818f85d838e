//! `weir test`: cases that pass, cases that fail with what differs, and cases that are no cases.

use super::weir;
use std::{fs, path::PathBuf};
use weir_tests::{command::Outcome, guest, scratch, workspace};

/// A pipeline without guests, with every sort of sink: the latest row of each id by key, as they came, as messages; and
/// those whose id is in a lookup table.
const PIPELINE: &str = r#"
name = "sorts"
source = { stream = "S", subject = "s", columns = { id = "int", name = "text", amount = "double", fine = "boolean" } }
[table.known]
primary_key = ["id"]
columns = { id = "int", title = "text" }
[[step]]
name = "titled"
lookup = { table = "known", on = { id = "id" } }
[[step]]
name = "latest"
from = "source"
last_value = { key = ["id"] }
[[sink]]
table = "latest"
primary_key = ["id"]
[[sink]]
from = "source"
table = "history"
[[sink]]
from = "titled"
table = "titled"
[[sink]]
from = "titled"
subject = "out"
"#;

const INPUT: &str = r#"{"id": 1, "name": "a", "amount": 0.1, "fine": true}
{"id": 2, "name": "b", "amount": "much"}

{"id": 1, "name": "c", "fine": false}
{"id": 2, "name": "b", "amount": 5}
"#;

const LATEST: &str = r#"{"id": 2, "name": "b", "amount": 5}
{"id": 1, "name": "c", "amount": 0.10000000000001, "fine": false}
"#;

const LETTERS: &str = "{\"sequence\": 2, \"step\": \"decode\"}\n";

/// A folder with the pipeline and one case.
struct Folder(tempfile::TempDir);

impl Folder {
    /// The case `c` with the input above and these files.
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(scratch());
        fs::create_dir_all(folder.path("")).unwrap();
        fs::write(folder.0.path().join("pipeline.toml"), PIPELINE).unwrap();
        for (name, text) in [("input.jsonl", INPUT)].iter().chain(files) {
            fs::write(folder.path(name), text).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("cases/c").join(name)
    }

    #[track_caller]
    fn test(&self, arguments: &str) -> Outcome {
        let arguments = ["test"].into_iter().chain(arguments.split_whitespace());
        weir().run_in(self.0.path(), arguments)
    }
}

#[test]
fn the_cases_of_the_scenarios_pass() {
    for (scenario, passed) in [
        ("claims-severity", "1 case: 1 passed\n"),
        ("hourly-orders", "3 cases: 3 passed\n"),
        ("last-page", "3 cases: 3 passed\n"),
        ("payments", "3 cases: 3 passed\n"),
        ("premium-drop", "3 cases: 3 passed\n"),
        ("two-countries", "1 case: 1 passed\n"),
    ] {
        let outcome = weir()
            .run_in(&workspace().join("guests"), ["test", scenario])
            .ends_with(0);
        assert!(outcome.stdout.ends_with(passed), "{}", outcome.stdout);
    }
}

/// The page of the payments has what their folder has, and says how long that is.
#[test]
fn the_payments_take_as_many_lines_as_their_page_says() {
    let folder = workspace().join("guests/payments");
    let page = fs::read_to_string(workspace().join("docs/tasks/payments.md")).unwrap();
    for file in [
        "weir.toml",
        "pipelines/turnover.toml",
        "pipelines/merchants.toml",
        "pipelines/velocity.toml",
        "guests/velocity/src/lib.rs",
    ] {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let counts = |line: &&str| !line.is_empty() && !line.starts_with(['#', '/']) || line.starts_with("#[");
        let lines = code.lines().map(str::trim).filter(counts).count();
        let row = format!("| `{file}` | {lines} |");
        assert!(page.contains(&row), "the page has no row {row}");
        if ["weir.toml", "pipelines/turnover.toml"].contains(&file) {
            assert!(page.contains(text.trim_end()), "the page shows {file}");
        }
    }
}

#[test]
fn rows_pass_in_any_order_and_but_for_the_last_digits() {
    let folder = Folder::with(&[
        ("expected.latest.jsonl", LATEST),
        // Its columns tell which table it speaks of.
        (
            "expected.titles.jsonl",
            r#"{"title": "one", "id": 1, "name": "a", "amount": 0.1, "fine": true}
{"title": "one", "fine": 0, "id": 1, "name": "c", "amount": null}"#,
        ),
        ("start.known.jsonl", "{\"id\": 1, \"title\": \"one\"}\n"),
        ("dead_letters.jsonl", LETTERS),
        (
            "messages.jsonl",
            r#"{"subject": "out", "message": {"id": 1, "name": "c", "amount": null, "fine": false, "title": "one"}}
{"subject": "out", "message": {"id": 1, "name": "a", "amount": 0.1, "fine": true, "title": "one"}}"#,
        ),
    ]);
    let passed = folder.test("").ends_with(0);
    assert_eq!(
        passed.stdout,
        "ok       c  5 events, 1 dead letter; not compared: history\n1 case: 1 passed\n"
    );
    assert_eq!(folder.test("cases/c").ends_with(0).stdout, passed.stdout);
}

#[test]
fn what_differs_is_shown_by_key() {
    let folder = Folder::with(&[
        (
            "expected.latest.jsonl",
            "{\"id\": 1, \"name\": \"c\", \"amount\": 0.2, \"fine\": true}\n{\"id\": 7}\n",
        ),
        (
            "expected.history.jsonl",
            "{\"id\": 2, \"name\": \"b\", \"amount\": 5}\n{\"id\": 3}\n",
        ),
        (
            "dead_letters.jsonl",
            "{\"sequence\": 2, \"reason\": \"no reason\"}\n{\"sequence\": 4}\n",
        ),
    ]);
    let failed = folder.test("").ends_with(1);
    let reason =
        "column \"amount\": found `\"much\"` at byte 33; accepted is a number whose nearest double is finite, or null";
    assert_eq!(
        failed.stdout,
        format!(
            r#"FAIL     c  5 events, 1 dead letter; not compared: titled, messages
  table history (- cases/c/expected.history.jsonl, + what came out)
    - {{"id":3,"name":null,"amount":null,"fine":null}} (line 2)
    + {{"id":1,"name":"a","amount":0.1,"fine":true}}
    + {{"id":1,"name":"c","amount":null,"fine":false}}
  table latest (- cases/c/expected.latest.jsonl, + what came out)
    id 1 (line 1)
      - amount: 0.2
      + amount: 0.1
      - fine: true
      + fine: false
    - {{"id":7,"name":null,"amount":null,"fine":null}}
    + {{"id":2,"name":"b","amount":5.0,"fine":null}}
  dead letters (- cases/c/dead_letters.jsonl, + what came out)
    - sequence 2: no reason
    + sequence 2, step decode: {reason}
    - sequence 4
1 case: 0 passed, 1 failed; `--update` takes over what came out, if that is right
"#
        )
    );
}

#[test]
fn a_dead_letter_that_nobody_expects_fails_the_case() {
    let folder = Folder::with(&[("expected.latest.jsonl", LATEST)]);
    let failed = folder.test("").ends_with(1);
    assert!(
        failed.stdout.contains("\n    + sequence 2, step decode: column"),
        "{}",
        failed.stdout
    );
}

#[test]
fn update_writes_what_came_out_and_nothing_that_was_right() {
    let folder = Folder::with(&[]);
    let updated = folder.test("--update").ends_with(0);
    for file in ["expected.latest.jsonl", "expected.history.jsonl", "dead_letters.jsonl"] {
        assert!(
            updated.stdout.contains(&format!("  wrote cases/c/{file}\n")),
            "{}",
            updated.stdout
        );
    }
    assert_eq!(
        fs::read_to_string(folder.path("expected.latest.jsonl")).unwrap(),
        "{\"id\":1,\"name\":\"c\",\"amount\":0.1,\"fine\":false}\n{\"id\":2,\"name\":\"b\",\"amount\":5.0,\"fine\":null}\n"
    );
    folder.test("").ends_with(0);

    fs::write(folder.path("expected.latest.jsonl"), LATEST).unwrap();
    fs::write(folder.path("dead_letters.jsonl"), LETTERS).unwrap();
    fs::write(folder.path("input.jsonl"), INPUT.replace("\"much\"", "1")).unwrap();
    let updated = folder.test("--update").ends_with(0);
    assert!(
        updated.stdout.contains("  removed cases/c/dead_letters.jsonl\n"),
        "{}",
        updated.stdout
    );
    assert_eq!(
        fs::read_to_string(folder.path("expected.latest.jsonl")).unwrap(),
        LATEST
    );
    folder.test("").ends_with(0);
}

#[test]
fn a_case_says_what_now_is() {
    let hourly = workspace().join("guests/hourly-orders");
    let folder = scratch();
    let case = folder.path().join("cases/next-day");
    fs::create_dir_all(&case).unwrap();
    let pipeline = fs::read_to_string(hourly.join("pipeline.toml")).unwrap();
    let guests = workspace().join("target/guests");
    let pipeline = pipeline.replace("../../target/guests", guests.to_str().unwrap());
    fs::write(folder.path().join("pipeline.toml"), pipeline).unwrap();
    fs::copy(hourly.join("cases/s1_20/input.jsonl"), case.join("input.jsonl")).unwrap();
    fs::copy(hourly.join("cases/s1_20/expected.jsonl"), case.join("expected.jsonl")).unwrap();
    weir().run_in(folder.path(), ["test"]).ends_with(0);

    fs::write(case.join("case.toml"), "now = \"2026-03-17T12:00:00+08:00\"\n").unwrap();
    weir().run_in(folder.path(), ["test"]).ends_with(1);
    fs::write(case.join("expected.jsonl"), "").unwrap();
    weir().run_in(folder.path(), ["test"]).ends_with(0);
}

#[test]
fn a_case_that_is_none_is_told_with_file_and_line() {
    for (file, text, said) in [
        (
            "other.jsonl",
            "",
            "cases/c/other.jsonl is no file of a case; accepted are input.jsonl, ",
        ),
        (
            "expected.jsonl",
            "{}",
            "cases/c/expected.jsonl does not say which table of pipeline sorts it expects; accepted are expected.latest.jsonl, ",
        ),
        (
            "expected.latest.jsonl",
            "\n{\"idd\": 1}",
            "cases/c/expected.latest.jsonl:2: table latest has no column \"idd\"; it has id, name, amount, fine",
        ),
        (
            "expected.latest.jsonl",
            "{\"id\": \"x\"}",
            "cases/c/expected.latest.jsonl:1: column \"id\" of table latest is int, found \"x\"",
        ),
        (
            "expected.latest.jsonl",
            "{\"id\": 1}\n{\"id\": 1}",
            "cases/c/expected.latest.jsonl:2: has the primary key of line 1",
        ),
        (
            "expected.latest.jsonl",
            "[1]",
            "cases/c/expected.latest.jsonl:1: found [1]; accepted is one JSON object a line",
        ),
        (
            "dead_letters.jsonl",
            "{\"line\": 1}",
            "the case cases/c does not say what is expected",
        ),
        (
            "start.unknown.jsonl",
            "",
            "does not say which lookup table of pipeline sorts it fills; accepted are start.known.jsonl",
        ),
        (
            "start.known.jsonl",
            "{\"id\": 1}\n{\"id\": true}",
            "cases/c/start.known.jsonl:2: column \"id\": found `true`",
        ),
        (
            "messages.jsonl",
            "{\"subject\": \"out\"}",
            "cases/c/messages.jsonl:1: accepted are the members \"subject\" and \"message\"",
        ),
        (
            "case.toml",
            "now = \"noon\"",
            "cases/c/case.toml: key `now`: accepted is an instant in RFC 3339",
        ),
        ("case.toml", "then = 1", "cases/c/case.toml: TOML parse error at line 1"),
    ] {
        let folder = Folder::with(&[(file, text)]);
        let outcome = folder.test("").ends_with(2).says(said);
        assert_eq!(outcome.stdout, "", "{file}: {text}");
    }
}

/// A folder with a case of a rule that remembers earlier calls where rows ask for it.
fn moody(rows: &[&str], expected: &str) -> Folder {
    let folder = Folder(scratch());
    fs::create_dir_all(folder.path("")).unwrap();
    let module = guest("moody");
    let pipeline = format!(
        "name = \"moods\"
         source = {{ stream = \"S\", subject = \"s\", columns = {{ id = \"int\", what = \"text\", n = \"int\" }} }}
         step = [{{ name = \"mood\", stage = {{ module = '{}' }} }}]
         sink = [{{ table = \"moods\" }}]",
        module.display()
    );
    fs::write(folder.0.path().join("pipeline.toml"), pipeline).unwrap();
    let row = |(at, what): (usize, &&str)| format!("{{\"id\": {at}, \"what\": \"{what}\", \"n\": {}}}\n", at * 10);
    fs::write(
        folder.path("input.jsonl"),
        rows.iter().enumerate().map(row).collect::<String>(),
    )
    .unwrap();
    fs::write(folder.path("expected.jsonl"), expected).unwrap();
    folder
}

#[test]
fn a_row_of_which_a_rule_makes_something_else_in_another_call_is_named() {
    // One instance judges all three, however they are cut.
    let said = "{\"id\": 0, \"said\": 0}\n{\"id\": 1, \"said\": 1}\n{\"id\": 2, \"said\": 20}\n";
    let folder = moody(&["calm", "counts", "calm"], said);
    let failed = folder.test("").ends_with(1);
    let advice = "    a rule gave another answer to the same row: see that it iterates over no HashMap or HashSet with random keys, keeps \
                  nothing in a static, and takes nothing of the rows beside a row or of their order";
    assert_eq!(
        failed.stdout,
        format!(
            "FAIL     c  3 events, 0 dead letters\n  \
             step \"mood\": the row of line 2 comes out in two ways: id = 1, what = counts, n = 10\n    \
             with all others in one call  out: id = 1, said = 1\n    \
             with the second half of the rows first  out: id = 1, said = 0\n    \
             (1 of 3 rows come out in several ways)\n{advice}\n\
             1 case: 0 passed, 1 failed; `--update` takes over what came out, if that is right\n"
        )
    );
    let passed = folder.test("--judge-once").ends_with(0);
    assert_eq!(
        passed.stdout,
        "ok       c  3 events, 0 dead letters\n1 case: 1 passed\n"
    );
    let expected = folder.path("expected.jsonl");
    fs::write(&expected, "").unwrap();
    folder.test("--update").ends_with(1);
    assert_eq!(
        fs::read_to_string(&expected).unwrap(),
        "",
        "what differs is nothing to expect"
    );
    let json = folder.test("--json").ends_with(1).stdout;
    assert!(
        json.contains("\"step \\\"mood\\\": the row of line 2 comes out"),
        "{json}"
    );
}

#[test]
fn each_sort_of_answer_is_held_to_the_other_calls() {
    let cases: [(&[&str], usize, [&str; 2]); 4] = [
        (
            &["calm", "calm", "row before"],
            3,
            ["out: id = 2, said = 10", "in the reverse order  out: id = 2, said = 0"],
        ),
        (
            &["every other", "every other"],
            1,
            ["out: id = 0, said = 0", "in the reverse order  left out"],
        ),
        (
            &["calm", "rejects the second"],
            2,
            [
                "rejected: it is the second",
                "in the reverse order  out: id = 1, said = 10",
            ],
        ),
        (
            &["calm", "counts", "counts", "calm"],
            2,
            ["out: id = 1, said = 1", "in the reverse order  out: id = 1, said = 2"],
        ),
    ];
    for (rows, line, ways) in cases {
        let folder = moody(rows, "");
        let failed = folder.test("").ends_with(1).stdout;
        let named = format!("the row of line {line} comes out in two ways");
        for said in [named.as_str()].into_iter().chain(ways) {
            assert!(failed.contains(said), "{rows:?}, {said}: {failed}");
        }
    }
}

#[test]
fn a_rule_that_is_a_function_of_its_row_comes_out_the_same() {
    // Also where it rejects, and where it makes the guest fail.
    let folder = moody(&["calm", "rejects", "traps", "calm", "traps at the second"], "");
    let letters = "{\"sequence\": 2, \"reason\": \"it is 10\"}\n{\"sequence\": 3}\n";
    fs::write(folder.path("dead_letters.jsonl"), letters).unwrap();
    folder.test("--update").ends_with(0);
    let passed = folder.test("").ends_with(0);
    assert_eq!(
        passed.stdout,
        "ok       c  5 events, 2 dead letters\n1 case: 1 passed\n"
    );
}
