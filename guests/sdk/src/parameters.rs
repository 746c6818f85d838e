//! What a pipeline can tell a rule.

use crate::abi::{Parameter, ParameterSpec, ParameterType, ParameterValue};

/// The parameters of a rule, one field each. Derived.
///
/// The field's doc comment is what the person reads who sets the parameter. `#[default(…)]` is what holds when the
/// pipeline says nothing; without it the pipeline has to say something.
///
/// | a field of type | its default | with the feature |
/// | --- | --- | --- |
/// | `i64` | `#[default(10)]` | |
/// | `f64`, finite | `#[default(0.85)]` | |
/// | `bool` | `#[default(true)]` | |
/// | `String` | `#[default("text")]` | |
/// | [`TimeZone`](crate::TimeZone) | `#[default("Asia/Shanghai")]` | |
/// | `rust_decimal::Decimal`, of up to 28 digits | `#[default("12.50")]` | `decimal` |
/// | `jiff::Timestamp` | `#[default("2026-03-15T00:00:00Z")]` | `jiff` |
/// | `jiff::civil::Date` | `#[default("2026-03-15")]` | `jiff` |
/// | `Vec` of `i64`, `f64`, `String`, `Decimal`, `Timestamp` or `Date` | `#[default([1, 2])]` | as above |
/// | another [`ParameterField`] | that of its `Wire` | |
///
/// ```
/// use weir_guest::Parameters;
///
/// #[derive(Parameters)]
/// struct Settings {
///     /// Share of the old premium below which the new one has dropped.
///     #[default(0.85)]
///     ratio: f64,
///     /// Events that are kept; none: all are.
///     #[default([])]
///     events: Vec<String>,
/// }
///
/// let settings = Settings::defaults()?;
/// assert_eq!(settings.ratio, 0.85);
/// assert!(settings.events.is_empty());
/// # Ok::<(), String>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a pipeline can set",
    label = "not parameters",
    note = "parameters are a struct that derives `Parameters`, with a field for each"
)]
pub trait Parameters: Sized {
    /// The parameters, in the order of the fields.
    fn specs() -> Vec<ParameterSpec>;

    /// Takes the values, which are those of [`specs`](Parameters::specs) in that order.
    ///
    /// # Errors
    ///
    /// A sentence for the person who set the parameter: which one, what was wrong with it, what is accepted.
    fn from_values(values: Vec<Parameter>) -> Result<Self, String>;

    /// What holds when a pipeline says nothing. For tests.
    ///
    /// # Errors
    ///
    /// A parameter has no default, or one that it does not accept.
    fn defaults() -> Result<Self, String> {
        let value = |spec: ParameterSpec| match spec.default {
            Some(value) => Ok(Parameter { name: spec.name, value }),
            None => Err(format!("parameter `{}` has no default", spec.name)),
        };
        Self::from_values(Self::specs().into_iter().map(value).collect::<Result<_, _>>()?)
    }
}

/// A rule without parameters.
impl Parameters for () {
    fn specs() -> Vec<ParameterSpec> {
        Vec::new()
    }

    fn from_values(_: Vec<Parameter>) -> Result<Self, String> {
        Ok(())
    }
}

/// A type that a field of [`Parameters`] may have.
///
/// Implement it for a type of your own that accepts only some values:
///
/// ```
/// use weir_guest::ParameterField;
///
/// /// A share, above 0 and at most 1.
/// struct Share(f64);
///
/// impl ParameterField for Share {
///     type Wire = f64;
///
///     fn from_wire(share: f64) -> Result<Share, String> {
///         if share > 0.0 && share <= 1.0 { Ok(Share(share)) } else { Err(format!("{share} is not above 0 and at most 1")) }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a parameter cannot be a `{Self}`",
    label = "not the type of a parameter",
    note = "a field of parameters is an `i64`, `f64`, `bool`, `String`, `Vec<i64>`, `Vec<f64>`, `Vec<String>`, `TimeZone` or another `ParameterField`",
    note = "with a feature of `weir-guest` it may be more: a `Decimal` (`decimal`), a `Timestamp` or `Date` of jiff (`jiff`), or a `Vec` of one of them"
)]
pub trait ParameterField: Sized {
    /// What the host sends: an `i64`, an `f64`, a `bool`, a `String`, a `Decimal`, `Timestamp` or `Date`, or a `Vec` of one
    /// of them but `bool`.
    type Wire: WireValue;

    /// Takes what the host sent.
    ///
    /// # Errors
    ///
    /// What was wrong with the value, and what is accepted. The parameter's name is put before it.
    fn from_wire(wire: Self::Wire) -> Result<Self, String>;
}

/// A value that the host can send as a parameter.
pub trait WireValue: Sized {
    /// How a rule's source writes the default.
    #[doc(hidden)]
    type Literal;

    #[doc(hidden)]
    const TYPE: ParameterType;

    /// The contract's word for the type.
    #[doc(hidden)]
    const WORD: &str;

    /// Nothing where the host sent another type; an error where the type has no such value.
    #[doc(hidden)]
    fn from_value(value: ParameterValue) -> Option<Result<Self, String>>;

    #[doc(hidden)]
    fn value_of(literal: Self::Literal) -> ParameterValue;
}

macro_rules! wire_values {
    ($($type:ty, $case:ident, $word:literal, $literal:ty, $value_of:expr;)*) => {$(
        impl WireValue for $type {
            type Literal = $literal;
            const TYPE: ParameterType = ParameterType::$case;
            const WORD: &str = $word;

            fn from_value(value: ParameterValue) -> Option<Result<Self, String>> {
                match value {
                    ParameterValue::$case(value) => Some(Ok(value)),
                    _ => None,
                }
            }

            fn value_of(literal: $literal) -> ParameterValue {
                let value_of: fn($literal) -> $type = $value_of;
                ParameterValue::$case(value_of(literal))
            }
        }

        impl ParameterField for $type {
            type Wire = $type;

            fn from_wire(wire: $type) -> Result<$type, String> {
                Ok(wire)
            }
        }
    )*};
}

wire_values! {
    i64, Int, "int", i64, |value| value;
    f64, Double, "double", f64, |value| value;
    bool, Boolean, "boolean", bool, |value| value;
    String, Text, "text", &'static str, str::to_owned;
    Vec<i64>, IntList, "int-list", &'static [i64], <[i64]>::to_vec;
    Vec<f64>, DoubleList, "double-list", &'static [f64], <[f64]>::to_vec;
    Vec<String>, TextList, "text-list", &'static [&'static str], |values| values.iter().copied().map(str::to_owned).collect();
}

/// For the derive: how the default of a parameter is written.
#[doc(hidden)]
pub type DefaultOf<T> = <<T as ParameterField>::Wire as WireValue>::Literal;

/// For the derive: one parameter.
#[doc(hidden)]
pub fn spec<T: ParameterField>(name: &str, doc: &str, default: Option<DefaultOf<T>>) -> ParameterSpec {
    ParameterSpec {
        name: name.to_owned(),
        parameter_type: T::Wire::TYPE,
        default: default.map(T::Wire::value_of),
        doc: doc.to_owned(),
    }
}

/// For the derive: takes the next value for the parameter `name`.
#[doc(hidden)]
pub fn take<T: ParameterField>(name: &str, values: &mut impl Iterator<Item = Parameter>) -> Result<T, String> {
    let wire = values
        .next()
        .filter(|parameter| parameter.name == name)
        .and_then(|parameter| T::Wire::from_value(parameter.value))
        .ok_or_else(|| format!("parameter `{name}`: expected a value of type {}", T::Wire::WORD))?;
    wire.and_then(T::from_wire)
        .map_err(|error| format!("parameter `{name}`: {error}"))
}
