//! The types of columns and of expressions.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The type of a column or of an expression. Every type has nulls as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Type {
    /// A signed integer of 64 bits.
    Int,
    /// A finite IEEE 754 double.
    Double,
    /// True or false.
    Boolean,
    /// Text in UTF-8.
    Text,
    /// A decimal number of at most `precision` digits, `scale` of them behind the point.
    Decimal {
        /// 1 to 38.
        precision: u8,
        /// 0 to `precision`.
        scale: u8,
    },
    /// Microseconds since 1970-01-01T00:00:00Z, of the years 0 to 9999.
    Timestamp,
    /// Days since 1970-01-01, of the years 0 to 9999.
    Date,
    /// Bytes.
    Bytes,
    /// A JSON value, as it was written.
    Json,
    /// A list, as a JSON array without spaces.
    List(Element),
}

/// The type of what is in a list: any type but `json` and lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are those of `Type`")]
pub enum Element {
    Int,
    Double,
    Boolean,
    Text,
    Decimal { precision: u8, scale: u8 },
    Timestamp,
    Date,
    Bytes,
}

/// How the values of a type lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// 64 bits, signed.
    Int,
    /// A double.
    Double,
    /// One byte, 0 or 1.
    Boolean,
    /// Bytes, one value after the other.
    Text,
    /// 128 bits, signed: the digits without the point.
    Decimal,
}

/// The types that a name says alone.
const NAMED: [(&str, Type); 8] = [
    ("int", Type::Int),
    ("double", Type::Double),
    ("boolean", Type::Boolean),
    ("text", Type::Text),
    ("timestamp", Type::Timestamp),
    ("date", Type::Date),
    ("bytes", Type::Bytes),
    ("json", Type::Json),
];

impl Type {
    /// The most digits that a decimal has.
    pub const PRECISION_MAX: u8 = 38;

    /// The decimals that hold every integer of 64 bits.
    pub const INT_AS_DECIMAL: Type = Type::Decimal {
        precision: 19,
        scale: 0,
    };

    /// Decimals of `precision` digits, `scale` behind the point. Nothing where there are no such decimals.
    pub fn decimal(precision: u8, scale: u8) -> Option<Type> {
        let is_one = (1..=Self::PRECISION_MAX).contains(&precision) && scale <= precision;
        is_one.then_some(Type::Decimal { precision, scale })
    }

    /// The type that is displayed so: `int`, `decimal(12, 2)`, `list(text)`.
    pub fn named(text: &str) -> Option<Type> {
        let text = text.trim();
        let inside = |word: &str| {
            text.strip_prefix(word)?
                .trim_start()
                .strip_prefix('(')?
                .strip_suffix(')')
        };
        if let Some(digits) = inside("decimal") {
            let (precision, scale) = digits.split_once(',').unwrap_or((digits, "0"));
            return Type::decimal(precision.trim().parse().ok()?, scale.trim().parse().ok()?);
        }
        if let Some(of) = inside("list") {
            return Type::named(of)?.as_element().map(Type::List);
        }
        NAMED.iter().find(|(name, _)| *name == text).map(|(_, of)| *of)
    }

    /// How values of this type lie in memory.
    pub fn layout(self) -> Layout {
        match self {
            Type::Int | Type::Timestamp | Type::Date => Layout::Int,
            Type::Double => Layout::Double,
            Type::Boolean => Layout::Boolean,
            Type::Text | Type::Bytes | Type::Json | Type::List(_) => Layout::Text,
            Type::Decimal { .. } => Layout::Decimal,
        }
    }

    /// Whether it is a number.
    pub fn is_number(self) -> bool {
        matches!(self, Type::Int | Type::Double | Type::Decimal { .. })
    }

    /// Whether one of two values comes before the other. (Any two are equal or not.)
    pub fn has_order(self) -> bool {
        !matches!(self, Type::Json | Type::List(_))
    }

    /// How many digits stand behind the point.
    pub fn scale(self) -> u8 {
        match self {
            Type::Decimal { scale, .. } => scale,
            _ => 0,
        }
    }

    /// How many digits there are at most; of an int, those of any.
    pub fn precision(self) -> u8 {
        match self {
            Type::Decimal { precision, .. } => precision,
            _ => 19,
        }
    }

    /// The same as the type of what is in a list, where lists have such.
    pub fn as_element(self) -> Option<Element> {
        Some(match self {
            Type::Int => Element::Int,
            Type::Double => Element::Double,
            Type::Boolean => Element::Boolean,
            Type::Text => Element::Text,
            Type::Decimal { precision, scale } => Element::Decimal { precision, scale },
            Type::Timestamp => Element::Timestamp,
            Type::Date => Element::Date,
            Type::Bytes => Element::Bytes,
            Type::Json | Type::List(_) => return None,
        })
    }

    /// Whether there is such a type: what comes as bytes may say anything.
    pub fn is_valid(self) -> bool {
        match self {
            Type::Decimal { precision, scale } => Type::decimal(precision, scale).is_some(),
            Type::List(of) => of.as_type().is_valid(),
            _ => true,
        }
    }
}

impl Element {
    /// The type of one element.
    pub fn as_type(self) -> Type {
        match self {
            Element::Int => Type::Int,
            Element::Double => Type::Double,
            Element::Boolean => Type::Boolean,
            Element::Text => Type::Text,
            Element::Decimal { precision, scale } => Type::Decimal { precision, scale },
            Element::Timestamp => Type::Timestamp,
            Element::Date => Type::Date,
            Element::Bytes => Type::Bytes,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Decimal { precision, scale } => write!(f, "decimal({precision}, {scale})"),
            Type::List(of) => write!(f, "list({})", of.as_type()),
            named => f.write_str(NAMED.iter().find(|(_, of)| of == named).map_or("", |(name, _)| name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_as_it_is_displayed() {
        for text in ["int", "json", "decimal(12, 2)", "list(text)", "list(decimal(38, 38))"] {
            assert_eq!(Type::named(text).expect(text).to_string(), text);
        }
        for text in [
            "list(json)",
            "decimal(39, 0)",
            "decimal(3, 4)",
            "list(list(int))",
            "integer",
        ] {
            assert_eq!(Type::named(text), None, "{text}");
        }
    }
}
