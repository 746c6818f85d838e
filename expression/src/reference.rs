//! The functions as people read of them.

use crate::function::{Arg, Gives, Signature};
use std::fmt;

impl Arg {
    /// What it is called in a signature.
    pub fn name(self) -> &'static str {
        match self {
            Arg::Int => "int",
            Arg::Double => "double",
            Arg::Boolean => "boolean",
            Arg::Text => "text",
            Arg::Decimal => "decimal",
            Arg::Timestamp => "timestamp",
            Arg::Date => "date",
            Arg::Bytes => "bytes",
            Arg::Json => "json",
            Arg::List => "list",
            Arg::Element => "element",
            Arg::Any => "any",
            Arg::Same => "same",
            Arg::Unit => "unit",
            Arg::Zone => "zone",
            Arg::Pattern => "pattern",
            Arg::Format => "format",
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (at, argument) in self.arguments.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}", argument.name())?;
        }
        for argument in self.optional {
            write!(f, "[, {}]", argument.name())?;
        }
        if self.repeats {
            f.write_str(", …")?;
        }
        f.write_str(") → ")?;
        match self.gives {
            Gives::Is(of) => write!(f, "{of}"),
            Gives::First => f.write_str(self.arguments.first().map_or("any", |first| first.name())),
            Gives::Element => f.write_str("element"),
        }
    }
}
