//! Whether a plan may go on with what another one left: the one answer for a swap and for a start.
//!
//! What is left is keyed state, and what steps and tables made of changelogs. Rows of a changelog are taken back later, by
//! the rules and aggregates that they go through then; where those are others than let the rows in, what was let in stays,
//! or something is taken back that never came. So a database remembers of each reader of a changelog which rules stand
//! before it, with module and parameters. A swap judges the current rows anew, see [`rejudge`](super::rejudge), and the turn says
//! what stands before the readers from then on. What computes results of states, see [`computed`](super::computed), may be another
//! module at a start.

use super::{Engine, Step, Unswappable, fingerprint};
use crate::{
    error::{Error, Result, note_defect},
    model::{deployment::StoredVersion, ids::NodeId},
    plan::{At, Node, NodeKind, OperatorPlan, OutputPort, Plan, StagePlan, StateForm, Target},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What follows the name of a step or table where it is remembered what a changelog reached it through. No state of an
/// operator is called so.
const READS: &str = "/reads";

/// How older weirs named a module in what a state is held for.
const NAMES_MODULE: &str = " of module ";

/// What a state, or the reader of a changelog, was made for.
#[derive(Debug)]
pub struct Made {
    /// `STEP/STATE`, `table NAME/rows`, or `STEP/reads` and `table NAME/reads`.
    pub name: String,
    /// What is remembered.
    pub by: String,
    /// What older weirs remembered of it.
    older: Vec<String>,
    reads: Option<Reads>,
}

/// How a step or a table comes by its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Reads {
    /// The step whose changelog it reads; absent for rows that stand for themselves.
    changelog_of: Option<String>,
    /// The rules on the way from there, in order.
    through: Vec<Judge>,
}

/// A rule that lets rows of a changelog through, and takes them back; or a step that gives other columns, or unfolds rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Judge {
    step: String,
    output: String,
    /// SHA-256; empty where it is no rule.
    module: String,
    /// All of them, also those that nobody set; what it does where it is no rule.
    parameters: String,
}

impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "module {}", self.module.get(..12).unwrap_or(&self.module))?;
        match self.parameters.is_empty() {
            true => Ok(()),
            false => write!(f, " with {}", self.parameters),
        }
    }
}

impl Made {
    /// All that a plan makes, but for its states, which the engine knows by name. `deciding` gives what decides at a stage.
    fn readers<'p>(plan: &'p Plan, deciding: impl Fn(NodeId, &'p StagePlan) -> &'p StagePlan) -> Vec<Self> {
        let reader = |name: String, reads: Reads| Self {
            name: name + READS,
            // Of names and texts; what cannot be written is not the same as anything.
            by: serde_json::to_string(&reads).unwrap_or_default(),
            older: Vec::new(),
            reads: Some(reads),
        };
        let steps = plan
            .nodes
            .iter()
            .filter(|node| node.kind.operator().is_some_and(OperatorPlan::takes_back));
        let steps = steps.map(|node| reader(node.name.clone(), Reads::of(plan, node.input, &deciding)));
        let tables = plan.sinks.iter().filter_map(|sink| match &sink.target {
            Target::Table { name, .. } => Some(reader(format!("table {name}"), Reads::of(plan, sink.input, &deciding))),
            Target::Append { .. } | Target::Subject { .. } => None,
        });
        steps.chain(tables).collect()
    }

    /// Whether it is what a step or table reads, and no state.
    pub fn is_reader(&self) -> bool {
        self.reads.is_some()
    }

    fn state(plan: &Plan, name: String) -> Self {
        Self {
            by: fingerprint::of_state(plan, &name, StateForm::States),
            older: [StateForm::WithParameters, StateForm::WithModules]
                .map(|form| fingerprint::of_state(plan, &name, form))
                .into(),
            name,
            reads: None,
        }
    }

    /// Whether a plan that makes this may go on with what was made for `held`.
    ///
    /// # Errors
    /// Why not, and the way out.
    pub fn may_follow(&self, held: &str) -> Result<()> {
        if held == self.by || self.older.iter().any(|older| older == held) {
            return Ok(());
        }
        match (&self.reads, serde_json::from_str::<Reads>(held)) {
            (Some(now), Ok(held)) => now.may_follow(&held, &self.name),
            (Some(_), Err(_)) => Err(Error::mismatch(format!(
                "what \"{}\" was filled through is not known any more: the record of it is damaged; put back a copy of the \
                 database, or name another --database and fill it from the stream",
                self.name
            ))),
            (None, _) => {
                let state = self.name.trim_end_matches('/');
                // Where what is held names modules, so does what is said.
                let named = self.older.last().filter(|_| held.contains(NAMES_MODULE));
                let now = named.unwrap_or(&self.by);
                Err(Unswappable::State.mismatch(format_args!(
                    "state \"{state}\" is held for {held}, but the pipeline now has {now}"
                )))
            }
        }
    }

    /// As [`Made::may_follow`], where the database was filled by a weir that did not remember this: `known` are the versions
    /// that decided over its rows.
    ///
    /// # Errors
    /// As [`Made::may_follow`].
    pub(crate) fn may_follow_versions(&self, plan: &Plan, known: &[StoredVersion]) -> Result<()> {
        let Some(now) = &self.reads else { return Ok(()) };
        let mut held = now.clone();
        for judge in &mut held.through {
            let last = known.iter().rfind(|version| version.step == judge.step);
            if let (Some(last), Ok(stage)) = (last, plan.stage(&judge.step))
                && !stage.is(&last.digest, &last.deployment.parameters)
            {
                let parameters = last.deployment.parameters.iter();
                judge.module.clone_from(&last.digest);
                judge.parameters = listed(parameters.map(|(name, value)| format!("{name} = {value}")));
            }
        }
        now.may_follow(&held, &self.name)
    }
}

impl Reads {
    fn of<'p>(plan: &'p Plan, port: OutputPort, deciding: &impl Fn(NodeId, &'p StagePlan) -> &'p StagePlan) -> Self {
        let mut reads = Self {
            changelog_of: None,
            through: Vec::new(),
        };
        let mut port = port;
        while plan.is_changelog(port)
            && let Some(node) = plan.nodes.get(port.node)
        {
            reads.through.push(match &node.kind {
                NodeKind::Stage(stage) => Judge::of(plan, node, port, deciding(port.node, stage)),
                kind if kind.projection().is_some() || kind.unfolds() => Judge::of_columns(plan, node),
                _ => {
                    reads.changelog_of = Some(node.name.clone());
                    break;
                }
            });
            port = node.input;
        }
        reads.through.reverse();
        reads
    }

    /// Whether a reader of these may go on with what came of `held`, where the current rows of the changelog are judged anew: by
    /// the rules that stand between.
    fn may_follow_anew(&self, held: &Self, reader: &str) -> Result<()> {
        let same_way = self.changelog_of == held.changelog_of && self.through.len() == held.through.len();
        let pairs = || self.through.iter().zip(&held.through);
        let same_rules = || pairs().all(|(now, held)| now.is_same_step(held));
        if !same_way || !same_rules() {
            // A table by key has the latest row of each key, whatever was there before it read a changelog.
            let is_table = reader.starts_with("table ");
            if is_table && held.changelog_of.is_none() {
                return Ok(());
            }
            let reader = reader.strip_suffix(READS).unwrap_or(reader);
            let reader = match is_table {
                true => reader.to_owned(),
                false => format!("step \"{reader}\""),
            };
            let what = format!("{reader} has read {held} so far, and would now read {self}");
            return Err(Unswappable::Way.definition(what));
        }
        Ok(())
    }

    /// Whether a reader of these may go on with what came of `held`.
    fn may_follow(&self, held: &Self, reader: &str) -> Result<()> {
        self.may_follow_anew(held, reader)?;
        let pairs = || self.through.iter().zip(&held.through);
        match pairs().find(|(now, held)| now != held) {
            None => Ok(()),
            Some((now, before)) => Err(Unswappable::RuleWithoutSwap.definition(format_args!(
                "step \"{}\" reads the changelog of step \"{}\" through {before} so far, and would read it through {now}",
                now.step,
                self.changelog_of.as_deref().unwrap_or("?"),
            ))),
        }
    }
}

impl fmt::Display for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.changelog_of {
            None => write!(f, "rows that stand for themselves")?,
            Some(step) => write!(f, "the changelog of step \"{step}\"")?,
        }
        match self.through.is_empty() {
            true => Ok(()),
            false => write!(f, " through {}", listed(self.through.iter().map(Judge::step))),
        }
    }
}

impl Judge {
    fn of_columns(plan: &Plan, node: &Node) -> Self {
        let at = At { plan, node };
        Self {
            step: node.name.clone(),
            output: String::new(),
            module: String::new(),
            parameters: node
                .kind
                .operator()
                .map(|operator| operator.describe(at))
                .unwrap_or_default(),
        }
    }

    /// Whether it is a step that gives other columns, or unfolds rows.
    fn is_of_columns(&self) -> bool {
        self.module.is_empty()
    }

    /// Whether they are the same step, which may run another rule, but does not give other columns.
    fn is_same_step(&self, other: &Self) -> bool {
        let is_rule = !self.is_of_columns() && !other.is_of_columns();
        (&self.step, &self.output) == (&other.step, &other.output) && (is_rule || self == other)
    }

    /// The step, for a person; with what it gives, where it gives other columns.
    fn step(&self) -> String {
        match self.is_of_columns() {
            true => format!("{} ({})", self.step, self.parameters),
            false => self.step.clone(),
        }
    }

    fn of(plan: &Plan, node: &Node, port: OutputPort, stage: &StagePlan) -> Self {
        let parameters = stage.parameters.iter();
        Self {
            step: node.name.clone(),
            output: plan.output(port).map(|output| output.name.clone()).unwrap_or_default(),
            module: stage.module.digest.clone(),
            parameters: listed(parameters.map(|(name, value)| format!("{name} = {value}"))),
        }
    }
}

fn listed(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join(", ")
}

impl Engine {
    /// What each state of the engine, and each reader of a changelog, is made for.
    pub fn made(&mut self) -> Vec<Made> {
        let names: Vec<String> = self.states().into_iter().map(|(name, _)| name).collect();
        let states = names.into_iter().map(|name| Made::state(&self.plan, name));
        states.chain(self.readers()).collect()
    }

    fn readers(&self) -> Vec<Made> {
        Made::readers(&self.plan, |at, stage| match self.steps.get(at) {
            Some(Step::Stage(running)) => running.deciding(stage),
            _ => stage,
        })
    }

    /// What each reader of a changelog is made for by now, with its name.
    pub(super) fn readers_by_now(&self) -> Vec<(String, String)> {
        self.readers().into_iter().map(|made| (made.name, made.by)).collect()
    }

    /// For each table that the plan writes, the steps that its rows come through.
    pub(crate) fn steps_of_tables(&self) -> Vec<(&str, Vec<&str>)> {
        let tables = self.plan.sinks.iter().filter_map(|sink| match &sink.target {
            Target::Table { name, .. } | Target::Append { name } => {
                Some((name.as_str(), steps_before(&self.plan, sink.input)))
            }
            Target::Subject { .. } => None,
        });
        tables.collect()
    }

    /// The plan that it runs.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }
}

/// The steps that rows of an edge come through, or that set the lookup tables on the way.
fn steps_before(plan: &Plan, port: OutputPort) -> Vec<&str> {
    let mut seen = plan.nodes.map(|_, _| false);
    let mut open = vec![port.node];
    while let Some(at) = open.pop() {
        let (Some(node), Some(seen)) = (plan.nodes.get(at), seen.get_mut(at)) else {
            note_defect(format_args!("step {at} is read and is not there"));
            continue;
        };
        if std::mem::replace(seen, true) {
            continue;
        }
        open.extend(node.inputs().map(|port| port.node));
        if let NodeKind::Lookup(lookup) = &node.kind {
            let table = plan.tables.get(lookup.table);
            if table.is_none() {
                note_defect(format_args!(
                    "step \"{}\" looks up a table that is not there",
                    node.name
                ));
            }
            open.extend(table.and_then(|table| table.update.as_ref()).map(|(port, _)| port.node));
        }
    }
    let nodes = plan.nodes.iter().zip(seen);
    nodes
        .filter(|(_, seen)| *seen)
        .map(|(node, _)| node.name.as_str())
        .collect()
}

/// Whether `plan` may take over from `running`, where both are plans of one pipeline file: current rows of changelogs are
/// judged anew then.
///
/// # Errors
/// What would not go on.
pub(super) fn check(running: &Plan, plan: &Plan) -> Result<()> {
    let all = |plan: &Plan| {
        let states = plan
            .nodes
            .iter()
            .map(|node| Made::state(plan, format!("{}/", node.name)));
        states.chain(Made::readers(plan, |_, stage| stage)).collect::<Vec<_>>()
    };
    let held = all(running);
    all(plan).iter().try_for_each(|made| {
        let held = held.iter().find(|held| held.name == made.name);
        match held.map(|held| (held, &held.reads, &made.reads)) {
            None => Ok(()),
            Some((_, Some(held), Some(reads))) => reads.may_follow_anew(held, &made.name),
            Some((held, ..)) => made.may_follow(&held.by),
        }
    })
}
