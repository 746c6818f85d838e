//! The functions as people read of them.

use crate::function::{Arg, FUNCTIONS, Gives, Signature};
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

/// Expressions that show the operators and forms that have no name, and what they come to.
pub const OPERATORS: &[(&str, &str, &str)] = &[
    ("`=`, `<>`, `<`, `<=`, `>`, `>=`", "1.50 = 1.5", "true"),
    ("`is [not] distinct from`", "1 is distinct from null", "true"),
    (
        "`is [not] null`, `true`, `false`, `unknown`",
        "(null = 1) is not true",
        "true",
    ),
    ("`[not] between`", "5 between 1 and 5", "true"),
    ("`[not] in`", "'a' not in ('b', 'c')", "true"),
    ("`[not] like`, `ilike`", "'50%' like '50!%' escape '!'", "true"),
    ("`and`, `or`, `not`", "not (true and false)", "true"),
    ("`+`, `-`, `*`, `/`, `%`", "7 / 2.0", "3.500000"),
    ("`||`", "'n' || 1", "n1"),
    (
        "`+ interval`, `- interval`",
        "date '2026-01-31' + interval '1 month'",
        "2026-02-28",
    ),
    ("`->`, `->>`", "cast('{\"a\": [\"x\"]}' as json) -> 'a' ->> 0", "x"),
    ("`[n]`", "(array['a', 'b'])[2]", "b"),
    ("`= any(list)`", "2 = any(array[1, 2])", "true"),
    ("`::`, `cast`, `try_cast`", "try_cast('x' as int)", "null"),
    (
        "`case when … then … else … end`",
        "case when 1 > 2 then 'a' else 'b' end",
        "b",
    ),
    (
        "`case x when … then … end`",
        "case 2 when 1 then 'a' when 2 then 'b' end",
        "b",
    ),
    ("`coalesce(a, b, …)`", "coalesce(null, 2)", "2"),
    ("`nullif(a, b)`", "nullif(1, 1)", "null"),
    ("`if(condition, a, b)`", "if(true, 1, 2)", "1"),
    ("`mod(a, b)`", "mod(-7, 3)", "-1"),
    ("`reject(condition, reason)`", "reject(1 > 2, 'too large')", "true"),
];

/// The reference page, `docs/reference/expressions.md`.
pub fn page() -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let mut operators = String::new();
    for (name, example, result) in OPERATORS {
        operators += &format!("| {} | `{}` | `{}` |\n", cell(name), cell(example), cell(result));
    }
    let (mut functions, mut group) = (String::new(), "");
    for row in FUNCTIONS {
        if row.group != group {
            group = row.group;
            functions +=
                &format!("### {group}\n\n| function | what it gives | example | result |\n| --- | --- | --- | --- |\n");
        }
        let (sentence, example) = (cell(row.sentence), cell(row.example));
        functions += &format!("| `{row}` | {sentence} | `{example}` | `{}` |\n", cell(row.result));
        let is_last = FUNCTIONS
            .iter()
            .rfind(|other| other.group == group)
            .is_some_and(|last| std::ptr::eq(last, row));
        if is_last {
            functions.push('\n');
        }
    }
    let page = include_str!("reference/page.md");
    page.replace("{{operators}}", operators.trim_end())
        .replace("{{functions}}", functions.trim_end())
}
