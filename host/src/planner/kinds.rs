//! What every kind of step answers.
//!
//! A kind has one file, in which it answers the same questions in the same order: the keys that it takes in the pipeline
//! file ([`StepKeys`]), how they are bound to columns, what the step reads, what comes out and when ([`BoundOperator`]),
//! its physical plan, and what state and `weir check` say of it ([`OperatorPlan`]). Beside that file stands what runs, in
//! `operator/KIND.rs`.

use super::{Binder, BoundKind, BoundNode, BoundOutput, KINDS, Kind, Layout, OutputPort};
use crate::{
    definition::{Definition, File, Keys, Step},
    error::Result,
    plan::{GuestHost, OperatorPlan, TimeScale},
};
use std::{collections::BTreeSet, ops::Range};

/// The keys of a kind of step, as the file has them. Those of a kind are a struct of its own that serde reads.
pub(super) trait StepKeys {
    /// Names to columns, with every check that needs no data.
    fn bind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode>;
}

/// An operator whose columns are known to fit, by their names. A default is what most kinds say.
pub(super) trait BoundOperator {
    /// The ports that it reads beside [`BoundNode::input`].
    fn other_inputs(&self) -> &[OutputPort] {
        &[]
    }

    /// The columns that it reads of each input; `read` are the columns of each of its outputs that somebody reads.
    fn reads(&self, node: &BoundNode, read: &[BTreeSet<String>]) -> Reads;

    /// The columns of its first output that are held even if nobody reads them. The key of a changelog always is.
    fn always_held(&self, _node: &BoundNode) -> Vec<String> {
        Vec::new()
    }

    /// Whether it follows the watermark.
    fn follows_time(&self) -> bool {
        self.is_timer_driven()
    }

    /// Whether rows of its first output may come because time went on.
    fn is_timer_driven(&self) -> bool {
        false
    }

    /// The same, of rows of any output. Those of the others are late ones, mostly, and come with their events.
    fn is_timer_driven_output(&self, output: usize) -> bool {
        output == 0 && self.is_timer_driven()
    }

    /// If they do, what to change in the file so that they do not.
    fn without_time(&self, _node: &BoundNode) -> Option<String> {
        None
    }

    /// Whether it keeps something of the rows that it has seen.
    fn keeps_state(&self) -> bool {
        true
    }

    /// Whether it makes of each row one with other columns, and does nothing else.
    fn is_by_row(&self) -> bool {
        false
    }

    /// Where the values of a column come from that this step adds.
    fn provenance(&self, _node: &BoundNode, _column: &str) -> Provenance {
        Provenance::New
    }

    /// The same with indices in place of names.
    fn plan(&self, layout: &Layout<'_>) -> Box<dyn OperatorPlan>;
}

/// The columns that a step reads, by the port that they are of.
pub(super) type Reads = Vec<(OutputPort, BTreeSet<String>)>;

/// Where the values of a column are from.
pub(super) enum Provenance {
    /// They are copies of columns of the inputs.
    Copies(Vec<(OutputPort, String)>),
    /// They are times in this unit.
    Times(TimeScale),
    /// They are made here.
    New,
}

impl Provenance {
    pub(super) fn copy(port: OutputPort, column: &str) -> Self {
        Self::Copies(vec![(port, column.to_owned())])
    }
}

/// A step that is to be bound.
pub(super) struct StepAt<'a> {
    pub(super) step: &'a Step<'a>,
    /// The key of its kind, as it stands in the file.
    pub(super) key: &'static str,
    /// What stands under it.
    keys: &'a Keys<'a>,
    pub(super) host: &'a dyn GuestHost,
}

impl StepAt<'_> {
    pub(super) fn name(&self) -> &str {
        self.step.name.get_ref()
    }

    /// Where the value of its key stands in the file.
    pub(super) fn span(&self) -> Range<usize> {
        self.keys.span()
    }

    /// Where its rows come from: what `from` says, or the step before.
    pub(super) fn input(&self, binder: &Binder<'_>) -> Result<OutputPort> {
        binder.edge_or_before(self.step.from.as_ref(), self.step.name.span())
    }

    /// The step, bound.
    pub(super) fn bound(
        &self,
        input: OutputPort,
        operator: impl BoundOperator + 'static,
        outputs: Vec<BoundOutput>,
    ) -> BoundNode {
        BoundNode {
            name: self.name().to_owned(),
            input,
            kind: BoundKind::Operator(Box::new(operator)),
            outputs,
        }
    }
}

/// The keys of a step that say its kind: nothing where it says none, or several.
pub(super) type KindOfStep<'a> = Option<(&'static str, &'a Keys<'a>, Box<dyn StepKeys>)>;

/// Reads what stands under the key of each step's kind.
///
/// # Errors
/// Where a key is of no kind, or what stands there is not of its shape.
pub(super) fn read_kinds<'a>(file: &File, definition: &'a Definition<'a>) -> Result<Vec<KindOfStep<'a>>> {
    let mut read = Vec::new();
    for step in &definition.steps {
        let mut kinds = Vec::new();
        for (key, keys) in &step.get_ref().kinds {
            let Some(kind) = KINDS.iter().find(|kind| kind.key == key.get_ref()) else {
                let known = Step::KEYS.into_iter().chain(KINDS.iter().map(|kind| kind.key));
                let known: Vec<String> = known.map(|known| format!("`{known}`")).collect();
                let message = format!("unknown key `{}`, expected one of {}", key.get_ref(), known.join(", "));
                return Err(file.error(Some(key.span()), &message));
            };
            kinds.push((kind.key, keys, (kind.read)(keys, file)?));
        }
        let is_one = kinds.len() == 1;
        read.push(kinds.pop().filter(|_| is_one));
    }
    Ok(read)
}

impl<'a> Binder<'a> {
    /// Binds a step.
    pub(super) fn step(
        &mut self,
        step: &'a Step<'a>,
        span: Range<usize>,
        kind: KindOfStep<'a>,
        host: &dyn GuestHost,
    ) -> Result<()> {
        self.check_step_name(step)?;
        let Some((key, keys, kind)) = kind else {
            // In the order of the table, and not in that of the file.
            let is_given = |kind: &&Kind| step.kinds.iter().any(|(key, _)| key.get_ref() == kind.key);
            let given: Vec<&str> = KINDS.iter().filter(is_given).map(|kind| kind.key).collect();
            let found = if given.is_empty() {
                "none".to_owned()
            } else {
                given.join(" and ")
            };
            let accepted: Vec<&str> = KINDS.iter().map(|kind| kind.key).collect();
            let message = format!(
                "step \"{}\" has {found}; a step has exactly one of {}",
                step.name.get_ref(),
                accepted.join(", ")
            );
            return Err(self.error(span, message));
        };
        let step = StepAt { step, key, keys, host };
        let node = kind.bind(&step, self)?;
        self.nodes.push(node);
        Ok(())
    }
}
