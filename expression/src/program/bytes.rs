//! Programs as bytes. What is read is checked until nothing can go wrong when it is evaluated, whoever wrote it.

use super::{Kind, Node, Output, Program};
use crate::{
    function::{Arg, FUNCTIONS, Function},
    types::Type,
};
use std::fmt;

/// The form of programs. Whoever reads another says so.
const VERSION: u8 = 1;

/// The most bytes of a program.
pub const BYTES_MAX: usize = 64 * 1024;

/// The most nodes of a program.
pub const NODES_MAX: usize = 8192;

/// How deep the nodes may be nested: evaluation goes as deep.
pub const DEPTH_MAX: u32 = 128;

/// The most of inputs, parameters, rejects and outputs, each.
const PARTS_MAX: usize = 2048;

/// A program cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenProgram(String);

impl fmt::Display for BrokenProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken program: {}", self.0)
    }
}

impl std::error::Error for BrokenProgram {}

pub(crate) fn broken(what: impl Into<String>) -> BrokenProgram {
    BrokenProgram(what.into())
}

impl Program {
    /// The program as bytes: a version, and what it says.
    ///
    /// # Errors
    ///
    /// It is larger than [`BYTES_MAX`], or it is no program that could be read back.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BrokenProgram> {
        self.check()?;
        let bytes = postcard::to_extend(self, vec![VERSION]).map_err(|error| broken(error.to_string()))?;
        match bytes.len() > BYTES_MAX {
            true => Err(broken(format!(
                "it has {} bytes, and at most {BYTES_MAX} are accepted: make the rule shorter",
                bytes.len()
            ))),
            false => Ok(bytes),
        }
    }

    /// Reads a program that [`Program::to_bytes`] wrote, and checks it: whatever the bytes are, one that comes back can be
    /// evaluated.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Program, BrokenProgram> {
        if bytes.len() > BYTES_MAX {
            return Err(broken(format!(
                "it has {} bytes, and at most {BYTES_MAX} are accepted",
                bytes.len()
            )));
        }
        let Some((version, rest)) = bytes.split_first() else {
            return Err(broken("there are no bytes"));
        };
        if *version != VERSION {
            return Err(broken(format!(
                "its form is {version}, and only {VERSION} is known: build it again"
            )));
        }
        let (program, left) = postcard::take_from_bytes::<Program>(rest).map_err(|error| broken(error.to_string()))?;
        if !left.is_empty() {
            return Err(broken(format!("{} bytes follow it", left.len())));
        }
        program.check()?;
        Ok(program)
    }

    /// Whether everything that one part says of another is so.
    fn check(&self) -> Result<(), BrokenProgram> {
        let parts = [
            self.inputs.len(),
            self.parameters.len(),
            self.rejects.len(),
            self.outputs.len(),
        ];
        if self.nodes.len() > NODES_MAX || parts.iter().any(|count| *count > PARTS_MAX) {
            return Err(broken(format!(
                "more than {NODES_MAX} nodes, or {PARTS_MAX} inputs, parameters, rejects or outputs"
            )));
        }
        let types = self
            .inputs
            .iter()
            .map(|input| input.of)
            .chain(self.parameters.iter().map(|of| of.of));
        if !types.chain(self.nodes.iter().map(|node| node.of)).all(Type::is_valid) {
            return Err(broken("a decimal has no such precision and scale"));
        }
        for parameter in &self.parameters {
            if parameter
                .default
                .as_ref()
                .is_some_and(|default| !default.is_of(parameter.of))
            {
                return Err(broken(format!(
                    "the default of ${} is no {}",
                    parameter.name, parameter.of
                )));
            }
        }
        // Each node is named once, so that evaluation visits it once.
        let (mut depths, mut is_named) = (Vec::with_capacity(self.nodes.len()), vec![false; self.nodes.len()]);
        for (at, node) in self.nodes.iter().enumerate() {
            let depth = self.check_node(node, &depths, &mut is_named);
            depths.push(depth.ok_or_else(|| broken(format!("node {at} is not sound: {:?}", node.kind)))?);
        }
        let mut is_root = |node: u32, of: Type| {
            let found = self.nodes.get(node as usize).is_some_and(|node| node.of == of);
            let is_free = is_named
                .get_mut(node as usize)
                .is_some_and(|named| !std::mem::replace(named, true));
            (found && is_free)
                .then_some(())
                .ok_or_else(|| broken(format!("node {node} is no {of}, or not there, or used twice")))
        };
        if let Some(predicate) = self.predicate {
            is_root(predicate, Type::Boolean)?;
        }
        for reject in &self.rejects {
            is_root(reject.condition, Type::Boolean)?;
            is_root(reject.reason, Type::Text)?;
        }
        for output in &self.outputs {
            if let Output::Computed { of, node, .. } = output {
                is_root(*node, *of)?;
            }
        }
        Ok(())
    }

    /// How deep a node is; nothing where it is not sound.
    fn check_node(&self, node: &Node, depths: &[u32], is_named: &mut [bool]) -> Option<u32> {
        match &node.kind {
            Kind::Constant(value) => value.is_of(node.of).then_some(1),
            Kind::Input(at) => (self.inputs.get(*at as usize)?.of == node.of).then_some(1),
            Kind::Parameter(at) => (self.parameters.get(*at as usize)?.of == node.of).then_some(1),
            Kind::Call(function, arguments) => {
                let (mut deepest, mut types) = (0, Vec::with_capacity(arguments.len()));
                for argument in arguments {
                    let at = *argument as usize;
                    deepest = deepest.max(*depths.get(at)?);
                    if std::mem::replace(is_named.get_mut(at)?, true) {
                        return None;
                    }
                    types.push(self.nodes.get(at)?.of);
                }
                let is_sound = function.accepts(&types, node.of) && self.is_prepared(*function, arguments, &types);
                (is_sound && deepest < DEPTH_MAX).then_some(deepest + 1)
            }
        }
    }

    /// Whether what has to be known before the first row is a constant or a parameter.
    fn is_prepared(&self, function: Function, arguments: &[u32], types: &[Type]) -> bool {
        let is_known = |at: &u32| {
            let kind = self.nodes.get(*at as usize).map(|node| &node.kind);
            matches!(kind, Some(Kind::Constant(_) | Kind::Parameter(_)))
        };
        let mut rows = FUNCTIONS
            .iter()
            .filter(|row| row.function == function && row.is_exactly(types));
        rows.all(|row| {
            let mut all = arguments.iter().enumerate();
            all.all(|(at, argument)| !row.argument(at).is_some_and(Arg::is_prepared) || is_known(argument))
        })
    }
}
