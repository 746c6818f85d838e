//! Files that are named: both forms of lines, ends that are missing, and what is no file of events at all.

use super::{Folder, NAMES, changed, make_pipe};
use std::{
    fs::{self, OpenOptions},
    io::{Read, Write},
    process::Stdio,
};
use weir_tests::{
    table::{contents, query},
    wait_until,
};

fn rows(folder: &Folder) -> Vec<String> {
    query(
        &folder.path("p.db"),
        "SELECT id || ' ' || coalesce(name, '') FROM names ORDER BY id",
    )
}

#[test]
fn lines_with_subjects_are_read_in_a_pipeline_with_one_input() {
    let folder = Folder::with(NAMES);
    folder
        .replay(
            "{\"subject\": \"s\", \"payload\": {\"id\": 1, \"name\": \"a\"}}\n\n\
             {\"seq\": 7, \"payload\": {\"id\": 2}, \"subject\": \"s\"}\n\
             {\"subject\": \"other\", \"payload\": {\"id\": 3}}\n\
             {\"id\": 4}\n",
        )
        .ends_with(0);
    let found = contents(&folder.path("p.db"));
    assert_eq!(rows(&folder), ["1 a", "2 "]);
    assert_eq!(
        (found.counts.applied, found.counts.empty, found.counts.dead_letters),
        (2, 1, 2)
    );
    let reasons = query(
        &folder.path("p.db"),
        "SELECT reason FROM weir_dead_letter ORDER BY sequence",
    );
    assert_eq!(
        reasons,
        [
            "the line: the subject \"other\" is that of no input; there are s",
            "the line has no member \"subject\"; accepted is {\"subject\": \"…\", \"payload\": …}",
        ]
    );
}

#[test]
fn a_line_with_a_subject_among_payloads_is_read_too() {
    let folder = Folder::with(NAMES);
    folder
        .replay("{\"id\": 1}\n{\"subject\": \"s\", \"payload\": {\"id\": 2, \"name\": \"b\"}}\n")
        .ends_with(0);
    assert_eq!(rows(&folder), ["1 ", "2 b"]);
}

/// How many bytes of a file are read at once.
const BLOCK: usize = 1 << 20;

#[test]
fn a_line_with_a_subject_is_found_wherever_a_block_of_the_file_ends() {
    let with_subject =
        |id: usize| format!("{{\"seq\": 1, \"subject\": \"s\", \"payload\": {{\"id\": {id}, \"name\": \"b\"}}}}\n");
    // One stands at the end of each block, and ever more of it in that.
    let blocks = with_subject(1).len() / 8 + 1;
    let mut text = String::new();
    for block in 1..=blocks {
        let begin = block * BLOCK - 8 * block;
        let payload = |bytes: usize| format!("{{\"id\": 0, \"more\": \"{}\"}}\n", "x".repeat(bytes - 22));
        text.push_str(&payload((begin - text.len()) % 1000 + 1000));
        while text.len() < begin {
            text.push_str(&payload(1000));
        }
        assert_eq!(text.len(), begin);
        text.push_str(&with_subject(block));
    }
    let folder = Folder::with(NAMES);
    folder.replay(&text).ends_with(0);
    let expected: Vec<String> = (1..=blocks).map(|id| format!("{id} b")).collect();
    assert_eq!(rows(&folder), [&["0 ".to_owned()], &expected[..]].concat());
    assert_eq!(
        query(&folder.path("p.db"), "SELECT id FROM names WHERE id IS NULL"),
        [""; 0]
    );
}

#[test]
fn no_line_with_a_subject_is_an_event_without_columns() {
    let folder = Folder::with(NAMES);
    folder
        .replay(
            "{\"subject\": 5, \"payload\": {\"id\": 1}}\n{\"id\": 2}\n\
             {\"seq\": 1, \"subject\": \"s\", \"payload\": {\"id\": 3}}\n\
             {\"\\u0073ubject\": \"s\", \"payload\": {\"id\": 4}}\n\
             {\"subject\": \"s\"}\n{\"subject\": \"s\", \"subject\": \"s\", \"payload\": {}}\n",
        )
        .ends_with(0);
    assert_eq!(rows(&folder), ["2 ", "3 ", "4 "]);
    assert_eq!(contents(&folder.path("p.db")).counts.dead_letters, 3);
}

#[test]
fn columns_that_are_called_so_are_read_from_the_line() {
    let columns =
        "columns = { id = \"int\", name = { type = \"text\", path = \"payload.name\" }, amount = \"double\" }";
    let folder = Folder::with(&changed(
        "columns = { id = \"int\", name = \"text\", amount = \"double\" }",
        columns,
    ));
    folder
        .replay("{\"subject\": \"s\", \"id\": 1, \"payload\": {\"name\": \"a\"}}\n")
        .ends_with(0);
    assert_eq!(rows(&folder), ["1 a"]);
}

#[test]
fn a_last_line_whose_end_comes_later_is_gone_on_with() {
    for end in [
        "",
        "\n",
        "\n{\"id\":3}\n",
        "\n{\"id\":3}",
        "\r",
        "\r\n",
        "\r\n{\"id\":3}\r\n",
        "\r\n{\"id\":3}",
    ] {
        let folder = Folder::with(NAMES);
        folder.replay("{\"id\":1}\n{\"id\":2,\"name\":\"b\"}").ends_with(0);
        folder
            .replay(format!("{{\"id\":1}}\n{{\"id\":2,\"name\":\"b\"}}{end}"))
            .ends_with(0)
            .says("continuing after line 2");
        let expected: &[&str] = if end.contains('3') {
            &["1 ", "2 b", "3 "]
        } else {
            &["1 ", "2 b"]
        };
        assert_eq!(rows(&folder), expected, "{end:?}");
        // And once more, now that it is as it is.
        folder
            .weir("replay p.toml --input events.jsonl --database p.db")
            .ends_with(0);
        assert_eq!(contents(&folder.path("p.db")).counts.dead_letters, 0);
    }
}

#[test]
fn a_last_line_that_is_half_written_is_left_and_said() {
    let folder = Folder::with(NAMES);
    for half in ["{\"id\":2,\"na", "{", "{\"id\":2} {"] {
        folder
            .replay(format!("{{\"id\":1}}\n{half}"))
            .ends_with(0)
            .says("line 2 of events.jsonl is the last, has no end and is no whole JSON object");
        let found = contents(&folder.path("p.db"));
        assert_eq!(
            (found.position, found.counts.events, found.counts.dead_letters),
            (1, 1, 0),
            "{half}"
        );
    }
    folder.replay("{\"id\":1}\n{\"id\":2,\"name\":\"b\"}\n").ends_with(0);
    assert_eq!(rows(&folder), ["1 ", "2 b"]);
    // One that is ended is what it is.
    folder
        .replay("{\"id\":1}\n{\"id\":2,\"name\":\"b\"}\n{\"id\n")
        .ends_with(0);
    assert_eq!(contents(&folder.path("p.db")).counts.dead_letters, 1);
}

/// Follows the file of a folder.
fn follow(folder: &Folder) -> std::process::Command {
    let mut command = super::weir().command();
    let arguments = ["--input", "events.jsonl", "--database", "p.db", "--follow"];
    command
        .args(["replay", "p.toml"])
        .args(arguments)
        .current_dir(folder.0.path());
    command
}

/// Waits until the database of a folder is at a position.
pub(super) fn wait_for_position(folder: &Folder, position: &str) {
    wait_until("a line of the file", || {
        folder.path("p.db").exists() && query_is(folder, position)
    });
}

#[test]
fn a_file_that_is_followed_is_read_as_it_grows() {
    let folder = Folder::with(NAMES);
    folder.write("events.jsonl", "{\"id\":1}\n{\"id\":2,\"na");
    let mut process = follow(&folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("weir can be started");
    let position = || query(&folder.path("p.db"), "SELECT position || '' FROM weir_pipeline");
    wait_for_position(&folder, "1");
    let mut file = OpenOptions::new()
        .append(true)
        .open(folder.path("events.jsonl"))
        .expect("the file is there");
    file.write_all(b"me\":\"b\"}\n{\"id\":3}").expect("it can be written");
    wait_until("the second line", || query_is(&folder, "2"));
    file.write_all(b"\n{\"id\":4}\n").expect("it can be written");
    wait_until("the fourth line", || query_is(&folder, "4"));
    weir_tests::command::interrupt(&process);
    let status = process.wait().expect("weir ends");
    let mut shown = String::new();
    process
        .stdout
        .take()
        .expect("a pipe")
        .read_to_string(&mut shown)
        .expect("text");
    assert!(
        status.success() && shown.contains("replayed names"),
        "{status}\n{shown}"
    );
    assert_eq!(position(), ["4"]);
    assert_eq!(rows(&folder), ["1 ", "2 b", "3 ", "4 "]);
    assert_eq!(contents(&folder.path("p.db")).counts.dead_letters, 0);
}

#[test]
fn a_file_that_is_followed_and_written_anew_in_place_is_told() {
    // As long as what was there, or longer: the size does not tell.
    for anew in ["{\"id\":3}\n{\"id\":4}\n", "{\"id\":100}\n{\"id\":101}\n{\"id\":102}\n"] {
        let folder = Folder::with(NAMES);
        folder.write("events.jsonl", "{\"id\":1}\n{\"id\":2}\n");
        let mut command = follow(&folder);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("weir can be started");
        wait_for_position(&folder, "2");
        let file = OpenOptions::new().write(true).open(folder.path("events.jsonl"));
        let mut file = file.expect("the file is there");
        file.write_all(anew.as_bytes()).expect("it can be written");
        wait_until("the end of weir", || {
            process.try_wait().is_ok_and(|status| status.is_some())
        });
        let output = process.wait_with_output().expect("weir ended");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("was replaced or cut while it was followed, after line 2"),
            "{said}"
        );
        assert_eq!(rows(&folder), ["1 ", "2 "]);
    }
}

/// Whether the database holds that position.
fn query_is(folder: &Folder, position: &str) -> bool {
    let connection =
        rusqlite::Connection::open_with_flags(folder.path("p.db"), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
    let found = connection.and_then(|connection| {
        connection.query_row("SELECT CAST(position AS TEXT) FROM weir_pipeline", [], |row| {
            row.get::<_, String>(0)
        })
    });
    found.is_ok_and(|found| found == position)
}

#[test]
fn events_come_from_a_pipe_too() {
    let folder = Folder::with(NAMES);
    for (number, input) in ["-", "/dev/stdin"].iter().enumerate() {
        let database = format!("p{number}.db");
        let mut command = super::weir().command();
        command
            .args(["replay", "p.toml", "--input", input, "--database", &database])
            .current_dir(folder.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let mut process = command.spawn().expect("weir can be started");
        let mut pipe = process.stdin.take().expect("standard input is a pipe");
        pipe.write_all(b"{\"id\":1}\n{\"id\":2,\"na").expect("weir reads");
        drop(pipe);
        assert!(process.wait().expect("weir ends").success());
        let found = contents(&folder.path(&database));
        assert_eq!(
            (found.counts.applied, found.counts.dead_letters),
            (1, 1),
            "a pipe that ended is over"
        );
    }
}

#[test]
fn what_is_no_text_is_told_what_it_is() {
    let folder = Folder::with(NAMES);
    let utf_16: Vec<u8> = "{\"id\":1}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, said) in [
        (
            &b"\x1f\x8b\x08\0\0\0\0\0"[..],
            "is compressed with gzip; unpack it first, with `gunzip`",
        ),
        (b"\x28\xb5\x2f\xfd\0", "is compressed with zstd"),
        (&[&b"\xff\xfe"[..], &utf_16].concat(), "is UTF-16; accepted is UTF-8"),
        (&utf_16, "is UTF-16; accepted is UTF-8"),
        (b"\xef\xbb\xbf{\"id\":1}\n", "begins with a byte-order mark; remove it"),
    ] {
        folder.write("f", bytes);
        for command in [
            "replay p.toml --input f --database p.db",
            "replay p.toml --input f --discard",
            "check f",
        ] {
            folder.weir(command).ends_with(2).says(said);
        }
        assert!(!folder.path("p.db").exists(), "{said}");
    }
}

#[test]
fn what_never_ends_is_refused() {
    let folder = Folder::with(NAMES);
    make_pipe(&folder, "pipe");
    std::os::unix::fs::symlink("/dev/zero", folder.path("zero")).expect("a link can be made");
    folder.write("events.jsonl", "{\"id\":1}\n");
    folder.write("certificate.pem", "-----BEGIN CERTIFICATE-----\n");
    for (command, said) in [
        (
            "check pipe",
            "cannot read pipeline file pipe: it is a pipe; accepted is a file",
        ),
        (
            "check zero",
            "cannot read pipeline file zero: it is a device; accepted is a file",
        ),
        (
            "check .",
            "there is no pipeline in .; a folder with one has a pipeline.toml, or is a project",
        ),
        ("run pipe", "it is a pipe"),
        ("replay pipe --input events.jsonl --discard", "it is a pipe"),
        (
            "replay p.toml --input zero --discard",
            "zero:1: the line has more than 68157440 bytes",
        ),
        ("replay p.toml --input . --discard", "cannot read .: it is a folder"),
        (
            "run p.toml --creds pipe",
            "cannot read credentials pipe: it is a pipe; accepted is a file",
        ),
        (
            "run p.toml --tls-ca zero",
            "cannot read CA certificates zero: it is a device",
        ),
        (
            "run p.toml --tls-cert pipe --tls-key p.toml",
            "cannot read client certificate pipe: it is a pipe",
        ),
        (
            "run p.toml --tls-cert certificate.pem --tls-key pipe",
            "cannot read client key pipe: it is a pipe",
        ),
    ] {
        folder.weir(command).ends_with(2).says(said);
    }
}

#[test]
fn a_line_without_end_is_refused_and_takes_no_more_than_its_bound() {
    let folder = Folder::with(NAMES);
    let zero = fs::File::open("/dev/zero").expect("the device is there");
    let mut command = super::weir().command();
    command
        .args(["replay", "p.toml", "--input", "-", "--discard"])
        .current_dir(folder.0.path())
        .stdin(zero);
    let output = command.output().expect("weir can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("-:1: the line has more than 68157440 bytes"), "{said}");
}

/// Events of which no declared column is found: each is a row of nulls, nothing is rejected, and that is said, once.
#[test]
fn events_without_any_declared_column_are_a_warning() {
    let said = "no declared column was found in";
    let other = "{\"key\": {\"id\": 1}, \"ti\\u001b[31mtle\": 2}\n";
    let known = "{\"amount\": null}\n";
    for (events, expected) in [
        (
            other.repeat(3),
            Some(
                "all 3 events, so all columns are null: looked for id, name, amount, and the payloads have key.id, ti\\u{1b}[31mtle; give",
            ),
        ),
        (other.repeat(250), Some("the first 100 events, so")),
        // One that comes too late to be among them, and one that is the last of them.
        (
            format!("{}{known}", other.repeat(100)),
            Some("the first 100 events, so"),
        ),
        (format!("{}{known}", other.repeat(99)), None),
        (
            "{}\n".to_owned(),
            Some(
                "the only event, so all columns are null: looked for id, name, amount, and the payloads have no members; give",
            ),
        ),
        // What is rejected is no event, and said anyhow.
        ("broken\n".repeat(3), None),
        (String::new(), None),
    ] {
        let folder = Folder::with(NAMES);
        let outcome = folder.replay(&events).ends_with(0);
        assert_eq!(
            outcome.stderr.matches(said).count(),
            usize::from(expected.is_some()),
            "{}",
            outcome.stderr
        );
        if let Some(expected) = expected {
            assert!(
                outcome.stderr.contains(&format!("names: {said} {expected}")),
                "{}",
                outcome.stderr
            );
        }
    }
}

/// Each input is judged by its own events, a `path` is shown with the column, and a test says it once for a case.
#[test]
fn inputs_without_any_declared_column_are_named() {
    let pipeline = "name = \"p\"\nsource.stream = \"S\"\n\
         source.input.a = { subject = \"s.a\", columns = { id = \"int\" } }\n\
         source.input.b = { subject = \"s.b\", columns = { city = { type = \"text\", path = \"address.city\" } } }\n\
         [[sink]]\nfrom = \"a\"\ntable = \"a\"\n[[sink]]\nfrom = \"b\"\ntable = \"b\"\n";
    let event = |input: &str, payload: &str| format!("{{\"subject\":\"s.{input}\",\"payload\":{payload}}}\n");
    let of_a = event("a", "{\"id\":1}");
    let wrong = event("b", "{\"adress\":{\"city\":\"x\"}}");
    let said = "p: no declared column was found in all 2 events of input \"b\" (s.b), so all columns are null: looked for city at \
                address.city, and the payloads have adress.city; give";
    for (last, expected) in [
        (wrong.clone(), 1),
        (event("b", "{\"address\":{\"city\":\"x\"}}"), 0),
        (event("b", "{\"address\":null}"), 0),
    ] {
        let folder = Folder::with(pipeline);
        let events = [of_a.clone(), wrong.clone(), of_a.clone(), last].concat();
        let outcome = folder.replay(&events).ends_with(0);
        assert_eq!(outcome.stderr.matches(said).count(), expected, "{}", outcome.stderr);
        fs::create_dir_all(folder.path("cases/first")).expect("a folder can be made");
        folder.write("pipeline.toml", pipeline);
        folder.write("cases/first/input.jsonl", &events);
        let outcome = folder.weir("test --update").ends_with(0);
        assert_eq!(outcome.stderr.matches(said).count(), expected, "{}", outcome.stderr);
    }
}
