//! The command as a user meets it: help, exit codes, what goes to which stream, and what is said when something is wrong.

mod audit;
mod cases;
mod databases;
mod dead_letters;
mod diff;
mod explain;
mod export;
mod files;
mod forms;
mod json;
mod modes;
mod own_aggregates;
mod table_load;
mod terminal;
mod what_if;

use super::weir;
use expect_test::expect_file;
use std::{
    fs,
    path::{Path, PathBuf},
};
use weir_tests::{command::Outcome, pipeline, scratch, workspace};

/// A pipeline without guests: the last name and amount of each id.
const NAMES: &str = r#"
name = "names"
source = { stream = "S", subject = "s", columns = { id = "int", name = "text", amount = "double" } }
[[step]]
name = "latest"
last_value = { key = ["id"] }
[[sink]]
table = "names"
primary_key = ["id"]
"#;

/// A folder with a pipeline file, and commands that run in it.
struct Folder(tempfile::TempDir);

impl Folder {
    /// One that holds `p.toml`.
    fn with(pipeline: &str) -> Self {
        let folder = Self(scratch());
        folder.write("p.toml", pipeline);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).expect("a file of the test can be written");
    }

    /// Runs a command line in the folder.
    #[track_caller]
    fn weir(&self, arguments: &str) -> Outcome {
        weir().run_in(self.0.path(), arguments.split_whitespace())
    }

    /// Replays `lines` through `p.toml` into `p.db`.
    #[track_caller]
    fn replay(&self, lines: impl AsRef<[u8]>) -> Outcome {
        self.write("events.jsonl", lines);
        self.weir("replay p.toml --input events.jsonl --database p.db")
    }
}

/// The names of a command's subcommands.
fn subcommands(command: &[&str]) -> Vec<String> {
    let help = weir().run(command.iter().chain(&["--help"])).ends_with(0).stdout;
    let lines = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    // A line that goes on with the description of the one before is indented further.
    let names = lines
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_shows_an_example() {
    let commands = subcommands(&[]);
    assert!(commands.len() >= 5, "{commands:?}");
    for command in &commands {
        let below = subcommands(&[command]);
        let leaves = if below.is_empty() {
            vec![vec![&**command]]
        } else {
            below.iter().map(|leaf| vec![&**command, &**leaf]).collect()
        };
        for leaf in leaves {
            let help = weir().run(leaf.iter().copied().chain(["--help"])).ends_with(0);
            let example = format!("\n  weir {}", leaf.join(" "));
            assert!(
                help.stdout.contains("Example:") && help.stdout.contains(&example),
                "{leaf:?}\n{}",
                help.stdout
            );
            assert_eq!(help.stderr, "", "{leaf:?}");
        }
    }
}

#[test]
fn help_lists_the_exit_codes() {
    let help = weir().run(["--help"]).ends_with(0).stdout;
    for code in ["  0  ", "  1  ", "  2  ", "  3  "] {
        assert!(help.contains(code), "{code:?} is not in\n{help}");
    }
    weir().run(["--version"]).ends_with(0);
}

#[test]
fn a_replay_says_what_each_step_did() {
    let folder = Folder::with(NAMES);
    folder.write("events.jsonl", "{\"id\":1}\nbroken\n{\"id\":2}\n{\"id\":1}\n");
    let replay = "replay p.toml --input events.jsonl --discard";
    let json = folder.weir(&format!("{replay} --json")).ends_with(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("one object");
    let [source, latest] = json["step_metrics"].as_array().expect("a list").as_slice() else {
        panic!("an input and a step: {json}");
    };
    assert_eq!((&source["rows_in"], &source["rows_out"]["out"]), (&3.into(), &3.into()));
    assert_eq!((&latest["step"], &latest["rows_in"]), (&"latest".into(), &3.into()));
    assert_eq!(latest["state_entries"], 2);
    assert_eq!(json["module_metrics"], serde_json::json!([]));
    // People see it where they ask for more.
    let of_step = |line: &&str| line.split_whitespace().next() == Some("latest");
    assert!(
        !folder
            .weir(replay)
            .ends_with(0)
            .stdout
            .lines()
            .any(|line| of_step(&line))
    );
    let shown = folder.weir(&format!("{replay} -v")).ends_with(0).stdout;
    let line = shown.lines().find(of_step).expect("a line for the step");
    assert_eq!(line.split_whitespace().nth(1), Some("3"), "{shown}");
    assert!(line.contains(" % "), "{shown}");
}

#[test]
fn arguments_that_mean_nothing_end_with_2_and_say_what_is_accepted() {
    let folder = Folder::with(NAMES);
    folder.write("events.jsonl", "{}");
    let replay = "replay p.toml --input events.jsonl";
    for (arguments, said) in [
        ("", "Usage:"),
        ("frobnicate", "unrecognized subcommand 'frobnicate'"),
        ("replay", "<--input <FILE.jsonl>|--from-stream>"),
        (
            &format!("{replay} --database p.db --from-stream"),
            "cannot be used with",
        ),
        (&format!("{replay} --database p.db --from 7"), "cannot be used with"),
        (
            &format!("{replay} --database p.db --with latest"),
            "accepted is STEP=MODULE.wasm",
        ),
        (
            &format!("{replay} --database p.db --param latest=1"),
            "accepted is STEP.NAME=VALUE",
        ),
        (
            &format!("{replay} --database p.db --param latest.ratio=1"),
            "pipeline names has no stage \"latest\"; it has none",
        ),
        (replay, "--database <FILE>"),
        (&format!("{replay} --database p.db --discard"), "cannot be used with"),
        (
            &format!("{replay} --database p.db --batch 0"),
            "accepted is a number from 1 to 4096",
        ),
        (
            &format!("{replay} --database p.db --batch 4097"),
            "accepted is a number from 1 to 4096",
        ),
        (
            &format!("{replay} --database p.db --now noon"),
            "accepted is an instant in RFC 3339, such as 2026-03-15T12:00:00+08:00",
        ),
        (
            "replay nothing.toml --input events.jsonl --database p.db",
            "cannot read pipeline file nothing.toml: ",
        ),
        (
            "replay p.toml --input nothing.jsonl --database p.db",
            "cannot read nothing.jsonl: ",
        ),
        ("check nothing.toml", "cannot read pipeline file nothing.toml: "),
        ("check events.jsonl", "events.jsonl:1:"),
        (
            "table load p.toml names --input events.jsonl",
            "pipeline names has no lookup table \"names\"; it has none",
        ),
        ("dead-letters", "dead-letters [OPTIONS] <COMMAND>"),
        ("dead-letters list", "<DATABASE>"),
        ("diff a.db", "<B>"),
    ] {
        let outcome = folder.weir(arguments).ends_with(2).says(said);
        assert_eq!(outcome.stdout, "", "{arguments}");
    }
    for made in ["p.db", "p.db-lock"] {
        assert!(
            !folder.path(made).exists(),
            "{made} was made by a command that could not begin"
        );
    }
}

#[test]
fn a_file_has_no_store_times_so_now_has_to_be_said() {
    let folder = Folder::with(NAMES);
    folder.write("events.jsonl", "{}");
    let hourly = pipeline("hourly-orders");
    let replay = format!("replay {} --input events.jsonl --database h.db", hourly.display());
    let outcome = folder.weir(&replay).ends_with(2);
    outcome
        .says("step \"todays-orders\" reads the time")
        .says("--now 2026-03-15T12:00:00+08:00");
    folder
        .weir(&format!("{replay} --now 2026-03-15T12:00:00+08:00"))
        .ends_with(0);
}

#[test]
fn the_summary_of_a_replay_is_a_result() {
    let folder = Folder::with(NAMES);
    let outcome = folder
        .replay("{\"id\":1}\n\n{\"id\":2}\nbroken\n{\"id\":1,\"name\":\"a\"}\n")
        .ends_with(0)
        .says_nothing();
    let said: Vec<Vec<&str>> = outcome
        .stdout
        .lines()
        .map(|line| line.split_whitespace().take(3).collect())
        .collect();
    for line in [
        &["events", "5", "in"][..],
        &["applied", "3"],
        &["filtered", "0"],
        &["dead", "letters", "1"],
        &["empty", "1"],
        &["names", "2", "rows"],
    ] {
        assert!(
            said.contains(&line.to_vec()),
            "{line:?} is not said:\n{}",
            outcome.stdout
        );
    }
}

#[test]
fn discard_leaves_nothing_behind() {
    let folder = Folder::with(NAMES);
    folder.write("events.jsonl", "{\"id\":1}\n");
    let outcome = folder.weir("replay p.toml --input events.jsonl --discard").ends_with(0);
    assert!(outcome.stdout.contains("events"), "{}", outcome.stdout);
    let mut left: Vec<_> = fs::read_dir(folder.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["events.jsonl", "p.toml"]);
}

/// Each text in `check/` is what `weir check` draws of the scenario of that name. `UPDATE_EXPECT=1` writes it anew.
#[test]
fn check_draws_the_scenarios() {
    let texts = workspace().join("tests/all/check");
    let mut scenarios = 0;
    for text in fs::read_dir(&texts)
        .expect("the folder of texts can be read")
        .flatten()
        .map(|entry| entry.path())
    {
        let name = text
            .file_stem()
            .expect("a text has a name")
            .to_string_lossy()
            .into_owned();
        let outcome = weir().run(["check".as_ref(), pipeline(&name).as_os_str()]).ends_with(0);
        let outcome = outcome.says_nothing();
        expect_file![&text].assert_eq(&without_digests(&outcome.stdout));
        scenarios += 1;
    }
    assert!(scenarios >= 3, "{} texts in {}", scenarios, texts.display());
}

/// The text with every twelve hexadecimal digits in parentheses made the same: they change with each build of a guest.
pub(crate) fn without_digests(text: &str) -> String {
    let parts = text.split_inclusive('(').map(|part| match part.split_once(')') {
        Some((digest, rest)) if digest.len() == 12 && digest.bytes().all(|b| b.is_ascii_hexdigit()) => {
            format!("digest){rest}")
        }
        _ => part.to_owned(),
    });
    parts.collect()
}

/// The pipeline file of a folder, changed.
fn changed(from: &str, to: &str) -> String {
    assert!(NAMES.contains(from), "{from:?} is in the pipeline");
    NAMES.replace(from, to)
}

/// What SQLite says to `statements` on the database at `path`.
fn sql(path: &Path, statements: &str) {
    let connection = rusqlite::Connection::open(path).expect("the database can be opened");
    connection
        .execute_batch(statements)
        .unwrap_or_else(|cause| panic!("{statements}: {cause}"));
}

/// Makes a pipe that nobody writes to.
fn make_pipe(folder: &Folder, name: &str) {
    let made = std::process::Command::new("mkfifo").arg(folder.path(name)).status();
    assert!(made.expect("mkfifo can be started").success());
}
