//! How times are written: the directives of `strftime`, those that mean the same everywhere.

use crate::calendar::{self, Civil, DAY_US, SECOND_US};

/// A format, cut into what it is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Format {
    items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Literal(Vec<u8>),
    /// A directive, by its letter.
    Field(u8),
}

/// A time that was read.
pub(super) struct ReadTime {
    /// What the clock showed, as if it were in UTC.
    pub(super) local_us: i64,
    pub(super) offset_us: Option<i64>,
}

/// The directives. `:` is `%:z`, `3` is `%3f`.
const FIELDS: &[u8] = b"YymdeHIMSfjaAbBpzuwGV%:3";

const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl Format {
    /// Reads a format.
    pub(super) fn new(format: &[u8]) -> Result<Format, String> {
        let (mut items, mut literal, mut left) = (Vec::new(), Vec::new(), format);
        while let Some((first, rest)) = left.split_first() {
            left = rest;
            if *first != b'%' {
                literal.push(*first);
                continue;
            }
            let (field, rest) = match left {
                [b':', b'z', rest @ ..] => (b':', rest),
                [b'3', b'f', rest @ ..] => (b'3', rest),
                [b'6', b'f', rest @ ..] => (b'f', rest),
                [b'F', rest @ ..] => {
                    items.push(Item::Literal(std::mem::take(&mut literal)));
                    items.extend([
                        Item::Field(b'Y'),
                        Item::Literal(b"-".to_vec()),
                        Item::Field(b'm'),
                        Item::Literal(b"-".to_vec()),
                    ]);
                    (b'd', rest)
                }
                [b'T', rest @ ..] => {
                    items.push(Item::Literal(std::mem::take(&mut literal)));
                    items.extend([
                        Item::Field(b'H'),
                        Item::Literal(b":".to_vec()),
                        Item::Field(b'M'),
                        Item::Literal(b":".to_vec()),
                    ]);
                    (b'S', rest)
                }
                [field, rest @ ..] if FIELDS.contains(field) && !matches!(field, b':' | b'3') => (*field, rest),
                other => {
                    let directive: String = String::from_utf8_lossy(other).chars().take(1).collect();
                    return Err(format!(
                        "there is no directive \"%{directive}\" in formats: there are %Y %y %m %d %e %H %I %M %S %f %3f %6f %j %a %A %b %B %p %z %:z %u %w %G %V %F %T %%"
                    ));
                }
            };
            left = rest;
            items.push(Item::Literal(std::mem::take(&mut literal)));
            items.push(Item::Field(field));
        }
        items.push(Item::Literal(literal));
        items.retain(|item| *item != Item::Literal(Vec::new()));
        Ok(Format { items })
    }

    /// Whether a text in it says which offset its time has.
    pub(super) fn has_offset(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Field(b'z' | b':')))
    }

    /// Whether a text in it says which day it is.
    pub(super) fn has_date(&self) -> bool {
        let has = |fields: &[u8]| {
            self.items
                .iter()
                .any(|item| matches!(item, Item::Field(field) if fields.contains(field)))
        };
        has(b"Yy") && (has(b"j") || has(b"mbB") && has(b"de"))
    }

    /// Appends a time by a clock of this offset.
    pub(super) fn write(&self, us: i64, offset_us: i64, out: &mut Vec<u8>) {
        let civil = Civil::of_us(us + offset_us);
        let days = civil.days();
        let name = |names: &[&'static str], at: i64| names.get(at as usize).copied().unwrap_or_default();
        for item in &self.items {
            let field = match item {
                Item::Literal(literal) => {
                    out.extend_from_slice(literal);
                    continue;
                }
                Item::Field(field) => *field,
            };
            let (weekday, month) = (
                name(&WEEKDAYS, calendar::weekday(days) - 1),
                name(&MONTHS, civil.month - 1),
            );
            match field {
                b'Y' => calendar::push_padded(out, civil.year, 4),
                b'y' => calendar::push_padded(out, civil.year.rem_euclid(100), 2),
                b'm' => calendar::push_padded(out, civil.month, 2),
                b'd' => calendar::push_padded(out, civil.day, 2),
                b'e' => out.extend_from_slice(format!("{:>2}", civil.day).as_bytes()),
                b'H' => calendar::push_padded(out, civil.hour(), 2),
                b'I' => calendar::push_padded(out, (civil.hour() + 11) % 12 + 1, 2),
                b'M' => calendar::push_padded(out, civil.minute(), 2),
                b'S' => calendar::push_padded(out, civil.second(), 2),
                b'f' => calendar::push_padded(out, civil.us_of_second(), 6),
                b'3' => calendar::push_padded(out, civil.us_of_second() / 1000, 3),
                b'j' => calendar::push_padded(out, calendar::day_of_year(days), 3),
                b'a' => out.extend_from_slice(weekday.get(..3).unwrap_or_default().as_bytes()),
                b'A' => out.extend_from_slice(weekday.as_bytes()),
                b'b' => out.extend_from_slice(month.get(..3).unwrap_or_default().as_bytes()),
                b'B' => out.extend_from_slice(month.as_bytes()),
                b'p' => out.extend_from_slice(if civil.hour() < 12 { b"AM" } else { b"PM" }),
                b'u' => calendar::push_padded(out, calendar::weekday(days), 1),
                b'w' => calendar::push_padded(out, calendar::weekday(days) % 7, 1),
                b'G' => calendar::push_padded(out, calendar::iso_week(days).0, 4),
                b'V' => calendar::push_padded(out, calendar::iso_week(days).1, 2),
                b'z' | b':' => {
                    let minutes = offset_us.abs() / SECOND_US / 60;
                    out.push(if offset_us < 0 { b'-' } else { b'+' });
                    calendar::push_padded(out, minutes / 60, 2);
                    if field == b':' {
                        out.push(b':');
                    }
                    calendar::push_padded(out, minutes % 60, 2);
                }
                _ => out.push(b'%'),
            }
        }
    }

    /// Reads a time; nothing where it is written otherwise, or there is no such time.
    pub(super) fn read(&self, text: &[u8]) -> Option<ReadTime> {
        let mut left = text.trim_ascii();
        let (mut year, mut month, mut day, mut day_of_year) = (None, 1, 1, None);
        let (mut hour, mut minute, mut second, mut us, mut is_pm, mut offset_us) = (0, 0, 0, 0, None, None);
        for item in &self.items {
            let field = match item {
                Item::Literal(literal) => {
                    left = left.strip_prefix(literal.as_slice())?;
                    continue;
                }
                Item::Field(field) => *field,
            };
            match field {
                b'Y' => year = Some(number(&mut left, 4)?),
                b'y' => {
                    let of_century = calendar::digits(&mut left, 2)?;
                    year = Some(of_century + if of_century < 69 { 2000 } else { 1900 });
                }
                b'm' => month = number(&mut left, 2)?,
                b'd' | b'e' => {
                    left = left.trim_ascii_start();
                    day = number(&mut left, 2)?;
                }
                b'H' => hour = number(&mut left, 2).filter(|hour| *hour < 24)?,
                b'I' => hour = number(&mut left, 2).filter(|hour| (1..=12).contains(hour))?,
                b'M' => minute = number(&mut left, 2).filter(|minute| *minute < 60)?,
                b'S' => second = number(&mut left, 2).filter(|second| *second <= 60)?.min(59),
                b'f' | b'3' => us = calendar::take_fraction(&mut left)?,
                b'j' => day_of_year = Some(number(&mut left, 3)?),
                b'a' | b'A' => {
                    name(&mut left, &WEEKDAYS, field == b'A')?;
                }
                b'b' | b'B' => month = name(&mut left, &MONTHS, field == b'B')?,
                b'p' => {
                    let (half, rest) = left.split_at_checked(2)?;
                    is_pm = Some(match half.to_ascii_lowercase().as_slice() {
                        b"am" => false,
                        b"pm" => true,
                        _ => return None,
                    });
                    left = rest;
                }
                b'z' | b':' => offset_us = Some(offset(&mut left)?),
                b'%' => left = left.strip_prefix(b"%")?,
                _ => {
                    number(&mut left, if field == b'G' { 4 } else { 2 })?;
                }
            }
        }
        if let Some(is_pm) = is_pm {
            hour = hour % 12 + if is_pm { 12 } else { 0 };
        }
        let year = year?;
        let days = match day_of_year {
            Some(of_year) => {
                let first = calendar::date_of_parts(year, 1, 1)?;
                let days = (first + of_year - 1, calendar::date_of_parts(year, 12, 31)?);
                (of_year >= 1 && days.0 <= days.1).then_some(days.0)?
            }
            None => calendar::date_of_parts(year, month, day)?,
        };
        let seconds = hour * 3600 + minute * 60 + second;
        left.is_empty().then_some(ReadTime {
            local_us: days * DAY_US + seconds * SECOND_US + us,
            offset_us,
        })
    }
}

/// Takes a number of at most so many digits.
fn number(left: &mut &[u8], most: usize) -> Option<i64> {
    let count = left.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    (count > 0).then(|| calendar::digits(left, count)).flatten()
}

/// Takes one of these names, or its first three letters; gives its place from 1.
fn name(left: &mut &[u8], names: &[&str], full: bool) -> Option<i64> {
    for (at, name) in names.iter().enumerate() {
        let name = if full { name } else { name.get(..3)? };
        let head = left.get(..name.len());
        if head.is_some_and(|head| head.eq_ignore_ascii_case(name.as_bytes())) {
            *left = left.get(name.len()..)?;
            return Some(at as i64 + 1);
        }
    }
    None
}

fn offset(left: &mut &[u8]) -> Option<i64> {
    let sign = calendar::take(left, |byte| matches!(byte, b'+' | b'-' | b'Z' | b'z'))?;
    if matches!(sign, b'Z' | b'z') {
        return Some(0);
    }
    let offset_us = calendar::take_offset(left)? * SECOND_US;
    Some(if sign == b'-' { -offset_us } else { offset_us })
}
