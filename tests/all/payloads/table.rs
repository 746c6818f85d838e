//! Payloads one by one: their shape, names, nesting, bytes and size. What the second decoder thinks of each is checked as well, so that it can be trusted with more.

use super::{column, decode, decoder, for_oracle, number, unread};
use weir::{
    model::column::ColumnType::{Boolean, Double, Int, Text},
    model::path::ValuePath,
    plan::{Place, SourceColumn},
};
use weir_tests::oracle::{self, Outcome};

/// The declared columns; expected rows are their cells in this order.
fn columns() -> Vec<SourceColumn> {
    let dotted = SourceColumn {
        place: Place::Payload(ValuePath::of_names(["a.b"])),
        ..column("dotted", Int)
    };
    vec![
        column("id", Int),
        column("price", Double),
        column("paid", Boolean),
        column("name", Text),
        number("premium"),
        column("address.city", Text),
        column("address.geo.lat", Double),
        dotted,
    ]
}

/// Checks one payload: `expected` is `blank`, `row` with the cells that are not null, or `dead` with a part of the reason.
#[track_caller]
pub(crate) fn check(payload: impl AsRef<[u8]>, expected: &str) {
    let payload = payload.as_ref();
    let start = &payload[..payload.len().min(200)];
    let shown = String::from_utf8_lossy(start);
    let columns = columns();
    let found = decode(&mut decoder(&columns), &columns, &[payload]).remove(0);
    let said = match &found {
        (Outcome::Blank, _) => "blank".to_owned(),
        (Outcome::Reject, reason) => format!("dead {reason}"),
        (Outcome::Row(cells), _) => {
            let set = columns
                .iter()
                .zip(cells)
                .filter(|(_, cell)| format!("{cell:?}") != "null");
            let cells: Vec<String> = set
                .map(|(column, cell)| format!(" {}={cell:?}", column.field.name))
                .collect();
            format!("row{}", cells.concat())
        }
    };
    let is_expected = match expected.starts_with("dead ") {
        true => said.starts_with("dead ") && said.contains(&expected[5..]),
        false => said == expected,
    };
    assert!(is_expected, "{shown}\n  expected {expected}\n  found    {said}");
    assert_eq!(
        oracle::decode(payload, &for_oracle(&columns)),
        found.0,
        "the oracle on {shown}"
    );

    // A column that nobody reads is checked all the same.
    let unread: Vec<SourceColumn> = columns.into_iter().map(unread).collect();
    let (outcome, reason) = decode(&mut decoder(&unread), &unread, &[payload]).remove(0);
    // What a text has to look like is looked at once it is there, so such a column is always held (see `plan`).
    let formatted = reason.is_empty() && said.contains("finite number in decimal");
    assert!(
        formatted || outcome == found.0 || matches!((&outcome, &found.0), (Outcome::Row(_), Outcome::Row(_))),
        "{shown}"
    );
    assert!(formatted || reason == found.1, "{shown}: {reason}");
}

#[test]
fn a_missing_member_is_null_and_an_undeclared_one_is_nothing() {
    check("{}", "row");
    check(r#"{"id":7}"#, "row id=7");
    check(
        r#"{"id":null,"price":null,"paid":null,"name":null,"premium":null,"address":null,"a.b":null}"#,
        "row",
    );
    check(r#"{"other":[1,{"id":2}],"id":7,"idd":8,"i":9,"":0}"#, "row id=7");
    check(" \t\r\n{ \"id\" :\n7 , \"paid\"\t: true }\r\n", "row id=7 paid=1");
    check(r#"{"\u0069\u0064":7}"#, "row id=7");
    check(r#"{"\ud800":1,"id":7}"#, "row id=7");
}

#[test]
fn nothing_and_white_space_are_blank() {
    for blank in ["", " ", "\t", "\r", "\n", " \r\n\t ", &" ".repeat(100_000)] {
        check(blank, "blank");
    }
    for other in ["\u{a0}", "\u{c}", "\u{b}", "\0", "\u{2003}", "\u{feff}"] {
        check(other, "dead accepted is one JSON object");
    }
}

#[test]
fn what_is_no_single_json_object_is_dead() {
    for other in [
        "[]", "1", "\"{}\"", "null", "true", "nul", "}", ",", "-", "[{}]", "NaN", "//", "'a'",
    ] {
        check(other, "dead accepted is one JSON object");
    }
    for rest in [
        "{}{}",
        "{} {}",
        "{},",
        "{}]",
        "{}\0",
        "{}a",
        "{} 1",
        "{}\u{feff}",
        "{}//",
    ] {
        check(rest, "dead accepted is nothing after the object");
    }
    check("\u{feff}{}", "dead accepted is one JSON object");
    for open in [
        "{",
        "{ ",
        "{\"",
        "{\"id",
        "{\"id\"",
        "{\"id\":",
        "{\"id\":7",
        "{\"id\":7 ",
        "{\"id\":7,",
        "{\"id\":7,\"",
        "{\"x\":[",
        "{\"x\":{",
    ] {
        check(open, "dead ");
    }
    check(r#"{"id":7,}"#, "dead accepted is a member's name in quotes");
    check(r#"{,"id":7}"#, "dead accepted is a member's name in quotes");
    check(r#"{id:7}"#, "dead accepted is a member's name in quotes");
    check(r#"{'id':7}"#, "dead accepted is a member's name in quotes");
    check(r#"{7:7}"#, "dead accepted is a member's name in quotes");
    check(r#"{"id" 7}"#, "dead accepted is a colon");
    check(r#"{"id"=7}"#, "dead accepted is a colon");
    check(r#"{"id":7 "paid":true}"#, "dead accepted is a comma or a closing brace");
    check(r#"{"id":7;}"#, "dead accepted is a comma or a closing brace");
    check(r#"{"x":[1,]}"#, "dead ");
    check(r#"{"x":[1 2]}"#, "dead accepted is a comma or a closing bracket");
    check(r#"{"x":[}"#, "dead ");
    check(r#"{"x":{]}"#, "dead ");
    check(r#"{/* none */"id":7}"#, "dead ");
    check("{\"id\":7}\r\n", "row id=7");
}

#[test]
fn a_declared_name_occurs_once() {
    check(
        r#"{"id":1,"id":1}"#,
        "dead column \"id\": found the name a second time at byte 9",
    );
    check(
        r#"{"id":null,"id":null}"#,
        "dead column \"id\": found the name a second time",
    );
    check(
        r#"{"id":1,"\u0069d":2}"#,
        "dead column \"id\": found the name a second time",
    );
    check(
        r#"{"\u0069d":1,"id":2}"#,
        "dead column \"id\": found the name a second time",
    );
    check(
        r#"{"address":{},"address":1}"#,
        "dead column \"address.city\": found the name a second time",
    );
    check(
        r#"{"address":{"city":"a","city":"b"}}"#,
        "dead column \"address.city\": found the name a second time",
    );
    check(r#"{"address":{"city":"a"},"city":"b"}"#, "row address.city=\"a\"");
    check(r#"{"other":1,"other":2,"id":7}"#, "row id=7");
    check(r#"{"address":{"street":1,"street":2}}"#, "row");
}

#[test]
fn a_column_may_lie_in_nested_objects() {
    check(
        r#"{"address":{"geo":{"lat":31.2,"lon":121.5},"city":"上海"},"id":7}"#,
        "row id=7 address.city=\"上海\" address.geo.lat=31.2",
    );
    check(r#"{"a.b":1,"a":{"b":2}}"#, "row dotted=1");
    check(r#"{"address.city":"x"}"#, "row");
    check(r#"{"address":null,"id":7}"#, "row id=7");
    check(r#"{"address":{"geo":null,"city":"x"}}"#, "row address.city=\"x\"");
    for no_object in ["1", "\"city\"", "[{\"city\":\"x\"}]", "true"] {
        check(
            format!("{{\"address\":{no_object},\"id\":7}}"),
            &format!("dead column \"address.city\": found `{}", &no_object[..1]),
        );
    }
    check(
        r#"{"address":{"geo":[],"city":"x"}}"#,
        "dead column \"address.geo.lat\": found `[",
    );
    check(
        r#"{"address":{"geo":{"lat":"31"}}}"#,
        "dead column \"address.geo.lat\": found `\"31\"`",
    );
    check(
        r#"{"address":{"geo":{"lat":1},"id":"x"},"id":7}"#,
        "row id=7 address.geo.lat=1.0",
    );
    check(r#"{"address":{"city":"x"}"#, "dead ");
    check(r#"{"address":{"city":"x"]}"#, "dead ");
}

#[test]
fn bytes_that_are_no_utf_8_are_dead_wherever_they_stand() {
    let payload = r#"{"id":7,"name":"保单","other":["é"],"address":{"city":"x"}}"#.as_bytes();
    check(payload, "row id=7 name=\"保单\" address.city=\"x\"");
    for at in 0..=payload.len() {
        for bad in [
            &b"\xff"[..],
            b"\x80",
            b"\xc3",
            b"\xc0\xaf",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xe4\xbf",
        ] {
            check([&payload[..at], bad, &payload[at..]].concat(), "dead ");
        }
    }
    check(
        b"{\"name\":\"\xff\"}",
        "dead column \"name\": found a text that is not valid UTF-8",
    );
    check(b"{\"other\":\"\xff\"}", "dead found a text that is not valid UTF-8");
}

#[test]
fn size_and_depth_are_no_matter() {
    let long = "x".repeat(1 << 20);
    check(format!("{{\"name\":\"{long}\"}}"), &format!("row name={long:?}"));
    check(format!("{{\"other\":\"{long}\",\"id\":7}}"), "row id=7");
    check(format!("{{\"{long}\":1,\"id\":7}}"), "row id=7");
    check(format!("{{\"id\":{}}}", "9".repeat(1 << 20)), "dead column \"id\"");
    check(format!("{{\"price\":0.{}}}", "0".repeat(1 << 20)), "row price=0.0");
    for depth in [1, 64, 127, 128, 129, 10_000, 1_000_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let (opened, closed) = (open.repeat(depth), close.repeat(depth));
            check(format!("{{\"other\":{opened}1{closed},\"id\":7}}"), "row id=7");
            check(format!("{{\"other\":{opened}1{}}}", close.repeat(depth - 1)), "dead ");
            let address = if open == "[" {
                "dead column \"address.city\""
            } else {
                "row"
            };
            check(format!("{{\"address\":{opened}1{closed}}}"), address);
            check(format!("{{\"name\":{opened}1{closed}}}"), "dead column \"name\"");
        }
    }
}
