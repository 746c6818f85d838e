//! Pipeline files with a mistake: each is told with file, line, column, key, and what would be accepted.
//!
//! A case is a file in `pipelines/`. Its first line says what is expected after the file's name: `# error: 7:10: key …`,
//! or, where an ending depends on the machine, its beginning and `…`. `UPDATE_EXPECT=1` writes what is said now.

use std::{fs, path::Path};
use weir::{definition::File, error::ErrorKind, plan::Plan};
use weir_tests::{replay::host, workspace};

/// How a case begins.
const MARK: &str = "# error: ";

#[test]
fn mistakes_are_told_with_their_place() {
    let folder = workspace().join("tests/all/pipelines");
    let entries = fs::read_dir(&folder)
        .expect("the folder of cases can be read")
        .flatten()
        .map(|entry| entry.path());
    let mut cases: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "there are cases in {}", folder.display());
    let wrong: Vec<String> = cases.iter().filter_map(|case| check(case).err()).collect();
    assert!(
        wrong.is_empty(),
        "UPDATE_EXPECT=1 takes over what is said:\n{}",
        wrong.join("\n")
    );
}

/// Checks one case; the error is what differs.
fn check(case: &Path) -> Result<(), String> {
    let text = fs::read_to_string(case).expect("a case can be read");
    let (first, rest) = text.split_once('\n').expect("a case has lines");
    let name = case.file_name().expect("a case has a name").to_string_lossy();
    let Err(error) = Plan::build(&File::from_text(case, &*text), host()) else {
        return Err(format!("{name}: is accepted"));
    };
    assert_eq!(error.kind(), ErrorKind::Definition, "{name}: {error}");
    let error = error.to_string();
    let said = error.strip_prefix(&format!("{}:", case.display())).unwrap_or(&error);
    // Paths in messages are those of this machine.
    let said = said.replace(&format!("{}/", workspace().display()), "");
    let expected = first.strip_prefix(MARK).unwrap_or_default();
    let is_expected = match expected.strip_suffix('…') {
        Some(beginning) => said.starts_with(beginning),
        None => said == expected,
    };
    if is_expected {
        let mut place = said
            .splitn(3, ':')
            .take(2)
            .map(|number| number.parse::<usize>().is_ok());
        return if place.all(|is_number| is_number) {
            Ok(())
        } else {
            Err(format!("{name}: no place: {said}"))
        };
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(case, format!("{MARK}{}\n{rest}", said.replace('\n', "\\n"))).expect("a case can be written");
    }
    Err(format!("{name}\n  expected {expected}\n  said     {said}"))
}

/// What SQLite does not take as a table is told with its place, before there is a table.
#[test]
fn a_table_is_one_that_sqlite_takes() {
    let pipeline = |columns: usize, key: usize| {
        let names: Vec<String> = (0..columns).map(|number| format!("c{number}")).collect();
        let declared: Vec<String> = names.iter().map(|name| format!("{name} = \"int\"\n")).collect();
        let key = match key {
            0 => String::new(),
            key => format!("primary_key = {:?}\n", &names[..key]),
        };
        let declared = declared.concat();
        let text = format!(
            "name = \"wide\"\n[source]\nstream = \"S\"\nsubject = \"s\"\n[source.columns]\n{declared}[[sink]]\ntable = \"t\"\n{key}"
        );
        Plan::build(&File::from_text("wide.toml", text), host())
    };
    for (columns, key, said) in [
        (
            2001,
            0,
            "wide.toml:2008:9: key `table`: table \"t\" has 2001 columns; SQLite takes 2000",
        ),
        (
            1000,
            1000,
            "wide.toml:1007:9: key `table`: table \"t\" has 1000 columns in its primary key; SQLite takes 999",
        ),
    ] {
        let error = pipeline(columns, key).expect_err("it is refused");
        assert_eq!(error.to_string(), said);
    }
    // And what is accepted, SQLite takes.
    for (columns, key) in [(2000, 0), (2000, 999)] {
        let plan = std::sync::Arc::new(pipeline(columns, key).expect("it is accepted"));
        let run = weir_tests::replay::Run {
            plan: &plan,
            lookup_rows: b"",
            input: b"{\"c0\": 1}\n{\"c0\": 1}\n",
            batches: &[1],
            stops: &[1],
        };
        assert_eq!(run.contents().counts.applied, 2);
    }
}

/// A sink between two steps shows the rows of the first, wherever the two stand in the lists that TOML makes of them.
#[test]
fn a_sink_reads_the_step_right_above_it() {
    let source = "stream = \"S\"\nsubject = \"s\"\ncolumns = { id = \"int\", name = \"text\" }\n";
    let by_id = "[[step]]\nname = \"by-id\"\ndeduplicate = { key = [\"id\"] }\n";
    let by_name = "[[step]]\nname = \"by-name\"\ndeduplicate = { key = [\"name\"] }\n";
    let [a, b] = ["a", "b"].map(|table| format!("[[sink]]\ntable = \"{table}\"\n"));
    let (a, b) = (a.as_str(), b.as_str());
    let unread = by_name.replace("deduplicate", "unread = true\ndeduplicate");
    for (parts, rows) in [
        ([by_id, a, by_name, b], [("a", 3), ("b", 2)].as_slice()),
        ([a, by_id, by_name, b], &[("a", 4), ("b", 2)]),
        ([by_id, by_name, b, a], &[("a", 2), ("b", 2)]),
        ([by_id, a, unread.as_str(), ""], &[("a", 3)]),
    ] {
        let text = format!("name = \"p\"\n[source]\n{source}{}", parts.concat());
        let plan =
            Plan::build(&File::from_text("p.toml", &*text), host()).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let run = weir_tests::replay::Run {
            plan: &std::sync::Arc::new(plan),
            lookup_rows: b"",
            input: b"{\"id\": 1, \"name\": \"x\"}\n{\"id\": 1, \"name\": \"y\"}\n{\"id\": 2, \"name\": \"y\"}\n{\"id\": 3, \"name\": \"y\"}\n",
            batches: &[4],
            stops: &[],
        };
        let contents = run.contents();
        for (table, count) in rows {
            let found = &contents.tables[*table];
            assert_eq!(found.rows.len(), *count, "rows of table {table} of\n{text}");
        }
    }
}
