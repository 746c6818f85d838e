//! Aggregates that are guests: what one says of itself against the rows that it is to read.

use super::{
    Binder, BoundAggregate, BoundAggregateGuest, BoundChange, OutputPort,
    aggregate::{AggregateColumn, given_functions},
    is_timer_driven,
    stage::{check_reads, parameters},
};
use crate::{
    definition::{Name, Spanned},
    error::Result,
    model::{column::Field, deployment::Whose, guest::AggregateDescription},
    plan::{Function, GuestHost, Setting},
};
use std::{
    ops::Range,
    path::{Path, PathBuf},
};

impl Binder<'_> {
    /// A column of the step that a guest computes.
    pub(super) fn guest_column(
        &self,
        step: &str,
        name: &Name,
        spec: &AggregateColumn,
        module: &Spanned<PathBuf>,
        input: OutputPort,
        host: &dyn GuestHost,
    ) -> Result<(BoundAggregate, Field)> {
        if !given_functions(spec).is_empty() {
            return Err(self.not_one_function(name, spec));
        }
        if let Some(coalesce) = &spec.coalesce {
            let message = "key `coalesce` goes with sum and avg, not with module";
            return Err(self.error(coalesce.span(), message));
        }
        let limits = spec.limits.as_ref().map(Spanned::get_ref).cloned().unwrap_or_default();
        self.check_limits(&limits)?;

        let at_step = |at: Option<Range<usize>>, message: String| {
            self.error(at.unwrap_or(name.span()), format!("step \"{step}\": {message}"))
        };
        let at_module = |message: String| at_step(Some(module.span()), message);
        let folder = self.file.path.parent().unwrap_or(Path::new(""));
        let loaded = host
            .load_aggregate(&folder.join(module.get_ref()), Whose::of_file(step))
            .map_err(|cause| at_module(format!("key `module`: {cause}")).like(&cause))?;
        let description = &loaded.description;
        let retracts = self.check_guest_input(description, input).map_err(at_module)?;

        let given = spec.parameters.as_ref().map(Spanned::get_ref).into_iter().flatten();
        let given = given.map(|(name, value)| (name.as_str(), value.get_ref(), Some(value.span())));
        let parameters = parameters("aggregate", &description.name, &description.parameters, given)
            .map_err(|(at, message)| at_step(at, message))?;
        let setting = Setting {
            parameters: &parameters,
            inputs: &[],
            limits: &limits,
            whose: Whose::of_file(step),
        };
        host.aggregate(&loaded, setting).configure().map_err(|failure| {
            let cause = failure.error(format!("the aggregate {}: {failure}", description.name));
            at_step(None, cause.to_string()).like(&cause)
        })?;

        let field = Field {
            name: name.get_ref().clone(),
            column_type: description.result.column_type,
            nullable: description.result.nullable,
        };
        let bound = BoundAggregate {
            name: name.get_ref().clone(),
            function: Function::Guest,
            column: None,
            column_type: description.result.column_type,
            coalesce: None,
            scale: None,
            q: None,
            guest: Some(BoundAggregateGuest {
                module: loaded,
                parameters,
                limits,
                retracts,
            }),
        };
        Ok((bound, field))
    }

    /// Whether the guest can take in the rows of `input`. Says whether some of them will be taken back.
    ///
    /// # Errors
    /// What does not fit.
    fn check_guest_input(&self, description: &AggregateDescription, input: OutputPort) -> Result<bool, String> {
        let (name, whose) = (&description.name, self.port_name(input));
        let source = self.output(input).map_err(|error| error.to_string())?;
        check_reads("aggregate", name, &description.inputs, &source.schema, &whose)?;
        if matches!(source.change, BoundChange::Append) {
            return Ok(false);
        }
        if !description.retracts {
            return Err(format!(
                "the aggregate {name} takes no row back, but {whose} sends a changelog; give it a `retract`"
            ));
        }
        // Of these, a row that the guest refuses is left out alone; and what was left out would be taken back later.
        if is_timer_driven(&self.nodes, input) {
            return Err(format!(
                "the aggregate {name} may refuse rows, but {whose} sends a changelog of rows that come because time went \
                 on, and would take back later what was refused; {}",
                self.without_time(input)
            ));
        }
        Ok(true)
    }

    /// What to do about rows that come because time went on, by the step that they come from.
    fn without_time(&self, port: OutputPort) -> String {
        let Some(node) = self.nodes.get(port.node) else {
            return String::new();
        };
        let name = &node.name;
        if !node.kind.is_timer_driven_output(port.output) {
            let from = node.inputs().find(|&input| is_timer_driven(&self.nodes, input));
            return from.map_or_else(String::new, |from| self.without_time(from));
        }
        let how = node.kind.operator().and_then(|operator| operator.without_time(node));
        how.unwrap_or_else(|| format!("let it read rows that stand for themselves, such as those of step \"{name}\""))
    }

    /// Whether a guest can stand in windows that grow together.
    pub(super) fn check_merges(&self, step: &str, bound: &BoundAggregate, module: &Spanned<PathBuf>) -> Result<()> {
        match &bound.guest {
            Some(guest) if !guest.module.description.merges => Err(self.error(
                module.span(),
                format!(
                    "step \"{step}\": the aggregate {} merges no groups, but sessions grow together; give it a `merge`",
                    guest.module.description.name
                ),
            )),
            _ => Ok(()),
        }
    }
}
