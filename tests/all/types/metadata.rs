//! Columns that are not in the payload: subject, headers, sequence and store time, in files and in dead letters.

use super::plan;
use weir_tests::{
    replay::Run,
    table::{Cell, Contents},
};

const PIPELINE: &str = r#"
name = "payments"
event_time = { column = "stored", out_of_orderness = "0 s" }
[source]
stream = "S"
subject = "pay.*.>"
[source.columns]
subject = { from = "subject" }
region = { from = "subject", token = 2 }
shop = { type = "int", from = "subject", token = 3 }
trace = { from = "header", name = "Trace-Id" }
amount = { type = "decimal(6, 2)", from = "header", name = "Amount" }
sent = { type = "timestamp", from = "header", name = "Sent", format = "ms" }
live = { type = "boolean", from = "header", name = "Live" }
sequence = { from = "sequence" }
stored = { from = "store_time", required = true }
sku = { type = "text", path = ["items", 1, "sku"] }
tags = "list(text)"

[[sink]]
table = "payments"
columns = ["subject", "region", "shop", "trace", "amount", "sent", "live", "sequence", "stored", "sku", "tags"]
"#;

fn run(pipeline: &str, input: &str, batch: usize, stops: &[usize]) -> Contents {
    let run = Run {
        plan: &plan(pipeline),
        lookup_rows: b"",
        input: input.as_bytes(),
        batches: &[batch],
        stops,
    };
    run.contents()
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

#[test]
fn a_line_says_what_a_message_has_beside_its_payload() {
    let input = r#"{"subject": "pay.eu.7", "headers": {"Trace-Id": "a", "Amount": "-12.50", "Sent": "1773547200250.5", "Live": "true"}, "sequence": 41, "store_time": "2026-03-15T12:00:00+08:00", "payload": {"items": [1, {"sku": "x"}], "tags": ["a", null]}}
{"subject": "pay.us.8.more", "headers": {"trace-id": "b", "Trace-Id": ["c", "d"]}, "store_time": 1773547200001, "payload": {}}
{"payload": {"items": []}, "store_time": 1773547200002, "subject": "pay.us.9"}
"#;
    for batch in [1, 7, 256, 4096] {
        for stops in [&[][..], &[1, 2]] {
            let found = run(PIPELINE, input, batch, stops);
            assert_eq!(found.dead_letters, []);
            let expected = [
                vec![
                    text("pay.eu.7"),
                    text("eu"),
                    Cell::Int(7),
                    text("a"),
                    Cell::Double(-12.5),
                    text("2026-03-15T04:00:00.250500Z"),
                    Cell::Int(1),
                    Cell::Int(41),
                    text("2026-03-15T04:00:00.000000Z"),
                    text("x"),
                    text(r#"["a",null]"#),
                ],
                vec![
                    text("pay.us.8.more"),
                    text("us"),
                    Cell::Int(8),
                    text("c"),
                    Cell::Null,
                    Cell::Null,
                    Cell::Null,
                    Cell::Int(2),
                    text("2026-03-15T04:00:00.001000Z"),
                    Cell::Null,
                    Cell::Null,
                ],
                vec![
                    text("pay.us.9"),
                    text("us"),
                    Cell::Int(9),
                    Cell::Null,
                    Cell::Null,
                    Cell::Null,
                    Cell::Null,
                    Cell::Int(3),
                    text("2026-03-15T04:00:00.002000Z"),
                    Cell::Null,
                    Cell::Null,
                ],
            ];
            assert_eq!(
                found.tables["payments"].rows, expected,
                "batches of {batch}, stops {stops:?}"
            );
        }
    }
}

/// The only dead letter of a line.
#[track_caller]
fn reason(line: &str) -> String {
    let found = run(PIPELINE, &format!("{line}\n"), 7, &[]);
    let [letter] = &found.dead_letters[..] else {
        panic!("{line}: {:?}", found.dead_letters);
    };
    assert_eq!(found.tables["payments"].rows, Vec::<Vec<Cell>>::new(), "{line}");
    letter.reason.clone()
}

#[test]
fn what_does_not_fit_is_a_dead_letter_with_its_place() {
    let at = r#""store_time": 0"#;
    for (line, expected) in [
        (
            format!(r#"{{"subject": "pay.eu.x7", {at}, "payload": {{}}}}"#),
            "column \"shop\": found the text \"x7\" in the subject; accepted is a number written as an integer from -2^63 to 2^63-1, or null",
        ),
        (
            format!(r#"{{"subject": "pay.eu.7", {at}, "headers": {{"Amount": "1,5"}}, "payload": {{}}}}"#),
            "column \"amount\": found the text \"1,5\" in header \"Amount\"; accepted is a number of at most 4 digits in front of the \
             point and 2 behind it, or null",
        ),
        (
            r#"{"subject": "pay.eu.7", "payload": {}}"#.to_owned(),
            "column \"stored\": found null, or nothing; accepted is a value, since the column is required",
        ),
        (
            r#"{"subject": "pay.eu.7", "store_time": 253402300800000, "payload": {}}"#.to_owned(),
            "column \"stored\": found the store time 253402300800000; accepted are milliseconds since 1970-01-01T00:00:00Z, of the years \
             0 to 9999",
        ),
        (
            r#"{"subject": "pay.eu.7", "store_time": -62167219200001, "payload": {}}"#.to_owned(),
            "column \"stored\": found the store time -62167219200001; accepted are milliseconds since 1970-01-01T00:00:00Z, of the years \
             0 to 9999",
        ),
        (
            "{}".to_owned(),
            "column \"subject\": found no subject, which it is read from; accepted is a line {\"subject\": \"…\", \"payload\": …}",
        ),
        (
            r#"{"subject": "pay.eu.7", "headers": {"a": 1}, "payload": {}}"#.to_owned(),
            "the line: member \"headers\" is {\"a\": 1}; accepted is an object of texts and lists of texts, such as {\"Trace-Id\": \"7f\"}",
        ),
        (
            r#"{"subject": "pay.eu.7", "sequence": -1, "payload": {}}"#.to_owned(),
            "the line: member \"sequence\" is -1; accepted is a number from 0 to 2^63-1",
        ),
        (
            r#"{"subject": "pay.eu.7", "store_time": "noon", "payload": {}}"#.to_owned(),
            "the line: member \"store_time\" is \"noon\"; accepted is a time such as \"2026-03-15T12:00:00.250+08:00\", or milliseconds \
             since 1970-01-01T00:00:00Z",
        ),
        (
            r#"{"subject": "pay.eu.7", "payload_base64": "e30"}"#.to_owned(),
            "the line: member \"payload_base64\" is \"e30\"; accepted is a text of bytes in base64, with padding",
        ),
        (
            r#"{"subject": "pay.eu.7", "payload": {}, "payload_text": "{}"}"#.to_owned(),
            "the line: found the name a second time at byte 40; accepted is each member once",
        ),
        (
            format!(r#"{{"subject": "pay.eu.7", {at}, "payload": {{"items": {{}}}}}}"#),
            "column \"sku\": found `{` at byte 10; accepted is an array or null, since the column's path leads through it",
        ),
        (
            format!(r#"{{"subject": "pay.eu.7", {at}, "payload": {{"items": [1, 2]}}}}"#),
            "column \"sku\": found `2` at byte 14; accepted is an object or null, since the column's path leads through it",
        ),
    ] {
        assert_eq!(reason(&line), expected, "{line}");
    }
}

#[test]
fn a_payload_that_is_no_json_of_a_line_is_a_text_or_base64() {
    let input = r#"{"subject": "pay.eu.1", "store_time": 0, "payload_text": "{\"tags\": [\"ä\"]}"}
{"subject": "pay.eu.2", "store_time": 0, "payload_base64": "eyJ0YWdzIjogWyJiIl19"}
"#;
    let found = run(PIPELINE, input, 7, &[]);
    assert_eq!(found.dead_letters, []);
    let tags: Vec<&Cell> = found.tables["payments"].rows.iter().map(|row| &row[10]).collect();
    assert_eq!(tags, [&text(r#"["ä"]"#), &text(r#"["b"]"#)]);
}

#[test]
fn an_input_with_one_subject_has_it_without_a_word() {
    let pipeline = "name = 'p'\nsource = { stream = 'S', subject = 'a.b', columns = { s = { from = 'subject' }, q = { from = 'sequence' } } }\n\
                    [[sink]]\ntable = 't'\n";
    let found = run(pipeline, "{}\n\n{}\n", 7, &[]);
    let expected = [vec![text("a.b"), Cell::Int(1)], vec![text("a.b"), Cell::Int(3)]];
    assert_eq!(found.tables["t"].rows, expected);
}
