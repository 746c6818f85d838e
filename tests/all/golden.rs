//! Golden cases through the command: the tables that the reference engine made, and every malformed line accounted for.

use super::weir;
use std::{path::Path, str};
use weir_tests::{
    golden::{Case, cases},
    oracle,
    table::{Counts, contents},
};

/// "Now" of the golden cases.
const NOW: &str = "2026-03-15T12:00:00+08:00";

#[test]
fn every_case_gives_the_tables_of_the_reference_engine() {
    for case in cases() {
        check(&case);
    }
}

#[track_caller]
fn check(case: &Case) {
    let folder = weir_tests::scratch();
    let database = folder.path().join("golden.db");
    if let Some(rows) = &case.lookup_start {
        let table = lookup_table(&case.pipeline);
        let arguments = [
            "table".as_ref(),
            "load".as_ref(),
            case.pipeline.as_os_str(),
            table.as_ref(),
        ];
        let options = [
            "--input".as_ref(),
            rows.as_os_str(),
            "--database".as_ref(),
            database.as_os_str(),
        ];
        weir().run(arguments.into_iter().chain(options)).ends_with(0);
    }
    let arguments = [
        "replay".as_ref(),
        case.pipeline.as_os_str(),
        "--input".as_ref(),
        case.input.as_os_str(),
    ];
    let options = [
        "--database".as_ref(),
        database.as_os_str(),
        "--now".as_ref(),
        NOW.as_ref(),
    ];
    weir().run(arguments.into_iter().chain(options)).ends_with(0);

    let contents = contents(&database);
    case.check(&contents);

    let input = case.input_bytes();
    let lines: Vec<&[u8]> = input
        .strip_suffix(b"\n")
        .unwrap_or(&input)
        .split(|&byte| byte == b'\n')
        .collect();
    let Counts {
        events,
        applied,
        filtered,
        dead_letters,
        empty,
        ..
    } = contents.counts;
    let name = &case.name;
    assert_eq!(events, lines.len() as u64, "{name}: every line is counted");
    assert_eq!(
        events,
        applied + filtered + dead_letters + empty,
        "{name}: the counts add up"
    );
    assert_eq!(
        contents.position,
        lines.len() as u64,
        "{name}: the position is the last line"
    );

    let columns = oracle::columns_of(&case.pipeline);
    if !oracle::knows(&columns) {
        // What it has to come to stands beside it, dead letters included.
        return;
    }
    let judged = || {
        lines
            .iter()
            .zip(1u64..)
            .map(|(line, number)| (number, oracle::decode(line, &columns)))
    };
    let of = |wanted: oracle::Outcome| {
        judged()
            .filter(move |(_, found)| *found == wanted)
            .map(|(number, _)| number)
    };
    let malformed: Vec<u64> = of(oracle::Outcome::Reject).collect();
    let found: Vec<u64> = contents.dead_letters.iter().map(|letter| letter.sequence).collect();
    let show = |numbers: &[u64], others: &[u64]| {
        let lines = numbers.iter().filter(|number| !others.contains(number));
        lines
            .map(|&number| String::from_utf8_lossy(lines_at(&input, number)).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (show(&found, &malformed), show(&malformed, &found)),
        (vec![], vec![]),
        "{name}: dead letters that are no malformed lines, and malformed lines that are no dead letters"
    );
    assert_eq!(
        dead_letters,
        found.len() as u64,
        "{name}: each malformed line is one dead letter"
    );
    assert_eq!(empty, of(oracle::Outcome::Blank).count() as u64, "{name}: empty lines");
    for letter in &contents.dead_letters {
        assert_eq!(
            letter.payload,
            lines_at(&input, letter.sequence),
            "{name}: the payload is kept byte for byte"
        );
        assert!(
            !letter.reason.is_empty() && letter.step == "decode",
            "{name}: {letter:?}"
        );
    }
}

/// The line with this number, from 1.
fn lines_at(input: &[u8], number: u64) -> &[u8] {
    input
        .split(|&byte| byte == b'\n')
        .nth(number as usize - 1)
        .unwrap_or_default()
}

/// The name of the pipeline's lookup table.
fn lookup_table(pipeline: &Path) -> String {
    let file = weir::definition::File::read(pipeline).expect("the pipeline file can be read");
    let definition = file.parse().expect("the pipeline file is one");
    let names: Vec<&String> = definition.tables.keys().collect();
    let [name] = names[..] else {
        panic!("{}: lookup tables {names:?}", pipeline.display())
    };
    name.clone()
}
