//! Many rows of one event: every way to return them.

use weir_guest::Stage;
use weir_guest::abi::*;

/// The example of docs/RULES.md, which is this file to the letter.
#[path = "guide/many.rs"]
mod guide;

#[test]
fn the_guide_shows_what_is_tested() {
    let shown = include_str!("../../../docs/RULES.md");
    assert!(shown.contains(&format!("```rust\n{}```\n", include_str!("guide/many.rs"))));
}

/// The rows of one output: the events that they are of, and the numbers in their only column.
type Given = (Vec<u32>, Vec<i64>);

fn process<S: Stage>(numbers: &[i64]) -> Answer {
    let column = Column {
        validity: None,
        values: ColumnValues::Int(numbers.to_vec()),
    };
    S::configure(vec![]).unwrap().process(&Batch {
        row_count: numbers.len() as u32,
        times_us: vec![],
        columns: vec![column],
    })
}

fn given(rows: &OutputRows) -> Given {
    let [
        Column {
            validity: None,
            values: ColumnValues::Int(numbers),
        },
    ] = &rows.computed[..]
    else {
        panic!("{rows:?}")
    };
    (rows.rows.clone(), numbers.clone())
}

/// What the stage's only output gets.
#[track_caller]
fn check<S: Stage>(many: bool, rows: &[u32], numbers: &[i64]) -> Answer {
    let outputs = S::describe().outputs;
    assert_eq!((outputs.len(), outputs[0].name.as_str()), (1, "out"));
    assert_eq!(outputs[0].many, many);
    let answer = process::<S>(&[2, 0, 3]);
    assert_eq!(given(&answer.outputs[0]), (rows.to_vec(), numbers.to_vec()));
    answer
}

/// What all of them read and give.
mod up_to {
    use weir_guest::{Input, Output};

    #[derive(Input)]
    pub(super) struct Number {
        pub(super) number: i64,
    }

    #[derive(Output)]
    pub(super) struct Below {
        pub(super) below: i64,
    }

    pub(super) fn below(number: i64) -> impl Iterator<Item = Below> + use<> {
        (0..number).map(|below| Below { below })
    }
}

macro_rules! stages {
    ($($module:ident, $returned:ty, |$number:ident| $body:expr;)*) => {$(
        mod $module {
            #[allow(unused_imports, reason = "not all may reject")]
            use super::up_to::{Below, Number, below};
            #[allow(unused_imports, reason = "not all may reject")]
            use weir_guest::{Reject, stage};

            #[stage]
            fn rule(number: Number) -> $returned {
                let $number = number.number;
                $body
            }
        }
    )*};
}

stages! {
    list, Vec<Below>, |number| below(number).collect();
    array, [Below; 2], |number| [Below { below: number }, Below { below: -number }];
    iterator, impl Iterator<Item = Below>, |number| below(number);
    list_or_none, Option<Vec<Below>>, |number| (number != 2).then(|| below(number).collect());
    iterator_or_none, Option<impl Iterator<Item = Below> + use<>>, |number| (number != 2).then(|| below(number));
    list_or_reject, Result<Vec<Below>, Reject>, |number| match number {
        0 => Err(Reject::new("zero")),
        _ => Ok(below(number).collect()),
    };
    iterator_or_reject, Result<impl Iterator<Item = Below> + 'static, Reject>, |number| match number {
        0 => Err(Reject::new("zero")),
        _ => Ok(below(number)),
    };
    all_of_it, Result<Option<impl Iterator<Item = Below>>, Reject>, |number| match number {
        0 => Err(Reject::new("zero")),
        _ => Ok((number != 2).then(|| below(number))),
    };
    array_of_one, [Below; 1], |number| [Below { below: number }];
}

#[test]
fn an_event_may_give_many_rows_in_each_way_to_say_so() {
    let (rows, numbers) = ([0, 0, 2, 2, 2], [0, 1, 0, 1, 2]);
    check::<list::Rule>(true, &rows, &numbers);
    check::<iterator::Rule>(true, &rows, &numbers);
    check::<array::Rule>(true, &[0, 0, 1, 1, 2, 2], &[2, -2, 0, 0, 3, -3]);
    check::<array_of_one::Rule>(false, &[0, 1, 2], &[2, 0, 3]);
    check::<list_or_none::Rule>(true, &[2, 2, 2], &[0, 1, 2]);
    check::<iterator_or_none::Rule>(true, &[2, 2, 2], &[0, 1, 2]);

    let zero = [RejectedRow {
        row: 1,
        reason: "zero".to_owned(),
    }];
    assert_eq!(check::<list_or_reject::Rule>(true, &rows, &numbers).rejected, zero);
    assert_eq!(check::<iterator_or_reject::Rule>(true, &rows, &numbers).rejected, zero);
    assert_eq!(check::<all_of_it::Rule>(true, &[2, 2, 2], &[0, 1, 2]).rejected, zero);
}

/// Rows that borrow from the event and from the parameters.
mod words {
    use weir_guest::{Input, Output, Parameters, stage};

    #[derive(Input)]
    struct Line<'a> {
        line: &'a str,
    }

    #[derive(Output)]
    #[pass(line as of)]
    struct Word<'a> {
        word: &'a str,
        upper: Option<String>,
    }

    #[derive(Parameters)]
    struct Settings {
        #[default(",")]
        between: String,
    }

    #[stage]
    fn words<'a>(line: Line<'a>, settings: &'a Settings) -> impl Iterator<Item = Word<'a>> {
        line.line.split(settings.between.as_str()).map(|word| Word {
            word,
            upper: (word != "b").then(|| word.to_uppercase()),
        })
    }
}

#[test]
fn rows_of_an_iterator_may_borrow_and_hold_nulls() {
    let parameters = words::Rule::describe().parameters.into_iter().map(|spec| Parameter {
        name: spec.name,
        value: spec.default.unwrap(),
    });
    let lines = Column {
        validity: None,
        values: ColumnValues::Text(TextValues {
            offsets: vec![0, 1, 4],
            data: b"xa,b".to_vec(),
        }),
    };
    let answer = words::Rule::configure(parameters.collect()).unwrap().process(&Batch {
        row_count: 2,
        times_us: vec![],
        columns: vec![lines],
    });
    let [out] = &answer.outputs[..] else {
        panic!("{answer:?}")
    };
    assert_eq!(out.rows, [0, 1, 1]);
    let text = |data: &[u8], offsets: &[u32]| {
        ColumnValues::Text(TextValues {
            offsets: offsets.to_vec(),
            data: data.to_vec(),
        })
    };
    assert_eq!(out.computed[0].values, text(b"xab", &[0, 1, 2, 3]));
    assert_eq!(out.computed[1].values, text(b"XA", &[0, 1, 2, 2]));
    assert_eq!(out.computed[1].validity, Some(vec![1, 1, 0]));
}

/// Several outputs, of which some get many rows.
mod several {
    use super::up_to::{Below, Number, below};
    use weir_guest::{Outputs, stage};

    #[derive(Outputs)]
    pub(super) struct All {
        first: Option<Below>,
        #[output("all")]
        every: Vec<Below>,
        pair: Option<[Below; 2]>,
    }

    #[stage]
    fn all(number: Number) -> All {
        let number = number.number;
        All {
            first: below(number).next(),
            every: below(number).collect(),
            pair: (number > 2).then_some([Below { below: 7 }, Below { below: 8 }]),
        }
    }

    pub(super) mod one_of {
        use super::*;

        #[derive(Outputs)]
        pub(super) enum One {
            Many(Vec<Below>),
            Single(Below),
        }

        #[stage]
        fn one(number: Number) -> One {
            match number.number {
                2 => One::Single(Below { below: 2 }),
                number => One::Many(below(number).collect()),
            }
        }
    }
}

#[test]
fn any_of_several_outputs_may_get_many_rows() {
    let many = |description: Description| -> Vec<(String, bool)> {
        let outputs = description.outputs.into_iter();
        outputs.map(|output| (output.name, output.many)).collect()
    };
    let named = |names: &[(&str, bool)]| -> Vec<(String, bool)> {
        names.iter().map(|(name, many)| ((*name).to_owned(), *many)).collect()
    };
    assert_eq!(
        many(several::Rule::describe()),
        named(&[("first", false), ("all", true), ("pair", true)])
    );
    let answer = process::<several::Rule>(&[2, 0, 3]);
    let outputs: Vec<_> = answer.outputs.iter().map(given).collect();
    assert_eq!(outputs[0], (vec![0, 2], vec![0, 0]));
    assert_eq!(outputs[1], (vec![0, 0, 2, 2, 2], vec![0, 1, 0, 1, 2]));
    assert_eq!(outputs[2], (vec![2, 2], vec![7, 8]));

    assert_eq!(
        many(several::one_of::Rule::describe()),
        named(&[("many", true), ("single", false)])
    );
    let answer = process::<several::one_of::Rule>(&[2, 0, 3]);
    let outputs: Vec<_> = answer.outputs.iter().map(given).collect();
    assert_eq!(outputs[0], (vec![2, 2, 2], vec![0, 1, 2]));
    assert_eq!(outputs[1], (vec![0], vec![2]));
}
