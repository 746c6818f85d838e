//! What a guest says of itself, checked.

use super::{
    bindings::exports::weir::stage::stage as abi,
    measured::Measured,
    translate::of_stage::{field, inputs_of, parameters_of},
};
use crate::{limits::GUEST_OUTPUTS_MAX, model::column::Field};
use std::{collections::BTreeSet, fmt};

/// What a stage reads, gives, and can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The rule's name.
    pub name: String,
    /// The rule's version.
    pub version: String,
    /// What it does.
    pub doc: String,
    /// The columns that it reads.
    pub inputs: Vec<Field>,
    /// Whether it reads the time of each row.
    pub reads_time: bool,
    /// Its outputs, at least one.
    pub outputs: Vec<OutputSpec>,
    /// Its parameters.
    pub parameters: Vec<ParameterSpec>,
}

/// One output of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    /// The output's name.
    pub name: String,
    /// Columns that go through unchanged: name on the way in, name on the way out.
    pub passed: Vec<(String, String)>,
    /// Columns that the rule computes.
    pub computed: Vec<Field>,
}

/// One parameter of a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// The name.
    pub name: String,
    /// The type.
    pub parameter_type: ParameterType,
    /// What holds when the pipeline says nothing.
    pub default: Option<ParameterValue>,
    /// One line for the person who sets it.
    pub doc: String,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterType {
    /// An integer.
    Int,
    /// A finite double.
    Double,
    /// A boolean.
    Boolean,
    /// A text.
    Text,
    /// A list of integers.
    IntList,
    /// A list of finite doubles.
    DoubleList,
    /// A list of texts.
    TextList,
}

impl ParameterType {
    /// The type in words, for messages.
    pub fn described(self) -> &'static str {
        match self {
            Self::Int => "an integer",
            Self::Double => "a finite number",
            Self::Boolean => "true or false",
            Self::Text => "a text",
            Self::IntList => "a list of integers",
            Self::DoubleList => "a list of finite numbers",
            Self::TextList => "a list of texts",
        }
    }

    /// The value that a person wrote for a parameter of this type, as a pipeline file would hold it; nothing where it is
    /// no such value.
    ///
    /// A text is taken as it is; one in quotes is a string of TOML. A list is separated by commas, with or without spaces
    /// around each element; an element in quotes may hold commas, and be empty. One that begins with `[` is a list in TOML,
    /// as in the pipeline file. Nothing at all is the empty list.
    pub fn parse(self, text: &str) -> Option<toml::Value> {
        let trimmed = text.trim();
        Some(match self {
            Self::Int => trimmed.parse::<i64>().ok()?.into(),
            Self::Double => trimmed.parse::<f64>().ok().filter(|value| value.is_finite())?.into(),
            Self::Boolean => trimmed.parse::<bool>().ok()?.into(),
            Self::Text => quoted(trimmed).unwrap_or_else(|| text.into()),
            Self::IntList => Self::parse_list(trimmed, Self::Int)?,
            Self::DoubleList => Self::parse_list(trimmed, Self::Double)?,
            Self::TextList => Self::parse_list(trimmed, Self::Text)?,
        })
    }

    fn parse_list(text: &str, element: Self) -> Option<toml::Value> {
        let elements: Option<Vec<_>> = match text {
            "" => Some(Vec::new()),
            _ if text.starts_with('[') => {
                let list = text.parse::<toml::Value>().ok()?;
                list.as_array()?.iter().map(|value| element.accept(value)).collect()
            }
            _ => elements_of(text)
                .map(|part| element.parse_element(part.trim()))
                .collect(),
        };
        elements.map(toml::Value::Array)
    }

    /// An element of a list that is separated by commas.
    fn parse_element(self, text: &str) -> Option<toml::Value> {
        match (self, text.starts_with(['"', '\''])) {
            (Self::Text, true) => quoted(text),
            // A comma too many is a mistake, and no empty text.
            (Self::Text, false) if text.is_empty() => None,
            _ => self.parse(text),
        }
    }

    /// The value as one of this type, which is no list.
    fn accept(self, value: &toml::Value) -> Option<toml::Value> {
        Some(match self {
            Self::Int => value.as_integer()?.into(),
            Self::Double => match value {
                toml::Value::Integer(value) => (*value as f64).into(),
                _ => value.as_float().filter(|value| value.is_finite())?.into(),
            },
            _ => value.as_str()?.into(),
        })
    }
}

/// The string of TOML that a text is; nothing where it is none.
fn quoted(text: &str) -> Option<toml::Value> {
    let value = text.starts_with(['"', '\'']).then(|| text.parse::<toml::Value>());
    value?.ok().filter(toml::Value::is_str)
}

/// The parts of a text between its commas, but for those within quotes at the beginning of a part.
fn elements_of(text: &str) -> impl Iterator<Item = &str> {
    let (mut quote, mut is_escaped, mut is_begin) = (None, false, true);
    text.split(move |character: char| {
        match quote {
            Some(open) => {
                if character == open && !is_escaped {
                    quote = None;
                }
                is_escaped = open == '"' && character == '\\' && !is_escaped;
            }
            None => {
                if is_begin && matches!(character, '"' | '\'') {
                    quote = Some(character);
                }
                is_begin = character == ',' || is_begin && character.is_whitespace();
                return character == ',';
            }
        }
        false
    })
}

impl fmt::Display for ParameterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Int => "int",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::Text => "text",
            Self::IntList => "list of int",
            Self::DoubleList => "list of double",
            Self::TextList => "list of text",
        })
    }
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterValue {
    /// An integer.
    Int(i64),
    /// A finite double.
    Double(f64),
    /// A boolean.
    Boolean(bool),
    /// A text.
    Text(String),
    /// Integers.
    IntList(Vec<i64>),
    /// Finite doubles.
    DoubleList(Vec<f64>),
    /// Texts.
    TextList(Vec<String>),
}

impl ParameterValue {
    /// The type of the value.
    pub fn parameter_type(&self) -> ParameterType {
        match self {
            Self::Int(_) => ParameterType::Int,
            Self::Double(_) => ParameterType::Double,
            Self::Boolean(_) => ParameterType::Boolean,
            Self::Text(_) => ParameterType::Text,
            Self::IntList(_) => ParameterType::IntList,
            Self::DoubleList(_) => ParameterType::DoubleList,
            Self::TextList(_) => ParameterType::TextList,
        }
    }
}

impl fmt::Display for ParameterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::IntList(values) => write!(f, "{values:?}"),
            Self::DoubleList(values) => write!(f, "{values:?}"),
            Self::TextList(values) => write!(f, "{values:?}"),
        }
    }
}

impl Description {
    /// Takes a description from a guest, if it keeps the rules of the contract.
    pub(super) fn from_guest(given: abi::Description) -> Result<Self, String> {
        let mut measured = Measured::default();
        measured.name("its name", &given.name)?;
        measured.name("its version", &given.version)?;
        measured.doc("what it says that it does", &given.doc)?;
        let inputs = inputs_of(given.inputs, &mut measured)?;

        let count = given.outputs.len();
        if count == 0 || count > GUEST_OUTPUTS_MAX {
            return Err(format!("it has {count} outputs; accepted are 1 to {GUEST_OUTPUTS_MAX}"));
        }
        for output in &given.outputs {
            measured.name("the name of an output", &output.name)?;
            measured.columns("columns in one output", output.passed.len() + output.computed.len())?;
            for column in &output.passed {
                measured.name("the name of a column that it passes", &column.input)?;
                measured.name("the name of a column that it passes", &column.output)?;
            }
            for column in &output.computed {
                measured.name("the name of a column that it computes", &column.name)?;
            }
        }
        let outputs: Vec<OutputSpec> = given
            .outputs
            .into_iter()
            .map(|output| OutputSpec {
                name: output.name,
                passed: output
                    .passed
                    .into_iter()
                    .map(|column| (column.input, column.output))
                    .collect(),
                computed: output
                    .computed
                    .into_iter()
                    .map(|column| field(column.name, column.column_type, column.nullable))
                    .collect(),
            })
            .collect();
        unique("an output", outputs.iter().map(|output| output.name.as_str()))?;
        for output in &outputs {
            let passed = output.passed.iter().map(|(_, to)| to.as_str());
            let computed = output.computed.iter().map(|field| field.name.as_str());
            unique(
                &format!("a column of output \"{}\"", output.name),
                passed.chain(computed),
            )?;
        }

        let parameters = parameters_of(given.parameters, &mut measured)?;
        Ok(Self {
            name: given.name,
            version: given.version,
            doc: given.doc,
            inputs,
            reads_time: given.reads_time,
            outputs,
            parameters,
        })
    }
}

/// Checks that names are there, and each of them once; messages call what has them `what`.
pub(super) fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() {
            return Err(format!("{what} has no name"));
        }
        if !seen.insert(name) {
            return Err(format!("{what} is named \"{name}\" twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::ParameterType::{self, *};

    /// What a text becomes, written in TOML; nothing where it is refused.
    fn parsed(wanted: ParameterType, text: &str) -> Option<String> {
        wanted.parse(text).map(|value| value.to_string())
    }

    #[track_caller]
    fn check(wanted: ParameterType, text: &str, value: &str) {
        assert_eq!(parsed(wanted, text).as_deref(), Some(value), "{text:?} as {wanted}");
    }

    #[test]
    fn a_text_is_read_by_the_type_that_is_wanted() {
        check(Int, " -7 ", "-7");
        check(Int, "9223372036854775807", "9223372036854775807");
        check(Double, "0.9", "0.9");
        check(Double, "5", "5.0");
        check(Double, "1e-3", "0.001");
        check(Boolean, "true", "true");
        check(Text, "Asia/Shanghai", "\"Asia/Shanghai\"");
        check(Text, " 5 ", "\" 5 \"");
        check(Text, "", "\"\"");
        check(Text, "\"Asia/Shanghai\"", "\"Asia/Shanghai\"");
        check(Text, " 'a, b' ", "\"a, b\"");
        check(Text, "a \"b\"", "'a \"b\"'");
        check(Text, "'tis", "\"'tis\"");
    }

    #[test]
    fn lists_are_separated_by_commas_or_written_in_toml() {
        check(IntList, "1, -2,3", "[1, -2, 3]");
        check(IntList, "[1, 2]", "[1, 2]");
        check(DoubleList, "1,2.5", "[1.0, 2.5]");
        check(DoubleList, "[1, 2.5]", "[1.0, 2.5]");
        check(TextList, "save_success, created", "[\"save_success\", \"created\"]");
        check(TextList, "[\"a, b\", 'c']", "[\"a, b\", \"c\"]");
        check(
            TextList,
            "\"a, b\", 'c,d' ,e, \"\", \"f\\\",g\", it's",
            "[\"a, b\", \"c,d\", \"e\", \"\", 'f\",g', \"it's\"]",
        );
        for list in [IntList, DoubleList, TextList] {
            check(list, "", "[]");
            check(list, " [] ", "[]");
        }
    }

    #[test]
    fn what_is_no_such_value_is_refused() {
        for (wanted, texts) in [
            (Int, &["", "1.0", "one", "9223372036854775808"][..]),
            (Double, &["", "inf", "NaN", "1e999", "10 %"]),
            (Boolean, &["", "1", "True", "yes"]),
            (IntList, &["1,", "1,2.5", "[1", "[1.5]", "[1] 2"]),
            (DoubleList, &["a", "[inf]", "[\"1\"]"]),
            (TextList, &["[a]", "[1]", "[\"a\"", "\"a, b", "a,", "a,,b", "\"a\" b"]),
        ] {
            for text in texts {
                assert_eq!(parsed(wanted, text), None, "{text:?} as {wanted}");
            }
        }
    }
}
