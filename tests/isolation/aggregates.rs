//! Aggregates that misbehave, called as the host's operators call them: what fails costs the first row that makes it
//! fail, what stands before it is kept, and what comes behind goes on as if that row had never come.

use std::time::{Duration, Instant};
use weir::{
    definition::StageLimits,
    model::{
        column::{Column, ColumnType, Value},
        guest::{Accumulate, Accumulated, ParameterValue, RejectedInput},
    },
    wasm::{AggregateInstance, Binary},
};
use weir_tests::{
    guest,
    replay::host,
    seed::{Random, with_seed},
};

const ROWS: usize = 300;
const GROUPS: u32 = 7;

/// Where the poisoned row is: first, somewhere, last.
const PLACES: [usize; 3] = [0, 137, ROWS - 1];

/// What a row can ask for, and words of the reason.
pub(crate) const MISDEEDS: [(&str, &str); 20] = [
    // Calls that do not end well.
    (
        "trap",
        "the rule trapped: wasm `unreachable` instruction executed; in end_badly \
         (tests/guests/hostile-aggregate/src/lib.rs:",
    ),
    ("panic", "the rule panicked: it was asked to panic"),
    ("loop", "the rule ran longer than "),
    ("recurse", "the rule trapped: call stack exhausted; in recurse ("),
    ("grow", "the rule needs more than 8 MiB of memory"),
    ("huge", "the answer has more than 1 MiB"),
    // Answers that break the contract, in the order in which they are checked.
    ("reject-far", "the rule broke the contract: it rejects number 1 of 1"),
    (
        "state-less",
        "the rule broke the contract: it answered with 0 states instead of 1",
    ),
    (
        "states-loose",
        "offsets of states that do not begin at 0 and end with the data",
    ),
    ("fat", " bytes; accepted are up to 65536"),
    ("short", "in the results: 0 texts for 1 rows"),
    ("long", "in the results: 2 texts for 1 rows"),
    ("null", "in the results: a null, though it is described as never null"),
    ("validity-2", "in the results: validity byte 2; accepted are 0 and 1"),
    (
        "loose-data",
        "in the results: offsets of texts that do not begin at 0 and end with the data",
    ),
    (
        "not-utf8",
        "in the results: text that is not UTF-8: invalid utf-8 sequence",
    ),
    (
        "split-character",
        "in the results: text that is not UTF-8: incomplete utf-8",
    ),
    ("lie", "in the results: int values, though it is described as text"),
    // The guest's own word for it, kept and broken.
    (
        "reject",
        "column `what` holds \"reject\", which is asked not to be kept",
    ),
    (
        "reject-last",
        "column `what` holds \"reject-last\", which is asked not to be kept",
    ),
];

#[test]
fn a_poisoned_row_costs_itself_and_no_other() {
    for (what, words) in MISDEEDS {
        for place in PLACES {
            let mut rows = Rows::innocent();
            rows.whats[place] = what.to_owned();
            let (given, _) = rows.run(&mut hostile(deadline_ms(what)), ROWS);
            let [(refused, reason)] = &given[..] else {
                panic!("{what} at {place}: {given:?}")
            };
            assert_eq!(*refused, place, "{what} at {place}");
            let failed = !what.starts_with("reject") || what == "reject-far";
            assert_eq!((reason.failed, reason.timed_out), (failed, what == "loop"), "{what}");
            assert!(reason.reason.contains(words), "{words:?} is not in {:?}", reason.reason);
        }
    }
}

#[test]
fn every_misdeed_among_many_rows_costs_as_many_rows_however_they_are_cut() {
    let mut rows = Rows::innocent();
    // None of them is taken back by the row behind it.
    let place = |at: usize| 13 * at + usize::from((13 * at) % 11 == 9);
    let poisoned: Vec<usize> = (0..MISDEEDS.len()).map(place).collect();
    for (&place, (what, _)) in poisoned.iter().zip(MISDEEDS) {
        rows.whats[place] = what.to_owned();
    }
    for batch in [1, 7, 64, ROWS] {
        let (refused, _) = rows.run(&mut hostile(100), batch);
        let refused: Vec<usize> = refused.into_iter().map(|(row, _)| row).collect();
        assert_eq!(refused, poisoned, "in batches of {batch}");
    }
}

#[test]
fn a_row_does_not_pay_for_what_others_left_in_memory() {
    let mut rows = Rows::innocent();
    for (at, what) in ["leak", "large", "larger"].into_iter().cycle().take(60).enumerate() {
        // None of them is taken back by the row behind it.
        let place = 5 * at;
        rows.whats[place + usize::from(place % 11 >= 9) * 2] = what.to_owned();
    }
    let expected = rows.run(&mut hostile(400), ROWS);
    assert!(expected.0.is_empty(), "{:?}", expected.0);
    for batch in [1, 2, 7, 64] {
        let found = rows.run(&mut hostile(400), batch);
        assert_eq!(found, expected, "in batches of {batch}");
    }
}

#[test]
fn a_group_that_fails_always_is_found_in_bounded_time() {
    for what in ["loop", "reject-last", "trap"] {
        let mut rows = Rows::innocent();
        rows.whats = vec![what.to_owned(); ROWS];
        let states = vec![Vec::new(); GROUPS as usize];
        let began = Instant::now();
        let given = rows.call(&mut hostile(deadline_ms(what)), 0..ROWS, &states);
        assert_eq!(given.applied, 0, "{what}");
        // 300 rows can be halved 9 times; each call has 50 ms.
        let (took, most) = (began.elapsed(), Duration::from_millis(10 * 60 + 2000));
        assert!(took < most, "{what} took {took:?}");
    }
}

#[test]
fn states_that_are_too_much_for_one_call_go_in_several() {
    // Three times what a call may have.
    const COUNT: usize = 400;
    let states: Vec<Vec<u8>> = (0..COUNT)
        .map(|group| format!("{group}").repeat(60_000 / 3).into_bytes())
        .map(|mut state| {
            state.truncate(60_000);
            state
        })
        .collect();
    let rows = Rows {
        whats: (0..COUNT).map(|row| format!("row {row}")).collect(),
        groups: (0..COUNT as u32).rev().collect(),
        retracts: vec![0; COUNT],
    };
    let mut instance = instance("hostile-aggregate", "", &StageLimits::default());
    let given = rows.call(&mut instance, 0..COUNT, &states);
    assert_eq!((given.applied, &given.refused), (COUNT as u32, &None));
    for (group, before) in states.iter().enumerate() {
        let row = COUNT - 1 - group;
        let expected = [before, format!("row {row},").as_bytes()].concat();
        assert!(*given.states[group] == expected, "the state of group {group}");
        assert!(
            given.results.get(row) == Value::Text(&expected),
            "the result of row {row}"
        );
    }
}

#[test]
fn a_result_that_is_no_number_costs_its_row() {
    let mut instance = instance("hostile-double", "", &StageLimits::default());
    let description = &instance.module().description;
    assert_eq!((description.retracts, description.merges), (false, false));
    let mut values = Column::with_capacity(ColumnType::Double, 4);
    for value in [3.0, 5.0, 0.0, 7.0] {
        values.push(Value::Double(value));
    }
    let given = instance.accumulate(Accumulate {
        states: &[&[]],
        groups: &[0; 4],
        retracts: None,
        columns: &[&values],
    });
    assert_eq!((given.applied, given.results.len()), (2, 2));
    assert_eq!(*given.states[0], 5.0_f64.to_le_bytes());
    let refused = given.refused.expect("0 / 0 is no number");
    assert_eq!(
        refused.reason,
        "the rule broke the contract: in the results: NaN; accepted are finite numbers"
    );
    let zero = 0.0_f64.to_le_bytes();
    let given = instance.results(&[&1.0_f64.to_le_bytes(), &zero]);
    assert_eq!((given.column.len(), given.refused.is_some()), (1, true));
}

#[test]
fn a_pair_that_cannot_be_merged_is_found() {
    let into: Vec<Vec<u8>> = (0..50).map(|pair| format!("into {pair},").into_bytes()).collect();
    for (what, words) in [
        ("no-merge", "they do not go together"),
        ("crash-at-merge", "the rule trapped: wasm `unreachable`"),
        ("fat-at-merge", " bytes; accepted are up to 65536"),
    ] {
        for place in [0, 31, 49] {
            let mut from: Vec<Vec<u8>> = (0..50).map(|pair| format!("from {pair},").into_bytes()).collect();
            from[place] = what.as_bytes().to_vec();
            let given = hostile(400).merge(&slices(&into), &slices(&from));
            assert_eq!(given.states.len(), place, "{what}");
            for (pair, merged) in given.states.iter().enumerate() {
                assert_eq!(**merged, *format!("into {pair},from {pair},").as_bytes());
            }
            let refused = given.refused.expect("one pair cannot be merged");
            assert!(
                refused.reason.contains(words),
                "{words:?} is not in {:?}",
                refused.reason
            );
            assert_eq!(refused.failed, what != "no-merge");
        }
    }
}

#[test]
fn a_state_without_a_result_is_found() {
    for (what, words) in [
        ("no-result", "it comes to nothing"),
        ("crash-at-result", "the rule trapped: wasm `unreachable`"),
    ] {
        let mut states: Vec<Vec<u8>> = (0..50).map(|state| format!("{state},").into_bytes()).collect();
        states[31] = what.as_bytes().to_vec();
        let given = hostile(400).results(&slices(&states));
        assert_eq!(given.column.len(), 31, "{what}");
        assert_eq!(given.column.get(30), Value::Text(b"30,"));
        let refused = given.refused.expect("one state has no result");
        assert!(
            refused.reason.contains(words),
            "{words:?} is not in {:?}",
            refused.reason
        );
    }
}

#[test]
fn nothing_to_do_is_done() {
    let mut hostile = hostile(400);
    let given = hostile.accumulate(Accumulate {
        states: &[b"as it was"],
        groups: &[],
        retracts: None,
        columns: &[&Column::with_capacity(ColumnType::Text, 0)],
    });
    assert_eq!((given.applied, given.refused), (0, None));
    assert_eq!(*given.states, [Box::from(&b"as it was"[..])]);
    assert!(given.results.is_empty());
    assert_eq!(hostile.merge(&[], &[]).states.len(), 0);
    assert_eq!(hostile.results(&[]).column.len(), 0);
}

#[test]
fn an_aggregate_that_misbehaves_before_its_first_batch_says_how() {
    for (what, words) in [
        ("refuse", "parameter \"at_configure\": refused"),
        ("trap", "the rule trapped: wasm `unreachable` instruction executed"),
        ("panic", "the rule panicked: it was asked to panic"),
        ("loop", "the rule ran longer than 50 ms"),
        ("grow", "the rule needs more than 8 MiB of memory"),
    ] {
        let failure = instance("hostile-aggregate", what, &limits(deadline_ms(what)))
            .configure()
            .expect_err("it cannot be set up");
        let failure = failure.to_string();
        assert!(failure.contains(words), "{words:?} is not in {failure:?}");
    }
}

#[test]
fn a_component_of_the_other_world_is_told_which_it_is() {
    let error = host().load(&guest("claims-severity")).expect_err("it is no stage");
    assert!(
        error.to_string().ends_with(
            "claims-severity.wasm: it is an aggregate (it exports weir:stage/aggregate@0.2.0), and here belongs a stage, \
             which exports weir:stage/stage@0.2.0"
        ),
        "{error}"
    );
    let error = host().load_aggregate(&guest("last-page")).expect_err("it is a stage");
    assert!(
        error.to_string().ends_with(
            "last-page.wasm: it is a stage (it exports weir:stage/stage@0.2.0), and here belongs an aggregate, which \
             exports weir:stage/aggregate@0.2.0"
        ),
        "{error}"
    );
    let error = host()
        .load_aggregate(&guest("other-version"))
        .expect_err("it is neither");
    assert!(
        error.to_string().contains("it is built for weir:stage@0.3.0"),
        "{error}"
    );
}

#[test]
fn an_aggregate_that_cannot_be_described_is_refused() {
    let error = host()
        .load_aggregate(&guest("undescribed"))
        .expect_err("it says too little");
    assert!(
        error.to_string().contains(
            "it cannot describe itself: it says in 0 bytes what its states look like; accepted are 1 to 4096"
        ),
        "{error}"
    );
}

#[test]
fn a_deployed_aggregate_has_its_digest() {
    let bytes = std::fs::read(guest("claims-severity")).expect("the guest can be read");
    let module = host()
        .load_aggregate(&guest("claims-severity"))
        .expect("the guest is fine");
    let binary = Binary::stored(&module.digest, bytes.as_slice()).expect("it is what was deployed");
    let again = host().load_deployed_aggregate(&binary).expect("it is the same");
    assert_eq!(again.digest, module.digest);
    let error = Binary::stored("abc", bytes).expect_err("it is another");
    assert!(error.to_string().contains("was damaged or exchanged"), "{error}");
}

// ---- rows and what they should come to -----------------------------------------------------------------------------------

/// Limits that some row runs into each. The deadline is short where it is waited for, and else so long that a busy
/// machine is no misdeed.
fn limits(deadline_ms: u64) -> StageLimits {
    let text = format!("memory_mib = 8\noutput_mib = 1\ndeadline_ms = {deadline_ms}");
    toml::from_str(&text).expect("the limits are fine")
}

pub(crate) fn deadline_ms(what: &str) -> u64 {
    if what == "loop" { 50 } else { 400 }
}

fn instance(name: &str, at_configure: &str, limits: &StageLimits) -> AggregateInstance {
    let module = host().load_aggregate(&guest(name)).expect("the guest is fine");
    let parameters = module.description.parameters.iter().map(|parameter| {
        let value = ParameterValue::Text(at_configure.to_owned());
        (parameter.name.clone(), value)
    });
    let parameters = parameters.collect();
    AggregateInstance::new(host(), module, parameters, limits)
}

fn hostile(deadline_ms: u64) -> AggregateInstance {
    instance("hostile-aggregate", "", &limits(deadline_ms))
}

fn slices(states: &[Vec<u8>]) -> Vec<&[u8]> {
    states.iter().map(|state| &state[..]).collect()
}

/// Rows for the guest `hostile-aggregate`.
struct Rows {
    whats: Vec<String>,
    groups: Vec<u32>,
    retracts: Vec<u8>,
}

impl Rows {
    /// Rows that ask for nothing; each eleventh takes the row before it back.
    fn innocent() -> Rows {
        let back = |row: usize| row % 11 == 10;
        let what = |row: usize| format!("保单 {}", if back(row) { row - 1 } else { row });
        let group = |row: usize| (if back(row) { row - 1 } else { row }) as u32 * 5 % GROUPS;
        Rows {
            whats: (0..ROWS).map(what).collect(),
            groups: (0..ROWS).map(group).collect(),
            retracts: (0..ROWS).map(|row| u8::from(back(row))).collect(),
        }
    }

    /// One call with a range of the rows.
    fn call(&self, instance: &mut AggregateInstance, rows: std::ops::Range<usize>, states: &[Vec<u8>]) -> Accumulated {
        let mut whats = Column::with_capacity(ColumnType::Text, rows.len());
        for what in &self.whats[rows.clone()] {
            whats.push(Value::Text(what.as_bytes()));
        }
        instance.accumulate(Accumulate {
            states: &slices(states),
            groups: &self.groups[rows.clone()],
            retracts: Some(&self.retracts[rows]),
            columns: &[&whats],
        })
    }

    /// All rows, in batches; a row that is refused is left out. Checks each answer against the model, and gives the rows
    /// that were refused, and the states at the end.
    #[track_caller]
    fn run(&self, instance: &mut AggregateInstance, batch: usize) -> (Vec<(usize, RejectedInput)>, Vec<Vec<u8>>) {
        let mut states = vec![Vec::new(); GROUPS as usize];
        let mut refused = Vec::new();
        let mut row = 0;
        while row < self.whats.len() {
            let end = self.whats.len().min(row + batch);
            let given = self.call(instance, row..end, &states);
            let applied = row..row + given.applied as usize;
            let mut results = Vec::new();
            for row in applied.clone() {
                let state = &mut states[self.groups[row] as usize];
                self.apply(row, state);
                results.push(state.clone());
            }
            let found: Vec<Vec<u8>> = given.states.iter().map(|state| state.to_vec()).collect();
            assert!(found == states, "the states after rows {applied:?}");
            assert_eq!(given.results.len(), results.len());
            for (at, result) in results.iter().enumerate() {
                assert!(
                    given.results.get(at) == Value::Text(result),
                    "result {at} of rows {applied:?}"
                );
            }
            row = applied.end;
            match given.refused {
                Some(reason) => {
                    refused.push((row, reason));
                    row += 1;
                }
                None => assert_eq!(applied.end, end, "all rows of the call"),
            }
        }
        (refused, states)
    }

    /// What the guest does, in fewer words. A row that takes another back follows it at once, or that one was refused.
    fn apply(&self, row: usize, state: &mut Vec<u8>) {
        let text = format!("{},", self.whats[row]);
        match self.retracts[row] {
            1 => state.truncate(state.len() - text.len()),
            _ => state.extend_from_slice(text.as_bytes()),
        }
    }
}

#[test]
fn random_rows_come_to_the_same_however_they_are_cut() {
    with_seed(|random: &mut Random| {
        let rows = ROWS + random.below(200);
        let mut all = Rows {
            whats: (0..rows).map(|row| format!("{row}")).collect(),
            groups: (0..rows).map(|_| random.below(GROUPS as usize) as u32).collect(),
            retracts: vec![0; rows],
        };
        for _ in 0..random.below(8) {
            let what = random.pick(&["trap", "reject", "fat", "state-less", "reject-last"]);
            all.whats[random.below(rows)] = what.to_string();
        }
        let expected = all.run(&mut hostile(400), 1);
        for _ in 0..3 {
            let batch = 1 + random.below(rows);
            let (refused, states) = all.run(&mut hostile(400), batch);
            assert_eq!(refused, expected.0, "in batches of {batch}");
            assert_eq!(states, expected.1, "in batches of {batch}");
        }
    });
}
