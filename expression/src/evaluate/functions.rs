//! Which kernel a call is.

use super::{Run, arithmetic, cast, compare, datum::*, hash, json, lists, numbers, prepare::Prepared, text};
use crate::{
    function::Function as F,
    program::Node,
    types::{Layout, Type},
};

impl<'a> Run<'a> {
    /// Calls a function that looks at all its arguments. `at` is the number of the node.
    pub(super) fn call<'d>(&self, function: F, at: u32, node: &Node, data: &[Datum<'d>], n: usize) -> Datum<'d> {
        let nodes = &self.of.program.nodes;
        let types: Vec<Type> = self
            .of
            .program
            .arguments(at)
            .iter()
            .filter_map(|argument| Some(nodes.get(*argument as usize)?.of))
            .collect();
        let first = types.first().copied().unwrap_or(node.of);
        let scales = || types.iter().map(|of| of.scale()).collect::<Vec<u8>>();
        let prepared = self.of.prepared.get(at as usize);
        match function {
            F::Equal
            | F::NotEqual
            | F::Less
            | F::LessEqual
            | F::Greater
            | F::GreaterEqual
            | F::Distinct
            | F::NotDistinct => match (data, types.as_slice()) {
                ([a, b], [of_a, of_b]) => compare::compare(function, a, b, [of_a.scale(), of_b.scale()], n),
                _ => Datum::nulls(Layout::Boolean, n),
            },
            F::In => {
                let set = match prepared {
                    Some(Prepared::Set(set)) => Some(set),
                    _ => None,
                };
                compare::is_in(data, &scales(), set, n)
            }
            F::Add | F::Subtract | F::Multiply | F::Divide | F::Remainder => match types.as_slice() {
                [a, b] => arithmetic::binary(function, data, [*a, *b, node.of], n),
                _ => Datum::nulls(node.of.layout(), n),
            },
            F::Negate => data.first().map_or_else(
                || Datum::nulls(node.of.layout(), n),
                |a| arithmetic::negated(a, node.of, n),
            ),
            F::Cast => cast::cast(data, first, node.of, false, n),
            F::TryCast => cast::cast(data, first, node.of, true, n),
            F::Not | F::IsNull | F::IsNotNull | F::IsTrue | F::IsFalse => logic(function, data, n),
            F::NullIf => null_if(data, first, n),
            F::Concat => text::concat(data, n),
            F::ConcatAll => text::concat_all(data, &types, false, n),
            F::ConcatWith => text::concat_all(data, &types, true, n),
            F::Like | F::ILike => text::like(function, data, prepared, n),
            F::Length | F::OctetLength | F::Position => text::to_int(function, data, n),
            F::StartsWith | F::EndsWith | F::Contains => text::to_boolean(function, data, n),
            F::RegexpLike | F::RegexpExtract | F::RegexpReplace => text::regexp(function, data, prepared, n),
            F::Upper
            | F::Lower
            | F::Trim
            | F::TrimStart
            | F::TrimEnd
            | F::Substring
            | F::Left
            | F::Right
            | F::PadStart => text::to_text(function, data, n),
            F::PadEnd | F::Replace | F::SplitPart | F::Reverse | F::Repeat | F::InitCap | F::Translate => {
                text::to_text(function, data, n)
            }
            F::Abs | F::Sign | F::Ceil | F::Floor | F::Round | F::Truncate => {
                numbers::one(function, data, first, node.of, n)
            }
            F::Power | F::Sqrt | F::Exp | F::Ln | F::Log10 | F::Log2 => numbers::transcendental(function, data, n),
            F::Sin | F::Cos | F::Tan | F::Atan | F::Atan2 => numbers::transcendental(function, data, n),
            F::Least | F::Greatest => numbers::extreme(function, data, node.of, n),
            F::DateTrunc | F::DatePart | F::DateAdd | F::DateDiff | F::ToTimestamp | F::ToDate => {
                self.time(function, data, &types, prepared, node.of, n)
            }
            F::FromEpoch | F::ToEpoch | F::FormatTime | F::AtDate | F::StartOfDay | F::MakeDate => {
                self.time(function, data, &types, prepared, node.of, n)
            }
            F::JsonGet | F::JsonText => json::get(function, data, types.get(1).copied().unwrap_or(Type::Text), n),
            F::JsonType => json::kind(data, n),
            F::JsonArrayLength => json::array_length(data, n),
            F::ToJson => json::to_json(data, first, n),
            F::MakeList => lists::make(data, &types, n),
            F::Cardinality => lists::cardinality(data, n),
            F::ElementAt => lists::element_at(data, node.of, n),
            F::ListContains | F::AnyEqual => match (data, types.as_slice()) {
                ([list, value], [_, of]) if function == F::ListContains => lists::contains(list, value, *of, n),
                ([value, list], [of, _]) => lists::contains(list, value, *of, n),
                _ => Datum::nulls(Layout::Boolean, n),
            },
            F::ArrayJoin => match first {
                Type::List(of) => lists::join(data, of.as_type(), n),
                _ => Datum::nulls(Layout::Text, n),
            },
            F::Sha256 | F::Md5 | F::HmacSha256 | F::ToHex | F::FromHex | F::ToBase64 | F::FromBase64 => {
                hash::call(function, data, n)
            }
            // They look at their arguments by themselves.
            F::And | F::Or | F::Case | F::Coalesce | F::Reject => Datum::nulls(node.of.layout(), n),
        }
    }
}

fn logic<'a>(function: F, data: &[Datum<'_>], n: usize) -> Datum<'a> {
    let Some(a) = data.first() else {
        return Datum::nulls(Layout::Boolean, n);
    };
    let errors = errors_of(data, n);
    if function == F::Not {
        let values: Vec<u8> = a.booleans().iter().map(|value| value ^ 1).collect();
        return Datum {
            validity: validity_of(data, n).map(Into::into),
            errors,
            ..Datum::owned(Held::Boolean(values.into()))
        };
    }
    let valid = validity_of(data, n).unwrap_or_else(|| vec![1; n]);
    let values: Vec<u8> = match function {
        F::IsNull => valid.iter().map(|valid| valid ^ 1).collect(),
        F::IsNotNull => valid,
        F::IsTrue => valid
            .iter()
            .zip(a.booleans())
            .map(|(valid, value)| valid & value)
            .collect(),
        _ => valid
            .iter()
            .zip(a.booleans())
            .map(|(valid, value)| valid & (value ^ 1))
            .collect(),
    };
    Datum {
        errors,
        ..Datum::owned(Held::Boolean(values.into()))
    }
}

/// The first, or null where both are equal.
fn null_if<'d>(data: &[Datum<'d>], of: Type, n: usize) -> Datum<'d> {
    let [a, b] = data else {
        return Datum::nulls(of.layout(), n);
    };
    let equal = compare::compare(F::Equal, a, b, [of.scale(), of.scale()], n);
    let validity: Vec<u8> = (0..n)
        .map(|row| u8::from(!a.is_null(row) && (equal.is_null(row) || !equal.boolean(row))))
        .collect();
    let mut first = a.clone().expanded(n);
    first.validity = Some(validity.into());
    first.errors = errors_of(data, n);
    first
}
