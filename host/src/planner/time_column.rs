//! What a column of times counts, where a step reads the times of its rows from one.
//!
//! Every step that takes a time column asks here. The unit follows the column from where it came into being, through all
//! steps that pass it on: from the column that holds the times of events, from "now", or from the bounds of a window.

use super::{Binder, BoundKind, Origin, OutputPort, Provenance, window_keys::Window};
use crate::{
    definition::{Now, TimeUnit},
    error::Result,
    model::column::ColumnType,
    plan::TimeScale,
};

/// The columns that say which window a row is of.
pub(super) const START: &str = "window_start";
pub(super) const END: &str = "window_end";

impl Binder<'_> {
    /// The column that holds the times of the rows of `input`, if `window` names one, and what it counts.
    pub(super) fn time_column(&self, input: OutputPort, window: &Window) -> Result<Option<(String, TimeScale)>> {
        let Some(time) = &window.time else {
            return match &window.time_unit {
                None => Ok(None),
                Some(unit) => {
                    let message = "key `time_unit` says what the column of key `time` counts, and there is no such key; \
                                   the times of events count what `[event_time]` says";
                    Err(self.error(unit.span(), message))
                }
            };
        };
        let (source, whose) = (self.output(input)?, self.port_name(input));
        let index = self.column(&source.schema, time, &whose)?;
        match source.schema.get(index).map(|field| field.column_type) {
            Some(ColumnType::Timestamp) => {
                return match &window.time_unit {
                    None => Ok(Some((time.get_ref().clone(), TimeScale::OF_TIMESTAMPS))),
                    Some(unit) => {
                        let message = format!(
                            "key `time_unit` goes with an int; column \"{}\" is a timestamp, which says what it is",
                            time.get_ref()
                        );
                        Err(self.error(unit.span(), message))
                    }
                };
            }
            Some(ColumnType::Int) | None => {}
            Some(found) => {
                let message = format!(
                    "key `time`: column \"{}\" is {found}; accepted is an int or a timestamp",
                    time.get_ref()
                );
                return Err(self.at(time, message));
            }
        }
        let known = self.scale_of(input, index);
        let scale = match (known, &window.time_unit) {
            (Some(known), Some(given)) if known.unit != *given.get_ref() => {
                let (unit, accepted) = (known.unit.plural(), known.unit.name());
                let message = format!(
                    "key `time_unit`: column \"{}\" of {whose} counts {unit}; accepted is \"{accepted}\", or no such key",
                    time.get_ref()
                );
                return Err(self.error(given.span(), message));
            }
            (Some(known), _) => known,
            (None, Some(given)) => TimeScale {
                unit: *given.get_ref(),
                truncates: false,
            },
            (None, None) => self
                .unsaid(time.get_ref(), &whose)
                .map_err(|message| self.at(time, message))?,
        };
        Ok(Some((time.get_ref().clone(), scale)))
    }

    /// A column of whose unit nothing is known counts milliseconds, unless the events of the pipeline do not.
    fn unsaid(&self, column: &str, whose: &str) -> std::result::Result<TimeScale, String> {
        let mut units = self
            .inputs
            .iter()
            .filter_map(|input| Some(input.event_column?.scale.unit));
        match units.find(|unit| *unit != TimeUnit::Milliseconds) {
            None => Ok(TimeScale::default()),
            Some(unit) => Err(format!(
                "key `time`: the times of events count {}, and nothing says what column \"{column}\" of {whose} counts; say \
                 it with key `time_unit`, such as time_unit = \"ms\"",
                unit.plural()
            )),
        }
    }

    /// What a column counts that holds times, as far as the pipeline says so.
    fn scale_of(&self, port: OutputPort, index: usize) -> Option<TimeScale> {
        let output = self.nodes.get(port.node)?.outputs.get(port.output)?;
        let &(node, number, column): &Origin = output.origins.get(index)?;
        let at = self.nodes.get(node)?;
        let name = &at.outputs.get(number)?.schema.get(column)?.name;
        match &at.kind {
            BoundKind::Source => {
                let of_events = self.inputs.get(node.input())?.event_column;
                let of_now = matches!(&self.definition.now, Now::Column(now) if now.get_ref() == name);
                match of_events.filter(|of_events| of_events.index == column) {
                    Some(of_events) => Some(of_events.scale),
                    None => of_now.then(TimeScale::default),
                }
            }
            BoundKind::Stage(_) | BoundKind::Lookup(_) => None,
            BoundKind::Operator(operator) => match operator.provenance(at, name) {
                Provenance::New => None,
                Provenance::Times(scale) => Some(scale),
                Provenance::Copies(columns) => {
                    let mut scales = columns.iter().map(|(port, name)| self.scale_by_name(*port, name));
                    let first = scales.next()??;
                    scales.all(|scale| scale == Some(first)).then_some(first)
                }
            },
        }
    }

    fn scale_by_name(&self, port: OutputPort, name: &str) -> Option<TimeScale> {
        let output = self.nodes.get(port.node)?.outputs.get(port.output)?;
        let index = output.schema.iter().position(|field| field.name == name)?;
        self.scale_of(port, index)
    }
}
