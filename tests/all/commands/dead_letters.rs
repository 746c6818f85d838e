//! `weir dead-letters`: what could not be processed, for people and for programs.

use super::{Folder, NAMES, sql};
use serde_json::Value as Json;
use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};
use weir_tests::replay::hold;
use weir_tests::{
    guest,
    table::{contents, query},
};

/// The dead letters of `p.db` as JSON.
#[track_caller]
fn letters(folder: &Folder) -> Vec<Json> {
    let outcome = folder.weir("dead-letters list p.db --json").ends_with(0);
    assert_eq!(outcome.stderr, "");
    outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is one JSON object"))
        .collect()
}

#[test]
fn each_is_listed_with_sequence_reason_and_payload() {
    let folder = Folder::with(NAMES);
    folder
        .replay("{\"id\":1}\n{\"id\":\"1\"}\n{\"id\":2}\n[]\n")
        .ends_with(0);
    let plain = folder.weir("dead-letters list p.db").ends_with(0);
    assert_eq!(plain.stderr, "");
    let lines: Vec<&str> = plain.stdout.lines().collect();
    let reason = "column \"id\": found `\"1\"` at byte 6; accepted is a number written as an integer from -2^63 to 2^63-1, or null";
    assert_eq!(
        lines,
        [
            &*format!("names #2 decode: {reason}"),
            "    {\"id\":\"1\"}",
            "names #4 decode: found `[` at byte 0; accepted is one JSON object",
            "    []",
        ]
    );
    let letters = letters(&folder);
    let field = |name| letters.iter().map(|letter| &letter[name]).collect::<Vec<_>>();
    assert_eq!(field("pipeline"), ["names", "names"]);
    assert_eq!(field("sequence"), [2, 4]);
    assert_eq!(field("step"), ["decode", "decode"]);
    assert_eq!(field("module"), [&Json::Null, &Json::Null]);
    assert_eq!(field("payload"), ["{\"id\":\"1\"}", "[]"]);
    assert_eq!(letters[0]["reason"], reason);
}

#[test]
fn none_is_said_to_people_and_silence_to_programs() {
    let folder = Folder::with(NAMES);
    folder.replay("{\"id\":1}\n").ends_with(0);
    let plain = folder
        .weir("dead-letters list p.db")
        .ends_with(0)
        .says("no dead letters in p.db");
    assert_eq!(plain.stdout, "");
    assert_eq!(letters(&folder), Vec::<Json>::new());
}

#[test]
fn control_characters_do_not_reach_the_terminal_and_reach_programs_unchanged() {
    let folder = Folder::with(NAMES);
    let payload = "\u{1b}]0;title\u{7}\u{1b}[31m\u{9b}\rred \u{0}保单";
    folder.replay(format!("{payload}\n")).ends_with(0);
    let plain = folder.weir("dead-letters list p.db").ends_with(0).stdout;
    assert!(plain.chars().all(|c| c == '\n' || !c.is_control()), "{plain:?}");
    assert!(
        plain.contains("\\u{1b}]0;title") && plain.contains("\\rred \\0保单"),
        "{plain}"
    );
    assert_eq!(letters(&folder)[0]["payload"], payload);
}

#[test]
fn bytes_that_are_no_text_are_shown_in_hexadecimal_to_programs() {
    let folder = Folder::with(NAMES);
    folder.replay(b"{\"name\":\"\xff\x00\"}\n\xfe\xff\n").ends_with(0);
    let letters = letters(&folder);
    assert_eq!(letters[0]["payload_hex"], "7b226e616d65223a22ff00227d");
    assert_eq!(letters[1]["payload_hex"], "feff");
    assert!(letters.iter().all(|letter| letter.get("payload").is_none()));
    let plain = folder.weir("dead-letters list p.db").ends_with(0).stdout;
    assert!(
        plain.contains("    {\"name\":\"\u{fffd}\\0\"}\n") && plain.contains("    \u{fffd}\u{fffd}\n"),
        "{plain:?}"
    );
}

#[test]
fn a_long_payload_is_cut_for_people_with_a_sign() {
    let folder = Folder::with(NAMES);
    let long = "保".repeat(1000);
    let bytes = [
        b"\xff".repeat(150),
        b"\n".to_vec(),
        long.clone().into_bytes(),
        b"\nshort\n".to_vec(),
    ]
    .concat();
    folder.replay(bytes).ends_with(0);
    let plain = folder.weir("dead-letters list p.db").ends_with(0).stdout;
    let shown: Vec<&str> = plain.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(
        shown,
        [
            format!("{}…", "\u{fffd}".repeat(100)),
            format!("{}…", "保".repeat(100)),
            "short".to_owned()
        ]
    );
    assert_eq!(letters(&folder)[1]["payload"], long);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = Folder::with(NAMES);
    folder
        .replay("broken payload, one of many\n".repeat(20_000))
        .ends_with(0);
    let mut command = super::weir().command();
    command
        .args(["dead-letters", "list", "p.db", "--json"])
        .current_dir(folder.0.path());
    let mut process = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("weir can be started");
    let mut first = String::new();
    let mut out = BufReader::new(process.stdout.take().expect("standard output is a pipe"));
    out.read_line(&mut first).expect("a line can be read");
    drop(out);
    assert!(first.contains("\"sequence\":1,"), "{first}");
    let output = process.wait_with_output().expect("weir ends");
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
        (Some(0), "")
    );
}

#[test]
fn a_file_without_dead_letters_of_weir_is_told_what_it_is() {
    let folder = Folder::with(NAMES);
    folder.write("text.db", "these are the notes of somebody\n".repeat(100));
    sql(&folder.path("other.db"), "CREATE TABLE accounts (id INTEGER)");
    for (file, said) in [
        ("missing.db", "there is no database missing.db"),
        ("text.db", "cannot read database text.db: file is not a database"),
        ("other.db", "other.db is a SQLite database that Weir did not make"),
    ] {
        let outcome = folder
            .weir(&format!("dead-letters list {file}"))
            .ends_with(1)
            .says(said);
        assert_eq!(outcome.stdout, "");
    }
    assert!(!folder.path("missing.db").exists());
}

/// Names by id, of which some are broken.
const BROKEN: &str = "{\"id\":1,\"name\":\"a\"}\nbroken\n{\"id\":\"7\"}\n[]\n{\"id\":2}\n{\"id\":\"8\"}\n";

#[test]
fn the_list_holds_what_fits_all_that_is_asked() {
    let folder = Folder::with(NAMES);
    folder.replay(BROKEN).ends_with(0);
    for (asked, expected) in [
        ("--step decode", &[2, 3, 4, 6][..]),
        ("--step latest", &[]),
        ("--reason JSON", &[2, 4]),
        ("--reason \"7\"", &[3]),
        ("--from 3", &[3, 4, 6]),
        ("--to 3", &[2, 3]),
        ("--from 3 --to 4 --reason column", &[3]),
        ("--pipeline names --from 6", &[6]),
        ("--module 00", &[]),
    ] {
        let outcome = folder
            .weir(&format!("dead-letters list p.db --json {asked}"))
            .ends_with(0);
        let found = outcome.stdout.lines().map(|line| {
            let letter: Json = serde_json::from_str(line).expect("each line is one JSON object");
            letter["sequence"].as_i64().unwrap_or_default()
        });
        assert_eq!(found.collect::<Vec<_>>(), expected, "{asked}");
    }
    let plain = folder.weir("dead-letters list p.db --step latest").ends_with(0);
    plain.says("no such dead letters in p.db");
    let outcome = folder.weir("dead-letters list p.db --pipeline other").ends_with(2);
    outcome.says("database p.db has no pipeline \"other\"; it has names");
}

#[test]
fn one_is_shown_in_full_and_safe_for_terminals() {
    let folder = Folder::with(NAMES);
    let payload = "{\"id\":\"\u{1b}[31m\", \"amount\":1.000, \"more\":[{},[1]]}";
    folder.replay(format!("{payload}\n")).ends_with(0);
    let shown = folder.weir("dead-letters show p.db 1").ends_with(0).stdout;
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    for part in [
        "pipeline  names\nsequence  1\nnow       1970-01-01 00:00:00Z\nstep      decode\nreason\n    column \"id\": found",
        "payload, 47 bytes\n    {\"id\":\"\\u{1b}[31m\"",
    ] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    folder
        .replay(format!("{payload}\n{{\"id\":\"x\",\"n\":[1.000]}}\n\u{1}\n"))
        .ends_with(0);
    let shown = folder.weir("dead-letters show p.db 2").ends_with(0).stdout;
    let laid_out = "    {\n      \"id\": \"x\",\n      \"n\": [\n        1.000\n      ]\n    }\n";
    assert!(shown.ends_with(laid_out), "{shown}");
    let outcome = folder.weir("dead-letters show p.db 9").ends_with(1);
    outcome.says("there is no dead letter with sequence 9 in p.db");
}

#[test]
fn what_is_dropped_is_gone_and_still_counted() {
    let folder = Folder::with(NAMES);
    folder.replay(BROKEN).ends_with(0);
    let before = contents(&folder.path("p.db"));
    let outcome = folder.weir("dead-letters drop p.db").ends_with(2);
    outcome.says("say which dead letters to drop, with --step, --module, --reason, --from or --to; or --all");
    assert_eq!(contents(&folder.path("p.db")), before);
    let dropped = folder.weir("dead-letters drop p.db --reason JSON").ends_with(0).stdout;
    assert_eq!(dropped, "dropped 2 dead letters of p.db\n");
    let after = contents(&folder.path("p.db"));
    assert_eq!((after.counts, &after.tables), (before.counts, &before.tables));
    let left: Vec<u64> = after.dead_letters.iter().map(|letter| letter.sequence).collect();
    assert_eq!(left, [3, 6]);
    let listed = folder.weir("dead-letters list p.db").ends_with(0);
    listed.says("2 dead letters of p.db were dropped");
    // A start goes on counting where it was.
    folder.replay(format!("{BROKEN}{{\"id\":3}}\n")).ends_with(0);
    let dropped = folder.weir("dead-letters drop p.db --all").ends_with(0).stdout;
    assert_eq!(dropped, "dropped 2 dead letters of p.db\n");
    assert_eq!(
        query(&folder.path("p.db"), "SELECT dropped || '' FROM weir_pipeline"),
        ["4"]
    );
    folder.weir("dead-letters drop missing.db --all").ends_with(1);
    assert!(!folder.path("missing.db-lock").exists());
}

#[test]
fn a_retry_says_what_became_of_each() {
    let folder = Folder::with(NAMES);
    folder.replay(BROKEN).ends_with(0);
    let retry = "dead-letters retry p.toml --database p.db";
    let outcome = folder.weir(retry).ends_with(2);
    outcome.says("say which dead letters to retry");
    let outcome = folder
        .weir("dead-letters retry p.toml --database missing.db --all")
        .ends_with(1);
    outcome.says("there is no database missing.db");
    // A column that nobody reads may have another type from here on; it is checked all the same.
    let outcome = folder.weir(&format!("{retry} --all")).ends_with(3);
    assert_eq!(outcome.stderr, "", "no line per letter");
    let again = "dead letters retried: 0 applied, 0 filtered, ";
    let first = "  1 dead letter again, of step decode: found `broken`";
    assert!(
        outcome.stdout.contains(again) && outcome.stdout.contains(first),
        "{}",
        outcome.stdout
    );
    let outcome = folder.weir(&format!("{retry} --all -v")).ends_with(3);
    outcome.says("#2: a dead letter again, of step decode: found `broken`");
    let held = hold(&folder.path("p.db")).expect("nobody else holds it");
    let outcome = folder.weir(&format!("{retry} --all")).ends_with(1);
    outcome.says("database p.db is in use by another weir; stop that one first");
    let outcome = folder.weir("dead-letters drop p.db --all").ends_with(1);
    outcome.says("database p.db is in use by another weir; stop that one first");
    drop(held);
    folder.write("p.toml", NAMES.replace("name = \"names\"", "name = \"others\""));
    let outcome = folder.weir(&format!("{retry} --all")).ends_with(1);
    outcome.says("database p.db has no pipeline \"others\"; it has names");
}

/// Two subjects, of which one may be taken away.
fn shop(inputs: &[&str]) -> String {
    let inputs = inputs.iter().map(|name| {
        format!("[source.input.{name}]\nsubject = \"shop.{name}\"\ncolumns = {{ id = \"int\", name = \"text\" }}\n")
    });
    format!(
        "name = \"shop\"\nsource.stream = \"SHOP\"\n{}[[sink]]\nfrom = \"orders\"\ntable = \"orders\"\n",
        inputs.collect::<String>()
    )
}

#[test]
fn a_letter_of_no_input_any_more_says_so_and_stays() {
    let folder = Folder::with(&shop(&["orders", "returns"]));
    let lines = [
        "{\"subject\":\"shop.orders\",\"payload\":{\"id\":1}}",
        "{\"subject\":\"shop.orders\",\"payload\":{\"id\":\"2\"}}",
        "{\"subject\":\"shop.returns\",\"payload\":{\"id\":\"3\"}}",
        "{\"subject\":\"shop.paid\",\"payload\":{\"id\":4}}",
    ];
    folder.replay(lines.join("\n")).ends_with(0);
    assert_eq!(contents(&folder.path("p.db")).counts.dead_letters, 3);
    folder.write("p.toml", shop(&["orders", "paid"]));
    let outcome = folder
        .weir("dead-letters retry p.toml --database p.db --all --dry-run -v")
        .ends_with(3);
    for said in [
        "#2: a dead letter again, of step decode: column \"id\"",
        "#3: cannot be retried: it came on subject shop.returns, which the pipeline does not read any more; it reads \
         subjects shop.orders, shop.paid",
        "#4: filtered",
    ] {
        assert!(outcome.stderr.contains(said), "{said:?} is not in\n{}", outcome.stderr);
    }
    let shown: Vec<&str> = outcome.stdout.lines().collect();
    let [first, again, refused, last] = shown.as_slice() else {
        panic!("{}", outcome.stdout)
    };
    assert_eq!(
        *first,
        "2 dead letters would be retried: 0 applied, 1 filtered, 1 dead letter again"
    );
    assert!(
        refused.starts_with("  1 dead letter cannot be retried: it came on subject shop.returns, "),
        "{refused}"
    );
    assert!(
        again.starts_with("  1 dead letter again, of step decode: column \"id\""),
        "{again}"
    );
    assert_eq!(*last, "  nothing of it was kept");
    let outcome = folder
        .weir("dead-letters retry p.toml --database p.db --from 4")
        .ends_with(0);
    assert_eq!(
        outcome.stdout,
        "1 dead letter retried: 0 applied, 1 filtered, 0 dead letters again\n"
    );
    let left = contents(&folder.path("p.db"));
    assert_eq!(
        (left.counts.dead_letters, left.counts.filtered, left.dead_letters.len()),
        (2, 1, 2)
    );
}

#[test]
fn a_row_is_explained_by_events_that_were_retried() {
    let rule = |malformed: u32| {
        let module = guest("versions");
        NAMES.replace(
            "[[step]]\nname = \"latest\"",
            &format!(
                "[[step]]\nname = \"rule\"\nstage = {{ module = \"{}\", parameters = {{ malformed = {malformed} }} }}\n\
                 [[step]]\nname = \"latest\"",
                module.display()
            ),
        )
    };
    let rule = |malformed| {
        rule(malformed)
            .replace("id = \"int\", name", "n = \"int\", k")
            .replace("[\"id\"]", "[\"k\"]")
    };
    let folder = Folder::with(&rule(2));
    let line = |n: u32| format!("{{\"n\":{n},\"k\":\"a\"}}\n");
    folder.replay((1..=3).map(line).collect::<String>()).ends_with(0);
    folder.write("p.toml", rule(0));
    folder
        .weir("dead-letters retry p.toml --database p.db --all")
        .ends_with(0);
    folder.replay((1..=4).map(line).collect::<String>()).ends_with(0);
    let explained = folder.weir("explain p.db names k=a").ends_with(0).stdout;
    for part in [
        "changed by 4 events, sequences 1 to 4",
        "the events:\n  1\n  3\n  2  a dead letter, retried behind 3\n  4\n",
    ] {
        assert!(explained.contains(part), "{part:?} is not in\n{explained}");
    }
}

/// Rows that a join gives because time went on, without a window anywhere: they are said to be that.
#[test]
fn rows_that_came_because_time_went_on_are_called_so_without_a_window() {
    let folder = Folder::with(&format!(
        "name = \"p\"\nevent_time = {{ column = \"n\" }}\n\
         source = {{ stream = \"S\", subject = \"s\", columns = {{ n = \"int\", k = \"text\" }} }}\n\
         [[step]]\nname = \"joined\"\nlookup = {{ versions_from = \"source\", on = {{ k = \"k\" }}, columns = [] }}\n\
         [[step]]\nname = \"judged\"\nstage = {{ module = \"{}\", parameters = {{ malformed = 2 }} }}\n\
         [[sink]]\ntable = \"t\"\n",
        guest("versions").display()
    ));
    let events: String = (1..=5).map(|n| format!("{{\"n\":{n},\"k\":\"a\"}}\n")).collect();
    let replayed = folder.replay(&events).ends_with(0).stdout;
    assert!(
        replayed.contains("dead rows                 2   came because time went on, among the dead letters"),
        "{replayed}"
    );
    let retried = folder
        .weir("dead-letters retry p.toml --database p.db --all")
        .ends_with(3);
    let said = format!("{}{}", retried.stdout, retried.stderr);
    assert!(
        said.contains("2 rows among the dead letters that came because time went on, left as they are"),
        "{said}"
    );
    assert!(
        !replayed.contains("window") && !said.contains("window"),
        "{replayed}{said}"
    );
}
