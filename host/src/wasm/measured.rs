//! What a guest says of itself, held against bounds before anything of it is kept or shown.

use crate::{
    limits::{
        DESCRIPTION_BYTES_MAX, DESCRIPTION_COLUMNS_MAX, DESCRIPTION_DOC_BYTES_MAX, DESCRIPTION_NAME_BYTES_MAX,
        DESCRIPTION_PARAMETERS_MAX, DESCRIPTION_VALUE_BYTES_MAX,
    },
    model::guest::{InputColumn, ParameterSpec, ParameterValue},
    text::{is_deceptive, printable},
};
use std::collections::BTreeSet;

/// How much a guest has said so far.
#[derive(Debug, Default)]
pub(super) struct Measured {
    bytes: usize,
}

impl Measured {
    /// A name, or something else that stands within a line; messages call it `what`.
    ///
    /// # Errors
    /// When it is too long, or would not be shown as what it is.
    pub(super) fn name(&mut self, what: &str, name: &str) -> Result<(), String> {
        self.text(what, name, DESCRIPTION_NAME_BYTES_MAX)?;
        match name.contains(is_deceptive) {
            true => Err(format!(
                "{what}, \"{}\", holds characters that no reader sees; accepted are those that are shown as they are",
                printable(name)
            )),
            false => Ok(()),
        }
    }

    /// A text for people.
    ///
    /// # Errors
    /// When it is too long.
    pub(super) fn doc(&mut self, what: &str, doc: &str) -> Result<(), String> {
        self.text(what, doc, DESCRIPTION_DOC_BYTES_MAX)
    }

    /// The columns that a list holds.
    ///
    /// # Errors
    /// When they are too many.
    pub(super) fn columns(&mut self, what: &str, count: usize) -> Result<(), String> {
        at_most(what, count, DESCRIPTION_COLUMNS_MAX)
    }

    /// The columns that a guest reads.
    ///
    /// # Errors
    /// Which rule of the contract they break.
    pub(super) fn inputs(&mut self, inputs: &[InputColumn]) -> Result<(), String> {
        self.columns("input columns", inputs.len())?;
        for column in inputs {
            self.name("the name of an input column", &column.name)?;
        }
        unique("an input column", inputs.iter().map(|column| column.name.as_str()))
    }

    /// The parameters that a guest describes.
    ///
    /// # Errors
    /// Which rule of the contract they break.
    pub(super) fn specs(&mut self, specs: &[ParameterSpec]) -> Result<(), String> {
        at_most("parameters", specs.len(), DESCRIPTION_PARAMETERS_MAX)?;
        for spec in specs {
            let parameter_type = spec.parameter_type;
            self.name("the name of a parameter", &spec.name)?;
            self.doc("what a parameter is for", &spec.doc)?;
            let Some(default) = &spec.default else { continue };
            self.value(&spec.name, default)?;
            let found = default.parameter_type();
            if found != parameter_type {
                return Err(format!(
                    "parameter \"{}\" is {parameter_type}, but its default is {found}",
                    spec.name
                ));
            }
        }
        unique("a parameter", specs.iter().map(|spec| spec.name.as_str()))
    }

    /// The value that a parameter has by default.
    ///
    /// # Errors
    /// When it is too large, or no value.
    pub(super) fn value(&mut self, parameter: &str, value: &ParameterValue) -> Result<(), String> {
        if let Err(accepted) = value.check() {
            return Err(format!(
                "the default of parameter \"{parameter}\" is {value}; accepted are {accepted}"
            ));
        }
        let bytes = match value {
            ParameterValue::Int(_)
            | ParameterValue::Double(_)
            | ParameterValue::Boolean(_)
            | ParameterValue::Timestamp(_)
            | ParameterValue::Date(_) => 8,
            ParameterValue::Text(text) | ParameterValue::Decimal(text) => text.len(),
            ParameterValue::IntList(values)
            | ParameterValue::TimestampList(values)
            | ParameterValue::DateList(values) => 8 * values.len(),
            ParameterValue::DoubleList(values) => 8 * values.len(),
            ParameterValue::TextList(texts) | ParameterValue::DecimalList(texts) => {
                texts.iter().map(|text| 8 + text.len()).sum()
            }
        };
        let what = || format!("the default of parameter \"{parameter}\"");
        self.add(what, bytes, DESCRIPTION_VALUE_BYTES_MAX)
    }

    fn text(&mut self, what: &str, text: &str, most: usize) -> Result<(), String> {
        self.add(|| what.to_owned(), text.len(), most)
    }

    fn add(&mut self, what: impl Fn() -> String, bytes: usize, most: usize) -> Result<(), String> {
        if bytes > most {
            return Err(format!("{} has {bytes} bytes; accepted are up to {most}", what()));
        }
        self.bytes += bytes;
        match self.bytes > DESCRIPTION_BYTES_MAX {
            true => Err(format!(
                "it says more than {DESCRIPTION_BYTES_MAX} bytes of itself, of which {} is but a part; accepted is less",
                what()
            )),
            false => Ok(()),
        }
    }
}

fn at_most(what: &str, count: usize, most: usize) -> Result<(), String> {
    match count > most {
        true => Err(format!("it has {count} {what}; accepted are up to {most}")),
        false => Ok(()),
    }
}

/// What a guest says of itself, if a new instance says the same as the one before: plans are built on it, for every
/// instance to come.
///
/// # Errors
/// What `ask` failed with, or `differs`.
pub(super) fn said_twice<D: PartialEq, E>(mut ask: impl FnMut() -> Result<D, E>, differs: E) -> Result<D, E> {
    let said = ask()?;
    match ask()? == said {
        true => Ok(said),
        false => Err(differs),
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
    use super::*;

    #[track_caller]
    fn check<T>(found: Result<T, String>, words: &str) {
        assert_eq!(found.err().as_deref(), Some(words));
    }

    #[test]
    fn names_have_a_length_and_are_shown_as_they_are() {
        let mut measured = Measured::default();
        for name in ["", "claim_no", "保单", "e\u{301} ❤\u{fe0f}", &"x".repeat(256)] {
            measured.name("a column", name).unwrap();
        }
        check(
            measured.name("a column", &"x".repeat(257)),
            "a column has 257 bytes; accepted are up to 256",
        );
        for (name, shown) in [
            ("a\nb", "a\\nb"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\u{200b}", "a\\u{200b}"),
        ] {
            check(
                measured.name("a column", name),
                &format!(
                    "a column, \"{shown}\", holds characters that no reader sees; accepted are those that are shown as they are"
                ),
            );
        }
    }

    #[test]
    fn what_is_small_one_by_one_is_bounded_together() {
        let mut measured = Measured::default();
        let doc = "x".repeat(DESCRIPTION_DOC_BYTES_MAX);
        for _ in 0..DESCRIPTION_BYTES_MAX / DESCRIPTION_DOC_BYTES_MAX {
            measured.doc("what it does", &doc).unwrap();
        }
        check(
            measured.name("a column", "x"),
            "it says more than 1048576 bytes of itself, of which a column is but a part; accepted is less",
        );
    }

    #[test]
    fn defaults_are_values_of_a_size() {
        let value = |value: ParameterValue| Measured::default().value("p", &value);
        value(ParameterValue::TextList(vec!["x".repeat(1000); 60])).unwrap();
        check(
            value(ParameterValue::TextList(vec![String::new(); 10_000])),
            "the default of parameter \"p\" has 80000 bytes; accepted are up to 65536",
        );
        check(
            value(ParameterValue::Double(f64::NAN)),
            "the default of parameter \"p\" is NaN; accepted are finite numbers",
        );
        check(
            value(ParameterValue::DoubleList(vec![1.0, f64::INFINITY])),
            "the default of parameter \"p\" is [1.0, inf]; accepted are finite numbers",
        );
    }

    #[test]
    fn who_says_two_things_is_believed_neither() {
        let answers = |answers: &'static [Result<u8, &'static str>]| {
            let mut answers = answers.iter().copied();
            said_twice(move || answers.next().unwrap(), "differs")
        };
        assert_eq!(answers(&[Ok(1), Ok(1)]), Ok(1));
        assert_eq!(answers(&[Ok(1), Ok(2)]), Err("differs"));
        assert_eq!(answers(&[Ok(1), Err("trapped")]), Err("trapped"));
        assert_eq!(answers(&[Err("trapped")]), Err("trapped"));
    }
}
