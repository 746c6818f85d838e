//! Whole rules: what passes, what is computed, what is rejected, and where errors are.

mod common;

use weir_expression::{
    Column, Evaluator, Program, Scalar, Type, Values,
    compile::{Place, Reason, RejectText, Rule, Selected, compile, compile_sql},
    program::{Input, Output, Parameter},
};

fn scope() -> Vec<Input> {
    let input = |name: &str, of: &str, nullable| Input {
        name: name.to_owned(),
        of: Type::named(of).unwrap(),
        nullable,
    };
    vec![
        input("id", "int", false),
        input("amount", "decimal(12, 2)", true),
        input("currency", "text", true),
    ]
}

fn threshold() -> Parameter {
    let of = Type::decimal(12, 2).unwrap();
    Parameter {
        name: "threshold".to_owned(),
        of,
        default: Some(Scalar::Decimal(50_000)),
        doc: String::new(),
    }
}

fn texts(values: &[Option<&str>]) -> Column {
    let (mut offsets, mut data) = (vec![0], Vec::new());
    for value in values {
        data.extend_from_slice(value.unwrap_or("").as_bytes());
        offsets.push(data.len() as u32);
    }
    Column {
        validity: Some(values.iter().map(|value| value.is_some().into()).collect()),
        values: Values::Text { offsets, data },
    }
}

/// Rows, rejects and computed columns as text.
fn run(program: &Program, parameters: &[Option<Scalar>]) -> String {
    let columns = [
        (
            "id",
            Column {
                validity: None,
                values: Values::Int(vec![1, 2, 3, 4]),
            },
        ),
        (
            "amount",
            Column {
                validity: Some(vec![1, 1, 0, 1]),
                values: Values::Decimal(vec![70_000, 40_000, 0, 99_999]),
            },
        ),
        ("currency", texts(&[Some("EUR"), Some("EUR"), Some("CHF"), None])),
    ];
    let inputs: Vec<_> = program
        .inputs
        .iter()
        .map(|input| columns.iter().find(|(name, _)| *name == input.name).unwrap().1.as_ref())
        .collect();
    let answer = Evaluator::new(program.clone(), parameters)
        .unwrap()
        .evaluate(&inputs, 4, &common::Jiff)
        .unwrap();
    let mut out = format!("rows {:?}", answer.rows);
    let mut computed = answer.computed.iter();
    for output in &program.outputs {
        match output {
            Output::Passed { name, input } if name == input => out += &format!("; {name}"),
            Output::Passed { name, input } => out += &format!("; {name} = {input}"),
            Output::Computed { name, of, nullable, .. } => {
                let column = computed.next().unwrap();
                let values: Vec<String> = (0..column.row_count())
                    .map(|row| common::shown(column, *of, row))
                    .collect();
                out += &format!(
                    "; {name} {of}{} [{}]",
                    if *nullable { "?" } else { "" },
                    values.join(", ")
                );
            }
        }
    }
    for (row, why) in &answer.rejected {
        out += &format!("; rejected {row}: {why}");
    }
    out
}

#[test]
fn a_rule_passes_what_it_does_not_compute() {
    let rule = Rule {
        filter: Some("amount >= $threshold".to_owned()),
        select: Some(vec![
            Selected::All,
            Selected::Column {
                name: "fee".to_owned(),
                text: "round(amount * 0.015, 2)".to_owned(),
            },
            Selected::Column {
                name: "currency".to_owned(),
                text: "coalesce(currency, 'EUR')".to_owned(),
            },
            Selected::Column {
                name: "number".to_owned(),
                text: "id".to_owned(),
            },
        ]),
        rejects: Vec::new(),
        parameters: vec![threshold()],
    };
    let program = compile(&rule, &scope(), &common::knows).unwrap();
    assert_eq!(
        program
            .inputs
            .iter()
            .map(|input| input.name.as_str())
            .collect::<Vec<_>>(),
        ["amount", "currency"]
    );
    assert_eq!(
        run(&program, &[]),
        "rows [0, 3]; id; amount; currency text [EUR, EUR]; fee decimal(13, 2)? [10.50, 15.00]; number = id"
    );
    assert_eq!(
        run(&program, &[Some(Scalar::Decimal(99_000))]),
        "rows [3]; id; amount; currency text [EUR]; fee decimal(13, 2)? [15.00]; number = id"
    );
}

#[test]
fn rejects_are_asked_in_order_of_the_rows_that_where_keeps() {
    let reject = |condition: &str, reason: Reason| RejectText {
        condition: condition.to_owned(),
        reason,
    };
    let rule = Rule {
        filter: Some("id <> 2 and reject(id = 1, 'no ones')".to_owned()),
        select: None,
        rejects: vec![
            reject("amount is null", Reason::Text("there is no amount".to_owned())),
            reject(
                "currency is null or amount > 1",
                Reason::Expression("'currency of ' || id".to_owned()),
            ),
        ],
        parameters: Vec::new(),
    };
    let program = compile(&rule, &scope(), &common::knows).unwrap();
    assert_eq!(
        run(&program, &[]),
        "rows []; id; amount; currency; rejected 0: no ones; rejected 2: there is no amount; rejected 3: currency of 4"
    );
}

#[test]
fn an_error_of_a_computed_column_rejects_its_row_alone() {
    let program = compile_sql(
        "select id, 10 / (id - 2) as x where id < 4",
        &[],
        &scope(),
        &common::knows,
    )
    .unwrap();
    assert_eq!(
        run(&program, &[]),
        "rows [0, 2]; id; x int [-10, 10]; rejected 1: cannot compute \"10 / (id - 2)\": it divides by zero, with 0"
    );
}

#[test]
fn sql_says_the_same_as_keys() {
    let sql = "select *, round(amount * 0.015, 2) as fee where amount >= $threshold";
    let program = compile_sql(sql, &[threshold()], &scope(), &common::knows).unwrap();
    assert_eq!(
        run(&program, &[]),
        "rows [0, 3]; id; amount; currency; fee decimal(13, 2)? [10.50, 15.00]"
    );
}

#[track_caller]
fn refused(sql: &str, expected: &[(&str, &str)]) {
    let errors = compile_sql(sql, &[threshold()], &scope(), &common::knows).expect_err(sql);
    let found: Vec<(&str, &str)> = errors
        .iter()
        .map(|error| (&sql[error.span.clone()], error.message.as_str()))
        .collect();
    assert_eq!(found, expected, "{sql}");
}

#[test]
fn what_is_no_rule_is_refused_with_the_step_that_does_it() {
    refused(
        "select id from orders",
        &[(
            "orders",
            "\"from\" is no part of a rule: leave it out, the rows are those of the step's input",
        )],
    );
    refused(
        "select id group by id order by id limit 3",
        &[
            (
                "group by",
                "\"group by\" is no part of a rule: use the step aggregate or window",
            ),
            (
                "order by",
                "\"order by\" is no part of a rule: rows of a stream have their order; use the step top for the first of a group",
            ),
            ("limit", "\"limit\" is no part of a rule: use the step top"),
        ],
    );
    refused(
        "select id + 1",
        &[("id + 1", "the column \"id + 1\" has no name: add `as NAME`")],
    );
    refused(
        "select row_number() over (order by id) as n",
        &[(
            "row_number",
            "\"row_number\" has an over: use the step top, lag or an over window",
        )],
    );
    refused(
        "delete from x",
        &[(
            "delete from x",
            "one statement is accepted, of the form: select COLUMNS where CONDITION",
        )],
    );
}

#[test]
fn all_errors_are_told_each_with_its_place() {
    let column = |name: &str, text: &str| Selected::Column {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let rule = Rule {
        filter: Some("amuont > 1".to_owned()),
        select: Some(vec![
            column("a", "1 +"),
            column("b", "id ||\n  upper(id)"),
            column("id", "1"),
            column("id", "2"),
        ]),
        rejects: vec![RejectText {
            condition: "id".to_owned(),
            reason: Reason::Text(String::new()),
        }],
        parameters: Vec::new(),
    };
    let errors = compile(&rule, &scope(), &common::knows).unwrap_err();
    let found: Vec<(Place, std::ops::Range<usize>)> =
        errors.into_iter().map(|error| (error.place, error.span)).collect();
    assert_eq!(
        found,
        [
            (Place::Select("a".to_owned()), 0..3),
            (Place::Where, 0..6),
            (Place::Reject(1), 0..2),
            (Place::Select("b".to_owned()), 8..16),
            (Place::Select("id".to_owned()), 0..1),
        ]
    );
}

#[test]
fn what_is_too_long_or_too_deep_is_refused() {
    for text in [
        format!("{}1", "1 + ".repeat(1000)),
        format!("{}1", "1 + ".repeat(5000)),
        format!("{}1{}", "(".repeat(2000), ")".repeat(2000)),
        format!("{}1", "- ".repeat(2000)),
        format!("{}true", "not ".repeat(2000)),
        format!("'{}'", "x".repeat(70_000)),
        format!("{}id", "case when true then ".repeat(300)) + &" end".repeat(300),
        format!("id in ({})", vec!["123456789"; 3000].join(", ")),
        format!("id{}", "[1]".repeat(900)),
        format!("id{}", " -> 'a'".repeat(900)),
        format!("id{}", " between 1 and 2".repeat(900)),
        format!("id{}", "::int".repeat(900)),
    ] {
        let shown: String = text.chars().take(40).collect();
        assert!(
            weir_expression::compile::compile_expression(&text, &scope(), &common::knows).is_err(),
            "{shown}"
        );
    }
    // Chains of what is lazy, and of texts, are as long as one likes.
    for text in [vec!["id = 1"; 900].join(" or "), vec!["currency"; 900].join(" || ")] {
        assert!(weir_expression::compile::compile_expression(&text, &scope(), &common::knows).is_ok());
    }
}
