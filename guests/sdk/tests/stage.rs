//! Rules as the host sees them: what they say of themselves, and which columns they answer with.

use weir_guest::Stage;
use weir_guest::abi::*;

fn ints(values: &[Option<i64>]) -> Column {
    column(
        values,
        ColumnValues::Int(values.iter().map(|value| value.unwrap_or(-1)).collect()),
    )
}

fn texts(values: &[Option<&str>]) -> Column {
    let mut offsets = vec![0];
    let mut data = Vec::new();
    for value in values {
        data.extend_from_slice(value.unwrap_or("filler").as_bytes());
        offsets.push(data.len() as u32);
    }
    column(values, ColumnValues::Text(TextValues { offsets, data }))
}

fn column<T>(values: &[Option<T>], of: ColumnValues) -> Column {
    let any_null = values.iter().any(Option::is_none);
    let validity = any_null.then(|| values.iter().map(|value| value.is_some().into()).collect());
    Column { validity, values: of }
}

fn batch(rows: u32, times_ms: &[i64], columns: Vec<Column>) -> Batch {
    Batch {
        row_count: rows,
        times_us: times_ms.iter().map(|ms| ms * 1_000).collect(),
        columns,
    }
}

fn text_of(column: &Column, row: usize) -> &str {
    let ColumnValues::Text(texts) = &column.values else {
        panic!("{column:?} is no text")
    };
    str::from_utf8(&texts.data[texts.offsets[row] as usize..texts.offsets[row + 1] as usize]).unwrap()
}

/// Every type that a column can be read and computed as.
mod types {
    use weir_guest::{Computed, Input, Output, TextColumn, stage};

    #[derive(Input)]
    struct Row<'a> {
        int: i64,
        #[column("floating point")]
        double: f64,
        boolean: bool,
        text: &'a str,
        int_or_null: Option<i64>,
        double_or_null: Option<f64>,
        boolean_or_null: Option<bool>,
        text_or_null: Option<&'a str>,
    }

    #[derive(Output)]
    #[pass(id)]
    #[pass(name as customer, "no identifier", r#type)]
    struct Same<'a> {
        int: i64,
        double: f64,
        boolean: bool,
        #[column("the text")]
        text: &'a str,
        shout: Shout,
        owned: String,
        int_or_null: Option<i64>,
        double_or_null: Option<f64>,
        boolean_or_null: Option<bool>,
        text_or_null: Option<&'a str>,
        shout_or_null: Option<Shout>,
    }

    /// A type of the rule's own.
    struct Shout(String);

    impl Computed for Shout {
        type Column = TextColumn;

        fn append_to(&self, column: &mut TextColumn) {
            column.push(&self.0.to_uppercase());
        }
    }

    /// Gives what it got.
    ///
    /// All of it, in
    /// every type.
    #[stage]
    fn same<'a>(row: Row<'a>) -> Same<'a> {
        Same {
            int: row.int,
            double: row.double,
            boolean: row.boolean,
            text: row.text,
            shout: Shout(row.text.to_owned()),
            owned: format!("<{}>", row.text),
            int_or_null: row.int_or_null,
            double_or_null: row.double_or_null,
            boolean_or_null: row.boolean_or_null,
            text_or_null: row.text_or_null,
            shout_or_null: row.text_or_null.map(|text| Shout(text.to_owned())),
        }
    }
}

#[test]
fn a_rule_describes_its_columns() {
    let description = types::Rule::describe();

    assert_eq!(description.name, "weir-guest");
    assert_eq!(description.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(description.doc, "Gives what it got.\nAll of it, in every type.");
    assert!(!description.reads_time);
    assert_eq!(description.parameters, []);

    let inputs: Vec<_> = description
        .inputs
        .iter()
        .map(|input| (input.name.as_str(), input.column_type, input.nullable))
        .collect();
    let expected = [
        ("int", ColumnType::Int, false),
        ("floating point", ColumnType::Double, false),
        ("boolean", ColumnType::Boolean, false),
        ("text", ColumnType::Text, false),
        ("int_or_null", ColumnType::Int, true),
        ("double_or_null", ColumnType::Double, true),
        ("boolean_or_null", ColumnType::Boolean, true),
        ("text_or_null", ColumnType::Text, true),
    ];
    assert_eq!(inputs, expected);

    let [out] = &description.outputs[..] else {
        panic!("one output: {:?}", description.outputs)
    };
    assert_eq!(out.name, "out");
    let passed: Vec<_> = out
        .passed
        .iter()
        .map(|column| (column.input.as_str(), column.output.as_str()))
        .collect();
    assert_eq!(
        passed,
        [
            ("id", "id"),
            ("name", "customer"),
            ("no identifier", "no identifier"),
            ("type", "type")
        ]
    );
    let computed: Vec<_> = out
        .computed
        .iter()
        .map(|column| (column.name.as_str(), column.column_type, column.nullable))
        .collect();
    let expected = [
        ("int", ColumnType::Int, false),
        ("double", ColumnType::Double, false),
        ("boolean", ColumnType::Boolean, false),
        ("the text", ColumnType::Text, false),
        ("shout", ColumnType::Text, false),
        ("owned", ColumnType::Text, false),
        ("int_or_null", ColumnType::Int, true),
        ("double_or_null", ColumnType::Double, true),
        ("boolean_or_null", ColumnType::Boolean, true),
        ("text_or_null", ColumnType::Text, true),
        ("shout_or_null", ColumnType::Text, true),
    ];
    assert_eq!(computed, expected);
}

#[test]
fn every_type_goes_through_a_rule_and_back() {
    let doubles = [Some(0.5), None, Some(-0.0)];
    let booleans = [Some(true), Some(false), None];
    let int = ints(&[Some(1), Some(i64::MIN), Some(3)]);
    let double = column(&[Some(()); 3], ColumnValues::Double(vec![1.5, f64::MAX, -2.5]));
    let boolean = column(&[Some(()); 3], ColumnValues::Boolean(vec![0, 1, 1]));
    let text = texts(&[Some("a"), Some(""), Some("寿险🏠")]);
    let columns = vec![
        int.clone(),
        double.clone(),
        boolean.clone(),
        text.clone(),
        ints(&[None, Some(2), Some(3)]),
        column(
            &doubles,
            ColumnValues::Double(doubles.iter().map(|double| double.unwrap_or(9.0)).collect()),
        ),
        column(
            &booleans,
            ColumnValues::Boolean(
                booleans
                    .iter()
                    .map(|boolean| boolean == &Some(true))
                    .map(u8::from)
                    .collect(),
            ),
        ),
        texts(&[Some("b"), Some("c"), None]),
    ];
    let answer = types::Rule::configure(vec![]).unwrap().process(&batch(3, &[], columns));

    assert_eq!(answer.rejected, []);
    let [out] = &answer.outputs[..] else {
        panic!("one output: {answer:?}")
    };
    assert_eq!(out.rows, [0, 1, 2]);
    let [got_int, got_double, got_boolean, got_text, shout, owned, nullable @ ..] = &out.computed[..] else {
        panic!("eleven columns: {out:?}")
    };
    assert_eq!(
        [got_int, got_double, got_boolean, got_text],
        [&int, &double, &boolean, &text]
    );
    assert_eq!([0, 1, 2].map(|row| text_of(shout, row)), ["A", "", "寿险🏠"]);
    assert_eq!([0, 1, 2].map(|row| text_of(owned, row)), ["<a>", "<>", "<寿险🏠>"]);

    let validity: Vec<_> = nullable
        .iter()
        .map(|column| column.validity.as_deref().unwrap())
        .collect();
    assert_eq!(validity, [[0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 1, 0], [1, 1, 0]]);
    let [int, double, boolean, text, shout] = nullable else {
        panic!("five columns: {nullable:?}")
    };
    assert!(matches!(&int.values, ColumnValues::Int(values) if values[1..] == [2, 3] && values.len() == 3));
    assert!(matches!(&double.values, ColumnValues::Double(values) if (values[0], values[2]) == (0.5, 0.0)));
    assert!(matches!(&boolean.values, ColumnValues::Boolean(values) if values[..2] == [1, 0] && values.len() == 3));
    assert_eq!([0, 1].map(|row| text_of(text, row)), ["b", "c"]);
    assert_eq!([0, 1].map(|row| text_of(shout, row)), ["B", "C"]);
}

#[test]
fn a_column_without_nulls_has_no_validity() {
    let all = |of: ColumnValues| Column {
        validity: None,
        values: of,
    };
    let columns = vec![
        all(ColumnValues::Int(vec![1])),
        all(ColumnValues::Double(vec![1.0])),
        all(ColumnValues::Boolean(vec![1])),
        texts(&[Some("a")]),
        all(ColumnValues::Int(vec![1])),
        all(ColumnValues::Double(vec![1.0])),
        all(ColumnValues::Boolean(vec![1])),
        texts(&[Some("a")]),
    ];
    let answer = types::Rule::configure(vec![]).unwrap().process(&batch(1, &[], columns));
    assert!(
        answer.outputs[0]
            .computed
            .iter()
            .all(|column| column.validity.is_none()),
        "{answer:?}"
    );
}

/// Several outputs of one event, time, every type of parameter, and rejection.
mod outputs {
    use weir_guest::{Context, Input, Output, Outputs, Parameters, Reject, TimeZone, stage};

    #[derive(Input)]
    struct Event {
        due_ms: Option<i64>,
    }

    #[derive(Outputs)]
    struct Sorted {
        late: Option<Late>,
        #[output("all")]
        every: Every,
    }

    #[derive(Output)]
    struct Late {
        by_ms: i64,
    }

    #[derive(Output)]
    #[pass(due_ms)]
    struct Every;

    #[derive(Parameters)]
    struct Settings {
        /// Milliseconds that an event
        /// may be late.
        grace_ms: i64,
        #[default(0.85)]
        ratio: f64,
        #[default(true)]
        boolean: bool,
        #[default("text")]
        text: String,
        #[default([1, -2])]
        ints: Vec<i64>,
        #[default([])]
        doubles: Vec<f64>,
        #[default(["a", "b"])]
        texts: Vec<String>,
        #[default("UTC")]
        zone: TimeZone,
    }

    #[stage]
    fn sort(event: Event, cx: &Context<Settings>) -> Result<Sorted, Reject> {
        let settings = &cx.parameters;
        assert_eq!(
            (settings.ratio, settings.boolean, settings.text.as_str()),
            (0.85, true, "text")
        );
        assert_eq!((&settings.ints[..], &settings.doubles[..]), (&[1, -2][..], &[][..]));
        assert_eq!(
            (&settings.texts[..], settings.zone.name()),
            (&["a".to_owned(), "b".to_owned()][..], "UTC")
        );

        let due_ms = event.due_ms.ok_or_else(|| Reject::new("column `due_ms` is null"))?;
        let by_ms = cx.now_ms() - due_ms - settings.grace_ms;
        Ok(Sorted {
            late: (by_ms > 0).then_some(Late { by_ms }),
            every: Every,
        })
    }
}

fn with_defaults(specs: Vec<ParameterSpec>) -> Vec<Parameter> {
    let grace_ms = || ParameterValue::Int(10);
    specs
        .into_iter()
        .map(|spec| Parameter {
            name: spec.name,
            value: spec.default.unwrap_or_else(grace_ms),
        })
        .collect()
}

#[test]
fn a_rule_describes_its_outputs_and_parameters() {
    let description = outputs::Rule::describe();

    assert!(description.reads_time);
    assert_eq!(
        description
            .outputs
            .iter()
            .map(|output| output.name.as_str())
            .collect::<Vec<_>>(),
        ["late", "all"]
    );
    let spec = |name: &str, parameter_type, default, doc: &str| ParameterSpec {
        name: name.to_owned(),
        parameter_type,
        default,
        doc: doc.to_owned(),
    };
    let text = |text: &str| ParameterValue::Text(text.to_owned());
    let expected = [
        spec(
            "grace_ms",
            ParameterType::Int,
            None,
            "Milliseconds that an event may be late.",
        ),
        spec("ratio", ParameterType::Double, Some(ParameterValue::Double(0.85)), ""),
        spec(
            "boolean",
            ParameterType::Boolean,
            Some(ParameterValue::Boolean(true)),
            "",
        ),
        spec("text", ParameterType::Text, Some(text("text")), ""),
        spec(
            "ints",
            ParameterType::IntList,
            Some(ParameterValue::IntList(vec![1, -2])),
            "",
        ),
        spec(
            "doubles",
            ParameterType::DoubleList,
            Some(ParameterValue::DoubleList(vec![])),
            "",
        ),
        spec(
            "texts",
            ParameterType::TextList,
            Some(ParameterValue::TextList(vec!["a".into(), "b".into()])),
            "",
        ),
        spec("zone", ParameterType::Text, Some(text("UTC")), ""),
    ];
    assert_eq!(description.parameters, expected);
}

#[test]
fn an_event_may_go_to_several_outputs_or_be_rejected() {
    let rule = outputs::Rule::configure(with_defaults(outputs::Rule::describe().parameters)).unwrap();
    let times_ms = [100, 101, 102, 112, 113];
    let due_ms = ints(&[Some(90), Some(90), None, Some(90), Some(200)]);
    let answer = rule.process(&batch(5, &times_ms, vec![due_ms]));

    let [late, all] = &answer.outputs[..] else {
        panic!("two outputs: {answer:?}")
    };
    assert_eq!(
        (&late.rows[..], &late.computed[..]),
        (&[1, 3][..], &[ints(&[Some(1), Some(12)])][..])
    );
    assert_eq!((&all.rows[..], &all.computed[..]), (&[0, 1, 3, 4][..], &[][..]));
    assert_eq!(
        answer.rejected,
        [RejectedRow {
            row: 2,
            reason: "column `due_ms` is null".to_owned()
        }]
    );
}

#[test]
fn a_batch_may_be_cut_anywhere() {
    let rule = outputs::Rule::configure(with_defaults(outputs::Rule::describe().parameters)).unwrap();
    let (times_ms, due_ms) = ([100, 101, 102], [Some(0), None, Some(102)]);
    let whole = rule.process(&batch(3, &times_ms, vec![ints(&due_ms)]));
    let parts: Vec<_> = (0..3)
        .map(|row| rule.process(&batch(1, &times_ms[row..=row], vec![ints(&due_ms[row..=row])])))
        .collect();

    assert_eq!(whole.outputs[0].rows, [0]);
    assert_eq!(whole.outputs[0].computed, parts[0].outputs[0].computed);
    assert_eq!(
        parts.iter().map(|part| part.outputs[1].rows.len()).collect::<Vec<_>>(),
        [1, 0, 1]
    );
    assert_eq!(
        parts.iter().map(|part| part.rejected.len()).collect::<Vec<_>>(),
        [0, 1, 0]
    );
}

#[test]
fn a_wrong_parameter_is_named() {
    let configure = |at: usize, parameter: Parameter| {
        let mut parameters = with_defaults(outputs::Rule::describe().parameters);
        parameters[at] = parameter;
        outputs::Rule::configure(parameters).err().unwrap()
    };
    let text = |name: &str, text: &str| Parameter {
        name: name.into(),
        value: ParameterValue::Text(text.into()),
    };

    let unknown_zone = "parameter `zone`: there is no time zone \"Mars/Olympus\"; accepted are ";
    assert!(configure(7, text("zone", "Mars/Olympus")).starts_with(unknown_zone));
    assert_eq!(
        configure(0, text("grace_ms", "10")),
        "parameter `grace_ms`: expected a value of type int"
    );
    assert_eq!(
        configure(0, text("zone", "UTC")),
        "parameter `grace_ms`: expected a value of type int"
    );
    let missing = outputs::Rule::configure(vec![]).err().unwrap();
    assert_eq!(missing, "parameter `grace_ms`: expected a value of type int");
}

/// One of several outputs, by an enum, and an event that goes to none.
mod one_of {
    use weir_guest::{Input, Output, Outputs, Parameters, stage};

    #[derive(Input)]
    struct Event<'a> {
        text: Option<&'a str>,
    }

    #[derive(Outputs)]
    enum Sorted<'a> {
        LongText(Long<'a>),
        #[output("rest")]
        Short(Short),
    }

    #[derive(Output)]
    struct Long<'a> {
        begins: &'a str,
        over: &'a str,
    }

    #[derive(Output)]
    struct Short {
        chars: i64,
    }

    #[derive(Parameters)]
    struct Settings {
        #[default("...")]
        over: String,
    }

    #[stage]
    fn sort<'a>(event: Event<'a>, settings: &'a Settings) -> Option<Sorted<'a>> {
        let text = event.text?;
        Some(match text.char_indices().nth(3) {
            Some((end, _)) => Sorted::LongText(Long {
                begins: &text[..end],
                over: &settings.over,
            }),
            None => Sorted::Short(Short {
                chars: text.chars().count() as i64,
            }),
        })
    }
}

#[test]
fn an_event_may_go_to_one_of_several_outputs() {
    let description = one_of::Rule::describe();
    assert_eq!(
        description
            .outputs
            .iter()
            .map(|output| output.name.as_str())
            .collect::<Vec<_>>(),
        ["long_text", "rest"]
    );
    assert!(
        !description.reads_time,
        "a rule that takes only its parameters wants no times"
    );

    let rule = one_of::Rule::configure(with_defaults(description.parameters)).unwrap();
    let answer = rule.process(&batch(
        4,
        &[],
        vec![texts(&[Some("医疗险-1年"), None, Some("ab"), Some("abcd")])],
    ));
    let [long, rest] = &answer.outputs[..] else {
        panic!("two outputs: {answer:?}")
    };
    assert_eq!(long.rows, [0, 3]);
    assert_eq!(
        long.computed,
        [
            texts(&[Some("医疗险"), Some("abc")]),
            texts(&[Some("..."), Some("...")])
        ]
    );
    assert_eq!(
        (&rest.rows[..], &rest.computed[..]),
        (&[2][..], &[ints(&[Some(2)])][..])
    );
}

#[test]
#[should_panic(expected = "the host sent a column of type text where the rule reads int")]
fn a_column_of_another_type_is_refused() {
    let rule = outputs::Rule::configure(with_defaults(outputs::Rule::describe().parameters)).unwrap();
    rule.process(&batch(1, &[0], vec![texts(&[Some("1")])]));
}

#[test]
#[should_panic(expected = "the rule reads columns: 1, and the host sends as many")]
fn a_missing_column_is_refused() {
    let rule = outputs::Rule::configure(with_defaults(outputs::Rule::describe().parameters)).unwrap();
    rule.process(&batch(1, &[0], vec![]));
}
