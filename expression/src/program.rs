//! The compiled form of a rule: what it reads, what it can be told, and its expressions as one table of nodes.

mod bytes;

pub(crate) use bytes::broken;
pub use bytes::{BYTES_MAX, BrokenProgram, DEPTH_MAX, NODES_MAX};

use crate::{
    forms::{Read, Value},
    function::Function,
    types::Type,
};
use serde::{Deserialize, Serialize};

/// A rule, compiled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// The columns that it reads, in the order in which it names them first. Columns that are only passed on are not among them.
    pub inputs: Vec<Input>,
    /// What it can be told.
    pub parameters: Vec<Parameter>,
    /// Every expression of the rule. The arguments of a node stand before it.
    pub nodes: Vec<Node>,
    /// The rows that it is about: those where this is true. Absent: all.
    pub predicate: Option<u32>,
    /// What rejects a row of those, asked in this order.
    pub rejects: Vec<Reject>,
    /// The columns that come out, in their order.
    pub outputs: Vec<Output>,
}

/// A column that a program reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The column's name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub of: Type,
    /// Whether there may be nulls in it.
    pub nullable: bool,
}

/// A parameter of a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name, without the `$`.
    pub name: String,
    /// Its type.
    pub of: Type,
    /// What holds where nobody says anything. Absent: somebody has to.
    pub default: Option<Scalar>,
    /// One line for the person who sets it.
    pub doc: String,
}

/// One value, owned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Scalar {
    /// No value.
    Null,
    /// An int, a timestamp in microseconds, a date in days.
    Int(i64),
    /// A finite double.
    Double(f64),
    /// True or false.
    Boolean(bool),
    /// A text, bytes, JSON or a list.
    Text(Vec<u8>),
    /// A decimal without its point.
    Decimal(i128),
}

/// One step of an expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// What it does.
    pub kind: Kind,
    /// The type of what it gives.
    pub of: Type,
    /// What the author wrote, shortened, where it can fail.
    pub text: String,
}

/// What a node does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    /// The same value in every row.
    Constant(Scalar),
    /// A column, by its number among the inputs.
    Input(u32),
    /// A parameter, by its number.
    Parameter(u32),
    /// A function of other nodes.
    Call(Function, Vec<u32>),
}

/// What rejects a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// A row of which this is true is rejected.
    pub condition: u32,
    /// The reason, a text.
    pub reason: u32,
}

/// A column that comes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// A column of the input as it is, by its name there. It costs nothing.
    Passed {
        /// Its name in the output.
        name: String,
        /// Its name in the input.
        input: String,
    },
    /// A column that is computed.
    Computed {
        /// Its name.
        name: String,
        /// Its type.
        of: Type,
        /// Whether there may be nulls in it.
        nullable: bool,
        /// The node.
        node: u32,
    },
}

impl Output {
    /// The column's name in the output.
    pub fn name(&self) -> &str {
        match self {
            Output::Passed { name, .. } | Output::Computed { name, .. } => name,
        }
    }
}

impl Scalar {
    /// The same, borrowed.
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Scalar::Null => Value::Null,
            Scalar::Int(value) => Value::Int(*value),
            Scalar::Double(value) => Value::Double(*value),
            Scalar::Boolean(value) => Value::Boolean(*value),
            Scalar::Text(value) => Value::Text(value),
            Scalar::Decimal(value) => Value::Decimal(*value),
        }
    }

    /// Whether it is a value of this type, or null.
    pub fn is_of(&self, of: Type) -> bool {
        match (self, of) {
            (Scalar::Null, _) => true,
            (Scalar::Int(us), Type::Timestamp) => crate::calendar::TIMESTAMPS_US.contains(us),
            (Scalar::Int(days), Type::Date) => crate::calendar::DATES.contains(days),
            (Scalar::Int(_), Type::Int) | (Scalar::Boolean(_), Type::Boolean) | (Scalar::Text(_), Type::Bytes) => true,
            (Scalar::Double(value), Type::Double) => value.is_finite(),
            (Scalar::Text(text), Type::Text) => std::str::from_utf8(text).is_ok(),
            (Scalar::Text(text), Type::Json) => std::str::from_utf8(text).is_ok() && crate::json::is_valid(text),
            (Scalar::Text(text), Type::List(_)) => crate::forms::parse_text(of, text) == Some(Read::Text(text.clone())),
            (Scalar::Decimal(unscaled), Type::Decimal { precision, .. }) => crate::decimal::holds(*unscaled, precision),
            _ => false,
        }
    }
}

impl From<Read> for Scalar {
    fn from(read: Read) -> Scalar {
        match read {
            Read::Int(value) => Scalar::Int(value),
            Read::Double(value) => Scalar::Double(value),
            Read::Boolean(value) => Scalar::Boolean(value),
            Read::Text(value) => Scalar::Text(value),
            Read::Decimal(value) => Scalar::Decimal(value),
        }
    }
}

impl Program {
    /// The nodes that a node names.
    pub(crate) fn arguments(&self, node: u32) -> &[u32] {
        self.nodes
            .get(node as usize)
            .map_or(&[], |node| self.arguments_of(node))
    }

    fn arguments_of<'n>(&self, node: &'n Node) -> &'n [u32] {
        match &node.kind {
            Kind::Call(_, arguments) => arguments,
            _ => &[],
        }
    }

    /// Whether a node may give null, by what it is made of.
    pub fn is_nullable(&self) -> Vec<bool> {
        let mut nullable: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let may = match &node.kind {
                Kind::Constant(value) => *value == Scalar::Null,
                Kind::Input(input) => self.inputs.get(*input as usize).is_none_or(|input| input.nullable),
                // Null is no value that a parameter can be told, but one that may be its default.
                Kind::Parameter(at) => self
                    .parameters
                    .get(*at as usize)
                    .is_none_or(|of| of.default == Some(Scalar::Null)),
                Kind::Call(function, arguments) => {
                    let of = |at: &u32| nullable.get(*at as usize).copied().unwrap_or(true);
                    let arguments: Vec<bool> = arguments.iter().map(of).collect();
                    // JSON's null is cast to null.
                    let is_json = |at: &u32| self.nodes.get(*at as usize).is_some_and(|node| node.of == Type::Json);
                    let casts_json = *function == Function::Cast && self.arguments_of(node).iter().any(is_json);
                    casts_json || function.may_be_null(&arguments)
                }
            };
            nullable.push(may);
        }
        nullable
    }
}
