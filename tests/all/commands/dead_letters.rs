//! `weir dead-letters`: what could not be processed, for people and for programs.

use super::{Folder, NAMES, sql};
use serde_json::Value as Json;
use std::{
    io::{BufRead, BufReader},
    process::Stdio,
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
        let outcome = folder.weir(&format!("dead-letters list {file}")).ends_with(1).says(said);
        assert_eq!(outcome.stdout, "");
    }
    assert!(!folder.path("missing.db").exists());
}
