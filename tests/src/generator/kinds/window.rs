//! `window`: cut by a clock, by silence, or around each row (`over`).

pub mod cuts;
pub(super) mod draw;
pub mod model;
mod over;

use super::{Edge, Ran, Step, functions::Functions};
use crate::generator::{
    calendar::{Moment, OWN},
    model::Changes,
};
use model::{Emit, Emitted, Kind, Window};
use std::fmt::Write;
use weir::model::column::ColumnType::{Boolean, Int};

/// A window, with the names of its results.
#[derive(Debug)]
pub struct WindowStep {
    /// What it does.
    pub window: Window,
    /// The columns that hold its results.
    pub names: Vec<String>,
}

impl WindowStep {
    fn functions(&self) -> Functions {
        Functions {
            aggregates: self.window.aggregates.clone(),
            names: self.names.clone(),
        }
    }
}

impl Step for WindowStep {
    fn outputs(&self, inputs: &[&Edge]) -> Vec<Edge> {
        let (window, input) = (&self.window, inputs[0]);
        let results = self.functions().columns(input).into_iter();
        let slides = window.slides();
        let columns = match slides {
            true => input.columns.iter().cloned().chain(results).collect(),
            false => {
                let bounds = ["window_start", "window_end"].map(|name| (name.to_owned(), Int));
                let group = window.group.iter().map(|&column| input.columns[column].clone());
                group.chain(bounds).chain(results).collect()
            }
        };
        let is_changelog = !slides && (window.emit != Emit::Close || window.lateness_ms > 0);
        let key = is_changelog.then(|| {
            let ends = matches!(&window.kind, Kind::Cut(cut) if cut.cumulating);
            (0..=window.group.len() + usize::from(ends)).collect()
        });
        let by_rows = matches!(window.kind, Kind::OverRows(_));
        let own = Edge {
            timer_driven: input.timer_driven || !by_rows,
            columns,
            key,
            ..Edge::default()
        };
        let mut late = input.aside("late");
        late.columns
            .extend(input.key.as_ref().map(|_| ("retracts".to_owned(), Boolean)));
        late.is_read_whole = late.key.take().is_some();
        if by_rows { vec![own] } else { vec![own, late] }
    }

    fn write(&self, inputs: &[&Edge]) -> String {
        let (window, input) = (&self.window, inputs[0]);
        let mut text = "[step.window]\n".to_owned();
        text += &match &window.kind {
            Kind::Session { gap_ms } => format!("session = {{ gap = \"{gap_ms} ms\" }}\n"),
            Kind::OverRows(rows) => format!("over = {{ rows = {rows} }}\n"),
            Kind::OverTime(span_ms) => format!("over = {{ time = \"{span_ms} ms\" }}\n"),
            Kind::Cut(cut) => cut.write(),
        };
        match window.emit {
            Emit::Close => {}
            Emit::Update => text += "emit = \"update\"\n",
            Emit::Early(every_ms) => text += &format!("emit = {{ early = \"{every_ms} ms\" }}\n"),
        }
        if window.lateness_ms > 0 {
            let _ = writeln!(text, "lateness = \"{} ms\"", window.lateness_ms);
        }
        if let Some(time) = window.time {
            let time = &input.columns[time].0;
            let _ = writeln!(text, "time = {time:?}");
            text += if time == OWN { "time_unit = \"ms\"\n" } else { "" };
        }
        let group = input.names(&window.group);
        let _ = writeln!(text, "group_by = {group:?}\n[step.window.columns]");
        text + &self.functions().write(input)
    }

    fn run(&self, inputs: &[&Changes], moments: &[Moment]) -> Option<Ran> {
        let Emitted {
            out,
            late,
            took,
            held,
            past,
        } = self.window.run(inputs[0], moments);
        let (outputs, state) = match self.window.kind {
            Kind::OverRows(_) => (vec![out], "rows"),
            Kind::OverTime(_) => (vec![out, late], "rows"),
            Kind::Cut(_) | Kind::Session { .. } => (vec![out, late], "windows"),
        };
        let came = super::all_that_came(inputs[0]);
        Some(Ran {
            outputs,
            took: took.into_iter().zip(came).map(|(took, came)| took && came).collect(),
            state: Some((state, held)),
            past,
            ..Ran::default()
        })
    }
}
