//! Random expressions over random rows, by Weir and by SQLite. Where both have a value, it is the same.
//!
//! `WEIR_CASES` says how many pairs of an expression and a row, `WEIR_SEED` where to begin.

mod common;

use fastrand::Rng;
use rusqlite::{Connection, types::Value as Sqlite};
use weir_expression::{
    Column, Evaluator, Type, Values,
    program::{Input, Output},
};

/// Rows in a batch.
const ROWS: usize = 20;

/// An expression twice, as Weir and as SQLite have it.
type Both = (String, String);

fn same(text: String) -> Both {
    (text.clone(), text)
}

fn join(parts: &[&str], of: &[Both]) -> Both {
    let side = |pick: fn(&Both) -> &String| {
        let mut text = parts[0].to_owned();
        for (at, both) in of.iter().enumerate() {
            text += pick(both);
            text += parts[at + 1];
        }
        text
    };
    (side(|both| &both.0), side(|both| &both.1))
}

fn pick<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    of[rng.usize(..of.len())]
}

fn int(rng: &mut Rng, depth: u32) -> Both {
    if depth == 0 || rng.u8(..6) == 0 {
        return match rng.u8(..5) {
            0 => same(rng.i64(-9..10).to_string()),
            1 => same("null + 1".to_owned()),
            _ => same(pick(rng, &["i", "j", "k"]).to_owned()),
        };
    }
    let d = depth - 1;
    match rng.u8(..17) {
        0 => join(&["(", " + ", ")"], &[int(rng, d), int(rng, d)]),
        1 => join(&["(", " - ", ")"], &[int(rng, d), int(rng, d)]),
        2 => join(&["(", " * ", ")"], &[int(rng, d), int(rng, d)]),
        3 => {
            let by = int(rng, d);
            join(
                &["case when ", " <> 0 then ", " / (", ") end"],
                &[by.clone(), int(rng, d), by],
            )
        }
        4 => join(&["(", " / nullif(", ", 0))"], &[int(rng, d), int(rng, d)]),
        5 => join(&["(", " % nullif(", ", 0))"], &[int(rng, d), int(rng, d)]),
        6 => join(&["(- (", "))"], &[int(rng, d)]),
        7 => join(&["abs(", ")"], &[int(rng, d)]),
        8 => join(
            &["case when ", " then ", " when ", " then ", " else ", " end"],
            &[boolean(rng, d), int(rng, d), boolean(rng, d), int(rng, d), int(rng, d)],
        ),
        9 => join(
            &["coalesce(", ", ", ", ", ")"],
            &[int(rng, d), int(rng, d), int(rng, d)],
        ),
        10 => join(&["nullif(", ", ", ")"], &[int(rng, d), int(rng, d)]),
        11 => join(&["length(", ")"], &[text(rng, d)]),
        12 => {
            let (a, b) = (text(rng, d), text(rng, d));
            (format!("strpos({}, {})", a.0, b.0), format!("instr({}, {})", a.1, b.1))
        }
        13 => join(&["cast(", " as int)"], &[double(rng, d)]),
        14 => join(&["cast(cast(", " as text) as int)"], &[int(rng, d)]),
        15 => join(
            &["case ", " when ", " then ", " when ", " then ", " end"],
            &[int(rng, d), int(rng, d), int(rng, d), int(rng, d), int(rng, d)],
        ),
        _ => join(&["sign(", ")"], &[int(rng, d)]),
    }
}

fn double(rng: &mut Rng, depth: u32) -> Both {
    if depth == 0 || rng.u8(..6) == 0 {
        return match rng.u8(..4) {
            0 => same(format!("{:?}e0", f64::from(rng.i32(-40..40)) / 8.0)),
            _ => same(pick(rng, &["x", "y"]).to_owned()),
        };
    }
    let d = depth - 1;
    match rng.u8(..9) {
        0 => join(&["(", " + ", ")"], &[double(rng, d), double(rng, d)]),
        1 => join(&["(", " - ", ")"], &[double(rng, d), int(rng, d)]),
        2 => join(&["(", " * ", ")"], &[double(rng, d), double(rng, d)]),
        3 => join(&["(", " / nullif(", ", 0e0))"], &[double(rng, d), double(rng, d)]),
        4 => join(&["cast(", " as double precision)"], &[int(rng, d)]),
        5 => join(&["coalesce(", ", ", ")"], &[double(rng, d), double(rng, d)]),
        6 => join(
            &["case when ", " then ", " else ", " end"],
            &[boolean(rng, d), double(rng, d), double(rng, d)],
        ),
        7 => join(&["abs(", ")"], &[double(rng, d)]),
        _ => join(&["round(", ")"], &[double(rng, d)]),
    }
}

fn text(rng: &mut Rng, depth: u32) -> Both {
    if depth == 0 || rng.u8(..6) == 0 {
        return match rng.u8(..4) {
            0 => same(pick(rng, &["''", "'a'", "'ab'", "'Ünï'", "' b '", "'A%'", "'it''s'"]).to_owned()),
            _ => same(pick(rng, &["s", "t"]).to_owned()),
        };
    }
    let d = depth - 1;
    match rng.u8(..11) {
        0 => join(&["(", " || ", ")"], &[text(rng, d), text(rng, d)]),
        1 => join(&["trim(", ")"], &[text(rng, d)]),
        2 => join(&["ltrim(", ", 'ab ')"], &[text(rng, d)]),
        3 => join(&["rtrim(", ", 'ab ')"], &[text(rng, d)]),
        4 => join(&["replace(", ", 'a', ", ")"], &[text(rng, d), text(rng, d)]),
        5 => {
            let (from, len) = (rng.u8(1..5), rng.u8(..4));
            let of = text(rng, d);
            (
                format!("substring({}, {from}, {len})", of.0),
                format!("substr({}, {from}, {len})", of.1),
            )
        }
        6 => join(&["cast(", " as text)"], &[int(rng, d)]),
        7 => join(&["coalesce(", ", ", ")"], &[text(rng, d), text(rng, d)]),
        8 => join(
            &["case when ", " then ", " else ", " end"],
            &[boolean(rng, d), text(rng, d), text(rng, d)],
        ),
        9 => join(&["nullif(", ", ", ")"], &[text(rng, d), text(rng, d)]),
        _ => join(
            &["case ", " when ", " then ", " end"],
            &[text(rng, d), text(rng, d), text(rng, d)],
        ),
    }
}

fn boolean(rng: &mut Rng, depth: u32) -> Both {
    if depth == 0 {
        return same(pick(rng, &["b", "c", "true", "false", "i > 3", "s = 'a'", "k is null"]).to_owned());
    }
    let d = depth - 1;
    let compare = [
        "=",
        "<>",
        "<",
        "<=",
        ">",
        ">=",
        "is distinct from",
        "is not distinct from",
    ];
    let two = |rng: &mut Rng, a: Both, b: Both| {
        let op = pick(rng, &compare);
        (format!("({} {op} {})", a.0, b.0), format!("({} {op} {})", a.1, b.1))
    };
    match rng.u8(..16) {
        0 | 1 => {
            let (a, b) = (int(rng, d), int(rng, d));
            two(rng, a, b)
        }
        2 => {
            let (a, b) = (double(rng, d), double(rng, d));
            two(rng, a, b)
        }
        3 => {
            // Beyond 2^53, SQLite compares an int with a double exactly.
            let (a, b) = (join(&["(", " % 1000000)"], &[int(rng, d)]), double(rng, d));
            two(rng, a, b)
        }
        4 => {
            let (a, b) = (text(rng, d), text(rng, d));
            two(rng, a, b)
        }
        5 | 6 => join(
            &["(", " and ", " and ", ")"],
            &[boolean(rng, d), boolean(rng, d), boolean(rng, d)],
        ),
        7 | 8 => join(&["(", " or ", ")"], &[boolean(rng, d), boolean(rng, d)]),
        9 => join(&["(not ", ")"], &[boolean(rng, d)]),
        10 => join(
            &["(", " in (", ", ", ", 3, 4))"],
            &[int(rng, d), int(rng, d), int(rng, d)],
        ),
        11 => join(&["(", " not in ('a', ", "))"], &[text(rng, d), text(rng, d)]),
        12 => join(
            &["(", " between ", " and ", ")"],
            &[int(rng, d), int(rng, d), int(rng, d)],
        ),
        13 => {
            let (of, pattern) = (
                text(rng, d),
                pick(rng, &["a%", "%b", "_", "%a_%", "", "%", "a!%%", "_b_"]),
            );
            // SQLite's own ignores the case of a to z.
            (
                format!("({} ilike '{pattern}' escape '!')", of.0),
                format!("({} like '{pattern}' escape '!')", of.1),
            )
        }
        14 => {
            let is = pick(rng, &["is null", "is not null"]);
            let of = text(rng, d);
            (format!("({} {is})", of.0), format!("({} {is})", of.1))
        }
        _ => {
            let is = pick(rng, &["is true", "is not true", "is false", "is not false"]);
            let of = boolean(rng, d);
            (format!("({} {is})", of.0), format!("({} {is})", of.1))
        }
    }
}

/// Columns, and a table of SQLite that holds the same.
fn batch(rng: &mut Rng, sqlite: &Connection) -> Vec<(&'static str, Type, Column)> {
    let ints = |rng: &mut Rng| -> Vec<i64> {
        (0..ROWS)
            .map(|_| if rng.u8(..12) == 0 { rng.i64(..) } else { rng.i64(-6..7) })
            .collect()
    };
    let valid = |rng: &mut Rng| -> Option<Vec<u8>> { Some((0..ROWS).map(|_| u8::from(rng.u8(..5) > 0)).collect()) };
    let doubles = |rng: &mut Rng| -> Vec<f64> {
        (0..ROWS)
            .map(|_| {
                if rng.u8(..8) == 0 {
                    rng.f64() * 1e9
                } else {
                    f64::from(rng.i32(-20..20)) / 4.0
                }
            })
            .collect()
    };
    let texts = |rng: &mut Rng| {
        let (mut offsets, mut data) = (vec![0], Vec::new());
        for _ in 0..ROWS {
            data.extend_from_slice(pick(rng, &["", "a", "b", "ab", "abc", "Ünï", "A", " a ", "a%b", "12"]).as_bytes());
            offsets.push(data.len() as u32);
        }
        Values::Text { offsets, data }
    };
    let booleans = |rng: &mut Rng| (0..ROWS).map(|_| u8::from(rng.bool())).collect::<Vec<u8>>();
    let columns = vec![
        (
            "i",
            Type::Int,
            Column {
                validity: None,
                values: Values::Int(ints(rng)),
            },
        ),
        (
            "j",
            Type::Int,
            Column {
                validity: None,
                values: Values::Int(ints(rng)),
            },
        ),
        (
            "k",
            Type::Int,
            Column {
                validity: valid(rng),
                values: Values::Int(ints(rng)),
            },
        ),
        (
            "x",
            Type::Double,
            Column {
                validity: None,
                values: Values::Double(doubles(rng)),
            },
        ),
        (
            "y",
            Type::Double,
            Column {
                validity: valid(rng),
                values: Values::Double(doubles(rng)),
            },
        ),
        (
            "s",
            Type::Text,
            Column {
                validity: None,
                values: texts(rng),
            },
        ),
        (
            "t",
            Type::Text,
            Column {
                validity: valid(rng),
                values: texts(rng),
            },
        ),
        (
            "b",
            Type::Boolean,
            Column {
                validity: None,
                values: Values::Boolean(booleans(rng)),
            },
        ),
        (
            "c",
            Type::Boolean,
            Column {
                validity: valid(rng),
                values: Values::Boolean(booleans(rng)),
            },
        ),
    ];
    sqlite.execute_batch("drop table if exists r; create table r (i int, j int, k int, x real, y real, s text, t text, b int, c int)").unwrap();
    let mut insert = sqlite
        .prepare("insert into r values (?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .unwrap();
    for row in 0..ROWS {
        let values = columns.iter().map(|(_, _, column)| value(column, row));
        insert.execute(rusqlite::params_from_iter(values)).unwrap();
    }
    columns
}

fn value(column: &Column, row: usize) -> Sqlite {
    if column.validity.as_ref().is_some_and(|validity| validity[row] == 0) {
        return Sqlite::Null;
    }
    match &column.values {
        Values::Int(values) => Sqlite::Integer(values[row]),
        Values::Double(values) => Sqlite::Real(values[row]),
        Values::Boolean(values) => Sqlite::Integer(values[row].into()),
        Values::Text { offsets, data } => {
            Sqlite::Text(String::from_utf8(data[offsets[row] as usize..offsets[row + 1] as usize].to_vec()).unwrap())
        }
        Values::Decimal(_) => unreachable!("there are none"),
    }
}

#[test]
fn weir_and_sqlite_agree() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (cases, seed) = (number("WEIR_CASES", 20_000), number("WEIR_SEED", 1));
    println!("WEIR_SEED={seed} WEIR_CASES={cases}");
    let mut rng = Rng::with_seed(seed);
    let sqlite = Connection::open_in_memory().unwrap();
    let (mut compared, mut rejected) = (0u64, 0u64);
    let mut columns = batch(&mut rng, &sqlite);
    let mut round = 0;
    while compared + rejected < cases {
        round += 1;
        if round % 50 == 0 {
            columns = batch(&mut rng, &sqlite);
        }
        let depth = rng.u32(1..5);
        let both = match rng.u8(..4) {
            0 => int(&mut rng, depth),
            1 => double(&mut rng, depth),
            2 => text(&mut rng, depth),
            _ => boolean(&mut rng, depth),
        };
        let scope: Vec<Input> = columns
            .iter()
            .map(|(name, of, column)| Input {
                name: (*name).to_owned(),
                of: *of,
                nullable: column.validity.is_some(),
            })
            .collect();
        let program = match common::program(&both.0, &scope) {
            Ok(program) => program,
            // What fifty parentheses do not hold.
            Err(error) if error.contains("nested") => continue,
            Err(error) => panic!("seed {seed}: {}\n{error}", both.0),
        };
        let Output::Computed { nullable, .. } = program.outputs[0] else {
            continue;
        };
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
        let answer = Evaluator::new(program.clone(), &[])
            .unwrap()
            .evaluate(&inputs, ROWS, &common::Jiff)
            .unwrap();
        let mut select = sqlite
            .prepare(&format!("select {} from r order by rowid", both.1))
            .unwrap_or_else(|error| panic!("{}: {error}", both.1));
        let mut rows = select.query([]).unwrap();
        let (mut row, mut failed) = (0u32, false);
        loop {
            let next = match rows.next() {
                Ok(next) => next,
                // SQLite rejects sums of its own (`abs` of the smallest), and with them the whole statement.
                Err(_) => {
                    failed = true;
                    break;
                }
            };
            let Some(next) = next else { break };
            let theirs: Sqlite = next.get(0).unwrap();
            if let Ok(at) = answer.rows.binary_search(&row) {
                let ours = value(&answer.computed[0], at);
                let is_same = match (&ours, &theirs) {
                    (Sqlite::Real(a), Sqlite::Real(b)) => a == b,
                    (a, b) => a == b,
                };
                assert!(nullable || ours != Sqlite::Null, "seed {seed}: {} gives null", both.0);
                assert!(
                    is_same,
                    "seed {seed}, round {round}, row {row}\n{}\nweir {ours:?}\nsqlite {theirs:?}\n{:?}",
                    both.0,
                    columns
                        .iter()
                        .map(|(name, _, column)| (*name, value(column, row as usize)))
                        .collect::<Vec<_>>()
                );
                compared += 1;
            } else {
                rejected += 1;
                let why = &answer.rejected.iter().find(|(other, _)| *other == row).unwrap().1;
                assert!(why.contains("beyond") || why.contains("finite"), "{}: {why}", both.0);
            }
            row += 1;
        }
        if failed {
            continue;
        }
    }
    println!("{compared} are the same, {rejected} are rejected by Weir");
    assert!(rejected * 5 < compared, "{rejected} of {compared} are rejected");
}
