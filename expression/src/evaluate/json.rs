//! Functions of JSON.

use super::{
    cast::text_of_json,
    datum::{Datum, Rows},
};
use crate::{
    forms,
    function::Function as F,
    json,
    types::{Layout, Type},
};

/// `->` and `->>`; `by` is the type of what is asked for, a name or an index.
pub(super) fn get<'a>(function: F, data: &[Datum<'_>], by: Type, n: usize) -> Datum<'a> {
    let [a, key] = data else {
        return Datum::nulls(Layout::Text, n);
    };
    Rows::strict(data, n).texts(&mut |row, out| {
        let found = match by {
            Type::Int => json::element(a.text(row), key.int(row)),
            _ => json::member(a.text(row), key.text(row)),
        };
        match found {
            // JSON's null is null here, as it is in columns that are read.
            None | Some(b"null") => Ok(false),
            Some(value) if function == F::JsonText => text_of_json(value, out),
            Some(value) => {
                out.extend_from_slice(value);
                Ok(true)
            }
        }
    })
}

/// `json_type`.
pub(super) fn kind<'a>(data: &[Datum<'_>], n: usize) -> Datum<'a> {
    let Some(a) = data.first() else {
        return Datum::nulls(Layout::Text, n);
    };
    Rows::strict(data, n).texts(&mut |row, out| {
        let kind = json::kind(a.text(row)).ok_or("the value is no JSON")?;
        out.extend_from_slice(kind.name().as_bytes());
        Ok(true)
    })
}

/// `json_array_length`.
pub(super) fn array_length<'a>(data: &[Datum<'_>], n: usize) -> Datum<'a> {
    let Some(a) = data.first() else {
        return Datum::nulls(Layout::Int, n);
    };
    Rows::strict(data, n).ints(&mut |row| Ok(json::array_len(a.text(row)).map(|len| len as i64)))
}

/// `to_json`.
pub(super) fn to_json<'a>(data: &[Datum<'_>], from: Type, n: usize) -> Datum<'a> {
    let Some(a) = data.first() else {
        return Datum::nulls(Layout::Text, n);
    };
    Rows::strict(data, n).texts(&mut |row, out| {
        forms::push_json(out, from, a.value(row));
        Ok(true)
    })
}
