//! Casts.

use super::{
    literals,
    resolve::{Resolved, Resolver, fault, shown},
    typed::Typed,
};
use crate::{
    function::{Function as F, castable},
    types::Type,
};
use sqlparser::ast::{CastKind, DataType, Expr};

impl Resolver<'_> {
    /// `cast(x as T)`, `x::T` and `try_cast(x as T)`.
    pub(super) fn cast(
        &self,
        expression: &Expr,
        kind: &CastKind,
        inner: &Expr,
        data_type: &DataType,
        depth: usize,
    ) -> Resolved {
        let to = literals::named_type(data_type).map_err(|message| fault(expression, message))?;
        let tries = matches!(kind, CastKind::TryCast | CastKind::SafeCast);
        if let (Expr::AtTimeZone { timestamp, time_zone }, Type::Date) = (inner, to) {
            let arguments = vec![self.resolve(timestamp, depth)?, self.resolve(time_zone, depth)?];
            return self.named_call(expression, "at_date", arguments);
        }
        let typed = self.resolve(inner, depth)?;
        if typed.is_null() {
            return Ok(Typed { of: to, ..typed });
        }
        if !castable(typed.of, to) {
            let hint = match (typed.of, to) {
                (Type::Timestamp, Type::Int) => ": use to_epoch('second', t)",
                (Type::Int, Type::Timestamp) => ": use from_epoch('second', n)",
                (_, Type::Bytes) => ": cast it to text first",
                _ => "",
            };
            return Err(fault(
                expression,
                format!("{:?} is {}, which cannot be cast to {to}{hint}", shown(inner), typed.of),
            ));
        }
        if typed.of == to {
            return Ok(typed);
        }
        Ok(Typed::call(if tries { F::TryCast } else { F::Cast }, vec![typed], to))
    }
}
