//! What the planner says of an operator, as data: each kind of step has a struct of its own that answers these questions.

use super::{AggregateSpec, KeyedGuest, Node, Output, OutputPort, Plan, Projection};
use crate::{
    error::{OrDefect, Result, note_defect},
    model::column::Field,
};
use std::{any::Any, fmt};

/// The physical plan of an operator: its columns are indices into the schemas of its inputs.
///
/// The struct of a kind stands beside what binds it, in `planner/KIND.rs`, and the operator that runs it in `operator/KIND.rs`.
/// The rest of Weir knows a step by these answers. A default is what most kinds say.
pub trait OperatorPlan: Any + fmt::Debug + Send + Sync {
    /// The ports that it reads beside [`Node::input`].
    fn other_inputs(&self) -> &[OutputPort] {
        &[]
    }

    /// Whether it follows the watermark.
    fn follows_time(&self) -> bool {
        false
    }

    /// The outputs whose rows came too late.
    fn late_outputs(&self) -> &'static [usize] {
        &[]
    }

    /// Whether it keeps something of the rows that it has seen.
    fn keeps_state(&self) -> bool {
        true
    }

    /// Whether it keeps what it would have to take back where a row of a changelog goes.
    fn takes_back(&self) -> bool {
        false
    }

    /// What it makes of each row, where it does nothing but give other columns: nobody then asks it what its changelog comes to.
    fn projection(&self) -> Option<&Projection> {
        None
    }

    /// Whether it makes rows of each row alone, and keeps nothing: what its changelog comes to follows from what that of its input
    /// comes to.
    fn unfolds(&self) -> bool {
        false
    }

    /// Whether it may reject an event that an operator's state or a table has taken in before.
    fn undoes(&self) -> bool {
        false
    }

    /// What it computes of groups of rows, if it does.
    fn aggregates(&self) -> &[AggregateSpec] {
        &[]
    }

    /// The keyed function that it calls, if it does.
    fn keyed(&self) -> Option<&KeyedGuest> {
        None
    }

    /// The columns and settings that its state depends on. Databases hold these texts: one that is not the same to the byte is a
    /// state that does not fit.
    fn fingerprint(&self, at: At<'_>, form: StateForm) -> String;

    /// What it does, as `weir check` draws it.
    fn describe(&self, at: At<'_>) -> String;
}

/// How the text of a state names the guests that take rows back: databases of older weirs say more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateForm {
    /// By what they say of their states, as all others are: what computes results of these is remembered beside.
    States,
    /// With their parameters as well.
    WithParameters,
    /// With their modules and parameters.
    WithModules,
}

/// A step in its plan, to name the columns that it reads and gives.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// One of its nodes.
    pub node: &'a Node,
}

impl<'a> At<'a> {
    /// A column of a port.
    pub fn field(self, port: OutputPort, index: usize) -> Option<&'a Field> {
        let field = self.plan.schema(port).get(index);
        if field.is_none() {
            note_defect(format_args!(
                "step \"{}\" reads a column {index} that is not there",
                self.node.name
            ));
        }
        field
    }

    /// The name of a column of a port.
    pub fn name(self, port: OutputPort, index: usize) -> &'a str {
        self.field(port, index).map_or("?", |field| field.name.as_str())
    }

    /// The names of columns of a port, with commas.
    pub fn names(self, port: OutputPort, indices: &[usize]) -> String {
        let names: Vec<&str> = indices.iter().map(|&index| self.name(port, index)).collect();
        names.join(", ")
    }

    /// The same, of the step's own input.
    pub fn own_names(self, indices: &[usize]) -> String {
        self.names(self.node.input, indices)
    }

    /// Columns of a port, by their names and types.
    pub fn typed(self, port: OutputPort, indices: &[usize]) -> String {
        typed(indices.iter().filter_map(|&index| self.field(port, index)))
    }

    /// The columns of its first output, by their names and types.
    pub fn output(self) -> String {
        typed(self.node.outputs.first().into_iter().flat_map(|output| &output.schema))
    }
}

/// Columns, by their names and types.
pub(crate) fn typed<'f>(fields: impl Iterator<Item = &'f Field>) -> String {
    let fields: Vec<String> = fields
        .map(|field| format!("{} {}", field.name, field.column_type))
        .collect();
    fields.join(", ")
}

impl Node {
    /// Its plan, for the operator that runs steps of this kind.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect), where it is a step of another kind.
    pub(crate) fn operator_plan<P: OperatorPlan>(&self) -> Result<&P> {
        let plan = self.kind.operator().map(|plan| plan as &dyn Any);
        plan.and_then(|plan| plan.downcast_ref())
            .or_defect(|| format!("step \"{}\" is of another kind than its operator", self.name))
    }

    /// One of its outputs.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect), where it has no output of that number.
    pub(crate) fn output(&self, number: usize) -> Result<&Output> {
        self.outputs
            .get(number)
            .or_defect(|| format!("step \"{}\" has no output {number}", self.name))
    }
}

impl Plan {
    /// The output that a port is. A port of this plan always is one: where it is none, that is noted as a defect.
    pub fn output(&self, port: OutputPort) -> Option<&Output> {
        let node = self.nodes.get(port.node);
        let output = node.and_then(|node| node.outputs.get(port.output));
        if output.is_none() {
            note_defect(format_args!(
                "output {} of step {} is read and is not there",
                port.output, port.node
            ));
        }
        output
    }

    /// The columns of a port.
    pub(crate) fn schema(&self, port: OutputPort) -> &[Field] {
        self.output(port)
            .map(|output| output.schema.as_slice())
            .unwrap_or_default()
    }
}
