//! Evaluation: column by column, over all rows of a batch at once.
//!
//! An error is a mark on a row, as a null is, and goes from an argument to the result. Where a result does not depend on an argument
//! (the right side of `false and …`, a branch that was not taken), neither does it on its marks, so that everything may be computed for
//! every row and no row is rejected for what it does not need. What is dear is computed for the rows that need it alone. A row that
//! is left with a mark is evaluated once more by itself, in the order in which it is written, to say in words what went wrong.

mod arithmetic;
mod cast;
mod compare;
mod datum;
mod formats;
mod functions;
mod hash;
mod json;
mod like;
mod lists;
mod logic;
mod numbers;
mod prepare;
mod text;
mod time;
mod zones;

pub use prepare::check_format;
pub use time::Unit;
pub use zones::{NoZones, Zones};

use crate::{
    column::{Column, ColumnRef},
    program::{Kind, Output, Program, Scalar},
};
use datum::Datum;
use prepare::Prepared;
use std::cell::RefCell;
use zones::KnownZones;

/// A program with its parameters, ready for batches.
#[derive(Debug)]
pub struct Evaluator {
    program: Program,
    prepared: Vec<Prepared>,
    /// What each node costs, with everything below it.
    costs: Vec<u32>,
    /// The inputs that each node reads, with everything below it.
    reads: Vec<Vec<u32>>,
    zones: RefCell<KnownZones>,
}

/// What became of the rows of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The rows that come out, ascending. A column that is passed on has these of its rows.
    pub rows: Vec<u32>,
    /// The columns that were computed, in the order of the program's outputs, of those rows alone.
    pub computed: Vec<Column>,
    /// The rows that are rejected, ascending, and why. A row that is in neither list was left out by `where`.
    pub rejected: Vec<(u32, String)>,
}

/// Rows to evaluate.
struct Frame<'a> {
    n: usize,
    /// The inputs, as far as somebody reads them.
    inputs: Vec<Option<ColumnRef<'a>>>,
    /// Whether it is one row, of which somebody wants to know what goes wrong.
    explains: bool,
}

/// A batch that is being evaluated.
struct Run<'a> {
    of: &'a Evaluator,
    zones: &'a dyn Zones,
}

/// Why a row is rejected, in words; only where a frame explains.
type Rejected = String;

impl Evaluator {
    /// Takes a program and a value for each of its parameters, in their order: the default where there is none.
    ///
    /// # Errors
    ///
    /// A sentence for the person who set a parameter: it has no value, one of another type, or one that is no regular expression.
    pub fn new(program: Program, parameters: &[Option<Scalar>]) -> Result<Evaluator, String> {
        let mut values = Vec::with_capacity(program.parameters.len());
        for (at, parameter) in program.parameters.iter().enumerate() {
            let value = parameters
                .get(at)
                .cloned()
                .flatten()
                .or_else(|| parameter.default.clone());
            let value = value.ok_or_else(|| {
                format!(
                    "parameter {:?} has no value and no default: set one of type {}",
                    parameter.name, parameter.of
                )
            })?;
            let is_unexpected_null = value == Scalar::Null && parameter.default != Some(Scalar::Null);
            if is_unexpected_null || !value.is_of(parameter.of) {
                return Err(format!(
                    "parameter {:?} has to be of type {}",
                    parameter.name, parameter.of
                ));
            }
            values.push(value);
        }
        let mut costs: Vec<u32> = Vec::with_capacity(program.nodes.len());
        let mut reads: Vec<Vec<u32>> = Vec::with_capacity(program.nodes.len());
        for node in &program.nodes {
            let (mut cost, mut read) = (0u32, Vec::new());
            match &node.kind {
                Kind::Call(function, arguments) => {
                    cost = function.cost();
                    for argument in arguments {
                        cost = cost.saturating_add(costs.get(*argument as usize).copied().unwrap_or(0));
                        read.extend_from_slice(reads.get(*argument as usize).map_or(&[], Vec::as_slice));
                    }
                }
                Kind::Input(input) => read.push(*input),
                Kind::Constant(_) | Kind::Parameter(_) => (),
            }
            read.sort_unstable();
            read.dedup();
            costs.push(cost);
            reads.push(read);
        }
        let prepared = prepare::all(&program, &values)?;
        Ok(Evaluator {
            program,
            prepared,
            costs,
            reads,
            zones: RefCell::default(),
        })
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Evaluates a batch. What becomes of a row is the same in whichever batch it comes.
    ///
    /// # Errors
    ///
    /// The columns are not those of the program's inputs, or have other lengths than `row_count`.
    pub fn evaluate(&self, inputs: &[ColumnRef<'_>], row_count: usize, zones: &dyn Zones) -> Result<Answer, String> {
        if inputs.len() != self.program.inputs.len() || u32::try_from(row_count).is_err() {
            return Err(format!(
                "{} columns of {row_count} rows were given, and {} are read",
                inputs.len(),
                self.program.inputs.len()
            ));
        }
        for (column, input) in inputs.iter().zip(&self.program.inputs) {
            if !column.fits(input.of.layout(), row_count) {
                return Err(format!(
                    "column {:?} was given broken: it has to be {row_count} values of type {}",
                    input.name, input.of
                ));
            }
        }
        let run = Run { of: self, zones };
        let all = Frame {
            n: row_count,
            inputs: inputs.iter().copied().map(Some).collect(),
            explains: false,
        };
        let mut failed = Vec::new();
        let rows = run.selected(&all, &mut failed);
        let mut answer = match rows {
            None => run.answer(&all, None, &mut failed),
            Some(rows) => {
                let roots = self.roots_behind_predicate();
                let gathered = run.gathered(&all, &rows, &roots);
                let frame = framed(&gathered, rows.len(), false);
                run.answer(&frame, Some(rows), &mut failed)
            }
        };
        failed.sort_unstable();
        for row in failed {
            answer.rejected.push((row, run.reason(&all, row)));
        }
        Ok(answer)
    }

    /// The nodes that are evaluated for the rows that the predicate keeps.
    fn roots_behind_predicate(&self) -> Vec<u32> {
        let rejects = self.program.rejects.iter().map(|reject| reject.condition);
        rejects.chain(self.computed()).collect()
    }

    fn computed(&self) -> impl Iterator<Item = u32> {
        self.program.outputs.iter().filter_map(|output| match output {
            Output::Computed { node, .. } => Some(*node),
            Output::Passed { .. } => None,
        })
    }
}

/// Columns as a frame.
fn framed(columns: &[Option<Column>], n: usize, explains: bool) -> Frame<'_> {
    Frame {
        n,
        inputs: columns
            .iter()
            .map(|column| column.as_ref().map(Column::as_ref))
            .collect(),
        explains,
    }
}

impl<'a> Run<'a> {
    /// The rows of which the predicate is true; nothing where it is true of all. Marks those in which it fails.
    fn selected(&self, frame: &Frame<'_>, failed: &mut Vec<u32>) -> Option<Vec<u32>> {
        let predicate = self.of.program.predicate?;
        let Ok(datum) = self.eval(predicate, frame) else {
            return Some(Vec::new());
        };
        let datum = datum.expanded(frame.n);
        let mut mask = datum.booleans().to_vec();
        if let Some(validity) = &datum.validity {
            mask.iter_mut()
                .zip(validity.iter())
                .for_each(|(mask, valid)| *mask &= valid);
        }
        if let Some(errors) = &datum.errors {
            for (row, (mask, error)) in mask.iter_mut().zip(errors).enumerate() {
                *mask &= 1 - error;
                if *error != 0 {
                    failed.push(row as u32);
                }
            }
        }
        let rows = logic::rows_of(&mask);
        (rows.len() < frame.n).then_some(rows)
    }

    /// Rejects and computes the rows of a frame; `rows` are their numbers in the batch, where they are not all of it.
    fn answer(&self, frame: &Frame<'_>, rows: Option<Vec<u32>>, failed: &mut Vec<u32>) -> Answer {
        let program = &self.of.program;
        let mut bad: Option<Vec<u8>> = None;
        let mut mark = |errors: &[u8]| {
            let bad = bad.get_or_insert_with(|| vec![0; frame.n]);
            bad.iter_mut().zip(errors).for_each(|(bad, error)| *bad |= error);
        };
        for reject in &program.rejects {
            let Ok(datum) = self.eval(reject.condition, frame) else {
                continue;
            };
            let mut datum = datum.expanded(frame.n);
            let is_true: Vec<u8> = match &datum.validity {
                Some(validity) => datum
                    .booleans()
                    .iter()
                    .zip(validity.iter())
                    .map(|(value, valid)| value & valid)
                    .collect(),
                None => datum.booleans().to_vec(),
            };
            if is_true.contains(&1) {
                mark(&is_true);
            }
            if let Some(errors) = datum.errors.take() {
                mark(&errors);
            }
        }
        let mut computed = Vec::new();
        for node in self.of.computed() {
            let Ok(datum) = self.eval(node, frame) else { continue };
            let mut datum = datum.expanded(frame.n);
            if let Some(errors) = datum.errors.take() {
                mark(&errors);
            }
            computed.push(datum.into_column(frame.n));
        }
        let number = |row: u32| rows.as_ref().map_or(row, |rows| rows[row as usize]);
        let Some(mut bad) = bad else {
            return Answer {
                rows: rows.unwrap_or_else(|| (0..frame.n as u32).collect()),
                computed,
                rejected: Vec::new(),
            };
        };
        failed.extend(logic::rows_of(&bad).into_iter().map(number));
        bad.iter_mut().for_each(|bad| *bad = 1 - *bad);
        let good = logic::rows_of(&bad);
        if good.len() < frame.n {
            computed = computed.iter().map(|column| column.as_ref().gather(&good)).collect();
        }
        Answer {
            rows: good.into_iter().map(number).collect(),
            computed,
            rejected: Vec::new(),
        }
    }

    /// Why a row is rejected.
    fn reason(&self, frame: &Frame<'_>, row: u32) -> String {
        let program = &self.of.program;
        let gathered: Vec<_> = frame
            .inputs
            .iter()
            .map(|input| input.map(|input| input.gather(&[row])))
            .collect();
        let one = framed(&gathered, 1, true);
        let find = || -> Result<(), Rejected> {
            if let Some(predicate) = program.predicate {
                self.eval(predicate, &one)?;
            }
            for reject in &program.rejects {
                let condition = self.eval(reject.condition, &one)?;
                if !condition.is_null(0) && condition.boolean(0) {
                    return Err(self.stated(reject.reason, &one));
                }
            }
            for node in self.of.computed() {
                self.eval(node, &one)?;
            }
            Ok(())
        };
        find().err().unwrap_or_else(|| "it was rejected".to_owned())
    }

    /// The reason that an author gave.
    fn stated(&self, reason: u32, frame: &Frame<'_>) -> String {
        match self.eval(reason, frame) {
            Ok(datum) if datum.is_null(0) => "no reason was given: it is null".to_owned(),
            Ok(datum) => String::from_utf8_lossy(datum.text(0)).into_owned(),
            Err(why) => why,
        }
    }

    /// The inputs that these nodes read, of some rows of a frame.
    fn gathered(&self, frame: &Frame<'_>, rows: &[u32], nodes: &[u32]) -> Vec<Option<Column>> {
        let mut gathered: Vec<Option<Column>> = vec![None; frame.inputs.len()];
        for input in nodes
            .iter()
            .flat_map(|node| self.of.reads.get(*node as usize).into_iter().flatten())
        {
            let at = *input as usize;
            if let (Some(place @ None), Some(Some(column))) = (gathered.get_mut(at), frame.inputs.get(at)) {
                *place = Some(column.gather(rows));
            }
        }
        gathered
    }

    /// What a node gives for the rows of a frame.
    fn eval<'f>(&'f self, at: u32, frame: &'f Frame<'f>) -> Result<Datum<'f>, Rejected> {
        let Some(node) = self.of.program.nodes.get(at as usize) else {
            return Ok(Datum::nulls(crate::types::Layout::Int, frame.n));
        };
        match &node.kind {
            Kind::Input(input) => Ok(match frame.inputs.get(*input as usize) {
                Some(Some(column)) => Datum::borrowed(*column, false),
                _ => Datum::nulls(node.of.layout(), frame.n),
            }),
            Kind::Constant(_) | Kind::Parameter(_) => Ok(match self.of.prepared.get(at as usize) {
                Some(Prepared::Constant(column)) => Datum::borrowed(column.as_ref(), true),
                _ => Datum::nulls(node.of.layout(), frame.n),
            }),
            Kind::Call(function, arguments) => {
                if let Some(lazy) = self.lazy(*function, arguments, node, frame) {
                    return lazy;
                }
                let mut data = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    data.push(self.eval(*argument, frame)?);
                }
                let is_constant = !data.is_empty() && data.iter().all(|datum| datum.constant);
                let n = if is_constant { 1 } else { frame.n };
                let mut result = self.call(*function, at, node, &data, n);
                result.constant = is_constant;
                if frame.explains && result.is_error(0) {
                    return Err(self.explain(node, arguments, &data, &result));
                }
                Ok(result)
            }
        }
    }

    /// What went wrong in a call, of which there is one row.
    fn explain(
        &self,
        node: &crate::program::Node,
        arguments: &[u32],
        data: &[Datum<'_>],
        result: &Datum<'_>,
    ) -> String {
        let mut values = Vec::new();
        for (argument, datum) in arguments.iter().zip(data) {
            let argument = self.of.program.nodes.get(*argument as usize);
            // A literal stands in the text already.
            if argument.is_some_and(|argument| !matches!(argument.kind, Kind::Constant(_))) {
                let mut text = Vec::new();
                let of = argument.map_or(crate::types::Type::Text, |argument| argument.of);
                crate::forms::push_text(&mut text, of, datum.value(0));
                let text = shortened(&String::from_utf8_lossy(&text), 60);
                values.push(match (datum.is_null(0), of.layout()) {
                    (true, _) => "null".to_owned(),
                    (_, crate::types::Layout::Text) => format!("{text:?}"),
                    _ => text,
                });
            }
        }
        let fault = result.fault.unwrap_or("it has no value");
        let with = if values.is_empty() {
            String::new()
        } else {
            format!(", with {}", values.join(" and "))
        };
        match node.text.is_empty() {
            true => format!("cannot compute an expression: {fault}{with}"),
            false => format!("cannot compute {:?}: {fault}{with}", node.text),
        }
    }
}

/// A text of at most so many characters.
pub(crate) fn shortened(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
