//! Values that have no others within them.

use super::{
    fault::{Fault, Found},
    number::{literal, plain_decimal, skip_number},
    skip::{Nesting, skip_value},
    text::{Checked, text},
    window::byte,
};
use crate::{
    format::{columns::Builder, reading::Raw},
    model::{column_type::leading_rfc3339, decimal::DecimalType},
};

/// The timestamp at a place, and where it ends, where it is written as most are.
#[inline]
pub(super) fn quoted_time(payload: &[u8], at: usize) -> Option<(i64, usize)> {
    let start = at.saturating_add(1);
    let (us, len) = leading_rfc3339(payload.get(start..).filter(|_| byte(payload, at) == b'"')?)?;
    closed(payload, start.saturating_add(len)).map(|end| (us, end))
}

/// The decimal at a place, and where it ends, where it is written as most are.
#[inline]
pub(super) fn decimal(payload: &[u8], at: usize, of: DecimalType, in_quotes: bool) -> Option<(i128, usize)> {
    if !in_quotes {
        return plain_decimal(payload, at, of);
    }
    let start = Some(at.saturating_add(1)).filter(|_| byte(payload, at) == b'"')?;
    let (unscaled, end) = plain_decimal(payload, start, of)?;
    closed(payload, end).map(|end| (unscaled, end))
}

/// Where a text ends whose closing quote is here.
fn closed(payload: &[u8], quote: usize) -> Option<usize> {
    Some(quote.saturating_add(1)).filter(|_| byte(payload, quote) == b'"')
}

/// The value at a place, without a judgement of it, and where it ends. A text is unescaped into `unescaped`.
#[inline]
pub(super) fn raw<'r>(
    payload: &'r [u8],
    at: usize,
    unescaped: &'r mut Vec<u8>,
    nesting: &mut Nesting,
) -> Result<(Raw<'r>, usize), Fault> {
    Ok(match byte(payload, at) {
        b'n' => (Raw::Null, literal(payload, at)?),
        b'"' => {
            let start = at.saturating_add(1);
            let span = text(payload, start, &mut Checked)?;
            let end = span.quote.saturating_add(1);
            match span.escaped {
                false => (Raw::Text(payload.get(start..span.quote).unwrap_or_default()), end),
                true => {
                    unescaped.clear();
                    text(payload, start, unescaped)?;
                    (Raw::Text(unescaped), end)
                }
            }
        }
        b'-' | b'0'..=b'9' => {
            let end = skip_number(payload, at)?;
            (Raw::Number(payload.get(at..end).unwrap_or_default()), end)
        }
        first @ (b't' | b'f') => (Raw::Boolean(first == b't'), literal(payload, at)?),
        _ => (Raw::Other, skip_value(payload, at, nesting)?),
    })
}

/// The scalar that a text is, which is one value of JSON.
pub(in crate::format) fn scalar<'r>(text: &'r [u8], unescaped: &'r mut Vec<u8>) -> Option<Raw<'r>> {
    let (raw, _) = raw(text, 0, unescaped, &mut Nesting::default()).ok()?;
    Some(raw)
}

/// Reads a text column's value; returns where it ends.
#[inline(always)]
pub(super) fn text_value(payload: &[u8], at: usize, builder: Option<&mut Builder>) -> Result<usize, Fault> {
    let start = at.saturating_add(1);
    if byte(payload, at) == b'"' {
        let Some(Builder::Text(builder)) = builder else {
            return text(payload, start, &mut Checked).map(|span| span.quote.saturating_add(1));
        };
        let span = text(payload, start, &mut builder.texts.data)?;
        if !builder.close(true) {
            return Err(Fault::new(Found::ColumnFull, at));
        }
        return Ok(span.quote.saturating_add(1));
    }
    if byte(payload, at) != b'n' {
        let value = matches!(byte(payload, at), b'{' | b'[' | b't' | b'f' | b'-' | b'0'..=b'9');
        return Err(Fault::new(if value { Found::NotAccepted } else { Found::NoValue }, at));
    }
    let end = literal(payload, at)?;
    if let Some(Builder::Text(builder)) = builder
        && !builder.close(false)
    {
        return Err(Fault::new(Found::ColumnFull, at));
    }
    Ok(end)
}
