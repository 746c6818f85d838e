//! Decoders as the host sees them: what they say of themselves, and what they make of messages.

use weir_guest::Decoder;
use weir_guest::abi::decoder::{Batch, Header};
use weir_guest::abi::{Column, ColumnType, ColumnValues, Parameter, RejectedRow, TextValues};

/// The example of docs/RULES.md, which is this file to the letter.
#[path = "guide/decoder.rs"]
mod guide;

#[test]
fn the_guide_shows_what_is_tested() {
    let shown = include_str!("../../../docs/RULES.md");
    assert!(shown.contains(&format!("```rust\n{}```\n", include_str!("guide/decoder.rs"))));
}

fn texts<T: AsRef<[u8]>>(values: &[T]) -> TextValues {
    let mut offsets = vec![0];
    let mut data = Vec::new();
    for value in values {
        data.extend_from_slice(value.as_ref());
        offsets.push(data.len() as u32);
    }
    TextValues { offsets, data }
}

fn payloads<T: AsRef<[u8]>>(payloads: &[T]) -> Batch {
    Batch {
        payloads: texts(payloads),
        subjects: vec![],
        headers: vec![],
    }
}

fn all(values: ColumnValues) -> Column {
    Column { validity: None, values }
}

fn rejected(row: u32, reason: &str) -> RejectedRow {
    RejectedRow {
        row,
        reason: reason.to_owned(),
    }
}

#[test]
fn a_decoder_describes_itself() {
    let description = guide::Rule::describe();
    assert_eq!(description.name, "weir-guest");
    assert_eq!(
        description.doc,
        "Lines such as `m17=230`, each a meter and its watts. The gateway is the last token of the subject."
    );
    let columns: Vec<_> = description
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.column_type, column.nullable))
        .collect();
    let expected = [
        ("gateway", ColumnType::Text, false),
        ("meter", ColumnType::Text, false),
        ("watts", ColumnType::Int, false),
        ("faulty", ColumnType::Boolean, false),
    ];
    assert_eq!(columns, expected);
    assert!(description.many && description.reads_subjects && description.reads_headers);
    assert_eq!(description.parameters.len(), 1);
}

#[test]
fn a_message_may_give_many_rows_or_none_or_be_rejected() {
    let settings = guide::Rule::describe().parameters.into_iter().map(|spec| Parameter {
        name: spec.name,
        value: spec.default.unwrap(),
    });
    let rule = guide::Rule::configure(settings.collect()).unwrap();
    let answer = rule.decode(&Batch {
        payloads: texts(&[&b"a=1\nb=200000"[..], b"", b"\xff", b"c=1", b"c"]),
        subjects: ["p.g1", "p.g2", "p.g3", "g4", "g5"].map(str::to_owned).to_vec(),
        headers: vec![vec![]; 5],
    });
    assert_eq!(answer.rows.rows, [0, 0, 3]);
    assert_eq!(
        answer.rows.computed,
        [
            all(ColumnValues::Text(texts(&["g1", "g1", "g4"]))),
            all(ColumnValues::Text(texts(&["a", "b", "c"]))),
            all(ColumnValues::Int(vec![1, 200_000, 1])),
            all(ColumnValues::Boolean(vec![0, 1, 0])),
        ]
    );
    assert_eq!(
        answer.rejected,
        [
            rejected(2, "the payload is no UTF-8 from byte 0 on"),
            rejected(4, "line \"c\"; accepted are a meter and its watts, as in \"m17=230\""),
        ]
    );
}

#[test]
fn headers_are_those_of_the_message() {
    mod units {
        use weir_guest::{Message, Output, decoder};

        #[derive(Output)]
        struct Unit<'a> {
            unit: Option<&'a str>,
            headers: i64,
        }

        #[decoder]
        fn unit(message: Message<'_>) -> Unit<'_> {
            Unit {
                unit: message.header("unit"),
                headers: message.headers.len() as i64,
            }
        }
    }

    let header = |name: &str, value: &str| Header {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let answer = units::Rule::configure(vec![]).unwrap().decode(&Batch {
        payloads: texts(&["", ""]),
        subjects: vec![String::new(), String::new()],
        headers: vec![vec![header("x", "1"), header("unit", "K"), header("unit", "C")], vec![]],
    });
    assert!(!units::Rule::describe().many);
    assert_eq!(answer.rows.computed[0].validity, Some(vec![1, 0]));
    assert_eq!(answer.rows.computed[0].values, ColumnValues::Text(texts(&["K", ""])));
    assert_eq!(answer.rows.computed[1], all(ColumnValues::Int(vec![3, 0])));
}

#[test]
fn a_decoder_asks_for_no_more_than_it_takes() {
    mod bytes {
        use weir_guest::{Output, decoder};

        #[derive(Output)]
        pub(super) struct Byte {
            byte: i64,
        }

        #[decoder]
        fn bytes(payload: &[u8]) -> Option<impl Iterator<Item = Byte>> {
            (!payload.is_empty()).then(|| payload.iter().map(|byte| Byte { byte: (*byte).into() }))
        }
    }

    let description = bytes::Rule::describe();
    assert!(!description.reads_subjects && !description.reads_headers);
    assert!(description.many);
    let answer = bytes::Rule::configure(vec![])
        .unwrap()
        .decode(&payloads(&[&[1, 255][..], &[], &[7]]));
    assert_eq!(answer.rows.rows, [0, 0, 2]);
    assert_eq!(answer.rows.computed, [all(ColumnValues::Int(vec![1, 255, 7]))]);

    mod lengths {
        use weir_guest::{Output, decoder};

        #[derive(Output)]
        pub(super) struct Length {
            chars: i64,
        }

        #[decoder]
        fn length(payload: &str) -> Length {
            Length {
                chars: payload.chars().count() as i64,
            }
        }
    }

    assert!(!lengths::Rule::describe().reads_subjects);
    let answer = lengths::Rule::configure(vec![])
        .unwrap()
        .decode(&payloads(&["ä".as_bytes(), b"a\xff"]));
    assert_eq!(answer.rows.computed, [all(ColumnValues::Int(vec![1]))]);
    assert_eq!(answer.rejected, [rejected(1, "the payload is no UTF-8 from byte 1 on")]);
}
