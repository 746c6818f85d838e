//! From the text of a rule to a [`Program`]: parsed as SQL, typed against the columns that there are.

mod calls;
mod convert;
mod literals;
mod operators;
mod resolve;
mod suggest;
mod syntax;
mod typed;

use crate::program::{Input, Kind, Node, Output, Parameter, Program, Reject};
use resolve::Resolver;
use sqlparser::ast::Expr;
use std::{cell::RefCell, fmt, ops::Range};
use typed::{Typed, What};

/// A rule as a pipeline file has it.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// The rows that it is about: those where this is true.
    pub filter: Option<String>,
    /// The columns that come out, in order; absent for all of the input. A column that is named stands in the place of the one of its
    /// name that [`Selected::All`] brought.
    pub select: Option<Vec<Selected>>,
    /// What rejects a row, asked in this order.
    pub rejects: Vec<RejectText>,
    /// What the rule can be told.
    pub parameters: Vec<Parameter>,
}

/// An entry of `select`.
#[derive(Clone, Debug)]
pub enum Selected {
    /// All columns of the input, in their order.
    All,
    /// One column.
    Column {
        /// Its name in the output.
        name: String,
        /// Its expression.
        text: String,
    },
}

/// An entry of `reject`.
#[derive(Clone, Debug)]
pub struct RejectText {
    /// A row of which this is true is rejected.
    pub condition: String,
    /// Why.
    pub reason: Reason,
}

/// Why a row is rejected.
#[derive(Clone, Debug)]
pub enum Reason {
    /// These words.
    Text(String),
    /// An expression that gives the words.
    Expression(String),
}

/// The text that an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `where`.
    Where,
    /// The entry of `select` of this name.
    Select(String),
    /// The condition of the entry of `reject` of this number, from 1.
    Reject(usize),
    /// Its reason.
    Reason(usize),
    /// The one SQL text.
    Sql,
    /// No text: the rule as a whole.
    Rule,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The text that it is about.
    pub place: Place,
    /// The bytes of that text.
    pub span: Range<usize>,
    /// What is wrong, and what is accepted.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Where => f.write_str("where: ")?,
            Place::Select(name) => write!(f, "select {name:?}: ")?,
            Place::Reject(at) => write!(f, "reject {at}: ")?,
            Place::Reason(at) => write!(f, "reject {at}, reason: ")?,
            Place::Sql => f.write_str("sql: ")?,
            Place::Rule => (),
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Says whether a time zone is known, or why not.
pub type KnowsZone<'a> = &'a (dyn Fn(&str) -> Result<(), String> + Sync);

/// A rule whose texts are parsed.
#[derive(Default)]
struct Parsed {
    filter: Option<Expr>,
    select: Vec<ParsedSelected>,
    rejects: Vec<(Expr, Result<Expr, String>)>,
}

enum ParsedSelected {
    All,
    Column(String, Box<Expr>),
}

/// Where the texts of a rule stand, for errors.
struct Texts<'a> {
    /// The one text, where there is one.
    sql: Option<&'a str>,
    rule: &'a Rule,
}

impl Texts<'_> {
    fn of(&self, place: Place) -> (Place, &str) {
        if let Some(sql) = self.sql {
            return (Place::Sql, sql);
        }
        let text = match &place {
            Place::Where => self.rule.filter.as_deref(),
            Place::Select(of) => self.rule.select.iter().flatten().find_map(|selected| match selected {
                Selected::Column { name, text } if name == of => Some(text.as_str()),
                _ => None,
            }),
            Place::Reject(at) => self.rule.rejects.get(at - 1).map(|reject| reject.condition.as_str()),
            Place::Reason(at) => self.rule.rejects.get(at - 1).map(|reject| match &reject.reason {
                Reason::Text(text) | Reason::Expression(text) => text.as_str(),
            }),
            Place::Sql | Place::Rule => None,
        };
        (place, text.unwrap_or_default())
    }
}

/// Compiles a rule against the columns of its input.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn compile(rule: &Rule, scope: &[Input], knows_zone: KnowsZone<'_>) -> Result<Program, Vec<Error>> {
    with_room(|| compile_here(rule, scope, knows_zone))
}

fn compile_here(rule: &Rule, scope: &[Input], knows_zone: KnowsZone<'_>) -> Result<Program, Vec<Error>> {
    let (mut parsed, mut errors) = (Parsed::default(), Vec::new());
    let mut parse = |place: Place, text: &str| {
        syntax::expression(text)
            .map_err(|(span, message)| errors.push(Error { place, span, message }))
            .ok()
    };
    parsed.filter = rule.filter.as_ref().and_then(|text| parse(Place::Where, text));
    for (at, reject) in rule.rejects.iter().enumerate() {
        let condition = parse(Place::Reject(at + 1), &reject.condition);
        let reason = match &reject.reason {
            Reason::Text(text) => Some(Err(text.clone())),
            Reason::Expression(text) => parse(Place::Reason(at + 1), text).map(Ok),
        };
        if let (Some(condition), Some(reason)) = (condition, reason) {
            parsed.rejects.push((condition, reason));
        }
    }
    match &rule.select {
        None => parsed.select.push(ParsedSelected::All),
        Some(select) => {
            for selected in select {
                match selected {
                    Selected::All => parsed.select.push(ParsedSelected::All),
                    Selected::Column { name, text } => {
                        if let Some(expression) = parse(Place::Select(name.clone()), text) {
                            parsed
                                .select
                                .push(ParsedSelected::Column(name.clone(), Box::new(expression)));
                        }
                    }
                }
            }
        }
    }
    build(&parsed, &Texts { sql: None, rule }, scope, knows_zone, errors)
}

/// Compiles a rule that is one SQL text: `select *, a * 2 as b where a > 1`. It has no `from`: the rows are those of the step.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn compile_sql(
    sql: &str,
    parameters: &[Parameter],
    scope: &[Input],
    knows_zone: KnowsZone<'_>,
) -> Result<Program, Vec<Error>> {
    let rule = Rule {
        parameters: parameters.to_vec(),
        ..Rule::default()
    };
    with_room(|| match syntax::statement(sql) {
        Ok(parsed) => build(
            &parsed,
            &Texts {
                sql: Some(sql),
                rule: &rule,
            },
            scope,
            knows_zone,
            Vec::new(),
        ),
        Err(errors) => Err(errors
            .into_iter()
            .map(|(span, message)| Error {
                place: Place::Sql,
                span,
                message,
            })
            .collect()),
    })
}

/// Compiles one expression, as if it were the only column: the output is called as it is written.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn compile_expression(text: &str, scope: &[Input], knows_zone: KnowsZone<'_>) -> Result<Program, Vec<Error>> {
    let select = Some(vec![Selected::Column {
        name: text.to_owned(),
        text: text.to_owned(),
    }]);
    compile(
        &Rule {
            select,
            ..Rule::default()
        },
        scope,
        knows_zone,
    )
}

/// The stack on which texts are parsed and typed. The parser's tree is as deep as a chain of operators is long, and everything that walks
/// it goes as deep: what is refused for its depth has been walked before.
const STACK_BYTES: usize = 64 << 20;

/// Runs something where there is room for the deepest tree that a text makes.
fn with_room(run: impl FnOnce() -> Result<Program, Vec<Error>> + Send) -> Result<Program, Vec<Error>> {
    let failed = |message: String| {
        Err(vec![Error {
            place: Place::Rule,
            span: 0..0,
            message,
        }])
    };
    std::thread::scope(|scope| {
        match std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, run)
        {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => failed(format!("cannot start a thread to compile the rule: {error}")),
        }
    })
}

fn build(
    parsed: &Parsed,
    texts: &Texts<'_>,
    scope: &[Input],
    knows_zone: KnowsZone<'_>,
    errors: Vec<Error>,
) -> Result<Program, Vec<Error>> {
    let errors = RefCell::new(errors);
    let parameters = &texts.rule.parameters;
    let resolver = Resolver {
        scope,
        parameters,
        knows_zone,
    };
    let mut emitter = Emitter {
        scope,
        program: Program {
            parameters: parameters.clone(),
            ..empty()
        },
        used: vec![None; scope.len()],
    };
    let typed = |place: Place, expression: &Expr, wanted: Option<crate::Type>| {
        let resolved = resolver.root(expression, wanted);
        resolved
            .map_err(|error| {
                let (place, text) = texts.of(place);
                errors.borrow_mut().push(Error {
                    place,
                    span: syntax::bytes_of(text, error.span),
                    message: error.message,
                });
            })
            .ok()
    };
    if let Some(filter) = &parsed.filter
        && let Some(typed) = typed(Place::Where, filter, Some(crate::Type::Boolean))
    {
        emitter.program.predicate = Some(emitter.emit(typed));
    }
    for (at, (condition, reason)) in parsed.rejects.iter().enumerate() {
        let condition = typed(Place::Reject(at + 1), condition, Some(crate::Type::Boolean));
        let reason = match reason {
            Ok(reason) => typed(Place::Reason(at + 1), reason, Some(crate::Type::Text)),
            Err(text) => Some(Typed::text(text)),
        };
        if let (Some(condition), Some(reason)) = (condition, reason) {
            let (condition, reason) = (emitter.emit(condition), emitter.emit(reason));
            emitter.program.rejects.push(Reject { condition, reason });
        }
    }
    let mut outputs: Vec<(String, bool, Typed)> = Vec::new();
    for selected in &parsed.select {
        match selected {
            ParsedSelected::All => {
                for (at, input) in scope.iter().enumerate() {
                    outputs.push((input.name.clone(), true, Typed::input(at, input)));
                }
            }
            ParsedSelected::Column(name, expression) => {
                let Some(typed) = typed(Place::Select(name.clone()), expression, None) else {
                    continue;
                };
                match outputs.iter_mut().find(|(other, ..)| other == name) {
                    Some((_, is_of_all @ true, place)) => (*is_of_all, *place) = (false, typed),
                    Some(_) => {
                        let (place, text) = texts.of(Place::Select(name.clone()));
                        let message = format!("two columns are called {name:?}: give one of them another name");
                        errors.borrow_mut().push(Error {
                            place,
                            span: syntax::bytes_of(text, syntax::span_of(expression)),
                            message,
                        });
                    }
                    None => outputs.push((name.clone(), false, typed)),
                }
            }
        }
    }
    for (name, _, typed) in outputs {
        if let What::Input(at) = typed.what {
            let input = scope.get(at).map_or_else(String::new, |input| input.name.clone());
            emitter.program.outputs.push(Output::Passed { name, input });
            continue;
        }
        let of = typed.of;
        let node = emitter.emit(typed);
        emitter.program.outputs.push(Output::Computed {
            name,
            of,
            nullable: true,
            node,
        });
    }
    let mut errors = errors.into_inner();
    if errors.is_empty() && emitter.program.outputs.is_empty() {
        errors.push(Error {
            place: Place::Rule,
            span: 0..0,
            message: "select names no column: name one, or \"*\" for all".to_owned(),
        });
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut program = emitter.program;
    let nullable_nodes = program.is_nullable();
    for output in &mut program.outputs {
        if let Output::Computed { nullable, node, .. } = output {
            *nullable = nullable_nodes.get(*node as usize).copied().unwrap_or(true);
        }
    }
    match program.to_bytes() {
        Ok(_) => Ok(program),
        Err(error) => Err(vec![Error {
            place: Place::Rule,
            span: 0..0,
            message: error.to_string(),
        }]),
    }
}

fn empty() -> Program {
    Program {
        inputs: Vec::new(),
        parameters: Vec::new(),
        nodes: Vec::new(),
        predicate: None,
        rejects: Vec::new(),
        outputs: Vec::new(),
    }
}

/// Writes typed expressions into the table of a program.
struct Emitter<'a> {
    scope: &'a [Input],
    program: Program,
    /// The number of each column of the scope among the inputs, once it is read.
    used: Vec<Option<u32>>,
}

impl Emitter<'_> {
    fn emit(&mut self, typed: Typed) -> u32 {
        let kind = match typed.what {
            What::Constant(value) => Kind::Constant(value),
            What::Parameter(at) => Kind::Parameter(at as u32),
            What::Input(at) => Kind::Input(self.input(at)),
            What::Call(function, arguments) => Kind::Call(
                function,
                arguments.into_iter().map(|argument| self.emit(argument)).collect(),
            ),
        };
        self.program.nodes.push(Node {
            kind,
            of: typed.of,
            text: typed.text,
        });
        self.program.nodes.len() as u32 - 1
    }

    fn input(&mut self, at: usize) -> u32 {
        let next = self.program.inputs.len() as u32;
        let (Some(used), Some(input)) = (self.used.get_mut(at), self.scope.get(at)) else {
            return next;
        };
        *used.get_or_insert_with(|| {
            self.program.inputs.push(input.clone());
            next
        })
    }
}
