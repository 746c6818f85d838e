//! What expressions cost per row at 1,024 rows, beside the same in plain Rust: `cargo run --release -p weir-expression --example bench`.

use std::{hint::black_box, time::Instant};
use weir_expression::{
    Column, Evaluator, NoZones, Program, Scalar, Type, Values,
    compile::{compile_expression, compile_sql},
    program::{Input, Parameter},
};

const ROWS: usize = 1024;

/// The best of many runs, in nanoseconds a row.
fn measured(mut run: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..60 {
        let start = Instant::now();
        for _ in 0..40 {
            run();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / (40 * ROWS) as f64);
    }
    best
}

fn main() {
    let mut rng = fastrand::Rng::with_seed(7);
    let ints: Vec<i64> = (0..ROWS).map(|_| rng.i64(-1000..1000)).collect();
    let others: Vec<i64> = (0..ROWS).map(|_| rng.i64(1..1000)).collect();
    let doubles: Vec<f64> = (0..ROWS).map(|_| rng.f64() * 1000.0).collect();
    let amounts: Vec<i128> = (0..ROWS).map(|_| rng.i64(0..100_000).into()).collect();
    let names = ["EUR", "CHF", "USD", "GBP", "JPY"];
    let (mut offsets, mut data) = (vec![0u32], Vec::new());
    for _ in 0..ROWS {
        data.extend_from_slice(names[rng.usize(..5)].as_bytes());
        offsets.push(data.len() as u32);
    }
    let plain = |values| Column { validity: None, values };
    let columns = [
        ("i", "int", plain(Values::Int(ints.clone()))),
        ("j", "int", plain(Values::Int(others.clone()))),
        ("d", "double", plain(Values::Double(doubles.clone()))),
        ("amount", "decimal(12, 2)", plain(Values::Decimal(amounts.clone()))),
        (
            "currency",
            "text",
            plain(Values::Text {
                offsets: offsets.clone(),
                data: data.clone(),
            }),
        ),
        (
            "n",
            "int",
            Column {
                validity: Some((0..ROWS).map(|_| u8::from(rng.u8(..4) > 0)).collect()),
                values: Values::Int(ints.clone()),
            },
        ),
    ];
    let scope: Vec<Input> = columns
        .iter()
        .map(|(name, of, _)| Input {
            name: (*name).to_owned(),
            of: Type::named(of).unwrap(),
            nullable: *name == "n",
        })
        .collect();
    let weir = |program: Program| {
        let inputs: Vec<_> = program
            .inputs
            .iter()
            .map(|input| {
                columns
                    .iter()
                    .find(|(name, ..)| *name == input.name)
                    .unwrap()
                    .2
                    .as_ref()
            })
            .collect();
        let evaluator = Evaluator::new(program.clone(), &[]).unwrap();
        measured(|| {
            black_box(evaluator.evaluate(black_box(&inputs), ROWS, &NoZones).unwrap());
        })
    };
    let expression =
        |text: &str| weir(compile_expression(text, &scope, &|_| Ok(())).unwrap_or_else(|errors| panic!("{errors:?}")));
    let threshold = Parameter {
        name: "threshold".to_owned(),
        of: Type::named("decimal(12, 2)").unwrap(),
        default: Some(Scalar::Decimal(50_000)),
        doc: String::new(),
    };
    let rule = |sql: &str| {
        weir(
            compile_sql(sql, std::slice::from_ref(&threshold), &scope, &|_| Ok(()))
                .unwrap_or_else(|errors| panic!("{errors:?}")),
        )
    };
    let text = |row: usize| &data[offsets[row] as usize..offsets[row + 1] as usize];
    let show = |name: &str, ours: f64, rust: f64| {
        println!("{name:70} {ours:7.2} ns/row   plain {rust:7.2}   x{:.1}", ours / rust)
    };

    let filter = measured(|| {
        let rows: Vec<u32> = (0..ROWS)
            .filter(|row| amounts[*row] >= black_box(50_000) && matches!(text(*row), b"EUR" | b"CHF"))
            .map(|row| row as u32)
            .collect();
        black_box(rows);
    });
    show(
        "where amount >= $threshold and currency in ('EUR', 'CHF')",
        rule("select * where amount >= $threshold and currency in ('EUR', 'CHF')"),
        filter,
    );
    let filter_and_fee = measured(|| {
        let rows: Vec<u32> = (0..ROWS)
            .filter(|row| amounts[*row] >= black_box(50_000) && matches!(text(*row), b"EUR" | b"CHF"))
            .map(|row| row as u32)
            .collect();
        let fees: Vec<i128> = rows
            .iter()
            .map(|row| (amounts[*row as usize] * 15 + 500) / 1000)
            .collect();
        black_box((rows, fees));
    });
    show(
        "the same with round(amount * 0.015, 2) as fee",
        rule("select *, round(amount * 0.015, 2) as fee where amount >= $threshold and currency in ('EUR', 'CHF')"),
        filter_and_fee,
    );
    let map = |f: &dyn Fn(usize) -> i64| measured(|| drop(black_box((0..ROWS).map(f).collect::<Vec<i64>>())));
    let sum = measured(|| {
        drop(black_box(
            ints.iter()
                .zip(&others)
                .map(|(a, b)| a.checked_add(*b).unwrap())
                .collect::<Vec<i64>>(),
        ))
    });
    show("i + j", expression("i + j"), sum);
    let product = measured(|| {
        drop(black_box(
            ints.iter()
                .zip(&others)
                .map(|(a, b)| a.checked_mul(*b).unwrap())
                .collect::<Vec<i64>>(),
        ))
    });
    show("i * j", expression("i * j"), product);
    show("i / j", expression("i / j"), map(&|row| ints[row] / others[row]));
    let scaled = measured(|| {
        drop(black_box(
            doubles.iter().map(|value| value * 1.5 + 2.0).collect::<Vec<f64>>(),
        ))
    });
    show("d * 1.5 + 2", expression("d * 1.5 + 2"), scaled);
    let decimal = measured(|| {
        drop(black_box(
            amounts
                .iter()
                .map(|value| value.checked_mul(15).unwrap())
                .collect::<Vec<i128>>(),
        ))
    });
    show("amount * 0.015", expression("amount * 0.015"), decimal);
    let quotients = measured(|| {
        drop(black_box(
            amounts.iter().map(|value| value * 1_000_000 / 3).collect::<Vec<i128>>(),
        ))
    });
    show("amount / 3", expression("amount / 3"), quotients);
    let both = measured(|| {
        drop(black_box(
            ints.iter()
                .zip(&others)
                .map(|(a, b)| u8::from(*a > 10 && *b < 500))
                .collect::<Vec<u8>>(),
        ))
    });
    show("i > 10 and j < 500", expression("i > 10 and j < 500"), both);
    show("n > 10 or n < 5 (nulls)", expression("n > 10 or n < 5"), both);
    let among = measured(|| {
        drop(black_box(
            ints.iter()
                .map(|a| u8::from(matches!(a, 1 | 2 | 3 | 5 | 8)))
                .collect::<Vec<u8>>(),
        ))
    });
    show("i in (1, 2, 3, 5, 8)", expression("i in (1, 2, 3, 5, 8)"), among);
    let case = map(&|row| if ints[row] > 0 { ints[row] } else { -ints[row] });
    show(
        "case when i > 0 then i else -i end",
        expression("case when i > 0 then i else -i end"),
        case,
    );
    let upper = measured(|| {
        drop(black_box(
            (0..ROWS).map(|row| text(row).to_ascii_lowercase()).collect::<Vec<_>>(),
        ))
    });
    show("lower(currency)", expression("lower(currency)"), upper);
    show(
        "currency like 'E%'",
        expression("currency like 'E%'"),
        measured(|| {
            drop(black_box(
                (0..ROWS)
                    .map(|row| u8::from(text(row).starts_with(b"E")))
                    .collect::<Vec<u8>>(),
            ))
        }),
    );
}
