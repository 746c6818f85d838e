//! Aggregates as the host sees them: what they say of themselves, and what rows make of states.

use std::collections::BTreeMap;
use weir_guest::abi::aggregate::{Batch, Rejected, States};
use weir_guest::abi::{Column, ColumnType, ColumnValues, ParameterType};
use weir_guest::{Aggregate, State};

/// The example of docs/RULES.md, which is this file to the letter.
#[path = "guide/aggregate.rs"]
mod guide;

#[test]
fn the_guide_shows_what_is_tested() {
    let shown = include_str!("../../../docs/RULES.md");
    assert!(shown.contains(&format!("```rust\n{}```\n", include_str!("guide/aggregate.rs"))));
}

fn ints(values: &[Option<i64>]) -> Column {
    let nulls = values.iter().any(Option::is_none);
    Column {
        validity: nulls.then(|| values.iter().map(|value| value.is_some().into()).collect()),
        values: ColumnValues::Int(values.iter().map(|value| value.unwrap_or(-1)).collect()),
    }
}

fn states(states: &[&[u8]]) -> States {
    let mut offsets = vec![0];
    for state in states {
        offsets.push(offsets[offsets.len() - 1] + state.len() as u32);
    }
    States {
        offsets,
        data: states.concat(),
    }
}

fn bytes(state: &impl State) -> Vec<u8> {
    let mut bytes = Vec::new();
    state.encode(&mut bytes);
    bytes
}

/// Takes rows into the state of one group.
fn take<A: Aggregate>(rule: &A, state: &[u8], values: &[i64]) -> Result<(Vec<u8>, Column), Rejected> {
    let batch = Batch {
        groups: vec![0; values.len()],
        states: states(&[state]),
        retracts: None,
        columns: vec![ints(&values.iter().copied().map(Some).collect::<Vec<_>>())],
    };
    let given = rule.accumulate(&batch)?;
    assert_eq!(given.states.offsets, [0, given.states.data.len() as u32]);
    Ok((given.states.data, given.results))
}

// ---- an aggregate with all that there is ----------------------------------------------------------------------------

#[test]
fn an_aggregate_describes_itself() {
    let description = guide::Rule::describe();

    assert_eq!(description.name, "weir-guest");
    assert_eq!(description.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(
        description.doc,
        "The share of visits that ended within the limit. Null where there was none."
    );
    let inputs: Vec<_> = description
        .inputs
        .iter()
        .map(|input| (input.name.as_str(), input.column_type, input.nullable))
        .collect();
    assert_eq!(inputs, [("stayed_ms", ColumnType::Int, true)]);
    assert_eq!(
        (description.result.column_type, description.result.nullable),
        (ColumnType::Double, true)
    );
    assert!(description.retracts && description.merges);
    assert_eq!(description.state, "{visits: unsigned, bounces: unsigned}");
    let [limit] = &description.parameters[..] else {
        panic!("{:?}", description.parameters)
    };
    assert_eq!(
        (limit.name.as_str(), limit.parameter_type),
        ("limit_ms", ParameterType::Int)
    );
}

#[test]
fn rows_go_into_their_groups_in_order() {
    let rule = guide::Rule::configure(vec![guide_limit(10)]).unwrap();
    let before = bytes(&(2_u64, 1_u64).pair());
    let batch = Batch {
        groups: vec![1, 0, 1, 1, 0],
        states: states(&[&before, &[]]),
        retracts: Some(vec![0, 0, 0, 1, 1]),
        columns: vec![ints(&[Some(3), Some(30), None, Some(3), Some(30)])],
    };
    let given = rule.accumulate(&batch).unwrap();

    let expected = [bytes(&(2_u64, 1_u64).pair()), bytes(&(1_u64, 0_u64).pair())].concat();
    assert_eq!(given.states.offsets, [0, 16, 32]);
    assert_eq!(given.states.data, expected);
    assert_eq!(given.results.validity, None);
    assert_eq!(
        given.results.values,
        ColumnValues::Double(vec![1.0, 1.0 / 3.0, 0.5, 0.0, 0.5])
    );
}

#[test]
fn the_first_row_that_is_rejected_is_named() {
    let rule = guide::Rule::configure(vec![guide_limit(10)]).unwrap();
    let rejected = take(&rule, &[], &[1, 2, -7, 3, -8]).unwrap_err();
    assert_eq!(rejected.number, 2);
    assert_eq!(
        rejected.reason,
        "column `stayed_ms` is -7; accepted are lengths of time from 0 on"
    );
    assert!(take(&rule, &[], &[1, 2]).is_ok());
}

#[test]
fn states_are_merged_pairwise_and_have_results() {
    let rule = guide::Rule::configure(vec![guide_limit(10)]).unwrap();
    let pair = |visits: u64, bounces: u64| bytes(&(visits, bounces).pair());
    let into = states(&[&pair(1, 1), &[], &pair(5, 0)]);
    let from = states(&[&pair(3, 0), &pair(2, 2), &[]]);
    let merged = rule.merge(&into, &from).unwrap();
    assert_eq!(merged, states(&[&pair(4, 1), &pair(2, 2), &pair(5, 0)]));

    let results = rule.results(&merged).unwrap();
    assert_eq!(results.values, ColumnValues::Double(vec![0.25, 1.0, 0.0]));
    let results = rule.results(&states(&[&[], &pair(1, 0)])).unwrap();
    assert_eq!(results.validity, Some(vec![0, 1]));
}

#[test]
fn a_parameter_that_is_none_is_told() {
    let wrong = weir_guest::abi::Parameter {
        name: "limit_ms".to_owned(),
        value: weir_guest::abi::ParameterValue::Boolean(true),
    };
    let Err(error) = guide::Rule::configure(vec![wrong]) else {
        panic!("it is accepted")
    };
    assert_eq!(error, "parameter `limit_ms`: expected a value of type int");
}

#[test]
#[should_panic(expected = "a state that is none of this module")]
fn a_state_of_another_aggregate_is_not_taken() {
    let rule = guide::Rule::configure(vec![guide_limit(10)]).unwrap();
    let _ = take(&rule, &[1, 2, 3], &[1]);
}

fn guide_limit(ms: i64) -> weir_guest::abi::Parameter {
    weir_guest::abi::Parameter {
        name: "limit_ms".to_owned(),
        value: weir_guest::abi::ParameterValue::Int(ms),
    }
}

/// Two numbers as a state of the guide's aggregate.
trait Pair {
    fn pair(self) -> TwoNumbers;
}

#[derive(State)]
struct TwoNumbers {
    first: u64,
    second: u64,
}

impl Pair for (u64, u64) {
    fn pair(self) -> TwoNumbers {
        TwoNumbers {
            first: self.0,
            second: self.1,
        }
    }
}

// ---- one with no more than it must ----------------------------------------------------------------------------------

mod least {
    use weir_guest::{Input, State, aggregate};

    #[derive(Input)]
    pub(super) struct Number {
        number: i64,
    }

    /// All numbers, and their mean, which zero takes beyond all numbers.
    #[derive(Default, State)]
    struct All {
        numbers: Vec<i64>,
    }

    #[aggregate]
    impl All {
        fn add(&mut self, number: Number) {
            self.numbers.push(number.number);
        }

        fn result(&self) -> f64 {
            let last = self.numbers[self.numbers.len() - 1] as f64;
            self.numbers.iter().sum::<i64>() as f64 / last
        }
    }
}

#[test]
fn what_an_aggregate_cannot_is_described() {
    let description = least::Rule::describe();
    assert!(!description.retracts && !description.merges);
    assert!(!description.result.nullable);
    assert_eq!(description.parameters, []);
    assert_eq!(description.state, "{numbers: list<int>}");
}

#[test]
fn a_result_that_is_no_finite_number_rejects_its_row_wherever_a_batch_ends() {
    let rule = least::Rule::configure(vec![]).unwrap();
    for values in [&[1, 2, 0][..], &[1, 2, 0, 3], &[1, 2, 0, 0, 4]] {
        let rejected = take(&rule, &[], values).unwrap_err();
        assert_eq!(rejected.number, 2, "{values:?}");
        assert_eq!(
            rejected.reason,
            "the result of the group would be inf; accepted are finite numbers"
        );
    }
}

#[test]
fn a_state_beyond_the_limit_rejects_its_row_wherever_a_batch_ends() {
    let rule = least::Rule::configure(vec![]).unwrap();
    // 4 bytes for the length, and 8 for each number.
    let most = (65536 - 4) / 8;
    let (full, _) = take(&rule, &[], &vec![1; most]).unwrap();
    assert_eq!(full.len(), 65532);
    for values in [&[1][..], &[1, 2, 3]] {
        let rejected = take(&rule, &full, values).unwrap_err();
        assert_eq!(rejected.number, 0);
        assert_eq!(
            rejected.reason,
            "the state of the group would have 65540 bytes; accepted are up to 65536"
        );
    }
    assert_eq!(take(&rule, &[], &vec![1; most + 5]).unwrap_err().number, most as u32);
}

#[test]
#[should_panic(expected = "the host took back a row, which this aggregate cannot")]
fn rows_are_not_taken_back_where_that_cannot_be() {
    let batch = Batch {
        groups: vec![0],
        states: states(&[&[]]),
        retracts: Some(vec![1]),
        columns: vec![ints(&[Some(1)])],
    };
    let _ = least::Rule::configure(vec![]).unwrap().accumulate(&batch);
}

// ---- states as bytes ------------------------------------------------------------------------------------------------

#[derive(Clone, Debug, Default, PartialEq, State)]
struct Everything {
    int: i64,
    unsigned: u64,
    double: f64,
    boolean: bool,
    text: String,
    option: Option<f64>,
    list: Vec<Option<String>>,
    map: BTreeMap<String, Vec<i64>>,
    inner: Inner,
}

#[derive(Clone, Debug, Default, PartialEq, State)]
struct Inner {
    r#type: Option<bool>,
}

#[derive(Debug, Default, PartialEq, State)]
struct Nothing;

fn everything() -> Everything {
    Everything {
        int: i64::MIN,
        unsigned: u64::MAX,
        double: -0.0,
        boolean: true,
        text: "保单🦀".to_owned(),
        option: Some(f64::MIN_POSITIVE),
        list: vec![None, Some(String::new()), Some("a".to_owned())],
        map: BTreeMap::from([("b".to_owned(), vec![1, -1]), ("a".to_owned(), vec![])]),
        inner: Inner { r#type: Some(false) },
    }
}

#[test]
fn every_state_comes_back_as_it_was() {
    for state in [everything(), Everything::default()] {
        let encoded = bytes(&state);
        assert_eq!(encoded.len(), state.encoded_bytes());
        let mut left = &encoded[..];
        assert_eq!(Everything::decode(&mut left), Some(state));
        assert!(left.is_empty());
    }
    assert!(bytes(&Nothing).is_empty());
    assert_eq!(Nothing::decode(&mut &[][..]), Some(Nothing));
}

#[test]
fn a_state_says_what_it_looks_like() {
    assert_eq!(
        Everything::layout(),
        "{int: int, unsigned: unsigned, double: double, boolean: boolean, text: text, option: option<double>, \
         list: list<option<text>>, map: map<text, list<int>>, inner: {type: option<boolean>}}"
    );
    assert_eq!(Nothing::layout(), "{}");
    assert_eq!(
        (Everything::BYTES_MAX, Inner::BYTES_MAX, Nothing::BYTES_MAX),
        (None, Some(2), Some(0))
    );
}

#[test]
fn a_number_that_is_none_has_the_same_bytes_whichever_it_is() {
    let others = [f64::NAN, -f64::NAN, f64::from_bits(0x7ff0_0000_0000_0001)];
    for nan in others {
        assert_eq!(bytes(&nan), bytes(&f64::NAN), "{:x}", nan.to_bits());
    }
    assert_ne!(bytes(&0.0), bytes(&-0.0));
}

#[test]
fn bytes_that_are_no_state_are_not_taken() {
    let encoded = bytes(&everything());
    for cut in 0..encoded.len() {
        assert_eq!(Everything::decode(&mut &encoded[..cut]), None, "{cut} bytes");
    }
    assert_eq!(bool::decode(&mut &[2][..]), None);
    assert_eq!(String::decode(&mut &[1, 0, 0, 0, 0xff][..]), None);
    assert_eq!(Vec::<i64>::decode(&mut &[0xff; 12][..]), None);
}
