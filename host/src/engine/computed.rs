//! What computed the results in the states: of each aggregate of the user's own its module and parameters, which a database
//! remembers beside the states themselves.
//!
//! A module goes on with the states of another that describes them as it does. What it gives of them may differ, so where module
//! or parameters are others at a start, or nobody remembered them, the results are computed anew (see `renewal.rs`). The turn that
//! has the new results says so: until it is committed, the database says what gave those that it holds.

use super::{Engine, Unswappable, fingerprint};
use crate::{
    error::{Error, Result},
    model::ids::NodeId,
    plan::{Node, Plan, StateForm},
    storage::Remembered,
};
use serde::{Deserialize, Serialize};

/// What follows the name of a step where it is remembered what computed results of its states. No state of an operator is called so.
const AGGREGATES: &str = "/aggregates";

/// What computed the results in the states of a step.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Computed {
    /// What the states are for.
    states: String,
    /// The columns that aggregates of the user's own compute.
    columns: Vec<ComputedColumn>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ComputedColumn {
    name: String,
    /// Who computes it, and what that says of its states.
    states: String,
    /// SHA-256.
    module: String,
    /// All of them, also those that nobody set.
    parameters: String,
}

impl Computed {
    /// Of a step; nothing where no aggregate of the user's own is among its functions.
    fn of(plan: &Plan, node: &Node) -> Option<Self> {
        let columns = node.kind.guests().map(|(spec, guest)| ComputedColumn {
            name: spec.name.clone(),
            states: guest.states(),
            module: guest.module.digest.clone(),
            parameters: guest.listed_parameters(),
        });
        let columns: Vec<ComputedColumn> = columns.collect();
        (!columns.is_empty()).then(|| Self {
            states: fingerprint::of_state(plan, &node.name, StateForm::States),
            columns,
        })
    }

    /// As it is remembered.
    fn text(&self) -> String {
        // Of names and texts; what cannot be written is not the same as anything.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether these may go on with states of which `held` computed the results. What else the states of the step depend on is
    /// checked with them.
    fn may_follow(&self, held: &Self, step: &str) -> Result<()> {
        for now in &self.columns {
            let before = held.columns.iter().find(|before| before.name == now.name);
            if let Some(before) = before.filter(|before| before.states != now.states) {
                return Err(Unswappable::AggregateState.definition(format_args!(
                    "column \"{}\" of step \"{step}\" is computed by {} so far, and would be by {}",
                    now.name, before.states, now.states
                )));
            }
        }
        Ok(())
    }
}

impl Computed {
    /// Warns where rows that `held` took in will be taken back by others: whether those take the same away, only their author knows.
    fn warn_of_rows_taken_back(&self, held: &Self, node: &Node) {
        let columns = node.kind.guests().zip(&self.columns);
        let taking_back = columns.filter(|((_, guest), _)| guest.retracts);
        for now in taking_back.map(|(_, now)| now) {
            let before = held.columns.iter().find(|before| before.name == now.name);
            if let Some(before) = before.filter(|before| *before != now) {
                tracing::warn!(
                    step = node.name,
                    column = now.name,
                    "step {}: rows that column {} took in by module {} will be taken back by module {}: that is right only where \
                     both add the same for a row; else run the pipeline into a new database",
                    node.name,
                    now.name,
                    before.described(),
                    now.described()
                );
            }
        }
    }
}

impl ComputedColumn {
    /// The module and its parameters, for a person.
    fn described(&self) -> String {
        let module = self.module.get(..12).unwrap_or(&self.module);
        match self.parameters.is_empty() {
            true => module.to_owned(),
            false => format!("{module} with {}", self.parameters),
        }
    }
}

impl Engine {
    /// Checks what computed the results in the states, and notes of which steps they have to be computed anew. Gives what to
    /// remember from here on: of those steps nothing yet.
    ///
    /// # Errors
    /// Which states nobody can go on with, and the way out.
    pub(super) fn take_over_results(&mut self, remembered: Option<&Remembered<'_>>) -> Result<Vec<(String, String)>> {
        self.stale.clear();
        let plan = self.plan.clone();
        let mut known = Vec::new();
        for (at, node) in plan.nodes.iter_enumerated() {
            let Some(now) = Computed::of(&plan, node) else { continue };
            let (name, text) = (format!("{}{AGGREGATES}", node.name), now.text());
            let is_known = match remembered {
                None => true,
                Some(remembered) => match remembered.fingerprints.get(&name) {
                    Some(held) if *held == text => true,
                    Some(held) => {
                        let held = read(&name, held)?;
                        now.may_follow(&held, &node.name)?;
                        now.warn_of_rows_taken_back(&held, node);
                        false
                    }
                    // An older weir remembered modules where they take rows back, with the state itself.
                    None => {
                        let named = fingerprint::of_state(&plan, &node.name, StateForm::WithModules);
                        let mut of_step = remembered.fingerprints.iter();
                        named != now.states && of_step.any(|(state, held)| is_of(state, &node.name) && *held == named)
                    }
                },
            };
            match is_known {
                true => known.push((name, text)),
                false => drop(self.stale.insert(at)),
            }
        }
        Ok(known)
    }

    /// What is remembered of the results of a step once they are those of its aggregates.
    pub(super) fn computed(&self, at: NodeId) -> Option<(String, String)> {
        let node = self.plan.nodes.get(at)?;
        let computed = Computed::of(&self.plan, node)?;
        Some((format!("{}{AGGREGATES}", node.name), computed.text()))
    }
}

fn is_of(state: &str, step: &str) -> bool {
    state.split_once('/').is_some_and(|(of, _)| of == step)
}

fn read(name: &str, held: &str) -> Result<Computed> {
    serde_json::from_str(held).map_err(|_| {
        Error::mismatch(format!(
            "what \"{name}\" was computed by is not known any more: the record of it is damaged; put back a copy of the database, or \
             name another --database and fill it from the stream"
        ))
    })
}
