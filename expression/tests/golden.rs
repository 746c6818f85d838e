//! Expressions over one row, and what they come to: `golden.txt`.

mod common;

use weir_expression::{
    Column, Evaluator, Type, Values,
    program::{Input, Output},
};

fn ints(value: Option<i64>) -> Column {
    Column {
        validity: value.is_none().then(|| vec![0]),
        values: Values::Int(vec![value.unwrap_or(0)]),
    }
}

fn texts(value: Option<&[u8]>) -> Column {
    let data = value.unwrap_or_default().to_vec();
    Column {
        validity: value.is_none().then(|| vec![0]),
        values: Values::Text {
            offsets: vec![0, data.len() as u32],
            data,
        },
    }
}

fn booleans(value: Option<bool>) -> Column {
    Column {
        validity: value.is_none().then(|| vec![0]),
        values: Values::Boolean(vec![value.unwrap_or(false).into()]),
    }
}

fn row() -> Vec<(&'static str, &'static str, Column)> {
    let plain = |values| Column { validity: None, values };
    vec![
        ("i", "int", ints(Some(7))),
        ("j", "int", ints(Some(-3))),
        ("zero", "int", ints(Some(0))),
        ("n", "int", ints(None)),
        ("d", "double", plain(Values::Double(vec![2.5]))),
        ("m", "decimal(12, 2)", plain(Values::Decimal(vec![1234]))),
        ("s", "text", texts(Some("Zürich".as_bytes()))),
        ("e", "text", texts(Some(b""))),
        ("sn", "text", texts(None)),
        ("b", "boolean", booleans(Some(true))),
        ("bn", "boolean", booleans(None)),
        ("ts", "timestamp", ints(Some(1_773_617_400_000_000))),
        ("day", "date", ints(Some(20_527))),
        (
            "js",
            "json",
            texts(Some(br#"{"a": {"b": [10, "x", null]}, "n": 1.50, "s": "q\"t"}"#)),
        ),
        ("tags", "list(text)", texts(Some(br#"["a","b",null]"#))),
        ("raw", "bytes", texts(Some(&[0, 255]))),
    ]
}

fn found(expression: &str) -> String {
    let row = row();
    let scope: Vec<Input> = row
        .iter()
        .map(|(name, of, _)| Input {
            name: (*name).to_owned(),
            of: Type::named(of).unwrap(),
            nullable: true,
        })
        .collect();
    let program = match common::program(expression, &scope) {
        Ok(program) => program,
        Err(errors) => return format!("error: {}", errors.split_once(": ").map_or("", |(_, message)| message)),
    };
    let of = match &program.outputs[0] {
        Output::Computed { of, .. } => *of,
        Output::Passed { .. } => return "passed".to_owned(),
    };
    let named = |name: &str| row.iter().find(|(other, ..)| *other == name).unwrap();
    let inputs: Vec<_> = program
        .inputs
        .iter()
        .map(|input| named(&input.name).2.as_ref())
        .collect();
    let answer = Evaluator::new(program.clone(), &[])
        .unwrap()
        .evaluate(&inputs, 1, &common::Jiff)
        .unwrap();
    match answer.rejected.first() {
        Some((_, why)) => format!("rejected: {why}"),
        None => common::shown(&answer.computed[0], of, 0),
    }
}

#[test]
fn expressions_come_to_what_the_file_says() {
    let mut wrong = Vec::new();
    for line in include_str!("golden.txt").lines() {
        let Some((expression, expected)) = line.split_once(" => ").filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let found = found(expression.trim());
        let is_right = match expected.strip_suffix('*') {
            Some(start) => found.starts_with(start),
            None => found == expected,
        };
        if !is_right {
            wrong.push(format!("{expression}\n   gives {found}\n   not   {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong\n{}", wrong.len(), wrong.join("\n"));
}
