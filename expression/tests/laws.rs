//! Laws: what a row comes to depends on that row alone, and is what an interpreter says that looks at one row at a time and at nothing
//! that the row does not need.

mod common;

use fastrand::Rng;
use weir_expression::{Column, ColumnRef, Evaluator, NoZones, Program, Type, Values, program::Input};

/// An expression of ints; booleans are 0 and 1.
#[derive(Clone)]
enum E {
    Column(usize),
    Int(i64),
    Null,
    Binary(&'static str, Box<E>, Box<E>),
    Compare(&'static str, Box<E>, Box<E>),
    And(Vec<E>),
    Or(Vec<E>),
    Not(Box<E>),
    Case(Vec<(E, E)>, Option<Box<E>>),
    Coalesce(Vec<E>),
    NullIf(Box<E>, Box<E>),
    In(Box<E>, Vec<E>),
    IsNull(Box<E>),
    /// The same value, dear to compute: rows are left out before it.
    Dear(Box<E>),
    Reject(Box<E>),
}

const COLUMNS: [&str; 4] = ["i", "j", "k", "l"];

fn int(rng: &mut Rng, depth: u32) -> E {
    if depth == 0 {
        return match rng.u8(..8) {
            0 => E::Null,
            1 | 2 => E::Int(rng.i64(-3..4)),
            _ => E::Column(rng.usize(..4)),
        };
    }
    let d = depth - 1;
    match rng.u8(..10) {
        0..=3 => {
            let op = ["+", "-", "*", "/", "%", "/"][rng.usize(..6)];
            E::Binary(op, Box::new(int(rng, d)), Box::new(int(rng, d)))
        }
        4 | 5 => {
            let branches = (0..rng.usize(1..3)).map(|_| (boolean(rng, d), int(rng, d))).collect();
            E::Case(branches, rng.bool().then(|| Box::new(int(rng, d))))
        }
        6 => E::Coalesce((0..rng.usize(1..4)).map(|_| int(rng, d)).collect()),
        7 => E::NullIf(Box::new(int(rng, d)), Box::new(int(rng, d))),
        8 => E::Dear(Box::new(int(rng, d))),
        _ => int(rng, 0),
    }
}

fn boolean(rng: &mut Rng, depth: u32) -> E {
    if depth == 0 {
        return E::Compare("<", Box::new(int(rng, 0)), Box::new(int(rng, 0)));
    }
    let d = depth - 1;
    match rng.u8(..10) {
        0..=2 => {
            let op = [
                "=",
                "<>",
                "<",
                "<=",
                ">",
                ">=",
                "is distinct from",
                "is not distinct from",
            ][rng.usize(..8)];
            E::Compare(op, Box::new(int(rng, d)), Box::new(int(rng, d)))
        }
        3 | 4 => E::And((0..rng.usize(2..4)).map(|_| boolean(rng, d)).collect()),
        5 | 6 => E::Or((0..rng.usize(2..4)).map(|_| boolean(rng, d)).collect()),
        7 => E::Not(Box::new(boolean(rng, d))),
        8 => E::In(
            Box::new(int(rng, d)),
            (0..rng.usize(1..12))
                .map(|_| {
                    let depth = if rng.u8(..4) == 0 { d } else { 0 };
                    int(rng, depth)
                })
                .collect(),
        ),
        _ if rng.u8(..4) == 0 => E::Reject(Box::new(boolean(rng, d))),
        _ => E::IsNull(Box::new(int(rng, d))),
    }
}

fn text(e: &E) -> String {
    let list = |all: &[E], with: &str| all.iter().map(text).collect::<Vec<_>>().join(with);
    match e {
        E::Column(at) => COLUMNS[*at].to_owned(),
        E::Int(value) => format!("({value})"),
        E::Null => "(null + 0)".to_owned(),
        E::Binary(op, a, b) | E::Compare(op, a, b) => format!("({} {op} {})", text(a), text(b)),
        E::And(all) => format!("({})", list(all, " and ")),
        E::Or(all) => format!("({})", list(all, " or ")),
        E::Not(a) => format!("(not {})", text(a)),
        E::Case(branches, rest) => {
            let branches: String = branches
                .iter()
                .map(|(when, then)| format!(" when {} then {}", text(when), text(then)))
                .collect();
            let rest = rest
                .as_ref()
                .map_or_else(String::new, |rest| format!(" else {}", text(rest)));
            format!("(case{branches}{rest} end)")
        }
        E::Coalesce(all) => format!("coalesce({})", list(all, ", ")),
        E::NullIf(a, b) => format!("nullif({}, {})", text(a), text(b)),
        E::In(a, all) => format!("({} in ({}))", text(a), list(all, ", ")),
        E::IsNull(a) => format!("({} is null)", text(a)),
        E::Dear(a) => format!("cast(cast({} as text) as int)", text(a)),
        E::Reject(a) => format!("reject({}, 'rejected')", text(a)),
    }
}

/// The row is rejected.
struct Rejected;

fn run(e: &E, row: &[Option<i64>]) -> Result<Option<i64>, Rejected> {
    let truth = |value: bool| Some(i64::from(value));
    Ok(match e {
        E::Column(at) => row[*at],
        E::Int(value) => Some(*value),
        E::Null => None,
        E::Binary(op, a, b) => {
            let (a, b) = (run(a, row)?, run(b, row)?);
            let (Some(a), Some(b)) = (a, b) else { return Ok(None) };
            let value = match *op {
                "+" => a.checked_add(b),
                "-" => a.checked_sub(b),
                "*" => a.checked_mul(b),
                "/" => a.checked_div(b),
                _ if b == 0 => None,
                _ => Some(a.wrapping_rem(b)),
            };
            Some(value.ok_or(Rejected)?)
        }
        E::Compare(op, a, b) => {
            let (a, b) = (run(a, row)?, run(b, row)?);
            match (*op, a, b) {
                ("is distinct from", a, b) => truth(a != b),
                ("is not distinct from", a, b) => truth(a == b),
                (op, Some(a), Some(b)) => truth(match op {
                    "=" => a == b,
                    "<>" => a != b,
                    "<" => a < b,
                    "<=" => a <= b,
                    ">" => a > b,
                    _ => a >= b,
                }),
                _ => None,
            }
        }
        E::And(all) | E::Or(all) => {
            let decides = i64::from(matches!(e, E::Or(_)));
            let mut is_unknown = false;
            for part in all {
                match run(part, row)? {
                    Some(value) if value == decides => return Ok(Some(decides)),
                    Some(_) => (),
                    None => is_unknown = true,
                }
            }
            (!is_unknown).then_some(1 - decides)
        }
        E::Not(a) => run(a, row)?.map(|value| 1 - value),
        E::Case(branches, rest) => {
            for (when, then) in branches {
                if run(when, row)? == Some(1) {
                    return run(then, row);
                }
            }
            rest.as_ref().map_or(Ok(None), |rest| run(rest, row))?
        }
        E::Coalesce(all) => {
            for part in all {
                if let Some(value) = run(part, row)? {
                    return Ok(Some(value));
                }
            }
            None
        }
        E::NullIf(a, b) => {
            let (a, b) = (run(a, row)?, run(b, row)?);
            if a.is_some() && a == b { None } else { a }
        }
        E::In(a, all) => {
            let a = run(a, row)?;
            let all: Result<Vec<Option<i64>>, Rejected> = all.iter().map(|part| run(part, row)).collect();
            let all = all?;
            match a {
                None => None,
                Some(_) if all.contains(&a) => Some(1),
                Some(_) if all.contains(&None) => None,
                Some(_) => Some(0),
            }
        }
        E::IsNull(a) => truth(run(a, row)?.is_none()),
        E::Dear(a) => run(a, row)?,
        E::Reject(a) if run(a, row)? == Some(1) => return Err(Rejected),
        E::Reject(_) => Some(1),
    })
}

fn column(values: &[Option<i64>]) -> Column {
    Column {
        validity: values
            .contains(&None)
            .then(|| values.iter().map(|value| u8::from(value.is_some())).collect()),
        values: Values::Int(values.iter().map(|value| value.unwrap_or(0)).collect()),
    }
}

fn program_of(filter: &str, select: &str) -> Result<Program, String> {
    let scope: Vec<Input> = COLUMNS
        .iter()
        .map(|name| Input {
            name: (*name).to_owned(),
            of: Type::Int,
            nullable: true,
        })
        .collect();
    let sql = format!("select {select} as x where {filter}");
    weir_expression::compile::compile_sql(&sql, &[], &scope, &common::knows).map_err(|errors| format!("{errors:?}"))
}

/// What became of each row: left out, a value, or a reason.
type Fates = Vec<Option<Result<Option<i64>, String>>>;

fn fates(evaluator: &Evaluator, rows: &[Vec<Option<i64>>]) -> Fates {
    let columns: Vec<Column> = (0..4)
        .map(|at| column(&rows.iter().map(|row| row[at]).collect::<Vec<_>>()))
        .collect();
    let of = |name: &str| COLUMNS.iter().position(|other| *other == name).unwrap();
    let inputs: Vec<ColumnRef<'_>> = evaluator
        .program()
        .inputs
        .iter()
        .map(|input| columns[of(&input.name)].as_ref())
        .collect();
    let answer = evaluator.evaluate(&inputs, rows.len(), &NoZones).unwrap();
    let mut fates: Fates = vec![None; rows.len()];
    for (at, row) in answer.rows.iter().enumerate() {
        let computed = &answer.computed[0];
        let is_null = computed.validity.as_ref().is_some_and(|validity| validity[at] == 0);
        let value = match &computed.values {
            Values::Int(values) => values[at],
            Values::Boolean(values) => values[at].into(),
            other => panic!("{other:?}"),
        };
        fates[*row as usize] = Some(Ok((!is_null).then_some(value)));
    }
    for (row, why) in answer.rejected {
        assert!(
            fates[row as usize].replace(Err(why)).is_none(),
            "row {row} is kept and rejected"
        );
    }
    fates
}

#[test]
fn rows_come_to_what_an_interpreter_says_however_the_batch_is_cut() {
    let seed = std::env::var("WEIR_SEED").map_or(1, |text| text.parse().unwrap());
    let rounds = std::env::var("WEIR_CASES").map_or(3_000, |text| text.parse().unwrap());
    println!("WEIR_SEED={seed} WEIR_CASES={rounds}");
    let mut rng = Rng::with_seed(seed);
    let (mut kept, mut rejected) = (0, 0);
    for round in 0..rounds {
        let (depth, deep) = (rng.u32(..4), rng.u32(..5));
        let (filter, select) = (
            boolean(&mut rng, depth),
            if rng.bool() {
                int(&mut rng, deep)
            } else {
                boolean(&mut rng, deep)
            },
        );
        // A column that is passed on is not computed.
        let select = if let E::Column(_) | E::Null = select {
            E::Coalesce(vec![select, E::Int(1)])
        } else {
            select
        };
        let program = match program_of(&text(&filter), &text(&select)) {
            Ok(program) => program,
            Err(error) if error.contains("nested") => continue,
            Err(error) => panic!("{error}"),
        };
        let evaluator = Evaluator::new(program, &[]).unwrap();
        let has_nulls = rng.bool();
        let value = |rng: &mut Rng| match rng.u8(..16) {
            0..=2 if has_nulls => None,
            3 => Some(rng.i64(..)),
            _ => Some(rng.i64(-3..4)),
        };
        let rows: Vec<Vec<Option<i64>>> = (0..rng.usize(1..70))
            .map(|_| (0..4).map(|_| value(&mut rng)).collect())
            .collect();
        let whole = fates(&evaluator, &rows);
        for (row, fate) in rows.iter().zip(&whole) {
            let expected = match run(&filter, row) {
                Err(Rejected) => Some(Err(Rejected)),
                Ok(Some(1)) => Some(run(&select, row)),
                Ok(_) => None,
            };
            let is_right = match (fate, &expected) {
                (None, None) => true,
                (Some(Ok(a)), Some(Ok(b))) => a == b,
                (Some(Err(why)), Some(Err(_))) => why == "rejected" || why.starts_with("cannot compute"),
                _ => false,
            };
            kept += u32::from(matches!(fate, Some(Ok(_))));
            rejected += u32::from(matches!(fate, Some(Err(_))));
            let expected = expected.map(Result::ok);
            assert!(
                is_right,
                "seed {seed}, round {round}: {row:?}\nwhere {}\nselect {}\ngives {fate:?}\nnot   {expected:?}",
                text(&filter),
                text(&select)
            );
        }
        let mut cut = Fates::new();
        let mut left = rows.as_slice();
        while !left.is_empty() {
            let (head, tail) = left.split_at(rng.usize(1..=left.len()));
            cut.extend(fates(&evaluator, head));
            left = tail;
        }
        assert_eq!(whole, cut, "seed {seed}, round {round}");
    }
    println!("{kept} rows are kept, {rejected} rejected");
    assert!(kept > 1000 && rejected > 1000);
}
