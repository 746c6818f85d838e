//! A pipeline with an operator of each kind, its events, and what they leave.

pub(super) mod model;

use crate::events::Event;
use model::Model;
use weir_tests::generator::{
    self, Flow, Pipeline,
    calendar::{AT, Calendar, EventTime, Unit},
    choices::Choices,
    events::{Back, Input, Progress, Values},
    kinds::{
        aggregate::Aggregate,
        functions::Functions,
        interval_join::IntervalJoin,
        last_value::LastValue,
        on_crossing::OnCrossing,
        versions::Versions,
        window::{
            WindowStep,
            cuts::Cut,
            model::{Emit, Kind, Window},
        },
    },
    sinks::Target,
};

/// The stream, and the subjects of its two inputs.
pub(super) const STREAM: &str = "SHOP";
pub(super) const ORDERS: &str = "shop.orders";
pub(super) const PAYMENTS: &str = "shop.payments";

/// The pipeline's name.
pub(super) const PIPELINE: &str = "shop";

/// Where the rows of the two outputs of the crossing go.
pub(super) const RAISED: &str = "alerts.raised";
pub(super) const CLEARED: &str = "alerts.cleared";

/// The rule rejects orders whose number this divides, after all others have seen them.
const MALFORMED: i64 = 97;

/// How far out of order events may come, how long a window is, and how far a payment may be from its order.
const OUT_OF_ORDERNESS_MS: i64 = 2_000;
const WINDOW_MS: i64 = 10_000;
const INTERVAL_MS: i64 = 300;

/// Event time goes on by a little from one event to the next. One in twenty comes later than it may, some of them after
/// their window.
const FLOW: Flow = Flow {
    nulls: 0,
    forward: &[20],
    back: Back::Below(OUT_OF_ORDERNESS_MS as usize),
    behind: (20, WINDOW_MS as usize),
    broken: 50,
    blank: 200,
};

/// The inputs, by their numbers.
const OF_ORDERS: usize = 0;
const OF_PAYMENTS: usize = 1;

const ORDER: &[(&str, Values)] = &[
    ("n", Values::Number),
    ("k", Values::Key(11)),
    (AT, Values::EventTime),
    ("high", Values::True(1, 3)),
];
const PAYMENT: &[(&str, Values)] = &[
    ("k", Values::Key(11)),
    (AT, Values::EventTime),
    ("paid", Values::Below(1_000)),
];

/// The pipeline.
fn pipeline() -> Pipeline {
    let time = EventTime {
        calendar: Calendar::of_milliseconds(0),
        unit: Unit::Milliseconds,
        out_of_orderness_ms: OUT_OF_ORDERNESS_MS,
        by_now: false,
    };
    let input = |name, subject, columns| Input { name, subject, columns };
    let inputs = vec![input("orders", ORDERS, ORDER), input("payments", PAYMENTS, PAYMENT)];
    let mut shop = Pipeline::new(PIPELINE, STREAM, inputs, Some(time));

    let (key, raise) = (vec![1], 3);
    let crossing = OnCrossing {
        key,
        raise: Some(raise),
        hold: None,
        retracts: false,
    };
    let peaks = shop.add("on_crossing", "peaks", OF_ORDERS, Box::new(crossing));
    let rule = Versions {
        parameters: format!("malformed = {MALFORMED}"),
        rejected: MALFORMED,
        n: 0,
        is_read: true,
    };
    let judged = shop.add("judge", "judged", OF_ORDERS, Box::new(rule));
    let label = shop.own_edge(judged);
    let group = vec![label.column("k").expect("the rule passes it on")];
    let [count, total] = [("orders", "count", "*"), ("total", "sum", "n")];
    let of_key = Functions::of(label, &[count, total, ("largest", "max", "n")]);
    let of_window = Functions::of(label, &[count, total]);
    let totals = Aggregate {
        group: group.clone(),
        functions: of_key,
    };
    let totals = shop.add("aggregate", "totals", judged, Box::new(totals));
    let (key, columns) = (vec![0], vec![2]);
    let last = shop.add("last_value", "last", OF_PAYMENTS, Box::new(LastValue { key, columns }));
    let windows = shop.add("tumbling", "windows", judged, Box::new(tumbling(group, of_window)));
    let join = IntervalJoin {
        with: OF_PAYMENTS,
        on: "k",
        interval_ms: INTERVAL_MS,
        columns: vec!["paid"],
    };
    let paid = shop.add("interval_join", "paid", judged, Box::new(join));

    let by_key = || Target::Table(vec![0]);
    shop.sink("totals", (totals, 0), by_key(), &[]);
    shop.sink("last_payments", (last, 0), by_key(), &[]);
    shop.sink("windows", (windows, 0), Target::Append, &[]);
    shop.sink("late_for_windows", (windows, 1), Target::Append, &[]);
    shop.sink("paid", (paid, 0), Target::Append, &["n", "k", "paid"]);
    shop.sink("late_orders", (paid, 1), Target::Append, &[]);
    shop.sink("late_payments", (paid, 2), Target::Append, &[]);
    shop.sink(RAISED, (peaks, 0), Target::Subject, &["n", "k"]);
    shop.sink(CLEARED, (peaks, 1), Target::Subject, &["n", "k"]);
    shop
}

fn tumbling(group: Vec<usize>, functions: Functions) -> WindowStep {
    let window = Window {
        kind: Kind::Cut(Cut {
            cumulating: false,
            size_ms: WINDOW_MS,
            every_ms: WINDOW_MS,
            offset_ms: 0,
            zone: None,
            tick_ms: 1,
        }),
        group,
        aggregates: functions.aggregates,
        time: None,
        emit: Emit::Close,
        lateness_ms: 0,
        retracts: false,
    };
    let names = functions.names;
    WindowStep { window, names }
}

/// Events of the pipeline, from a seed, and what they make.
#[derive(Debug)]
pub(super) struct Shop {
    pipeline: Pipeline,
    choices: Choices<'static>,
    progress: Progress,
    made: Vec<generator::Event>,
}

impl Shop {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            pipeline: pipeline(),
            choices: Choices::of_seed(seed),
            progress: Progress::default(),
            made: Vec::new(),
        }
    }

    /// The pipeline file.
    pub(super) fn pipeline_text(&self) -> String {
        self.pipeline.toml()
    }

    /// The next events of the stream.
    pub(super) fn make(&mut self, count: usize) -> Vec<Event> {
        let first = self.made.len();
        for _ in 0..count {
            let made = self.pipeline.event(&FLOW, &mut self.progress, &mut self.choices);
            self.made.push(made);
        }
        let published = |event: &generator::Event| {
            let subject = self.pipeline.inputs[event.input].subject;
            (subject, self.pipeline.payload(event, false).into_bytes())
        };
        self.made[first..].iter().map(published).collect()
    }

    /// What all events together leave.
    pub(super) fn model(&self) -> Model {
        let mut model = Model::default();
        for (n, event) in (1..).zip(&self.made) {
            model.take(n, event);
        }
        model
    }
}
