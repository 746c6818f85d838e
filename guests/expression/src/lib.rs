//! The guest behind every rule that is an expression. It is the same component each time: the rule's program is what it carries
//! along (see `weir_expression::Attached`), so the host compiles it once.

mod columns;
mod parameters;

use weir_expression::{Attached, Evaluator, Program, Type, Zones, program::Output};
use weir_guest::{
    Stage,
    abi::{
        Answer, Batch, ComputedColumn, Description, InputColumn, OutputRows, OutputSpec, Parameter, PassedColumn,
        RejectedRow,
    },
};

/// A program with its parameters.
pub struct Rule(Evaluator);

/// The zones that the host knows.
struct OfHost;

impl Zones for OfHost {
    fn offset_at(&self, zone: &str, instant_ms: i64) -> Result<(i32, i64, i64), String> {
        let found = weir_guest::bindings::weir::stage::time_zone::offset_at(zone, instant_ms)?;
        Ok((found.offset_s, found.valid_from_ms, found.valid_until_ms))
    }
}

/// What the component carries.
fn attached() -> Attached {
    let bytes = weir_guest::bindings::weir::stage::attachment::read().expect("the component carries a program");
    Attached::from_bytes(&bytes)
        .unwrap_or_else(|broken| panic!("the program that the component carries is broken: {broken}"))
}

fn outputs(program: &Program) -> OutputSpec {
    let (mut passed, mut computed) = (Vec::new(), Vec::new());
    for output in &program.outputs {
        match output {
            Output::Passed { name, input } => passed.push(PassedColumn {
                input: input.clone(),
                output: name.clone(),
            }),
            Output::Computed { name, of, nullable, .. } => computed.push(ComputedColumn {
                name: name.clone(),
                column_type: columns::column_type(*of),
                nullable: *nullable,
            }),
        }
    }
    OutputSpec {
        name: "out".to_owned(),
        passed,
        computed,
        many: false,
    }
}

impl Stage for Rule {
    fn describe() -> Description {
        let Attached {
            name,
            version,
            doc,
            program,
        } = attached();
        let input = |input: &weir_expression::program::Input| InputColumn {
            name: input.name.clone(),
            column_type: columns::column_type(input.of),
            nullable: input.nullable,
        };
        Description {
            name,
            version,
            doc,
            inputs: program.inputs.iter().map(input).collect(),
            reads_time: false,
            outputs: vec![outputs(&program)],
            parameters: program.parameters.iter().map(parameters::spec).collect(),
        }
    }

    fn configure(given: Vec<Parameter>) -> Result<Self, String> {
        weir_guest::__private::configure::<()>(Vec::new())?;
        let program = attached().program;
        let mut values = Vec::with_capacity(given.len());
        for (parameter, given) in program.parameters.iter().zip(given) {
            values.push(Some(parameters::scalar(parameter, given)?));
        }
        Evaluator::new(program, &values).map(Rule)
    }

    fn process(&self, batch: &Batch) -> Answer {
        let types: Vec<Type> = self.0.program().inputs.iter().map(|input| input.of).collect();
        let decimals = columns::decimals(&batch.columns, &types);
        let inputs = columns::borrowed(&batch.columns, &decimals);
        let answer = self.0.evaluate(&inputs, batch.row_count as usize, &OfHost);
        let answer = answer.unwrap_or_else(|broken| panic!("{broken}"));
        let outputs = self.0.program().outputs.iter();
        let types = outputs.filter_map(|output| match output {
            Output::Computed { of, .. } => Some(*of),
            Output::Passed { .. } => None,
        });
        Answer {
            outputs: vec![OutputRows {
                rows: answer.rows,
                computed: answer.computed.into_iter().zip(types).map(columns::given).collect(),
            }],
            rejected: answer
                .rejected
                .into_iter()
                .map(|(row, reason)| RejectedRow { row, reason })
                .collect(),
        }
    }
}

#[cfg(target_family = "wasm")]
weir_guest::__export!(Rule);
