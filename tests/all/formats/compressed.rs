//! Payloads that are compressed, as the pipeline file or the header of each message says.

use crate::weir;
use std::{fs, sync::Arc};
use weir::{definition::File, plan::Plan};
use weir_tests::{
    replay::{Run, host},
    scratch,
    table::{Cell, Contents, contents},
};

/// `{"id": 1, "amount": 12.50}`, by Python's gzip.
const ONE_IN_GZIP: &str = "H4sIAAAAAAACA6tWykxRslIw1FFQSszNL80rAXGM9EwNagFTAB+hGgAAAA==";
/// `{"id": 2, "amount": 0.10}`, by pyarrow.
const TWO_IN_ZSTD: &str = "KLUv/SAZyQAAeyJpZCI6IDIsICJhbW91bnQiOiAwLjEwfQ==";
/// `{"id": 3}`.
const THREE: &str = "eyJpZCI6IDN9";

fn pipeline(compression: &str, amount: &str, columns: &str) -> String {
    format!(
        "name = 'p'\nsource = {{ stream = 'S', subject = 's', compression = '{compression}', columns = {{ id = 'int', amount = '{amount}' }} }}\n\
         [[sink]]\ntable = 't'\ncolumns = [{columns}]\n"
    )
}

fn line(payload: &str, encoding: &str) -> String {
    format!("{{\"subject\": \"s\", \"headers\": {{{encoding}}}, \"payload_base64\": \"{payload}\"}}\n")
}

fn run(compression: &str, input: &str, batch: usize) -> Contents {
    let file = File::from_text("p.toml", pipeline(compression, "decimal(6, 2)", "'id', 'amount'"));
    let plan = Arc::new(Plan::build(&file, host()).expect("the pipeline is fine"));
    let run = Run {
        plan: &plan,
        lookup_rows: b"",
        input: input.as_bytes(),
        batches: &[batch],
        stops: &[1, 2],
    };
    run.contents()
}

#[test]
fn each_payload_is_compressed_as_its_header_says() {
    let input = [
        line(ONE_IN_GZIP, r#""Content-Encoding": "gzip""#),
        line(TWO_IN_ZSTD, r#""content-encoding": "zstd", "Other": "gzip""#),
        line(THREE, r#""Content-Encoding": "identity""#),
        line(THREE, ""),
        line(THREE, r#""Content-Encoding": "br""#),
        line(ONE_IN_GZIP, r#""Content-Encoding": "zstd""#),
        line(TWO_IN_ZSTD, ""),
    ]
    .concat();
    for batch in [1, 7] {
        let found = run("header", &input, batch);
        let expected = [
            [Cell::Int(1), Cell::Double(12.5)],
            [Cell::Int(2), Cell::Double(0.1)],
            [Cell::Int(3), Cell::Null],
            [Cell::Int(3), Cell::Null],
        ];
        assert_eq!(found.tables["t"].rows, expected);
        let reasons: Vec<(u64, &str)> = found
            .dead_letters
            .iter()
            .map(|letter| {
                (
                    letter.sequence,
                    letter.reason.split([':', ';']).next().unwrap_or_default(),
                )
            })
            .collect();
        assert_eq!(
            reasons,
            [
                (5, "found \"br\" in header \"Content-Encoding\""),
                (6, "found a payload that is not whole, or not compressed with zstd"),
                (7, "found `(\u{fffd}/\u{fffd} \\u{19}\u{fffd}\\0\\0{\"id\""),
            ]
        );
    }
}

#[test]
fn a_key_says_it_for_all_payloads_whatever_their_headers_are() {
    for (compression, payload, row) in [
        ("gzip", ONE_IN_GZIP, [Cell::Int(1), Cell::Double(12.5)]),
        ("zstd", TWO_IN_ZSTD, [Cell::Int(2), Cell::Double(0.1)]),
    ] {
        let input = line(payload, r#""Content-Encoding": "br""#) + &line(THREE, "");
        let found = run(compression, &input, 7);
        assert_eq!(found.tables["t"].rows, [row], "{compression}");
        let [letter] = &found.dead_letters[..] else {
            panic!("{compression}: {:?}", found.dead_letters);
        };
        assert_eq!(letter.sequence, 2);
    }
}

/// A dead letter keeps the payload as it came, and the header that says how to read it.
#[test]
fn a_dead_letter_is_read_again_as_its_header_says() {
    let folder = scratch();
    let write = |amount: &str| {
        fs::write(folder.path().join("p.toml"), pipeline("header", amount, "'id'")).expect("it can be written");
    };
    let input = line(TWO_IN_ZSTD, r#""Content-Encoding": "zstd""#);
    fs::write(folder.path().join("input.jsonl"), input).expect("it can be written");
    write("decimal(6, 0)");
    let weir = |line: &str| weir().run_in(folder.path(), line.split_whitespace());
    weir("replay p.toml --input input.jsonl --database p.db");
    assert_eq!(contents(&folder.path().join("p.db")).dead_letters.len(), 1);
    write("decimal(6, 2)");
    weir("dead-letters retry p.toml --database p.db --all").ends_with(0);
    let found = contents(&folder.path().join("p.db"));
    assert_eq!(found.dead_letters, []);
    assert_eq!(found.tables["t"].rows, [[Cell::Int(2)]]);
}
