//! Expressions with their types, and how one becomes another type by itself.

use crate::{
    decimal, forms,
    function::Function,
    program::{Input, Scalar},
    types::Type,
};

/// An expression with its type.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    pub(super) what: What,
    pub(super) of: Type,
    /// What the author wrote, shortened.
    pub(super) text: String,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Constant(Scalar),
    /// By its number in the scope.
    Input(usize),
    Parameter(usize),
    Call(Function, Vec<Typed>),
}

impl Typed {
    pub(super) fn constant(value: Scalar, of: Type) -> Typed {
        Typed {
            what: What::Constant(value),
            of,
            text: String::new(),
        }
    }

    pub(super) fn text(text: &str) -> Typed {
        Typed::constant(Scalar::Text(text.as_bytes().to_vec()), Type::Text)
    }

    pub(super) fn int(value: i64) -> Typed {
        Typed::constant(Scalar::Int(value), Type::Int)
    }

    /// A null whose type nobody has said yet.
    pub(super) fn null() -> Typed {
        Typed::constant(Scalar::Null, Type::Text)
    }

    pub(super) fn input(at: usize, input: &Input) -> Typed {
        Typed {
            what: What::Input(at),
            of: input.of,
            text: String::new(),
        }
    }

    pub(super) fn call(function: Function, arguments: Vec<Typed>, of: Type) -> Typed {
        Typed {
            what: What::Call(function, arguments),
            of,
            text: String::new(),
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.what, What::Constant(Scalar::Null))
    }

    /// The text of a literal.
    pub(super) fn literal(&self) -> Option<&str> {
        match &self.what {
            What::Constant(Scalar::Text(text)) if self.of == Type::Text => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// The int of a literal.
    pub(super) fn literal_int(&self) -> Option<i64> {
        match &self.what {
            What::Constant(Scalar::Int(value)) if self.of == Type::Int => Some(*value),
            _ => None,
        }
    }

    /// The decimal that holds it exactly: of an int literal one of its digits.
    pub(super) fn as_decimal(&self) -> Type {
        let digits = |value: i64| u8::try_from(value.unsigned_abs().max(1).ilog10() + 1).unwrap_or(19);
        match (self.of, self.literal_int()) {
            (Type::Int, Some(value)) => Type::Decimal {
                precision: digits(value),
                scale: 0,
            },
            (Type::Int, None) => Type::INT_AS_DECIMAL,
            (of, _) => of,
        }
    }

    /// The same as another type, where that is without loss or SQL does it by itself: an int as a decimal or double, a decimal as one
    /// of more digits or a double, a date as a timestamp, a literal as what it is written like, null as anything.
    pub(super) fn coerced(self, to: Type) -> Result<Typed, Typed> {
        if self.of == to || self.is_null() {
            return Ok(Typed { of: to, ..self });
        }
        if let What::Constant(value) = &self.what
            && let Some(value) = converted(value, self.of, to)
        {
            return Ok(Typed {
                what: What::Constant(value),
                of: to,
                ..self
            });
        }
        let casts = matches!(
            (self.of, to),
            (Type::Int | Type::Decimal { .. }, Type::Decimal { .. } | Type::Double) | (Type::Date, Type::Timestamp)
        );
        if !casts {
            return Err(self);
        }
        let text = self.text.clone();
        Ok(Typed {
            text,
            ..Typed::call(Function::Cast, vec![self], to)
        })
    }
}

/// A constant as another type, exactly; nothing where it is none, or a cast does it.
fn converted(value: &Scalar, from: Type, to: Type) -> Option<Scalar> {
    match (value, from, to) {
        (Scalar::Int(value), Type::Int, Type::Double) => Some(Scalar::Double(*value as f64)),
        (Scalar::Int(value), Type::Int, Type::Decimal { precision, scale }) => {
            let value = decimal::rescaled((*value).into(), 0, scale).filter(|value| decimal::holds(*value, precision));
            value.map(Scalar::Decimal)
        }
        (Scalar::Decimal(value), of, Type::Double) => Some(Scalar::Double(decimal::to_double(*value, of.scale()))),
        (Scalar::Decimal(value), of, Type::Decimal { precision, scale }) if scale >= of.scale() => {
            let value = decimal::rescaled(*value, of.scale(), scale).filter(|value| decimal::holds(*value, precision));
            value.map(Scalar::Decimal)
        }
        (Scalar::Text(text), Type::Text, Type::Timestamp | Type::Date | Type::Json) => {
            forms::parse_text(to, text).map(Scalar::from)
        }
        _ => None,
    }
}

/// The type that all of these can become; nothing where there is none.
pub(super) fn common(all: &[Typed]) -> Option<Type> {
    let mut found: Option<Type> = None;
    // Literals last: what is beside them says what they are.
    let (literals, others): (Vec<&Typed>, Vec<&Typed>) = all
        .iter()
        .filter(|typed| !typed.is_null())
        .partition(|typed| typed.literal().is_some());
    for typed in others.into_iter().chain(literals) {
        found = Some(match found {
            None => typed.of,
            Some(before) => common_of_two(before, typed)?,
        });
    }
    // An int literal among decimals has its own digits.
    if let Some(Type::Decimal { .. }) = found {
        let (mut whole, mut scale) = (0, 0);
        for of in all.iter().filter(|typed| !typed.is_null()).map(Typed::as_decimal) {
            whole = whole.max(of.precision() - of.scale());
            scale = scale.max(of.scale());
        }
        return Some(Type::Decimal {
            precision: (whole + scale).min(38),
            scale,
        });
    }
    Some(found.unwrap_or(Type::Text))
}

fn common_of_two(a: Type, b: &Typed) -> Option<Type> {
    match (a, b.of) {
        (a, of) if a == of => Some(a),
        (Type::Double, of) if of.is_number() => Some(Type::Double),
        (of, Type::Double) if of.is_number() => Some(Type::Double),
        (a, of) if a.is_number() && of.is_number() => Some(Type::Decimal {
            precision: 38,
            scale: 0,
        }),
        (Type::Timestamp, Type::Date) | (Type::Date, Type::Timestamp) => Some(Type::Timestamp),
        (a, Type::Text) if b.literal().is_some() => b.clone().coerced(a).ok().map(|_| a),
        _ => None,
    }
}

/// The type of `a op b` of decimals, as Flink and SQL Server have it but for the places of sums, which are never fewer than those of
/// what is added.
pub(super) fn decimal_result(function: Function, a: Type, b: Type) -> Type {
    let (pa, sa, pb, sb) = (
        i32::from(a.precision()),
        i32::from(a.scale()),
        i32::from(b.precision()),
        i32::from(b.scale()),
    );
    let (precision, scale) = match function {
        Function::Add | Function::Subtract => {
            let scale = sa.max(sb);
            return made(((pa - sa).max(pb - sb) + scale + 1).min(38), scale);
        }
        Function::Multiply => (pa + pb, sa + sb),
        Function::Divide => {
            let scale = (sa + pb + 1).max(6);
            (pa - sa + sb + scale, scale)
        }
        _ => {
            let scale = sa.max(sb);
            return made(((pa - sa).min(pb - sb) + scale).clamp(1, 38), scale);
        }
    };
    if precision <= 38 {
        return made(precision, scale);
    }
    // Room for the digits before the point goes first, as long as six stand behind it.
    let scale = (38 - (precision - scale)).max(scale.min(6));
    made(38, scale)
}

fn made(precision: i32, scale: i32) -> Type {
    let precision = precision.max(scale).clamp(1, 38);
    Type::Decimal {
        precision: precision as u8,
        scale: scale.clamp(0, precision) as u8,
    }
}
