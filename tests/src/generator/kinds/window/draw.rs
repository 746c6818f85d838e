//! How windows are drawn.

use super::{
    WindowStep,
    cuts::Cut,
    model::{Emit, Kind, Window},
};
use crate::generator::{
    calendar::{AT, Calendar, MINUTE_MS, OWN},
    choices::Choices,
    kinds::{Edge, Place, Step, functions::Functions},
};

type Drawn = Option<Box<dyn Step>>;

pub(in crate::generator::kinds) fn tumbling(choices: &mut Choices<'_>, place: &Place<'_>) -> Drawn {
    let calendar = place.calendar?;
    let size_ms = match calendar.is_civil {
        true => choices.one_of(&[30, 60, 120, 360, 1440, 7 * 1440, 14 * 1440]) * MINUTE_MS,
        false => calendar.duration(choices, &[1, 2, 5, 10, 20]),
    };
    let cut = cut(choices, calendar, false, size_ms, size_ms);
    window(choices, place, calendar, Kind::Cut(cut))
}

/// Those that grow are among them.
pub(in crate::generator::kinds) fn hopping(choices: &mut Choices<'_>, place: &Place<'_>) -> Drawn {
    const CIVIL_MINUTES: [(i64, i64); 7] = [
        (60, 30),
        (180, 60),
        (2880, 1440),
        (360, 120),
        (1440, 360),
        (1440, 480),
        (60, 15),
    ];
    let calendar = place.calendar?;
    let cumulating = choices.below(2) == 1;
    let (size_ms, every_ms) = match calendar.is_civil {
        true => {
            let (size, every) = choices.one_of(&CIVIL_MINUTES);
            (size * MINUTE_MS, every * MINUTE_MS)
        }
        false => {
            let every_ms = calendar.duration(choices, &[1, 2, 5]);
            (every_ms * (1 + choices.below(4) as i64), every_ms)
        }
    };
    let cut = cut(choices, calendar, cumulating, size_ms, every_ms);
    window(choices, place, calendar, Kind::Cut(cut))
}

pub(in crate::generator::kinds) fn session(choices: &mut Choices<'_>, place: &Place<'_>) -> Drawn {
    let calendar = place.calendar.filter(|_| place.input.key.is_none())?;
    let gap_ms = calendar.duration(choices, &[1, 3, 5, 20]);
    window(choices, place, calendar, Kind::Session { gap_ms })
}

pub(in crate::generator::kinds) fn over_rows(choices: &mut Choices<'_>, place: &Place<'_>) -> Drawn {
    let calendar = place.calendar.filter(|_| place.input.key.is_none())?;
    let rows = 1 + choices.below(4);
    window(choices, place, calendar, Kind::OverRows(rows))
}

pub(in crate::generator::kinds) fn over_time(choices: &mut Choices<'_>, place: &Place<'_>) -> Drawn {
    let calendar = place.calendar.filter(|_| place.input.key.is_none())?;
    let span_ms = calendar.duration(choices, &[1, 3, 5, 20]);
    window(choices, place, calendar, Kind::OverTime(span_ms))
}

fn cut(choices: &mut Choices<'_>, calendar: &Calendar, cumulating: bool, size_ms: i64, every_ms: i64) -> Cut {
    let period_ms = if cumulating { size_ms } else { every_ms };
    let offset_ms = match choices.below(4) {
        0 => calendar.duration(choices, &[1, 2, 3, -1, -2]) % period_ms,
        _ => 0,
    };
    Cut {
        cumulating,
        size_ms,
        every_ms,
        offset_ms,
        zone: calendar.zone,
        tick_ms: calendar.tick_ms,
    }
}

fn window(choices: &mut Choices<'_>, place: &Place<'_>, calendar: &Calendar, kind: Kind) -> Drawn {
    let input = place.input;
    let time = time(choices, input, &kind)?;
    let is_changelog = input.key.is_some();
    let slides = matches!(kind, Kind::OverRows(_) | Kind::OverTime(_));
    let functions = Functions::draw(choices, input, place.number, !is_changelog && !slides);
    let (emit, lateness_ms) = match (slides, choices.below(3)) {
        (true, _) => (Emit::Close, 0),
        (_, 0) => (Emit::Close, calendar.duration(choices, &[0, 0, 1, 5, 20])),
        (_, 1) => (Emit::Update, calendar.duration(choices, &[0, 1, 5, 20])),
        _ => {
            let every_ms = calendar.duration(choices, &[1, 3, 7, 10]);
            (Emit::Early(every_ms), calendar.duration(choices, &[0, 1, 5, 20]))
        }
    };
    let window = Window {
        group: group(choices, input),
        kind,
        aggregates: functions.aggregates,
        time,
        emit,
        lateness_ms,
        retracts: is_changelog,
    };
    let names = functions.names;
    Some(Box::new(WindowStep { window, names }))
}

/// The column of the time, if one is to be named. None at all for a changelog that has none to name.
fn time(choices: &mut Choices<'_>, input: &Edge, kind: &Kind) -> Option<Option<usize>> {
    let (own, start) = (input.column(OWN), input.column("window_start"));
    match (kind, choices.below(3)) {
        (Kind::OverRows(_), _) => Some(None),
        // Results of windows have bounds, also what comes of them; what slides has what its input has.
        _ if is_of_window(input) || input.timer_driven => start.or(own).map(Some),
        // Which rows of other changelogs are taken back, and when, is for tests of their own.
        _ if input.key.is_some() => own.filter(|_| input.of == "last_value").map(Some),
        (_, 0) => Some(own),
        _ => Some(None),
    }
}

fn group(choices: &mut Choices<'_>, input: &Edge) -> Vec<usize> {
    let times = ["window_start", "window_end", AT, OWN].map(|name| input.column(name));
    let mut group: Vec<usize> = (0..choices.below(3))
        .map(|_| choices.below(input.columns.len()))
        .collect();
    group.retain(|column| !times.contains(&Some(*column)));
    if !is_of_window(input) && choices.below(3) > 0 {
        // Columns with few values.
        let few = group.iter().map(|column| ["g", "k", "b"][column % 3]);
        group = few.filter_map(|name| input.column(name)).collect();
    }
    group.sort_unstable();
    group.dedup();
    group
}

fn is_of_window(edge: &Edge) -> bool {
    ["tumbling", "hopping", "session", "over_rows", "over_time"].contains(&edge.of)
}
