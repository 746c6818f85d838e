//! Bytes from strangers: what is read as a program can be evaluated, whatever it is.

mod common;

use fastrand::Rng;
use weir_expression::{
    Column, Evaluator, Program, Values,
    program::Input,
    types::{Layout, Type},
};

/// Programs to break.
fn seeds() -> Vec<Vec<u8>> {
    let input = |name: &str, of: &str| Input {
        name: name.to_owned(),
        of: Type::named(of).unwrap(),
        nullable: true,
    };
    let scope = [
        input("i", "int"),
        input("d", "double"),
        input("m", "decimal(12, 2)"),
        input("s", "text"),
        input("b", "boolean"),
        input("ts", "timestamp"),
        input("js", "json"),
        input("tags", "list(text)"),
    ];
    let mut texts: Vec<String> = weir_expression::function::FUNCTIONS
        .iter()
        .map(|row| row.example.to_owned())
        .collect();
    for text in [
        "case when i > 3 and m * 1.5 < d then s || 'x' when b then coalesce(s, 'y') else lpad(s, 9, '-') end",
        "i in (1, 2, 3) or s in ('a', 'b') or s like '%a_'",
        "round(m / i, 2) + m % 3 - cast(d as decimal(20, 5))",
        "date_trunc('day', ts + interval '1 month', 'Europe/Berlin')",
        "cast(js -> 'a' ->> 0 as decimal(5, 2)[])",
        "array_join(tags, ',') || tags[i] || ('a' = any(tags))",
        "regexp_replace(s, '(a)(b)?', '$2$1')",
        "reject(i is null, 'no ' || s)",
        "nullif(least(i, 3), greatest(i, 4))",
        "try_cast(s as timestamp)",
    ] {
        texts.push(text.to_owned());
    }
    texts
        .iter()
        .map(|text| common::program(text, &scope).unwrap().to_bytes().unwrap())
        .collect()
}

fn column(rng: &mut Rng, of: Type, rows: usize) -> Column {
    let validity = rng.bool().then(|| (0..rows).map(|_| u8::from(rng.bool())).collect());
    let values = match of.layout() {
        Layout::Int => Values::Int(
            (0..rows)
                .map(|_| if rng.bool() { rng.i64(..) } else { rng.i64(-3..4) })
                .collect(),
        ),
        Layout::Double => Values::Double(
            (0..rows)
                .map(|_| [0.0, 1.5, f64::MAX, f64::MIN_POSITIVE, -7.0][rng.usize(..5)])
                .collect(),
        ),
        Layout::Boolean => Values::Boolean((0..rows).map(|_| u8::from(rng.bool())).collect()),
        Layout::Decimal => Values::Decimal(
            (0..rows)
                .map(|_| [0, -1, i128::MAX, i128::MIN, 12_345][rng.usize(..5)])
                .collect(),
        ),
        Layout::Text => {
            let (mut offsets, mut data) = (vec![0], Vec::new());
            for _ in 0..rows {
                let texts: [&[u8]; 8] = [
                    b"",
                    b"a",
                    b"[1,",
                    b"{\"a\":[1,\"x\"]}",
                    b"[\"a\",null]",
                    &[0xff, 0xc3],
                    b"12.5",
                    b"2026-03-15T12:00:00Z",
                ];
                data.extend_from_slice(texts[rng.usize(..8)]);
                offsets.push(data.len() as u32);
            }
            Values::Text { offsets, data }
        }
    };
    Column { validity, values }
}

#[test]
fn what_is_read_can_be_evaluated() {
    let seed = std::env::var("WEIR_SEED").map_or(1, |text| text.parse().unwrap());
    let rounds: u64 = std::env::var("WEIR_CASES").map_or(150_000, |text| text.parse().unwrap());
    println!("WEIR_SEED={seed} WEIR_CASES={rounds}");
    let mut rng = Rng::with_seed(seed);
    let seeds = seeds();
    let (mut read, mut evaluated) = (0, 0);
    for _ in 0..rounds {
        let mut bytes = seeds[rng.usize(..seeds.len())].clone();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..bytes.len());
            match rng.u8(..6) {
                0 => bytes[at] = rng.u8(..),
                1 => bytes[at] = bytes[at].wrapping_add(1),
                2 => bytes[at] = bytes[at].wrapping_sub(1),
                3 => bytes.truncate(at + 1),
                4 => bytes.insert(at, rng.u8(..)),
                _ => {
                    bytes.remove(at);
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        let Ok(program) = Program::from_bytes(&bytes) else {
            continue;
        };
        read += 1;
        assert_eq!(Program::from_bytes(&program.to_bytes().unwrap()).as_ref(), Ok(&program));
        let Ok(evaluator) = Evaluator::new(program, &[]) else {
            continue;
        };
        let rows = rng.usize(..9);
        let columns: Vec<Column> = evaluator
            .program()
            .inputs
            .iter()
            .map(|input| column(&mut rng, input.of, rows))
            .collect();
        let inputs: Vec<_> = columns.iter().map(Column::as_ref).collect();
        let answer = evaluator.evaluate(&inputs, rows, &common::Jiff).unwrap();
        assert!(answer.rows.len() + answer.rejected.len() <= rows);
        assert!(
            answer
                .computed
                .iter()
                .all(|column| column.row_count() == answer.rows.len())
        );
        evaluated += 1;
    }
    println!("{read} of {rounds} were read, {evaluated} evaluated");
    assert!(evaluated > rounds / 100);
}

#[test]
fn what_is_no_program_is_refused() {
    for bytes in [
        &b""[..],
        &[0],
        &[1],
        &[2, 0, 0, 0, 0, 0, 0],
        &[1, 255, 255, 255, 255, 15],
        &vec![1; 70_000],
    ] {
        assert!(Program::from_bytes(bytes).is_err());
    }
}
