//! Keyed functions as the host sees them: what they say of themselves, and what rows and times make of states.

use weir_guest::abi::keyed::{Batch, Due, Rejected};
use weir_guest::abi::{Column, ColumnValues, OutputRows, States};
use weir_guest::{Keyed, State};

/// The example of docs/RULES.md, which is this file to the letter.
#[path = "guide/keyed.rs"]
mod guide;

#[test]
fn the_guide_shows_what_is_tested() {
    let shown = include_str!("../../../docs/RULES.md");
    assert!(shown.contains(&format!("```rust\n{}```\n", include_str!("guide/keyed.rs"))));
}

const NONE: i64 = i64::MAX;

fn ints(values: &[i64]) -> Column {
    Column {
        validity: None,
        values: ColumnValues::Int(values.to_vec()),
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

fn of(outputs: &[OutputRows]) -> Vec<(&[u32], &[Column])> {
    outputs
        .iter()
        .map(|output| (&output.rows[..], &output.computed[..]))
        .collect()
}

/// One with all that there is: sums that are given when the time comes, at the latest.
mod all {
    use weir_guest::{Context, EventTime, Input, Output, Outputs, Parameters, Reject, State, Timers, keyed};

    #[derive(Input)]
    pub(super) struct Row {
        pub(super) value: i64,
    }

    #[derive(Debug, Outputs)]
    pub(super) struct Given {
        pub(super) row: Option<Seen>,
        pub(super) sums: Vec<Sum>,
    }

    #[derive(Debug, Output)]
    #[pass(value)]
    pub(super) struct Seen {
        now_ms: i64,
        at_us: i64,
    }

    #[derive(Debug, Output)]
    pub(super) struct Sum {
        pub(super) sum: i64,
    }

    #[derive(Parameters)]
    pub(super) struct Settings {
        #[default(10)]
        wait_us: i64,
    }

    /// Sums of rows.
    ///
    /// By key.
    #[derive(Debug, Default, PartialEq, State)]
    pub(super) struct Sums {
        pub(super) sum: i64,
    }

    #[keyed]
    impl Sums {
        /// 0 clears the timer, -1 is rejected, -2 comes to nothing.
        fn on_row(
            &mut self,
            row: Row,
            timers: &mut Timers,
            at: EventTime,
            cx: &Context<Settings>,
        ) -> Result<Option<Given>, Reject> {
            self.sum += row.value;
            let ends = EventTime::from_us(at.us() + cx.parameters.wait_us);
            match row.value {
                0 => timers.clear(),
                -2 => {
                    self.sum = 0;
                    return Ok(None);
                }
                _ => timers.set(timers.get().unwrap_or(ends)),
            }
            if row.value == -1 {
                return Err(Reject::new("minus one"));
            }
            Ok(Some(Given {
                row: Some(Seen {
                    now_ms: cx.now_ms(),
                    at_us: at.us(),
                }),
                sums: vec![],
            }))
        }

        /// 100 waits again, 200 for the same time again, 300 gives a row where it cannot, 400 is rejected.
        fn on_timer(&mut self, timers: &mut Timers, settings: &Settings, at: EventTime) -> Result<Given, Reject> {
            let sum = self.sum;
            match sum {
                100 => timers.set(EventTime::from_us(at.us() + settings.wait_us)),
                200 => timers.set(at),
                400 => return Err(Reject::new(format!("at {at}"))),
                _ => (),
            }
            self.sum = 0;
            Ok(Given {
                row: (sum == 300).then_some(Seen { now_ms: 0, at_us: 0 }),
                sums: vec![Sum { sum }, Sum { sum: at.us() }],
            })
        }
    }

    // `driver` is as private as the types that it speaks of.

    #[test]
    fn a_driver_calls_as_the_host_does() {
        let us = EventTime::from_us;
        let mut keys = Rule::driver(Settings::defaults().unwrap());
        for (key, at, value) in [("b", 0, 100), ("a", 0, 1), ("c", 3, 5)] {
            let given = keys.at(us(at)).now_ms(at).push(key, Row { value });
            assert!(given.unwrap().is_some_and(|given| given.row.is_some()));
        }
        // A row that is rejected leaves the state as it was.
        assert_eq!(keys.push("a", Row { value: -1 }).unwrap_err().reason(), "minus one");
        assert_eq!(keys.state("a"), Some(Sums { sum: 1 }));
        // A new key that is rejected, or comes to nothing, is none.
        assert!(keys.push("d", Row { value: -1 }).is_err());
        assert!(keys.push("d", Row { value: -2 }).unwrap().is_none());
        assert_eq!(keys.state("d"), None);
        assert_eq!((keys.timer("a"), keys.timer("d")), (Some(us(10)), None));

        let mut fired = Vec::new();
        for (key, given) in keys.advance_to(us(20)) {
            let sums: Vec<_> = given.unwrap().sums.iter().map(|sum| sum.sum).collect();
            fired.push((key, sums));
        }
        // By time, then by key; the one that waits again comes again.
        let expected = [("a", [1, 10]), ("b", [100, 10]), ("c", [5, 13]), ("b", [0, 20])];
        assert_eq!(fired, expected.map(|(key, sums)| (key.to_owned(), sums.to_vec())));
        assert_eq!(keys.state("b"), None);
    }

    #[test]
    #[should_panic(expected = "key \"a\": on_timer set a timer for 1970-01-01T00:00:00.000010Z")]
    fn a_driver_refuses_a_timer_that_has_come_already() {
        let mut keys = Rule::driver(Settings::defaults().unwrap());
        assert!(keys.push("a", Row { value: 200 }).is_ok());
        keys.advance_to(EventTime::from_us(10));
    }
}

fn sum(sum: i64) -> Vec<u8> {
    bytes(&all::Sums { sum })
}

fn rule() -> all::Rule {
    let parameters = all::Rule::describe().parameters.into_iter();
    let defaults = parameters.map(|spec| weir_guest::abi::Parameter {
        name: spec.name,
        value: spec.default.unwrap(),
    });
    all::Rule::configure(defaults.collect()).unwrap()
}

#[test]
fn a_keyed_function_describes_itself() {
    let description = all::Rule::describe();
    assert_eq!(description.name, "weir-guest");
    assert_eq!(description.doc, "Sums of rows.\nBy key.");
    assert_eq!(description.inputs.len(), 1);
    assert!(description.reads_time && description.reads_event_time && description.timers);
    let outputs: Vec<_> = description
        .outputs
        .iter()
        .map(|output| (output.name.as_str(), output.many))
        .collect();
    assert_eq!(outputs, [("row", false), ("sums", true)]);
    assert_eq!(description.state, "{sum: int}");
    assert_eq!(description.parameters.len(), 1);
}

/// Rows of two keys, of which the second is new.
fn batch(values: &[i64]) -> Batch {
    Batch {
        keys: (0..values.len() as u32).map(|row| row % 2).collect(),
        states: states(&[&sum(7), &[]]),
        timers: vec![20, NONE],
        times_us: (0..values.len() as i64).map(|row| 5_000 + row * 1_000).collect(),
        event_times_us: (0..values.len() as i64).map(|row| 100 + row).collect(),
        columns: vec![ints(values)],
    }
}

#[test]
fn rows_go_into_the_states_of_their_keys_in_order() {
    let given = rule().process(&batch(&[1, 2, 0, 3])).unwrap();
    assert_eq!(given.states, states(&[&sum(8), &sum(5)]));
    // The timer of a key stays, goes, or is set; after each row.
    assert_eq!(given.timers, [20, 111, NONE, 111]);
    assert_eq!(
        of(&given.outputs),
        [
            (
                &[0, 1, 2, 3][..],
                &[ints(&[5, 6, 7, 8]), ints(&[100, 101, 102, 103])][..]
            ),
            (&[][..], &[ints(&[])][..])
        ]
    );
}

#[test]
fn the_first_row_that_is_rejected_is_named() {
    let rejected = rule().process(&batch(&[1, -1, -1])).unwrap_err();
    assert_eq!(
        rejected,
        Rejected {
            number: 1,
            reason: "minus one".to_owned()
        }
    );
}

#[test]
fn a_state_that_is_as_a_new_one_has_no_bytes() {
    let given = rule().process(&batch(&[-7, -2])).unwrap();
    assert_eq!(given.states, states(&[&[], &[]]));
    // It waits all the same, so its key is not forgotten.
    assert_eq!(given.timers, [20, NONE]);
}

fn due(sums: &[i64]) -> Due {
    let encoded: Vec<_> = sums.iter().map(|of| sum(*of)).collect();
    Due {
        states: states(&encoded.iter().map(Vec::as_slice).collect::<Vec<_>>()),
        timers: (0..sums.len() as i64).map(|key| 50 + key).collect(),
    }
}

#[test]
fn keys_whose_time_has_come_give_rows_and_may_wait_again() {
    let fired = rule().on_timers(&due(&[1, 100, 2])).unwrap();
    assert_eq!(fired.states, states(&[&[], &[], &[]]));
    assert_eq!(fired.timers, [NONE, 61, NONE]);
    assert_eq!(
        of(&fired.outputs),
        [
            (&[][..], &[ints(&[]), ints(&[])][..]),
            (&[0, 0, 1, 1, 2, 2][..], &[ints(&[1, 50, 100, 51, 2, 52])][..])
        ]
    );
}

#[test]
fn the_first_key_that_is_rejected_is_named() {
    for (sums, number, reason) in [
        (&[1, 400, 300][..], 1, "at 1970-01-01T00:00:00.000051Z"),
        (
            &[1, 200, 300],
            1,
            "on_timer set a timer for 1970-01-01T00:00:00.000051Z; accepted are times after 1970-01-01T00:00:00.000051Z, \
             for which the key has waited",
        ),
        (
            &[300, 400],
            0,
            "on_timer gave a row to output `row`, where column `value` goes through from a row, and a timer has none",
        ),
    ] {
        let rejected = rule().on_timers(&due(sums)).unwrap_err();
        assert_eq!((rejected.number, rejected.reason.as_str()), (number, reason));
    }
}

// ---- one with no more than it must ----------------------------------------------------------------------------------

mod least {
    use weir_guest::{Input, Output, State, keyed};

    #[derive(Input)]
    pub(super) struct Row<'a> {
        pub(super) text: &'a str,
    }

    #[derive(Debug, Output)]
    pub(super) struct Repeated<'a> {
        pub(super) text: &'a str,
        pub(super) of: i64,
    }

    /// Texts that came before.
    #[derive(Default, State)]
    pub(super) struct Texts {
        pub(super) texts: Vec<String>,
    }

    #[keyed]
    impl Texts {
        fn on_row<'a>(&mut self, row: Row<'a>) -> Option<impl Iterator<Item = Repeated<'a>>> {
            let before = self.texts.iter().filter(|text| *text == row.text).count();
            self.texts.push(row.text.to_owned());
            (before > 0).then(move || (0..before as i64).map(move |of| Repeated { text: row.text, of }))
        }
    }
}

fn text_batch(state: &[u8], values: &[&str]) -> Batch {
    let mut offsets = vec![0];
    for value in values {
        offsets.push(offsets[offsets.len() - 1] + value.len() as u32);
    }
    let texts = weir_guest::abi::TextValues {
        offsets,
        data: values.concat().into_bytes(),
    };
    Batch {
        keys: vec![0; values.len()],
        states: states(&[state]),
        timers: vec![],
        times_us: vec![],
        event_times_us: vec![],
        columns: vec![Column {
            validity: None,
            values: ColumnValues::Text(texts),
        }],
    }
}

#[test]
fn a_function_asks_for_no_more_than_it_takes() {
    let description = least::Rule::describe();
    assert!(!description.reads_time && !description.reads_event_time && !description.timers);
    assert!(description.outputs[0].many);
    assert_eq!(description.outputs[0].name, "out");

    let given = least::Rule::configure(vec![])
        .unwrap()
        .process(&text_batch(&[], &["a", "a", "b", "a"]))
        .unwrap();
    assert!(given.timers.is_empty());
    assert_eq!(given.outputs[0].rows, [1, 3, 3]);
    assert_eq!(given.outputs[0].computed[1], ints(&[0, 0, 1]));
}

#[test]
fn a_state_beyond_the_limit_rejects_its_row_wherever_a_batch_ends() {
    let rule = least::Rule::configure(vec![]).unwrap();
    let full = least::Texts {
        texts: vec!["x".repeat(65536 - 8)],
    };
    assert_eq!(bytes(&full).len(), 65536);
    for values in [&["a"][..], &["a", "b"]] {
        let rejected = rule.process(&text_batch(&bytes(&full), values)).unwrap_err();
        assert_eq!(rejected.number, 0);
        assert_eq!(
            rejected.reason,
            "the state of the key would have 65541 bytes; accepted are up to 65536"
        );
    }
    let most = "x".repeat(65536 - 8);
    assert!(rule.process(&text_batch(&[], &[&most])).is_ok());
    assert_eq!(rule.process(&text_batch(&[], &[&most, ""])).unwrap_err().number, 1);
}

#[test]
#[should_panic(expected = "a state that is none of this module")]
fn a_state_of_another_module_is_not_taken() {
    let mut batch = batch(&[1, 1]);
    batch.states = states(&[&[1, 2, 3], &[]]);
    let _ = rule().process(&batch);
}

#[test]
#[should_panic(expected = "the host called for timers, which this function does not set")]
fn a_function_without_timers_is_not_called_for_them() {
    let _ = least::Rule::configure(vec![]).unwrap().on_timers(&due(&[]));
}

/// One whose event time is a type of jiff, and whose `on_timer` alone takes the parameters.
mod other_arguments {
    use weir_guest::jiff::{SignedDuration, Timestamp};
    use weir_guest::{Input, Output, Parameters, State, Timers, keyed};

    #[derive(Input)]
    pub(super) struct Row {}

    #[derive(Output)]
    pub(super) struct Ended {
        pub(super) at: Timestamp,
        pub(super) word: String,
    }

    #[derive(Parameters)]
    pub(super) struct Settings {
        #[default("ended")]
        word: String,
    }

    #[derive(Default, State)]
    pub(super) struct Nothing;

    #[keyed]
    impl Nothing {
        fn on_row(&mut self, _: Row, at: Timestamp, timers: &mut Timers) -> Option<Ended> {
            timers.set(at + SignedDuration::from_secs(1));
            None
        }

        fn on_timer(&mut self, at: Timestamp, settings: &Settings) -> [Ended; 1] {
            [Ended {
                at,
                word: settings.word.clone(),
            }]
        }
    }

    #[test]
    fn an_event_time_may_be_a_type_of_jiff() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut keys = Rule::driver(Settings::defaults().unwrap());
        assert!(keys.at(at(5)).push("a", Row {}).is_none());
        let fired = keys.advance_to(at(6));
        let [(_, [ended])] = &fired[..] else { panic!("one key") };
        assert_eq!((ended.at, ended.word.as_str()), (at(6), "ended"));
    }
}

#[test]
fn parameters_are_those_of_either_method() {
    let description = other_arguments::Rule::describe();
    assert!(!description.reads_time && description.reads_event_time);
    assert_eq!(description.parameters.len(), 1);
}
