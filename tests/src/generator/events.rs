//! Events: what their columns hold, how far out of order they come, and what is none.

use super::{
    Pipeline,
    calendar::{AT, OWN},
    choices::Choices,
    model::Row,
};
use crate::table::Cell;
use serde_json::Value as Json;
use std::sync::LazyLock;
use weir::model::{
    column::{
        ColumnType::{self, Boolean, Bytes, Date, Decimal, Double, Int, Json as JsonText, List, Text, Timestamp},
        ElementType,
    },
    decimal::DecimalType,
};

/// Values that are found at edges, and few enough that keys and values come again.
pub const INTS: [i64; 8] = [0, 1, 2, 3, -1, i64::MAX, i64::MIN, i64::MAX - 1];

/// The same of doubles.
pub const DOUBLES: [f64; 17] = [
    0.0,
    0.1,
    0.2,
    0.3,
    1.0,
    -1.0,
    1e16,
    -1e16,
    5e-324,
    -5e-324,
    1e308,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    85.0,
    // Half of the last place of 1, and 1 with its last place: sums of these and the least ones fall on both sides of ties.
    f64::EPSILON / 2.0,
    1.0 + f64::EPSILON,
];

/// The same of texts.
pub const TEXTS: [&str; 9] = ["", "a", "b", "a\0", "\0", "\0a", "a\0b", "保单", "a\u{10ffff}"];

/// The type of [`DECIMALS`].
pub static DECIMAL: LazyLock<DecimalType> = LazyLock::new(|| DecimalType::new(15, 3).expect("there is such a decimal"));

/// Decimals, as their tables show them: of up to fifteen digits, three of them behind the point.
pub const DECIMALS: [f64; 7] = [0.0, 0.1, -0.001, 1.5, 999_999_999_999.999, -999_999_999_999.999, 0.3];

/// Timestamps, as their tables show them.
pub const TIMESTAMPS: [&str; 5] = [
    "0000-01-01T00:00:00.000000Z",
    "1969-12-31T23:59:59.999999Z",
    "1970-01-01T00:00:00.000000Z",
    "2026-03-15T04:00:00.000001Z",
    "9999-12-31T23:59:59.999999Z",
];

/// Dates.
pub const DATES: [&str; 4] = ["0000-01-01", "1969-12-31", "2024-02-29", "9999-12-31"];

/// Bytes that are no text, and those that begin like others.
pub const BYTES: [&[u8]; 5] = [b"", b"\0", b"\xff", b"\xff\0", b"a"];

/// Lists of integers, as their tables show them.
pub const LISTS: [&str; 4] = ["[]", "[null]", "[0]", "[-9223372036854775808,1]"];

/// JSON, as it is written.
pub const JSONS: [&str; 5] = ["1.10", "1.1", "[1, {\"a\": null}]", "\"\\u0000\"", "{}"];

/// What a column of a source holds.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// One of these integers.
    Ints(&'static [i64]),
    /// One of [`DOUBLES`].
    Doubles,
    /// One of these texts.
    Texts(&'static [&'static str]),
    /// One of [`DECIMALS`].
    Decimals,
    /// One of [`TIMESTAMPS`].
    Timestamps,
    /// One of [`DATES`].
    Dates,
    /// One of [`BYTES`].
    Bytes,
    /// One of [`LISTS`].
    Lists,
    /// One of [`JSONS`].
    Jsons,
    /// True so many times out of the second number.
    True(usize, usize),
    /// The number of the event.
    Number,
    /// An integer from 0, below this.
    Below(usize),
    /// One of so many keys: `k0`, `k1`, …
    Key(usize),
    /// When the event happened.
    EventTime,
    /// A time near that of the event.
    RowTime,
}

/// A subject of the stream, and what its events hold.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name; only pipelines with several have it in their file.
    pub name: &'static str,
    /// Its subject.
    pub subject: &'static str,
    /// Its columns.
    pub columns: &'static [(&'static str, Values)],
}

/// What a stream is like.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// How many values out of 256 are null.
    pub nulls: usize,
    /// By how many steps an event is later than the one before it.
    pub forward: &'static [i64],
    /// How many steps older than that it may be.
    pub back: Back,
    /// One event in so many is even older, by fewer steps than the second number; none for 0.
    pub behind: (usize, usize),
    /// One payload in so many is none that can be decoded; none for 0.
    pub broken: usize,
    /// One payload in so many is blank; none for 0.
    pub blank: usize,
}

/// How many steps older an event may be than the latest time says.
#[derive(Clone, Copy, Debug)]
pub enum Back {
    /// One of these.
    OneOf(&'static [i64]),
    /// Fewer than this.
    Below(usize),
}

impl Flow {
    /// Jumps forth and back, and a null now and then.
    pub const RANDOM: Self = Self {
        nulls: 16,
        forward: &[0, 0, 1, 1, 2, 3, 7, 25],
        back: Back::OneOf(&[0, 0, 0, 0, 1, 2, 5, 30]),
        behind: (0, 1),
        broken: 0,
        blank: 0,
    };
}

/// Payloads that no pipeline with event time can decode; the first one only where that is a column of its own, since an event
/// that has no `now` happened when it was stored.
const BROKEN: [&str; 4] = ["{}", "broken", r#"{"k": "k1", "at": 1"#, r#"{"k": 1, "at": "1"}"#];

/// What was published.
#[derive(Clone, Debug)]
pub struct Event {
    /// The number of its input.
    pub input: usize,
    /// What it is.
    pub what: What,
}

/// What an event is.
#[derive(Clone, Debug)]
pub enum What {
    /// A row of its input.
    Row(Row),
    /// Nothing that can be decoded.
    Broken(&'static str),
    /// No payload.
    Blank,
}

impl Event {
    /// Its row, where it is one.
    pub fn row(&self) -> Option<&Row> {
        match &self.what {
            What::Row(row) => Some(row),
            What::Broken(_) | What::Blank => None,
        }
    }
}

/// How far a stream has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    events: i64,
    steps: i64,
}

impl Pipeline {
    /// The next event of its stream.
    pub fn event(&self, flow: &Flow, progress: &mut Progress, choices: &mut Choices<'_>) -> Event {
        progress.events += 1;
        progress.steps += choices.one_of(flow.forward);
        let back = match flow.back {
            Back::OneOf(steps) => choices.one_of(steps),
            Back::Below(steps) => choices.below(steps) as i64,
        };
        let (behind_once_in, behind) = flow.behind;
        let is_behind = behind_once_in > 0 && choices.happens(1, behind_once_in);
        let behind = if is_behind { choices.below(behind) as i64 } else { 0 };
        let steps = progress.steps - back - behind;
        let input = choices.below(self.inputs.len());
        // The last of the numbers, since bytes that are missing are 0.
        let mut once_in = |events: usize| events > 0 && choices.below(events) == events - 1;
        let what = match (once_in(flow.broken), once_in(flow.blank)) {
            (true, _) => {
                let by_now = self.time.as_ref().is_some_and(|time| time.by_now);
                What::Broken(choices.one_of(&BROKEN[usize::from(by_now)..]))
            }
            (_, true) => What::Blank,
            _ => What::Row(self.row(input, flow, progress.events, steps, choices)),
        };
        Event { input, what }
    }

    /// So many events from the beginning of its stream.
    pub fn events(&self, count: usize, flow: &Flow, choices: &mut Choices<'_>) -> Vec<Event> {
        let mut progress = Progress::default();
        (0..count).map(|_| self.event(flow, &mut progress, choices)).collect()
    }

    fn row(&self, input: usize, flow: &Flow, number: i64, steps: i64, choices: &mut Choices<'_>) -> Row {
        let time_ms = |steps: i64| {
            let calendar = &self
                .time
                .as_ref()
                .expect("events of this pipeline have a time")
                .calendar;
            calendar.base_ms + steps * calendar.step_ms
        };
        let mut cell = |values: &Values| match values {
            Values::EventTime => Cell::Int(self.time.as_ref().map_or(0, |time| time.at(time_ms(steps)))),
            Values::Number => Cell::Int(number),
            _ if choices.below(256) < flow.nulls => Cell::Null,
            Values::RowTime => Cell::Int(time_ms(steps + choices.one_of(&[0, 0, 0, -1, 1, -3, 4, 12, -30]))),
            Values::Ints(values) => Cell::Int(choices.one_of(values)),
            Values::Doubles => Cell::Double(choices.one_of(&DOUBLES)),
            Values::Texts(values) => Cell::Text(choices.one_of(values).to_owned()),
            Values::Decimals => Cell::Double(choices.one_of(&DECIMALS)),
            Values::Timestamps => Cell::Text(choices.one_of(&TIMESTAMPS).to_owned()),
            Values::Dates => Cell::Text(choices.one_of(&DATES).to_owned()),
            Values::Bytes => Cell::Blob(choices.one_of(&BYTES).to_owned()),
            Values::Lists => Cell::Text(choices.one_of(&LISTS).to_owned()),
            Values::Jsons => Cell::Text(choices.one_of(&JSONS).to_owned()),
            Values::True(times, of) => Cell::Int(choices.happens(*times, *of).into()),
            Values::Below(count) => Cell::Int(choices.below(*count) as i64),
            Values::Key(count) => Cell::Text(format!("k{}", choices.below(*count))),
        };
        let columns = self.inputs[input].columns.iter();
        columns.map(|(_, values)| cell(values)).collect()
    }

    /// The payload of an event. Nulls may be left out.
    pub fn payload(&self, event: &Event, leaves_out_nulls: bool) -> String {
        let row = match &event.what {
            What::Row(row) => row,
            What::Broken(payload) => return (*payload).to_owned(),
            What::Blank => return " ".to_owned(),
        };
        let columns = self.inputs[event.input].typed();
        object(&columns, row, |cell| *cell != Cell::Null || !leaves_out_nulls)
    }
}

impl Values {
    fn column_type(self) -> ColumnType {
        match self {
            Self::Ints(_) | Self::Number | Self::Below(_) | Self::EventTime | Self::RowTime => Int,
            Self::Doubles => Double,
            Self::Texts(_) | Self::Key(_) => Text,
            Self::True(..) => Boolean,
            Self::Decimals => Decimal(*DECIMAL),
            Self::Timestamps => Timestamp,
            Self::Dates => Date,
            Self::Bytes => Bytes,
            Self::Lists => List(ElementType::of(Int).expect("it is a scalar")),
            Self::Jsons => JsonText,
        }
    }
}

impl Input {
    /// Its columns, with their types.
    pub fn typed(&self) -> Vec<(String, ColumnType)> {
        let typed = |(name, values): &(&str, Values)| ((*name).to_owned(), values.column_type());
        self.columns.iter().map(typed).collect()
    }

    /// Which column of it says when an event happened.
    pub(super) fn at(&self) -> Option<usize> {
        self.columns.iter().position(|(name, _)| *name == AT)
    }
}

/// Columns of every type, of which some have few values; without times.
pub const COLUMNS: &[(&str, Values)] = &[
    ("g", Values::Ints(&INTS)),
    ("k", Values::Texts(&TEXTS)),
    ("x", Values::Ints(&INTS)),
    ("y", Values::Doubles),
    ("b", Values::True(1, 2)),
    ("t", Values::Texts(&TEXTS)),
    ("d", Values::Decimals),
    ("w", Values::Timestamps),
    ("z", Values::Dates),
    ("r", Values::Bytes),
    ("l", Values::Lists),
    ("j", Values::Jsons),
];

/// The same with times: when an event happened, and what steps may take for the time of a row.
pub const TIMED_COLUMNS: &[(&str, Values)] = &[
    ("g", Values::Ints(&[1, 2, i64::MIN])),
    ("k", Values::Texts(&["a", "a\0", ""])),
    ("n", Values::Ints(&INTS)),
    ("y", Values::Doubles),
    ("b", Values::True(1, 2)),
    ("t", Values::Texts(&TEXTS)),
    (AT, Values::EventTime),
    (OWN, Values::RowTime),
    ("d", Values::Decimals),
    ("w", Values::Timestamps),
    ("z", Values::Dates),
    ("r", Values::Bytes),
    ("l", Values::Lists),
    ("j", Values::Jsons),
];

/// A row as a JSON object, with the members for which `is_kept` holds.
pub fn object(columns: &[(String, ColumnType)], row: &Row, is_kept: impl Fn(&Cell) -> bool) -> String {
    let members = columns
        .iter()
        .zip(row)
        .filter(|(_, cell)| is_kept(cell))
        .map(|((name, column_type), cell)| {
            let value = match (column_type, cell) {
                (Boolean, Cell::Int(value)) => Json::Bool(*value == 1).to_string(),
                (Decimal(decimal), Cell::Double(value)) => format!("{value:.places$}", places = decimal.scale().into()),
                (Decimal(_) | List(_) | JsonText, Cell::Text(text)) => text.clone(),
                _ => cell.to_json().to_string(),
            };
            format!("{}:{value}", Json::from(name.as_str()))
        });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}
