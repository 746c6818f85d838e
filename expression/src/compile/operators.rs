//! Operators of two: comparison, arithmetic, logic, `||`, `->`.

use super::{
    literals,
    resolve::{Fault, Resolved, Resolver, fault, shown, types_of},
    typed::{Typed, common, decimal_result},
};
use crate::{evaluate::Unit, function::Function as F, types::Type};
use sqlparser::ast::{BinaryOperator as Op, Expr};

impl Resolver<'_> {
    /// `left op right`.
    pub(super) fn binary(&self, expression: &Expr, left: &Expr, op: &Op, right: &Expr, depth: usize) -> Resolved {
        match op {
            Op::And | Op::Or => {
                let mut all = Vec::new();
                self.chain(expression, op, depth, &mut |part, typed| {
                    all.push(self.wanted(part, typed, Type::Boolean)?);
                    Ok(())
                })?;
                Ok(Typed::call(
                    if *op == Op::And { F::And } else { F::Or },
                    all,
                    Type::Boolean,
                ))
            }
            Op::StringConcat => self.concat(expression, depth),
            Op::Eq => self.compared(expression, F::Equal, left, right, depth),
            Op::NotEq => self.compared(expression, F::NotEqual, left, right, depth),
            Op::Lt => self.compared(expression, F::Less, left, right, depth),
            Op::LtEq => self.compared(expression, F::LessEqual, left, right, depth),
            Op::Gt => self.compared(expression, F::Greater, left, right, depth),
            Op::GtEq => self.compared(expression, F::GreaterEqual, left, right, depth),
            Op::Plus => self.arithmetic(expression, F::Add, left, right, depth),
            Op::Minus => self.arithmetic(expression, F::Subtract, left, right, depth),
            Op::Multiply => self.arithmetic(expression, F::Multiply, left, right, depth),
            Op::Divide => self.arithmetic(expression, F::Divide, left, right, depth),
            Op::Modulo => self.arithmetic(expression, F::Remainder, left, right, depth),
            Op::Arrow => self.named_call(
                expression,
                "json_get",
                vec![self.resolve(left, depth)?, self.resolve(right, depth)?],
            ),
            Op::LongArrow => self.named_call(
                expression,
                "json_get_text",
                vec![self.resolve(left, depth)?, self.resolve(right, depth)?],
            ),
            Op::PGRegexMatch | Op::PGRegexNotMatch => Err(fault(expression, "use regexp_like(text, 'pattern')")),
            Op::PGExp => Err(fault(expression, "use power(a, b)")),
            other => Err(fault(
                expression,
                format!("the operator \"{other}\" is no part of Weir's expressions"),
            )),
        }
    }

    /// The parts of `a op b op c`, which the parser nests to the left, without going deeper for each.
    fn chain(
        &self,
        expression: &Expr,
        op: &Op,
        depth: usize,
        visit: &mut dyn FnMut(&Expr, Typed) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let (mut parts, mut at) = (Vec::new(), expression);
        while let Expr::BinaryOp { left, op: other, right } = at
            && other == op
        {
            parts.push(right.as_ref());
            at = left;
        }
        parts.push(at);
        parts
            .into_iter()
            .rev()
            .try_for_each(|part| visit(part, self.resolve(part, depth)?))
    }

    fn concat(&self, expression: &Expr, depth: usize) -> Resolved {
        let mut all = Vec::new();
        self.chain(expression, &Op::StringConcat, depth, &mut |_, typed| {
            all.push(typed);
            Ok(())
        })?;
        let of = if all.iter().any(|typed| typed.of == Type::Bytes) {
            Type::Bytes
        } else {
            Type::Text
        };
        let mut arguments = Vec::new();
        for typed in all {
            let is_castable = of == Type::Text && !matches!(typed.of, Type::Text | Type::Json | Type::List(_));
            arguments.push(match typed.coerced(of) {
                Ok(typed) => typed,
                // As in SQL, what is no text is cast.
                Err(typed) if is_castable => Typed::call(F::Cast, vec![typed], Type::Text),
                Err(typed) => {
                    return Err(fault(
                        expression,
                        format!(
                            "|| joins texts, and there is {} in {:?}: cast it to text",
                            typed.of,
                            shown(expression)
                        ),
                    ));
                }
            });
        }
        Ok(Typed::call(F::Concat, arguments, of))
    }

    /// A comparison.
    pub(super) fn compared(&self, expression: &Expr, function: F, left: &Expr, right: &Expr, depth: usize) -> Resolved {
        let (a, b) = (self.resolve(left, depth)?, self.resolve(right, depth)?);
        let types = types_of(&[a.clone(), b.clone()]);
        let failed = || {
            let hint = match (a.of, b.of) {
                (Type::Text, of) | (of, Type::Text) if of == Type::Timestamp || of == Type::Date => {
                    format!(
                        ": the text has to be written as {}",
                        if of == Type::Date {
                            "2026-03-15"
                        } else {
                            "2026-03-15T12:00:00Z"
                        }
                    )
                }
                (Type::Json, _) | (_, Type::Json) => ": take a text out of JSON with ->>, or cast it".to_owned(),
                _ => ": cast one of them".to_owned(),
            };
            fault(expression, format!("{:?} compares {types}{hint}", shown(expression)))
        };
        let is_decimal = |typed: &Typed| matches!(typed.of, Type::Decimal { .. });
        let all = [a.clone(), b.clone()];
        let of = common(&all).ok_or_else(failed)?;
        let is_equality = matches!(function, F::Equal | F::NotEqual | F::Distinct | F::NotDistinct);
        if !is_equality && !of.has_order() {
            return Err(fault(
                expression,
                format!(
                    "{:?} asks which of two values of type {of} comes first: they have no order",
                    shown(expression)
                ),
            ));
        }
        let [a, b] = all;
        let (a, b) = match of {
            // Decimals of any two types compare exactly. A literal gets the places of the other where it has no more.
            Type::Decimal { .. } => {
                let of_literal = |literal: &Typed, other: &Typed| {
                    let scale = other.as_decimal().scale();
                    let is_literal = matches!(literal.what, super::typed::What::Constant(_));
                    Type::decimal(38, scale).filter(|_| is_literal && scale >= literal.as_decimal().scale())
                };
                let (to_a, to_b) = (
                    of_literal(&a, &b).unwrap_or(a.as_decimal()),
                    of_literal(&b, &a).unwrap_or(b.as_decimal()),
                );
                let (to_a, to_b) = (
                    if is_decimal(&a) || a.as_decimal() != a.of {
                        to_a
                    } else {
                        of
                    },
                    if is_decimal(&b) || b.as_decimal() != b.of {
                        to_b
                    } else {
                        of
                    },
                );
                (a.coerced(to_a), b.coerced(to_b))
            }
            of => (a.coerced(of), b.coerced(of)),
        };
        match (a, b) {
            (Ok(a), Ok(b)) => Ok(Typed::call(function, vec![a, b], Type::Boolean)),
            _ => Err(fault(
                expression,
                format!("{:?} compares {types}: cast one of them", shown(expression)),
            )),
        }
    }

    fn arithmetic(&self, expression: &Expr, function: F, left: &Expr, right: &Expr, depth: usize) -> Resolved {
        if matches!(function, F::Add | F::Subtract) {
            if let Expr::Interval(interval) = right {
                return self.moved(expression, left, interval, function == F::Subtract, depth);
            }
            if let (Expr::Interval(interval), F::Add) = (left, function) {
                return self.moved(expression, right, interval, false, depth);
            }
        }
        let (a, b) = (self.resolve(left, depth)?, self.resolve(right, depth)?);
        let is_number = |typed: &Typed| typed.of.is_number() || typed.is_null();
        if !is_number(&a) || !is_number(&b) {
            return Err(fault(expression, not_numbers(expression, function, &a, &b)));
        }
        let (a, b) = match (a.is_null(), b.is_null()) {
            (true, true) => (Typed { of: Type::Int, ..a }, Typed { of: Type::Int, ..b }),
            (true, false) => (Typed { of: b.of, ..a }, b),
            (false, true) => (a.clone(), Typed { of: a.of, ..b }),
            (false, false) => (a, b),
        };
        let of = match (a.of, b.of) {
            (Type::Double, _) | (_, Type::Double) => Type::Double,
            (Type::Int, Type::Int) => Type::Int,
            _ => decimal_result(function, a.as_decimal(), b.as_decimal()),
        };
        let operand = |typed: Typed| {
            let to = if matches!(of, Type::Decimal { .. }) {
                typed.as_decimal()
            } else {
                of
            };
            typed
                .coerced(to)
                .map_err(|_| fault(expression, "a number does not become another"))
        };
        Ok(Typed::call(function, vec![operand(a)?, operand(b)?], of))
    }

    /// A time, and an interval later or earlier.
    fn moved(
        &self,
        expression: &Expr,
        time: &Expr,
        interval: &sqlparser::ast::Interval,
        back: bool,
        depth: usize,
    ) -> Resolved {
        let mut typed = self.resolve(time, depth)?;
        let units = literals::interval(interval).map_err(|message| fault(expression, message))?;
        if !matches!(typed.of, Type::Timestamp | Type::Date) {
            return Err(fault(
                expression,
                format!(
                    "an interval is added to a timestamp or date, and {:?} is {}",
                    shown(time),
                    typed.of
                ),
            ));
        }
        for (unit, count) in units {
            if typed.of == Type::Date && unit < Unit::Day {
                typed = Typed::call(F::Cast, vec![typed], Type::Timestamp);
            }
            let count = if back { count.checked_neg() } else { Some(count) };
            let count = count.ok_or_else(|| fault(expression, "the interval is too long"))?;
            let of = typed.of;
            typed = Typed {
                text: shown(expression),
                ..Typed::call(F::DateAdd, vec![Typed::text(unit.name()), Typed::int(count), typed], of)
            };
        }
        Ok(typed)
    }
}

/// Why two values are no operands, and what to do instead.
fn not_numbers(expression: &Expr, function: F, a: &Typed, b: &Typed) -> String {
    let is_time = |typed: &Typed| matches!(typed.of, Type::Timestamp | Type::Date);
    let hint = match (a, b) {
        (a, b) if function == F::Subtract && is_time(a) && is_time(b) => {
            ": say in which unit, date_diff('second', from, to)".to_owned()
        }
        (a, b) if is_time(a) || is_time(b) => {
            ": add an interval, as t + interval '1 day', or use date_add('day', n, t)".to_owned()
        }
        (a, b) if function == F::Add && (a.of == Type::Text || b.of == Type::Text) => {
            ": join texts with ||, or cast them to a number".to_owned()
        }
        (a, b) if a.of == Type::Json || b.of == Type::Json => {
            ": cast JSON to a number first, as cast(j -> 'n' as int)".to_owned()
        }
        _ => ": cast them to a number".to_owned(),
    };
    format!(
        "{:?} computes with {}{hint}",
        shown(expression),
        types_of(&[a.clone(), b.clone()])
    )
}
