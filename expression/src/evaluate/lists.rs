//! Functions of lists, which are JSON arrays of values of one type.

use super::datum::{Datum, Rows};
use crate::{
    forms, json,
    types::{Layout, Type},
};

const BROKEN: &str = "the value is no such list";

/// `array[…]`.
pub(super) fn make<'a>(data: &[Datum<'_>], types: &[Type], n: usize) -> Datum<'a> {
    Rows::lenient(data, n).texts(&mut |row, out| {
        out.push(b'[');
        for (at, (datum, of)) in data.iter().zip(types).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            forms::push_json(out, *of, datum.value(row));
        }
        out.push(b']');
        Ok(true)
    })
}

/// `cardinality`.
pub(super) fn cardinality<'a>(data: &[Datum<'_>], n: usize) -> Datum<'a> {
    let Some(a) = data.first() else {
        return Datum::nulls(Layout::Int, n);
    };
    Rows::strict(data, n).ints(&mut |row| json::array_len(a.text(row)).map(|len| Some(len as i64)).ok_or(BROKEN))
}

/// `tags[1]`.
pub(super) fn element_at<'a>(data: &[Datum<'_>], of: Type, n: usize) -> Datum<'a> {
    let [a, index] = data else {
        return Datum::nulls(of.layout(), n);
    };
    Rows::strict(data, n).read(of, &mut |row| {
        let index = match index.int(row) {
            0 => return Err("elements are counted from 1"),
            index @ 1.. => index - 1,
            index => index,
        };
        match json::element(a.text(row), index) {
            None | Some(b"null") => Ok(None),
            Some(element) => forms::parse_json(of, element).map(Some).ok_or(BROKEN),
        }
    })
}

/// Whether a value is in a list: null where it is not, and a null is.
pub(super) fn contains<'a>(list: &Datum<'_>, value: &Datum<'_>, of: Type, n: usize) -> Datum<'a> {
    let both = [list.clone_head(), value.clone_head()];
    Rows::strict(&both, n).booleans(&mut |row| {
        // Elements are written in one form only, so that they are equal where their texts are.
        let mut wanted = Vec::new();
        forms::push_json(&mut wanted, of, value.value(row));
        let (mut is_in, mut has_null) = (false, false);
        let is_list = json::elements(list.text(row), |element| {
            is_in |= element == wanted.as_slice();
            has_null |= element == b"null";
        });
        match is_list {
            false => Err(BROKEN),
            true if !is_in && has_null => Ok(None),
            true => Ok(Some(is_in)),
        }
    })
}

/// `array_join`.
pub(super) fn join<'a>(data: &[Datum<'_>], of: Type, n: usize) -> Datum<'a> {
    let [a, separator] = data else {
        return Datum::nulls(Layout::Text, n);
    };
    Rows::strict(data, n).texts(&mut |row, out| {
        let (mut is_first, mut all) = (true, true);
        let is_list = json::elements(a.text(row), |element| {
            if element == b"null" {
                return;
            }
            if !is_first {
                out.extend_from_slice(separator.text(row));
            }
            is_first = false;
            match forms::parse_json(of, element) {
                Some(read) => forms::push_text(out, of, read.as_value()),
                None => all = false,
            }
        });
        if is_list && all { Ok(true) } else { Err(BROKEN) }
    })
}
