//! Functions of texts. Characters are those of Unicode (scalar values), positions count from 1.

use super::{
    datum::{Datum, Fault, Rows, TEXT_BYTES_MAX, TOO_LONG},
    like::{Like, char_len},
    prepare::Prepared,
};
use crate::{
    function::Function as F,
    types::{Layout, Type},
};

/// A function that gives a text.
pub(super) fn to_text<'a>(function: F, data: &[Datum<'_>], n: usize) -> Datum<'a> {
    let Some(a) = data.first() else {
        return Datum::nulls(Layout::Text, n);
    };
    let text = |at: usize, row: usize| data.get(at).map_or(&b" "[..], |datum| datum.text(row));
    let int = |at: usize, row: usize| data.get(at).map_or(i64::MAX, |datum| datum.int(row));
    Rows::strict(data, n).texts(&mut |row, out| {
        let of = a.text(row);
        match function {
            F::Upper => cased(of, out, u8::to_ascii_uppercase, str::to_uppercase),
            F::Lower => cased(of, out, u8::to_ascii_lowercase, str::to_lowercase),
            F::Trim => out.extend_from_slice(trimmed(of, text(1, row), true, true)),
            F::TrimStart => out.extend_from_slice(trimmed(of, text(1, row), true, false)),
            F::TrimEnd => out.extend_from_slice(trimmed(of, text(1, row), false, true)),
            F::Substring => out.extend_from_slice(substring(of, int(1, row), data.get(2).map(|len| len.int(row)))?),
            F::Left => {
                let count = int(1, row);
                let count = if count < 0 {
                    char_count(of).saturating_add(count).max(0)
                } else {
                    count
                };
                out.extend_from_slice(of.get(..char_start(of, count)).unwrap_or_default());
            }
            F::Right => {
                let (count, chars) = (int(1, row), char_count(of));
                let skip = if count < 0 {
                    count.saturating_neg().min(chars)
                } else {
                    (chars - count.min(chars)).max(0)
                };
                out.extend_from_slice(of.get(char_start(of, skip)..).unwrap_or_default());
            }
            F::PadStart => padded(of, int(1, row), text(2, row), out, true)?,
            F::PadEnd => padded(of, int(1, row), text(2, row), out, false)?,
            F::Replace => replaced(of, text(1, row), text(2, row), out)?,
            F::SplitPart => return split_part(of, text(1, row), int(2, row), out),
            F::Reverse => out.extend(String::from_utf8_lossy(of).chars().rev().collect::<String>().bytes()),
            F::Repeat => {
                let times = usize::try_from(int(1, row).max(0)).map_err(|_| TOO_LONG)?;
                if of.len().saturating_mul(times) > TEXT_BYTES_MAX {
                    return Err(TOO_LONG);
                }
                out.extend_from_slice(&of.repeat(times));
            }
            F::InitCap => init_cap(of, out),
            F::Translate => translated(of, text(1, row), text(2, row), out),
            _ => return Ok(false),
        }
        Ok(true)
    })
}

/// `||`: null where one is.
pub(super) fn concat<'a>(data: &[Datum<'_>], n: usize) -> Datum<'a> {
    Rows::strict(data, n).texts(&mut |row, out| {
        data.iter().for_each(|datum| out.extend_from_slice(datum.text(row)));
        Ok(true)
    })
}

/// `concat` and, with a separator in front, `concat_ws`: nulls are left out.
pub(super) fn concat_all<'a>(data: &[Datum<'_>], types: &[Type], separated: bool, n: usize) -> Datum<'a> {
    let (separator, values) = if separated {
        data.split_at_checked(1).unwrap_or((&[], data))
    } else {
        (&[][..], data)
    };
    let types = types.get(separator.len()..).unwrap_or_default();
    Rows::lenient(data, n).texts(&mut |row, out| {
        if separator.iter().any(|separator| separator.is_null(row)) {
            return Ok(false);
        }
        let mut is_first = true;
        for (datum, of) in values.iter().zip(types).filter(|(datum, _)| !datum.is_null(row)) {
            if let (false, Some(separator)) = (is_first, separator.first()) {
                out.extend_from_slice(separator.text(row));
            }
            is_first = false;
            super::cast::push_any(out, *of, datum.value(row))?;
        }
        Ok(true)
    })
}

/// A function that counts or finds.
pub(super) fn to_int<'a>(function: F, data: &[Datum<'_>], n: usize) -> Datum<'a> {
    let Some(a) = data.first() else {
        return Datum::nulls(Layout::Int, n);
    };
    Rows::strict(data, n).ints(&mut |row| {
        let of = a.text(row);
        Ok(Some(match function {
            F::Length => char_count(of),
            F::OctetLength => of.len() as i64,
            _ => {
                let other = data.get(1).map_or(&[][..], |other| other.text(row));
                find(of, other).map_or(0, |at| char_count(of.get(..at).unwrap_or_default()) + 1)
            }
        }))
    })
}

/// `starts_with` and its like.
pub(super) fn to_boolean<'a>(function: F, data: &[Datum<'_>], n: usize) -> Datum<'a> {
    let [a, b] = data else {
        return Datum::nulls(Layout::Boolean, n);
    };
    Rows::strict(data, n).booleans(&mut |row| {
        let (of, other) = (a.text(row), b.text(row));
        Ok(Some(match function {
            F::StartsWith => of.starts_with(other),
            F::EndsWith => of.ends_with(other),
            _ => find(of, other).is_some(),
        }))
    })
}

pub(super) fn like<'a>(function: F, data: &[Datum<'_>], prepared: Option<&Prepared>, n: usize) -> Datum<'a> {
    let (Some(a), Some(pattern)) = (data.first(), data.get(1)) else {
        return Datum::nulls(Layout::Boolean, n);
    };
    Rows::strict(data, n).booleans(&mut |row| {
        if let Some(Prepared::Like(like)) = prepared {
            return Ok(Some(like.matches(a.text(row))));
        }
        let escape = data.get(2).map(|escape| escape.text(row));
        let like =
            Like::new(pattern.text(row), escape, function == F::ILike).ok_or("the pattern ends with its escape")?;
        Ok(Some(like.matches(a.text(row))))
    })
}

pub(super) fn regexp<'a>(function: F, data: &[Datum<'_>], prepared: Option<&Prepared>, n: usize) -> Datum<'a> {
    let rows = Rows::strict(data, n);
    // Without one, the pattern is null.
    let (Some(a), Some(Prepared::Regex(regex))) = (data.first(), prepared) else {
        let layout = if function == F::RegexpLike {
            Layout::Boolean
        } else {
            Layout::Text
        };
        return Datum::nulls(layout, n);
    };
    let read = |row: usize| std::str::from_utf8(a.text(row)).map_err(|_| "the text is not in UTF-8");
    match function {
        F::RegexpLike => rows.booleans(&mut |row| Ok(Some(regex.is_match(read(row)?)))),
        F::RegexpExtract => rows.texts(&mut |row, out| {
            let group = data.get(2).map_or(0, |group| group.int(row));
            let group = usize::try_from(group)
                .ok()
                .filter(|group| *group < regex.captures_len());
            let group = group.ok_or("the pattern has no such group")?;
            let found = regex
                .captures(read(row)?)
                .and_then(|captures| captures.get(group).map(|found| found.as_str().to_owned()));
            out.extend_from_slice(found.as_deref().unwrap_or_default().as_bytes());
            Ok(found.is_some())
        }),
        _ => rows.texts(&mut |row, out| {
            let with = data.get(2).map_or(&[][..], |with| with.text(row));
            let (text, with) = (
                read(row)?,
                std::str::from_utf8(with).map_err(|_| "the text is not in UTF-8")?,
            );
            let (mut at, mut made) = (0, String::new());
            for captures in regex.captures_iter(text) {
                let Some(found) = captures.get(0) else { continue };
                made.push_str(text.get(at..found.start()).unwrap_or_default());
                captures.expand(with, &mut made);
                at = found.end();
                if made.len() > TEXT_BYTES_MAX {
                    return Err(TOO_LONG);
                }
            }
            out.extend_from_slice(made.as_bytes());
            out.extend_from_slice(text.get(at..).unwrap_or_default().as_bytes());
            Ok(true)
        }),
    }
}

fn cased(of: &[u8], out: &mut Vec<u8>, ascii: fn(&u8) -> u8, all: fn(&str) -> String) {
    match of.is_ascii() {
        true => out.extend(of.iter().map(ascii)),
        false => out.extend_from_slice(all(&String::from_utf8_lossy(of)).as_bytes()),
    }
}

/// How many characters there are.
fn char_count(text: &[u8]) -> i64 {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count() as i64
}

/// At which byte the character begins before which so many stand; the end where there are fewer.
fn char_start(text: &[u8], chars: i64) -> usize {
    if chars >= text.len() as i64 {
        return text.len();
    }
    let (mut at, mut left) = (0, chars);
    while left > 0 && at < text.len() {
        at += char_len(text, at);
        left -= 1;
    }
    at
}

fn trimmed<'t>(text: &'t [u8], chars: &[u8], start: bool, end: bool) -> &'t [u8] {
    if text.is_ascii() && chars.is_ascii() {
        let is_kept = |byte: &u8| !chars.contains(byte);
        let from = if start {
            text.iter().position(is_kept).unwrap_or(text.len())
        } else {
            0
        };
        let to = if end {
            text.iter().rposition(is_kept).map_or(from, |at| at + 1)
        } else {
            text.len()
        };
        return text.get(from..to.max(from)).unwrap_or_default();
    }
    let (Ok(text), Ok(chars)) = (std::str::from_utf8(text), std::str::from_utf8(chars)) else {
        return text;
    };
    let is_cut = |char: char| chars.contains(char);
    let text = if start { text.trim_start_matches(is_cut) } else { text };
    let text = if end { text.trim_end_matches(is_cut) } else { text };
    text.as_bytes()
}

/// As SQL has it: positions before the first character count, but hold none.
fn substring(text: &[u8], from: i64, len: Option<i64>) -> Result<&[u8], Fault> {
    let to = match len {
        Some(len) if len < 0 => return Err("the length is negative"),
        Some(len) => from.saturating_add(len),
        None => i64::MAX,
    };
    let (start, end) = ((from.max(1) - 1), (to.max(1) - 1));
    let start = char_start(text, start);
    let end = char_start(text, end).max(start);
    Ok(text.get(start..end).unwrap_or_default())
}

fn padded(text: &[u8], chars: i64, with: &[u8], out: &mut Vec<u8>, start: bool) -> Result<(), Fault> {
    let missing = chars.max(0) - char_count(text);
    if missing <= 0 || with.is_empty() {
        out.extend_from_slice(text.get(..char_start(text, chars.max(0))).unwrap_or_default());
        return Ok(());
    }
    if missing > TEXT_BYTES_MAX as i64 {
        return Err(TOO_LONG);
    }
    if !start {
        out.extend_from_slice(text);
    }
    let chars_of = char_count(with).max(1);
    for _ in 0..missing / chars_of {
        out.extend_from_slice(with);
    }
    out.extend_from_slice(with.get(..char_start(with, missing % chars_of)).unwrap_or_default());
    if start {
        out.extend_from_slice(text);
    }
    Ok(())
}

fn find(text: &[u8], other: &[u8]) -> Option<usize> {
    let Some((first, rest)) = other.split_first() else {
        return Some(0);
    };
    let mut from = 0;
    while let Some(at) = text.get(from..)?.iter().position(|byte| byte == first) {
        if text.get(from + at + 1..)?.starts_with(rest) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

fn replaced(text: &[u8], what: &[u8], with: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let (start, mut left) = (out.len(), text);
    while let Some(at) = find(left, what).filter(|_| !what.is_empty()) {
        out.extend_from_slice(left.get(..at).unwrap_or_default());
        out.extend_from_slice(with);
        left = left.get(at + what.len()..).unwrap_or_default();
        if out.len() - start > TEXT_BYTES_MAX {
            return Err(TOO_LONG);
        }
    }
    out.extend_from_slice(left);
    Ok(())
}

fn split_part(text: &[u8], separator: &[u8], part: i64, out: &mut Vec<u8>) -> Result<bool, Fault> {
    if part == 0 {
        return Err("parts are counted from 1");
    }
    let mut parts = Vec::new();
    let mut left = text;
    while let Some(at) = find(left, separator).filter(|_| !separator.is_empty()) {
        parts.push(left.get(..at).unwrap_or_default());
        left = left.get(at + separator.len()..).unwrap_or_default();
    }
    parts.push(left);
    let at = if part > 0 {
        part - 1
    } else {
        part.saturating_add(parts.len() as i64)
    };
    let found = usize::try_from(at).ok().and_then(|at| parts.get(at));
    out.extend_from_slice(found.copied().unwrap_or_default());
    Ok(found.is_some())
}

fn init_cap(text: &[u8], out: &mut Vec<u8>) {
    let mut is_inside = false;
    let mut made = String::with_capacity(text.len());
    for char in String::from_utf8_lossy(text).chars() {
        match is_inside {
            true => made.extend(char.to_lowercase()),
            false => made.extend(char.to_uppercase()),
        }
        is_inside = char.is_alphanumeric();
    }
    out.extend_from_slice(made.as_bytes());
}

fn translated(text: &[u8], from: &[u8], to: &[u8], out: &mut Vec<u8>) {
    let (from, to): (Vec<char>, Vec<char>) = (
        String::from_utf8_lossy(from).chars().collect(),
        String::from_utf8_lossy(to).chars().collect(),
    );
    let translated = |char: char| match from.iter().position(|of| *of == char) {
        Some(at) => to.get(at).copied(),
        None => Some(char),
    };
    let made: String = String::from_utf8_lossy(text).chars().filter_map(translated).collect();
    out.extend_from_slice(made.as_bytes());
}
