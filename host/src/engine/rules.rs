//! The rules behind the changelog of an operator: what they make of its current rows, and what of that differs between two
//! plans.
//!
//! Rows are judged with their numbers as their deliveries, so that what comes of them tells which row it comes of.

use super::verdicts::{Known, Verdicts};
use crate::{
    error::{Error, OrDefect, Result},
    model::{
        batch::{Batch, NOTHING},
        column::Column,
        ids::NodeId,
        moved::Moved,
        row::push_cell,
    },
    plan::{Change, Node, NodeKind, Output, OutputPort, Plan, StagePlan},
    text::printable,
};
use std::collections::{BTreeMap, BTreeSet};

/// The rules behind the changelog of one operator, some of which another version judges from now on.
#[derive(Debug)]
pub(super) struct Rules {
    /// The output of the operator.
    pub(super) changelog: OutputPort,
    /// Those that have to be asked, in the order of the plan.
    pub(super) asked: Vec<NodeId>,
    /// Those whose outputs may differ.
    pub(super) affected: BTreeSet<NodeId>,
}

/// What rules made of the rows of a bucket. The delivery of a row is the number of the row of the changelog that it comes of.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) outputs: BTreeMap<NodeId, Vec<Batch>>,
    /// The rows that each rule rejected, by number, and why.
    pub(super) rejected: BTreeMap<NodeId, BTreeMap<u32, String>>,
    /// The rule that failed on a row that it did not fail on before: it was asked of none behind that row, and no rule behind it
    /// was asked at all.
    pub(super) failed_at: Option<NodeId>,
}

/// Why a plan does not take over.
#[derive(Debug)]
pub(super) enum Refused {
    /// What cannot be judged, or who rejects what comes of it.
    Row(String),
    /// A fault of Weir.
    Defect(Error),
}

impl From<Error> for Refused {
    fn from(defect: Error) -> Self {
        Self::Defect(defect)
    }
}

impl Rules {
    /// The rules over changelogs that judge otherwise once the stages at `changed` do, by changelog.
    pub(super) fn behind(plan: &Plan, changed: &BTreeSet<NodeId>) -> Vec<Self> {
        let mut all: BTreeMap<(NodeId, usize), Self> = BTreeMap::new();
        for (at, node) in plan.nodes.iter_enumerated() {
            let Some(path) = path_of(plan, at) else { continue };
            let Some(first) = path.iter().position(|step| changed.contains(step)) else {
                continue;
            };
            let changelog = path
                .first()
                .and_then(|&first| plan.nodes.get(first))
                .unwrap_or(node)
                .input;
            let rules = all.entry((changelog.node, changelog.output)).or_insert_with(|| Self {
                changelog,
                asked: Vec::new(),
                affected: BTreeSet::new(),
            });
            rules.affected.extend(path.iter().skip(first));
            rules.asked.extend(path);
        }
        let mut all: Vec<Self> = all.into_values().collect();
        for rules in &mut all {
            rules.asked.sort();
            rules.asked.dedup();
        }
        all
    }
}

/// The steps that go by rows from the changelog of an operator to the step `at`, that one included: rules, and steps that give other
/// columns. Nothing where it is neither, or reads no changelog.
pub(super) fn path_of(plan: &Plan, at: NodeId) -> Option<Vec<NodeId>> {
    let mut path = Vec::new();
    let (mut at, mut node) = (at, plan.nodes.get(at)?);
    while node.kind.is_by_row() {
        if !plan.is_changelog(node.input) {
            return None;
        }
        path.push(at);
        (at, node) = (node.input.node, plan.nodes.get(node.input.node)?);
    }
    path.reverse();
    (!path.is_empty()).then_some(path)
}

impl Verdict {
    /// Whether a rule rejected a row.
    pub(super) fn rejects(&self, at: NodeId, row: u32) -> bool {
        self.rejected
            .get(&at)
            .is_some_and(|rejected| rejected.contains_key(&row))
    }

    /// Calls `each` with the rows that rules reject and did not reject `before`, and why.
    pub(super) fn each_new_rejection(&self, before: &Self, mut each: impl FnMut(NodeId, u32, &str)) {
        for (&at, rejected) in &self.rejected {
            for (&row, reason) in rejected.iter().filter(|(row, _)| !before.rejects(at, **row)) {
                each(at, row, reason);
            }
        }
    }

    /// What a step reads of a rule.
    pub(super) fn input_of(&self, step: &str, port: OutputPort) -> Result<&Batch> {
        let outputs = self.outputs.get(&port.node);
        let output = outputs.and_then(|outputs| outputs.get(port.output));
        output.or_defect(|| format!("step \"{step}\" reads a rule that was not asked"))
    }
}

/// The outputs of a step, with their numbers.
fn outputs_of(plan: &Plan, at: NodeId) -> Result<impl Iterator<Item = (usize, &Output)>> {
    let node = plan.nodes.get(at).or_defect(|| format!("there is no step {at}"))?;
    Ok(node.outputs.iter().enumerate())
}

/// Whether a step that does not go by rows, or a sink, reads a port.
fn is_read_beside_rules(plan: &Plan, port: OutputPort) -> bool {
    let steps = plan
        .nodes
        .iter()
        .filter(|node| !node.kind.is_by_row() && !matches!(node.kind, NodeKind::Source));
    let mut read = steps
        .flat_map(Node::inputs)
        .chain(plan.sinks.iter().map(|sink| sink.input));
    read.any(|input| input == port)
}

/// The current rows that a rule rejects and did not reject before.
#[derive(Debug, Default)]
pub(super) struct NewlyRejected {
    /// How many there are for each rule, with the first by its key, and why.
    by_step: BTreeMap<NodeId, (u64, Vec<u8>, String)>,
}

impl NewlyRejected {
    /// Adds one.
    pub(super) fn push(&mut self, at: NodeId, key: Vec<u8>, reason: String) {
        match self.by_step.get_mut(&at) {
            None => drop(self.by_step.insert(at, (1, key, reason))),
            Some((count, first, why)) => {
                *count += 1;
                if key < *first {
                    (*first, *why) = (key, reason);
                }
            }
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_step.is_empty()
    }

    /// How many there are of all rules.
    pub(super) fn count(&self) -> u64 {
        self.by_step.values().map(|(count, ..)| count).sum()
    }

    /// How many there are of which rule, and why.
    pub(super) fn refused(&self, plan: &Plan) -> Refused {
        let Some((&at, (count, _, reason))) = self.by_step.first_key_value() else {
            return Refused::Defect(Error::defect("a plan is refused for no row"));
        };
        let step = plan.nodes.get(at).map(|node| node.name.as_str()).unwrap_or_default();
        let rows = match count {
            1 => "a row that its input holds by now".to_owned(),
            count => format!("{count} of the rows that its input holds by now, the first"),
        };
        let reason = printable(reason);
        Refused::Row(format!("step \"{step}\" would reject {rows}: {reason}"))
    }
}

/// The rows of an output as the former rule gave them.
struct Former<'v> {
    rows: Option<&'v Batch>,
    /// For each column of the output as it is now, the column then.
    places: Vec<usize>,
}

impl<'v> Former<'v> {
    /// Of the `output` of step `at`, under the plan `was`.
    fn of(was: &Plan, at: NodeId, output: &Output, verdict: &'v Verdict) -> Result<Self> {
        let found = outputs_of(was, at)?.find(|(_, before)| before.name == output.name);
        let Some((number, before)) = found else {
            // Nobody read it then.
            return Ok(Self {
                rows: None,
                places: Vec::new(),
            });
        };
        let places = output.schema.iter().map(|field| {
            let place = before.schema.iter().position(|before| before.name == field.name);
            place.or_defect(|| {
                format!(
                    "output \"{}\" of step {at} had no column \"{}\" before",
                    output.name, field.name
                )
            })
        });
        let rows = verdict.outputs.get(&at).and_then(|outputs| outputs.get(number));
        Ok(Self {
            rows: Some(rows.or_defect(|| format!("step {at} was not asked for output {number}"))?),
            places: places.collect::<Result<_>>()?,
        })
    }

    /// Calls `each` with the number of every row that is another one, or none, in `after`, and with both.
    fn each_moved(&self, after: &Batch, mut each: impl FnMut(u32, Moved)) {
        let before = self.rows.unwrap_or(&NOTHING);
        each_moved(
            (&before.deliveries, &before.pick(&self.places)),
            (&after.deliveries, &all_columns(after)),
            &mut each,
        );
    }
}

/// Asks rules of some current rows, whose deliveries are their numbers; after others were asked `before`, up to a failure. `ask`
/// asks the guest that decides.
pub(super) fn judge_rows(
    plan: &Plan,
    rules: &Rules,
    rows: &Batch,
    before: Option<&Verdict>,
    mut ask: impl FnMut(NodeId, &StagePlan, &Batch, Option<Known<'_>>) -> Result<Verdicts>,
) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    for &at in &rules.asked {
        let node = plan.nodes.get(at).or_defect(|| format!("there is no step {at}"))?;
        let input = match node.input == rules.changelog {
            true => rows,
            false => verdict.input_of(&node.name, node.input)?,
        };
        if let Some(projection) = node.kind.projection() {
            let given = vec![projection.of(input)];
            verdict.outputs.insert(at, given);
            continue;
        }
        let NodeKind::Stage(stage) = &node.kind else {
            return Err(Error::defect(format!(
                "step \"{}\" is asked and is no stage",
                node.name
            )));
        };
        let is_known = |row| before.is_some_and(|before| before.rejects(at, row));
        let known = before.map(|_| &is_known as Known<'_>);
        let Verdicts { outputs, rejected, .. } = ask(at, stage, input, known)?;
        let mut failed = rejected.iter().filter(|rejected| rejected.failed);
        let fails_anew = failed.any(|failed| known.is_some_and(|known| !known(input.delivery(failed.row as usize))));
        let rejected = rejected.into_iter();
        let rejected = rejected.map(|rejected| (input.delivery(rejected.row as usize), rejected.reason));
        verdict.rejected.insert(at, rejected.collect());
        verdict.outputs.insert(at, outputs);
        if fails_anew {
            verdict.failed_at = Some(at);
            break;
        }
    }
    Ok(verdict)
}

/// Calls `each` with every row of an output that others than rules read, where it is another one under `plan` than it was
/// under the plan `was`: the output, and the number of the current row that it comes of.
pub(super) fn moved_rows(
    was: &Plan,
    plan: &Plan,
    rules: &Rules,
    before: &Verdict,
    after: &Verdict,
    mut each: impl FnMut((NodeId, usize), u32, Moved),
) -> Result<()> {
    for &at in &rules.affected {
        for (number, output) in outputs_of(plan, at)? {
            if is_read_beside_rules(
                plan,
                OutputPort {
                    node: at,
                    output: number,
                },
            ) {
                let former = Former::of(was, at, output, before)?;
                let after = after.outputs.get(&at).and_then(|outputs| outputs.get(number));
                let after = after.or_defect(|| format!("step {at} was not asked for output {number}"))?;
                former.each_moved(after, |row, moved| each((at, number), row, moved));
            }
        }
    }
    Ok(())
}

/// The columns that tell the current rows of an operator apart.
pub(super) fn key_columns(plan: &Plan, changelog: OutputPort) -> Result<Vec<usize>> {
    match plan.output(changelog).map(|output| &output.change) {
        Some(Change::Keyed(Some(key))) => Ok(key.clone()),
        _ => Err(Error::defect(format!(
            "the rows of step {} have no key",
            changelog.node
        ))),
    }
}

/// Goes over rows that come of the same rows, by the numbers of these, which ascend: each where they are others, or there is
/// one alone.
pub(super) fn each_moved(
    (before_numbers, before): (&[u32], &[&Column]),
    (after_numbers, after): (&[u32], &[&Column]),
    mut each: impl FnMut(u32, Moved),
) {
    let (mut was_bytes, mut is_bytes) = (Vec::new(), Vec::new());
    each_pair(before_numbers, after_numbers, |row, was, is| {
        let was = was.map(|at| cells_of(&mut was_bytes, before, at));
        let is = is.map(|at| cells_of(&mut is_bytes, after, at));
        if was != is {
            each(row, Moved::new(was, is));
        }
    });
}

fn each_pair(a: &[u32], b: &[u32], mut each: impl FnMut(u32, Option<usize>, Option<usize>)) {
    let (mut a, mut b) = (a.iter().enumerate().peekable(), b.iter().enumerate().peekable());
    loop {
        let row = match (a.peek(), b.peek()) {
            (None, None) => return,
            (Some((_, a)), None) => **a,
            (None, Some((_, b))) => **b,
            (Some((_, a)), Some((_, b))) => **a.min(b),
        };
        let of_a = a.next_if(|(_, a)| **a == row);
        let of_b = b.next_if(|(_, b)| **b == row);
        each(row, of_a.map(|(at, _)| at), of_b.map(|(at, _)| at));
    }
}

pub(super) fn all_columns(batch: &Batch) -> Vec<&Column> {
    batch.columns.iter().map(|column| &**column).collect()
}

/// A row as its cells, in the place of what is in `bytes`.
pub(super) fn cells_of<'b>(bytes: &'b mut Vec<u8>, columns: &[&Column], row: usize) -> &'b [u8] {
    bytes.clear();
    columns.iter().for_each(|column| push_cell(bytes, column.get(row)));
    bytes
}
